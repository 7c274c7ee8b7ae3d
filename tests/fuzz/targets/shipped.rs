//! The shipped pipelines, and what must be true of whatever they make of a message.
#![allow(dead_code, reason = "each target uses a part of it")]

use std::collections::BTreeSet;
use std::path::Path;

use tipstaff::case::{Arrival, Body, Millis, Reason};
use tipstaff::normalize::{FingerprintKeys, Incoming, Pipelines, compile};
use tipstaff::text::{Problems, Source};

pub fn pipelines() -> Pipelines {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines");
    let source = |name: &str| {
        let text = std::fs::read_to_string(folder.join(name)).ok()?;
        Some(Source::new(name, text))
    };
    let entries = std::fs::read_dir(&folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let files = names.filter_map(|name| source(&format!("{name}/pipeline.yaml")));
    let files: Vec<Source> = files.collect();
    assert!(!files.is_empty());
    let mut problems = Problems::default();
    let pipelines = compile(&files, source("aliases.csv").as_ref(), &mut problems);
    pipelines.unwrap_or_else(|| panic!("{:?}", problems.into_sorted()))
}

pub fn keys() -> FingerprintKeys {
    FingerprintKeys::new(("fuzz", b"fuzz-only-not-a-real-key"), None).unwrap()
}

pub fn incoming<'m>(topic: &'m str, value: &'m [u8]) -> Incoming<'m> {
    Incoming {
        topic,
        incarnation: "fuzz-incarnation",
        partition: 0,
        offset: 7,
        headers: &[],
        value: Some(value),
        received_at: Millis(1_772_443_800_000),
    }
}

/// INV-1: a message is at least one arrival, all of them are there, and none is our own failure.
pub fn check(arrivals: &[Arrival<'static>]) {
    assert!(!arrivals.is_empty(), "a message without an arrival");
    let ids: BTreeSet<_> = arrivals.iter().map(|arrival| &arrival.alert_id).collect();
    assert_eq!(ids.len(), arrivals.len(), "an alert id twice");
    for (index, arrival) in arrivals.iter().enumerate() {
        let place = (arrival.origin.index as usize, arrival.origin.of as usize);
        assert_eq!(place, (index, arrivals.len()));
        if let Body::Unreadable(unreadable) = &arrival.body {
            assert_ne!(unreadable.reason, Reason::RuleFailed, "the program failed");
        }
        let written = serde_json::to_string(arrival).unwrap();
        let read: Arrival<'_> = serde_json::from_str(&written).unwrap();
        assert_eq!(&read, arrival);
    }
}
