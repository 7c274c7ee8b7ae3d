use std::borrow::Cow;

use serde::Serialize;

use super::revise::again;
use super::ruling::{Judge, watched};
use super::walk::Walk;
use super::watch::Watch;
use super::{Inputs, Stronger, needs};
use crate::case::{
    Alert, Body, Decision, FactState, Field, Millis, Reason, Revised, Ruling, Tri, Value, Verdict,
    Why,
};
use crate::clause::{Clause, Part, Scope, Slot};
use crate::policy::{Mode, OnUnknown, Outcome, Playbook, Policy, Rule};

/// One alert's way through the rules: everything that was looked at, and what would have led
/// further.
#[derive(Debug, Serialize)]
pub struct Explanation<'p> {
    pub ruling: Decision<'p>,
    /// In the order of their files, those that are not for the alert too.
    pub playbooks: Vec<Considered<'p>>,
    pub boundary: Vec<Asked<'p>>,
    /// What automation could have done and did not: the nearest first.
    pub stronger: Vec<Stronger<'p>>,
}

#[derive(Debug, Serialize)]
pub struct Considered<'p> {
    pub playbook: &'p str,
    pub owner: &'p str,
    pub role: Role,
    /// For people: why it has that role.
    pub why: Cow<'static, str>,
    /// What it would have done, in shadow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would: Option<Ruling<'p>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Tried<'p>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Rules,
    Shadow,
    NotForIt,
}

#[derive(Debug, Serialize)]
pub struct Tried<'p> {
    pub rule: &'p str,
    /// File, line and column.
    pub at: String,
    /// `route`, `suppress`, `escalate` or `hold`.
    pub outcome: &'static str,
    pub on_unknown: &'static str,
    /// Whether the walk came to it.
    pub tried: bool,
    pub verdict: Verdict,
    /// For people: what followed from it.
    pub effect: String,
    pub when: Vec<Tested<'p>>,
}

/// A condition as it was written, with what it saw.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Tested<'p> {
    Clause {
        clause: &'p str,
        verdict: Verdict,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        seen: Vec<Looked<'p>>,
    },
    Any {
        any: Vec<Tested<'p>>,
        verdict: Verdict,
    },
    All {
        all: Vec<Tested<'p>>,
        verdict: Verdict,
    },
}

/// A value that a clause saw, and where it is from.
#[derive(Debug, Serialize)]
pub struct Looked<'p> {
    pub name: &'p str,
    pub value: Value<'p>,
    /// Of a fact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<&'p str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Cow<'p, str>>,
}

/// A verdict of the boundary; of a denial, the clauses that it rests on.
#[derive(Debug, Serialize)]
pub struct Asked<'p> {
    pub id: String,
    pub allows: bool,
    pub why: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<Tested<'p>>,
}

/// What a walk came to, kept while the ruling is made.
pub(super) struct Walked<'p> {
    pub playbook: &'p Playbook,
    pub scope: Scope<'p>,
    pub unknown: Vec<&'p Rule>,
    pub stopped: Option<&'p Rule>,
    pub winner: Option<&'p Rule>,
    fate: Ruling<'p>,
    reason: Reason,
}

#[derive(Default)]
struct Trace<'p> {
    walks: Vec<Walked<'p>>,
}

impl<'p> Trace<'p> {
    /// The walk that gave the fate.
    fn ruling(&mut self, policy: &Policy, alert: &Alert<'_>) -> Option<&mut Walked<'p>> {
        let ruling = policy.live(alert)?;
        self.walks.iter_mut().find(|walked| std::ptr::eq(walked.playbook, ruling))
    }
}

impl<'p> Watch<'p> for Trace<'p> {
    fn ruled(
        &mut self,
        playbook: &'p Playbook,
        scope: &Scope<'p>,
        walk: &Walk<'p>,
        decision: &Decision<'p>,
    ) {
        self.walks.push(Walked {
            playbook,
            scope: *scope,
            unknown: walk.unknown.clone(),
            stopped: walk.stopped,
            winner: walk.winner,
            fate: decision.fate.clone(),
            reason: decision.reason,
        });
    }
}

