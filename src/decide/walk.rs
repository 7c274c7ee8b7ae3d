use crate::case::{Passed, Priority, Tri};
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
}

impl<'p> Walk<'p> {
    pub(super) fn new(playbook: &'p Playbook, scope: &Scope<'_>) -> Self {
        let mut walk =
            Self { passed: Vec::new(), unknown: Vec::new(), stopped: None, winner: None };
        for rule in &playbook.rules {
            match rule.when.eval(scope) {
                Tri::True => {
                    walk.winner = Some(rule);
                    break;
                }
                Tri::False => walk.pass(rule, scope),
                Tri::Unknown => {
                    walk.unknown.push(rule);
                    if walk.stopped.is_none() && rule.on_unknown != OnUnknown::Next {
                        walk.stopped = Some(rule);
                    } else {
                        walk.pass(rule, scope);
                    }
                }
            }
        }
        walk
    }

    fn pass(&mut self, rule: &'p Rule, scope: &Scope<'_>) {
        // After the rule that asks for people, the rest is only read for its priority.
        if self.stopped.is_none()
            && let Some(clause) = rule.when.first_failing(scope)
        {
            self.passed.push(Passed { rule: (&*rule.id).into(), because: clause.because(scope) });
        }
    }

    /// At least this urgent: what an unknown rule would have given must not be lowered (INV-4).
    pub(super) fn floor(&self, priority: Priority) -> Priority {
        let unknown = self.unknown.iter().filter_map(|rule| rule.outcome.priority());
        unknown.fold(priority, Priority::max)
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
