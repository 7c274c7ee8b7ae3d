use crate::case::{SEVERITIES, duration_text};
use crate::clause::Condition;
use crate::policy::read::enrichers_of;
use crate::policy::{
    Allow, Boundary, Deny, Escalation, Layer, Of, Outcome, Playbook, Policy, Reference, Rule,
    Suppression,
};

use super::rules::Together;
use super::{Code, Finding};

/// What the boundary refuses whatever the alert.
pub(super) fn of_playbook(policy: &Policy, playbook: &Playbook) -> Vec<Finding> {
    let mut found = Vec::new();
    for rule in &playbook.rules {
        let refused = match &rule.outcome {
            Outcome::Suppress(suppression) => suppress(policy, playbook, rule, suppression),
            Outcome::Escalate(escalation) => escalate(policy, playbook, rule, escalation),
            Outcome::Route(_) | Outcome::Hold(_) => None,
        };
        let finding = |(code, message)| Finding { at: rule.at.clone(), code, message };
        found.extend(refused.map(finding));
    }
    found
}

fn suppress(
    policy: &Policy,
    playbook: &Playbook,
    rule: &Rule,
    suppression: &Suppression,
) -> Option<(Code, String)> {
    let boundary = policy.boundary();
    let id = &rule.id;
    let limits = boundary.layers.iter().filter_map(|layer| Some((layer, layer.suppress.as_ref()?)));
    let limits: Vec<_> = limits.collect();
    let least = limits.iter().min_by_key(|(_, limits)| limits.max_expires_ms);
    if let Some((layer, least)) =
        least.filter(|(_, least)| suppression.expires_ms > least.max_expires_ms)
    {
        let (asked, cap) =
            (duration_text(suppression.expires_ms), duration_text(least.max_expires_ms));
        let message = format!(
            "rule `{id}` suppresses for {asked}, and boundary `{}` allows at most {cap}: it is always refused",
            layer.name
        );
        return Some((Code::TooLong, message));
    }
    let base = boundary.layers.iter().find(|layer| layer.is_base && layer.suppress.is_none());
    let mut why = base.map(|layer| format!("boundary `{}` has no `suppress`", layer.name));
    let is_never = |severity: &&str| {
        limits.iter().any(|(_, limits)| limits.never_severity.iter().any(|never| never == severity))
    };
    if why.is_none() && SEVERITIES.iter().all(is_never) {
        why = Some("`never_severity` names every severity".to_owned());
    }
    let why = why.or_else(|| denied(policy, playbook, rule, Of::Suppress))?;
    Some((Code::NeverSuppressed, format!("rule `{id}` never suppresses: {why}")))
}

fn escalate(
    policy: &Policy,
    playbook: &Playbook,
    rule: &Rule,
    escalation: &Escalation,
) -> Option<(Code, String)> {
    let boundary = policy.boundary();
    let why = not_allowed(boundary, playbook, &escalation.action)
        .or_else(|| few_sources(boundary, rule))
        .or_else(|| denied(policy, playbook, rule, Of::Escalate))?;
    let message = format!("rule `{}` never gets to `{}`: {why}", rule.id, escalation.action);
    Some((Code::NeverAllowed, message))
}

/// A denial that is true or unknown whenever the rule is true.
fn denied(policy: &Policy, playbook: &Playbook, rule: &Rule, of: Of) -> Option<String> {
    let is_for = |deny: &&Deny| deny.of == of || deny.of == Of::Any;
    let denials = policy.boundary().layers.iter().flat_map(|layer| &layer.deny).filter(is_for);
    let mut always = denials.filter(|deny| {
        let (kinds, detectors) = (&playbook.kinds, &playbook.detectors);
        let with = Together::new(&rule.when, &deny.when, policy.schema(), kinds, detectors);
        // What denies everything is told by itself.
        with.never_without() && !denies_all(policy, deny)
    });
    always.next().map(|deny| format!("`{}` denies whatever it is true for", deny.label))
}

/// Distinct sources are counted over the facts that the rule names; an enricher has one at a time.
fn few_sources(boundary: &Boundary, rule: &Rule) -> Option<String> {
    let mut enrichers: Vec<usize> = enrichers_of(&rule.when).collect();
    enrichers.sort_unstable();
    enrichers.dedup();
    let layer = boundary.layers.iter().find(|l| l.require_escalate.sources > enrichers.len())?;
    Some(format!(
        "boundary `{}` wants {} sources of facts, and the rule names facts of {}",
        layer.name,
        layer.require_escalate.sources,
        enrichers.len()
    ))
}

