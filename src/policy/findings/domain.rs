use crate::case::{Field, Millis, Type, Value};
use crate::clause::{Atom, Orders, Pattern, Slot, Subject};

/// What a test finds, before negation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Holds(bool),
    Absent,
    Unknown,
}

/// One of the ways in which a value can turn out, as far as the tests at hand can tell.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub is_unknown: bool,
    /// By place of the atom.
    pub found: Vec<Found>,
}

/// What is known of a value before any rule is read.
#[derive(Debug, Clone, Default)]
pub(super) struct Limits {
    /// It is there and one of these.
    pub only: Option<Vec<String>>,
    pub is_absent: bool,
    pub least: Option<i64>,
}

/// LIMIT: patterns over one value; with more of them nothing is claimed about it.
const PATTERNS_MAX: usize = 6;
/// LIMIT: values times the tests of them; with more, nothing is claimed either.
const ANSWERS_MAX: usize = 1 << 20;

/// Every way in which the value of one slot can turn out for these atoms, all of which are about it
/// alone. More ways than there really are never lead to a wrong claim, fewer would.
///
/// Errors: nothing when there are too many, or a value is of a type that is not known here.
pub(super) fn cases(
    slot: Slot,
    of: Type,
    atoms: &[Atom<'_>],
    limits: &Limits,
) -> Option<Vec<Case>> {
    let absent = |atom: &Atom<'_>| match atom {
        Atom::Has(_) => Found::Holds(false),
        _ => Found::Absent,
    };
    let mut cases = Vec::new();
    if limits.only.is_none() {
        // What an alert says is there or not.
        if !limits.is_absent && slot.can_be_unknown() {
            let found = atoms.iter().map(|_| Found::Unknown).collect();
            cases.push(Case { is_unknown: true, found });
        }
        cases.push(Case { is_unknown: false, found: atoms.iter().map(absent).collect() });
    }
    if limits.is_absent {
        return Some(cases);
    }
    let present: Vec<Vec<Found>> = if of == Type::Text {
        texts(slot, atoms, limits)?
    } else if of == Type::Time {
        times(atoms, limits)?
    } else {
        let values: Vec<Value<'static>> = if of == Type::Bool {
            [true, false].map(Value::Bool).into()
        } else if of == Type::Int {
            numbers(atoms, false, limits)?.into_iter().map(Value::Int).collect()
        } else if of == Type::Duration {
            numbers(atoms, false, limits)?.into_iter().map(Value::Duration).collect()
        } else {
            return None;
        };
        bounded(values.len(), atoms)?;
        values.iter().map(|value| tested(atoms, value)).collect()
    };
    cases.extend(present.into_iter().map(|found| Case { is_unknown: false, found }));
    if matches!(slot, Slot::Window { .. } | Slot::Seen) && of == Type::Int {
        // Of a count it may only be known that it is so much or more.
        let least = numbers(atoms, false, limits)?.into_iter().map(Value::AtLeast);
        let open = least.map(|value| tested(atoms, &value));
        cases.extend(open.map(|found| Case { is_unknown: true, found }));
    }
    Some(cases)
}

