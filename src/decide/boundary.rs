use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::case::{
    Alert, BoundaryVerdict, Field, Id, Obligation, PermitRecord, SEVERITIES, Tri, duration_text,
    id_of,
};
use crate::clause::Scope;
use crate::policy::{
    Allow, Boundary, Escalation, Hours, Layer, Obligations, Of, Reference, Require, Rule,
    Suppression, is_own_identity, may_be_person,
};

/// The right to contain one target once. Made here alone, by a boundary of which every layer agreed
/// (INV-5); nothing is contained without one.
#[derive(Debug, PartialEq, Eq)]
pub struct Permit {
    id: Id,
    action: String,
    target: String,
    allowed_by: String,
    obligations: Vec<(&'static str, String)>,
}

impl Permit {
    pub fn action(&self) -> &str {
        &self.action
    }

    pub fn target(&self) -> &str {
        &self.target
    }

    /// As it stands in the decision.
    pub fn record(&self) -> PermitRecord<'static> {
        let obligation = |(kind, value): &(&'static str, String)| Obligation {
            kind: Cow::Borrowed(*kind),
            value: value.clone().into(),
        };
        PermitRecord {
            id: self.id.clone(),
            allowed_by: self.allowed_by.clone().into(),
            obligations: self.obligations.iter().map(obligation).collect(),
        }
    }
}

/// A suppression that asks to be allowed.
pub(super) enum Ask<'p> {
    /// By a rule, which read with the playbook's ages.
    Playbook(&'p Suppression, &'p Rule, Scope<'p>),
    /// The pipeline says that there is nothing to act on: there may be no NHI, severity or fact,
    /// and what is missing denies nothing.
    Pipeline,
}

/// All verdicts, in the order they were found. Every one must allow.
#[derive(Default)]
pub(super) struct Verdicts<'p> {
    pub found: Vec<BoundaryVerdict<'p>>,
}

impl<'p> Verdicts<'p> {
    fn add(&mut self, id: impl Into<Cow<'p, str>>, allows: bool, why: impl Into<Cow<'p, str>>) {
        self.found.push(BoundaryVerdict { id: id.into(), allows, why: why.into() });
    }

    /// Deny wins; no verdict at all is no consent.
    pub(super) fn allow(&self) -> bool {
        !self.found.is_empty() && self.found.iter().all(|verdict| verdict.allows)
    }

    /// For the case: what stood against it.
    pub(super) fn refusals(&self) -> String {
        let refused = self.found.iter().filter(|verdict| !verdict.allows);
        let lines: Vec<String> =
            refused.map(|verdict| format!("{}: {}", verdict.id, verdict.why)).collect();
        lines.join("; ")
    }
}

pub(super) fn suppress<'p>(
    boundary: &'p Boundary,
    scope: &Scope<'p>,
    ask: &Ask<'p>,
) -> Verdicts<'p> {
    let mut verdicts = Verdicts::default();
    let by_pipeline = matches!(ask, Ask::Pipeline);
    own(scope.alert, &mut verdicts);
    ordered(scope, &mut verdicts);
    for layer in &boundary.layers {
        stop(layer, &mut verdicts);
        protected(layer, scope.alert, by_pipeline, &mut verdicts);
        deny(layer, Of::Suppress, scope, &mut verdicts);
        limits(layer, scope.alert, ask, &mut verdicts);
        budget(layer, scope, ask, &mut verdicts);
        hours(layer, &layer.suppress_hours, scope, &mut verdicts);
        if let Ask::Playbook(_, rule, rule_scope) = ask {
            require(layer, &layer.require_suppress, scope, &mut verdicts);
            sources(layer, &layer.require_suppress, rule_scope, &[rule], &mut verdicts);
        }
    }
    if let Ask::Playbook(suppression, ..) = ask {
        evidence(suppression, scope, &mut verdicts);
    }
    verdicts
}

/// The longest suppression that every layer allows.
pub(super) fn max_expires_ms(boundary: &Boundary) -> Option<i64> {
    let limits = boundary.layers.iter().filter_map(|layer| layer.suppress.as_ref());
    limits.map(|limits| limits.max_expires_ms).min()
}

