//! Playbooks and boundary: text in, a checked and compiled policy out, or every problem of every
//! file.
//!
//! Must stay true: what compiles here can be ruled by without a further check, the boundary's
//! layers compose by intersection, and every playbook ends in people. Deliberately absent: ruling
//! itself.

mod findings;
mod read;
mod rule;
mod canary;
mod windows;
mod closing;
mod playbook;
mod action;
mod hours;
mod obligations;
mod orders;
mod boundary;
mod layer;
mod routing;
mod test_expect;
mod test_facts;
mod test_windows;
mod test_case;
mod compile;
mod prove;

use std::collections::BTreeSet;

use crate::case::{Alert, BreakOut, Field, Grouping, Look, Millis};
use crate::clause::Schema;

pub use action::Action;
pub use boundary::{
    Allow, Boundary, Deny, Layer, Of, Protected, Require, SuppressLimits, is_own_identity,
    may_be_person,
};
pub use canary::Canary;
pub use closing::{Closing, Requirement};
pub use compile::compile;
pub use findings::{Code, Finding, Possible, Severity, findings, possible};
pub use hours::Hours;
pub use obligations::Obligations;
pub use orders::{Authority, ExceptAuthority};
pub use playbook::{Mode, Playbook};
pub use prove::{
    ANY_OTHER, Bounds, Change, Comparison, Need, Proof, Row, TooLarge, Vocabulary, compare, prove,
};
pub use read::{Reference, ToQueue};
pub use rule::{Escalation, Holding, OnUnknown, Outcome, Rule, Suppression, Target};
pub use test_case::{Step, TestCase, Turn};
pub use test_expect::{Expect, Expected, FATES, NONE, WHATS, verdicts};
pub use windows::Window;

use routing::Routing;

/// Everything that rules, checked. Made by [`compile`] alone.
#[derive(Debug)]
pub struct Policy {
    /// Over all files; the caller who read them sets it.
    pub hash: String,
    schema: Schema,
    playbooks: Vec<Playbook>,
    boundary: Boundary,
    actions: Vec<Action>,
    tests: Vec<TestCase>,
    routing: Routing,
}

impl Policy {
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    pub fn playbooks(&self) -> &[Playbook] {
        &self.playbooks
    }

    pub fn boundary(&self) -> &Boundary {
        &self.boundary
    }

    /// The boundary, with what its words mean.
    pub fn bounds(&self) -> Bounds<'_> {
        Bounds { boundary: &self.boundary, actions: &self.actions, schema: &self.schema }
    }

    pub fn actions(&self) -> &[Action] {
        &self.actions
    }

    /// The `tests:` of all playbooks.
    pub fn tests(&self) -> &[TestCase] {
        &self.tests
    }

    /// Indexes of the enrichers that a ruling on this alert may need, in ascending order.
    pub fn wanted(&self, alert: &Alert<'_>) -> &[usize] {
        &self.routing.route(alert).wanted
    }

    /// The playbook that rules this alert: the one in canary mode for its share of the identities.
    pub fn live(&self, alert: &Alert<'_>) -> Option<&Playbook> {
        let route = self.routing.route(alert);
        let canary = route.canary.and_then(|index| self.playbooks.get(index));
        canary.filter(|playbook| playbook.takes(alert)).or_else(|| self.without_canary(alert))
    }

    /// The playbook in live mode that rules this alert where no canary takes its place.
    pub fn without_canary(&self, alert: &Alert<'_>) -> Option<&Playbook> {
        self.playbooks.get(self.routing.route(alert).live?)
    }

    /// By enricher, how old an answer may be that this alert is ruled by.
    pub fn ages(&self, alert: &Alert<'_>) -> &[Option<i64>] {
        let playbook = self.live(alert).map(|playbook| &playbook.boundary_max_age_ms);
        playbook.unwrap_or(&self.boundary.max_age_ms)
    }

    /// Playbooks that are tried on this alert without effect; where one in canary mode rules, also
    /// the one whose place it takes.
    pub fn shadows(&self, alert: &Alert<'_>) -> impl Iterator<Item = &Playbook> {
        let route = self.routing.route(alert);
        let ruling = self.live(alert);
        let others = route.live.iter().chain(&route.canary).chain(&route.shadows);
        let others = others.filter_map(|index| self.playbooks.get(*index));
        others.filter(move |playbook| !ruling.is_some_and(|ruling| std::ptr::eq(ruling, *playbook)))
    }

    /// What an alert is to the windows of all playbooks, in whichever mode they are. Read are those
    /// of the playbooks that rule it, and of the one that a test is of.
    pub fn looks(&self, alert: &Alert<'_>, now: Millis, tested: Option<&Playbook>) -> Vec<Look> {
        if self.playbooks.iter().all(|playbook| playbook.windows.is_empty()) {
            return Vec::new();
        }
        let mut ruling: Vec<&Playbook> = Vec::new();
        if alert.text(Field::NotAnAlert).is_none() {
            ruling.extend(self.live(alert).into_iter().chain(self.shadows(alert)).chain(tested));
        }
        windows::looks(&self.playbooks, &ruling, alert, now)
    }

    /// INVARIANT (INV-11): nothing when a key of the group is missing; such alerts are never
    /// grouped.
    pub fn group(&self, alert: &Alert<'_>) -> Option<Grouping> {
        self.live(alert)?.grouping(alert)
    }

    /// Where what this playbook does not rule goes.
    pub fn fallback(&self, playbook: &str) -> &ToQueue {
        let found = self.playbooks.iter().find(|each| *each.name == *playbook);
        found.map_or(&self.boundary.default, |found| &found.fallback.1)
    }

    pub fn break_out(&self, alert: &Alert<'_>) -> Option<BreakOut> {
        self.live(alert)?.break_out()
    }

    /// By enricher, the least age that a playbook or the boundary asks of its answers.
    pub fn least_ages_ms(&self) -> impl Iterator<Item = Option<i64>> {
        (0..self.schema.enrichers.len()).map(|enricher| self.least_age_ms(enricher))
    }

    fn least_age_ms(&self, enricher: usize) -> Option<i64> {
        let of = |ages: &[Option<i64>]| ages.get(enricher).copied().flatten();
        let playbooks = self.playbooks.iter().map(|playbook| of(&playbook.boundary_max_age_ms));
        let layers = self.boundary.layers.iter();
        let required = layers
            .flat_map(|layer| [&layer.require_escalate, &layer.require_suppress])
            .flat_map(|require| &require.facts)
            .filter(|(name, _)| name.slot.enricher() == Some(enricher))
            .map(|(_, age_ms)| Some(*age_ms));
        let ages = playbooks.chain(required).chain([of(&self.boundary.max_age_ms)]);
        ages.flatten().min()
    }

    /// Every queue that a ruling can name.
    pub fn queues(&self) -> BTreeSet<&str> {
        let rules = self.playbooks.iter().flat_map(|playbook| &playbook.rules);
        let mut queues: BTreeSet<&str> = rules.filter_map(|rule| rule.outcome.queue()).collect();
        queues.insert(&self.boundary.default.queue);
        queues.extend(self.boundary.repair_queue.as_deref());
        queues
    }
}
