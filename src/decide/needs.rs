use serde::Serialize;

use super::boundary::{self, Ask};
use super::explain::{Looked, Walked, looked, verdict_of};
use super::ruling::Judge;
use crate::case::{Tri, Verdict};
use crate::clause::Part;
use crate::policy::{OnUnknown, Outcome, Policy, Rule};

/// A rule that suppresses or escalates and did not, and all that stood in its way.
#[derive(Debug, Serialize)]
pub struct Stronger<'p> {
    pub rule: &'p str,
    /// `suppress` or `escalate`.
    pub outcome: &'static str,
    /// The reason of the suppression, or the action.
    pub subject: &'p str,
    pub needs: Vec<Need<'p>>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Need<'p> {
    /// Would have to be true.
    Clause { clause: &'p str, verdict: Verdict, seen: Vec<Looked<'p>> },
    /// All needs of one of these.
    OneOf { one_of: Vec<Vec<Need<'p>>> },
    /// An earlier rule that would have to be false.
    Rule {
        rule: &'p str,
        verdict: Verdict,
        /// Why it can't be decided.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        unknown: Vec<&'p str>,
    },
    /// Would have to allow it.
    Boundary { boundary: String, why: String },
}

impl Need<'_> {
    fn weight(&self) -> usize {
        match self {
            Self::OneOf { one_of } => one_of.iter().map(|needs| weight(needs)).min().unwrap_or(0),
            Self::Clause { .. } | Self::Rule { .. } | Self::Boundary { .. } => 1,
        }
    }
}

fn weight(needs: &[Need<'_>]) -> usize {
    needs.iter().map(Need::weight).sum()
}

/// The boundary is asked about each as it would have been: by the same code, without effect.
pub(super) fn stronger<'p>(
    policy: &'p Policy,
    judge: &Judge<'p>,
    walked: &Walked<'p>,
    may_suppress: bool,
) -> Vec<Stronger<'p>> {
    let mut found = Vec::new();
    for rule in &walked.playbook.rules {
        let subject = match &rule.outcome {
            Outcome::Suppress(suppression) if may_suppress => suppression.reason.code(),
            Outcome::Escalate(escalation) => &*escalation.action,
            _ => continue,
        };
        let mut needs = when(rule.when.root(), walked);
        needs.extend(earlier(judge, walked, rule));
        needs.extend(refusals(policy, judge, walked, rule));
        found.push(Stronger { rule: &rule.id, outcome: rule.outcome.name(), subject, needs });
    }
    found.sort_by_key(|each| weight(&each.needs));
    found
}

fn when<'p>(part: &'p Part, walked: &Walked<'p>) -> Vec<Need<'p>> {
    let verdict = part.eval(&walked.scope);
    if verdict == Tri::True {
        return Vec::new();
    }
    match part {
        Part::Clause(clause) => vec![Need::Clause {
            clause: &clause.text,
            verdict: verdict_of(verdict),
            seen: looked(clause, &walked.scope),
        }],
        Part::All(parts) => parts.iter().flat_map(|part| when(part, walked)).collect(),
        Part::Any(parts) => {
            vec![Need::OneOf { one_of: parts.iter().map(|part| when(part, walked)).collect() }]
        }
    }
}

/// Rules in front of it that win, or that can't be decided and so stand in its way.
fn earlier<'p>(judge: &Judge<'p>, walked: &Walked<'p>, rule: &'p Rule) -> Vec<Need<'p>> {
    let before = walked.playbook.rules.iter().take(walked.place(rule));
    let blocking = before.filter_map(|earlier| {
        let verdict = earlier.when.eval(&walked.scope);
        let unknown = earlier.when.unknowns(&walked.scope);
        let blocks = match verdict {
            Tri::False => false,
            Tri::True => true,
            Tri::Unknown if earlier.on_unknown != OnUnknown::Next => true,
            Tri::Unknown => match rule.outcome {
                Outcome::Escalate(_) => {
                    earlier.outcome != rule.outcome
                        && !unknown.iter().all(|name| judge.may_pass(name))
                }
                _ => true,
            },
        };
        let unknown = unknown.into_iter().map(|name| &*name.path).collect();
        blocks.then(|| Need::Rule { rule: &earlier.id, verdict: verdict_of(verdict), unknown })
    });
    blocking.collect()
}

fn refusals<'p>(
    policy: &'p Policy,
    judge: &Judge<'p>,
    walked: &Walked<'p>,
    rule: &'p Rule,
) -> Vec<Need<'p>> {
    let scope = judge.scope(&walked.playbook.boundary_max_age_ms);
    let verdicts = match &rule.outcome {
        Outcome::Suppress(suppression) => {
            let ask = Ask::Playbook(suppression, rule, walked.scope);
            boundary::suppress(policy.boundary(), &scope, &ask)
        }
        Outcome::Escalate(escalation) => {
            let ask = judge.containment(escalation, vec![rule]);
            boundary::escalate(policy.boundary(), &scope, &walked.scope, &ask).0
        }
        Outcome::Route(_) | Outcome::Hold(_) => return Vec::new(),
    };
    let refused = verdicts.found.into_iter().filter(|verdict| !verdict.allows);
    refused
        .map(|verdict| Need::Boundary {
            boundary: verdict.id.into_owned(),
            why: verdict.why.into_owned(),
        })
        .collect()
}
