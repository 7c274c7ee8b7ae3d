use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::Value;

use super::lines::shown;
use super::screen::{case_text, plain, terminal_width};
use super::{Config, connect, is_terminal, say};
use crate::app::{Failure, PATIENCE, system_clock};
use crate::audit::CASES_PREFIX;
use crate::case::{CASE_STATES, Change, Millis, Priority};
use crate::ingest::LogReader;

#[derive(Subcommand)]
pub(super) enum CasesVerb {
    /// One line for each case, the most urgent first
    List(List),
    /// One case as an analyst reads it, and how it came to be so
    Show(Show),
}

#[derive(Args)]
pub(super) struct List {
    #[command(flatten)]
    config: Config,
    /// Of this queue alone
    #[arg(long, value_name = "NAME")]
    queue: Option<String>,
    #[arg(long, value_name = "STATE", value_parser = CASE_STATES)]
    state: Option<String>,
    /// At least as urgent
    #[arg(long, value_name = "PRIORITY", value_parser = ["low", "medium", "high", "critical"])]
    priority: Option<String>,
    /// One JSON object for each case
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct Show {
    #[command(flatten)]
    config: Config,
    /// The case as JSON
    #[arg(long)]
    json: bool,
    /// Its id or the beginning of it
    #[arg(value_name = "ID")]
    id: String,
}

/// Of a case's id, which is shown whole: an order names it so.
const ID_WIDTH: usize = 32;

/// What a queue was told of one case and when, in the order of its revisions.
#[derive(Default)]
struct Case {
    told: BTreeMap<u64, (Millis, Value)>,
}

/// What of a case decides whether and where it is listed.
#[derive(Deserialize)]
struct Head {
    queue: String,
    priority: Priority,
    state: String,
    last_seen: String,
}

impl Case {
    /// The newest of everything: what a notice does not say is as it was. An order is of its notice
    /// alone.
    fn now(&self) -> Value {
        let mut now = serde_json::Map::new();
        for (_, told) in self.told.values() {
            let Value::Object(fields) = told else { continue };
            let is_whole = fields.contains_key("alert");
            now.remove("order");
            if is_whole {
                now.clear();
            }
            for (name, value) in fields {
                let stays = !is_whole && matches!(name.as_str(), "summary" | "record");
                if !stays || !now.contains_key(name) {
                    now.insert(name.clone(), value.clone());
                }
            }
        }
        Value::Object(now)
    }
}

impl CasesVerb {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        match self {
            Self::List(list) => list.run(),
            Self::Show(show) => show.run(),
        }
    }
}

