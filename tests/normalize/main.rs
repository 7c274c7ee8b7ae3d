//! Detectors' messages into alerts, as the shipped pipelines do it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod examples;
mod canary;
#[path = "../support/canary.rs"]
mod planted;
#[path = "../support/planting.rs"]
mod planting;
mod tokens;
#[path = "../support/tokens.rs"]
mod made_up;
mod hostile;
mod bodies;
mod compile;
mod mapping;
mod samples;
#[path = "../support/skipped.rs"]
mod skipped;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use tipstaff::case::{Alert, Arrival, Body, Millis};
use tipstaff::normalize::{FingerprintKeys, Incoming, Pipelines};
use tipstaff::text::{Problems, Source};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn source(path: &str) -> Source {
    Source::new(path, std::fs::read_to_string(root().join(path)).unwrap())
}

/// Compiled once: it takes a second.
fn shipped() -> &'static Pipelines {
    static SHIPPED: LazyLock<Pipelines> = LazyLock::new(compiled);
    &SHIPPED
}

fn compiled() -> Pipelines {
    let mut files: Vec<PathBuf> = files_of(&root().join("pipelines"));
    files.retain(|path| path.is_dir());
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let file = |path: &PathBuf| source(&format!("pipelines/{}/pipeline.yaml", name(path)));
    let files: Vec<Source> = files.iter().map(file).collect();
    let mut problems = Problems::default();
    let aliases = source("pipelines/aliases.csv");
    let pipelines = tipstaff::normalize::compile(&files, Some(&aliases), &mut problems);
    let problems: Vec<String> = problems.into_sorted().iter().map(ToString::to_string).collect();
    pipelines.unwrap_or_else(|| panic!("{}", problems.join("\n")))
}

fn keys() -> FingerprintKeys {
    FingerprintKeys::new(("examples", b"examples-only-not-a-real-key"), None).unwrap()
}

fn incoming<'m>(topic: &'m str, value: &'m [u8]) -> Incoming<'m> {
    Incoming {
        topic,
        incarnation: "example-incarnation",
        partition: 0,
        offset: 7,
        headers: &[],
        value: Some(value),
        received_at: Millis::parse("2026-03-02T09:30:00Z").unwrap(),
    }
}

fn alert<'a>(arrival: &'a Arrival<'_>) -> Option<&'a Alert<'a>> {
    arrival.body.alert()
}

/// An event of a shipped pipeline: whose, its topic, file name without its ending, content.
struct Example {
    detector: String,
    topic: String,
    name: String,
    bytes: Vec<u8>,
}

fn examples() -> Vec<Example> {
    let mut all = Vec::new();
    for pipeline in shipped().list() {
        let (detector, topic) = (&pipeline.name, &pipeline.topic);
        let directory = root().join("pipelines").join(detector).join("examples");
        for path in files_of(&directory) {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let bytes = std::fs::read(&path).unwrap();
            all.push(Example { detector: detector.clone(), topic: topic.clone(), name, bytes });
        }
    }
    all
}

fn files_of(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}