/// Rules, or with `revised` rules again, and tells how it came about.
pub fn explain<'p>(
    policy: &'p Policy,
    inputs: &Inputs<'p>,
    revised: Option<&'p Revised<'p>>,
) -> Explanation<'p> {
    let mut trace = Trace::default();
    let mut ruling = watched(policy, None, inputs, &mut trace).decision;
    if let Some(revised) = revised {
        ruling = again(policy, ruling, inputs, revised);
    }
    let Body::Alert(alert) = &inputs.arrival.body else {
        return Explanation {
            ruling,
            playbooks: Vec::new(),
            boundary: Vec::new(),
            stronger: Vec::new(),
        };
    };
    let judge = Judge::new(policy, alert, inputs);
    let ruled = trace.ruling(policy, alert).map(|walked| {
        (walked.fate, walked.reason) = (ruling.fate.clone(), ruling.reason);
        &*walked
    });
    let max_age_ms = match ruled {
        Some(walked) => &walked.playbook.boundary_max_age_ms,
        None => &policy.boundary().max_age_ms,
    };
    let boundary = asked(policy, &judge.scope(max_age_ms), &ruling);
    let stronger = match (&ruling.fate, ruled) {
        (Ruling::Escalate(_), _) | (_, None) => Vec::new(),
        (fate, Some(walked)) => {
            // INVARIANT (INV-4): what people have is never suppressed: nothing is needed for it.
            let has_people = revised.is_some_and(|revised| revised.standing.is_some());
            let may_suppress = !has_people && !matches!(fate, Ruling::Suppress(_));
            needs::stronger(policy, &judge, walked, may_suppress)
        }
    };
    let consider = |playbook| considered(policy, alert, playbook, &trace);
    let playbooks = policy.playbooks().iter().map(consider).collect();
    Explanation { ruling, playbooks, boundary, stronger }
}

/// Enrichers and windows that this ruling rests on although they are unknown for this reason.
pub fn rests_on<'p>(policy: &'p Policy, inputs: &Inputs<'_>, why: Why) -> Vec<&'p str> {
    let mut trace = Trace::default();
    let decision = watched(policy, None, inputs, &mut trace).decision;
    let is_so = |value: &Value<'_>| *value == Value::Unknown(why);
    let mut found = Vec::new();
    let Body::Alert(alert) = &inputs.arrival.body else { return found };
    if let Some(walked) = trace.ruling(policy, alert) {
        let names = walked.unknown.iter().flat_map(|rule| rule.when.unknowns(&walked.scope));
        let slots = names.map(|name| name.slot).chain(walked.refused(&decision));
        let open = slots.filter(|slot| is_so(&walked.scope.read(*slot)));
        found.extend(open.filter_map(|slot| named(policy, walked.playbook, slot)));
    }
    // What is unknown can only deny.
    if decision.boundary.iter().any(|verdict| !verdict.allows) {
        let asked = policy.wanted(&Alert::default()).iter().copied();
        let open = asked.filter(|index| {
            let row = inputs.facts.get(*index).and_then(Option::as_ref);
            row.is_none_or(|row| {
                row.state == FactState::Unknown(why) || row.values.iter().any(is_so)
            })
        });
        let shapes = &policy.schema().enrichers;
        found.extend(open.filter_map(|index| shapes.get(index)).map(|shape| &*shape.name));
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Of the enricher or the window that a value is of.
fn named<'p>(policy: &'p Policy, playbook: &Playbook, slot: Slot) -> Option<&'p str> {
    match slot {
        Slot::Fact { enricher, .. } => {
            policy.schema().enrichers.get(enricher).map(|shape| &*shape.name)
        }
        Slot::Window { id, .. } => {
            let playbook = policy.playbooks().iter().find(|each| each.name == playbook.name)?;
            let mut windows = playbook.windows().iter();
            windows.find(|window| window.id == id).map(|window| &*window.name)
        }
        Slot::Field(_) | Slot::Seen | Slot::FirstSeen | Slot::Now => None,
    }
}