/// LIMIT: combinations of the layers' rows that are looked at; with more, nothing is claimed.
const COMBINATIONS_MAX: usize = 4096;

fn not_allowed(boundary: &Boundary, playbook: &Playbook, action: &str) -> Option<String> {
    let fits = |row: &&Allow| {
        let is_of_kind =
            |kinds: &Vec<String>| kinds.iter().any(|kind| playbook.kinds.contains(kind));
        row.actions.iter().any(|each| each == action) && row.kinds.as_ref().is_none_or(is_of_kind)
    };
    let mut rows: Vec<(&Layer, Vec<&Allow>)> = Vec::new();
    for layer in &boundary.layers {
        match &layer.allow {
            Some(allow) => rows.push((layer, allow.iter().filter(fits).collect())),
            None if layer.is_base => {
                return Some(format!("boundary `{}` has no `allow`", layer.name));
            }
            None => {}
        }
    }
    if let Some((layer, _)) = rows.iter().find(|(_, fitting)| fitting.is_empty()) {
        let kinds = playbook.kinds.join(", ");
        return Some(format!(
            "no row of boundary `{}` allows that action for alerts of kind {kinds}",
            layer.name
        ));
    }
    let combinations =
        rows.iter().try_fold(1_usize, |so_far, (_, fitting)| so_far.checked_mul(fitting.len()));
    if combinations.is_none_or(|count| count > COMBINATIONS_MAX) || agree(&rows, &mut Vec::new()) {
        return None;
    }
    Some("the rows of the layers allow it in no place that is common to all of them".to_owned())
}

/// Whether one row of each layer can be chosen so that all can allow one and the same alert.
fn agree<'p>(
    rows: &[(&'p Layer, Vec<&'p Allow>)],
    chosen: &mut Vec<(&'p Layer, &'p Allow)>,
) -> bool {
    let Some(((layer, fitting), rest)) = rows.split_first() else { return true };
    fitting.iter().any(|row| {
        let meets = chosen.iter().all(|(other_layer, other)| {
            meet(&row.kinds, &other.kinds)
                && meet(&row.nhi_kinds, &other.nhi_kinds)
                && apart(
                    &layer.environment,
                    &other_layer.environment,
                    &row.environments,
                    &other.environments,
                )
                && apart(&layer.tier, &other_layer.tier, &row.tiers, &other.tiers)
        });
        chosen.push((layer, row));
        let found = meets && agree(rest, chosen);
        chosen.pop();
        found
    })
}

fn meet(one: &Option<Vec<String>>, other: &Option<Vec<String>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.iter().any(|each| other.contains(each)),
        _ => true,
    }
}

/// Lists over different facts say nothing about each other.
fn apart(
    one_of: &Option<Reference>,
    other_of: &Option<Reference>,
    one: &Option<Vec<String>>,
    other: &Option<Vec<String>>,
) -> bool {
    let slot = |of: &Option<Reference>| of.as_ref().map(|of| of.slot);
    slot(one_of) != slot(other_of) || meet(one, other)
}

fn denies_all(policy: &Policy, deny: &Deny) -> bool {
    let always = Condition::always();
    Together::new(&always, &deny.when, policy.schema(), &[], &[]).is_total()
}

pub(super) fn of_boundary(policy: &Policy) -> Vec<Finding> {
    let mut found = Vec::new();
    let nothing = Condition::always();
    for (layer, deny) in
        policy.boundary().layers.iter().flat_map(|l| l.deny.iter().map(move |d| (l, d)))
    {
        let at = deny.when.clauses().first().map_or(&layer.at, |clause| &clause.at).clone();
        let together = Together::new(&nothing, &deny.when, policy.schema(), &[], &[]);
        if together.is_idle() {
            let message = format!("`{}` never denies: its condition is always false", deny.label);
            found.push(Finding { at, code: Code::NeverDenies, message });
        } else if together.is_total() {
            let message =
                format!("`{}` denies everything: its condition is never false", deny.label);
            found.push(Finding { at, code: Code::AlwaysDenies, message });
        }
    }
    found
}
