//! What it costs to make a detector's event into alerts, as intake does, beside parsing the same
//! bytes into a `serde_json::Value` and doing nothing with it. On one thread; for each pipeline
//! over those of its examples that become one alert, and over all of them; and over those of all
//! pipelines that become one alert and are a KiB long, a tenth more or less: each for itself, and one
//! after another, where the code and the tables of so many pipelines are no longer near.
//!
//! `cargo bench --bench mapping -- [PIPELINE...]`
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a measurement that cannot go on has failed"
)]

mod cpu;

use std::hint::black_box;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::slice;
use std::time::{Duration, Instant};

use cpu::cpu;
use tipstaff::case::{Arrival, Millis};
use tipstaff::normalize::{FingerprintKeys, Incoming, Pipelines};
use tipstaff::text::{Problems, Source};

/// Of many short rounds the fastest counts: what else takes the caches is no part of the cost.
const ROUNDS: usize = 100;
const ROUND: Duration = Duration::from_millis(3);
/// Bytes.
const KIB: RangeInclusive<usize> = 922..=1126;

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let pipelines = shipped();
    let keys = FingerprintKeys::new(("bench", &[7; 32]), None).unwrap();
    let map = |event: &Event| {
        let incoming = incoming(&event.topic, &event.bytes);
        let count = |alerts: Vec<Arrival<'_>>| black_box(alerts).len();
        pipelines.read_then(&incoming, Some(&event.pipeline), &keys, count)
    };
    println!(
        "| pipeline | events | bytes | alerts | parse µs | map µs | ratio | alerts a second |"
    );
    println!("| --- | --- |{}", " ---: |".repeat(6));
    let mut of_a_kib = Vec::new();
    for pipeline in pipelines.list() {
        if !asked.is_empty() && !asked.contains(&pipeline.name) {
            continue;
        }
        let all = examples(&pipeline.name, &pipeline.topic);
        let (single, more): (Vec<Event>, Vec<Event>) =
            all.into_iter().partition(|event| map(event) == 1);
        if !single.is_empty() {
            row(&pipeline.name, "single", &single, measured(&single, &map));
        }
        let all: Vec<Event> = single.iter().cloned().chain(more).collect();
        if !all.is_empty() {
            row(&pipeline.name, "all", &all, measured(&all, &map));
        }
        of_a_kib.extend(single.into_iter().filter(|event| KIB.contains(&event.bytes.len())));
    }
    if !of_a_kib.is_empty() {
        let each = of_a_kib.iter().map(|event| measured(slice::from_ref(event), &map));
        row("each of 1 KiB", "single", &of_a_kib, each.reduce(Measured::and).unwrap());
        row("1 KiB, in turns", "single", &of_a_kib, measured(&of_a_kib, &map));
    }
}

/// An example, as its detector sends it.
#[derive(Clone)]
struct Event {
    pipeline: String,
    topic: String,
    bytes: Vec<u8>,
}

/// Of all events together, in microseconds.
struct Measured {
    alerts: usize,
    parsed: f64,
    mapped: f64,
}

impl Measured {
    fn and(self, other: Self) -> Self {
        Self {
            alerts: self.alerts + other.alerts,
            parsed: self.parsed + other.parsed,
            mapped: self.mapped + other.mapped,
        }
    }
}

fn measured(events: &[Event], map: &dyn Fn(&Event) -> usize) -> Measured {
    let alerts = events.iter().map(map).sum();
    let parse = || {
        for event in events {
            black_box(serde_json::from_slice::<serde_json::Value>(&event.bytes).is_ok());
        }
    };
    let map = || {
        for event in events {
            black_box(map(event));
        }
    };
    let (mut parsed, mut mapped) = (f64::MAX, f64::MAX);
    for _ in 0..ROUNDS {
        parsed = parsed.min(time(&parse));
        mapped = mapped.min(time(&map));
    }
    Measured { alerts, parsed, mapped }
}

fn row(name: &str, what: &str, events: &[Event], measured: Measured) {
    let Measured { alerts, parsed, mapped } = measured;
    let count = events.len() as f64;
    let bytes: usize = events.iter().map(|event| event.bytes.len()).sum();
    println!(
        "| {name} | {what} | {:.0} | {:.1} | {:.2} | {:.2} | {:.2} | {:.0} |",
        bytes as f64 / count,
        alerts as f64 / count,
        parsed / count,
        mapped / count,
        mapped / parsed,
        1e6 * alerts as f64 / mapped,
    );
}

/// CPU microseconds for one pass.
fn time(pass: &dyn Fn()) -> f64 {
    let (began, start, mut passes) = (cpu(), Instant::now(), 0_u32);
    while start.elapsed() < ROUND {
        pass();
        passes += 1;
    }
    (cpu() - began).as_secs_f64() * 1e6 / f64::from(passes)
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines")
}

fn shipped() -> Pipelines {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path().join("pipeline.yaml"))
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    let source = |path: &PathBuf| {
        Source::new(path.to_str().unwrap(), std::fs::read_to_string(path).unwrap())
    };
    let sources: Vec<Source> = files.iter().map(source).collect();
    let aliases = source(&folder().join("aliases.csv"));
    let mut problems = Problems::default();
    let compiled = tipstaff::normalize::compile(&sources, Some(&aliases), &mut problems);
    compiled.unwrap_or_else(|| panic!("{:?}", problems.into_sorted()))
}

/// JSON examples, without white space, as detectors send them.
fn examples(pipeline: &str, topic: &str) -> Vec<Event> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder().join(pipeline).join("examples"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    paths.sort();
    let event = |path: &PathBuf| {
        let bytes = std::fs::read(path).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
        let bytes = serde_json::to_vec(&value).ok()?;
        Some(Event { pipeline: pipeline.to_owned(), topic: topic.to_owned(), bytes })
    };
    paths.iter().filter_map(event).collect()
}

fn incoming<'m>(topic: &'m str, value: &'m [u8]) -> Incoming<'m> {
    Incoming {
        topic,
        incarnation: "bench",
        partition: 0,
        offset: 0,
        headers: &[],
        value: Some(value),
        received_at: Millis(1_767_225_600_000),
    }
}