impl List {
    fn run(self) -> Result<ExitCode, Failure> {
        let least = self.priority.as_deref().and_then(Priority::named);
        let mut rows: Vec<(Head, Value)> = read(&self.config)?
            .into_values()
            .map(|case| case.now())
            .filter_map(|case| Some((Head::deserialize(&case).ok()?, case)))
            .filter(|(head, _)| self.queue.as_ref().is_none_or(|queue| head.queue == *queue))
            .filter(|(head, _)| self.state.as_ref().is_none_or(|state| head.state == *state))
            .filter(|(head, _)| least.is_none_or(|least| head.priority >= least))
            .collect();
        rows.sort_by(|(one, _), (other, _)| {
            (other.priority, &other.last_seen).cmp(&(one.priority, &one.last_seen))
        });
        let width = is_terminal().then(terminal_width);
        for (head, case) in &rows {
            let line = if self.json { case.to_string() } else { line(head, case, width) };
            if !say(&line) {
                break;
            }
        }
        if rows.is_empty() && !self.json {
            say("no case");
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Show {
    fn run(self) -> Result<ExitCode, Failure> {
        let cases = read(&self.config)?;
        let mut found = cases.iter().filter(|(id, _)| id.starts_with(&self.id));
        let (Some((_, case)), None) = (found.next(), found.next()) else {
            let count = cases.keys().filter(|id| id.starts_with(&self.id)).count();
            let id = shown(&self.id, 64);
            let message = match count {
                0 => format!("there is no case `{id}` in any queue"),
                _ => format!("{count} cases begin with `{id}`: write more of the id"),
            };
            return Err(Failure::Ended(message));
        };
        let now = case.now();
        if self.json {
            say(&now.to_string());
            return Ok(ExitCode::SUCCESS);
        }
        say(&case_text(&now, system_clock()()));
        say("\nTOLD");
        for (at, told) in case.told.values() {
            say(&told_line(*at, told));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// On a terminal the id and the summary are a line of their own, so that no id is broken.
fn line(head: &Head, case: &Value, width: Option<usize>) -> String {
    let text = |name: &str| case.get(name).map(plain).unwrap_or_default();
    let (gap, summary) = match width {
        Some(width) => ("\n    ", width.saturating_sub(ID_WIDTH + 5)),
        None => (" ", 110),
    };
    format!(
        "{:<9} {:<14} {:<20} {:>6}x {:<19}{gap}{:<ID_WIDTH$} {}",
        head.priority.name(),
        shown(&head.state, 14),
        shown(&head.queue, 20),
        text("count"),
        head.last_seen.get(..19).unwrap_or(&head.last_seen),
        shown(&text("case_id"), ID_WIDTH),
        shown(&text("summary"), summary)
    )
}

/// When people were told what.
fn told_line(at: Millis, told: &Value) -> String {
    let text = |name: &str| told.get(name).map(plain).unwrap_or_default();
    let changed = told.get("changed").and_then(Value::as_array);
    let changed = changed.into_iter().flatten().filter_map(|word| Change::deserialize(word).ok());
    let changed: Vec<&str> = changed.map(Change::about).collect();
    let order = |place: &str| told.pointer(&format!("/order/{place}")).map(plain);
    let through = order("via/sink").map_or_else(String::new, |sink| format!(" through {sink}"));
    let by = order("by").map_or_else(String::new, |by| format!(" ({}{through})", shown(&by, 40)));
    format!(
        "  {:>3}  {:<24} {:<9} {:<14} {:<20} {}{by}",
        text("case_revision"),
        at.to_string(),
        text("priority"),
        text("state"),
        shown(&text("queue"), 20),
        changed.join("; ")
    )
}

/// Every case that a queue was told of, by id; also one that the policy names no more.
fn read(config: &Config) -> Result<BTreeMap<String, Case>, Failure> {
    let loaded = config.load(system_clock()())?;
    let cluster = connect(&loaded, PATIENCE)?;
    let log = LogReader::connect(&cluster.settings, &cluster.group("cases"))?;
    let prefix = cluster.topics.output(CASES_PREFIX);
    let topics = log.topics(&prefix)?;
    let mut wanted = loaded.checked.policy.queues().into_iter().map(|it| format!("{prefix}{it}"));
    if let Some(missing) = wanted.find(|topic| !topics.contains(topic)) {
        return Err(Failure::missing(&missing));
    }
    let mut cases = BTreeMap::new();
    for topic in topics {
        log.read_settled(&topic, |_, message| {
            let told = message.value.and_then(|value| serde_json::from_slice::<Value>(value).ok());
            let at = Millis(message.timestamp_ms);
            told.into_iter().for_each(|told| add(&mut cases, at, told));
        })?;
    }
    Ok(cases)
}

fn add(cases: &mut BTreeMap<String, Case>, at: Millis, told: Value) {
    let revision = told.get("case_revision").and_then(Value::as_u64);
    let id = told.get("case_id").and_then(Value::as_str).map(str::to_owned);
    // Where it went, the queue that it left says nothing new.
    let has_left = told.get("state").and_then(Value::as_str) == Some("moved");
    if let (Some(revision), Some(id), false) = (revision, id, has_left) {
        cases.entry(id).or_default().told.insert(revision, (at, told));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_as_wide_as_the_terminal_and_its_id_is_whole() {
        let id = "5f0c3a".repeat(6).get(..ID_WIDTH).unwrap_or_default().to_owned();
        let case = serde_json::json!({
            "queue": "q".repeat(30), "priority": "critical", "state": "finding_closed",
            "last_seen": "2026-03-02T09:30:00.000Z", "count": 123_456,
            "case_id": id, "summary": "s".repeat(200),
        });
        let head = Head::deserialize(&case).unwrap();
        for width in [80, 100] {
            let text = line(&head, &case, Some(width));
            assert!(text.lines().all(|line| line.chars().count() <= width), "{text}");
            assert!(text.lines().nth(1).is_some_and(|line| line.contains(&id)), "{text}");
        }
        let text = line(&head, &case, None);
        assert!(text.contains(&id) && text.lines().count() == 1, "{text}");
    }
}