fn considered<'p>(
    policy: &'p Policy,
    alert: &Alert<'_>,
    playbook: &'p Playbook,
    trace: &Trace<'p>,
) -> Considered<'p> {
    let walked = trace.walks.iter().find(|walked| std::ptr::eq(walked.playbook, playbook));
    let rules = policy.live(alert).is_some_and(|ruling| std::ptr::eq(ruling, playbook));
    let (role, why) = match (walked, playbook.mode) {
        (None, _) => (Role::NotForIt, Cow::Owned(why_not(policy, alert, playbook))),
        (Some(_), Mode::Canary) if rules => {
            (Role::Rules, "in canary mode, this identity with it".into())
        }
        (Some(_), _) if rules => (Role::Rules, "it is for this kind of alert".into()),
        (Some(_), Mode::Live) => {
            (Role::Shadow, "for this identity another is tried in its place".into())
        }
        (Some(_), Mode::Canary) => {
            (Role::Shadow, "in canary mode, this identity without it".into())
        }
        (Some(_), Mode::Shadow) => {
            (Role::Shadow, "in shadow mode: what it rules has no effect".into())
        }
    };
    let rules = walked.map(|walked| {
        let rules = walked.playbook.rules.iter();
        rules.map(|rule| tried(walked, rule)).collect()
    });
    let would = walked.filter(|_| role == Role::Shadow).map(|walked| walked.fate.clone());
    let (name, owner) = (playbook.name.as_str(), playbook.owner.as_str());
    Considered { playbook: name, owner, role, why, would, rules: rules.unwrap_or_default() }
}

fn why_not(policy: &Policy, alert: &Alert<'_>, playbook: &Playbook) -> String {
    if alert.text(Field::NotAnAlert).is_some() {
        return "the pipeline says that there is nothing to act on".to_owned();
    }
    let kind = alert.text(Field::Kind).unwrap_or_default();
    if !playbook.kinds.iter().any(|wanted| wanted == kind) {
        return format!("for {}", playbook.kinds.join(", "));
    }
    if !playbook.is_for(kind, alert.text(Field::Detector)) {
        return format!("for alerts of {}", playbook.detectors.join(", "));
    }
    let first = policy.live(alert).map_or("another", |first| first.name.as_str());
    format!("`{first}` goes first: its order is lower")
}

fn tried<'p>(walked: &Walked<'p>, rule: &'p Rule) -> Tried<'p> {
    let (tried, verdict, effect) = walked.verdict(rule);
    Tried {
        rule: &rule.id,
        at: rule.at.to_string(),
        outcome: rule.outcome.name(),
        on_unknown: rule.on_unknown.name(),
        tried,
        verdict,
        effect,
        when: parts(rule.when.root(), &walked.scope),
    }
}

impl<'p> Walked<'p> {
    /// What the boundary missed of the rule's own: its evidence, or sources of what it saw.
    fn refused(&self, decision: &Decision<'_>) -> Vec<Slot> {
        let Some(winner) = self.winner else { return Vec::new() };
        let refuses = |of: &dyn Fn(&str) -> bool| {
            decision.boundary.iter().any(|verdict| !verdict.allows && of(&verdict.id))
        };
        let mut slots = Vec::new();
        if let Outcome::Suppress(suppression) = &winner.outcome
            && refuses(&|id| id.starts_with("evidence:"))
        {
            slots.extend(suppression.evidence.iter().map(|each| each.slot));
        }
        if refuses(&|id| id.starts_with("require:") && id.ends_with("/sources")) {
            let clauses = winner.when.clauses().into_iter();
            slots.extend(clauses.flat_map(Clause::names).map(|name| name.slot));
        }
        slots
    }

    /// Whether it was tried, what it came to, and what followed.
    fn verdict(&self, rule: &Rule) -> (bool, Verdict, String) {
        let is = |other: &&Rule| std::ptr::eq(*other, rule);
        if self.stopped.as_ref().is_some_and(is) {
            let to = match rule.on_unknown {
                OnUnknown::Hold => self.held(),
                OnUnknown::Next | OnUnknown::Route => "people look at it",
            };
            return (true, Verdict::Unknown, format!("can't be decided, and so {to}: it rules"));
        }
        if self.unknown.iter().any(is) {
            return (true, Verdict::Unknown, self.passed_unknown(rule));
        }
        match self.winner {
            Some(winner) if is(&winner) && self.stopped.is_some() => {
                (true, Verdict::True, "would have won: the ruling is at least as urgent".to_owned())
            }
            Some(winner) if is(&winner) => (true, Verdict::True, self.won()),
            Some(winner) if self.place(rule) > self.place(winner) => {
                let effect = format!("not tried: `{}` comes first", winner.id);
                (false, verdict_of(rule.when.eval(&self.scope)), effect)
            }
            _ => (true, Verdict::False, "passed over".to_owned()),
        }
    }

