//! What remembering costs: a million alerts about a hundred thousand identities, and one identity
//! that floods. One thread and no broker, by the code that the workers run. Only rulings are made: what is
//! held never ends here, where a worker ends the oldest above 1,024, so that cost and memory are too high.
//!
//! `cargo bench --bench flood -- [--alerts N]`
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a measurement that cannot go on has failed"
)]

mod load;

use std::time::{Duration, Instant};

use load::{Load, PARTITIONS, mixed};
use tipstaff::audit::{Chain, Committed, Kind, Link, Picked, Record, Resume, resume};
use tipstaff::case::{Arrival, Body, Field, Millis, Origin, Value};
use tipstaff::correlate::State;
use tipstaff::normalize::partition_of;
use tipstaff::pipeline::{Active, Case, Identity, Lane, Outbox, Sent, Terms, Topics, look_up};

const CHAIN: &str = "flood";
const IDENTITIES: u64 = 100_000;
/// One identity in so many has [`SKEW`] times as many alerts as each of the others.
const HOT_EVERY: u64 = 20;
const SKEW: u64 = 20;
const BATCH: u64 = 2000;
/// Between two alerts.
const STEP_MS: i64 = 10;
const LOOKUP: Duration = Duration::from_secs(60);

/// Alerts as the shipped examples make them, each about the identity that it is given.
struct Stream<'l> {
    load: &'l Load,
    examples: Vec<Arrival<'static>>,
    topics: Topics,
}

impl Stream<'_> {
    fn alert(&self, n: u64, identity: u64) -> Arrival<'static> {
        let mut arrival = self.examples[(mixed(n) >> 40) as usize % self.examples.len()].clone();
        let Body::Alert(alert) = &mut arrival.body else { unreachable!() };
        let mut set = |field: Field, text: String| alert.set(field, Value::Text(text.into()));
        set(Field::NhiId, format!("flood:service-{identity:06}"));
        set(Field::CredentialId, format!("credential-{identity:06}"));
        set(Field::CredentialFingerprint, format!("fp-{identity:06}"));
        set(Field::SourceIp, format!("198.51.100.{}", mixed(n) >> 56));
        arrival.origin = Origin { offset: n as i64, ..arrival.origin };
        arrival.alert_id = arrival.origin.alert_id();
        arrival
    }

    fn some_identity(n: u64) -> u64 {
        let hot = IDENTITIES / HOT_EVERY;
        let at = mixed(n) % (hot * SKEW + IDENTITIES - hot);
        if at < hot * SKEW { at / SKEW } else { at - hot * SKEW + hot }
    }
}

/// What came of one stream.
struct Came {
    lanes: Vec<Lane>,
    /// Of each lane what a recovery would read.
    tails: Vec<Vec<Vec<u8>>>,
    ruling: Duration,
    snapshot_bytes: usize,
    record_bytes: usize,
}

