use std::borrow::Cow;
use std::cmp::Ordering;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use memchr::memmem::Finder;

use crate::case::{Because, Seen, Tri, Value, Verdict, Why};
use crate::text::At;

use super::operand::Operand;
use super::table::Relation;
use super::view::View;
use super::{Expression, Name, Orders, Scope, Slot};

/// One compiled condition, with the words it was written in.
#[derive(Debug, Clone)]
pub struct Clause {
    pub text: Box<str>,
    pub at: At,
    pub(super) ops: Box<[Op]>,
    pub(super) names: Box<[Name]>,
}

/// Postfix: leaves put a truth value on the stack, `And` and `Or` join the upper two.
#[derive(Debug, Clone)]
pub(super) enum Op {
    Leaf {
        test: Test,
        negated: bool,
    },
    /// Between both sides of an `And` (`Or`): where the left one is false (true), how many to pass
    /// over, which come to the same.
    UnlessFalse(usize),
    UnlessTrue(usize),
    And,
    Or,
}

#[derive(Debug, Clone)]
pub(super) enum Test {
    Constant(bool),
    Has(Slot),
    /// Whether a fact is unknown, for that reason if one is given.
    Unknown(Slot, Option<Why>),
    Is(Slot),
    Compare(Operand, Relation, Operand),
    In(Operand, Box<[Value<'static>]>),
    InList(Operand, Operand),
    Text(Operand, TextTest),
    Exists(Operand, TextTest),
    Cidr(Operand, IpNet),
}

/// What is asked about one text that is there.
#[derive(Debug, Clone)]
pub(super) enum TextTest {
    Is(Box<str>),
    In(Box<[Box<str>]>),
    StartsWith(Box<str>),
    EndsWith(Box<str>),
    Contains(Box<Finder<'static>>),
    Matches(Expression),
    Not(Box<TextTest>),
    Any(Box<[TextTest]>),
    All(Box<[TextTest]>),
}

/// What a test found, before negation.
enum Found {
    Holds(bool),
    Absent,
    Unknown,
}

/// Truth values waiting for their operator, two bits each.
pub(super) const STACK_MAX: usize = 32;

impl Clause {
    /// Does not allocate, does not fail, sees nothing but the scope.
    #[inline]
    pub fn eval(&self, scope: &Scope<'_>) -> Tri {
        match &*self.ops {
            [Op::Leaf { test, negated }] => test.eval(*negated, scope),
            ops => join(ops, scope),
        }
    }

    pub fn asks_for_unknown(&self) -> bool {
        self.asked_unknown().next().is_some()
    }

    /// The facts of which it asks whether they are unknown.
    pub fn asked_unknown(&self) -> impl Iterator<Item = Slot> {
        self.ops.iter().filter_map(|op| match op {
            Op::Leaf { test: Test::Unknown(slot, _), .. } => Some(*slot),
            _ => None,
        })
    }

    /// Whether a part of it holds because a fact is unknown: knowing the fact could undo it.
    pub(super) fn holds_by_unknown(&self, scope: &Scope<'_>) -> bool {
        self.ops.iter().any(|op| match op {
            Op::Leaf { test: test @ Test::Unknown(..), negated: false } => {
                test.eval(false, scope) == Tri::True
            }
            _ => false,
        })
    }

    /// Fields, facts and counters it names, each once.
    pub fn names(&self) -> &[Name] {
        &self.names
    }

    pub fn seen<'s>(&'s self, scope: &Scope<'_>) -> Vec<Seen<'s>> {
        let seen = |name: &'s Name| Seen {
            name: Cow::Borrowed(&*name.path),
            value: Cow::Owned(json(&scope.read(name.slot))),
        };
        self.names.iter().map(seen).collect()
    }

    /// `found` is what it came to.
    pub fn because<'s>(&'s self, found: Tri, scope: &Scope<'_>) -> Because<'s> {
        let (clause, verdict) = (Cow::Borrowed(&*self.text), Verdict::of(found));
        Because { clause, verdict, seen: self.seen(scope) }
    }

    /// The names for whose sake a part of this clause is unknown.
    pub(super) fn unknowns<'s>(&'s self, scope: &Scope<'_>, found: &mut Vec<&'s Name>) {
        for op in &self.ops {
            let Op::Leaf { test, negated } = op else { continue };
            if test.eval(*negated, scope) != Tri::Unknown {
                continue;
            }
            // Both sides of a comparison that can't be made are named, even where one is present:
            // consent must cover whatever the comparison rested on. `now` is known, and stands for
            // a calculation that names nothing else.
            let rested_on = || self.names.iter().filter(|name| test.uses(name.slot));
            let is_of_now = rested_on().all(|name| name.slot == Slot::Now);
            found.extend(rested_on().filter(|name| is_of_now || name.slot != Slot::Now));
        }
    }
}

pub(crate) fn json(value: &Value<'_>) -> String {
    match value {
        Value::Text(text) if stands_as_it_is(text) => ["\"", text, "\""].concat(),
        _ => serde_json::to_string(value).unwrap_or_default(),
    }
}

/// Whether nothing in it is escaped in JSON, as in most texts; no early end, so that many bytes
/// are looked at at once.
fn stands_as_it_is(text: &str) -> bool {
    text.bytes()
        .fold(true, |so_far, byte| so_far & (byte >= b' ') & (byte != b'"') & (byte != b'\\'))
}

/// Apart, so that a clause of one test does not pay for its stack.
#[inline(never)]
fn join(ops: &[Op], scope: &Scope<'_>) -> Tri {
    let mut stack = 0_u64;
    let mut at = 0;
    while let Some(op) = ops.get(at) {
        at += 1;
        match op {
            Op::Leaf { test, negated } => stack = stack << 2 | rank(test.eval(*negated, scope)),
            Op::UnlessFalse(over) if stack & 3 == rank(Tri::False) => at += over,
            Op::UnlessTrue(over) if stack & 3 == rank(Tri::True) => at += over,
            Op::UnlessFalse(_) | Op::UnlessTrue(_) => {}
            Op::And | Op::Or => {
                let (right, left) = (stack & 3, stack >> 2 & 3);
                let joined = if matches!(op, Op::And) { left.min(right) } else { left.max(right) };
                stack = stack >> 4 << 2 | joined;
            }
        }
    }
    match stack {
        2 => Tri::True,
        0 => Tri::False,
        _ => Tri::Unknown,
    }
}

const fn rank(value: Tri) -> u64 {
    match value {
        Tri::False => 0,
        Tri::Unknown => 1,
        Tri::True => 2,
    }
}

impl Test {
    /// INVARIANT (INV-4): an absent value makes the plain test false and the negated one unknown,
    /// and an unknown value makes both unknown. Only `has` answers about absence itself, and only
    /// `unknown` about what is unknown.
    fn eval(&self, negated: bool, scope: &Scope<'_>) -> Tri {
        if let Self::Unknown(slot, why) = self {
            return match scope.read(*slot) {
                // Whether it was known when the record was written is not known now.
                Value::Unknown(Why::NotRecorded) => Tri::Unknown,
                Value::Unknown(found) if !negated => Tri::of(why.is_none_or(|why| why == found)),
                // What it turned out to be could undo whatever rested on its being known.
                Value::Unknown(_) => Tri::Unknown,
                _ => Tri::of(negated),
            };
        }
        match self.find(scope) {
            Found::Holds(holds) => Tri::of(holds != negated),
            Found::Absent if !negated => Tri::False,
            Found::Absent | Found::Unknown => Tri::Unknown,
        }
    }

