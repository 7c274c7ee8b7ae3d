//! What must be true of the topics after any fault: nothing lost, nothing doubled, every output of a
//! ruling there and none without one. Reads what is settled and judges it; the judge is tested by
//! planting what it must find.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use tipstaff::audit::{Appended, Kind, Output, Record, Verifier, finding, outputs, record_hash};
use tipstaff::case::Arrival;
use tipstaff::correlate::State;
use tipstaff::ingest::{LogReader, Settings};

const PATIENCE: Duration = Duration::from_secs(60);

/// Everything readable, by topic.
#[derive(Default, Clone)]
pub struct Collected {
    /// Ids of the alerts that the acknowledged messages must become.
    pub expected: BTreeSet<String>,
    pub alerts: Vec<Vec<u8>>,
    /// Records of each chain with their offsets.
    pub chains: BTreeMap<i32, Vec<(i64, Vec<u8>)>>,
    /// Values by output topic, without the prefix.
    pub outputs: BTreeMap<String, Vec<Vec<u8>>>,
}

/// Numbers of a check, and what is wrong.
#[derive(Debug, Default)]
pub struct Verdict {
    pub rulings: usize,
    pub revisions: usize,
    pub duplicates: usize,
    pub recoveries: usize,
    pub voided: u64,
    /// Outputs that name no record of a chain: inert by design.
    pub void_outputs: usize,
    pub problems: Vec<String>,
}

/// Every settled value of a topic with its partition and offset. A broker that has just started may
/// need its time until its partitions have a leader.
pub fn read_topic(settings: &Settings, topic: &str) -> Vec<(i32, i64, Vec<u8>)> {
    let log = LogReader::connect(settings, "checker").unwrap();
    let until = Instant::now() + PATIENCE;
    loop {
        let mut found = Vec::new();
        let read = log.read_settled(topic, |partition, message| {
            found.push((partition, message.offset, message.value.unwrap_or_default().to_vec()));
        });
        match read {
            Ok(_) => return found,
            Err(doubt) => assert!(Instant::now() < until, "{doubt}"),
        }
    }
}

pub fn collect(settings: &Settings, prefix: &str, output_names: &[String]) -> Collected {
    let mut collected = Collected::default();
    let values =
        |topic: String| read_topic(settings, &topic).into_iter().map(|(_, _, value)| value);
    collected.alerts = values(format!("{prefix}.alerts")).collect();
    for (partition, offset, value) in read_topic(settings, &format!("{prefix}.decisions")) {
        collected.chains.entry(partition).or_default().push((offset, value));
    }
    for name in output_names {
        collected.outputs.insert(name.clone(), values(format!("{prefix}.{name}")).collect());
    }
    collected
}

