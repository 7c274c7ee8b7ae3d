//! One alert's way through the rules, as a person wants to read it.

use std::process::ExitCode;

use serde::Serialize;

use super::lines::shown;
use super::screen::{age_text, terminal_width, wrapped};
use super::{is_colored, say};
use crate::app::{Failure, Loaded};
use crate::audit::{Kind, Record};
use crate::case::{Alert, Decision, Field, Millis, Revised, Ruling, Value, Verdict};
use crate::decide::{
    Asked, Considered, Explanation, Looked, Need, Role, Stronger, Tested, Tried, explain,
};
use crate::replay::{Recalled, Recaller};

/// What is told of one alert.
#[derive(Serialize)]
struct Told<'t> {
    alert_id: &'t str,
    at: Millis,
    #[serde(skip_serializing_if = "Option::is_none")]
    alert: Option<&'t Alert<'t>>,
    policy: &'t str,
    /// Under another policy than this one, or by an earlier build: what was ruled then.
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded: Option<Then<'t>>,
    /// There when it was ruled again.
    #[serde(skip_serializing_if = "Option::is_none")]
    revised: Option<&'t Revised<'t>>,
    /// Enrichers that this policy wants and the record does not hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_recorded: Vec<&'t str>,
    #[serde(flatten)]
    explanation: Explanation<'t>,
}

#[derive(Serialize)]
struct Then<'t> {
    policy: &'t str,
    ruling: &'t Decision<'t>,
}

/// Rules each record again and tells how it comes about; only those whose alert's id begins so.
pub(super) fn explained(
    loaded: &Loaded,
    records: &[Vec<u8>],
    alert: Option<&str>,
    as_json: bool,
) -> Result<ExitCode, Failure> {
    let policy = &*loaded.checked.policy;
    let mut recaller = Recaller::new(policy, &[policy]);
    let (mut count, mut lost) = (0, 0);
    for bytes in records {
        let Some(record) = Record::parse(bytes) else {
            lost += 1;
            continue;
        };
        let id = record.alert_id.as_deref().unwrap_or_default();
        if !matches!(record.kind, Kind::Ruling | Kind::Revision)
            || alert.is_some_and(|wanted| !id.starts_with(wanted))
        {
            continue;
        }
        let Some(recalled) = recaller.recall(&record) else {
            lost += 1;
            continue;
        };
        let told = told(loaded, &record, &recalled);
        let text = if as_json {
            serde_json::to_string(&told).map_err(|error| Failure::Ended(error.to_string()))?
        } else {
            let separator = if count > 0 { "\n" } else { "" };
            format!("{separator}{}", text(&told).trim_end())
        };
        count += 1;
        if !say(&text) {
            return Ok(ExitCode::FAILURE);
        }
    }
    if lost > 0 {
        let message = format!(
            "{lost} of {} records can't be read, or hold no alert to rule: left out",
            records.len()
        );
        return Err(Failure::Ended(message));
    }
    if count == 0 {
        let message = alert.map_or("there is no ruling in the input".to_owned(), |alert| {
            format!("there is no ruling about an alert {alert} in the input")
        });
        return Err(Failure::Ended(message));
    }
    Ok(ExitCode::SUCCESS)
}

fn told<'t>(loaded: &'t Loaded, record: &'t Record<'t>, recalled: &'t Recalled<'t>) -> Told<'t> {
    let policy = &*loaded.checked.policy;
    let explanation = explain(policy, &recalled.inputs(), recalled.revised.as_ref());
    let then = record.policy.as_ref().zip(record.ruling.as_deref());
    let then = then.filter(|(_, ruling)| **ruling != explanation.ruling);
    let enrichers = &policy.schema().enrichers;
    let missing = recalled.unrecorded.iter().filter_map(|index| enrichers.get(*index));
    Told {
        alert_id: &recalled.arrival.alert_id,
        at: recalled.now,
        alert: recalled.alert(),
        policy: &policy.hash,
        recorded: then.map(|(policy, ruling)| Then { policy: &policy.hash, ruling }),
        revised: recalled.revised.as_ref(),
        not_recorded: missing.map(|shape| &*shape.name).collect(),
        explanation,
    }
}

