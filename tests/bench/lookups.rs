//! What a cached lookup costs beside no lookup at all: alerts read, looked up and ruled on one
//! thread and without a broker, by the code that the workers run. 100,000 NHIs; 95 of 100 alerts are
//! about 5 of 100 of them; the source takes 20 ms.
//!
//! `cargo bench --bench lookups -- [--rounds N]`
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a measurement that cannot go on has failed"
)]

#[path = "../policy/support.rs"]
#[allow(dead_code, reason = "each user uses a part of it")]
mod support;

mod cached;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use cached::{AT_ONCE, NHIS, WITH, cached, checked, fill, nhi};
use tipstaff::app::system_clock;
use tipstaff::audit::Chain;
use tipstaff::case::{Arrival, FactState, Field};
use tipstaff::config::{Checked, EnricherConfig, Files};
use tipstaff::correlate::State;
use tipstaff::enrich::{Answer, Cached, Enrichers, Lookup};
use tipstaff::observe::Metrics;
use tipstaff::pipeline::{Active, Case, Identity, Lane, Outbox, Terms, Topics, look_up};
use tipstaff::text::Source;

const ALERTS: usize = 400_000;
const BATCH: usize = 1000;
const DEADLINE: Duration = Duration::from_millis(500);

const WITHOUT: &str = "rules:\n  - id: first\n    when: ['credential.type == \"none\"']\n\
    \x20   on_unknown: next\n    route: {queue: first, priority: critical}\n  - id: otherwise\n\
    \x20   route: {queue: people, priority: high}\n";

struct Shared(Arc<Cached>);

impl Lookup for Shared {
    fn ask(&self, keys: &[&str]) -> Vec<Answer> {
        self.0.ask(keys)
    }
}

/// The same numbers on every machine.
fn skewed(seed: &mut u64) -> usize {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    let (coin, place) = ((*seed >> 33) as usize % 100, (*seed >> 40) as usize);
    let hot = NHIS / 20;
    if coin < 95 { place % hot } else { hot + place % (NHIS - hot) }
}

fn lines() -> Vec<Vec<u8>> {
    let mut seed = 7;
    let line = |offset: usize| {
        let id = nhi(skewed(&mut seed));
        let mut arrival = support::arrival(support::alert(&[
            (Field::Kind, "exposed_key"),
            (Field::Detector, "gitleaks"),
            (Field::Severity, "high"),
            (Field::NhiId, &id),
            (Field::NhiKnownBy, "native"),
            (Field::CredentialId, &id),
        ]));
        arrival.origin.offset = offset as i64;
        arrival.alert_id = arrival.origin.alert_id();
        serde_json::to_vec(&arrival).unwrap()
    };
    (0..ALERTS).map(line).collect()
}

struct Bench {
    terms: Terms,
    enrichers: Enrichers,
}

#[derive(Default)]
struct Run {
    seconds: f64,
    look_up_seconds: f64,
    longest_batch: Duration,
    known: usize,
}

impl Bench {
    fn new(checked: &Checked, enrichers: Enrichers) -> Self {
        let terms = Terms {
            active: Active::unsigned(&checked.policy, 1),
            topics: Topics::new("bench", 1),
            identity: Identity { instance: "bench".to_owned() },
            findings: false,
        };
        Self { terms, enrichers }
    }

    /// Reads, looks up and rules every alert.
    fn run(&self, lines: &[Vec<u8>]) -> Run {
        let mut run = Run::default();
        let mut lane = Lane::new(0, Chain::new("bench", None), State::default());
        let clock = system_clock();
        for (number, batch) in lines.chunks(BATCH).enumerate() {
            let began = Instant::now();
            let first = (number * BATCH) as i64;
            let mut cases: Vec<Case<'_>> = (first..)
                .zip(batch)
                .map(|(offset, line)| Case {
                    offset,
                    received_at: clock(),
                    bytes: line,
                    arrival: Arrival::parse(line),
                    facts: Vec::new(),
                })
                .collect();
            let asked = Instant::now();
            look_up(&self.terms, &self.enrichers, &mut cases, asked + DEADLINE);
            let looked_up = asked.elapsed();
            run.look_up_seconds += looked_up.as_secs_f64();
            run.longest_batch = run.longest_batch.max(looked_up);
            let now = clock();
            let mut sent = Vec::with_capacity(4096);
            let mut out = Outbox::memory(&mut sent);
            for case in &cases {
                lane.rule(&self.terms, case, now, &mut out);
            }
            drop(out);
            run.seconds += began.elapsed().as_secs_f64();
            let is_known = |case: &&Case<'_>| {
                case.facts.iter().flatten().any(|row| row.state == FactState::Known)
            };
            run.known += cases.iter().filter(is_known).count();
        }
        run
    }
}

