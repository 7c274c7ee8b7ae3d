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

/// Its name, and all of it where nothing is wrong.
pub(super) fn action(node: &Node, problems: &mut Problems) -> (Option<String>, Option<Action>) {
    let Some(mut fields) = Fields::of(node, "an action", problems) else { return (None, None) };
    let name = require_name(&mut fields, "action", problems);
    let title = fields.require_text("title", problems).map(str::to_owned);
    let undo =
        problems.under(Code::NoUndo.id(), |problems| require_name(&mut fields, "undo", problems));
    let description = fields.text("description", problems).map(str::to_owned);
    fields.finish(problems);
    let read =
        |name| Some(Action { name, title: title?, undo: undo?, description, at: node.at.clone() });
    (name.clone(), name.and_then(read))
}
