use std::collections::BTreeSet;

use crate::clause::{Condition, Slot};
use crate::policy::{Outcome, Playbook, Policy};
use crate::text::At;

use super::domain::limits_of;
use super::rules::misspelt;
use super::space::{Space, Truths};
use super::{Code, Finding};

pub(super) fn of_playbook(policy: &Policy, playbook: &Playbook) -> Vec<Finding> {
    let mut found = Vec::new();
    let read = read(playbook);
    for window in playbook.windows() {
        let name = &window.name;
        if !read.contains(&window.id) {
            let message = format!("no rule reads window `{name}`: it is counted for nobody");
            found.push(Finding { at: window.at.clone(), code: Code::Unused, message });
        }
        let then = window.then.iter().map(|then| (&then.when, &then.at, "sees one", &*then.name));
        let counts = (&window.counts, &window.at, "counts an alert", &**name);
        for (when, at, does, name) in std::iter::once(counts).chain(then) {
            let wrong = misspelt(when);
            if wrong.is_empty() && is_never_true(policy, when) {
                let message = format!("`{name}` never {does}: its clauses exclude each other");
                found.push(Finding { at: At::clone(at), code: Code::NeverTrue, message });
            }
            found.extend(wrong);
        }
    }
    found
}

fn read(playbook: &Playbook) -> BTreeSet<crate::case::WindowId> {
    let clauses = playbook.rules.iter().flat_map(|rule| rule.when.clauses());
    let named = clauses.flat_map(|clause| clause.names()).map(|name| name.slot);
    let evidence = playbook.rules.iter().filter_map(|rule| match &rule.outcome {
        Outcome::Suppress(suppression) => Some(&suppression.evidence),
        _ => None,
    });
    let slots = named.chain(evidence.flatten().map(|each| each.slot));
    let ids = slots.filter_map(|slot| match slot {
        Slot::Window { id, .. } => Some(id),
        _ => None,
    });
    ids.collect()
}

/// A window is fed by alerts of every kind and detector.
fn is_never_true(policy: &Policy, when: &Condition) -> bool {
    let mut space = Space::default();
    let formula = space.condition(when);
    space.close(policy.schema(), |slot| limits_of(slot, &[], &[]));
    space.is_nowhere(&[(&formula, Truths::TRUE)])
}