    fn won(&self) -> String {
        let then = match self.reason {
            Reason::BoundaryRefused => "the boundary refused it, and the last rule's queue gets it",
            Reason::UnknownBeforeSuppression | Reason::UnknownBeforeEscalation => {
                let so = self.held();
                return format!("{FIRST}: an undecided rule stands before it, and so {so}");
            }
            Reason::LateSuppression => "people have it already, and so it is not suppressed",
            Reason::HoldOver | Reason::Released => self.held(),
            Reason::SpreadTooFar => "it has spread too far, and the last rule's queue gets it",
            _ if self.is_hold_without_effect() => self.held(),
            _ if self.winner.is_some_and(|rule| rule.when.holds_by_unknown(&self.scope)) => {
                "it rules, at least as urgently as what could win in its place"
            }
            _ => "it rules",
        };
        format!("{FIRST}: {then}")
    }

    /// What becomes of a hold: made again, it ends or leaves people what they have.
    fn held(&self) -> &'static str {
        match (&self.fate, self.reason) {
            (Ruling::Hold(_), _) => "it is held for people",
            (_, Reason::HoldOver) => "it goes to people, held as long as it may be",
            (_, Reason::Released) => "it goes to people, released by one of them",
            _ => "people keep it as they have it",
        }
    }

    fn is_hold_without_effect(&self) -> bool {
        let is_hold = |rule: &Rule| matches!(rule.outcome, Outcome::Hold(_));
        self.winner.is_some_and(is_hold) && !matches!(self.fate, Ruling::Hold(_))
    }

    fn passed_unknown(&self, rule: &Rule) -> String {
        let mut effect = "passed over, undecided: nothing behind it may suppress".to_owned();
        if let Some(priority) = rule.outcome.priority() {
            effect.push_str(&format!(", and the priority is at least {}", priority.name()));
        }
        if matches!(rule.outcome, Outcome::Suppress(_) | Outcome::Escalate(_)) {
            effect.push_str("; an escalation behind it needs the boundary's `pass_unknown`");
        }
        effect
    }

    pub(super) fn place(&self, rule: &Rule) -> usize {
        let mut rules = self.playbook.rules.iter();
        rules.position(|each| std::ptr::eq(each, rule)).unwrap_or(usize::MAX)
    }
}

const FIRST: &str = "the first rule that is true";

fn asked<'p>(policy: &'p Policy, scope: &Scope<'p>, ruling: &Decision<'p>) -> Vec<Asked<'p>> {
    let denials = || policy.boundary().layers.iter().flat_map(|layer| &layer.deny);
    let asked = ruling.boundary.iter().map(|verdict| {
        let denial = denials().find(|denial| denial.label == *verdict.id);
        Asked {
            id: verdict.id.to_string(),
            allows: verdict.allows,
            why: verdict.why.to_string(),
            when: denial.map(|denial| parts(denial.when.root(), scope)).unwrap_or_default(),
        }
    });
    asked.collect()
}

/// The parts that must all hold.
fn parts<'p>(root: &'p Part, scope: &Scope<'p>) -> Vec<Tested<'p>> {
    match root {
        Part::All(parts) => parts.iter().map(|part| tested(part, scope)).collect(),
        part => vec![tested(part, scope)],
    }
}

fn tested<'p>(part: &'p Part, scope: &Scope<'p>) -> Tested<'p> {
    let verdict = verdict_of(part.eval(scope));
    let each = |parts: &'p [Part]| parts.iter().map(|part| tested(part, scope)).collect();
    match part {
        Part::Clause(clause) => {
            Tested::Clause { clause: &clause.text, verdict, seen: looked(clause, scope) }
        }
        Part::All(parts) => Tested::All { all: each(parts), verdict },
        Part::Any(parts) => Tested::Any { any: each(parts), verdict },
    }
}

pub(super) fn looked<'p>(clause: &'p Clause, scope: &Scope<'p>) -> Vec<Looked<'p>> {
    let looked = clause.names().iter().map(|name| {
        let row = scope.row(name.slot);
        let as_of = row.and_then(|row| row.as_of);
        Looked {
            name: &name.path,
            value: scope.read(name.slot),
            source: row.map(|row| &*row.source).filter(|source| !source.is_empty()),
            as_of,
            age_ms: as_of.map(|as_of| scope.now.since(as_of)),
            detail: match scope.glimpse(name.slot) {
                Some(glimpse) => Some(glimpse.to_string().into()),
                None => row.and_then(|row| row.detail.as_deref()).map(Cow::Borrowed),
            },
        }
    });
    looked.collect()
}

pub(super) fn verdict_of(verdict: Tri) -> Verdict {
    match verdict {
        Tri::True => Verdict::True,
        Tri::False => Verdict::False,
        Tri::Unknown => Verdict::Unknown,
    }
}