fn run(stream: &Stream<'_>, alerts: u64, identity: &dyn Fn(u64) -> u64, lanes: i32) -> Came {
    let terms = Terms {
        active: Active::unsigned(&stream.load.loaded.checked.policy, 1),
        topics: stream.topics.clone(),
        identity: Identity { instance: "bench".to_owned() },
        findings: false,
    };
    let lane = |partition| Lane::new(partition, Chain::new(CHAIN, None), State::default());
    let mut came = Came {
        lanes: (0..lanes).map(lane).collect(),
        tails: (0..lanes).map(|_| Vec::new()).collect(),
        ruling: Duration::ZERO,
        snapshot_bytes: 0,
        record_bytes: 0,
    };
    for place in 0..came.lanes.len() {
        let (engine, actor) = (terms.identity.engine(), terms.identity.actor());
        let genesis = Record::new(Kind::Genesis, stream.load.now, engine, actor);
        let mut sent: Vec<Sent> = Vec::new();
        came.lanes[place].write(&terms, genesis, &mut Outbox::memory(&mut sent));
        came.keep(place, sent, &terms.topics.decisions);
    }
    let mut offsets = vec![0_i64; lanes as usize];
    for from in (0..alerts).step_by(BATCH as usize) {
        let now = stream.load.now.plus(from as i64 * STEP_MS);
        let arrivals = (from..(from + BATCH).min(alerts)).map(|n| stream.alert(n, identity(n)));
        let mut cases: Vec<(usize, Case<'_>)> = arrivals
            .map(|arrival| {
                let Body::Alert(alert) = &arrival.body else { unreachable!() };
                let place = partition_of(alert.text(Field::NhiId).unwrap(), lanes) as usize;
                let offset = offsets[place];
                offsets[place] += 1;
                let facts = Vec::new();
                let arrival = Some(arrival);
                (place, Case { offset, received_at: now, bytes: &[], arrival, facts })
            })
            .collect();
        let until = Instant::now() + LOOKUP;
        for (_, case) in &mut cases {
            look_up(&terms, &stream.load.loaded.enrichers, std::slice::from_mut(case), until);
        }
        for (place, case) in &cases {
            let mut sent: Vec<Sent> = Vec::new();
            let mut out = Outbox::memory(&mut sent);
            let began = Instant::now();
            came.lanes[*place].rule(&terms, case, now, &mut out);
            came.ruling += began.elapsed();
            drop(out);
            came.keep(*place, sent, &terms.topics.decisions);
        }
    }
    came
}

impl Came {
    /// Of the chain, from its last snapshot on.
    fn keep(&mut self, place: usize, sent: Vec<Sent>, decisions: &str) {
        let tail = &mut self.tails[place];
        for value in sent.into_iter().filter(|s| s.topic == *decisions).filter_map(|s| s.value) {
            self.record_bytes += value.len();
            let text = std::str::from_utf8(&value).unwrap();
            if text.contains("\"kind\":\"snapshot\"") {
                if !text.contains("\"part\":") {
                    tail.clear();
                    self.snapshot_bytes = 0;
                }
                self.snapshot_bytes += value.len();
            }
            tail.push(value);
        }
    }

    /// The slowest lane's, and whether what it restores is what there was.
    fn restore(&self) -> (Duration, usize) {
        let mut slowest = (Duration::ZERO, 0);
        for (lane, tail) in self.lanes.iter().zip(&self.tails) {
            let links: Vec<Link> = (0..)
                .zip(tail)
                .map(|(offset, bytes)| Link { offset, bytes: bytes.as_slice().into() })
                .collect();
            let began = Instant::now();
            let Resume::Picked(picked) =
                resume::<State>(CHAIN, &links, true, &Committed::default())
            else {
                panic!("there is nothing to go on from");
            };
            let Picked { state, .. } = *picked;
            slowest = slowest.max((began.elapsed(), links.len()));
            assert!(state.cases().len() == lane.state().cases().len(), "another state");
        }
        slowest
    }

    fn cases(&self) -> usize {
        self.lanes.iter().map(|lane| lane.state().cases().len()).sum()
    }
}

/// MiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

fn main() {
    let given: Vec<String> = std::env::args().collect();
    let alerts = given.iter().position(|each| each == "--alerts");
    let alerts: u64 = alerts.map_or(1_000_000, |at| given[at + 1].parse().unwrap());
    let now = Millis(1_767_225_600_000);
    println!(
        "| stream | alerts | ns an alert | without correlation | cases | state, MiB | snapshot, MiB | bytes a record | restored in, ms | records read |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    let floods = |n: u64| if n.is_multiple_of(100) { 1 + n } else { 0 };
    let (all, flooding): (&dyn Fn(u64) -> u64, &dyn Fn(u64) -> u64) =
        (&Stream::some_identity, &floods);
    let streams = [
        ("100,000 identities, one in 20 with 20 times as many", all, alerts, PARTITIONS),
        ("one identity is 99 % of a partition", flooding, alerts / 4, 1),
    ];
    let (with, without) = (Load::new(now, 0), Load::without_correlation(now));
    for (name, identity, alerts, lanes) in streams {
        let before = resident();
        let came = run(&stream(&with), alerts, identity, lanes);
        let tails: usize = came.tails.iter().flatten().map(Vec::len).sum();
        let state = resident().saturating_sub(before).saturating_sub(tails as u64 >> 20);
        let (restored, records) = came.restore();
        let plain = run(&stream(&without), alerts, identity, lanes);
        let each = |came: &Came| came.ruling.as_nanos() as f64 / alerts as f64;
        println!(
            "| {name} | {alerts} | {:.0} | {:.0} ({:.2}) | {} | {state} | {:.1} | {} | {} | {records} |",
            each(&came),
            each(&plain),
            each(&plain) / each(&came),
            came.cases(),
            came.snapshot_bytes as f64 / f64::from(1 << 20),
            came.record_bytes / alerts as usize,
            restored.as_millis(),
        );
    }
}

fn stream(load: &Load) -> Stream<'_> {
    let arrivals = (0..200).flat_map(|n| load.arrivals(n));
    let examples = arrivals.filter(|arrival| arrival.body.alert().is_some()).collect();
    Stream { load, examples, topics: Topics::new("flood", PARTITIONS) }
}
