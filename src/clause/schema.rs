use crate::case::{EnricherShape, FIELDS, Field, Type, field_named};
use crate::text::{At, suggestion};

use super::table::NOW;

/// What conditions may name beside the alert's own fields: the enrichers, by index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Schema {
    pub enrichers: Vec<EnricherShape>,
}

/// Where a value is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    Field(Field),
    /// Index of the enricher in the schema, and of the field in its `provides`.
    Fact {
        enricher: usize,
        field: usize,
    },
    /// `counters.seen`
    Seen,
    /// `counters.first_seen`
    FirstSeen,
    /// `now`: in conditions alone, since nothing is proved or grouped by it.
    Now,
}

/// A name in a condition, as it is written, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    pub path: Box<str>,
    pub slot: Slot,
    pub at: At,
}

impl Slot {
    /// Index of the enricher whose fact it is.
    pub fn enricher(self) -> Option<usize> {
        match self {
            Self::Fact { enricher, .. } => Some(enricher),
            Self::Field(_) | Self::Seen | Self::FirstSeen | Self::Now => None,
        }
    }
}

impl Schema {
    /// Index of the enricher and its shape.
    pub fn enricher(&self, name: &str) -> Option<(usize, &EnricherShape)> {
        self.enrichers.iter().enumerate().find(|(_, shape)| *shape.name == *name)
    }

    /// `<enricher>.<field>`
    pub fn fact(&self, path: &str) -> Option<(Slot, Type)> {
        let (group, name) = path.split_once('.')?;
        let (enricher, shape) = self.enricher(group)?;
        let field = shape.provides.iter().position(|(provided, _)| provided == name)?;
        shape.provides.get(field).map(|(_, of)| (Slot::Fact { enricher, field }, *of))
    }

    /// What a condition may name.
    pub(super) fn name(&self, path: &str) -> Option<(Slot, Type)> {
        if path == NOW { Some((Slot::Now, Type::Time)) } else { self.find(path) }
    }

    /// An alert's field, a counter or a fact. The alert's names win.
    pub fn find(&self, path: &str) -> Option<(Slot, Type)> {
        if let Some(field) = field_named(path) {
            return Some((Slot::Field(field), field.of()));
        }
        match path {
            "counters.seen" => Some((Slot::Seen, Type::Int)),
            "counters.first_seen" => Some((Slot::FirstSeen, Type::Time)),
            _ => self.fact(path),
        }
    }

    /// Why an enricher may not be called so, if it may not.
    pub fn enricher_name_problem(name: &str) -> Option<String> {
        if name == "counters" || name == NOW || FIELDS.iter().any(|info| info.group == name) {
            return Some(format!("`{name}` is the name of a part of every alert, choose another"));
        }
        let mut chars = name.chars();
        let starts = chars.next().is_some_and(|c| c.is_ascii_lowercase());
        if starts && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
            return None;
        }
        Some(format!(
            "`{name}` can't be written in a condition: use lower-case letters, digits and `_`"
        ))
    }

    pub(crate) fn unknown_name(&self, path: &str) -> String {
        if let Some((_, shape)) = path.split_once('.').and_then(|(group, _)| self.enricher(group)) {
            let paths = paths_of(shape);
            let hint = suggestion(path, paths.iter().map(String::as_str));
            return format!("`{}` provides no `{path}`{hint}", shape.name);
        }
        let mut paths: Vec<String> = FIELDS.iter().map(|info| info.field.path()).collect();
        paths.extend(["counters.seen", "counters.first_seen", NOW].map(str::to_owned));
        paths.extend(self.enrichers.iter().flat_map(paths_of));
        let hint = suggestion(path, paths.iter().map(String::as_str));
        if hint.is_empty() && !path.contains('.') {
            return format!("unknown name `{path}`; text stands in quotes: \"{path}\"");
        }
        format!("unknown name `{path}`{hint}")
    }
}

fn paths_of(shape: &EnricherShape) -> Vec<String> {
    shape.provides.iter().map(|(name, _)| format!("{}.{name}", shape.name)).collect()
}
