use crate::clause::{Atom, Condition, Slot, Subject, Tree};

/// The texts that a value is compared with. Nothing where a clause looks at it in another way, by a
/// pattern or an order: then no list of texts stands for all that it can be.
pub(super) fn texts_of(condition: &Condition, slot: Slot) -> Option<Vec<String>> {
    let mut found = Vec::new();
    for clause in condition.clauses() {
        let is_named = clause.names().iter().any(|name| name.slot == slot);
        if is_named && !collect(&clause.tree(), slot, &mut found) {
            return None;
        }
    }
    Some(found)
}

fn collect(tree: &Tree<'_>, slot: Slot, found: &mut Vec<String>) -> bool {
    let is_it = |subject: &Subject| subject.slot == slot;
    let atom = match tree {
        Tree::All(parts) | Tree::Any(parts) => {
            return parts.iter().all(|part| collect(part, slot, found));
        }
        Tree::Leaf { atom, .. } => atom,
    };
    match atom {
        Atom::Constant(_) | Atom::Has(_) => true,
        Atom::Compare(subject, orders, value) if is_it(subject) => {
            found.extend(value.text().map(str::to_owned));
            orders.less == orders.greater && value.text().is_some()
        }
        Atom::In(subject, values) if is_it(subject) => {
            found.extend(values.iter().filter_map(|value| value.text()).map(str::to_owned));
            values.iter().all(|value| value.text().is_some())
        }
        Atom::Compare(..) | Atom::In(..) => true,
        Atom::Pattern(subject, _) => !is_it(subject),
        Atom::Pair(left, _, right) => !is_it(left) && !is_it(right),
        // It may rest on any name of its clause.
        Atom::Other => false,
    }
}
