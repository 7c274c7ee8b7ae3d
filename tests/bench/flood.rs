//! What remembering costs: a million alerts about a hundred thousand identities, and one identity
//! that floods. One thread and no broker, by the code that the workers run: what is held or suppressed
//! ends as it does there. What people were told is read back, and the chains are restored.
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

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Seek, Write};
use std::ops::Range;
use std::time::{Duration, Instant};

use load::{Load, PARTITIONS, mixed};
use serde::Deserialize;
use tipstaff::audit::{CASES_PREFIX, Chain, Committed, Kind, Link, Picked, Record, Resume, resume};
use tipstaff::case::{Again, Arrival, Body, Field, Millis, OnExpiry, Origin, Value};
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
/// One case in so many is read back.
const READ_EVERY: u128 = 64;

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
    tails: Vec<Tail>,
    /// The newest revision of some cases.
    told: HashMap<String, u32>,
    ruling: Duration,
    record_bytes: usize,
}

/// A chain from its last snapshot on, where it takes no memory.
struct Tail {
    file: BufWriter<File>,
    lengths: Vec<usize>,
    snapshot_bytes: usize,
}

/// What of a case a queue shows.
#[derive(Deserialize)]
struct Told {
    case_id: String,
    case_revision: u32,
    summary: String,
}

/// What it has for them to do, as the workers have between two batches.
struct Loop<'s> {
    stream: &'s Stream<'s>,
    terms: Terms,
    came: Came,
    identity: &'s dyn Fn(u64) -> u64,
    /// By lane and offset, which alert of the stream it was.
    places: Vec<Vec<u32>>,
}

fn run(stream: &Stream<'_>, alerts: u64, identity: &dyn Fn(u64) -> u64, lanes: i32) -> Came {
    let terms = Terms {
        active: Active::unsigned(&stream.load.loaded.checked.policy, 1),
        topics: stream.topics.clone(),
        identity: Identity { instance: "bench".to_owned() },
        findings: false,
    };
    let lane = |partition| Lane::new(partition, Chain::new(CHAIN, None), State::default());
    let came = Came {
        lanes: (0..lanes).map(lane).collect(),
        tails: (0..lanes).map(|_| Tail::new()).collect(),
        told: HashMap::new(),
        ruling: Duration::ZERO,
        record_bytes: 0,
    };
    let places = (0..lanes).map(|_| Vec::new()).collect();
    let mut all = Loop { stream, terms, came, identity, places };
    let now = stream.load.now;
    for place in 0..lanes as usize {
        all.with(place, |lane, terms, out| {
            let (engine, actor) = (terms.identity.engine(), terms.identity.actor());
            lane.write(terms, Record::new(Kind::Genesis, now, engine, actor), out);
        });
    }
    for from in (0..alerts).step_by(BATCH as usize) {
        let now = now.plus(from as i64 * STEP_MS);
        all.revisit(now);
        all.rule(from..(from + BATCH).min(alerts), now);
    }
    all.came
}

