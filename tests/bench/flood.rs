//! What remembering costs: a million alerts about a hundred thousand identities, and one identity
//! that floods. One thread and no broker, by the code that the workers run: what is held or suppressed
//! ends as it does there. What people were told is read back; another process restores the chains,
//! with facts of a hundred thousand identities in its cache.
//!
//! `cargo bench --bench flood -- [--alerts N]`; with `--growth [--rounds N] [--short]` whether what an
//! alert costs grows with the partitions of one worker, or with the NHIs in one table.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a measurement that cannot go on has failed"
)]

mod cached;
mod cpu;
mod growth;
mod load;
mod restart;

use std::collections::HashMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use cpu::cpu;
use load::{Load, PARTITIONS, mixed};
use restart::{Restart, Tail, memory};
use serde::Deserialize;
use tipstaff::app::Loaded;
use tipstaff::audit::{CASES_PREFIX, Chain, Kind, Record};
use tipstaff::case::{Again, Arrival, Body, Field, Millis, OnExpiry, Origin, Value};
use tipstaff::correlate::{Silence, State, Waiting};
use tipstaff::enrich::Enrichers;
use tipstaff::normalize::partition_of;
use tipstaff::pipeline::{Active, Case, Identity, Lane, Outbox, Sent, Terms, Topics, look_up};

const CHAIN: &str = "flood";
const IDENTITIES: u64 = 100_000;
/// One identity in so many has [`SKEW`] times as many alerts as each of the others.
const HOT_EVERY: u64 = 20;
const SKEW: u64 = 20;
const BATCH: u64 = 2000;
const PER_SECOND: i64 = 100;
const LOOKUP: Duration = Duration::from_secs(60);
/// One case in so many is read back, and each of the first identity.
const READ_EVERY: u128 = 64;
const FIRST: &str = "flood:service-000000";

/// Alerts as the shipped examples make them, each about the identity that it is given.
struct Stream<'l> {
    load: &'l Load,
    examples: Vec<Arrival<'static>>,
}

impl<'l> Stream<'l> {
    fn of(load: &'l Load) -> Self {
        let arrivals = (0..200).flat_map(|n| load.arrivals(n));
        Self { load, examples: arrivals.filter(|each| each.body.alert().is_some()).collect() }
    }

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

/// How many alerts about whom, how fast, in so many partitions.
struct Flow<'f> {
    alerts: u64,
    identity: &'f dyn Fn(u64) -> u64,
    lanes: i32,
    per_second: i64,
}

impl Flow<'_> {
    /// When an alert comes, behind the first.
    fn at(&self, n: u64) -> i64 {
        n as i64 * 1000 / self.per_second
    }
}

/// What came of one stream.
struct Came {
    lanes: Vec<Lane>,
    /// Of each lane what a recovery would read.
    tails: Vec<Tail>,
    /// What people have of some cases.
    told: HashMap<String, Told>,
    ruling: Duration,
    record_bytes: usize,
}

/// What of a case a queue shows.
#[derive(Deserialize)]
struct Told {
    case_id: String,
    case_revision: u32,
    summary: String,
    count: i64,
    #[serde(skip)]
    is_of_first: bool,
}

/// What it has for them to do, as the workers have with each batch.
struct Loop<'s> {
    stream: &'s Stream<'s>,
    terms: Terms,
    came: Came,
    identity: &'s dyn Fn(u64) -> u64,
    /// By lane and offset, which alert of the stream it was.
    places: Vec<Vec<u32>>,
}

fn terms(loaded: &Loaded) -> Terms {
    Terms {
        active: Active::unsigned(&loaded.checked.policy, 1),
        topics: Topics::new("flood", PARTITIONS),
        identity: Identity { instance: "bench".to_owned() },
        findings: false,
    }
}

fn run(load: &Load, flow: &Flow<'_>) -> Came {
    let Flow { alerts, identity, lanes, .. } = *flow;
    let lane = |partition| Lane::new(partition, Chain::new(CHAIN, None), State::default());
    let came = Came {
        lanes: (0..lanes).map(lane).collect(),
        tails: (0..lanes).map(|_| Tail::new()).collect(),
        told: HashMap::new(),
        ruling: Duration::ZERO,
        record_bytes: 0,
    };
    let places = (0..lanes).map(|_| Vec::new()).collect();
    let stream = Stream::of(load);
    let mut all = Loop { stream: &stream, terms: terms(&load.loaded), came, identity, places };
    let now = load.now;
    all.timed(|lanes, terms, out| {
        for lane in lanes {
            let (engine, actor) = (terms.identity.engine(), terms.identity.actor());
            lane.write(terms, Record::new(Kind::Genesis, now, engine, actor), out);
        }
    });
    for from in (0..alerts).step_by(BATCH as usize) {
        let now = now.plus(flow.at(from));
        all.revisit(now);
        all.rule(from..(from + BATCH).min(alerts), now);
    }
    all.came
}