pub fn check(collected: &Collected) -> Verdict {
    let mut verdict = Verdict::default();
    let mut say = |problem: String| {
        if verdict.problems.len() < 20 {
            verdict.problems.push(problem);
        }
    };
    let mut arrived = BTreeSet::new();
    for bytes in &collected.alerts {
        match serde_json::from_slice::<Arrival<'_>>(bytes) {
            Ok(arrival) => drop(arrived.insert(arrival.alert_id)),
            Err(error) => say(format!("not an alert on the alerts topic: {error}")),
        }
    }
    for lost in collected.expected.difference(&arrived) {
        say(format!("alert {lost} never reached the alerts topic"));
    }
    for strange in arrived.difference(&collected.expected) {
        say(format!("alert {strange} is on the alerts topic, and no message was its origin"));
    }
    let mut ruled: BTreeMap<String, usize> = BTreeMap::new();
    let mut wanted: BTreeMap<String, BTreeSet<Vec<u8>>> = BTreeMap::new();
    let mut on_chain = BTreeSet::new();
    let (mut duplicates, mut recoveries, mut voided, mut revisions) = (0, 0, 0, 0);
    for (partition, records) in &collected.chains {
        let mut verifier = Verifier::<State>::default();
        records.iter().for_each(|(_, bytes)| verifier.scan(bytes));
        records.iter().for_each(|(offset, bytes)| verifier.check(*offset, bytes));
        let report = verifier.finish();
        voided += report.voided;
        for finding in report.findings {
            say(format!("chain {partition}: {finding}"));
        }
        let parsed: Vec<Record<'_>> =
            records.iter().filter_map(|(_, b)| Record::parse(b)).collect();
        let void: BTreeSet<i64> =
            parsed.iter().flat_map(|record| record.void.iter().copied()).collect();
        for ((offset, bytes), record) in records.iter().zip(&parsed) {
            if void.contains(offset) {
                continue;
            }
            let hash = record_hash(bytes);
            on_chain.insert(hash.to_string());
            duplicates += usize::from(record.kind == Kind::Duplicate);
            recoveries += usize::from(record.kind == Kind::Recovery);
            if record.kind == Kind::Ruling {
                *ruled.entry(record.alert_id.clone().unwrap_or_default()).or_default() += 1;
            }
            revisions += usize::from(record.kind == Kind::Revision);
            if record.ruling.is_some() {
                let appended = Appended { seq: record.seq, hash };
                let mut want = |output: Output| {
                    wanted.entry(output.topic).or_default().insert(output.value);
                };
                outputs(record, appended, &mut want);
                finding(record, appended).into_iter().for_each(want);
            }
        }
    }
    for lost in collected.expected.iter().filter(|id| !ruled.contains_key(*id)) {
        say(format!("alert {lost} has no first ruling"));
    }
    for (id, count) in ruled.iter().filter(|(id, n)| **n > 1 || !collected.expected.contains(*id)) {
        say(format!(
            "alert {id} has {count} first ruling(s) and {} origin",
            collected.expected.contains(id)
        ));
    }
    let mut void_outputs = 0;
    for (topic, values) in &collected.outputs {
        let wanted = wanted.remove(topic).unwrap_or_default();
        let found: BTreeSet<Vec<u8>> = values.iter().cloned().collect();
        let missing = wanted.difference(&found).count();
        if missing > 0 {
            say(format!("{missing} record(s) that rulings demand are missing on {topic}"));
        }
        for value in found.difference(&wanted) {
            let value: serde_json::Value = serde_json::from_slice(value).unwrap_or_default();
            let named = [&value, &value["unmapped"]].map(|place| &place["record"]["hash"]);
            let names = named.into_iter().find_map(|hash| hash.as_str()).unwrap_or_default();
            if on_chain.contains(names) {
                say(format!("a record on {topic} names a ruling that does not demand it"));
            }
            void_outputs += 1;
        }
    }
    for topic in wanted.keys() {
        say(format!("rulings demand records on {topic}, which was not read"));
    }
    verdict.rulings = ruled.len();
    verdict.revisions = revisions;
    (verdict.duplicates, verdict.recoveries, verdict.voided) = (duplicates, recoveries, voided);
    verdict.void_outputs = void_outputs;
    verdict
}

/// By a search that is optimised in test builds, too: without, a topic takes minutes.
pub fn holds(value: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(value, needle).is_some()
}

/// Names of the topics in `collected` whose values hold one of `needles`.
pub fn search(collected: &Collected, needles: &[Vec<u8>]) -> Vec<String> {
    let is_found = |value: &[u8]| needles.iter().any(|needle| holds(value, needle));
    let mut found = Vec::new();
    if collected.alerts.iter().any(|value| is_found(value)) {
        found.push("alerts".to_owned());
    }
    if collected.chains.values().flatten().any(|(_, value)| is_found(value)) {
        found.push("decisions".to_owned());
    }
    for (topic, values) in &collected.outputs {
        if values.iter().any(|value| is_found(value)) {
            found.push(topic.clone());
        }
    }
    found
}
