use std::sync::Arc;

use crate::clause::Schema;
use crate::text::{At, Data, Node, Problems, Source, read, suggestion};

use super::Policy;
use super::action::{Action, action};
use super::boundary::{Boundary, Layer, boundary, narrow};
use super::findings::Code;
use super::layer::layer;
use super::playbook::{Playbook, playbook};
use super::routing::Routing;
use super::rule::Outcome;
use super::test_case::test_case;

/// Reads and checks all files of a policy.
///
/// Errors: every mistake of every file becomes a problem, and nothing is returned if there is one.
pub fn compile(
    playbooks: &[Source],
    boundaries: &[Source],
    actions: &[Source],
    schema: Schema,
    problems: &mut Problems,
) -> Option<Policy> {
    let (before, schema) = (problems.len(), schema.with_exceptions());
    let (actions, names) = read_actions(actions, problems);
    let boundary = read_boundary(boundaries, &schema, &names, problems);
    let nodes = read_all(playbooks, problems);
    let mut compiled: Vec<Playbook> = Vec::new();
    let mut tests = Vec::new();
    for (source, node) in &nodes {
        let (playbook, test_nodes) = playbook(node, source, &schema, problems);
        let Some(playbook) = playbook else { continue };
        if let Some(first) = compiled.iter().find(|known| known.name == playbook.name) {
            let message = format!("playbook `{}` is there already: {}", playbook.name, first.at);
            problems.add(&playbook.at, message);
        }
        check_escalations(&playbook, &actions, &names, problems);
        for node in test_nodes {
            tests.extend(test_case(node, &playbook, compiled.len(), &schema, problems));
        }
        compiled.push(playbook);
    }
    let boundary = boundary?;
    check_queues(&compiled, &boundary, problems);
    for playbook in &mut compiled {
        narrow(&mut playbook.boundary_max_age_ms, &boundary.max_age_ms);
    }
    let mut always: Vec<usize> = boundary.layers.iter().flat_map(Layer::enrichers).collect();
    always.sort_unstable();
    always.dedup();
    let routing = Routing::new(&compiled, &always, problems);
    (problems.len() == before).then_some(Policy {
        hash: String::new(),
        schema,
        playbooks: compiled,
        boundary,
        actions,
        tests,
        routing,
    })
}

fn read_all<'s>(sources: &'s [Source], problems: &mut Problems) -> Vec<(&'s Source, Node)> {
    let read = |source| read(source, problems).map(|node| (source, node));
    sources.iter().filter_map(read).collect()
}

/// The names are those of actions with a mistake, too: who asks for one makes no second mistake.
fn read_actions(sources: &[Source], problems: &mut Problems) -> (Vec<Action>, Vec<String>) {
    let (mut actions, mut names): (Vec<Action>, Vec<String>) = (Vec::new(), Vec::new());
    for (_, node) in read_all(sources, problems) {
        let (name, action) = action(&node, problems);
        names.extend(name);
        let Some(action) = action else { continue };
        if actions.iter().any(|known| known.name == action.name) {
            problems.add(&node.at, format!("action `{}` is there already", action.name));
        }
        actions.push(action);
    }
    (actions, names)
}

fn read_boundary(
    sources: &[Source],
    schema: &Schema,
    actions: &[String],
    problems: &mut Problems,
) -> Option<Boundary> {
    let nodes = read_all(sources, problems);
    if nodes.len() == sources.len() {
        check_base(&nodes, problems);
    }
    let layers: Vec<Layer> = nodes
        .iter()
        .filter_map(|(source, node)| layer(node, source, schema, actions, problems))
        .collect();
    boundary(layers, problems)
}

/// Exactly one layer is the base, and there is always one: an empty boundary is no boundary.
fn check_base(nodes: &[(&Source, Node)], problems: &mut Problems) {
    let nowhere = At { path: Arc::from("boundary.yaml"), line: 1, column: 1 };
    let is_base = |node: &Node| match &node.data {
        Data::Map(entries) => entries.iter().any(|(key, _)| key.text() == Some("default_queue")),
        _ => false,
    };
    let mut bases = nodes.iter().filter(|(_, node)| is_base(node));
    if bases.next().is_none() {
        let at = nodes.first().map_or(&nowhere, |(_, node)| &node.at);
        let message = "no boundary has a `default_queue`: where alerts go that no playbook is for";
        problems.add(at, message);
    }
    for (_, node) in bases {
        let message = "`default_queue` stands in another boundary already: only one can have it";
        problems.add(&node.at, message);
    }
}

/// An escalation names an action that is described, and the undo that its file names.
fn check_escalations(
    playbook: &Playbook,
    actions: &[Action],
    names: &[String],
    problems: &mut Problems,
) {
    for rule in &playbook.rules {
        let Outcome::Escalate(escalation) = &rule.outcome else { continue };
        let Some(action) = actions.iter().find(|action| action.name == escalation.action) else {
            if names.contains(&escalation.action) {
                continue;
            }
            let hint = suggestion(&escalation.action, names.iter().map(String::as_str));
            let message = format!("there is no action `{}`{hint}", escalation.action);
            problems.under(Code::NoAction.id(), |problems| problems.add(&rule.at, message));
            continue;
        };
        if action.undo != escalation.rollback {
            let message = format!(
                "action `{}` is undone by `{}`, not by `{}`",
                action.name, action.undo, escalation.rollback
            );
            problems.under(Code::NoUndo.id(), |problems| problems.add(&rule.at, message));
        }
    }
}

/// Where the boundary lists the queues that people read, there are no others.
fn check_queues(playbooks: &[Playbook], boundary: &Boundary, problems: &mut Problems) {
    let Some(queues) = &boundary.queues else { return };
    let mut check = |queue: &str, at: &At| {
        if queues.iter().all(|(known, _)| known != queue) {
            let hint = suggestion(queue, queues.iter().map(|(known, _)| known.as_str()));
            let message = format!("no boundary lists a queue `{queue}`{hint}");
            problems.under(Code::NoQueue.id(), |problems| problems.add(at, message));
        }
    };
    for rule in playbooks.iter().flat_map(|playbook| &playbook.rules) {
        if let Some(queue) = rule.outcome.queue() {
            check(queue, &rule.at);
        }
    }
    let base = boundary.layers.iter().find(|layer| layer.is_base);
    if let Some(base) = base {
        check(&boundary.default.queue, &base.at);
    }
    for layer in &boundary.layers {
        if let Some(queue) = &layer.repair_queue {
            check(queue, &layer.at);
        }
    }
}
