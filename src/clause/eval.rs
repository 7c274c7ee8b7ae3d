use std::borrow::Cow;

use ipnet::IpNet;
use memchr::memmem::Finder;

use crate::case::{Because, Seen, Tri, Value, Verdict, Why};
use crate::pattern::{Expression, after, before, is_same};
use crate::text::At;

use super::address::within;
use super::operand::Operand;
use super::table::Relation;
use super::view::View;
use super::{Name, Orders, Scope, Slot};

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
// With a tag of its own: to read it out of what is inside takes five instructions.
#[repr(u8)]
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
    /// Each kind of test is a function of its own, so that none pays for the registers of another.
    #[inline]
    fn eval(&self, negated: bool, scope: &Scope<'_>) -> Tri {
        match self {
            Self::Constant(value) => Tri::of(*value != negated),
            Self::Has(slot) => has(*slot, negated, scope),
            Self::Unknown(slot, why) => is_unknown(*slot, *why, negated, scope),
            Self::Is(slot) => is(*slot, negated, scope),
            Self::Compare(left, relation, right) => {
                compare((left, *relation, right), negated, scope)
            }
            Self::In(of, list) => among(of, list, negated, scope),
            Self::InList(of, list) => in_list(of, list, negated, scope),
            Self::Text(of, test) => text(of, test, negated, scope),
            Self::Exists(of, test) => exists(of, test, negated, scope),
            Self::Cidr(of, network) => cidr(of, network, negated, scope),
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
    #[inline]
    pub fn holds(&self, text: &str) -> bool {
        match self {
            Self::Is(wanted) => is_same(text.as_bytes(), wanted.as_bytes()),
            Self::In(list) => is_one_of(text, list),
            Self::StartsWith(part) => after(text.as_bytes(), part.as_bytes()).is_some(),
            Self::EndsWith(part) => before(text.as_bytes(), part.as_bytes()).is_some(),
            Self::Contains(part) => is_in(text, part),
            Self::Matches(pattern) => pattern.is_found(text),
            Self::Not(_) | Self::Any(_) | Self::All(_) => self.joins(text),
        }
    }

    #[inline(never)]
    fn joins(&self, text: &str) -> bool {
        match self {
            Self::Not(test) => !test.holds(text),
            Self::Any(tests) => tests.iter().any(|test| test.holds(text)),
            Self::All(tests) => tests.iter().all(|test| test.holds(text)),
            single => single.holds(text),
        }
    }
}

#[inline(never)]
fn is_one_of(text: &str, items: &[Box<str>]) -> bool {
    items.iter().any(|item| is_same(item.as_bytes(), text.as_bytes()))
}

#[inline(never)]
fn is_in(text: &str, part: &Finder<'_>) -> bool {
    part.find(text.as_bytes()).is_some()
}

impl Found {
    /// INVARIANT (INV-4): an absent value makes the plain test false and the negated one unknown,
    /// and an unknown value makes both unknown. Only `has` answers about absence itself, and only
    /// `unknown` about what is unknown.
    #[inline]
    fn negated(self, negated: bool) -> Tri {
        match self {
            Self::Holds(holds) => Tri::of(holds != negated),
            Self::Absent if !negated => Tri::False,
            Self::Absent | Self::Unknown => Tri::Unknown,
        }
    }
}

#[inline(never)]
fn is_unknown(slot: Slot, why: Option<Why>, negated: bool, scope: &Scope<'_>) -> Tri {
    match scope.read(slot) {
        // Whether it was known when the record was written is not known now.
        Value::Unknown(Why::NotRecorded) => Tri::Unknown,
        Value::Unknown(found) if !negated => Tri::of(why.is_none_or(|why| why == found)),
        // What it turned out to be could undo whatever rested on its being known.
        Value::Unknown(_) => Tri::Unknown,
        _ => Tri::of(negated),
    }
}

#[inline(never)]
fn has(slot: Slot, negated: bool, scope: &Scope<'_>) -> Tri {
    match scope.view(slot) {
        View::Unknown => Tri::Unknown,
        value => Tri::of(value.is_present() != negated),
    }
}

#[inline(never)]
fn is(slot: Slot, negated: bool, scope: &Scope<'_>) -> Tri {
    let found = match scope.view(slot) {
        View::Bool(value) => Found::Holds(value),
        View::Absent => Found::Absent,
        _ => Found::Unknown,
    };
    found.negated(negated)
}

#[inline(never)]
fn text(of: &Operand, test: &TextTest, negated: bool, scope: &Scope<'_>) -> Tri {
    match of.stored(scope) {
        Some(Value::Text(text)) => Tri::of(test.holds(text) != negated),
        other => missing(other).negated(negated),
    }
}

#[inline(never)]
fn exists(of: &Operand, test: &TextTest, negated: bool, scope: &Scope<'_>) -> Tri {
    match of.stored(scope) {
        Some(Value::List(items)) => Tri::of(items.iter().any(|item| test.holds(item)) != negated),
        other => missing(other).negated(negated),
    }
}

#[inline(never)]
fn in_list(of: &Operand, list: &Operand, negated: bool, scope: &Scope<'_>) -> Tri {
    let found = match (of.stored(scope), list.stored(scope)) {
        (Some(Value::Text(text)), Some(Value::List(items))) => Found::Holds(is_one_of(text, items)),
        (Some(Value::Absent), _) | (_, Some(Value::Absent)) => Found::Absent,
        _ => Found::Unknown,
    };
    found.negated(negated)
}

/// A text that is no address is as good as none: it is in no network and out of none.
#[inline(never)]
fn cidr(of: &Operand, network: &IpNet, negated: bool, scope: &Scope<'_>) -> Tri {
    let found = match of.stored(scope) {
        Some(Value::Text(text)) => within(network, text).map_or(Found::Absent, Found::Holds),
        other => missing(other),
    };
    found.negated(negated)
}

/// A value of another type than declared can't be compared: unknown, toward people. Texts and
/// lists are never calculated, so they are always stored.
fn missing(value: Option<&Value<'_>>) -> Found {
    if let Some(Value::Absent) = value { Found::Absent } else { Found::Unknown }
}

#[inline(never)]
fn among(of: &Operand, list: &[Value<'_>], negated: bool, scope: &Scope<'_>) -> Tri {
    let found = match of.read(scope) {
        View::Absent => Found::Absent,
        View::Unknown | View::AtLeast(_) => Found::Unknown,
        value => Found::Holds(list.iter().any(|item| View::of(item) == value)),
    };
    found.negated(negated)
}

#[inline(never)]
fn compare(
    (left, relation, right): (&Operand, Relation, &Operand),
    negated: bool,
    scope: &Scope<'_>,
) -> Tri {
    let (left, right) = (left.read(scope), right.read(scope));
    match left.order(right) {
        Some(order) => Tri::of(Orders::of(relation).has(order) != negated),
        None => unordered(left, relation, right).negated(negated),
    }
}

#[inline(never)]
fn unordered(left: View<'_>, relation: Relation, right: View<'_>) -> Found {
    let possible = match (left, right) {
        (View::Absent, _) | (_, View::Absent) => return Found::Absent,
        (View::AtLeast(_), _) | (_, View::AtLeast(_)) => left.orders(right),
        _ => None,
    };
    let settled = possible.and_then(|possible| Orders::of(relation).settle(possible));
    settled.map_or(Found::Unknown, Found::Holds)
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
