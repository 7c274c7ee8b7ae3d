use crate::case::{Field, Type};
use crate::clause::{Condition, Slot};
use crate::policy::{Allow, Deny, Layer, Of, Require};

use super::Bounds;
use super::vocabulary::texts_of;

/// What somebody asks the boundary for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ask {
    Action(String),
    Suppress,
    /// A pipeline says that there is nothing to act on.
    NotAnAlert,
}

impl Ask {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Action(name) => name,
            Self::Suppress => "suppress",
            Self::NotAnAlert => "suppress not_an_alert",
        }
    }

    fn meets(&self, deny: &Deny) -> bool {
        let of = if matches!(self, Self::Action(_)) { Of::Escalate } else { Of::Suppress };
        deny.is_of(of)
    }
}

/// One boundary, asked for one thing.
pub(super) struct Judge<'b> {
    pub bounds: Bounds<'b>,
    pub ask: &'b Ask,
    /// Those that stand against it.
    pub denials: Vec<&'b Deny>,
}

impl<'b> Judge<'b> {
    pub(super) fn new(bounds: Bounds<'b>, ask: &'b Ask) -> Self {
        let all = bounds.boundary.layers.iter().flat_map(|layer| &layer.deny);
        let denials = all.filter(|deny| ask.meets(deny)).collect();
        Self { bounds, ask, denials }
    }

    pub(super) fn layers(&self) -> &'b [Layer] {
        &self.bounds.boundary.layers
    }

    pub(super) fn require(&self, layer: &'b Layer) -> Option<&'b Require> {
        match self.ask {
            Ask::Action(_) => Some(&layer.require_escalate),
            Ask::Suppress => Some(&layer.require_suppress),
            Ask::NotAnAlert => None,
        }
    }

    /// Rows of `allow` for this action; nothing where the layer does not narrow.
    pub(super) fn rows(&self, layer: &'b Layer) -> Option<Vec<&'b Allow>> {
        let Ask::Action(action) = self.ask else { return None };
        match &layer.allow {
            Some(rows) => Some(rows.iter().filter(|row| row.actions.contains(action)).collect()),
            None => layer.is_base.then(Vec::new),
        }
    }

    /// Where a name that is listed stands in this boundary's own schema, if it does.
    pub(super) fn slot(&self, path: &str) -> Option<Slot> {
        let found = self.bounds.schema.find(path);
        found.filter(|(_, of)| *of == Type::Text).map(|(slot, _)| slot)
    }

    /// Places that are tried value by value, with their names.
    pub(super) fn listed(&self) -> Vec<(Slot, String)> {
        let field = |field: Field| (Slot::Field(field), field.path().to_owned());
        let references = self.layers().iter().flat_map(|l| l.environment.iter().chain(&l.tier));
        let mut places = vec![field(Field::Kind)];
        places.extend(references.map(|fact| (fact.slot, fact.path.clone())));
        places.extend([field(Field::NhiKind), field(Field::Severity)]);
        places.retain(|(slot, _)| self.tells_apart(*slot));
        places
    }

    fn tells_apart(&self, slot: Slot) -> bool {
        let (texts, open) = self.texts_of(slot);
        let by_itself = match (self.ask, slot) {
            // A person is never contained automatically, nor what may be one.
            (Ask::Action(_), Slot::Field(Field::NhiKind)) => true,
            (Ask::Action(_), _) => false,
            (_, Slot::Field(Field::Severity)) => {
                let limits = self.layers().iter().filter_map(|layer| layer.suppress.as_ref());
                limits.into_iter().any(|limits| !limits.never_severity.is_empty())
            }
            _ => false,
        };
        let in_denial = self.denials.iter().any(|deny| names(&deny.when, slot));
        by_itself || in_denial || open || !texts.is_empty()
    }

    /// Texts that the boundary compares a place with, and whether it looks at it otherwise, too.
    pub(super) fn texts_of(&self, slot: Slot) -> (Vec<String>, bool) {
        let mut texts: Vec<String> = Vec::new();
        let mut is_open = false;
        for deny in &self.denials {
            match texts_of(&deny.when, slot) {
                Some(found) => texts.extend(found),
                None => is_open = true,
            }
        }
        for layer in self.layers() {
            for row in self.rows(layer).unwrap_or_default() {
                for (place, list) in lists(layer, row) {
                    if place == Some(slot) {
                        texts.extend(list.iter().flatten().cloned());
                    }
                }
            }
        }
        (texts, is_open)
    }

    /// Whether some combination of listed values leaves a denial undecided.
    pub(super) fn is_open(&self, deny: &Deny) -> bool {
        if !self.ask.meets(deny) {
            return false;
        }
        let listed = self.listed();
        let is_listed = |slot| listed.iter().any(|(each, _)| *each == slot);
        let clauses = deny.when.clauses();
        let mut names = clauses.iter().flat_map(|clause| clause.names());
        names.any(|name| !is_listed(name.slot) || texts_of(&deny.when, name.slot).is_none())
    }
}

pub(super) fn names(condition: &Condition, slot: Slot) -> bool {
    condition.clauses().iter().any(|clause| clause.names().iter().any(|name| name.slot == slot))
}

/// The lists of a row, each with what it is about.
pub(super) fn lists<'l>(
    layer: &Layer,
    row: &'l Allow,
) -> [(Option<Slot>, &'l Option<Vec<String>>); 4] {
    [
        (layer.environment.as_ref().map(|fact| fact.slot), &row.environments),
        (layer.tier.as_ref().map(|fact| fact.slot), &row.tiers),
        (Some(Slot::Field(Field::NhiKind)), &row.nhi_kinds),
        (Some(Slot::Field(Field::Kind)), &row.kinds),
    ]
}