/// What an escalation asks for, and the rules that speak for it.
pub(super) struct Containment<'p> {
    pub alert_id: &'p Id,
    pub escalation: &'p Escalation,
    pub target: Option<&'p str>,
    pub supporting: Vec<&'p Rule>,
}

/// `scope` reads with the boundary's ages, `rule_scope` with the playbook's.
pub(super) fn escalate<'p>(
    boundary: &'p Boundary,
    scope: &Scope<'p>,
    rule_scope: &Scope<'p>,
    ask: &Containment<'p>,
) -> (Verdicts<'p>, Option<Permit>) {
    let mut verdicts = Verdicts::default();
    let target = ask.target.filter(|target| !target.is_empty());
    own(scope.alert, &mut verdicts);
    ordered(scope, &mut verdicts);
    identity(scope.alert, target, &mut verdicts);
    let mut allowed_by = Vec::new();
    let mut obligations = Obligations::default();
    for layer in &boundary.layers {
        stop(layer, &mut verdicts);
        protected(layer, scope.alert, false, &mut verdicts);
        deny(layer, Of::Escalate, scope, &mut verdicts);
        hours(layer, &layer.escalate_hours, scope, &mut verdicts);
        require(layer, &layer.require_escalate, scope, &mut verdicts);
        sources(layer, &layer.require_escalate, rule_scope, &ask.supporting, &mut verdicts);
        obligations = obligations.and(&layer.obligations);
        if let Some((label, row)) = allow(layer, &ask.escalation.action, scope, &mut verdicts) {
            allowed_by.push(label);
            obligations = obligations.and(&row.obligations);
        }
    }
    let Some(target) = target.filter(|_| verdicts.allow() && !allowed_by.is_empty()) else {
        return (verdicts, None);
    };
    // INVARIANT (INV-5): only here, after every layer agreed and at least one row allowed it by
    // name.
    let permit = Permit {
        id: id_of(
            "permit",
            &[ask.alert_id.as_bytes(), ask.escalation.action.as_bytes(), target.as_bytes()],
        ),
        action: ask.escalation.action.clone(),
        target: target.to_owned(),
        allowed_by: allowed_by.join(", "),
        obligations: obligations.listed(),
    };
    (verdicts, Some(permit))
}

fn stop<'p>(layer: &'p Layer, verdicts: &mut Verdicts<'p>) {
    let why = if layer.stop { "everything automatic is stopped" } else { "not stopped" };
    verdicts.add(layer.stop_label.as_str(), !layer.stop, why);
}

/// INVARIANT (INV-5): a stop that people ordered is above every layer. Said only where it refuses.
fn ordered(scope: &Scope<'_>, verdicts: &mut Verdicts<'_>) {
    let stopped = scope.counters.and_then(|counters| counters.stopped.as_deref());
    if let Some(stopped) = stopped {
        verdicts.add("stop:order", false, stopped.to_string());
    }
}

/// INVARIANT (INV-11): only an NHI that a detector or an alias table names is contained, and never
/// a person. An unknown kind might be a person: it fails toward people.
fn identity<'p>(alert: &Alert<'_>, target: Option<&str>, verdicts: &mut Verdicts<'p>) {
    let known_by = alert.text(Field::NhiKnownBy).unwrap_or_default();
    let resolved = known_by == "native" || known_by.starts_with("alias:");
    let has_id = alert.text(Field::NhiId).is_some_and(|id| !id.is_empty());
    let why = if !has_id {
        "the NHI is missing"
    } else if !resolved {
        "the NHI was not resolved: neither native nor from an alias table"
    } else {
        "the NHI is resolved"
    };
    verdicts.add("nhi", has_id && resolved, why);
    let why = if target.is_some() { "the target is named" } else { "the target is missing" };
    verdicts.add("target", target.is_some(), why);
    let kind = alert.text(Field::NhiKind);
    let why = match kind {
        None => "the kind of NHI is missing: it might be a person",
        Some("person") => "a person is never contained automatically",
        Some(_) if may_be_person(kind) => "the kind of NHI is not known: it might be a person",
        Some(_) => "not a person",
    };
    verdicts.add("person", !may_be_person(kind), why);
}

