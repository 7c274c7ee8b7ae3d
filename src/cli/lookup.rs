use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use super::screen::age_text;
use super::{Config, say};
use crate::app::{self, Failure, Loaded, system_clock};
use crate::case::{CacheState, FactRow, FactState, Millis, Value, duration_text};
use crate::config::EnricherConfig;
use crate::enrich::key_of_parts;
use crate::text::suggestion;

#[derive(Args)]
pub(super) struct Lookup {
    #[command(flatten)]
    config: Config,
    /// The row as it stands in records
    #[arg(long)]
    json: bool,
    /// Ask the source, whatever was kept of an earlier answer
    #[arg(long)]
    fresh: bool,
    /// Have the running process of this configuration keep no answer for the key
    #[arg(long, conflicts_with_all = ["fresh", "json"])]
    purge: bool,
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
        let key = key_of_parts(config, &parts).map_err(Failure::Usage)?;
        if self.purge {
            return purge(&loaded, &config.name, &parts);
        }
        let _services = loaded.connect_alone(now, !self.fresh)?;
        if loaded.checked.service.is_some() {
            app::read_once(&loaded, config)?;
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

/// Asks the process that listens for metrics where the configuration says.
fn purge(loaded: &Loaded, enricher: &str, key: &[&str]) -> Result<ExitCode, Failure> {
    let listen = app::here(loaded.service()?.listen);
    let body = json!({"enricher": enricher, "key": key}).to_string();
    let (status, text) = app::post(&format!("http://{listen}/facts/purge"), body)?;
    if status != 200 {
        let text = text.trim();
        return Err(Failure::Ended(format!("{listen} refused: {text}")));
    }
    say(&format!("{listen} keeps no answer of `{enricher}` for {}", key.join(" ")));
    Ok(ExitCode::SUCCESS)
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
        format!(
            "{:16} {} version {}{age}{}",
            "from",
            row.source,
            row.version,
            row.cache.map_or("", CacheState::about)
        ),
    ];
    lines.extend(row.detail.as_ref().map(|detail| format!("{:16} {detail}", "because")));
    for ((name, _), value) in config.provides.iter().zip(&row.values) {
        let value = match value {
            Value::Absent => "-".to_owned(),
            Value::Unknown(why) => format!("unknown ({}): {}", why.code(), why.about()),
            Value::Bool(value) => value.to_string(),
            Value::Int(value) => value.to_string(),
            Value::AtLeast(value) => format!("at least {value}"),
            Value::Decimal(value) => value.to_string(),
            Value::Time(value) => value.to_string(),
            Value::Duration(value) => duration_text(*value),
            Value::Text(text) => text.to_string(),
            Value::List(items) => items.join(", "),
        };
        lines.push(format!("  {name:14} {value}"));
    }
    lines
}
