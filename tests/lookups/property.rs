//! Whatever goes wrong in whatever order: automation rests on what the systems really said, lately
//! and without contradiction.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tipstaff::case::{FactRow, FactState, Value, Why};
use tipstaff::config::{CacheConfig, SourceConfig};
use tipstaff::enrich::{Combined, Lookup};
use tipstaff::policy::Policy;

use crate::faults::{PLAYBOOK, rules, ruling};
use crate::rig::{ENRICHER, Rig, config, now, pause};
use crate::server::{Mode, Server};

const DEAD: &str = "{\"live\":false}";
const LIVE: &str = "{\"live\":true}";
const MAX_AGE_MS: i64 = 80;

#[derive(Debug, Clone)]
enum Step {
    /// One of the two systems.
    Turn(usize, Mode),
    Pause(u64),
    /// Of one of three keys, waiting so long.
    Ask(u8, u64),
    Purge(u8),
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![
        4 => Just(Mode::Right(DEAD)),
        4 => Just(Mode::Right(LIVE)),
        1 => Just(Mode::Slow(15, DEAD)),
        1 => Just(Mode::Slow(15, LIVE)),
        1 => Just(Mode::Loris),
        1 => Just(Mode::Reset),
        1 => Just(Mode::Cut),
        1 => Just(Mode::Status("500 Broken")),
        1 => Just(Mode::Status("404 Not Found")),
        1 => Just(Mode::Status("429 Slow\r\nRetry-After: 0")),
        1 => Just(Mode::WrongJson),
        1 => Just(Mode::Html("200 OK")),
        1 => Just(Mode::Redirect("http://127.0.0.1:1/".to_owned())),
        1 => Just(Mode::Flapping(DEAD)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..2_usize, mode()).prop_map(|(which, mode)| Step::Turn(which, mode)),
        3 => (1..60_u64).prop_map(Step::Pause),
        8 => (0..3_u8, 1..40_u64).prop_map(|(key, wait)| Step::Ask(key, wait)),
        1 => (0..3_u8).prop_map(Step::Purge),
    ]
}

#[derive(Default)]
struct Seen {
    suppressed: usize,
    escalated: usize,
    people: usize,
    /// Known, but too old for the playbook.
    too_old: usize,
    contradicted: usize,
}

/// Two systems of one rank, asked for one fact.
struct Pair {
    servers: [Server; 2],
    rigs: [Rig; 2],
    combined: Combined,
}

const CACHE: CacheConfig = CacheConfig {
    hit_ms: 40,
    absent_ms: 20,
    failure_ms: 15,
    stale_ms: 120,
    max_bytes: 1024 * 1024,
};

impl Pair {
    fn new(body: &'static str) -> Self {
        let servers = [body, body].map(|body| Server::start(Mode::Right(body)));
        let rig = |server: &Server| {
            let text = format!(
                "url: \"{}\", allow: [127.0.0.1], limits: {{timeout: 60ms, retries: 1, \
                 breaker: {{failures: 2, open_for: 100ms}}}}",
                server.url()
            );
            let rig = Rig::new(&text, CACHE);
            rig.cached.rule_within(Some(MAX_AGE_MS));
            rig
        };
        let rigs = [rig(&servers[0]), rig(&servers[1])];
        let (head, one) = ENRICHER.split_once("source:\n").unwrap();
        let one = one.replace("\n    ", "\n        ").trim_start().to_owned();
        let config = config(&format!("{head}source:\n  combine:\n    - {one}    - {one}"));
        let SourceConfig::Combine(source) = &config.source else { panic!("{config:?}") };
        let parts = rigs.iter().map(|rig| Some(Arc::clone(&rig.cached) as Arc<dyn Lookup>));
        let combined = Combined::new(&config, source, parts.collect());
        Self { servers, rigs, combined }
    }

    /// Whether this system said so, or that it has no such key, within the age that is allowed.
    fn said(&self, which: usize, key: &str, body: &str, at: Instant) -> (bool, bool) {
        let limit = Duration::from_millis(u64::try_from(MAX_AGE_MS).unwrap() + 2);
        let path = format!("/{key}");
        let served = self.servers[which].served();
        let lately = served.iter().filter(|served| {
            served.path == path && at.saturating_duration_since(served.at) <= limit
        });
        let bodies: Vec<&str> = lately.map(|served| served.body).collect();
        (bodies.contains(&body), bodies.contains(&"404"))
    }
}

/// What is automated must have been said; gives the ruling.
fn check(pair: &Pair, policy: &Policy, key: &str, wait: u64) -> Result<Checked, TestCaseError> {
    let deadline = Instant::now() + Duration::from_millis(wait);
    let row = pair.combined.ask(&[key])[0].by(deadline);
    let (at, wall) = (Instant::now(), now());
    let ruled = ruling(policy, &row);
    let body = match ruled {
        "suppress" => DEAD,
        "escalate" => LIVE,
        "route" | "hold" => return Ok((ruled, row)),
        other => return Err(TestCaseError::fail(other)),
    };
    prop_assert_eq!(row.state, FactState::Known);
    let age = wall.since(row.as_of.unwrap());
    prop_assert!((0..=MAX_AGE_MS).contains(&age), "{age} ms old: {row:?}");
    let said = [0, 1].map(|which| pair.said(which, key, body, at));
    let is_said = said.iter().any(|(said, _)| *said);
    let is_agreed = said.iter().all(|(said, has_none)| *said || *has_none);
    prop_assert!(is_said && is_agreed, "{ruled} on {said:?}: {row:?}");
    Ok((ruled, row))
}

type Checked = (&'static str, Arc<FactRow>);

#[test]
fn no_alert_is_automated_on_what_was_not_said_lately_and_agreed() {
    let policy = rules(&PLAYBOOK.replace("max_age: 10s", &format!("max_age: {MAX_AGE_MS}ms")));
    let mut runner =
        TestRunner::new(Config { cases: 50, failure_persistence: None, ..Config::default() });
    let seen = RefCell::new(Seen::default());
    let result = runner.run(&prop::collection::vec(step(), 10..40), |steps| {
        let pair = Pair::new(if steps.len() % 2 == 0 { DEAD } else { LIVE });
        for step in &steps {
            match step {
                Step::Turn(which, mode) => pair.servers[*which].turn(mode.clone()),
                Step::Pause(milliseconds) => pause(*milliseconds),
                Step::Purge(key) => pair.combined.forget(&key.to_string()),
                Step::Ask(key, wait) => {
                    let (ruled, row) = check(&pair, &policy, &key.to_string(), *wait)?;
                    seen.borrow_mut().count(ruled, &row);
                }
            }
        }
        drop(pair.rigs);
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
    let seen = seen.into_inner();
    println!(
        "{} suppressed, {} escalated, {} to people, {} of these as the fact was too old, {} as it was contradicted",
        seen.suppressed, seen.escalated, seen.people, seen.too_old, seen.contradicted
    );
    assert!(seen.suppressed > 5 && seen.escalated > 5 && seen.people > 10);
    assert!(seen.too_old > 0 && seen.contradicted > 0);
}

impl Seen {
    fn count(&mut self, ruled: &str, row: &FactRow) {
        let live = row.values.first();
        match ruled {
            "suppress" => self.suppressed += 1,
            "escalate" => self.escalated += 1,
            _ => {
                self.people += 1;
                self.contradicted += usize::from(live == Some(&Value::Unknown(Why::Conflict)));
                self.too_old += usize::from(matches!(live, Some(Value::Bool(_))));
            }
        }
    }
}
