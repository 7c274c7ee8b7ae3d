//! Everything that can go wrong with a system that is asked: which fact comes of it, and which
//! ruling of that.

use std::time::{Duration, Instant};

use std::sync::Arc;
use tipstaff::case::{FactRow, FactState, Field};
use tipstaff::config::CacheConfig;
use tipstaff::decide::{Inputs, decide};
use tipstaff::enrich::Lookup;
use tipstaff::policy::Policy;

use crate::rig::{Rig, now, pause, state};
use crate::server::{Mode, Server};
use crate::support::{Situation, alert, policy};

/// Suppresses a dead credential and disables a live one, when the vault says so and did so lately.
pub const PLAYBOOK: &str = r#"
playbook: exposed-key
title: A key was found where others can read it
owner: platform-security
mode: live
on: {kind: exposed_key}
controls: {nist_csf: [RS.MA-02]}
facts: {vault: {max_age: 10s}}
rules:
  - id: dead
    when: ["vault.live == false"]
    on_unknown: next
    suppress: {reason: revoked_verified, evidence: [vault.live], expires: 10d, on_expiry: recheck}
  - id: live
    when: ["vault.live"]
    on_unknown: route
    escalate: {action: disable-key, rollback: enable-key, expires: 24h, queue: cloud, priority: high}
  - id: otherwise
    route: {queue: people, priority: high}
"#;

const BOUNDARY: &str = r#"
boundary: base
owner: security
default_queue: {queue: triage, priority: medium}
allow: [{id: keys, actions: [disable-key]}]
suppress: {max_expires: 20d}
"#;

pub fn rules(playbook: &str) -> Policy {
    policy(&[playbook], &[BOUNDARY]).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

/// The ruling's name about an alert with this fact.
pub fn ruling(policy: &Policy, row: &Arc<FactRow>) -> &'static str {
    let subject = alert(&[
        (Field::Kind, "exposed_key"),
        (Field::Detector, "gitleaks"),
        (Field::Severity, "high"),
        (Field::NhiId, "aws:deploy"),
        (Field::NhiKind, "service_account"),
        (Field::NhiKnownBy, "native"),
        (Field::CredentialId, "AKIA1"),
    ]);
    let situation = Situation::new(subject, vec![None, None, Some(Arc::clone(row))]);
    let inputs = Inputs {
        arrival: &situation.arrival,
        facts: &situation.facts,
        counters: &situation.counters,
        now: now(),
    };
    decide(policy, &inputs).decision.fate.name()
}

const DEADLINE: u64 = 500;
const DEAD: &str = "{\"live\":false}";
const LIVE: &str = "{\"live\":true}";

struct Case {
    what: &'static str,
    mode: Mode,
    /// The fact within the batch's deadline, and what its detail says.
    state: &'static str,
    told: &'static str,
    ruling: &'static str,
}

fn case(
    what: &'static str,
    mode: Mode,
    state: &'static str,
    told: &'static str,
    ruling: &'static str,
) -> Case {
    Case { what, mode, state, told, ruling }
}

fn cases() -> Vec<Case> {
    let (error, late) = ("unknown(error) fetched", "unknown(timeout)");
    vec![
        case("none: it says live", Mode::Right(LIVE), "known fetched", "", "escalate"),
        case("none: it says dead", Mode::Right(DEAD), "known fetched", "", "suppress"),
        case(
            "none: it has no such key",
            Mode::Status("404 Not Found"),
            "absent fetched",
            "",
            "route",
        ),
        case("slower than the batch", Mode::Slow(1000, DEAD), late, "not there in time", "route"),
        case("a byte now and then", Mode::Loris, late, "not there in time", "route"),
        case("reset", Mode::Reset, error, "error", "route"),
        case("less than announced", Mode::Cut, error, "error", "route"),
        case("500", Mode::Status("500 Broken"), error, "the answer was 500", "route"),
        case("503", Mode::Status("503 Down"), error, "the answer was 503", "route"),
        case(
            "429, Retry-After: 30",
            Mode::Status("429 Slow\r\nRetry-After: 30"),
            error,
            "the answer was 429",
            "route",
        ),
        case("401", Mode::Status("401 No"), error, "the answer was 401", "route"),
        case("403", Mode::Status("403 No"), error, "the answer was 403", "route"),
        case("JSON that ends early", Mode::WrongJson, error, "JSON", "route"),
        case("JSON of another type", Mode::Right("{\"live\":\"no\"}"), error, "`one`", "route"),
        case("JSON without the field", Mode::Right("{}"), error, "`one`", "route"),
        case(
            "10 MB, announced",
            Mode::Large { announced: true },
            error,
            "more than 65536",
            "route",
        ),
        case("10 MB", Mode::Large { announced: false }, error, "more than 65536", "route"),
        case(
            "redirect to metadata",
            Mode::Redirect("http://169.254.169.254/latest/meta-data/".to_owned()),
            error,
            "the answer was 302",
            "route",
        ),
        case("a page of HTML", Mode::Html("200 OK"), error, "not of a kind", "route"),
        case("a proxy's page, 404", Mode::Html("404 Not Found"), error, "not of a kind", "route"),
        case("another status", Mode::Status("418 Teapot"), error, "418", "route"),
    ]
}

