use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use super::{Decimal, Millis};

/// Why a fact is unknown. An error is never an absence (INV-4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    Error,
    Timeout,
    Stale,
    Conflict,
    /// The alert does not have the field that the lookup needs as its key.
    NoKey,
    /// A comparison was negated over a value that is not there: absence makes nothing true.
    Absent,
    /// A ruling is made again from a record that does not hold the fact.
    NotRecorded,
    /// A window, or a case, no longer has all that was in it.
    Forgotten,
}

impl Why {
    /// Those for which a fact is unknown.
    pub const OF_FACTS: [Self; 5] =
        [Self::Error, Self::Timeout, Self::Stale, Self::Conflict, Self::NoKey];

    pub fn code(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Timeout => "timeout",
            Self::Stale => "stale",
            Self::Conflict => "conflict",
            Self::NoKey => "no_key",
            Self::Absent => "absent",
            Self::NotRecorded => "not_recorded",
            Self::Forgotten => "forgotten",
        }
    }

    /// For people.
    pub fn about(self) -> &'static str {
        match self {
            Self::Error => "the source failed",
            Self::Timeout => "the source did not answer in time",
            Self::Stale => "the entry is older than the playbook allows",
            Self::Conflict => "sources contradict each other",
            Self::NoKey => "the alert does not name what the source is asked by",
            Self::Absent => "there is nothing to compare",
            Self::NotRecorded => "the record does not hold it",
            Self::Forgotten => "not all that was counted is remembered",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Type {
    Bool,
    Int,
    Decimal,
    Time,
    Duration,
    Text,
    /// Of texts.
    List,
}

impl Type {
    pub const ALL: [Self; 7] =
        [Self::Bool, Self::Int, Self::Decimal, Self::Time, Self::Duration, Self::Text, Self::List];

    pub fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Decimal => "decimal",
            Self::Time => "time",
            Self::Duration => "duration",
            Self::Text => "text",
            Self::List => "list",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|each| each.name() == name)
    }

    /// How a value of it is written, for people.
    pub fn about(self) -> &'static str {
        match self {
            Self::Bool => "true or false",
            Self::Int => "a whole number",
            Self::Decimal => "a decimal of at most 18 digits: 7.25",
            Self::Time => "a time in RFC 3339: 2026-01-31T12:00:00Z",
            Self::Duration => "a duration: 90s, 15m, 6h or 30d",
            Self::Text => "text",
            Self::List => "a list of texts: [\"a\", \"b\"], or `a; b` in a CSV cell",
        }
    }
}

/// A value of an alert field, a fact field or a condition's operand. There are no floats.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Value<'a> {
    #[default]
    Absent,
    Unknown(Why),
    Bool(bool),
    Int(i64),
    /// An int of which only this much is known.
    AtLeast(i64),
    Decimal(Decimal),
    Time(Millis),
    /// Milliseconds.
    Duration(i64),
    Text(Cow<'a, str>),
    List(Arc<[Box<str>]>),
}

impl<'a> Value<'a> {
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn time(&self) -> Option<Millis> {
        match self {
            Self::Time(time) => Some(*time),
            _ => None,
        }
    }

    pub fn is_present(&self) -> bool {
        !matches!(self, Self::Absent | Self::Unknown(_))
    }

    pub fn borrowed(&self) -> Value<'_> {
        match self {
            Self::Text(text) => Value::Text(Cow::Borrowed(text)),
            Self::Absent => Value::Absent,
            Self::Unknown(why) => Value::Unknown(*why),
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(value) => Value::Int(*value),
            Self::AtLeast(value) => Value::AtLeast(*value),
            Self::Decimal(value) => Value::Decimal(*value),
            Self::Time(value) => Value::Time(*value),
            Self::Duration(value) => Value::Duration(*value),
            Self::List(items) => Value::List(Arc::clone(items)),
        }
    }

    pub fn into_owned(self) -> Value<'static> {
        match self {
            Self::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Self::Absent => Value::Absent,
            Self::Unknown(why) => Value::Unknown(why),
            Self::Bool(value) => Value::Bool(value),
            Self::Int(value) => Value::Int(value),
            Self::AtLeast(value) => Value::AtLeast(value),
            Self::Decimal(value) => Value::Decimal(value),
            Self::Time(value) => Value::Time(value),
            Self::Duration(value) => Value::Duration(value),
            Self::List(items) => Value::List(items),
        }
    }

    /// Reads a cell of a table or a JSON scalar that was kept as text. Nothing when it does not
    /// fit.
    pub fn read(of: Type, text: &'a str) -> Option<Self> {
        match of {
            Type::Bool => text.parse().ok().map(Self::Bool),
            Type::Int => text.parse().ok().map(Self::Int),
            Type::Decimal => Decimal::parse(text).map(Self::Decimal),
            Type::Time => Millis::parse(text).map(Self::Time),
            Type::Duration => super::parse_duration(text).map(Self::Duration),
            Type::Text => Some(Self::Text(Cow::Borrowed(text))),
            Type::List => list(text).map(|items| Self::List(items.into())),
        }
    }
}

/// A JSON array of texts, or what stands between semicolons.
fn list(text: &str) -> Option<Vec<Box<str>>> {
    if text.starts_with('[') {
        return serde_json::from_str(text).ok();
    }
    let items = text.split(';').map(str::trim).filter(|item| !item.is_empty());
    Some(items.map(Into::into).collect())
}

/// As JSON: absent is `null`, unknown is `{"unknown":"why"}`, an int that may be more
/// `{"at_least":64}`, a duration is text with its unit, a
/// decimal is text: readers would make a float of it.
impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Absent => serializer.serialize_unit(),
            Self::Unknown(why) => serializer.collect_map([("unknown", why.code())]),
            Self::AtLeast(value) => serializer.collect_map([("at_least", value)]),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::Decimal(value) => serializer.collect_str(value),
            Self::Time(value) => value.serialize(serializer),
            Self::Duration(value) => serializer.serialize_str(&super::duration_text(*value)),
            Self::Text(value) => serializer.serialize_str(value),
            Self::List(items) => serializer.collect_seq(items.iter()),
        }
    }
}

/// Kleene's three truth values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tri {
    True,
    False,
    Unknown,
}

impl Tri {
    pub fn of(value: bool) -> Self {
        if value { Self::True } else { Self::False }
    }

    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::False, _) | (_, Self::False) => Self::False,
            (Self::True, Self::True) => Self::True,
            _ => Self::Unknown,
        }
    }

    pub fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::True, _) | (_, Self::True) => Self::True,
            (Self::False, Self::False) => Self::False,
            _ => Self::Unknown,
        }
    }
}
