use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::lines::shown;
use super::{Config, read_input, say, way_out};
use crate::app::{Failure, system_clock};
use crate::case::{Alert, Arrival, Body, FIELDS, Field, Unreadable, Value};
use crate::normalize::{Explained, Incoming};

#[derive(Args)]
pub(super) struct Map {
    #[command(flatten)]
    config: Config,
    /// The pipeline to read the message with; without it the message's shape chooses
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,
    /// A header of the message, `Name: value`; may come several times
    #[arg(long = "header", value_name = "HEADER")]
    headers: Vec<String>,
    /// One JSON object a line and alert
    #[arg(long)]
    json: bool,
    /// One message as the detector sends it; `-` for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl Map {
    /// Exit code 1 when something in the message could not be read.
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let now = system_clock()();
        let loaded = self.config.load(now)?;
        let pipelines = &loaded.checked.pipelines;
        self.config.check_pipeline(pipelines, self.pipeline.as_deref())?;
        let keys = loaded.keys()?;
        let bytes = read_input(&self.file)?;
        let headers: Vec<(&str, &[u8])> =
            self.headers.iter().map(|header| header_of(header)).collect::<Result<_, _>>()?;
        let incoming = Incoming {
            topic: "offline",
            incarnation: "-",
            partition: 0,
            offset: 0,
            headers: &headers,
            value: Some(&bytes),
            received_at: now,
        };
        let (arrivals, explained) = pipelines.explain(&incoming, self.pipeline.as_deref(), &keys);
        let mut is_read = true;
        for arrival in &arrivals {
            let explained = explained.iter().find(|one| one.alert_id == arrival.alert_id);
            let text = if self.json {
                as_json(arrival, explained).to_string()
            } else {
                as_text(arrival, explained)
            };
            is_read &= matches!(arrival.body, Body::Alert(_));
            if !say(&text) {
                return Ok(ExitCode::FAILURE);
            }
        }
        Ok(if is_read { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn header_of(text: &str) -> Result<(&str, &[u8]), Failure> {
    let (name, value) = text
        .split_once(':')
        .ok_or_else(|| Failure::Usage(format!("`--header {text}` is not like `Name: value`")))?;
    Ok((name.trim(), value.trim().as_bytes()))
}

fn as_json(arrival: &Arrival<'_>, explained: Option<&Explained>) -> serde_json::Value {
    let mut line = serde_json::Map::new();
    let mut put = |name: &str, value: serde_json::Value| drop(line.insert(name.to_owned(), value));
    put("pipeline", json!(arrival.pipeline));
    put("index", json!(arrival.origin.index));
    put("of", json!(arrival.origin.of));
    match &arrival.body {
        Body::Alert(alert) => put("alert", json!(alert)),
        Body::Unreadable(unreadable) => put("unreadable", json!(unreadable)),
    }
    if let Some(Explained { made_of, redacted, unused, .. }) = explained {
        let made_of = made_of.iter().map(|(field, paths)| (field.path().to_owned(), json!(paths)));
        put("made_of", serde_json::Value::Object(made_of.collect()));
        put("redacted", json!(redacted));
        put("unused", json!(unused));
    }
    serde_json::Value::Object(line)
}

/// Columns of the table, in characters; longer values are cut.
const NAME: usize = 22;
const VALUE: usize = 56;

fn as_text(arrival: &Arrival<'_>, explained: Option<&Explained>) -> String {
    let (index, of) = (arrival.origin.index + 1, arrival.origin.of);
    let name = if arrival.pipeline.is_empty() { "no pipeline" } else { &arrival.pipeline };
    let mut lines = vec![format!("── {name}  {index} of {of} ──")];
    match &arrival.body {
        Body::Unreadable(unreadable) => lines.push(format!("unreadable: {}", why(unreadable))),
        Body::Alert(alert) => {
            for info in FIELDS {
                let value = alert.get(info.field);
                if value.is_present() {
                    let from = made_of(alert, info.field, explained);
                    let value = shown(&plain(value), VALUE);
                    lines.push(format!("{:<NAME$} {value:<VALUE$} {from}", info.path));
                }
            }
        }
    }
    let list = |what: &str, paths: &[String]| format!("{what}: {}", shown(&paths.join(", "), 4096));
    if let Some(explained) = explained {
        if !explained.redacted.is_empty() {
            lines.push(list("replaced wherever it occurs", &explained.redacted));
        }
        if !explained.unused.is_empty() {
            lines.push(list("used by no path", &explained.unused));
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

fn made_of(alert: &Alert<'_>, field: Field, explained: Option<&Explained>) -> String {
    let paths = explained.and_then(|explained| {
        explained.made_of.iter().find(|(of, _)| *of == field).map(|(_, paths)| paths)
    });
    let by = |field: Field| alert.text(field).filter(|by| by.starts_with("alias:"));
    let alias = match field {
        Field::NhiKind | Field::NhiKindKnownBy => by(Field::NhiKindKnownBy),
        Field::NhiId | Field::NhiKnownBy | Field::NhiAccount => by(Field::NhiKnownBy),
        _ => None,
    };
    match (alias, paths) {
        (Some(alias), _) => format!("({alias})"),
        (None, Some(paths)) if paths.is_empty() => "(the pipeline's file)".to_owned(),
        (None, Some(paths)) => shown(&paths.join(" + "), 200),
        (None, None) => "(intake)".to_owned(),
    }
}

fn plain(value: &Value<'_>) -> String {
    match value {
        Value::Text(text) => text.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Bool(is) => is.to_string(),
        Value::Time(time) => time.to_string(),
        other => format!("{other:?}"),
    }
}

fn why(unreadable: &Unreadable<'_>) -> String {
    let place = unreadable.line.zip(unreadable.column);
    let place = place.map(|(line, column)| format!(" at line {line}, column {column}"));
    let (place, hint) = (place.unwrap_or_default(), way_out(unreadable.reason));
    format!("{}: {}{place}{hint}", unreadable.reason, unreadable.detail)
}

/// Writes the first version of a new pipeline's files.
#[derive(Args)]
pub(super) struct New {
    /// Its name: a-z, 0-9 and -
    #[arg(value_name = "NAME")]
    name: String,
    /// One event as the detector sends it, to guess from; none of its values is written
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// The folder with all pipelines
    #[arg(long, value_name = "DIR", default_value = "pipelines")]
    into: PathBuf,
}

impl New {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if self.name.is_empty() || !self.name.bytes().all(is_plain) {
            let name = &self.name;
            return Err(Failure::Usage(format!("`{name}`: a name has only `a-z`, `0-9` and `-`")));
        }
        let bytes = read_input(&self.from)?;
        let wrong = |why: String| Failure::Usage(format!("{}: {why}", self.from.display()));
        let text = crate::json::utf8(&bytes).map_err(|malformed| wrong(malformed.to_string()))?;
        // Of several documents the first is enough to guess from.
        let first = crate::normalize::draft(&self.name, text).or_else(|fault| {
            let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
            crate::normalize::draft(&self.name, line).map_err(|_| fault)
        });
        let file = first.map_err(|malformed| {
            let (line, column) = crate::json::line_column(&bytes, malformed.at);
            wrong(format!("line {line}, column {column}: {}", malformed.fault.about()))
        })?;
        let folder = self.into.join(&self.name);
        write_new(&folder.join("pipeline.yaml"), &file)?;
        write_new(&folder.join("README.md"), &readme(&self.name))?;
        let examples = folder.join("examples");
        std::fs::create_dir_all(&examples).map_err(|error| at(&examples, &error))?;
        say(&format!("{}: correct it until `tipstaff map` shows what you mean", folder.display()));
        say(&format!(
            "{}: put events here whose secrets and names are made up; each is a test",
            examples.display()
        ));
        Ok(ExitCode::SUCCESS)
    }
}

fn readme(name: &str) -> String {
    format!(
        "# {name}\n\n\
         **Setting in the tool.** What makes it send to `alerts.{name}` or `/v1/alerts/{name}`.\n\n\
         **Mapped.** What becomes which kind of alert; whom it is about and how that is known.\n\n\
         **No alert.** Each id of `not_an_alert`, what it means, why nobody has to act on it.\n\n\
         **Stripped.** Where secrets stand, and what identifies the credential.\n"
    )
}

fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| at(folder, &error))?;
    }
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(path);
    let written = file.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()));
    written.map_err(|error| at(path, &error))
}

fn at(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Usage(format!("{}: {error}", path.display()))
}