fn text(told: &Told<'_>) -> String {
    let mut sheet = Sheet { text: String::new(), width: terminal_width(), colored: is_colored() };
    let head = format!("── alert {} ", told.alert_id);
    let dashes = "─".repeat(sheet.width.saturating_sub(head.chars().count()));
    sheet.line(0, &format!("{head}{dashes}"));
    if let Some(alert) = told.alert {
        sheet.line(0, &about(alert));
    }
    let Explanation { ruling, playbooks, boundary, stronger } = &told.explanation;
    sheet.pair("ruling", &fate(ruling));
    sheet.pair("because", &format!("{}: {}", ruling.reason, ruling.reason.about()));
    sheet.pair("by", &format!("playbook {}, rule {}", ruling.playbook, ruling.rule));
    sheet.pair("at", &told.at.to_string());
    if let Some(revised) = told.revised {
        sheet.pair("again", revised.why.about());
    }
    if let Some(then) = &told.recorded {
        let policy: String = then.policy.chars().take(16).collect();
        let by = format!("{}/{}", then.ruling.playbook, then.ruling.rule);
        sheet.pair("recorded", &format!("{}, by {by}, policy {policy}", fate(then.ruling)));
    }
    if !told.not_recorded.is_empty() {
        let names = told.not_recorded.join(", ");
        sheet.pair("missing", &format!("not in the record, and so unknown: {names}"));
    }
    for blocked in &ruling.blocked {
        let why = format!("{} by rule {}: {}", blocked.action, blocked.rule, blocked.why);
        sheet.pair("blocked", &why);
    }
    if playbooks.iter().all(|each| each.role != Role::Rules) {
        for because in &ruling.because {
            sheet.tested(2, &because.clause, because.verdict, "");
        }
    }
    for playbook in playbooks.iter().filter(|each| each.role != Role::NotForIt) {
        sheet.playbook(playbook);
    }
    let others = playbooks.iter().filter(|each| each.role == Role::NotForIt);
    let others: Vec<&Considered<'_>> = others.collect();
    if !others.is_empty() {
        sheet.heading("other playbooks");
    }
    for other in others {
        sheet.line(2, &format!("{}: {}", other.playbook, other.why));
    }
    sheet.boundary(boundary);
    sheet.stronger(stronger, ruling);
    sheet.text
}

fn about(alert: &Alert<'_>) -> String {
    let field = |field| shown(alert.text(field).unwrap_or("-"), 80);
    format!(
        "{} by {}, severity {}, about {} ({})",
        field(Field::Kind),
        field(Field::Detector),
        field(Field::Severity),
        field(Field::NhiId),
        field(Field::NhiKind)
    )
}

fn fate(ruling: &Decision<'_>) -> String {
    let by = |at: &Option<Millis>| at.map_or_else(String::new, |at| format!(", answer by {at}"));
    match &ruling.fate {
        Ruling::Route(to) => {
            format!("route to {} ({}){}", to.queue, to.priority.name(), by(&to.ack_by))
        }
        Ruling::Hold(to) => {
            format!("hold in {} ({}) until {}", to.queue, to.priority.name(), to.until)
        }
        Ruling::Suppress(suppress) => format!("suppress until {}", suppress.expires_at),
        Ruling::Escalate(to) => format!(
            "escalate: {} on {} until {}, and to {} ({}){}",
            to.action,
            to.target,
            to.expires_at,
            to.queue,
            to.priority.name(),
            by(&to.ack_by)
        ),
        Ruling::DeadLetter(letter) => format!("dead letter: {}", letter.detail),
    }
}

struct Sheet {
    text: String,
    width: usize,
    colored: bool,
}

impl Sheet {
    fn line(&mut self, by: usize, text: &str) {
        self.hung(&" ".repeat(by), by, text);
    }

    /// `head` takes `by` columns of the first line; the others begin below what follows it.
    fn hung(&mut self, head: &str, by: usize, text: &str) {
        let mut head = head.to_owned();
        for line in wrapped(text, self.width.saturating_sub(by).max(20)) {
            self.text.push_str(&head);
            self.text.push_str(&line);
            self.text.push('\n');
            head = " ".repeat(by);
        }
    }

    fn pair(&mut self, name: &str, value: &str) {
        self.hung(&format!("  {name:<10}"), 12, value);
    }

    fn heading(&mut self, title: &str) {
        self.text.push('\n');
        self.line(0, &title.to_uppercase());
    }

    /// A verdict, and what it is about.
    fn tested(&mut self, by: usize, text: &str, verdict: Verdict, more: &str) {
        let (name, color) = match verdict {
            Verdict::True => ("true", "\x1b[32m"),
            Verdict::False => ("false", "\x1b[2m"),
            Verdict::Unknown => ("unknown", "\x1b[33m"),
        };
        let (start, end) = if self.colored { (color, "\x1b[0m") } else { ("", "") };
        let head = format!("{}{start}{name:<8}{end}", " ".repeat(by));
        self.hung(&head, by + 8, &format!("{text}{more}"));
    }

