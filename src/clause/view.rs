use crate::case::{Decimal, Value};

/// A value as conditions look at it: copied, never dropped.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum View<'v> {
    Absent,
    Unknown,
    Bool(bool),
    Int(i64),
    Decimal(Decimal),
    Time(i64),
    Duration(i64),
    Text(&'v str),
    List(&'v [Box<str>]),
}

impl<'v> View<'v> {
    #[inline]
    pub fn of(value: &'v Value<'_>) -> Self {
        match value {
            Value::Text(text) => Self::Text(text),
            Value::Absent => Self::Absent,
            Value::Unknown(_) => Self::Unknown,
            Value::Bool(value) => Self::Bool(*value),
            Value::Int(value) => Self::Int(*value),
            Value::Decimal(value) => Self::Decimal(*value),
            Value::Time(value) => Self::Time(value.0),
            Value::Duration(value) => Self::Duration(*value),
            Value::List(items) => Self::List(items),
        }
    }

    pub fn is_present(self) -> bool {
        !matches!(self, Self::Absent | Self::Unknown)
    }
}
