use std::collections::BTreeSet;

use crate::policy::read::enrichers_of;
use crate::policy::{Boundary, Layer, Outcome, Playbook, Policy, Rule};

use super::{Code, Finding};

pub(super) fn of_playbook(policy: &Policy, index: usize, playbook: &Playbook) -> Vec<Finding> {
    let mut found = Vec::new();
    if policy.tests().iter().all(|test| test.playbook != index) {
        let message =
            format!("playbook `{}` has no test: nobody sees what a change does", playbook.name);
        found.push(Finding { at: playbook.at.clone(), code: Code::NoTest, message });
    }
    let (used, bounding) = (used(playbook), read_by(policy.boundary()));
    let is_idle = |index: &usize| !used.contains(index) && !bounding.contains(index);
    for (enricher, at) in playbook.declared.iter().filter(|(index, _)| is_idle(index)) {
        let name = policy.schema().enrichers.get(*enricher).map_or("?", |shape| &*shape.name);
        let message = format!(
            "`{name}` is declared, and neither a rule nor the boundary reads it: it is looked up for every alert and only shown in the case"
        );
        found.push(Finding { at: at.clone(), code: Code::Unused, message });
    }
    if let Some(closing) = &playbook.closing {
        let used: BTreeSet<usize> =
            closing.requirements.iter().flat_map(|each| enrichers_of(&each.when)).collect();
        for (enricher, at) in closing.declared.iter().filter(|(index, _)| !used.contains(index)) {
            let name = policy.schema().enrichers.get(*enricher).map_or("?", |shape| &*shape.name);
            let message = format!("`{name}` is declared, and nothing that is required reads it");
            found.push(Finding { at: at.clone(), code: Code::Unused, message });
        }
    }
    found
}

fn used(playbook: &Playbook) -> BTreeSet<usize> {
    playbook.rules.iter().flat_map(Rule::enrichers).collect()
}

/// With a stricter age in a playbook, the boundary reads them by that one.
fn read_by(boundary: &Boundary) -> BTreeSet<usize> {
    boundary.layers.iter().flat_map(Layer::enrichers).collect()
}

pub(super) fn of_boundary(policy: &Policy) -> Vec<Finding> {
    let boundary = policy.boundary();
    let mut found = Vec::new();
    let read = read_by(boundary);
    for (enricher, at) in boundary.layers.iter().flat_map(|layer| &layer.declared) {
        if !read.contains(enricher) {
            let name = policy.schema().enrichers.get(*enricher).map_or("?", |shape| &*shape.name);
            let message = format!("`{name}` has an age here and no boundary reads it");
            found.push(Finding { at: at.clone(), code: Code::Unused, message });
        }
    }
    let asks = |name: &str| {
        let rules = policy.playbooks().iter().flat_map(|playbook| &playbook.rules);
        let mut actions = rules.filter_map(|rule| match &rule.outcome {
            Outcome::Escalate(escalation) => Some(escalation.action.as_str()),
            _ => None,
        });
        actions.any(|action| action == name)
    };
    for action in policy.actions().iter().filter(|action| !asks(&action.name)) {
        let message = format!("no rule asks for `{}`", action.name);
        found.push(Finding { at: action.at.clone(), code: Code::IdleAction, message });
    }
    if let (None, Some(base)) = (&boundary.queues, boundary.layers.iter().find(|l| l.is_base)) {
        let queues: Vec<&str> = policy.queues().into_iter().collect();
        let message = format!(
            "no `queues` here, so a queue that is written wrong is a new one that nobody reads; used are: {}",
            queues.join(", ")
        );
        found.push(Finding { at: base.at.clone(), code: Code::OpenQueues, message });
    }
    found
}
