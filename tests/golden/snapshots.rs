use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;
use tipstaff::audit::{Raw, Record};
use tipstaff::case::{Alert, Counters, Decision, Origin};

use super::*;

/// What a record holds of one example. Left out is what any edit of the policy or the version changes:
/// its place on the chain, the policy's hash, the engine.
#[derive(Serialize)]
struct Golden<'g, 'r> {
    alert_id: Option<&'g str>,
    correlation_id: Option<&'g str>,
    origin: Option<&'g Origin<'r>>,
    pipeline: Option<&'g str>,
    alert: Option<&'g Alert<'r>>,
    facts: &'g [Raw<'r>],
    counters: Option<&'g Counters>,
    ruling: Option<&'g Decision<'r>>,
}

fn golden<'g, 'r>(record: &'g Record<'r>) -> Golden<'g, 'r> {
    Golden {
        alert_id: record.alert_id.as_deref(),
        correlation_id: record.correlation_id.as_deref(),
        origin: record.origin.as_deref(),
        pipeline: record.pipeline.as_deref(),
        alert: record.alert.as_deref(),
        facts: &record.facts,
        counters: record.counters.as_deref(),
        ruling: record.ruling.as_deref(),
    }
}

/// Facts stay one line each, without the version of their table, which any edit of it changes.
fn text(records: &[Record<'_>]) -> String {
    let golden: Vec<Golden<'_, '_>> = records.iter().map(golden).collect();
    let text = serde_json::to_string_pretty(&golden).unwrap();
    text.lines().map(without_version).collect::<Vec<_>>().join("\n")
}

fn without_version(line: &str) -> String {
    let fact = line.trim_start().starts_with("{\"enricher\":").then_some(line);
    match fact.and_then(|fact| fact.split_once("\"version\":\"")) {
        Some((front, rest)) => format!("{front}{}", rest.split_once("\",").unwrap().1),
        None => line.to_owned(),
    }
}

#[test]
fn every_example_is_read_and_ruled_as_its_snapshot_says() {
    let loaded = shipped();
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let mut wrong = Vec::new();
    for (name, bytes) in ruled() {
        let records: Vec<Record<'_>> =
            bytes.iter().map(|bytes| Record::parse(bytes).unwrap()).collect();
        for (record, bytes) in records.iter().zip(&bytes) {
            assert_eq!(serde_json::to_vec(record).unwrap(), *bytes, "{name}");
            assert_eq!(record.policy.as_ref().unwrap().hash, loaded.checked.policy_hash, "{name}");
        }
        let text = text(&records);
        let check = || settings.bind(|| insta::assert_snapshot!(name.as_str(), text));
        if catch_unwind(AssertUnwindSafe(check)).is_err() {
            wrong.push(name);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_snapshot_has_its_example() {
    let known: BTreeSet<String> = ruled().iter().map(|(name, _)| format!("{name}.snap")).collect();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/snapshots");
    let written: BTreeSet<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".snap"))
        .collect();
    assert_eq!(written, known);
}