impl Loop<'_> {
    fn with(&mut self, place: usize, work: impl FnOnce(&mut Lane, &Terms, &mut Outbox<'_>)) {
        let mut sent: Vec<Sent> = Vec::new();
        let began = cpu();
        work(&mut self.came.lanes[place], &self.terms, &mut Outbox::memory(&mut sent));
        self.came.ruling += cpu() - began;
        self.came.keep(place, sent, &self.terms.topics);
    }

    fn look_up<'c>(&self, mut case: Case<'c>) -> Case<'c> {
        let enrichers = &self.stream.load.loaded.enrichers;
        look_up(&self.terms, enrichers, std::slice::from_mut(&mut case), Instant::now() + LOOKUP);
        case
    }

    fn rule(&mut self, alerts: Range<u64>, now: Millis) {
        for n in alerts {
            let arrival = self.stream.alert(n, (self.identity)(n));
            let bytes = serde_json::to_vec(&arrival).unwrap();
            let place = {
                let nhi = arrival.body.alert().unwrap().text(Field::NhiId).unwrap();
                partition_of(nhi, self.places.len() as i32) as usize
            };
            let offset = self.places[place].len() as i64;
            self.places[place].push(n as u32);
            let (arrival, facts) = (Some(arrival), Vec::new());
            let case = Case { offset, received_at: now, bytes: &bytes, arrival, facts };
            let case = self.look_up(case);
            self.with(place, |lane, terms, out| {
                lane.rule(terms, &case, now, out);
            });
        }
    }

    fn revisit(&mut self, now: Millis) {
        for place in 0..self.places.len() {
            for held in self.came.lanes[place].surplus() {
                let case = self.again(place, held.offset, now);
                let why = (Again::HoldOver, &[] as &[&str]);
                self.with(place, |lane, terms, out| {
                    lane.revise(terms, held.before(), &case, why, (now, out)).unwrap();
                });
            }
            let over = self.came.lanes[place].state().silences().over(now);
            for silence in over.cloned().collect::<Vec<_>>() {
                let case = self.again(place, silence.offset, now);
                let why = (Again::SuppressionOver, &[] as &[&str]);
                self.with(place, |lane, terms, out| match silence.on_expiry {
                    OnExpiry::Recheck => {
                        lane.revise(terms, silence.before(), &case, why, (now, out)).unwrap();
                    }
                    OnExpiry::ReleaseSummary => {
                        lane.release(terms, &silence, "suppression_over", (now, out));
                    }
                });
            }
            self.with(place, |lane, terms, out| {
                lane.tell_overdue(terms, now, out);
            });
        }
    }

    /// The alert of a place on the alerts topic.
    fn again(&self, place: usize, offset: i64, now: Millis) -> Case<'static> {
        let n = u64::from(self.places[place][offset as usize]);
        let (arrival, facts) = (Some(self.stream.alert(n, (self.identity)(n))), Vec::new());
        self.look_up(Case { offset, received_at: now, bytes: &[], arrival, facts })
    }
}

impl Tail {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("tipstaff-flood-{}", std::process::id()));
        let file = File::options().create_new(true).read(true).write(true).open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        Self { file: BufWriter::new(file), lengths: Vec::new(), snapshot_bytes: 0 }
    }

    fn add(&mut self, value: &[u8]) {
        let text = std::str::from_utf8(value).unwrap();
        if text.contains("\"kind\":\"snapshot\"") {
            if !text.contains("\"part\":") {
                self.file.rewind().unwrap();
                self.lengths.clear();
                self.snapshot_bytes = 0;
            }
            self.snapshot_bytes += value.len();
        }
        self.file.write_all(value).unwrap();
        self.lengths.push(value.len());
    }

    fn read(&mut self) -> Vec<Link> {
        self.file.rewind().unwrap();
        let mut file = self.file.get_ref();
        let read = |(offset, length): (i64, &usize)| {
            let mut bytes = vec![0; *length].into_boxed_slice();
            std::io::Read::read_exact(&mut file, &mut bytes).unwrap();
            Link { offset, bytes }
        };
        (0..).zip(&self.lengths).map(read).collect()
    }
}

impl Came {
    fn keep(&mut self, place: usize, sent: Vec<Sent>, topics: &Topics) {
        let cases = topics.output(CASES_PREFIX);
        for Sent { topic, value, .. } in sent {
            let value = value.unwrap_or_default();
            if topic == topics.decisions {
                self.record_bytes += value.len();
                self.tails[place].add(&value);
            } else if topic.starts_with(&cases) {
                let told: Told = serde_json::from_slice(&value).unwrap();
                assert!(!told.summary.is_empty(), "of {}", told.case_id);
                if is_read(&told.case_id) {
                    self.told.insert(told.case_id, told.case_revision);
                }
            }
        }
    }

