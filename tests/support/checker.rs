//! Judges what a worker left behind, from the topics alone.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tipstaff::ingest::{Doubt, LogReader, Stored};

/// A record of the toy chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    pub kind: Kind,
    pub seq: u64,
    pub prev: String,
    /// The input offset that was ruled.
    #[serde(rename = "in")]
    pub input: Option<i64>,
    pub next_in: i64,
    pub payload: String,
    /// Chain offsets of records that are to be ignored.
    pub voids: Vec<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Ruling,
    Recovery,
    Void,
}

pub const GENESIS: &str = "genesis";

pub fn hash(value: &[u8]) -> String {
    Sha256::digest(value).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What was found in the topics of one worker.
#[derive(Debug, Default)]
pub struct Report {
    pub inputs: usize,
    pub records: usize,
    pub voided: usize,
    pub recoveries: usize,
    /// Outputs that name no valid record: inert by design.
    pub inert_outputs: usize,
    pub missing: usize,
    pub doubled: usize,
    pub broken_links: usize,
    pub missing_outputs: usize,
    pub wrong_payloads: usize,
}

impl Report {
    pub fn is_green(&self) -> bool {
        self.missing == 0
            && self.doubled == 0
            && self.broken_links == 0
            && self.missing_outputs == 0
            && self.wrong_payloads == 0
    }

    pub fn verdict(&self) -> String {
        if self.is_green() {
            return "green".to_owned();
        }
        let mut text = "RED".to_owned();
        for (count, what) in [
            (self.missing, "missing"),
            (self.doubled, "doubled"),
            (self.broken_links, "broken links"),
            (self.missing_outputs, "missing outputs"),
            (self.wrong_payloads, "wrong payloads"),
        ] {
            if count > 0 {
                text += &format!(" {count} {what}");
            }
        }
        text
    }
}

/// Reads one topic's partition to its end, once all of it is settled.
pub fn all(log: &LogReader, topic: &str, partition: i32) -> Result<Vec<Stored>, Doubt> {
    let high = log.high(topic, partition)?;
    let began = std::time::Instant::now();
    while log.stable(topic, partition)? < high && began.elapsed().as_secs() < 30 {
        std::thread::sleep(std::time::Duration::from_millis(25));
    }
    log.tail(topic, partition, log.low(topic, partition)?..high)
}

/// The chain of each partition against its input, and the outputs against all chains.
pub fn check(
    log: &LogReader,
    input: &str,
    chain: &str,
    out: &str,
    partitions: i32,
) -> Result<Report, Doubt> {
    let mut report = Report::default();
    let mut valid = BTreeSet::new();
    let mut outputs = BTreeSet::new();
    for partition in 0..partitions {
        let inputs: BTreeMap<i64, String> = all(log, input, partition)?
            .into_iter()
            .map(|record| (record.offset, hash(&record.value.unwrap_or_default())))
            .collect();
        let records = all(log, chain, partition)?;
        check_chain(&records, &inputs, &mut report, &mut valid);
        for output in all(log, out, partition)? {
            outputs.insert(String::from_utf8(output.value.unwrap_or_default()).unwrap());
        }
    }
    report.missing_outputs = valid.difference(&outputs).count();
    report.inert_outputs = outputs.difference(&valid).count();
    Ok(report)
}

fn check_chain(
    records: &[Stored],
    inputs: &BTreeMap<i64, String>,
    report: &mut Report,
    valid: &mut BTreeSet<String>,
) {
    let links: Vec<(i64, String, Link)> = records
        .iter()
        .map(|record| {
            let value = record.value.as_deref().unwrap_or_default();
            (record.offset, hash(value), serde_json::from_slice(value).unwrap())
        })
        .collect();
    let voided: BTreeSet<i64> =
        links.iter().flat_map(|(_, _, link)| link.voids.iter().copied()).collect();
    let (mut seq, mut prev) = (0, GENESIS.to_owned());
    let mut ruled: BTreeMap<i64, usize> = BTreeMap::new();
    for (offset, own, link) in links {
        if voided.contains(&offset) {
            report.voided += 1;
            continue;
        }
        report.records += 1;
        if link.prev != prev || link.seq != seq + 1 {
            report.broken_links += 1;
        }
        if link.kind == Kind::Recovery {
            report.recoveries += 1;
        }
        if let Some(input) = link.input {
            *ruled.entry(input).or_default() += 1;
            if inputs.get(&input) != Some(&link.payload) {
                report.wrong_payloads += 1;
            }
            valid.insert(own.clone());
        }
        (seq, prev) = (link.seq, own);
    }
    report.inputs += inputs.len();
    report.missing += inputs.keys().filter(|offset| !ruled.contains_key(offset)).count();
    report.doubled += ruled.values().filter(|count| **count > 1).count();
}
