use crate::case::{Millis, Value, Why};

use super::{Scope, Slot};

/// What is compared.
#[derive(Debug, Clone)]
pub(super) enum Operand {
    Literal(Value<'static>),
    Slot(Slot),
    Size(Box<Operand>),
    Plus(Box<(Operand, Operand)>),
    Minus(Box<(Operand, Operand)>),
}

impl Operand {
    #[inline]
    pub fn read<'s>(&'s self, scope: &Scope<'s>) -> Value<'s> {
        match self {
            Self::Slot(slot) => scope.read(*slot),
            Self::Literal(value) => value.borrowed(),
            Self::Size(of) => size(&of.read(scope)),
            Self::Plus(both) => plus(&both.0.read(scope), &both.1.read(scope)),
            Self::Minus(both) => minus(&both.0.read(scope), &both.1.read(scope)),
        }
    }

    pub fn uses(&self, wanted: Slot) -> bool {
        match self {
            Self::Literal(_) => false,
            Self::Slot(slot) => *slot == wanted,
            Self::Size(of) => of.uses(wanted),
            Self::Plus(both) | Self::Minus(both) => both.0.uses(wanted) || both.1.uses(wanted),
        }
    }
}

fn size(of: &Value<'_>) -> Value<'static> {
    let size = match of {
        Value::Text(text) => text.chars().count(),
        Value::List(items) => items.len(),
        other => return missing(other, &Value::Bool(true)),
    };
    Value::Int(i64::try_from(size).unwrap_or(i64::MAX))
}

fn plus(left: &Value<'_>, right: &Value<'_>) -> Value<'static> {
    match (left, right) {
        (Value::Time(Millis(time)), Value::Duration(duration))
        | (Value::Duration(duration), Value::Time(Millis(time))) => {
            in_range(time.checked_add(*duration).map(|time| Value::Time(Millis(time))))
        }
        (Value::Duration(left), Value::Duration(right)) => {
            in_range(left.checked_add(*right).map(Value::Duration))
        }
        _ => missing(left, right),
    }
}

fn minus(left: &Value<'_>, right: &Value<'_>) -> Value<'static> {
    match (left, right) {
        (Value::Time(Millis(left)), Value::Time(Millis(right)))
        | (Value::Duration(left), Value::Duration(right)) => {
            in_range(left.checked_sub(*right).map(Value::Duration))
        }
        (Value::Time(Millis(time)), Value::Duration(duration)) => {
            in_range(time.checked_sub(*duration).map(|time| Value::Time(Millis(time))))
        }
        _ => missing(left, right),
    }
}

/// What can't be calculated is unknown, toward people.
fn in_range(value: Option<Value<'static>>) -> Value<'static> {
    value.unwrap_or(Value::Unknown(Why::Error))
}

/// Absent if one of them is: so it stays whatever the other turns out to be.
fn missing(left: &Value<'_>, right: &Value<'_>) -> Value<'static> {
    match (left, right) {
        (Value::Absent, _) | (_, Value::Absent) => Value::Absent,
        (Value::Unknown(why), _) | (_, Value::Unknown(why)) => Value::Unknown(*why),
        _ => Value::Unknown(Why::Error),
    }
}
