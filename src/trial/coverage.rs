use crate::case::{Body, Tri};
use crate::clause::Scope;
use crate::decide::Inputs;
use crate::policy::{OnUnknown, Playbook, Policy, possible};
use crate::text::At;

use super::run::for_each_ruling;

/// What the tests of a playbook reach of it. What no alert can reach does not count.
#[derive(Debug, Clone)]
pub struct Coverage {
    pub playbook: String,
    /// Rules that some test is ruled by, and all.
    pub rules: (usize, usize),
    /// True, false and unknown of each clause.
    pub clauses: (usize, usize),
    /// Rules that could not be decided.
    pub unknowns: (usize, usize),
    pub gaps: Vec<Gap>,
}

#[derive(Debug, Clone)]
pub struct Gap {
    pub at: At,
    pub rule: String,
    /// `rule`, `clause` or `unknown`.
    pub of: &'static str,
    pub message: String,
}

/// What was seen of one rule.
#[derive(Clone, Default)]
struct Seen {
    is_true: bool,
    is_unknown: bool,
    clauses: Vec<[bool; 3]>,
}

pub fn coverage(policy: &Policy) -> Vec<Coverage> {
    let playbooks = policy.playbooks().iter().enumerate();
    playbooks.map(|(index, playbook)| of(policy, index, playbook)).collect()
}

fn of(policy: &Policy, index: usize, playbook: &Playbook) -> Coverage {
    let mut seen: Vec<Seen> = playbook.rules.iter().map(|_| Seen::default()).collect();
    for test in policy.tests().iter().filter(|test| test.playbook == index) {
        for_each_ruling(policy, playbook, test, |_, inputs, decision| {
            // Not where the pipeline or another playbook ruled.
            if decision.playbook == playbook.name {
                walk(playbook, inputs, &mut seen);
            }
        });
    }
    let mut found = Coverage {
        playbook: playbook.name.clone(),
        rules: (0, 0),
        clauses: (0, 0),
        unknowns: (0, 0),
        gaps: Vec::new(),
    };
    for ((rule, seen), possible) in playbook.rules.iter().zip(seen).zip(possible(policy, playbook))
    {
        let id = &rule.id;
        let mut gap = |at: &At, of, message| {
            found.gaps.push(Gap { at: at.clone(), rule: id.clone(), of, message });
        };
        if possible.is_true && !add(&mut found.rules, seen.is_true) {
            gap(&rule.at, "rule", format!("no alert is ruled by `{id}`"));
        }
        if possible.is_unknown && !add(&mut found.unknowns, seen.is_unknown) {
            gap(&rule.at, "unknown", format!("`{id}` is never unknown"));
        }
        for (place, (clause, can_be)) in
            rule.when.clauses().iter().zip(possible.clauses).enumerate()
        {
            let was = seen.clauses.get(place).copied().unwrap_or_default();
            for ((can_be, was), verdict) in can_be.iter().zip(was).zip(["true", "false", "unknown"])
            {
                if *can_be && !add(&mut found.clauses, was) {
                    gap(&clause.at, "clause", format!("`{}` is never {verdict}", clause.text));
                }
            }
        }
    }
    found.gaps.sort_by(|one, other| one.at.cmp(&other.at));
    found
}

fn add((reached, all): &mut (usize, usize), is_reached: bool) -> bool {
    *reached += usize::from(is_reached);
    *all += 1;
    is_reached
}

/// As a ruling goes: up to the first rule that is true, or is unknown and asks for people.
fn walk(playbook: &Playbook, inputs: &Inputs<'_>, seen: &mut [Seen]) {
    let Body::Alert(alert) = &inputs.arrival.body else { return };
    let scope = Scope {
        alert,
        facts: inputs.facts,
        counters: Some(inputs.counters),
        now: inputs.now,
        max_age_ms: &playbook.max_age_ms,
    };
    for (rule, seen) in playbook.rules.iter().zip(seen) {
        let clauses = rule.when.clauses();
        seen.clauses.resize(clauses.len(), [false; 3]);
        for (was, clause) in seen.clauses.iter_mut().zip(clauses) {
            let [is_true, is_false, is_unknown] = was;
            match clause.eval(&scope) {
                Tri::True => *is_true = true,
                Tri::False => *is_false = true,
                Tri::Unknown => *is_unknown = true,
            }
        }
        match rule.when.eval(&scope) {
            Tri::True => return seen.is_true = true,
            Tri::False => {}
            Tri::Unknown => {
                seen.is_unknown = true;
                if rule.on_unknown != OnUnknown::Next {
                    return;
                }
            }
        }
    }
}
