use crate::case::Value;

use super::view::View;
use super::{Scope, Slot};

/// What is compared.
#[derive(Debug, Clone)]
// With a tag of its own: to read it out of what is inside takes five instructions.
#[repr(u8)]
pub(super) enum Operand {
    Literal(Value<'static>),
    Slot(Slot),
    /// Now minus the time.
    Age(Slot),
    Size(Box<Operand>),
    Plus(Box<(Operand, Operand)>),
    Minus(Box<(Operand, Operand)>),
}

impl Operand {
    #[inline]
    pub fn read<'s>(&'s self, scope: &Scope<'s>) -> View<'s> {
        self.stored(scope).map_or_else(|| self.calculate(scope), View::of)
    }

    /// The value where it stands; nothing where it is calculated.
    #[inline]
    pub fn stored<'s>(&'s self, scope: &Scope<'s>) -> Option<&'s Value<'s>> {
        match self {
            Self::Slot(slot) => scope.stored(*slot),
            Self::Literal(value) => Some(value),
            Self::Age(_) | Self::Size(_) | Self::Plus(_) | Self::Minus(_) => None,
        }
    }

    #[inline(never)]
    fn calculate<'s>(&'s self, scope: &Scope<'s>) -> View<'s> {
        match self {
            Self::Slot(slot) => scope.view(*slot),
            Self::Literal(value) => View::of(value),
            Self::Age(slot) => minus(View::Time(scope.now.0), scope.view(*slot)),
            Self::Size(of) => size(of.read(scope)),
            Self::Plus(both) => plus(both.0.read(scope), both.1.read(scope)),
            Self::Minus(both) => minus(both.0.read(scope), both.1.read(scope)),
        }
    }

    pub fn uses(&self, wanted: Slot) -> bool {
        match self {
            Self::Literal(_) => false,
            Self::Slot(slot) => *slot == wanted,
            Self::Age(slot) => *slot == wanted || wanted == Slot::Now,
            Self::Size(of) => of.uses(wanted),
            Self::Plus(both) | Self::Minus(both) => both.0.uses(wanted) || both.1.uses(wanted),
        }
    }
}

fn size(of: View<'_>) -> View<'_> {
    let size = match of {
        View::Text(text) => text.chars().count(),
        View::List(items) => items.len(),
        View::Absent => return View::Absent,
        _ => return View::Unknown,
    };
    View::Int(i64::try_from(size).unwrap_or(i64::MAX))
}

fn plus<'v>(left: View<'v>, right: View<'v>) -> View<'v> {
    match (left, right) {
        (View::Time(left), View::Duration(right)) | (View::Duration(left), View::Time(right)) => {
            left.checked_add(right).map_or(View::Unknown, View::Time)
        }
        (View::Duration(left), View::Duration(right)) => {
            left.checked_add(right).map_or(View::Unknown, View::Duration)
        }
        _ => missing(left, right),
    }
}

fn minus<'v>(left: View<'v>, right: View<'v>) -> View<'v> {
    match (left, right) {
        (View::Time(left), View::Time(right)) | (View::Duration(left), View::Duration(right)) => {
            left.checked_sub(right).map_or(View::Unknown, View::Duration)
        }
        (View::Time(left), View::Duration(right)) => {
            left.checked_sub(right).map_or(View::Unknown, View::Time)
        }
        _ => missing(left, right),
    }
}

/// Absent if one of them is: so it stays whatever the other turns out to be. What can't be
/// calculated is unknown, toward people.
fn missing<'v>(left: View<'v>, right: View<'v>) -> View<'v> {
    let is_absent = left == View::Absent || right == View::Absent;
    if is_absent { View::Absent } else { View::Unknown }
}
