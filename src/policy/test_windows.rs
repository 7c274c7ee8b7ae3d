use crate::case::{Spans, Why, WindowId};
use crate::text::{Fields, Node, Problems, suggestion};

use super::playbook::Playbook;
use super::read::one_of;

/// `windows: {failures: {unknown: forgotten}}`: what no alert of a test can bring about, since it
/// takes thousands.
pub(super) fn forgotten(
    node: Option<&Node>,
    playbook: &Playbook,
    problems: &mut Problems,
) -> Vec<(WindowId, Spans)> {
    let Some(mut named) = node.and_then(|node| Fields::of(node, "`windows`", problems)) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for (key, node) in named.rest() {
        let name = key.text().unwrap_or_default();
        let Some(window) = playbook.windows.iter().find(|window| window.name == name) else {
            let names = playbook.windows.iter().map(|window| window.name.as_str());
            let hint = suggestion(name, names);
            problems.add(&key.at, format!("this playbook has no window `{name}`{hint}"));
            continue;
        };
        let Some(mut fields) = Fields::of(node, &format!("`{name}`"), problems) else { continue };
        let why = fields.require("unknown", problems);
        if why.is_some_and(|node| is_forgotten(node, problems)) {
            found.push((window.id, window.spans.clone()));
        }
        fields.finish(problems);
    }
    found
}

pub(super) fn is_forgotten(node: &Node, problems: &mut Problems) -> bool {
    one_of(node, "cause", &[Why::Forgotten], Why::code, problems).is_some()
}
