use std::collections::{BTreeMap, HashSet};
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::signatures::unproved;
use super::{Config, connect, read_input, say};
use crate::app::{Cluster, Failure, PATIENCE, system_clock};
use crate::audit::{Record, Report, Verifier, prove_together};
use crate::correlate::State;
use crate::ingest::LogReader;
use crate::pipeline::AllowedSigners;

#[derive(Args)]
pub(super) struct Verify {
    #[command(flatten)]
    config: Config,
    /// Also write what was read to this file: partition, offset and value, separated by tabs
    #[arg(long, value_name = "FILE", requires = "config")]
    export: Option<PathBuf>,
    /// Whose signatures under orders count; without it only that each is by the key it names
    #[arg(long, value_name = "FILE")]
    allowed_signers: Option<PathBuf>,
    /// One JSON object for each chain
    #[arg(long)]
    json: bool,
    /// An exported file, instead of a cluster
    #[arg(value_name = "FILE", conflicts_with = "config", required_unless_present = "config")]
    file: Option<PathBuf>,
}

pub(super) type Chains = BTreeMap<i32, Vec<(i64, Vec<u8>)>>;

impl Verify {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let chains = match &self.file {
            Some(file) => parse_export(&file.display().to_string(), &read_input(file)?)?,
            None => {
                let loaded = self.config.load(system_clock()())?;
                let cluster = connect(&loaded, PATIENCE)?;
                read_cluster(&cluster)?
            }
        };
        if let Some(file) = &self.export {
            write_export(file, &chains)?;
        }
        let allowed = self.allowed_signers.as_deref().map(AllowedSigners::load);
        let allowed = allowed.transpose().map_err(Failure::Configuration)?;
        let proved = |(partition, records): (&i32, &Vec<(i64, Vec<u8>)>)| {
            let mut report = prove(records);
            let unproved = unproved(records, allowed.as_ref());
            if !unproved.is_empty() {
                report.findings.extend(unproved);
                report.findings.sort_by_key(|finding| finding.offset);
            }
            (*partition, report)
        };
        let mut reports: BTreeMap<i32, Report> = chains.iter().map(proved).collect();
        prove_together(&mut reports);
        let is_sound = show(&reports, self.json);
        Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Every settled record of the decisions topic, by partition.
pub(super) fn read_cluster(cluster: &Cluster) -> Result<Chains, Failure> {
    read_topic(cluster, &cluster.topics.decisions)
}

pub(super) fn read_topic(cluster: &Cluster, decisions: &str) -> Result<Chains, Failure> {
    let log = LogReader::connect(&cluster.settings, &cluster.group("verify"))?;
    let mut chains = Chains::new();
    let partitions = log.read_settled(decisions, |partition, message| {
        let value = message.value.unwrap_or_default().to_vec();
        chains.entry(partition).or_default().push((message.offset, value));
    })?;
    let Some(partitions) = partitions else {
        return Err(Failure::Ended(format!("topic `{decisions}` does not exist")));
    };
    for partition in 0..partitions {
        chains.entry(partition).or_default();
    }
    Ok(chains)
}

pub(super) fn prove(records: &[(i64, Vec<u8>)]) -> Report {
    let mut verifier = Verifier::<State>::default();
    for (_, bytes) in records {
        verifier.scan(bytes);
    }
    for (offset, bytes) in records {
        verifier.check(*offset, bytes);
    }
    verifier.finish()
}

/// Offsets that a record of this chain names void.
pub(super) fn void(records: &[(i64, Vec<u8>)]) -> HashSet<i64> {
    records.iter().filter_map(|(_, bytes)| Record::parse(bytes)).flat_map(|r| r.void).collect()
}

/// What counts of a chain.
pub(super) fn valid(records: &[(i64, Vec<u8>)]) -> impl Iterator<Item = (i64, Record<'_>)> {
    let void = void(records);
    let valid = records.iter().filter(move |(offset, _)| !void.contains(offset));
    valid.filter_map(|(offset, bytes)| Some((*offset, Record::parse(bytes)?)))
}

/// Prints the reports; true when every chain is sound.
pub(super) fn show(reports: &BTreeMap<i32, Report>, as_json: bool) -> bool {
    for (partition, report) in reports {
        let head = report.head.as_ref();
        if as_json {
            let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
            let line = json!({
                "verify": report.chain, "partition": partition, "records": report.records,
                "rulings": report.rulings, "other": report.other, "voided": report.voided,
                "head": head.map(|h| json!({"seq": h.seq, "hash": h.hash, "at": h.at})),
                "integrity": report.is_sound(), "findings": findings,
            });
            say(&line.to_string());
            continue;
        }
        let verdict = if report.is_sound() { "sound " } else { "BROKEN" };
        let rulings: u64 = report.rulings.values().sum();
        let end = head.map_or_else(String::new, |h| format!(", head {} {}", h.seq, h.hash.short()));
        let void = if report.voided > 0 {
            format!(", {} void (torn, healed, on record)", report.voided)
        } else {
            String::new()
        };
        say(&format!(
            "{verdict} chain {partition}: {} records, {rulings} rulings{void}{end}",
            report.records
        ));
        for finding in &report.findings {
            say(&format!("       {finding}"));
        }
    }
    let is_sound = !reports.is_empty() && reports.values().all(Report::is_sound);
    if !as_json {
        say(if is_sound {
            "integrity: every record links to the one in front of it, every snapshot is its chain's state"
        } else {
            "integrity: NOT proved; the first line of each chain names its first bad position"
        });
        say(
            "freshness: not anchored; without checkpoints a cut at the end of a chain can't be seen, nor an end \
             that was put in the place of another",
        );
    }
    is_sound
}

fn write_export(file: &PathBuf, chains: &Chains) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::Ended(format!("{}: {error}", file.display()));
    let mut out = BufWriter::new(std::fs::File::create(file).map_err(failed)?);
    for (partition, records) in chains {
        for (offset, bytes) in records {
            write!(out, "{partition}\t{offset}\t").map_err(failed)?;
            out.write_all(bytes).map_err(failed)?;
            out.write_all(b"\n").map_err(failed)?;
        }
    }
    out.flush().map_err(failed)
}

