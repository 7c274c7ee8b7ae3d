use std::collections::BTreeMap;

use tipstaff::case::{Field, Reason};

use super::*;

#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    read: usize,
    unreadable: Vec<String>,
    agree: usize,
    disagree: Vec<String>,
}

/// Events that others recorded, with labels that others gave; they are no part of this repository.
#[test]
fn recorded_events_are_read_and_agree_with_their_labels() {
    let samples = root().join("../shared/samples");
    let samples = std::env::var_os("TIPSTAFF_SAMPLES").map_or(samples, PathBuf::from);
    if !samples.is_dir() {
        eprintln!("skipped: no recorded events at {}", samples.display());
        return;
    }
    let (pipelines, keys) = (shipped(), keys());
    let mut counts: BTreeMap<&str, Count> = BTreeMap::new();
    for (detector, topic) in DETECTORS {
        for path in files_of(&samples.join(detector)) {
            let name = path.file_name().unwrap().to_str().unwrap();
            let Some(stem) = name.strip_suffix(".ndjson").filter(|n| !n.ends_with(".expected"))
            else {
                continue;
            };
            let labels =
                std::fs::read_to_string(path.with_file_name(format!("{stem}.expected.ndjson")));
            let (text, labels) = (std::fs::read_to_string(&path).unwrap(), labels.unwrap());
            for (index, (line, label)) in text.lines().zip(labels.lines()).enumerate() {
                let arrivals = pipelines.read(&incoming(topic, line.as_bytes()), None, &keys);
                let count = counts.entry(detector).or_default();
                judge(count, &format!("{stem}:{}", index + 1), &arrivals, label);
            }
        }
    }
    for (detector, count) in &counts {
        let Count { read, unreadable, agree, disagree } = count;
        eprintln!(
            "{detector}: {read} read, {unreadable:?} not; {agree} agree, {disagree:?} do not"
        );
        // An envelope with nothing in it, and an event without a type.
        let is_known = |what: &String| {
            what.ends_with("`event.type` is missing")
                || what.ends_with("no pipeline knows its shape")
        };
        assert!(unreadable.len() <= 1 && unreadable.iter().all(is_known), "{unreadable:?}");
        // Findings about a machine have a kind, and nobody to act on.
        assert!(
            disagree.iter().all(|what| what.ends_with("ours none (no_identity)")),
            "{disagree:?}"
        );
        assert!(*agree >= 12 && disagree.len() <= 5, "{agree} {disagree:?}");
    }
}

fn judge(count: &mut Count, place: &str, arrivals: &[Arrival<'_>], label: &str) {
    let label: serde_json::Value = serde_json::from_str(label).unwrap();
    let (kind, basis) = (label["kind"].as_str().unwrap(), label["kind_basis"].as_str().unwrap());
    for arrival in arrivals {
        let alert = match &arrival.body {
            Body::Alert(alert) => alert,
            Body::Unreadable(unreadable) => {
                assert_ne!(unreadable.reason, Reason::NotJson, "{place}");
                count.unreadable.push(format!("{place} {}", unreadable.detail));
                continue;
            }
        };
        count.read += 1;
        if !["source", "field", "oracle"].contains(&basis) {
            continue;
        }
        let ours = match alert.text(Field::NotAnAlert) {
            Some(id) => format!("none ({id})"),
            None => alert.text(Field::Kind).unwrap_or_default().to_owned(),
        };
        let agrees = ours == kind || (kind == "none" && ours.starts_with("none"));
        count.agree += usize::from(agrees);
        if !agrees {
            let event = alert.text(Field::EventType).unwrap_or_default();
            count.disagree.push(format!("{place} {event}: {kind}, ours {ours}"));
        }
    }
}
