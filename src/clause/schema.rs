use crate::case::{EnricherShape, FIELDS, Field, Type, field_named};
use crate::text::{At, suggestion};

/// What a condition may name beside the alert's fields and the facts.
pub(super) struct Other {
    pub path: &'static str,
    pub slot: Slot,
    pub of: Type,
    pub about: &'static str,
}

pub(super) static OTHERS: [Other; 3] = [
    Other {
        path: "counters.seen",
        slot: Slot::Seen,
        of: Type::Int,
        about: "alerts of this case so far, this one included; needs `group`",
    },
    Other {
        path: "counters.first_seen",
        slot: Slot::FirstSeen,
        of: Type::Time,
        about: "when the first of them came; needs `group`",
    },
    Other {
        path: "now",
        slot: Slot::Now,
        of: Type::Time,
        about: "the moment of the ruling, as its record has it under `at`",
    },
];

/// At the beginning of a name they are no name.
const WORDS: [&str; 5] = ["true", "false", "null", "in", "not"];

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
    Seen,
    FirstSeen,
    /// In conditions alone, since nothing is proved or grouped by it.
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
        let other = OTHERS.iter().find(|other| other.path == path);
        other.map(|other| (other.slot, other.of)).or_else(|| self.find(path))
    }

    /// An alert's field, a counter or a fact. The alert's names win.
    pub fn find(&self, path: &str) -> Option<(Slot, Type)> {
        if let Some(field) = field_named(path) {
            return Some((Slot::Field(field), field.of()));
        }
        let counter = OTHERS.iter().find(|other| other.path == path && other.slot != Slot::Now);
        counter.map(|counter| (counter.slot, counter.of)).or_else(|| self.fact(path))
    }

    /// Why an enricher may not be called so, if it may not.
    pub fn enricher_name_problem(name: &str) -> Option<String> {
        let mut others = OTHERS.iter().filter_map(|other| other.path.split('.').next());
        if others.any(|group| group == name) || FIELDS.iter().any(|info| info.group == name) {
            return Some(format!("`{name}` is the name of a part of every alert, choose another"));
        }
        if WORDS.contains(&name) {
            return Some(format!("`{name}` has a meaning in conditions, choose another name"));
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
        paths.extend(OTHERS.iter().map(|other| other.path.to_owned()));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clause::compile;
    use crate::text::Problems;

    #[test]
    fn an_enricher_is_called_by_a_word_that_a_condition_can_begin_with() {
        let words = ["in", "not", "true", "false", "null", "and", "or", "has", "exists", "r"];
        for name in words {
            let provides = words.map(|field| (field.to_owned(), Type::Bool)).to_vec();
            let schema = Schema { enrichers: vec![EnricherShape { name: name.into(), provides }] };
            let at = At { path: "f.yaml".into(), line: 1, column: 1 };
            let compiles =
                |text: &str| compile(text, &at, &schema, &mut Problems::default()).is_some();
            let is_refused = Schema::enricher_name_problem(name).is_some();
            for field in words {
                let text = format!("{name}.{field} && !{name}.{field} || {name}.{field} == true");
                assert_eq!(compiles(&text), !is_refused, "{text}");
            }
        }
    }
}