/// The records of a file that `verify --export` or `decide` wrote; nothing when it is none.
pub(super) fn records(name: &str, bytes: &[u8]) -> Result<Option<Chains>, Failure> {
    let mut lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    if is_exported(first) {
        return parse_export(name, bytes).map(Some);
    }
    if Record::parse(first).is_none() {
        return Ok(None);
    }
    let lines = std::iter::once(first).chain(lines);
    Ok(Some(Chains::from([(0, (0..).zip(lines.map(<[u8]>::to_vec)).collect())])))
}

/// Partition, offset and value, separated by tabs.
fn is_exported(line: &[u8]) -> bool {
    let mut parts = line.splitn(3, |byte| *byte == b'\t');
    let is_number = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    parts.next().is_some_and(is_number)
        && parts.next().is_some_and(is_number)
        && parts.next().is_some()
}

/// `name` is the file's, for messages.
fn parse_export(name: &str, bytes: &[u8]) -> Result<Chains, Failure> {
    let mut chains = Chains::new();
    for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        if line.is_empty() {
            continue;
        }
        let mut parts = line.splitn(3, |byte| *byte == b'\t');
        let mut number_of = || std::str::from_utf8(parts.next()?).ok()?.parse::<i64>().ok();
        let (partition, offset) = (number_of(), number_of());
        let (Some(partition), Some(offset), Some(value)) =
            (partition.and_then(|p| i32::try_from(p).ok()), offset, parts.next())
        else {
            let what = "is not partition, offset and value separated by tabs";
            return Err(Failure::Usage(format!("{name}:{number}: {what}")));
        };
        chains.entry(partition).or_default().push((offset, value.to_vec()));
    }
    if chains.is_empty() {
        return Err(Failure::Usage(format!("{name}: there is no record in it")));
    }
    Ok(chains)
}
