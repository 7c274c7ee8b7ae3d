use std::cmp::Ordering;

use ipnet::IpNet;

use crate::case::Value;
use crate::pattern::Expression;

use super::Slot;
use super::address::within;
use super::eval::{Clause, Op, Test, TextTest};
use super::operand::Operand;
use super::table::Relation;
use super::view::View;

/// A condition as a tree, for those who reason about it instead of evaluating it. Negation stands
/// at the leaves.
#[derive(Debug, Clone)]
pub enum Tree<'c> {
    All(Vec<Self>),
    Any(Vec<Self>),
    Leaf { atom: Atom<'c>, negated: bool },
}

/// One test of one clause. Each says how it treats absence: false, and unknown where negated;
/// only `Has` answers about it.
#[derive(Debug, Clone)]
pub enum Atom<'c> {
    Constant(bool),
    Has(Slot),
    /// True when the order of subject and literal is one of these.
    Compare(Subject, Orders, Value<'c>),
    In(Subject, Vec<Value<'c>>),
    Pattern(Subject, Pattern<'c>),
    Pair(Subject, Orders, Subject),
    /// Nothing more is said of it than that it rests on the names of its clause.
    Other,
}

/// What is compared: a name's value, or for a time its age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject {
    pub slot: Slot,
    pub is_age: bool,
}

/// Some of less, equal and greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Orders {
    pub less: bool,
    pub equal: bool,
    pub greater: bool,
}

#[derive(Debug, Clone, Copy)]
pub enum Pattern<'c> {
    StartsWith(&'c str),
    EndsWith(&'c str),
    Contains(&'c str),
    Matches(&'c Expression),
    /// A text that is no address counts as absent.
    Network(IpNet),
}

impl Pattern<'_> {
    /// Nothing for a text that counts as absent.
    pub fn fits(&self, text: &str) -> Option<bool> {
        match self {
            Self::StartsWith(part) => Some(text.starts_with(part)),
            Self::EndsWith(part) => Some(text.ends_with(part)),
            Self::Contains(part) => Some(text.contains(part)),
            Self::Matches(pattern) => Some(pattern.is_found(text)),
            Self::Network(network) => within(network, text),
        }
    }
}

impl PartialEq for Pattern<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::StartsWith(one), Self::StartsWith(other))
            | (Self::EndsWith(one), Self::EndsWith(other))
            | (Self::Contains(one), Self::Contains(other)) => one == other,
            (Self::Matches(one), Self::Matches(other)) => one.as_str() == other.as_str(),
            (Self::Network(one), Self::Network(other)) => one == other,
            _ => false,
        }
    }
}

impl Orders {
    /// Nothing where the two can't be compared, or one of them is not there.
    pub fn hold(self, left: &Value<'_>, right: &Value<'_>) -> Option<bool> {
        self.settle(View::of(left).orders(View::of(right))?)
    }

    /// Whether it holds for all that is possible, or for none; nothing where it depends.
    pub(super) fn settle(self, possible: Self) -> Option<bool> {
        let Self { less, equal, greater } = possible;
        let each = [(less, self.less), (equal, self.equal), (greater, self.greater)];
        let mut answers = each.into_iter().filter(|(is_possible, _)| *is_possible);
        let (_, first) = answers.next()?;
        answers.all(|(_, holds)| holds == first).then_some(first)
    }

    pub(super) fn only(order: Ordering) -> Self {
        Self { less: order.is_lt(), equal: order.is_eq(), greater: order.is_gt() }
    }

    pub fn has(self, order: Ordering) -> bool {
        match order {
            Ordering::Less => self.less,
            Ordering::Equal => self.equal,
            Ordering::Greater => self.greater,
        }
    }

    /// Of the two sides exchanged.
    pub fn flipped(self) -> Self {
        Self { less: self.greater, equal: self.equal, greater: self.less }
    }

    pub(super) fn of(relation: Relation) -> Self {
        let (less, equal, greater) = match relation {
            Relation::Equal => (false, true, false),
            Relation::NotEqual => (true, false, true),
            Relation::Less => (true, false, false),
            Relation::LessOrEqual => (true, true, false),
            Relation::Greater => (false, false, true),
            Relation::GreaterOrEqual => (false, true, true),
        };
        Self { less, equal, greater }
    }
}