const CACHE: CacheConfig = CacheConfig { failure_ms: 200, ..CACHE_LONG };
const CACHE_LONG: CacheConfig = CacheConfig {
    hit_ms: 60_000,
    absent_ms: 60_000,
    failure_ms: 60_000,
    stale_ms: 60_000,
    max_bytes: 1024 * 1024,
};

fn limits(url: &str) -> String {
    format!(
        "url: \"{url}\", allow: [127.0.0.1], limits: {{timeout: 1500ms, retries: 1, \
         max_bytes: 64KiB, breaker: {{failures: 3, open_for: 300ms}}}}"
    )
}

#[test]
fn every_fault_is_unknown_and_leads_to_people() {
    let policy = rules(PLAYBOOK);
    println!("\n{:26} {:24} {:9} {:>7}  detail", "fault", "fact", "ruling", "took");
    for case in cases() {
        let server = Server::start(case.mode.clone());
        let rig = Rig::new(&limits(&server.url()), CACHE);
        let began = Instant::now();
        let row = rig.ask_for("key", DEADLINE);
        let took = began.elapsed();
        let (seen, ruled) = (state(&row), ruling(&policy, &row));
        let detail = row.detail.as_deref().unwrap_or("-");
        println!("{:26} {seen:24} {ruled:9} {:>4} ms  {detail}", case.what, took.as_millis());
        assert_eq!((&*seen, ruled), (case.state, case.ruling), "{}: {detail}", case.what);
        assert!(detail.contains(case.told), "{}: {detail}", case.what);
        assert!(took < Duration::from_millis(DEADLINE + 250), "{}: {took:?}", case.what);
        // Nothing was kept that was no answer: once it goes well, the next who asks is told so.
        if matches!(row.state, FactState::Unknown(_)) {
            server.turn(Mode::Right(LIVE));
            if case.what.starts_with("429") {
                continue;
            }
            recovers(&rig, case.what);
        }
    }
    refused(&policy);
    open(&policy);
}

fn recovers(rig: &Rig, what: &str) {
    let end = Instant::now() + Duration::from_secs(6);
    let mut row = rig.ask_for("key", 50);
    while row.state != FactState::Known {
        assert!(Instant::now() < end, "{what}: {row:?}");
        pause(20);
        row = rig.ask_for("key", 50);
    }
}

/// Nobody listens; the name is one of this machine; the breaker is open.
fn refused(policy: &Policy) {
    for (what, url) in [
        ("nobody listens", "http://127.0.0.1:1"),
        ("no such name", "http://no-such-name.invalid"),
        ("an address not listed", "http://localhost:1"),
    ] {
        let allow = if what.contains("not listed") { "10.0.0.0/8" } else { "127.0.0.1" };
        let text = limits(url).replace("allow: [127.0.0.1]", &format!("allow: [{allow}]"));
        let rig = Rig::new(&text, CACHE);
        let row = rig.ask_for("key", 5000);
        let detail = row.detail.as_deref().unwrap_or("-");
        println!("{what:26} {:24} {:9} {:>7}  {detail}", state(&row), ruling(policy, &row), "");
        assert_eq!(state(&row), "unknown(error) fetched");
        assert_eq!(ruling(policy, &row), "route");
    }
}

fn open(policy: &Policy) {
    let server = Server::start(Mode::Status("500 Broken"));
    let rig = Rig::new(&limits(&server.url()), CACHE);
    let row = (0..4).map(|n| rig.ask(&n.to_string())).last().unwrap();
    let detail = row.detail.as_deref().unwrap_or("-");
    println!(
        "{:26} {:24} {:9} {:>7}  {detail}",
        "breaker open",
        state(&row),
        ruling(policy, &row),
        ""
    );
    assert!(detail.contains("asked again at"), "{detail}");
    assert_eq!((ruling(policy, &row), server.requests()), ("route", 3));
}

/// Many keys at once at a system that fails now and then, and then does not any more.
#[test]
fn throughput_recovers_and_the_deadline_holds_for_a_whole_batch() {
    let server = Server::start(Mode::Slow(20, LIVE));
    let rig = Rig::new(&limits(&server.url()).replace("retries: 1", "concurrency: 64"), CACHE);
    let batch = |round: usize| {
        let keys: Vec<String> = (0..200).map(|key| format!("{round}-{key}")).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let began = Instant::now();
        let answers = rig.cached.ask(&keys);
        let asked = began.elapsed();
        let deadline = began + Duration::from_millis(DEADLINE);
        let rows: Vec<_> = answers.iter().map(|answer| answer.by(deadline)).collect();
        let took = began.elapsed();
        assert!(took < Duration::from_millis(DEADLINE + 300), "{took:?}");
        assert!(asked < Duration::from_millis(200), "asking waits for nobody: {asked:?}");
        rows.iter().filter(|row| row.state == FactState::Known).count()
    };
    let before = batch(0);
    for (round, mode) in
        (1..).zip([Mode::Loris, Mode::Reset, Mode::Flapping(LIVE), Mode::Status("503 Down")])
    {
        server.turn(mode.clone());
        println!("{mode:?}: {} of 200 known by the deadline", batch(round));
    }
    server.turn(Mode::Slow(20, LIVE));
    let mut after = 0;
    for round in 5..20 {
        pause(200);
        after = after.max(batch(round));
    }
    println!("before {before}, after {after} of 200");
    assert!(before >= 150 && after >= 150, "{before} before, {after} after");
}