/// Messages as the workers have them.
fn read<'b>(messages: impl Iterator<Item = (i64, &'b [u8])>, now: Millis) -> Vec<Case<'b>> {
    let read = |(offset, bytes)| {
        let arrival = Arrival::parse(bytes);
        Case { offset, received_at: now, bytes, arrival, facts: Vec::new() }
    };
    messages.map(read).collect()
}

/// Read, and looked up in one go.
fn cases<'b>(
    (terms, enrichers): (&Terms, &Enrichers),
    messages: impl Iterator<Item = (i64, &'b [u8])>,
    now: Millis,
) -> Vec<Case<'b>> {
    let mut cases = read(messages, now);
    look_up(terms, enrichers, &mut cases, Instant::now() + LOOKUP);
    cases
}

impl Loop<'_> {
    /// Counts as the workers' own time what `work` takes.
    fn timed(&mut self, work: impl FnOnce(&mut [Lane], &Terms, &mut Outbox<'_>)) {
        let mut sent: Vec<Sent> = Vec::new();
        let began = cpu();
        work(&mut self.came.lanes, &self.terms, &mut Outbox::memory(&mut sent));
        self.came.ruling += cpu() - began;
        self.came.keep(sent, &self.terms.topics);
    }

    fn rule(&mut self, alerts: Range<u64>, now: Millis) {
        let messages: Vec<(usize, i64, Vec<u8>)> = alerts.map(|n| self.message(n)).collect();
        let enrichers = &self.stream.load.loaded.enrichers;
        self.timed(|lanes, terms, out| {
            let each = messages.iter().map(|(_, offset, bytes)| (*offset, bytes.as_slice()));
            for (case, (place, ..)) in cases((terms, enrichers), each, now).iter().zip(&messages) {
                lanes[*place].rule(terms, case, now, out);
            }
        });
    }

    /// Its lane, its place there, and its text.
    fn message(&mut self, n: u64) -> (usize, i64, Vec<u8>) {
        let arrival = self.stream.alert(n, (self.identity)(n));
        let nhi = arrival.body.alert().unwrap().text(Field::NhiId).unwrap();
        let place = partition_of(nhi, self.places.len() as i32) as usize;
        self.places[place].push(n as u32);
        (place, self.places[place].len() as i64 - 1, serde_json::to_vec(&arrival).unwrap())
    }

    fn revisit(&mut self, now: Millis) {
        for place in 0..self.places.len() {
            self.end_holds(place, self.came.lanes[place].surplus(), now);
            let waits = self.came.lanes[place].waits().iter();
            let is_over = |held: &&Waiting| held.standing.due.is_some_and(|due| due <= now);
            let over = waits.filter(|each| each.standing.is_held).filter(is_over);
            self.end_holds(place, over.cloned().collect(), now);
            let over = self.came.lanes[place].state().silences().over(now);
            self.end_silences(place, over.cloned().collect(), now);
            self.timed(|lanes, terms, out| {
                lanes[place].tell_overdue(terms, now, out);
            });
        }
    }

    fn end_holds(&mut self, place: usize, over: Vec<Waiting>, now: Millis) {
        let enrichers = &self.stream.load.loaded.enrichers;
        self.timed(|lanes, terms, out| {
            let lane = &mut lanes[place];
            let texts: Vec<Box<[u8]>> =
                over.iter().map(|held| lane.text(&held.alert_id).unwrap().into()).collect();
            let each = over.iter().zip(&texts).map(|(held, text)| (held.offset, &**text));
            for (case, held) in cases((terms, enrichers), each, now).iter().zip(&over) {
                let why = (Again::HoldOver, &[] as &[&str]);
                lane.revise(terms, held.before(), case, why, (now, out)).unwrap();
            }
        });
    }

    fn end_silences(&mut self, place: usize, over: Vec<Silence>, now: Millis) {
        let enrichers = &self.stream.load.loaded.enrichers;
        let text = |silence: &Silence| {
            let n = u64::from(self.places[place][silence.offset as usize]);
            serde_json::to_vec(&self.stream.alert(n, (self.identity)(n))).unwrap()
        };
        let texts: Vec<Vec<u8>> = over.iter().map(text).collect();
        self.timed(|lanes, terms, out| {
            let each = over.iter().zip(&texts).map(|(silence, text)| (silence.offset, &**text));
            let cases = cases((terms, enrichers), each, now);
            for (case, silence) in cases.iter().zip(&over) {
                let (lane, why) = (&mut lanes[place], (Again::SuppressionOver, &[] as &[&str]));
                match silence.on_expiry {
                    OnExpiry::Recheck => {
                        lane.revise(terms, silence.before(), case, why, (now, out)).unwrap();
                    }
                    OnExpiry::ReleaseSummary => {
                        lane.release(terms, silence, "suppression_over", (now, out));
                    }
                }
            }
        });
    }
}

