use crate::text::{At, Fields, Node, Problems};

use super::findings::Code;
use super::read::require_name;

/// A containment step as a playbook may name it, and the step that undoes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    pub name: String,
    pub title: String,
    pub undo: String,
    pub description: Option<String>,
    pub at: At,
}

pub(super) fn action(node: &Node, problems: &mut Problems) -> Option<Action> {
    let mut fields = Fields::of(node, "an action", problems)?;
    let name = require_name(&mut fields, "action", problems);
    let title = fields.require_text("title", problems).map(str::to_owned);
    let undo =
        problems.under(Code::NoUndo.id(), |problems| require_name(&mut fields, "undo", problems));
    let description = fields.text("description", problems).map(str::to_owned);
    fields.finish(problems);
    Some(Action { name: name?, title: title?, undo: undo?, description, at: node.at.clone() })
}