/// INVARIANT (INV-5): who triages does not triage alerts about itself. Said only where it refuses.
fn own(alert: &Alert<'_>, verdicts: &mut Verdicts<'_>) {
    if alert.text(Field::NhiId).is_some_and(is_own_identity) {
        verdicts.add("own", false, "the pipeline itself runs as this identity");
    }
}

/// A missing NHI can't be told from a protected one: denied, unless there is nothing to act on.
fn protected<'p>(layer: &'p Layer, alert: &Alert<'_>, may_miss: bool, verdicts: &mut Verdicts<'p>) {
    for entry in &layer.protected {
        let id = entry.label.as_str();
        match entry.holds(alert) {
            Some(true) => verdicts.add(id, false, entry.why.as_str()),
            None if !may_miss => {
                verdicts.add(id, false, "the NHI is missing: it might be a protected one");
            }
            Some(false) | None => verdicts.add(id, true, "not a protected NHI"),
        }
    }
}

/// Silence does not narrow.
fn hours<'p>(layer: &'p Layer, hours: &[Hours], scope: &Scope<'_>, verdicts: &mut Verdicts<'p>) {
    for each in hours {
        let allows = each.hold_at(scope.now);
        let why = if allows { "within" } else { "outside of" };
        verdicts.add(format!("hours:{}", layer.name), allows, format!("{why} {}", each.text));
    }
}

/// INVARIANT (INV-5): a denial that can't be decided denies.
fn deny<'p>(layer: &'p Layer, of: Of, scope: &Scope<'_>, verdicts: &mut Verdicts<'p>) {
    for entry in layer.deny.iter().filter(|entry| entry.is_of(of)) {
        let id = entry.label.as_str();
        match entry.when.eval(scope) {
            Tri::False => verdicts.add(id, true, "its condition is false"),
            Tri::True => verdicts.add(id, false, entry.why.as_str()),
            Tri::Unknown => {
                let names: BTreeSet<&str> =
                    entry.when.unknowns(scope).iter().map(|name| &*name.path).collect();
                let names: Vec<&str> = names.into_iter().collect();
                let why = format!("{} (can't be excluded: {})", entry.why, names.join(", "));
                verdicts.add(id, false, why);
            }
        }
    }
}

fn require<'p>(
    layer: &'p Layer,
    require: &'p Require,
    scope: &Scope<'_>,
    verdicts: &mut Verdicts<'p>,
) {
    for (fact, max_age_ms) in &require.facts {
        let id = format!("require:{}/{}", layer.name, fact.path);
        let is_known = scope.read(fact.slot).is_present();
        let why = match (is_known, scope.is_fresh(fact.slot, *max_age_ms)) {
            (true, true) => Cow::Borrowed("known and fresh"),
            (true, false) => format!("older than {}", duration_text(*max_age_ms)).into(),
            (false, _) => Cow::Borrowed("absent or unknown"),
        };
        let allows = is_known && scope.is_fresh(fact.slot, *max_age_ms);
        verdicts.add(id, allows, why);
    }
}

/// Counted for every rule that speaks for it; the weakest of them counts.
fn sources<'p>(
    layer: &'p Layer,
    require: &Require,
    scope: &Scope<'_>,
    supporting: &[&Rule],
    verdicts: &mut Verdicts<'p>,
) {
    let needed = require.sources;
    if needed == 0 {
        return;
    }
    let count = |rule: &&Rule| {
        let clauses = rule.when.clauses();
        let names = clauses.iter().flat_map(|clause| clause.names());
        let known = names.filter(|name| scope.read(name.slot).is_present());
        known.filter_map(|name| Some(&*scope.row(name.slot)?.source)).collect::<BTreeSet<_>>().len()
    };
    let found = supporting.iter().map(count).min().unwrap_or(0);
    let why = format!("{found} of {needed} sources of facts");
    verdicts.add(format!("require:{}/sources", layer.name), found >= needed, why);
}