impl Clause {
    pub fn tree(&self) -> Tree<'_> {
        let mut waiting: Vec<Tree<'_>> = Vec::new();
        for op in &self.ops {
            let joined = match op {
                Op::Leaf { test, negated } => Tree::Leaf { atom: test.atom(), negated: *negated },
                Op::UnlessFalse(_) | Op::UnlessTrue(_) => continue,
                Op::And | Op::Or => {
                    let right = waiting.pop();
                    let both: Vec<Tree<'_>> = waiting.pop().into_iter().chain(right).collect();
                    if matches!(op, Op::And) { Tree::All(both) } else { Tree::Any(both) }
                }
            };
            waiting.push(joined);
        }
        waiting.pop().unwrap_or(Tree::All(Vec::new()))
    }
}

impl Test {
    fn atom(&self) -> Atom<'_> {
        match self {
            Self::Constant(value) => Atom::Constant(*value),
            Self::Has(slot) => Atom::Has(*slot),
            Self::Is(slot) => match subject(*slot) {
                Some(subject) => {
                    Atom::Compare(subject, Orders::of(Relation::Equal), Value::Bool(true))
                }
                None => Atom::Other,
            },
            Self::Compare(left, relation, right) => compared(left, Orders::of(*relation), right),
            Self::In(of, list) => match of.subject() {
                Some(subject) => Atom::In(subject, list.iter().map(Value::borrowed).collect()),
                None => Atom::Other,
            },
            Self::Text(of, test) => of.subject().map_or(Atom::Other, |of| test.atom(of)),
            Self::Cidr(of, network) => match of.subject() {
                Some(subject) => Atom::Pattern(subject, Pattern::Network(*network)),
                None => Atom::Other,
            },
            Self::InList(..) | Self::Exists(..) | Self::Unknown(..) => Atom::Other,
        }
    }
}

impl TextTest {
    fn atom(&self, of: Subject) -> Atom<'_> {
        let text = |text: &'_ str| Value::Text(text.to_owned().into());
        match self {
            Self::Is(is) => Atom::Compare(of, Orders::of(Relation::Equal), text(is)),
            Self::In(list) => Atom::In(of, list.iter().map(|each| text(each)).collect()),
            Self::StartsWith(part) => Atom::Pattern(of, Pattern::StartsWith(part)),
            Self::EndsWith(part) => Atom::Pattern(of, Pattern::EndsWith(part)),
            Self::Contains(part) => match std::str::from_utf8(part.needle()) {
                Ok(part) => Atom::Pattern(of, Pattern::Contains(part)),
                Err(_) => Atom::Other,
            },
            Self::Matches(pattern) => Atom::Pattern(of, Pattern::Matches(pattern)),
            Self::Not(test) => match &**test {
                Self::Is(is) => Atom::Compare(of, Orders::of(Relation::NotEqual), text(is)),
                _ => Atom::Other,
            },
            Self::Any(_) | Self::All(_) => Atom::Other,
        }
    }
}

fn compared<'c>(left: &'c Operand, orders: Orders, right: &'c Operand) -> Atom<'c> {
    match (left, right) {
        (Operand::Literal(value), of) => match of.subject() {
            Some(subject) => Atom::Compare(subject, orders.flipped(), value.borrowed()),
            None => Atom::Other,
        },
        (of, Operand::Literal(value)) => match of.subject() {
            Some(subject) => Atom::Compare(subject, orders, value.borrowed()),
            None => Atom::Other,
        },
        (left, right) => match (left.subject(), right.subject()) {
            (Some(left), Some(right)) => Atom::Pair(left, orders, right),
            _ => Atom::Other,
        },
    }
}

impl Operand {
    /// Nothing of what is calculated, but for an age.
    fn subject(&self) -> Option<Subject> {
        match self {
            Self::Slot(slot) => subject(*slot),
            Self::Age(slot) => subject(*slot).map(|of| Subject { is_age: true, ..of }),
            Self::Literal(_) | Self::Size(_) | Self::Plus(_) | Self::Minus(_) => None,
        }
    }
}

fn subject(slot: Slot) -> Option<Subject> {
    (slot != Slot::Now).then_some(Subject { slot, is_age: false })
}