    #[inline]
    fn find(&self, scope: &Scope<'_>) -> Found {
        match self {
            Self::Constant(value) => Found::Holds(*value),
            Self::Has(slot) => match scope.view(*slot) {
                View::Unknown => Found::Unknown,
                value => Found::Holds(value.is_present()),
            },
            Self::Unknown(..) => Found::Unknown,
            Self::Is(slot) => match scope.view(*slot) {
                View::Bool(value) => Found::Holds(value),
                View::Absent => Found::Absent,
                _ => Found::Unknown,
            },
            Self::Text(of, test) => match of.stored(scope) {
                Some(Value::Text(text)) => Found::Holds(test.holds(text)),
                other => missing(other),
            },
            Self::Compare(left, relation, right) => compare(left, *relation, right, scope),
            Self::In(of, list) => among(of, list, scope),
            Self::InList(of, list) => match (of.stored(scope), list.stored(scope)) {
                (Some(Value::Text(text)), Some(Value::List(items))) => {
                    Found::Holds(items.iter().any(|item| **item == **text))
                }
                (Some(Value::Absent), _) | (_, Some(Value::Absent)) => Found::Absent,
                _ => Found::Unknown,
            },
            Self::Exists(of, test) => match of.stored(scope) {
                Some(Value::List(items)) => Found::Holds(items.iter().any(|item| test.holds(item))),
                other => missing(other),
            },
            Self::Cidr(of, network) => match of.stored(scope) {
                // A text that is no address is as good as none: it is in no network and out of
                // none.
                Some(Value::Text(text)) => {
                    within(network, text).map_or(Found::Absent, Found::Holds)
                }
                other => missing(other),
            },
        }
    }

