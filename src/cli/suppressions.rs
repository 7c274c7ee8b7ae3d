use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::lines::shown;
use super::screen::age_text;
use super::{Config, connect, parse_now, say, verify};
use crate::app::Failure;
use crate::audit::{Kind, Record};
use crate::case::{Decision, Field, Millis, OnExpiry, Reason, Ruling, Suppress};
use crate::pipeline::Drain;
use crate::policy::{Outcome, Policy};

/// What is silenced, by whom, on what evidence and until when.
#[derive(Args)]
pub(super) struct Suppressions {
    #[command(flatten)]
    config: Config,
    /// Mark what ends within so many hours
    #[arg(long, value_name = "HOURS", default_value_t = 24)]
    soon: u32,
    /// Also those whose time is over
    #[arg(long)]
    all: bool,
    /// As of this time instead of now
    #[arg(long, value_name = "TIME")]
    now: Option<String>,
    /// One JSON object for each
    #[arg(long)]
    json: bool,
}

/// Alerts of one identity that one rule suppressed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Row {
    /// `in_force`, `ends_soon` or `over`.
    state: &'static str,
    playbook: String,
    rule: String,
    reason: Reason,
    nhi: String,
    authorized_by: String,
    hits: u64,
    first: Millis,
    last: Millis,
    /// Of the alert that was suppressed last.
    expires_at: Millis,
    on_expiry: OnExpiry,
    /// Of the alert that was suppressed last: `name = value`.
    evidence: Vec<String>,
}

type Rows = BTreeMap<(String, String, String), Row>;

impl Suppressions {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let now = parse_now(self.now.as_deref())?;
        let loaded = self.config.load(now)?;
        let service = loaded.service()?;
        crate::observe::start_logs(service.log.level, service.log.json);
        let cluster = connect(&loaded, &Drain::default())?;
        let mut rows = Rows::new();
        let chains = verify::read_cluster(&cluster)?;
        for (_, bytes) in chains.values().flatten() {
            Record::parse(bytes).into_iter().for_each(|record| add(&mut rows, &record));
        }
        let never = never_hit(&loaded.checked.policy, &rows);
        let soon = now.plus(i64::from(self.soon) * 3_600_000);
        let mut rows: Vec<Row> = rows.into_values().map(|row| judged(row, now, soon)).collect();
        rows.retain(|row| self.all || row.state != "over");
        rows.sort_by_key(|row| (row.expires_at, row.first));
        show(&rows, &never, now, self.json);
        Ok(ExitCode::SUCCESS)
    }
}

/// One ruling of a chain.
fn add(rows: &mut Rows, record: &Record<'_>) {
    let (Kind::Ruling, Some(decision)) = (record.kind, &record.ruling) else { return };
    let Ruling::Suppress(suppress) = &decision.fate else { return };
    // Known by its origin alone, every message would be an identity of its own.
    let alert = record.alert.as_deref();
    let named = alert.filter(|alert| alert.text(Field::NhiKnownBy) != Some("origin"));
    let nhi = named.and_then(|alert| alert.text(Field::NhiId)).unwrap_or("-");
    let key = (decision.playbook.to_string(), decision.rule.to_string(), nhi.to_owned());
    let new = row(decision, suppress, nhi, record.at);
    match rows.get_mut(&key) {
        Some(known) => {
            let (hits, first) = (known.hits + 1, known.first);
            *known = Row { hits, first, expires_at: new.expires_at.max(known.expires_at), ..new };
        }
        None => drop(rows.insert(key, new)),
    }
}

fn row(decision: &Decision<'_>, suppress: &Suppress<'_>, nhi: &str, at: Millis) -> Row {
    let evidence =
        suppress.evidence.iter().map(|each| format!("{} = {}", each.name, each.value)).collect();
    Row {
        state: "in_force",
        playbook: decision.playbook.to_string(),
        rule: decision.rule.to_string(),
        reason: decision.reason,
        nhi: nhi.to_owned(),
        authorized_by: suppress.authorized_by.to_string(),
        hits: 1,
        first: at,
        last: at,
        expires_at: suppress.expires_at,
        on_expiry: suppress.on_expiry,
        evidence,
    }
}

fn judged(row: Row, now: Millis, soon: Millis) -> Row {
    let state = match row.expires_at {
        end if end <= now => "over",
        end if end <= soon => "ends_soon",
        _ => "in_force",
    };
    Row { state, ..row }
}

/// Rules of the policy that suppress, and that no record names.
fn never_hit(policy: &Policy, rows: &Rows) -> Vec<String> {
    let hit: BTreeSet<(&str, &str)> =
        rows.keys().map(|(playbook, rule, _)| (playbook.as_str(), rule.as_str())).collect();
    let rules = policy.playbooks().iter().flat_map(|playbook| {
        let rules = playbook.rules.iter();
        let suppressing = rules.filter(|rule| matches!(rule.outcome, Outcome::Suppress(_)));
        suppressing.map(|rule| (&*playbook.name, &*rule.id))
    });
    let never = rules.filter(|rule| !hit.contains(rule));
    never.map(|(playbook, rule)| format!("{playbook}/{rule}")).collect()
}

fn show(rows: &[Row], never: &[String], now: Millis, as_json: bool) {
    if as_json {
        let lines = rows.iter().filter_map(|row| serde_json::to_string(row).ok());
        let never = never.iter().map(|rule| serde_json::json!({"never_hit": rule}).to_string());
        lines.chain(never).all(|line| say(&line));
        return;
    }
    for row in rows {
        let ends = match row.state {
            "over" => format!("over since {}", age_text(now.since(row.expires_at))),
            "ends_soon" => format!("ENDS in {}", age_text(row.expires_at.since(now))),
            _ => format!("ends in {}", age_text(row.expires_at.since(now))),
        };
        say(&format!(
            "{:<18} {:<20} {:>6}x  {:<34} {}/{}",
            shown(row.reason.code(), 18),
            ends,
            row.hits,
            shown(&row.nhi, 34),
            row.playbook,
            row.rule
        ));
        let evidence = shown(&row.evidence.join(", "), 70);
        say(&format!(
            "    by {}, then {}: {evidence}",
            shown(&row.authorized_by, 30),
            row.on_expiry.name()
        ));
    }
    if rows.is_empty() {
        say("nothing is suppressed");
    }
    if !never.is_empty() {
        say(&format!("\nrules that suppress and never did: {}", never.join(", ")));
    }
}
