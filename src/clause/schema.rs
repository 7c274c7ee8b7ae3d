use crate::case::{EnricherShape, FIELDS, Field, Type, WindowId, WindowValue, field_named};
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
        about: "alerts of this case so far, this one included, or at least so many where some are forgotten; needs `group`",
    },
    Other {
        path: "counters.first_seen",
        slot: Slot::FirstSeen,
        of: Type::Time,
        about: "when the first of them came, unknown where some are forgotten; needs `group`",
    },
    Other {
        path: "now",
        slot: Slot::Now,
        of: Type::Time,
        about: "the moment of the ruling, as its record has it under `at`",
    },
];

/// A value of every window, by what stands behind its name.
pub(super) struct OfWindow {
    pub name: &'static str,
    pub of: WindowValue,
    pub about: &'static str,
}

pub(super) static WINDOWS: [OfWindow; 7] = [
    OfWindow {
        name: "count",
        of: WindowValue::Count,
        about: "alerts that it counts, this one included",
    },
    OfWindow { name: "first", of: WindowValue::First, about: "when the first of them happened" },
    OfWindow { name: "last", of: WindowValue::Last, about: "when the last of them happened" },
    OfWindow {
        name: "distinct.<field>",
        of: WindowValue::Distinct(0),
        about: "different values of a field among them, `source.ip` as `source_ip`; needs `distinct`",
    },
    OfWindow {
        name: "then.<name>",
        of: WindowValue::Then(0),
        about: "one of these came after one of them; needs `then`",
    },
    OfWindow {
        name: "baseline",
        of: WindowValue::Baseline,
        about: "how many are usual in as long; absent until the key was seen for so long; needs `baseline`",
    },
    OfWindow {
        name: "rate",
        of: WindowValue::Rate,
        about: "`count` as a multiple of `baseline`; needs `baseline`",
    },
];

/// What stands behind `exception.`, of a risk that people have accepted for a time.
pub(super) static EXCEPTION: [(&str, Type, &str); 8] = [
    (
        "active",
        Type::Bool,
        "true where people have accepted the risk of this credential of this NHI, until it ends",
    ),
    ("ends", Type::Time, "when that is over, and its case is people's again"),
    ("since", Type::Time, "when the order for it was accepted"),
    ("by", Type::Text, "who asked for it"),
    ("approvers", Type::List, "who approved it"),
    ("emergency", Type::Bool, "one person alone accepted it"),
    ("case_id", Type::Text, "the case that the order was about"),
    ("order", Type::Text, "the id of the order"),
];
const EXCEPTIONS: &str = "exception";

/// At the beginning of a name they are no name.
const WORDS: [&str; 5] = ["true", "false", "null", "in", "not"];

/// What conditions may name beside the alert's own fields: the enrichers, by index, and in a
/// playbook its windows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Schema {
    pub enrichers: Vec<EnricherShape>,
    pub windows: Vec<WindowShape>,
}

/// What a window is called and which values it has, by what stands behind its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowShape {
    pub name: Box<str>,
    pub id: WindowId,
    pub provides: Vec<(String, WindowValue)>,
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
    Window {
        id: WindowId,
        of: WindowValue,
    },
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
            Self::Field(_) | Self::Seen | Self::FirstSeen | Self::Window { .. } | Self::Now => None,
        }
    }

    /// Whether its value can be unknown: what an alert says is there or not.
    pub fn can_be_unknown(self) -> bool {
        matches!(self, Self::Fact { .. } | Self::Window { .. } | Self::Seen | Self::FirstSeen)
    }
}

impl Schema {
    /// With what is known without a file: accepted risks, which are a fact of the chain's own.
    #[must_use]
    pub fn with_exceptions(mut self) -> Self {
        let provides = EXCEPTION.iter().map(|(name, of, _)| ((*name).to_owned(), *of));
        self.enrichers
            .push(EnricherShape { name: EXCEPTIONS.into(), provides: provides.collect() });
        self
    }

    /// Index of that fact.
    pub fn exceptions(&self) -> Option<usize> {
        self.enricher(EXCEPTIONS).map(|(index, _)| index)
    }

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

    /// `<window>.<value>`
    fn window(&self, path: &str) -> Option<(Slot, Type)> {
        let (name, value) = path.split_once('.')?;
        let shape = self.windows.iter().find(|shape| *shape.name == *name)?;
        let (_, of) = shape.provides.iter().find(|(provided, _)| provided == value)?;
        Some((Slot::Window { id: shape.id, of: *of }, of.of()))
    }

    /// What a condition may name.
    pub(super) fn name(&self, path: &str) -> Option<(Slot, Type)> {
        let other = OTHERS.iter().find(|other| other.path == path);
        other.map(|other| (other.slot, other.of)).or_else(|| self.find(path))
    }

    /// An alert's field, a counter, a fact or a window's value. The alert's names win.
    pub fn find(&self, path: &str) -> Option<(Slot, Type)> {
        if let Some(field) = field_named(path) {
            return Some((Slot::Field(field), field.of()));
        }
        let counter = OTHERS.iter().find(|other| other.path == path && other.slot != Slot::Now);
        let counter = counter.map(|counter| (counter.slot, counter.of));
        counter.or_else(|| self.fact(path)).or_else(|| self.window(path))
    }

    /// Why an enricher may not be called so, if it may not.
    pub fn enricher_name_problem(name: &str) -> Option<String> {
        let mut others = OTHERS.iter().filter_map(|other| other.path.split('.').next());
        if others.any(|group| group == name) || FIELDS.iter().any(|info| info.group == name) {
            return Some(format!("`{name}` is the name of a part of every alert, choose another"));
        }
        if name == EXCEPTIONS {
            return Some(format!("`{name}` is what people have accepted, choose another name"));
        }
        if WORDS.contains(&name) {
            return Some(format!("`{name}` has a meaning in conditions, choose another name"));
        }
        Self::word_problem(name)
    }

    /// Why it can't be a part of a name, if it can't.
    pub fn word_problem(name: &str) -> Option<String> {
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
        let begins = |shape: &&WindowShape| {
            path == &*shape.name
                || path.split_once('.').is_some_and(|(name, _)| *name == *shape.name)
        };
        if let Some(shape) = self.windows.iter().find(begins) {
            let paths = values_of(shape);
            let hint = suggestion(path, paths.iter().map(String::as_str));
            let hint = if hint.is_empty() { format!(": {}", paths.join(", ")) } else { hint };
            return format!("window `{}` has no `{path}`{hint}", shape.name);
        }
        let mut paths: Vec<String> = FIELDS.iter().map(|info| info.path.to_owned()).collect();
        paths.extend(OTHERS.iter().map(|other| other.path.to_owned()));
        paths.extend(self.enrichers.iter().flat_map(paths_of));
        paths.extend(self.windows.iter().flat_map(values_of));
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

fn values_of(shape: &WindowShape) -> Vec<String> {
    shape.provides.iter().map(|(value, _)| format!("{}.{value}", shape.name)).collect()
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
            let enrichers = vec![EnricherShape { name: name.into(), provides }];
            let schema = Schema { enrichers, ..Schema::default() };
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
