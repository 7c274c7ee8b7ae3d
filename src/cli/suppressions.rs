use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::lines::shown;
use super::screen::age_text;
use super::verify::{Chains, read_cluster, valid};
use super::{Config, connect, parse_now, say};
use crate::app::{Failure, PATIENCE};
use crate::audit::{Kind, Record};
use crate::case::{Decision, Field, Id, Millis, OnExpiry, Reason, Ruling, Suppress};
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
    /// When the last of its cases is ruled again or told of, or was.
    expires_at: Millis,
    on_expiry: OnExpiry,
    /// Of the alert that was suppressed last: `name = value`.
    evidence: Vec<String>,
}

/// Playbook, rule and identity.
type Key = (String, String, String);
type Rows = BTreeMap<Key, Row>;

/// What the records say, read one after the other.
#[derive(Default)]
struct Fold {
    rows: Rows,
    /// By case what is silenced of it: until when, and by what.
    silenced: HashMap<Id, (Millis, BTreeSet<Key>)>,
}

impl Suppressions {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let now = parse_now(self.now.as_deref())?;
        let loaded = self.config.load(now)?;
        let cluster = connect(&loaded, PATIENCE)?;
        let rows = folded(&read_cluster(&cluster)?);
        let never = never_hit(&loaded.checked.policy, &rows);
        let soon = now.plus(i64::from(self.soon) * 3_600_000);
        let mut rows: Vec<Row> = rows.into_values().map(|row| judged(row, now, soon)).collect();
        rows.retain(|row| self.all || row.state != "over");
        rows.sort_by_key(|row| (row.expires_at, row.first));
        show(&rows, &never, now, self.json);
        Ok(ExitCode::SUCCESS)
    }
}

fn folded(chains: &Chains) -> Rows {
    let mut fold = Fold::default();
    for (_, record) in chains.values().flat_map(|records| valid(records)) {
        match record.kind {
            Kind::Ruling => fold.suppress(&record),
            Kind::Revision | Kind::Timer => fold.end(&record),
            _ => {}
        }
    }
    for (until, keys) in std::mem::take(&mut fold.silenced).into_values() {
        fold.ends(&keys, until);
    }
    fold.rows
}

impl Fold {
    fn suppress(&mut self, record: &Record<'_>) {
        let Some(decision) = &record.ruling else { return };
        let Ruling::Suppress(suppress) = &decision.fate else { return };
        // Known by its origin alone, every message would be an identity of its own.
        let alert = record.alert.as_deref();
        let named = alert.filter(|alert| alert.text(Field::NhiKnownBy) != Some("origin"));
        let nhi = named.and_then(|alert| alert.text(Field::NhiId)).unwrap_or("-");
        let key = (decision.playbook.to_string(), decision.rule.to_string(), nhi.to_owned());
        let new = row(decision, suppress, nhi, record.at);
        match self.rows.get_mut(&key) {
            Some(known) => {
                let (hits, first) = (known.hits + 1, known.first);
                *known = Row { hits, first, expires_at: known.expires_at, ..new };
            }
            None => drop(self.rows.insert(key.clone(), new)),
        }
        // What is no alert is no part of a case.
        let is_alert = decision.reason != Reason::NotAnAlert;
        let Some(counters) = record.counters.as_ref().filter(|_| is_alert) else {
            return self.ends(&BTreeSet::from([key]), suppress.expires_at);
        };
        let silenced = self.silenced.entry(counters.case_id.clone());
        let (until, keys) = silenced.or_insert((suppress.expires_at, BTreeSet::new()));
        *until = suppress.expires_at.min(*until);
        keys.insert(key);
    }

    /// As the core ends it: not with what is ruled again of a case that people have.
    fn end(&mut self, record: &Record<'_>) {
        let has_people = record.revised.as_ref().is_some_and(|it| it.standing.is_some());
        let counters = record.counters.as_ref().filter(|_| !has_people);
        let silenced = counters.and_then(|counters| self.silenced.remove(&counters.case_id));
        if let Some((until, keys)) = silenced {
            self.ends(&keys, until.min(record.at));
        }
    }

    fn ends(&mut self, keys: &BTreeSet<Key>, at: Millis) {
        for key in keys {
            if let Some(row) = self.rows.get_mut(key) {
                row.expires_at = row.expires_at.max(at);
            }
        }
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
        expires_at: at,
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

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::audit::{Actor, Engine};
    use crate::case::{Again, Counters, Priority, Revised, Standing};

    fn record(kind: Kind, at: i64, case: &str) -> Record<'static> {
        let engine = Engine { version: "1".into(), build: "test".into() };
        let actor = Actor { service: "t".into(), instance: "t".into() };
        let counters = Some(Cow::Owned(Counters::alone(case.to_owned(), Millis(at))));
        Record { counters, ..Record::new(kind, Millis(at), engine, actor) }
    }

    fn suppressed(at: i64, case: &str, rule: &'static str) -> Record<'static> {
        let suppress = Suppress {
            evidence: vec![],
            expires_at: Millis(at + 100),
            on_expiry: OnExpiry::Recheck,
            authorized_by: "o".into(),
        };
        let fate = Ruling::Suppress(suppress);
        let decision = Decision::new(fate, Reason::TestFixture, "p", rule);
        Record { ruling: Some(Cow::Owned(decision)), ..record(Kind::Ruling, at, case) }
    }

    #[test]
    fn a_suppression_ends_with_its_case_and_what_is_void_never_was() {
        let standing = Standing {
            is_held: false,
            queue: "q".to_owned(),
            priority: Priority::Low,
            due: None,
            released: None,
        };
        let again = |standing| Revised { why: Again::SuppressionOver, facts: vec![], standing };
        let revised = |at, case, standing| Record {
            revised: Some(again(standing)),
            ..record(Kind::Revision, at, case)
        };
        let records = [
            suppressed(0, "a", "first"),
            suppressed(50, "a", "second"),
            suppressed(60, "b", "ended"),
            revised(70, "b", None),
            suppressed(80, "c", "kept"),
            revised(90, "c", Some(standing)),
            suppressed(95, "d", "void"),
            Record { void: vec![6], ..record(Kind::Void, 96, "d") },
        ];
        let bytes = records.iter().map(|record| serde_json::to_vec(record).unwrap());
        let rows = folded(&Chains::from([(0, (0..).zip(bytes).collect())]));
        let ends: Vec<(&str, i64)> =
            rows.values().map(|row| (&*row.rule, row.expires_at.0)).collect();
        assert_eq!(ends, [("ended", 70), ("first", 100), ("kept", 180), ("second", 100)]);
    }
}
