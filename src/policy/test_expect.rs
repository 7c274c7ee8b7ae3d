use crate::case::{Priority, Reason};
use crate::text::{At, Data, Fields, Node, Problems, suggestion};

use super::playbook::Playbook;
use super::read::{one_of, priority};

/// What a ruling must be. Only what is written is compared.
#[derive(Debug, Clone)]
pub struct Expect {
    pub at: At,
    pub fate: Expected,
    /// All that is written beside it, in the order of [`WHATS`].
    pub rest: Vec<Expected>,
}

/// One line of an expectation, and where it stands.
#[derive(Debug, Clone)]
pub struct Expected {
    /// `route`, `suppress`, `escalate` or `hold`, or one of [`WHATS`].
    pub what: &'static str,
    /// The queue, the suppression's reason or the action; a rule; verdicts with a comma between.
    pub value: String,
    pub key_at: At,
    pub value_at: At,
}

pub const FATES: [&str; 4] = ["route", "suppress", "escalate", "hold"];
/// What else can be expected: the rule, the reason, the priority, the queue (of an escalation,
/// too), the action that the boundary blocked, and exactly those of its verdicts that refused.
pub const WHATS: [&str; 6] = ["rule", "reason", "priority", "queue", "blocked", "refused_by"];
/// Of a priority, a queue or a blocked action that there is not.
pub const NONE: &str = "none";

pub(super) fn expect(node: &Node, playbook: &Playbook, problems: &mut Problems) -> Option<Expect> {
    let mut fields = Fields::of(node, "`expect`", problems)?;
    let mut fates = Vec::new();
    for what in FATES {
        if let Some(value) = fields.text(what, problems) {
            fates.extend(placed(node, what, value.to_owned()));
        }
    }
    let mut rest = Vec::new();
    for what in WHATS {
        let Some(value_node) = fields.get(what) else { continue };
        let value = match what {
            "refused_by" => verdicts(&fields.texts(what, problems)),
            _ => fields.text(what, problems).unwrap_or_default().to_owned(),
        };
        check(what, &value, value_node, playbook, problems);
        rest.extend(placed(node, what, value));
    }
    fields.finish(problems);
    let [fate] = <[_; 1]>::try_from(fates).ok().or_else(|| {
        problems.add(&node.at, "must be exactly one of `route`, `suppress`, `escalate`, `hold`");
        None
    })?;
    Some(Expect { at: node.at.clone(), fate, rest })
}

/// In the order of their names, so that it does not matter in which they are written.
pub fn verdicts<T>(names: &[(&str, T)]) -> String {
    let mut names: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

fn placed(node: &Node, what: &'static str, value: String) -> Option<Expected> {
    let Data::Map(entries) = &node.data else { return None };
    let (key, written) = entries.iter().find(|(key, _)| key.text() == Some(what))?;
    Some(Expected { what, value, key_at: key.at.clone(), value_at: written.at.clone() })
}

fn check(what: &str, value: &str, node: &Node, playbook: &Playbook, problems: &mut Problems) {
    match what {
        // The rule that is meant may be one with a mistake in it, which is told already.
        "rule" if playbook.has_all_rules => {
            let ids = || playbook.rules.iter().map(|rule| rule.id.as_str()).chain([NONE]);
            if ids().all(|id| id != value) {
                let hint = suggestion(value, ids());
                problems.add(&node.at, format!("this playbook has no rule `{value}`{hint}"));
            }
        }
        "reason" => drop(one_of(node, "reason", Reason::ALL, Reason::code, problems)),
        "priority" if value != NONE => drop::<Option<Priority>>(priority(node, problems)),
        _ => {}
    }
}
