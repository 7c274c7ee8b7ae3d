use serde::{Deserialize, Serialize};

use crate::audit::{Kind, Record};
use crate::case::{
    CaseState, Change, Decision, Field, Id, Millis, Priority, Ruling, SEVERITIES, Told,
};

/// Rules and validities of a case that people were told of. LIMIT: another one is not told.
pub(super) const WORDS_MAX: usize = 8;

/// What people have of a case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Had {
    pub revision: u32,
    /// The alert they were told of last.
    pub alert_id: Id,
    pub state: CaseState,
    pub queue: Box<str>,
    pub priority: Priority,
    /// Every `<playbook>/<rule>` that they were told of. LIMIT: [`WORDS_MAX`].
    pub rules: Vec<Box<str>>,
    /// `<action> <target>`
    pub action: Option<Box<str>>,
    /// Place in [`SEVERITIES`].
    pub severity: Option<usize>,
    /// Every validity of the credential that they were told of.
    pub validities: Vec<Box<str>>,
    pub sources: u32,
    pub ack_by: Option<Millis>,
    /// The shortest time that people were given for it; they have as long again when it is opened
    /// again.
    #[serde(default)]
    pub ack_ms: Option<i64>,
    pub is_overdue: bool,
}

impl Had {
    /// A rule of this playbook suppressed some of it, and nothing says any more which.
    pub(super) fn was_silenced_by(&mut self, playbook: &str) {
        add(&mut self.rules, &format!("{playbook}/"));
    }

    /// Whether a rule of this playbook may be one of those that they were told of.
    pub(super) fn may_be_of(&self, playbook: &str) -> bool {
        let mut of = self.rules.iter().filter_map(|rule| rule.split_once('/'));
        self.rules.len() == WORDS_MAX || of.any(|(of, _)| of == playbook)
    }

    pub(super) fn of(record: &Record<'_>, told: &Told<'_>, before: Option<Had>) -> Self {
        let is_same_deadline = before.as_ref().is_some_and(|had| had.ack_by == told.ack_by);
        let was_overdue = before.as_ref().is_some_and(|had| had.is_overdue);
        let mut had = match (&record.ruling, before) {
            (Some(decision), before) => Self::ruled(record, told, decision, before),
            (None, Some(before)) => before,
            (None, None) => Self::unruled(record, told),
        };
        (had.revision, had.state, had.priority) = (told.revision, told.state, told.priority);
        (had.queue, had.sources) = ((&*told.queue).into(), told.sources.count);
        had.ack_by = told.ack_by;
        let own = record.ruling.as_ref().and_then(|decision| decision.fate.ack_by());
        let standing = record.revised.as_ref().and_then(|revised| revised.standing.as_ref());
        // Of what a ruling keeps when it is made again this is only the rest.
        let is_kept = own.is_some() && standing.and_then(|standing| standing.due) == own;
        if let Some(due) = own.filter(|_| own == told.ack_by && !is_same_deadline && !is_kept) {
            // A first ruling's time runs from when the broker took the alert, long ago behind a
            // backlog; any other's from the record.
            let alert = record.alert.as_deref().filter(|_| record.kind == Kind::Ruling);
            let received_at = alert.and_then(|alert| alert.get(Field::ReceivedAt).time());
            let given = due.since(received_at.unwrap_or(record.at));
            had.ack_ms = Some(had.ack_ms.map_or(given, |before| before.min(given)));
        }
        if record.ruling.is_none() && had.ack_ms.is_none() {
            had.ack_ms = told.ack_by.map(|due| due.since(record.at)).filter(|ms| *ms > 0);
        }
        let is_told_so = told.changed.contains(&Change::Overdue);
        had.is_overdue = is_told_so || (was_overdue && is_same_deadline);
        had
    }

    /// Until when people have time again: those who have a deadline keep it.
    pub(super) fn due_again(&self, now: Millis) -> Option<Millis> {
        let running = self.ack_by.filter(|_| !self.is_overdue);
        running.or_else(|| Some(now.plus(self.ack_ms?)))
    }

    /// Of a case that no ruling gave to people.
    fn unruled(record: &Record<'_>, told: &Told<'_>) -> Self {
        Self {
            revision: 0,
            alert_id: record.alert_id.as_ref().unwrap_or(&told.case_id).clone(),
            state: CaseState::Held,
            queue: "".into(),
            priority: Priority::Low,
            rules: Vec::new(),
            action: None,
            severity: None,
            validities: Vec::new(),
            sources: 0,
            ack_by: None,
            ack_ms: None,
            is_overdue: false,
        }
    }

    fn ruled(
        record: &Record<'_>,
        told: &Told<'_>,
        decision: &Decision<'_>,
        before: Option<Had>,
    ) -> Self {
        let alert = record.alert.as_deref();
        let text = |field| alert.and_then(|alert| alert.text(field));
        let before = before.as_ref();
        let mut rules = before.map(|had| had.rules.clone()).unwrap_or_default();
        add(&mut rules, &rule_of(decision));
        let mut validities = before.map(|had| had.validities.clone()).unwrap_or_default();
        text(Field::CredentialValidity).into_iter().for_each(|word| add(&mut validities, word));
        let severity = severity(text(Field::Severity));
        let action = action_of(decision).or_else(|| before.and_then(|had| had.action.clone()));
        let severity = severity.max(before.and_then(|had| had.severity));
        let ack_ms = before.and_then(|had| had.ack_ms);
        Self { rules, action, severity, validities, ack_ms, ..Self::unruled(record, told) }
    }
}

fn add(words: &mut Vec<Box<str>>, word: &str) {
    if words.len() < WORDS_MAX && !words.iter().any(|known| **known == *word) {
        words.reserve_exact(1);
        words.push(word.into());
    }
}

pub(super) fn rule_of(decision: &Decision<'_>) -> Box<str> {
    format!("{}/{}", decision.playbook, decision.rule).into()
}

pub(super) fn action_of(decision: &Decision<'_>) -> Option<Box<str>> {
    match &decision.fate {
        Ruling::Escalate(escalate) => {
            Some(format!("{} {}", escalate.action, escalate.target).into())
        }
        _ => None,
    }
}

pub(super) fn severity(name: Option<&str>) -> Option<usize> {
    SEVERITIES.iter().position(|known| Some(*known) == name)
}
