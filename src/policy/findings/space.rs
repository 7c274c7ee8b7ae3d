use crate::case::Type;
use crate::clause::{Atom, Condition, Orders, Schema, Slot, Subject, Tree};

use super::domain::{Case, Found, Limits, cases, subject};

/// Some of the three truth values: what a condition can still turn out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Truths(u8);

impl Truths {
    pub const NONE: Self = Self(0);
    pub const FALSE: Self = Self(1);
    pub const UNKNOWN: Self = Self(2);
    pub const TRUE: Self = Self(4);
    pub const ALL: Self = Self(7);

    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// The values of `a && b`, for every value of both.
    fn both(self, other: Self) -> Self {
        let false_ = (self.0 | other.0) & 1;
        let true_ = self.0 & other.0 & 4;
        let open = |a: u8, b: u8| a & 2 != 0 && b & 6 != 0;
        let unknown = if open(self.0, other.0) || open(other.0, self.0) { 2 } else { 0 };
        Self(false_ | unknown | true_)
    }

    fn either(self, other: Self) -> Self {
        self.mirrored().both(other.mirrored()).mirrored()
    }

    fn mirrored(self) -> Self {
        Self((self.0 & 1) << 2 | self.0 & 2 | self.0 >> 2)
    }

    fn of(found: Found, negated: bool) -> Self {
        match found {
            Found::Holds(holds) if holds != negated => Self::TRUE,
            Found::Absent if negated => Self::UNKNOWN,
            Found::Holds(_) | Found::Absent => Self::FALSE,
            Found::Unknown => Self::UNKNOWN,
        }
    }
}

/// A condition over the variables of a [`Space`].
#[derive(Debug, Clone)]
pub(super) enum Formula {
    All(Vec<Self>),
    Any(Vec<Self>),
    Leaf { leaf: Leaf, negated: bool },
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Leaf {
    Constant(bool),
    /// A value by itself, and the place of the test among those of the value.
    Value {
        variable: usize,
        place: usize,
    },
    Pair {
        order: usize,
        orders: Orders,
    },
    Other,
}

struct Value<'c> {
    slot: Slot,
    atoms: Vec<Atom<'c>>,
    /// Nothing when there are too many to be told apart: the value stays open.
    cases: Option<Vec<Case>>,
}

/// Which of two values is greater, where both are there.
struct Order {
    left: Subject,
    right: Subject,
    values: (usize, usize),
}

/// All that conditions rest on, as variables with finitely many cases. It holds every situation
/// that there can be, and some that there cannot: what is found in none of them is in no real one.
#[derive(Default)]
pub(super) struct Space<'c> {
    values: Vec<Value<'c>>,
    orders: Vec<Order>,
}

/// How a search ended. Only `Nowhere` proves something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Search {
    Somewhere,
    Nowhere,
    GaveUp,
}

/// LIMIT: steps of one search.
const STEPS_MAX: usize = 20_000;

/// A condition and what it is wanted to be.
pub(super) type Wanted<'f> = (&'f Formula, Truths);

impl<'c> Space<'c> {
    pub fn condition(&mut self, condition: &'c Condition) -> Formula {
        self.formula(condition.tree())
    }

    pub fn formula(&mut self, tree: Tree<'c>) -> Formula {
        match tree {
            Tree::All(parts) => {
                Formula::All(parts.into_iter().map(|part| self.formula(part)).collect())
            }
            Tree::Any(parts) => {
                Formula::Any(parts.into_iter().map(|part| self.formula(part)).collect())
            }
            Tree::Leaf { atom, negated } => Formula::Leaf { leaf: self.leaf(atom), negated },
        }
    }

    fn leaf(&mut self, atom: Atom<'c>) -> Leaf {
        match atom {
            Atom::Constant(value) => Leaf::Constant(value),
            Atom::Other => Leaf::Other,
            Atom::Pair(left, orders, right) => self.pair(left, orders, right),
            atom => match subject(&atom) {
                Some(of) => {
                    let variable = self.value(of.slot);
                    let Some(value) = self.values.get_mut(variable) else { return Leaf::Other };
                    value.atoms.push(atom);
                    Leaf::Value { variable, place: value.atoms.len() - 1 }
                }
                None => Leaf::Other,
            },
        }
    }

