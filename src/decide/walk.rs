use crate::case::{Because, Passed, Priority, Tri};
use crate::clause::{Name, Scope};
use crate::policy::{OnUnknown, Playbook, Rule};

/// A playbook's rules, tried in order up to the first that is true.
pub struct Walk<'p> {
    /// Rules before the one that rules, each with the first clause that kept it from being true.
    pub passed: Vec<Passed<'p>>,
    /// Rules before `winner` that could not be decided, in order.
    pub unknown: Vec<&'p Rule>,
    /// The first of them that asks for people.
    pub stopped: Option<&'p Rule>,
    pub winner: Option<&'p Rule>,
    /// The most urgent that could come of the rules behind a winner that only holds because a fact
    /// is unknown.
    instead: Option<Priority>,
}

impl<'p> Walk<'p> {
    pub(super) fn new(playbook: &'p Playbook, scope: &Scope<'_>) -> Self {
        let mut walk = Self {
            passed: Vec::with_capacity(playbook.rules.len()),
            unknown: Vec::new(),
            stopped: None,
            winner: None,
            instead: None,
        };
        let mut rules = playbook.rules.iter();
        for rule in rules.by_ref() {
            let (verdict, clause) = rule.when.eval_with_first(scope);
            let because = || clause.map(|clause| clause.because(verdict, scope));
            match verdict {
                Tri::True => {
                    walk.winner = Some(rule);
                    break;
                }
                Tri::False => walk.pass(rule, because),
                Tri::Unknown => {
                    walk.unknown.push(rule);
                    if walk.stopped.is_none() && rule.on_unknown != OnUnknown::Next {
                        walk.stopped = Some(rule);
                    } else {
                        walk.pass(rule, because);
                    }
                }
            }
        }
        if walk.winner.is_some_and(|rule| rule.when.holds_by_unknown(scope)) {
            walk.instead = Some(most_urgent(rules, playbook.fallback.1.priority, scope));
        }
        walk
    }

    fn pass(&mut self, rule: &'p Rule, because: impl FnOnce() -> Option<Because<'p>>) {
        // After the rule that asks for people, the rest is only read for its priority.
        if self.stopped.is_none()
            && let Some(because) = because()
        {
            self.passed.push(Passed { rule: (&*rule.id).into(), because });
        }
    }

    /// At least this urgent: what an unknown rule would have given, or another one in the place of
    /// a rule that asks for what is unknown, must not be lowered (INV-4).
    pub(super) fn floor(&self, priority: Priority) -> Priority {
        let unknown = self.unknown.iter().filter_map(|rule| rule.outcome.priority());
        unknown.chain(self.instead).fold(priority, Priority::max)
    }

    /// As `floor`, and at least as urgent as the rule that would have won.
    pub(super) fn floor_with_winner(&self, priority: Priority) -> Priority {
        let winner = self.winner.and_then(|rule| rule.outcome.priority());
        self.floor(winner.map_or(priority, |winner| winner.max(priority)))
    }

    /// What the rules rest on that would not have ended in the winner's very outcome.
    pub(super) fn open_names(&self, scope: &Scope<'_>) -> Vec<&'p Name> {
        let others = self.unknown.iter().filter(|rule| !self.is_same(rule));
        others.flat_map(|rule| rule.when.unknowns(scope)).collect()
    }

    /// The winner, and unknown rules before it that would have done the same: whichever of them it
    /// turns out to be, the boundary must be satisfied with it.
    pub(super) fn supporting(&self) -> impl Iterator<Item = &'p Rule> {
        self.winner
            .into_iter()
            .chain(self.unknown.iter().copied().filter(|rule| self.is_same(rule)))
    }

    fn is_same(&self, rule: &Rule) -> bool {
        self.winner.is_some_and(|winner| winner.outcome == rule.outcome)
    }
}

/// Of rules of which each could win in the place of one before it, up to the first that is true
/// whatever is learned. What is refused or held among them is as urgent as the last rule.
fn most_urgent<'p>(
    rules: impl Iterator<Item = &'p Rule>,
    last: Priority,
    scope: &Scope<'_>,
) -> Priority {
    let mut most = last;
    for rule in rules {
        let verdict = rule.when.eval(scope);
        if verdict != Tri::False {
            most = rule.outcome.priority().map_or(most, |priority| priority.max(most));
        }
        if verdict == Tri::True && !rule.when.holds_by_unknown(scope) {
            break;
        }
    }
    most
}
