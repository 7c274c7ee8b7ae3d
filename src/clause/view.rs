use std::cmp::Ordering;

use crate::case::{Decimal, Value};

use super::Orders;

/// A value as conditions look at it: copied, never dropped.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum View<'v> {
    Absent,
    Unknown,
    Bool(bool),
    Int(i64),
    AtLeast(i64),
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
            Value::List(items) => Self::List(items),
            value => Self::of_copied(value),
        }
    }

    /// Of a value without text in it.
    #[inline]
    pub fn of_copied(value: &Value<'_>) -> Self {
        match value {
            Value::Text(_) | Value::List(_) => Self::Unknown,
            Value::Absent => Self::Absent,
            Value::Unknown(_) => Self::Unknown,
            Value::Bool(value) => Self::Bool(*value),
            Value::Int(value) => Self::Int(*value),
            Value::AtLeast(value) => Self::AtLeast(*value),
            Value::Decimal(value) => Self::Decimal(*value),
            Value::Time(value) => Self::Time(value.0),
            Value::Duration(value) => Self::Duration(*value),
        }
    }

    /// How the two may stand to each other, where one of them is only known to be so much or more.
    pub fn orders(self, other: Self) -> Option<Orders> {
        match (self, other) {
            (Self::AtLeast(least), other) => {
                let order = Self::Int(least).order(other)?;
                Some(Orders { less: order.is_lt(), equal: order.is_le(), greater: true })
            }
            (one, Self::AtLeast(_)) => other.orders(one).map(Orders::flipped),
            (one, other) => one.order(other).map(Orders::only),
        }
    }

    /// Nothing where the two can't be compared, or one of them is not there.
    #[inline]
    pub fn order(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(one), Self::Int(other))
            | (Self::Duration(one), Self::Duration(other))
            | (Self::Time(one), Self::Time(other)) => Some(one.cmp(&other)),
            (one, other) => one.order_of_others(other),
        }
    }

    #[inline(never)]
    fn order_of_others(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Decimal(one), Self::Decimal(other)) => Some(one.cmp(&other)),
            (Self::Int(one), Self::Decimal(other)) => Some(Decimal::from(one).cmp(&other)),
            (Self::Decimal(one), Self::Int(other)) => Some(one.cmp(&Decimal::from(other))),
            (Self::Bool(one), Self::Bool(other)) => Some(one.cmp(&other)),
            (Self::Text(one), Self::Text(other)) => Some(one.cmp(other)),
            _ => None,
        }
    }

    pub fn is_present(self) -> bool {
        !matches!(self, Self::Absent | Self::Unknown)
    }
}