/// The row that allows it, by `<layer>/<row>`. A layer that says nothing about `allow` does not
/// narrow, except the base: nobody allowed anything then.
fn allow<'p>(
    layer: &'p Layer,
    action: &str,
    scope: &Scope<'_>,
    verdicts: &mut Verdicts<'p>,
) -> Option<(String, &'p Allow)> {
    let rows = match &layer.allow {
        Some(rows) => rows.as_slice(),
        None if layer.is_base => &[],
        None => return None,
    };
    let row = rows.iter().find(|row| row_allows(layer, row, action, scope));
    match row {
        Some(row) => {
            let label = format!("{}/{}", layer.name, row.id);
            verdicts.add(format!("allow:{label}"), true, "this row allows it");
            Some((label, row))
        }
        None => {
            let why = format!("no row allows `{action}` here");
            verdicts.add(format!("allow:{}", layer.name), false, why);
            None
        }
    }
}

/// What a row names must be known and in its list; unknown and absent values allow nothing.
fn row_allows(layer: &Layer, row: &Allow, action: &str, scope: &Scope<'_>) -> bool {
    let holds = |list: &Option<Vec<String>>, value: Option<&str>| match list {
        None => true,
        Some(list) => value.is_some_and(|value| list.iter().any(|each| each == value)),
    };
    let fact = |list: &Option<Vec<String>>, fact: &Option<Reference>| {
        let value = fact.as_ref().map(|fact| scope.read(fact.slot));
        holds(list, value.as_ref().and_then(|value| value.text()))
    };
    row.actions.iter().any(|each| each == action)
        && fact(&row.environments, &layer.environment)
        && fact(&row.tiers, &layer.tier)
        && holds(&row.nhi_kinds, scope.alert.text(Field::NhiKind))
        && holds(&row.kinds, scope.alert.text(Field::Kind))
}

/// Longest expiry and severities. Silence does not narrow, except in the base: as with `allow`.
fn limits<'p>(layer: &'p Layer, alert: &Alert<'_>, ask: &Ask<'_>, verdicts: &mut Verdicts<'p>) {
    let id = format!("suppress:{}", layer.name);
    let Some(limits) = &layer.suppress else {
        if layer.is_base {
            verdicts.add(id, false, "nothing may be suppressed");
        }
        return;
    };
    if let Ask::Playbook(suppression, ..) = ask
        && suppression.expires_ms > limits.max_expires_ms
    {
        let why = format!(
            "for {}, and at most {} is allowed",
            duration_text(suppression.expires_ms),
            duration_text(limits.max_expires_ms)
        );
        return verdicts.add(id, false, why);
    }
    let severity = alert.text(Field::Severity);
    let is_refused = match severity {
        _ if limits.never_severity.is_empty() => false,
        Some(severity) => {
            !SEVERITIES.contains(&severity)
                || limits.never_severity.iter().any(|never| never == severity)
        }
        None => matches!(ask, Ask::Playbook(..)),
    };
    if is_refused {
        let why = format!("never for severity `{}`", severity.unwrap_or("missing"));
        return verdicts.add(id, false, why);
    }
    verdicts.add(id, true, "within the limits");
}

/// A rule that suppresses more than anybody meant it to is found out by people. What pipelines
/// suppress is no alert, and nobody's budget.
fn budget<'p>(layer: &'p Layer, scope: &Scope<'_>, ask: &Ask<'_>, verdicts: &mut Verdicts<'p>) {
    let per_hour = layer.suppress.as_ref().and_then(|limits| limits.per_hour);
    let (Some(per_hour), Ask::Playbook(..)) = (per_hour, ask) else { return };
    let spent = scope.counters.map(|counters| counters.suppressed);
    let why = match spent {
        Some(spent) => format!("{spent} of {per_hour} of this detector in this hour"),
        None => "nobody counted".to_owned(),
    };
    let allows = spent.is_some_and(|spent| spent < per_hour);
    verdicts.add(format!("budget:{}", layer.name), allows, why);
}

/// INVARIANT (INV-3): no suppression without its evidence at hand.
fn evidence<'p>(suppression: &'p Suppression, scope: &Scope<'_>, verdicts: &mut Verdicts<'p>) {
    for each in &suppression.evidence {
        let is_there = scope.read(each.slot).is_present();
        let why = if is_there { "at hand" } else { "absent or unknown" };
        verdicts.add(format!("evidence:{}", each.path), is_there, why);
    }
}
