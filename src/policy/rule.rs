use crate::case::{OnExpiry, Priority, Reason};
use crate::clause::{Condition, Schema, Slot};
use crate::text::{At, Fields, Node, Problems, Source};

use super::findings::Code;
use super::read::{
    Reference, ToQueue, enrichers_of, one_of, reference, refuse_unknown, require_duration,
    require_name, to_queue,
};

#[derive(Debug)]
pub struct Rule {
    pub id: String,
    pub at: At,
    pub when: Condition,
    pub on_unknown: OnUnknown,
    pub outcome: Outcome,
}

/// What becomes of a rule that can't be decided. Routes and holds pass by default: they are
/// remembered, and a later route is at least as urgent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnUnknown {
    Next,
    Route,
    Hold,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Route(ToQueue),
    Suppress(Suppression),
    Escalate(Escalation),
    Hold(Holding),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    pub reason: Reason,
    pub evidence: Vec<Reference>,
    pub expires_ms: i64,
    pub on_expiry: OnExpiry,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Escalation {
    pub action: String,
    pub target: Target,
    pub rollback: String,
    pub expires_ms: i64,
    pub to: ToQueue,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    pub to: ToQueue,
    pub for_ms: i64,
}

/// What an action acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Credential,
    Nhi,
}

impl OnUnknown {
    const ALL: [Self; 3] = [Self::Next, Self::Route, Self::Hold];

    pub fn name(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Route => "route",
            Self::Hold => "hold",
        }
    }
}

impl Target {
    const ALL: [Self; 2] = [Self::Credential, Self::Nhi];

    pub fn name(self) -> &'static str {
        match self {
            Self::Credential => "credential.id",
            Self::Nhi => "nhi.id",
        }
    }
}

impl Rule {
    /// Indexes of the enrichers whose facts it reads.
    pub fn enrichers(&self) -> impl Iterator<Item = usize> {
        let evidence = match &self.outcome {
            Outcome::Suppress(suppression) => suppression.evidence.as_slice(),
            _ => &[],
        };
        enrichers_of(&self.when).chain(evidence.iter().filter_map(|each| each.slot.enricher()))
    }
}

impl Outcome {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Route(_) => "route",
            Self::Suppress(_) => "suppress",
            Self::Escalate(_) => "escalate",
            Self::Hold(_) => "hold",
        }
    }

    fn to(&self) -> Option<&ToQueue> {
        match self {
            Self::Route(to) => Some(to),
            Self::Escalate(escalation) => Some(&escalation.to),
            Self::Hold(holding) => Some(&holding.to),
            Self::Suppress(_) => None,
        }
    }

    pub fn queue(&self) -> Option<&str> {
        self.to().map(|to| &*to.queue)
    }

    pub fn priority(&self) -> Option<Priority> {
        self.to().map(|to| to.priority)
    }
}

/// What a rule may name: facts must be declared with their age, and counters need a group to count.
pub(super) struct Names<'n> {
    pub source: &'n Source,
    pub schema: &'n Schema,
    pub max_age_ms: &'n [Option<i64>],
    pub is_grouped: bool,
}

impl Names<'_> {
    pub fn check(&self, slot: Slot, path: &str, at: &At, problems: &mut Problems) {
        match slot {
            Slot::Fact { enricher, .. } if self.schema.exceptions() != Some(enricher) => {
                if self.max_age_ms.get(enricher).copied().flatten().is_none() {
                    let name =
                        self.schema.enrichers.get(enricher).map_or("?", |shape| &*shape.name);
                    let message =
                        format!("`{path}` is used but `{name}` is not declared under `facts`");
                    problems.under(Code::Undeclared.id(), |problems| problems.add(at, message));
                }
            }
            Slot::Seen | Slot::FirstSeen if !self.is_grouped => {
                problems.add(at, format!("`{path}` needs a `group` in this playbook"));
            }
            Slot::Field(_)
            | Slot::Fact { .. }
            | Slot::Seen
            | Slot::FirstSeen
            | Slot::Window { .. }
            | Slot::Now => {}
        }
    }
}

