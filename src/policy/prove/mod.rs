//! Everything that any playbook could ever reach, read from the boundary alone, and what another
//! boundary would change about it.
//!
//! Must stay true: whatever the ruling permits lies inside. What can be listed (actions, kinds,
//! environments, tiers, severities) is tried value by value; a condition over anything else may be
//! true or false, so the set is too large rather than too small. It is a second reading: nothing of
//! `decide` is used, and `tests/policy/proof.rs` holds the two against each other.

mod need;
mod axes;
mod vocabulary;
mod world;
mod judge;
mod hearing;
mod rows;
mod compare;

use std::collections::BTreeMap;

use serde::Serialize;

pub use compare::{Change, Comparison, compare};
pub use need::Need;

use crate::clause::Schema;

use super::{Action, Boundary};
use axes::{Axes, combinations};
use hearing::Hearing;
use judge::{Ask, Judge};
use rows::{Reach, merged};

/// LIMIT: combinations of values that are tried for one action.
const COMBINATIONS_MAX: usize = 1_000_000;

/// A boundary with what its words mean.
#[derive(Debug, Clone, Copy)]
pub struct Bounds<'b> {
    pub boundary: &'b Boundary,
    pub actions: &'b [Action],
    pub schema: &'b Schema,
}

#[derive(Debug, Serialize)]
pub struct Proof {
    /// The layers, in order.
    pub layers: Vec<String>,
    /// Layers in which the stop switch is on: nothing is reachable.
    pub stopped: Vec<String>,
    /// What was tried, by action and by name.
    pub vocabulary: Vocabulary,
    pub reachable: Vec<Row>,
    /// What a rule may leave unknown on the way to an escalation.
    pub pass_unknown: Vec<String>,
    /// Conditions over values that cannot be listed, taken as maybe true, maybe false.
    pub open: Vec<String>,
}

pub type Vocabulary = BTreeMap<String, BTreeMap<String, Vec<String>>>;

/// Of the values that are tried, the one that stands for every text that is not listed.
pub const ANY_OTHER: &str = "(any other)";

/// One line: for all combinations of the values in `at`.
#[derive(Debug, PartialEq, Serialize)]
pub struct Row {
    /// An action's name, or `suppress`, or `suppress not_an_alert` for what a pipeline calls none.
    pub action: String,
    /// By name; where none is given, all values.
    pub at: BTreeMap<String, Vec<String>>,
    /// In which states a fact lets it through; where none is given, all.
    pub facts: BTreeMap<String, Vec<String>>,
    /// What must hold beside it.
    pub needs: Vec<Need>,
    /// Rows of `allow`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_by: Vec<String>,
}

/// The boundary names so many values that they cannot be tried all together.
#[derive(Debug, thiserror::Error)]
#[error(
    "for `{action}` the boundary tells apart {count} combinations of values, and at most {COMBINATIONS_MAX} are tried"
)]
pub struct TooLarge {
    action: String,
    count: usize,
}

/// Errors: there are too many combinations to try.
pub fn prove(bounds: &Bounds<'_>) -> Result<Proof, TooLarge> {
    let (mut reachable, mut vocabulary) = (Vec::new(), Vocabulary::new());
    let asks = asks(&[bounds]);
    let judges: Vec<Judge<'_>> = asks.iter().map(|ask| Judge::new(*bounds, ask)).collect();
    for judge in &judges {
        let name = judge.ask.name();
        let axes = Axes::new(&[judge]);
        let hearing = Hearing::new(judge, &axes);
        let mut found = Vec::new();
        for point in combinations(&axes, name)? {
            found.extend(hearing.reach(&point).map(|reach| (point, reach)));
        }
        vocabulary.insert(name.to_owned(), axes.vocabulary());
        let rows = merged(found).into_iter();
        reachable.extend(rows.map(|(sets, reach)| row(judge.ask, &axes, &sets, reach)));
    }
    let layers = &bounds.boundary.layers;
    let denials = layers.iter().flat_map(|layer| &layer.deny);
    let open = denials.filter(|deny| judges.iter().any(|judge| judge.is_open(deny)));
    Ok(Proof {
        layers: layers.iter().map(|layer| layer.name.clone()).collect(),
        stopped: layers.iter().filter(|layer| layer.stop).map(|layer| layer.name.clone()).collect(),
        vocabulary,
        reachable,
        pass_unknown: consents(bounds.boundary),
        open: open.map(|deny| format!("{}: {}", deny.label, deny.text)).collect(),
    })
}

fn row(ask: &Ask, axes: &Axes, sets: &[rows::Set], reach: Reach) -> Row {
    Row {
        action: ask.name().to_owned(),
        at: axes.named(sets),
        facts: reach.facts,
        needs: reach.needs.into_iter().collect(),
        allowed_by: reach.allowed_by,
    }
}

/// Every action that is declared, and both ways to suppress.
fn asks(all: &[&Bounds<'_>]) -> Vec<Ask> {
    let mut names: Vec<&str> =
        all.iter().flat_map(|bounds| bounds.actions).map(|action| &*action.name).collect();
    names.sort_unstable();
    names.dedup();
    let actions = names.into_iter().map(|name| Ask::Action(name.to_owned()));
    actions.chain([Ask::Suppress, Ask::NotAnAlert]).collect()
}

/// What every layer consents to.
fn consents(boundary: &Boundary) -> Vec<String> {
    let Some((first, others)) = boundary.layers.split_first() else { return Vec::new() };
    let all = first.pass_unknown.iter().filter(|name| {
        others.iter().all(|layer| layer.pass_unknown.iter().any(|each| each.slot == name.slot))
    });
    let mut names: Vec<String> = all.map(|name| name.path.clone()).collect();
    names.sort();
    names.dedup();
    names
}
