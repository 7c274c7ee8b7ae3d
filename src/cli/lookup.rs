use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;

use super::screen::age_text;
use super::{Config, say};
use crate::app::{Failure, read_once, system_clock};
use crate::case::{FactRow, FactState, Millis, Value, duration_text};
use crate::config::{EnricherConfig, KeySpec};
use crate::text::suggestion;

#[derive(Args)]
pub(super) struct Lookup {
    #[command(flatten)]
    config: Config,
    /// The row as it stands in records
    #[arg(long)]
    json: bool,
    /// Which enricher
    enricher: String,
    /// What to look up: one part for each field of the enricher's key
    #[arg(required = true)]
    key: Vec<String>,
}

/// A person waits longer than a batch does.
const PATIENCE: Duration = Duration::from_secs(10);

impl Lookup {
    /// Exit code 1 when the fact is unknown.
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let now = system_clock()();
        let loaded = self.config.load(now)?;
        let enrichers = &loaded.checked.enrichers;
        let Some(config) = enrichers.iter().find(|each| *each.name == *self.enricher) else {
            let hint = suggestion(&self.enricher, enrichers.iter().map(|each| &*each.name));
            return Err(Failure::Usage(format!("there is no enricher `{}`{hint}", self.enricher)));
        };
        let parts: Vec<&str> = self.key.iter().map(String::as_str).collect();
        let key = key_of(config, &parts)?;
        let _services = loaded.connect_alone(now)?;
        if loaded.checked.service.is_some() {
            read_once(&loaded, config)?;
        }
        let Some(row) = loaded.enrichers.fact(&config.name, &key, Instant::now() + PATIENCE) else {
            return Err(Failure::Ended(format!("`{}` gave no answer", config.name)));
        };
        if self.json {
            say(row.json().get());
        } else {
            as_text(config, &row, now).iter().for_each(|line| {
                say(line);
            });
        }
        let is_unknown = matches!(row.state, FactState::Unknown(_));
        Ok(if is_unknown { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

fn key_of(config: &EnricherConfig, parts: &[&str]) -> Result<String, Failure> {
    let fields = match &config.key {
        KeySpec::All(fields) => fields.as_slice(),
        KeySpec::First(fields) => fields.get(..1).unwrap_or_default(),
    };
    if fields.len() == parts.len() {
        return Ok(crate::enrich::joined(parts));
    }
    let names: Vec<String> = match &config.key {
        KeySpec::All(fields) => fields.iter().map(|field| field.path()).collect(),
        KeySpec::First(fields) => {
            vec![fields.iter().map(|field| field.path()).collect::<Vec<_>>().join(" or ")]
        }
    };
    let names = names.join(", ");
    Err(Failure::Usage(format!("`{}` is looked up by {names}", config.name)))
}

fn as_text(config: &EnricherConfig, row: &FactRow, now: Millis) -> Vec<String> {
    let state = match row.state {
        FactState::Unknown(why) => format!("unknown ({}): {}", why.code(), why.about()),
        other => other.code().to_owned(),
    };
    let age = row.as_of.map_or_else(String::new, |as_of| {
        format!(", as of {as_of}, {} old", age_text(now.since(as_of)))
    });
    let mut lines = vec![
        format!("{:16} {state}", config.name),
        format!("{:16} {} version {}{age}", "from", row.source, row.version),
    ];
    lines.extend(row.detail.as_ref().map(|detail| format!("{:16} {detail}", "because")));
    for ((name, _), value) in config.provides.iter().zip(&row.values) {
        let value = match value {
            Value::Absent => "-".to_owned(),
            Value::Unknown(why) => format!("unknown ({}): {}", why.code(), why.about()),
            Value::Bool(value) => value.to_string(),
            Value::Int(value) => value.to_string(),
            Value::Time(value) => value.to_string(),
            Value::Duration(value) => duration_text(*value),
            Value::Text(text) => text.to_string(),
        };
        lines.push(format!("  {name:14} {value}"));
    }
    lines
}
