use std::cmp::Ordering;

use ipnet::IpNet;

use crate::case::Value;

use super::Slot;
use super::eval::{Clause, Op, Operand, Test};
use super::parse::Relation;

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
    Compare(Subject, Orders, &'c Value<'static>),
    In(Subject, &'c [Value<'static>]),
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern<'c> {
    StartsWith(&'c str),
    EndsWith(&'c str),
    Contains(&'c str),
    Matches(&'c str),
    /// A text that is no address counts as absent.
    Network(IpNet),
}

impl Orders {
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

    fn of(relation: Relation) -> Self {
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
        let pattern = |of: &Operand, pattern| match of.subject() {
            Some(subject) => Atom::Pattern(subject, pattern),
            None => Atom::Other,
        };
        match self {
            Self::Constant(value) => Atom::Constant(*value),
            Self::Has(slot) => Atom::Has(*slot),
            Self::Is(slot) => {
                let subject = Subject { slot: *slot, is_age: false };
                Atom::Compare(subject, Orders::of(Relation::Equal), &Value::Bool(true))
            }
            Self::Compare(left, relation, right) => compared(left, Orders::of(*relation), right),
            Self::In(of, list) => of.subject().map_or(Atom::Other, |of| Atom::In(of, list)),
            Self::StartsWith(of, part) => pattern(of, Pattern::StartsWith(part)),
            Self::EndsWith(of, part) => pattern(of, Pattern::EndsWith(part)),
            Self::Contains(of, part) => pattern(of, Pattern::Contains(part)),
            Self::Matches(of, regex) => pattern(of, Pattern::Matches(regex.as_str())),
            Self::Cidr(of, network) => pattern(of, Pattern::Network(*network)),
        }
    }
}

fn compared<'c>(left: &'c Operand, orders: Orders, right: &'c Operand) -> Atom<'c> {
    match (left, right) {
        (Operand::Literal(value), of) => match of.subject() {
            Some(subject) => Atom::Compare(subject, orders.flipped(), value),
            None => Atom::Other,
        },
        (of, Operand::Literal(value)) => match of.subject() {
            Some(subject) => Atom::Compare(subject, orders, value),
            None => Atom::Other,
        },
        (left, right) => match (left.subject(), right.subject()) {
            (Some(left), Some(right)) => Atom::Pair(left, orders, right),
            _ => Atom::Other,
        },
    }
}

impl Operand {
    fn subject(&self) -> Option<Subject> {
        match self {
            Self::Literal(_) => None,
            Self::Slot(slot) => Some(Subject { slot: *slot, is_age: false }),
            Self::Age(slot) => Some(Subject { slot: *slot, is_age: true }),
        }
    }
}