/// Errors: nothing when there are too many.
fn bounded(values: usize, atoms: &[Atom<'_>]) -> Option<()> {
    (values.checked_mul(atoms.len())? <= ANSWERS_MAX).then_some(())
}

fn tested(atoms: &[Atom<'_>], value: &Value<'_>) -> Vec<Found> {
    atoms.iter().map(|atom| test(atom, value)).collect()
}

/// A value that is there, against one atom.
fn test(atom: &Atom<'_>, value: &Value<'_>) -> Found {
    match atom {
        Atom::Has(_) => Found::Holds(true),
        Atom::Compare(_, orders, literal) => {
            orders.hold(value, literal).map_or(Found::Unknown, Found::Holds)
        }
        Atom::In(..) if matches!(value, Value::AtLeast(_)) => Found::Unknown,
        Atom::In(_, list) => Found::Holds(list.iter().any(|item| item == value)),
        Atom::Pattern(_, pattern) => match value.text() {
            Some(text) => pattern.fits(text).map_or(Found::Absent, Found::Holds),
            None => Found::Unknown,
        },
        Atom::Constant(_) | Atom::Pair(..) | Atom::Other => Found::Unknown,
    }
}

fn literals<'a>(atoms: &'a [Atom<'_>], is_age: bool) -> Vec<&'a Value<'a>> {
    let mut found: Vec<&Value<'_>> = Vec::new();
    for atom in atoms {
        match atom {
            Atom::Compare(subject, _, literal) if subject.is_age == is_age => found.push(literal),
            Atom::In(subject, list) if subject.is_age == is_age => found.extend(list.iter()),
            _ => {}
        }
    }
    found
}

/// Every number that something is compared with, and its neighbors: between two of them all
/// numbers are alike.
fn numbers(atoms: &[Atom<'_>], is_age: bool, limits: &Limits) -> Option<Vec<i64>> {
    let mut found = Vec::new();
    for literal in literals(atoms, is_age) {
        let (Value::Int(number) | Value::Duration(number) | Value::Time(Millis(number))) = literal
        else {
            return None;
        };
        found.extend([number.checked_sub(1), Some(*number), number.checked_add(1)]);
    }
    let mut found: Vec<i64> = found.into_iter().flatten().collect();
    if found.is_empty() {
        found.push(0);
    }
    if let Some(least) = limits.least {
        found.push(least);
        found.retain(|number| *number >= least);
    }
    found.sort_unstable();
    found.dedup();
    Some(found)
}

/// Of a time and of its age: what the clock says joins them, so that every pair is possible.
fn times(atoms: &[Atom<'_>], limits: &Limits) -> Option<Vec<Vec<Found>>> {
    let (times, ages) = (numbers(atoms, false, limits)?, numbers(atoms, true, limits)?);
    bounded(times.len().checked_mul(ages.len())?, atoms)?;
    let mut found = Vec::new();
    for time in &times {
        for age in &ages {
            let of = |atom: &Atom<'_>| match subject(atom) {
                Some(subject) if subject.is_age => test(atom, &Value::Duration(*age)),
                _ => test(atom, &Value::Time(Millis(*time))),
            };
            found.push(atoms.iter().map(of).collect());
        }
    }
    Some(found)
}

pub(super) fn subject(atom: &Atom<'_>) -> Option<Subject> {
    match atom {
        Atom::Has(slot) => Some(Subject { slot: *slot, is_age: false }),
        Atom::Compare(subject, ..) | Atom::In(subject, _) | Atom::Pattern(subject, _) => {
            Some(*subject)
        }
        Atom::Constant(_) | Atom::Pair(..) | Atom::Other => None,
    }
}

/// Every text that something is compared with, the words the value is limited to, and any other
/// text, for which the patterns may be true and false in every way that is not excluded.
fn texts(slot: Slot, atoms: &[Atom<'_>], limits: &Limits) -> Option<Vec<Vec<Found>>> {
    let words: Option<Vec<&str>> = match (&limits.only, slot) {
        (Some(only), _) => Some(only.iter().map(String::as_str).collect()),
        (None, Slot::Field(field)) => field.words().map(<[&str]>::to_vec),
        (None, _) => None,
    };
    let of = |text: &&str| tested(atoms, &Value::Text((*text).into()));
    if let Some(words) = words {
        bounded(words.len(), atoms)?;
        return Some(words.iter().map(of).collect());
    }
    // First, since with too many patterns the rest need not be matched with them.
    let mut found = other_texts(atoms)?;
    let mut named: Vec<&str> = Vec::new();
    for literal in literals(atoms, false) {
        named.push(literal.text()?);
    }
    named.sort_unstable();
    named.dedup();
    bounded(named.len(), atoms)?;
    found.extend(named.iter().map(of));
    Some(found)
}

/// A text that equals none of those that are named.
fn other_texts(atoms: &[Atom<'_>]) -> Option<Vec<Vec<Found>>> {
    let mut patterns: Vec<Pattern<'_>> = Vec::new();
    for atom in atoms {
        if let Atom::Pattern(_, pattern) = atom
            && !patterns.contains(pattern)
        {
            patterns.push(*pattern);
        }
    }
    if patterns.len() > PATTERNS_MAX {
        return None;
    }
    let mut found = Vec::new();
    for is_address in [false, true] {
        for chosen in 0_u32..1 << patterns.len() {
            let holds = |place: usize| chosen >> place & 1 == 1;
            let of: Vec<(Pattern<'_>, bool)> =
                patterns.iter().enumerate().map(|(place, each)| (*each, holds(place))).collect();
            if !are_possible(&of, is_address) {
                continue;
            }
            let answer = |atom: &Atom<'_>| match atom {
                Atom::Has(_) => Found::Holds(true),
                Atom::Compare(_, orders, _) => unequal(*orders),
                Atom::In(..) => Found::Holds(false),
                Atom::Pattern(_, Pattern::Network(_)) if !is_address => Found::Absent,
                Atom::Pattern(_, pattern) => {
                    Found::Holds(of.iter().any(|(each, holds)| each == pattern && *holds))
                }
                Atom::Constant(_) | Atom::Pair(..) | Atom::Other => Found::Unknown,
            };
            found.push(atoms.iter().map(answer).collect());
        }
    }
    Some(found)
}

/// Texts are only compared for equality; an order of them is left open.
fn unequal(orders: Orders) -> Found {
    if orders.less == orders.greater { Found::Holds(orders.less) } else { Found::Unknown }
}

/// Whether some text could be answered like this. In doubt it could.
fn are_possible(of: &[(Pattern<'_>, bool)], is_address: bool) -> bool {
    of.iter().all(|(one, one_holds)| {
        let is_moot = matches!(one, Pattern::Network(_)) && !is_address;
        // Without an address there is one answer for a network; the other one says the same again.
        !(is_moot && *one_holds)
            && of.iter().all(|(other, other_holds)| {
                let is_against = if *other_holds {
                    excludes(one, other)
                } else {
                    implies(one, other, is_address)
                };
                !(*one_holds && is_against)
            })
    })
}

fn implies(one: &Pattern<'_>, other: &Pattern<'_>, is_address: bool) -> bool {
    match (one, other) {
        (Pattern::StartsWith(one), Pattern::StartsWith(other)) => one.starts_with(other),
        (Pattern::EndsWith(one), Pattern::EndsWith(other)) => one.ends_with(other),
        (
            Pattern::StartsWith(one) | Pattern::EndsWith(one) | Pattern::Contains(one),
            Pattern::Contains(other),
        ) => one.contains(other),
        (Pattern::Network(one), Pattern::Network(other)) => is_address && other.contains(one),
        _ => false,
    }
}

fn excludes(one: &Pattern<'_>, other: &Pattern<'_>) -> bool {
    match (one, other) {
        (Pattern::StartsWith(one), Pattern::StartsWith(other)) => {
            !one.starts_with(other) && !other.starts_with(one)
        }
        (Pattern::EndsWith(one), Pattern::EndsWith(other)) => {
            !one.ends_with(other) && !other.ends_with(one)
        }
        (Pattern::Network(one), Pattern::Network(other)) => {
            !one.contains(other) && !other.contains(one)
        }
        _ => false,
    }
}

/// What intake and routing make sure of for a rule's alert.
pub(super) fn limits_of(slot: Slot, kinds: &[String], detectors: &[String]) -> Limits {
    let only = |words: &[String]| Limits { only: Some(words.to_vec()), ..Limits::default() };
    match slot {
        Slot::Field(Field::Kind) if !kinds.is_empty() => only(kinds),
        Slot::Field(Field::Detector) if !detectors.is_empty() => only(detectors),
        // Ruled before any playbook is asked.
        Slot::Field(Field::NotAnAlert) if !kinds.is_empty() => {
            Limits { is_absent: true, ..Limits::default() }
        }
        Slot::Seen => Limits { least: Some(1), ..Limits::default() },
        Slot::Window { of, .. } if of.of() == Type::Int => {
            Limits { least: Some(0), ..Limits::default() }
        }
        _ => Limits::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_claimed_about_more_answers_than_are_looked_at() {
        let slot = Slot::Fact { enricher: 0, field: 0 };
        let orders = Orders { less: false, equal: true, greater: false };
        let count = |tests: i64, of: Type, is_age: bool| {
            let value = |number| match of {
                Type::Int => Value::Int(number),
                Type::Time if is_age => Value::Duration(number),
                Type::Time => Value::Time(Millis(number)),
                _ => Value::Text(number.to_string().into()),
            };
            let subject = Subject { slot, is_age };
            let atoms: Vec<Atom<'_>> = (0..tests)
                .map(|number| Atom::Compare(subject, orders, value(number * 9)))
                .collect();
            cases(slot, of, &atoms, &Limits::default()).map(|cases| cases.len())
        };
        // Unknown, absent, and a text that is none of them, as an address and as none.
        assert_eq!(count(100, Type::Text, false), Some(2 + 100 + 2));
        assert_eq!(count(100, Type::Int, false), Some(2 + 300));
        assert_eq!(count(100, Type::Time, true), Some(2 + 300));
        for (of, is_age) in [(Type::Text, false), (Type::Int, false), (Type::Time, true)] {
            assert_eq!(count(1100, of, is_age), None, "{of:?}");
        }
    }
}