/// In turns, since the machine does other work too; of each the median by time.
fn medians(benches: &[&Bench], lines: &[Vec<u8>], rounds: usize) -> Vec<Run> {
    let mut all: Vec<Vec<Run>> = benches.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (bench, runs) in benches.iter().zip(&mut all) {
            runs.push(bench.run(lines));
        }
    }
    let median = |mut runs: Vec<Run>| {
        runs.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        runs.swap_remove(rounds / 2)
    };
    all.into_iter().map(median).collect()
}

fn resident_bytes() -> f64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: f64 = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0.0);
    pages * 4096.0
}

/// The same facts, all in memory from the start.
fn table(configs: &[EnricherConfig]) -> Enrichers {
    let head = "id,team,tier,on_call,since,is_critical\n".to_owned();
    let rows = (0..NHIS).map(nhi).map(|id| {
        format!("{id},platform-security,1,{id}@example.com,2026-01-01T00:00:00Z,false\n")
    });
    let text: String = std::iter::once(head).chain(rows).collect();
    let mut files = Files::default();
    let path = "enrichers/owner/t.csv";
    files.insert(path, Source::new(path, text), None);
    Enrichers::new(configs, &files, system_clock()()).unwrap_or_else(|told| panic!("{told:?}"))
}

fn main() {
    let given: Vec<String> = std::env::args().collect();
    let rounds = given.iter().position(|each| each == "--rounds");
    let rounds: usize = rounds.map_or(5, |at| given[at + 1].parse().unwrap());
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build().unwrap();
    let metrics = Metrics::new().unwrap();
    let calls = Arc::new(AtomicU64::new(0));
    let lines = lines();
    let (with, without) = (checked(WITH), checked(WITHOUT));
    let bench = |cached: &Arc<Cached>| {
        let shared: Box<dyn Lookup> = Box::new(Shared(Arc::clone(cached)));
        Bench::new(&with, Enrichers::with([(with.enrichers[0].clone(), shared)]))
    };

    let filled = cached(&with.enrichers[0], &calls, &metrics, runtime.handle());
    let before = resident_bytes();
    fill(&filled);
    let (entries, weighed) = filled.size();
    let taken = resident_bytes() - before;
    println!(
        "memory: {entries} cached facts take {:.0} MiB, {:.0} bytes each (weighed as {:.0})",
        taken / 1_048_576.0,
        taken / entries as f64,
        weighed as f64 / entries as f64
    );

    calls.store(0, Relaxed);
    let plain = Bench::new(&without, Enrichers::with([]));
    let table = Bench::new(&with, table(&with.enrichers));
    let runs = medians(&[&plain, &table, &bench(&filled)], &lines, rounds);
    let [plain, table, warm] = runs.as_slice() else { panic!("three") };
    let warm_calls = calls.swap(0, Relaxed);
    let cold = bench(&cached(&with.enrichers[0], &calls, &metrics, runtime.handle())).run(&lines);
    let cold_calls = calls.load(Relaxed);
    let rate = |run: &Run| ALERTS as f64 / run.seconds;
    let per_thousand = |calls: u64, runs: usize| calls as f64 * 1000.0 / (ALERTS * runs) as f64;
    println!(
        "{ALERTS} alerts on {NHIS} NHIs, batches of {BATCH}, {AT_ONCE} calls at once, 20 ms each:\n"
    );
    println!(
        "| | alerts a second | of no lookup | calls per 1,000 alerts | longest wait, ms | known |"
    );
    println!("| --- |{}", " ---: |".repeat(5));
    for (what, run, calls, runs) in [
        ("no lookup", plain, 0, 1),
        ("a table of all", table, 0, 1),
        ("warm cache", warm, warm_calls, rounds),
        ("cold cache, first run", &cold, cold_calls, 1),
    ] {
        println!(
            "| {what} | {:.0} | {:.2} | {:.1} | {} | {:.1} % |",
            rate(run),
            rate(run) / rate(plain),
            per_thousand(calls, runs),
            run.longest_batch.as_millis(),
            run.known as f64 * 100.0 / ALERTS as f64
        );
    }
    println!(
        "\na lookup in the warm cache takes {:.0} ns of an alert's {:.0} ns",
        warm.look_up_seconds * 1e9 / ALERTS as f64,
        warm.seconds * 1e9 / ALERTS as f64
    );
}
