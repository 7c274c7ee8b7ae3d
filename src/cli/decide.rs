use std::borrow::Cow;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::value::RawValue;

use super::explain::explained;
use super::verify::{records, void};
use super::{Config, parse_now, read_input, say, way_out};
use crate::app::{Failure, Loaded};
use crate::audit::{Appended, Record, finding, record_hash};
use crate::case::{Arrival, Body, Millis, Reason, Ruling};
use crate::normalize::{FingerprintKeys, Incoming};
use crate::pipeline::offline;

#[derive(Args)]
pub(super) struct Decide {
    #[command(flatten)]
    config: Config,
    /// The pipeline to read the events with; without it each event finds its own
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,
    /// The time to rule at, RFC 3339; without it the clock's
    #[arg(long, value_name = "TIME")]
    now: Option<String>,
    /// OCSF Detection Findings instead of decision records; what can not be read has none
    #[arg(long)]
    ocsf: bool,
    /// Each alert's way through the rules instead of its record: every clause with what it saw, why
    /// the winner won, what the boundary said, what would have been needed for more
    #[arg(long, conflicts_with = "ocsf")]
    explain: bool,
    /// With `--explain`: one JSON object a line
    #[arg(long, requires = "explain")]
    json: bool,
    /// With `--explain`: only the alerts whose id begins so
    #[arg(long, value_name = "ID", requires = "explain")]
    alert: Option<String>,
    /// Events: lines of JSON, a JSON array or one document; `-` for standard input. With
    /// `--explain` also decision records, which are ruled again on the facts that they hold
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl Decide {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let now = parse_now(self.now.as_deref())?;
        let loaded = self.config.load(now)?;
        self.config.check_pipeline(&loaded.checked.pipelines, self.pipeline.as_deref())?;
        let keys = loaded.keys()?;
        let bytes = read_input(&self.file)?;
        if self.explain
            && let Some(chains) = records(&self.file.display().to_string(), &bytes)?
        {
            let valid = chains.into_values().flat_map(|chain| {
                let void = void(&chain);
                chain.into_iter().filter(move |(offset, _)| !void.contains(offset))
            });
            return explained(
                &loaded,
                &valid.map(|(_, bytes)| bytes).collect::<Vec<_>>(),
                self.alert.as_deref(),
                self.json,
            );
        }
        let _services = loaded.connect_alone(now, true)?;
        let arrivals = arrivals(&loaded, &bytes, self.pipeline.as_deref(), now, &keys);
        let checked = &loaded.checked;
        let ruled = offline(&checked.policy, &loaded.enrichers, arrivals, now);
        if ruled.is_empty() {
            return Err(Failure::Ended("there is no event in the input".to_owned()));
        }
        if self.explain {
            return explained(&loaded, &ruled, self.alert.as_deref(), self.json);
        }
        for bytes in &ruled {
            let Some(record) = Record::parse(bytes) else { continue };
            if let Some(Ruling::DeadLetter(letter)) = record.ruling.as_deref().map(|r| &r.fate) {
                let place = letter.line.map_or_else(String::new, |line| {
                    format!(" at line {line}, column {}", letter.column.unwrap_or(1))
                });
                let hint = way_out(letter.reason);
                eprintln!("unreadable: {}: {}{place}{hint}", letter.reason, letter.detail);
            }
            let line = if self.ocsf {
                let appended = Appended { seq: record.seq, hash: record_hash(bytes) };
                finding(&record, appended).map(|finding| Cow::Owned(finding.value))
            } else {
                Some(Cow::Borrowed(bytes.as_slice()))
            };
            if line.is_some_and(|line| !say(&String::from_utf8_lossy(&line))) {
                return Ok(ExitCode::FAILURE);
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Reads the input as messages of a detector. A document that a pipeline knows as a whole (a report
/// is an array, too) is one message; otherwise each element or each line is one. Nothing is none.
pub(super) fn arrivals(
    loaded: &Loaded,
    bytes: &[u8],
    pipeline: Option<&str>,
    now: Millis,
    keys: &FingerprintKeys,
) -> Vec<Arrival<'static>> {
    if bytes.trim_ascii().is_empty() {
        return Vec::new();
    }
    let read = |offset: i64, value: &[u8]| {
        let incoming = Incoming {
            topic: "offline",
            incarnation: "-",
            partition: 0,
            offset,
            headers: &[],
            value: Some(value),
            received_at: now,
        };
        loaded.checked.pipelines.read(&incoming, pipeline, keys)
    };
    let whole = read(0, bytes);
    let is_unknown = |arrival: &Arrival<'_>| match &arrival.body {
        Body::Unreadable(unreadable) => {
            matches!(unreadable.reason, Reason::UnknownShape | Reason::BadField)
        }
        Body::Alert(_) => false,
    };
    let all =
        |messages: &[&[u8]]| (0..).zip(messages).flat_map(|(at, value)| read(at, value)).collect();
    if serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok() {
        if !whole.iter().all(is_unknown) {
            return whole;
        }
        let elements: Vec<&RawValue> = serde_json::from_slice(bytes).unwrap_or_default();
        if elements.is_empty() {
            return whole;
        }
        return all(&elements.iter().map(|element| element.get().as_bytes()).collect::<Vec<_>>());
    }
    let lines: Vec<&[u8]> =
        bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).collect();
    let is_lines = lines.len() > 1
        && lines
            .first()
            .is_some_and(|first| serde_json::from_slice::<serde::de::IgnoredAny>(first).is_ok());
    if is_lines { all(&lines) } else { whole }
}