impl Came {
    fn keep(&mut self, sent: Vec<Sent>, topics: &Topics) {
        let cases = topics.output(CASES_PREFIX);
        for Sent { topic, partition, value, .. } in sent {
            let value = value.unwrap_or_default();
            if topic == topics.decisions {
                self.record_bytes += value.len();
                self.tails[partition as usize].add(&value);
            } else if topic.starts_with(&cases) {
                let mut told: Told = serde_json::from_slice(&value).unwrap();
                assert!(!told.summary.is_empty(), "of {}", told.case_id);
                told.is_of_first = String::from_utf8(value).unwrap().contains(FIRST);
                if told.is_read() {
                    self.told.insert(told.case_id.clone(), told);
                }
            }
        }
    }

    fn cases(&self) -> usize {
        self.lanes.iter().map(|lane| lane.state().cases().len()).sum()
    }

    /// How many cases stand in their queues as the state says that people have them; and of the
    /// first identity how many alerts they count, and were told of.
    fn read_back(&self) -> (usize, [i64; 2]) {
        let (mut there, mut of_first) = (0, [0, 0]);
        for Told { case_id, case_revision, count, is_of_first, .. } in self.told.values() {
            let mut cases = self.lanes.iter().map(|lane| lane.state().cases());
            let case = cases.find_map(|cases| cases.get(case_id));
            let Some((case, had)) = case.and_then(|case| Some((case, case.had.as_ref()?))) else {
                continue;
            };
            assert_eq!(had.revision, *case_revision, "of {case_id}");
            assert!(*count <= case.seen, "of {case_id}");
            there += 1;
            if *is_of_first {
                of_first = [of_first[0] + case.seen, of_first[1] + count];
            }
        }
        (there, of_first)
    }
}

impl Told {
    fn is_read(&self) -> bool {
        let number = u128::from_str_radix(&self.case_id, 16).unwrap();
        self.is_of_first || number.is_multiple_of(READ_EVERY)
    }
}

fn main() {
    let given: Vec<String> = std::env::args().skip(1).collect();
    if let [restart, now, at, paths @ ..] = given.as_slice()
        && restart == "--restart"
    {
        let [now, at] = [now, at].map(|time| Millis(time.parse().unwrap()));
        let restart = Restart::measure(now, at, paths);
        return println!("{}", serde_json::to_string(&restart).unwrap());
    }
    if growth::is_asked(&given) {
        return;
    }
    let alerts = given.iter().position(|each| each == "--alerts");
    let alerts: u64 = alerts.map_or(1_000_000, |at| given[at + 1].parse().unwrap());
    println!(
        "| stream | alerts | a second | without correlation | of that | bytes a record | cases | state, MiB | snapshot, MiB | restored in, ms | records read | first ruling after, ms | a new process, MiB | with it | its peak | and a cache | cases read back | alerts of the first identity | of which people know |"
    );
    println!("|{}", " --- |".repeat(19));
    let floods = |n: u64| if n.is_multiple_of(100) { 1 + n } else { 0 };
    let name = "100,000 identities, one in 20 with 20 times as many";
    let flow = |identity, alerts, lanes| Flow { alerts, identity, lanes, per_second: PER_SECOND };
    row(name, &flow(&Stream::some_identity, alerts, PARTITIONS));
    row("one identity is 99 % of a partition", &flow(&floods, alerts / 4, 1));
    row("every alert has an identity of its own", &flow(&|n| n, alerts / 4, 1));
}

fn row(name: &str, flow: &Flow<'_>) {
    let alerts = flow.alerts;
    let now = Millis(1_767_225_600_000);
    let load = Load::new(now, 0);
    let before = memory("VmRSS:");
    let mut came = run(&load, flow);
    let state = memory("VmRSS:").saturating_sub(before);
    let at = now.plus(flow.at(alerts));
    let restart = Restart::of(&load, (&came.lanes, &mut came.tails), at);
    let Restart { first_ruling_ms, restore_ms, records, mib_before, mib, peak_mib, .. } = restart;
    let mib_with_cache = restart.mib_with_cache;
    let (cases, (read_back, [seen, known])) = (came.cases(), came.read_back());
    let snapshot: usize = came.tails.iter().map(|tail| tail.snapshot_bytes).sum();
    let (ruling, record_bytes) = (came.ruling, came.record_bytes / alerts as usize);
    drop((came, load));
    // What is not remembered costs the same from the first alert on.
    let some = alerts / 4;
    let plain = run(&Load::without_correlation(now), &Flow { alerts: some, ..*flow }).ruling;
    let rate = alerts as f64 / ruling.as_secs_f64();
    let plain = some as f64 / plain.as_secs_f64();
    println!(
        "| {name} | {alerts} | {rate:.0} | {plain:.0} | {:.2} | {record_bytes} | {cases} | {state} | {:.0} | {restore_ms} | {records} | {first_ruling_ms} | {mib_before} | {mib} | {peak_mib} | {mib_with_cache} | {read_back} | {seen} | {known} |",
        rate / plain,
        snapshot as f64 / f64::from(1 << 20),
    );
}