    fn playbook(&mut self, playbook: &Considered<'_>) {
        self.text.push('\n');
        let Considered { playbook: name, owner, why, .. } = playbook;
        self.line(0, &format!("PLAYBOOK {name} ({owner}): {why}"));
        for rule in &playbook.rules {
            self.rule(rule);
        }
        if let Some(would) = &playbook.would {
            let name = would.name();
            let queue = would.queue().map_or_else(String::new, |queue| format!(" to {queue}"));
            self.line(2, &format!("it would have ruled: {name}{queue}"));
        }
    }

    fn rule(&mut self, rule: &Tried<'_>) {
        let Tried { rule: name, outcome, effect, at, .. } = rule;
        let what = format!("{name} ({outcome}): {effect}");
        if !rule.tried {
            return self.line(2, &format!("-       {what}"));
        }
        self.tested(2, &what, rule.verdict, &format!(" [{at}]"));
        self.parts(10, &rule.when);
    }

    fn parts(&mut self, by: usize, parts: &[Tested<'_>]) {
        for part in parts {
            match part {
                Tested::Clause { clause, verdict, seen } => {
                    self.tested(by, clause, *verdict, "");
                    seen.iter().for_each(|seen| self.line(by + 10, &saw(seen)));
                }
                Tested::Any { any, verdict } => {
                    self.tested(by, "any of these:", *verdict, "");
                    self.parts(by + 2, any);
                }
                Tested::All { all, verdict } => {
                    self.tested(by, "all of these:", *verdict, "");
                    self.parts(by + 2, all);
                }
            }
        }
    }

    fn boundary(&mut self, asked: &[Asked<'_>]) {
        if asked.is_empty() {
            return;
        }
        self.heading("boundary");
        for verdict in asked {
            let name = if verdict.allows { "allows" } else { "REFUSES" };
            self.hung(&format!("  {name:<8}"), 10, &format!("{}: {}", verdict.id, verdict.why));
            self.parts(10, &verdict.when);
        }
    }

    /// The nearest suppression and the nearest escalation; all of them are in the JSON.
    fn stronger(&mut self, stronger: &[Stronger<'_>], ruling: &Decision<'_>) {
        let wanted = match ruling.fate {
            Ruling::Escalate(_) | Ruling::DeadLetter(_) => return,
            Ruling::Suppress(_) => &["escalate"][..],
            Ruling::Route(_) | Ruling::Hold(_) => &["suppress", "escalate"][..],
        };
        let nearest = |outcome: &&str| stronger.iter().find(|each| each.outcome == *outcome);
        let nearest: Vec<&Stronger<'_>> = wanted.iter().filter_map(nearest).collect();
        if !nearest.is_empty() {
            self.heading("what would have been needed for more");
        }
        for each in nearest {
            let Stronger { rule, outcome, subject, needs } = each;
            self.line(2, &format!("to {outcome} ({subject}) by rule {rule}:"));
            self.needs(4, needs);
        }
    }

    fn needs(&mut self, by: usize, needs: &[Need<'_>]) {
        for need in needs {
            match need {
                Need::Clause { clause, verdict, seen } => {
                    let is = if *verdict == Verdict::Unknown { "unknown" } else { "false" };
                    self.hung(&format!("{}- ", " ".repeat(by)), by + 2, &format!("{clause}: {is}"));
                    seen.iter().for_each(|seen| self.line(by + 4, &saw(seen)));
                }
                Need::OneOf { one_of } => {
                    self.line(by, "- one of these:");
                    for (index, needs) in one_of.iter().enumerate() {
                        if index > 0 {
                            self.line(by + 2, "or");
                        }
                        self.needs(by + 2, needs);
                    }
                }
                Need::Rule { rule, verdict: Verdict::Unknown, unknown } => {
                    let names = unknown.join(", ");
                    let text =
                        format!("- rule {rule}, which comes first, decided: {names} unknown");
                    self.line(by, &text);
                }
                Need::Rule { rule, .. } => {
                    self.line(by, &format!("- rule {rule}, which comes first, false: it is true"));
                }
                Need::Boundary { boundary, why } => {
                    self.line(by, &format!("- the boundary's consent, {boundary}: {why}"));
                }
            }
        }
    }
}

fn saw(seen: &Looked<'_>) -> String {
    let value = match &seen.value {
        Value::Absent => "nothing".to_owned(),
        Value::Unknown(why) => format!("unknown: {}", why.about()),
        Value::AtLeast(least) => format!("at least {least}"),
        value => serde_json::to_string(value).unwrap_or_default(),
    };
    let mut text = format!("{} = {value}", seen.name);
    if let Some(source) = seen.source {
        text.push_str(&format!(", from {source}"));
    }
    if let Some(age_ms) = seen.age_ms {
        text.push_str(&format!(", {} old", age_text(age_ms)));
    }
    if let Some(detail) = &seen.detail {
        text.push_str(&format!(" ({detail})"));
    }
    text
}