    fn value(&mut self, slot: Slot) -> usize {
        if let Some(known) = self.values.iter().position(|value| value.slot == slot) {
            return known;
        }
        // Its first test says whether it is there: a comparison of two values asks for that.
        self.values.push(Value { slot, atoms: vec![Atom::Has(slot)], cases: None });
        self.values.len() - 1
    }

    fn pair(&mut self, left: Subject, orders: Orders, right: Subject) -> Leaf {
        if right < left {
            return self.pair(right, orders.flipped(), left);
        }
        let values = (self.value(left.slot), self.value(right.slot));
        let known = self.orders.iter().position(|each| (each.left, each.right) == (left, right));
        let order = known.unwrap_or_else(|| {
            self.orders.push(Order { left, right, values });
            self.orders.len() - 1
        });
        Leaf::Pair { order, orders }
    }

    /// Works out the cases, when every condition was added.
    pub fn close(&mut self, schema: &Schema, limits: impl Fn(Slot) -> Limits) {
        for value in &mut self.values {
            let of = type_of(value.slot, schema);
            value.cases =
                of.and_then(|of| cases(value.slot, of, &value.atoms, &limits(value.slot)));
        }
    }

    /// Whether there is a situation in which every condition is as wanted.
    pub fn search(&self, wanted: &[Wanted<'_>], with_unknowns: bool) -> Search {
        let mut walk = Walk {
            space: self,
            with_unknowns,
            values: vec![None; self.values.len()],
            orders: vec![None; self.orders.len()],
            steps: 0,
        };
        walk.search(wanted)
    }

    pub fn is_nowhere(&self, wanted: &[Wanted<'_>]) -> bool {
        self.search(wanted, true) == Search::Nowhere
    }
}

fn type_of(slot: Slot, schema: &Schema) -> Option<Type> {
    match slot {
        Slot::Field(field) => Some(field.of()),
        Slot::Seen => Some(Type::Int),
        Slot::FirstSeen | Slot::Now => Some(Type::Time),
        Slot::Window { of, .. } => Some(of.of()),
        Slot::Fact { enricher, field } => {
            schema.enrichers.get(enricher)?.provides.get(field).map(|(_, of)| *of)
        }
    }
}

enum Open {
    Value(usize),
    Order(usize),
}

struct Walk<'s, 'c> {
    space: &'s Space<'c>,
    with_unknowns: bool,
    values: Vec<Option<&'s Case>>,
    orders: Vec<Option<std::cmp::Ordering>>,
    steps: usize,
}

impl<'s> Walk<'s, '_> {
    fn search(&mut self, wanted: &[Wanted<'_>]) -> Search {
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return Search::GaveUp;
        }
        let mut unsettled = None;
        for (formula, truths) in wanted {
            let now = self.truths(formula);
            if !now.meets(*truths) {
                return Search::Nowhere;
            }
            if unsettled.is_none() && !now.is_within(*truths) {
                unsettled = self.open(formula);
            }
        }
        match unsettled {
            // Either all is as wanted, or what is left can't be told apart.
            None => Search::Somewhere,
            Some(Open::Value(variable)) => self.try_values(variable, wanted),
            Some(Open::Order(order)) => self.try_orders(order, wanted),
        }
    }

    fn try_values(&mut self, variable: usize, wanted: &[Wanted<'_>]) -> Search {
        let space = self.space;
        let cases = space.values.get(variable).and_then(|value| value.cases.as_ref());
        let tried =
            cases.into_iter().flatten().filter(|case| self.with_unknowns || !case.is_unknown);
        let tried: Vec<&'s Case> = tried.collect();
        self.try_all(tried, wanted, |walk, case| {
            if let Some(value) = walk.values.get_mut(variable) {
                *value = case;
            }
        })
    }

    fn try_orders(&mut self, order: usize, wanted: &[Wanted<'_>]) -> Search {
        use std::cmp::Ordering::{Equal, Greater, Less};
        let same = |each: &Order| each.left == each.right;
        let is_same = self.space.orders.get(order).is_some_and(same);
        let tried = if is_same { vec![Equal] } else { vec![Less, Equal, Greater] };
        self.try_all(tried, wanted, |walk, found| {
            if let Some(each) = walk.orders.get_mut(order) {
                *each = found;
            }
        })
    }

    fn try_all<T>(
        &mut self,
        all: Vec<T>,
        wanted: &[Wanted<'_>],
        set: impl Fn(&mut Self, Option<T>),
    ) -> Search {
        for each in all {
            set(self, Some(each));
            let found = self.search(wanted);
            if found != Search::Nowhere {
                return found;
            }
        }
        set(self, None);
        Search::Nowhere
    }

    fn truths(&self, formula: &Formula) -> Truths {
        match formula {
            Formula::All(parts) => {
                parts.iter().fold(Truths::TRUE, |so_far, part| so_far.both(self.truths(part)))
            }
            Formula::Any(parts) => {
                parts.iter().fold(Truths::FALSE, |so_far, part| so_far.either(self.truths(part)))
            }
            Formula::Leaf { leaf, negated } => self.leaf(*leaf, *negated),
        }
    }

    fn leaf(&self, leaf: Leaf, negated: bool) -> Truths {
        match leaf {
            Leaf::Constant(value) => Truths::of(Found::Holds(value), negated),
            Leaf::Other => Truths::ALL,
            Leaf::Value { variable, place } => {
                let of = |case: &Case| {
                    case.found.get(place).map_or(Truths::ALL, |found| Truths::of(*found, negated))
                };
                if let Some(case) = self.values.get(variable).copied().flatten() {
                    return of(case);
                }
                match self.space.values.get(variable).and_then(|value| value.cases.as_ref()) {
                    Some(cases) => {
                        let allowed =
                            cases.iter().filter(|case| self.with_unknowns || !case.is_unknown);
                        allowed.fold(Truths::NONE, |so_far, case| so_far.or(of(case)))
                    }
                    None => Truths::ALL,
                }
            }
            Leaf::Pair { order, orders } => self.compared(order, orders, negated),
        }
    }

    fn compared(&self, order: usize, orders: Orders, negated: bool) -> Truths {
        let Some(pair) = self.space.orders.get(order) else { return Truths::ALL };
        let case = |variable: usize| self.values.get(variable).copied().flatten();
        let (Some(left), Some(right)) = (case(pair.values.0), case(pair.values.1)) else {
            return Truths::ALL;
        };
        let is_absent = |case: &Case| case.found.first() == Some(&Found::Holds(false));
        if is_absent(left) || is_absent(right) {
            return Truths::of(Found::Absent, negated);
        }
        if left.is_unknown || right.is_unknown {
            return Truths::of(Found::Unknown, negated);
        }
        match self.orders.get(order).copied().flatten() {
            Some(found) => Truths::of(Found::Holds(orders.has(found)), negated),
            None => Truths::TRUE.or(Truths::FALSE),
        }
    }

    /// Something that a condition rests on and that is still open.
    fn open(&self, formula: &Formula) -> Option<Open> {
        match formula {
            Formula::All(parts) | Formula::Any(parts) => {
                // What is settled already needs no further look.
                let unsettled = parts.iter().filter(|part| !self.is_single(part));
                unsettled.filter_map(|part| self.open(part)).next()
            }
            Formula::Leaf { leaf, .. } => match leaf {
                Leaf::Constant(_) | Leaf::Other => None,
                Leaf::Value { variable, .. } => self.open_value(*variable),
                Leaf::Pair { order, .. } => {
                    let pair = self.space.orders.get(*order)?;
                    let values = self.open_value(pair.values.0);
                    let values = values.or_else(|| self.open_value(pair.values.1));
                    let is_open = self.orders.get(*order).copied().flatten().is_none();
                    values.or(is_open.then_some(Open::Order(*order)))
                }
            },
        }
    }

    fn is_single(&self, formula: &Formula) -> bool {
        self.truths(formula).0.count_ones() == 1
    }

    fn open_value(&self, variable: usize) -> Option<Open> {
        let has_cases = self.space.values.get(variable)?.cases.is_some();
        let is_open = self.values.get(variable).copied().flatten().is_none();
        (has_cases && is_open).then_some(Open::Value(variable))
    }
}