    fn uses(&self, slot: Slot) -> bool {
        match self {
            Self::Constant(_) => false,
            Self::Has(of) | Self::Is(of) | Self::Unknown(of, _) => *of == slot,
            Self::Compare(left, _, right) | Self::InList(left, right) => {
                left.uses(slot) || right.uses(slot)
            }
            Self::In(of, _) | Self::Text(of, _) | Self::Exists(of, _) | Self::Cidr(of, _) => {
                of.uses(slot)
            }
        }
    }
}

impl TextTest {
    pub fn holds(&self, text: &str) -> bool {
        match self {
            Self::Is(wanted) => text == &**wanted,
            Self::In(list) => list.iter().any(|item| **item == *text),
            Self::StartsWith(part) => text.starts_with(&**part),
            Self::EndsWith(part) => text.ends_with(&**part),
            Self::Contains(part) => part.find(text.as_bytes()).is_some(),
            Self::Matches(pattern) => pattern.is_found(text),
            Self::Not(test) => !test.holds(text),
            Self::Any(tests) => tests.iter().any(|test| test.holds(text)),
            Self::All(tests) => tests.iter().all(|test| test.holds(text)),
        }
    }
}

/// Nothing when the text is no address.
#[inline(never)]
pub(super) fn within(network: &IpNet, text: &str) -> Option<bool> {
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Some(matches!(network, IpNet::V4(network) if network.contains(&address)));
    }
    let address = text.parse::<Ipv6Addr>().ok()?;
    Some(network.contains(&IpAddr::V6(address).to_canonical()))
}

/// A value of another type than declared can't be compared: unknown, toward people. Texts and
/// lists are never calculated, so they are always stored.
fn missing(value: Option<&Value<'_>>) -> Found {
    if let Some(Value::Absent) = value { Found::Absent } else { Found::Unknown }
}

#[inline(never)]
fn among(of: &Operand, list: &[Value<'_>], scope: &Scope<'_>) -> Found {
    match of.read(scope) {
        View::Absent => Found::Absent,
        View::Unknown | View::AtLeast(_) => Found::Unknown,
        value => Found::Holds(list.iter().any(|item| View::of(item) == value)),
    }
}

#[inline(never)]
fn compare(left: &Operand, relation: Relation, right: &Operand, scope: &Scope<'_>) -> Found {
    let (left, right) = (left.read(scope), right.read(scope));
    let Some(order) = left.order(right) else {
        if left == View::Absent || right == View::Absent {
            return Found::Absent;
        }
        let possible = left.orders(right);
        let settled = possible.and_then(|possible| Orders::of(relation).settle(possible));
        return settled.map_or(Found::Unknown, Found::Holds);
    };
    Found::Holds(match relation {
        Relation::Equal => order == Ordering::Equal,
        Relation::NotEqual => order != Ordering::Equal,
        Relation::Less => order == Ordering::Less,
        Relation::LessOrEqual => order != Ordering::Greater,
        Relation::Greater => order == Ordering::Greater,
        Relation::GreaterOrEqual => order != Ordering::Less,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_stands_in_json_as_its_library_writes_it() {
        for c in (0..0x250).filter_map(char::from_u32) {
            for text in [format!("{c}"), format!("arn:aws:iam::{c}123456789012:user")] {
                let expected = serde_json::to_string(&text).unwrap();
                assert_eq!(json(&Value::Text(text.into())), expected);
            }
        }
    }
}