    /// The slowest lane's, and whether what it restores is what there was.
    fn restore(&mut self) -> (Duration, usize) {
        let mut slowest = (Duration::ZERO, 0);
        for (lane, tail) in self.lanes.iter().zip(&mut self.tails) {
            let links = tail.read();
            let began = cpu();
            let Resume::Picked(picked) =
                resume::<State>(CHAIN, &links, true, &Committed::default())
            else {
                panic!("there is nothing to go on from");
            };
            let Picked { state, .. } = *picked;
            slowest = slowest.max((cpu() - began, links.len()));
            assert!(state == *lane.state(), "another state");
        }
        slowest
    }

    fn cases(&self) -> usize {
        self.lanes.iter().map(|lane| lane.state().cases().len()).sum()
    }

    /// How many cases stand in their queues as the state says that people have them.
    fn read_back(&self) -> usize {
        let is_there = |(case_id, revision): &(&String, &u32)| {
            let mut cases = self.lanes.iter().map(|lane| lane.state().cases());
            let case = cases.find_map(|cases| cases.get(case_id));
            let had = case.and_then(|case| case.had.as_ref());
            assert!(had.is_none_or(|had| had.revision == **revision), "of {case_id}");
            had.is_some()
        };
        self.told.iter().filter(is_there).count()
    }
}

fn is_read(case_id: &str) -> bool {
    u128::from_str_radix(case_id, 16).unwrap().is_multiple_of(READ_EVERY)
}

/// Of this thread, which a machine that is busy does not change; a sample, where it is short.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

/// MiB.
fn memory(what: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

fn main() {
    let given: Vec<String> = std::env::args().collect();
    let alerts = given.iter().position(|each| each == "--alerts");
    let alerts: u64 = alerts.map_or(1_000_000, |at| given[at + 1].parse().unwrap());
    let now = Millis(1_767_225_600_000);
    println!(
        "| stream | alerts | ns an alert | without correlation | cases | state, MiB | snapshot, MiB | bytes a record | restored in, ms | records read | restoring, MiB | cases read back |"
    );
    println!(
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    );
    let floods = |n: u64| if n.is_multiple_of(100) { 1 + n } else { 0 };
    let (all, flooding): (&dyn Fn(u64) -> u64, &dyn Fn(u64) -> u64) =
        (&Stream::some_identity, &floods);
    let streams = [
        ("100,000 identities, one in 20 with 20 times as many", all, alerts, PARTITIONS),
        ("one identity is 99 % of a partition", flooding, alerts / 4, 1),
        ("every alert has an identity of its own", &|n| n, alerts / 4, 1),
    ];
    let (with, without) = (Load::new(now, 0), Load::without_correlation(now));
    for (name, identity, alerts, lanes) in streams {
        let before = memory("VmRSS:");
        let mut came = run(&stream(&with), alerts, identity, lanes);
        let state = memory("VmRSS:").saturating_sub(before);
        // The kernel begins its peak anew.
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        let (restored, records) = came.restore();
        let restoring = memory("VmHWM:").saturating_sub(before);
        let (cases, read_back, record_bytes) = (came.cases(), came.read_back(), came.record_bytes);
        let snapshot: usize = came.tails.iter().map(|tail| tail.snapshot_bytes).sum();
        let ruling = came.ruling;
        drop(came);
        let plain = run(&stream(&without), alerts, identity, lanes).ruling;
        let each = |ruling: Duration| ruling.as_nanos() as f64 / alerts as f64;
        println!(
            "| {name} | {alerts} | {:.0} | {:.0} ({:.2}) | {cases} | {state} | {:.1} | {} | {} | {records} | {restoring} | {read_back} |",
            each(ruling),
            each(plain),
            each(plain) / each(ruling),
            snapshot as f64 / f64::from(1 << 20),
            record_bytes / alerts as usize,
            restored.as_millis(),
        );
    }
}

fn stream(load: &Load) -> Stream<'_> {
    let arrivals = (0..200).flat_map(|n| load.arrivals(n));
    let examples = arrivals.filter(|arrival| arrival.body.alert().is_some()).collect();
    Stream { load, examples, topics: Topics::new("flood", PARTITIONS) }
}
