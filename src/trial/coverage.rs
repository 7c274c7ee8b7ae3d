use crate::case::{Decision, Tri};
use crate::clause::Scope;
use crate::decide::{Walk, Watch};
use crate::policy::{Playbook, Policy, possible};
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

/// What the tests of one playbook see of it, rule by rule. Other playbooks are not looked at.
struct Reached<'c> {
    playbook: &'c Playbook,
    seen: Vec<Seen>,
}

#[derive(Default)]
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
    let seen = playbook.rules.iter().map(|_| Seen::default()).collect();
    let mut reached = Reached { playbook, seen };
    for test in policy.tests().iter().filter(|test| test.playbook == index) {
        for_each_ruling(policy, test, &mut reached, |_, _, _, _| ());
    }
    let mut found = Coverage {
        playbook: playbook.name.clone(),
        rules: (0, 0),
        clauses: (0, 0),
        unknowns: (0, 0),
        gaps: Vec::new(),
    };
    let seen = playbook.rules.iter().zip(reached.seen);
    for ((rule, seen), possible) in seen.zip(possible(policy, playbook)) {
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

impl<'p> Watch<'p> for Reached<'_> {
    fn ruled(
        &mut self,
        playbook: &'p Playbook,
        scope: &Scope<'p>,
        walk: &Walk<'p>,
        _: &Decision<'p>,
    ) {
        if !std::ptr::eq(playbook, self.playbook) {
            return;
        }
        // The rest is not tried: what rules was found.
        let last = walk.stopped.or(walk.winner);
        for (rule, seen) in playbook.rules.iter().zip(&mut self.seen) {
            let clauses = rule.when.clauses();
            seen.clauses.resize(clauses.len(), [false; 3]);
            for (was, clause) in seen.clauses.iter_mut().zip(clauses) {
                let [is_true, is_false, is_unknown] = was;
                match clause.eval(scope) {
                    Tri::True => *is_true = true,
                    Tri::False => *is_false = true,
                    Tri::Unknown => *is_unknown = true,
                }
            }
            seen.is_unknown |= walk.unknown.iter().any(|each| std::ptr::eq(*each, rule));
            if last.is_some_and(|last| std::ptr::eq(last, rule)) {
                seen.is_true |= walk.stopped.is_none();
                return;
            }
        }
    }
}