pub(super) fn rule(node: &Node, names: &Names<'_>, problems: &mut Problems) -> Option<Rule> {
    let mut fields = Fields::of(node, "a rule", problems)?;
    let id = require_name(&mut fields, "id", problems);
    let when = match fields.get("when") {
        Some(when) => Condition::read(when, names.source, names.schema, problems),
        None => Some(Condition::always()),
    };
    let clauses = when.as_ref().map(Condition::clauses).unwrap_or_default();
    for name in clauses.iter().flat_map(|clause| clause.names()) {
        names.check(name.slot, &name.path, &name.at, problems);
    }
    let on_unknown = fields
        .get("on_unknown")
        .map(|node| one_of(node, "on_unknown", &OnUnknown::ALL, OnUnknown::name, problems));
    let outcome = outcome(&mut fields, names, problems);
    let acts = fields.get("suppress").is_some() || fields.get("escalate").is_some();
    if on_unknown.is_none() && acts {
        let message =
            "a rule that suppresses or escalates must say `on_unknown`: next, route or hold";
        problems.add(&node.at, message);
    }
    // INVARIANT (INV-4): unknown never helps automation.
    if let Some(when) = when.as_ref().filter(|_| acts) {
        let why = "nothing is suppressed or escalated because a fact is unknown";
        refuse_unknown(when, why, problems);
    }
    fields.finish(problems);
    Some(Rule {
        id: id?,
        at: node.at.clone(),
        when: when?,
        on_unknown: on_unknown.unwrap_or(Some(OnUnknown::Next))?,
        outcome: outcome?,
    })
}

/// Exactly one of the four.
fn outcome(fields: &mut Fields<'_>, names: &Names<'_>, problems: &mut Problems) -> Option<Outcome> {
    let route = fields.get("route").map(|node| route(node, problems).map(Outcome::Route));
    let suppress =
        fields.get("suppress").map(|node| suppress(node, names, problems).map(Outcome::Suppress));
    let escalate =
        fields.get("escalate").map(|node| escalate(node, problems).map(Outcome::Escalate));
    let hold = fields.get("hold").map(|node| hold(node, problems).map(Outcome::Hold));
    let mut given = [route, suppress, escalate, hold].into_iter().flatten();
    match (given.next(), given.next()) {
        (Some(outcome), None) => outcome,
        _ => {
            let message = "a rule needs exactly one of `route`, `suppress`, `escalate`, `hold`";
            problems.add(&fields.at, message);
            None
        }
    }
}

fn route(node: &Node, problems: &mut Problems) -> Option<ToQueue> {
    let mut fields = Fields::of(node, "`route`", problems)?;
    let to = to_queue(&mut fields, problems);
    fields.finish(problems);
    to
}

fn suppress(node: &Node, names: &Names<'_>, problems: &mut Problems) -> Option<Suppression> {
    let mut fields = Fields::of(node, "`suppress`", problems)?;
    // `not_an_alert` is the pipelines' own: a playbook can't say it.
    let reasons: Vec<Reason> =
        Reason::SUPPRESSIONS.iter().copied().filter(|r| *r != Reason::NotAnAlert).collect();
    let reason = fields
        .require("reason", problems)
        .and_then(|node| one_of(node, "reason", &reasons, Reason::code, problems));
    let paths = fields.texts("evidence", problems);
    // INVARIANT (INV-3): no suppression without evidence.
    if paths.is_empty() {
        let message = "a suppression needs `evidence`: the names that prove it";
        problems.under(Code::NoEvidence.id(), |problems| problems.add(&node.at, message));
    }
    let mut evidence = Vec::new();
    for (path, at) in paths {
        let Some(found) = reference(path, at, names.schema, problems) else { continue };
        names.check(found.slot, path, at, problems);
        evidence.push(found);
    }
    let expires_ms = problems
        .under(Code::NoExpiry.id(), |problems| require_duration(&mut fields, "expires", problems));
    let on_expiry = fields
        .require("on_expiry", problems)
        .and_then(|node| one_of(node, "on_expiry", &OnExpiry::ALL, OnExpiry::name, problems));
    fields.finish(problems);
    Some(Suppression { reason: reason?, evidence, expires_ms: expires_ms?, on_expiry: on_expiry? })
}

fn escalate(node: &Node, problems: &mut Problems) -> Option<Escalation> {
    let mut fields = Fields::of(node, "`escalate`", problems)?;
    let action = require_name(&mut fields, "action", problems);
    let rollback = require_name(&mut fields, "rollback", problems);
    let target = match fields.get("target") {
        Some(node) => one_of(node, "target", &Target::ALL, Target::name, problems),
        None => Some(Target::Credential),
    };
    let expires_ms = require_duration(&mut fields, "expires", problems);
    let to = to_queue(&mut fields, problems);
    fields.finish(problems);
    Some(Escalation {
        action: action?,
        target: target?,
        rollback: rollback?,
        expires_ms: expires_ms?,
        to: to?,
    })
}

fn hold(node: &Node, problems: &mut Problems) -> Option<Holding> {
    let mut fields = Fields::of(node, "`hold`", problems)?;
    let queue = require_name(&mut fields, "queue", problems);
    let priority =
        fields.require("priority", problems).and_then(|node| super::read::priority(node, problems));
    let for_ms = require_duration(&mut fields, "for", problems);
    fields.finish(problems);
    let to = ToQueue { queue: queue?, priority: priority?, ack_within_ms: None };
    Some(Holding { to, for_ms: for_ms? })
}
