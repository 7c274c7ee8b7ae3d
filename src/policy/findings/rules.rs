use crate::case::Value;
use crate::clause::{Atom, Clause, Condition, Part, Schema, Slot, Subject, Tree};
use crate::policy::{OnUnknown, Playbook, Policy, Requirement, Rule};
use crate::text::{At, suggestion};

use super::domain::limits_of;
use super::space::{Formula, Search, Space, Truths, Wanted};
use super::{Code, Finding};

/// A rule, or what must be so before people close, as it is reasoned about.
struct Read<'p> {
    what: &'static str,
    id: &'p str,
    at: &'p At,
    when: &'p Condition,
    on_unknown: OnUnknown,
    whole: Formula,
    required: Vec<(&'p Clause, Formula)>,
    /// With the number of the alternative where the clause has several.
    alternatives: Vec<(&'p Clause, Option<usize>, Formula)>,
}

struct Reader<'p> {
    space: Space<'p>,
    found: Vec<Finding>,
}

const NOT_TRUE: fn() -> Truths = || Truths::FALSE.or(Truths::UNKNOWN);

pub(super) fn findings(policy: &Policy, playbook: &Playbook) -> Vec<Finding> {
    let mut space = Space::default();
    let read: Vec<Read<'_>> = playbook.rules.iter().map(|rule| reading(rule, &mut space)).collect();
    let closing = playbook.closing.iter().flat_map(|closing| &closing.requirements);
    let required: Vec<Read<'_>> = closing.map(|each| requirement(each, &mut space)).collect();
    space.close(policy.schema(), |slot| limits_of(slot, &playbook.kinds, &playbook.detectors));
    let mut reader = Reader { space, found: Vec::new() };
    for of in &required {
        if !reader.is_never_true(of) {
            reader.clauses(of);
        }
    }
    for (index, of) in read.iter().enumerate() {
        let wrong = misspelt(of.when);
        if !wrong.is_empty() {
            reader.found.extend(wrong);
            continue;
        }
        let earlier = read.get(..index).unwrap_or_default();
        if reader.is_never_true(of) || reader.is_never_reached(of, earlier) {
            continue;
        }
        reader.clauses(of);
    }
    reader.found
}

/// What a rule must be for the next one to be asked.
fn pass(read: &Read<'_>) -> Truths {
    match read.on_unknown {
        OnUnknown::Next => NOT_TRUE(),
        OnUnknown::Route | OnUnknown::Hold => Truths::FALSE,
    }
}

/// What could be made of a rule by some alert that gets as far as it. In doubt it could.
#[derive(Debug, Clone)]
pub struct Possible {
    pub is_true: bool,
    pub is_unknown: bool,
    /// Of each of its clauses, in order: true, false, unknown.
    pub clauses: Vec<[bool; 3]>,
}

/// By rule.
pub fn possible(policy: &Policy, playbook: &Playbook) -> Vec<Possible> {
    let mut space = Space::default();
    let read: Vec<Read<'_>> = playbook.rules.iter().map(|rule| reading(rule, &mut space)).collect();
    let clauses: Vec<Vec<Formula>> = playbook
        .rules
        .iter()
        .map(|rule| rule.when.clauses().iter().map(|each| space.formula(each.tree())).collect())
        .collect();
    space.close(policy.schema(), |slot| limits_of(slot, &playbook.kinds, &playbook.detectors));
    let of = |(index, (read_rule, clauses)): (usize, (&Read<'_>, &Vec<Formula>))| {
        let earlier = read.get(..index).unwrap_or_default();
        let can_be = |formula: &Formula, truths| {
            let mut wanted: Vec<Wanted<'_>> = vec![(formula, truths)];
            wanted.extend(earlier.iter().map(|read| (&read.whole, pass(read))));
            !space.is_nowhere(&wanted)
        };
        let all = [Truths::TRUE, Truths::FALSE, Truths::UNKNOWN];
        Possible {
            is_true: can_be(&read_rule.whole, Truths::TRUE),
            is_unknown: can_be(&read_rule.whole, Truths::UNKNOWN),
            clauses: clauses.iter().map(|each| all.map(|truths| can_be(each, truths))).collect(),
        }
    };
    read.iter().zip(&clauses).enumerate().map(of).collect()
}

fn reading<'p>(rule: &'p Rule, space: &mut Space<'p>) -> Read<'p> {
    let named = ("rule", &*rule.id, &rule.at);
    read(named, &rule.when, rule.on_unknown, space)
}

fn requirement<'p>(of: &'p Requirement, space: &mut Space<'p>) -> Read<'p> {
    read(("requirement", &*of.id, &of.at), &of.when, OnUnknown::Next, space)
}

fn read<'p>(
    (what, id, at): (&'static str, &'p str, &'p At),
    when: &'p Condition,
    on_unknown: OnUnknown,
    space: &mut Space<'p>,
) -> Read<'p> {
    let (required, alternative) = when.required_and_alternative();
    let mut alternatives = Vec::new();
    for clause in &required {
        let mut parts = Vec::new();
        split(clause.tree(), &mut parts);
        if parts.len() > 1 {
            let parts = parts.into_iter().enumerate();
            alternatives
                .extend(parts.map(|(place, part)| (*clause, Some(place + 1), space.formula(part))));
        }
    }
    for clause in alternative {
        alternatives.push((clause, None, space.formula(clause.tree())));
    }
    let required = required.into_iter().map(|clause| (clause, space.formula(clause.tree())));
    let required = required.collect();
    let whole = space.condition(when);
    Read { what, id, at, when, on_unknown, whole, required, alternatives }
}

/// Clauses of which each by itself makes true what they are alternatives of.
fn settle<'p>(part: &'p Part, is_alternative: bool, found: &mut Vec<&'p Clause>) {
    let mut each = |parts: &'p [Part], is_alternative| {
        parts.iter().for_each(|part| settle(part, is_alternative, found));
    };
    match part {
        Part::Any(parts) => each(parts, is_alternative || parts.len() > 1),
        Part::All(parts) if !is_alternative || parts.len() == 1 => each(parts, is_alternative),
        Part::Clause(clause) if is_alternative => found.push(clause),
        Part::All(_) | Part::Clause(_) => {}
    }
}

/// The alternatives that `||` joins.
fn split<'c>(tree: Tree<'c>, parts: &mut Vec<Tree<'c>>) {
    match tree {
        Tree::Any(of) => of.into_iter().for_each(|part| split(part, parts)),
        other => parts.push(other),
    }
}

impl<'p> Reader<'p> {
    fn add(&mut self, code: Code, at: &At, message: String) {
        self.found.push(Finding { at: at.clone(), code, message });
    }

    fn is_never_true(&mut self, of: &Read<'p>) -> bool {
        if !self.space.is_nowhere(&[(&of.whole, Truths::TRUE)]) {
            return false;
        }
        let id = of.id;
        let blame = self.contradiction(of);
        let (at, why) = match blame.as_slice() {
            [one] => (&one.at, format!("`{}` can't be", one.text)),
            [one, other] => {
                (&other.at, format!("`{}` and `{}` exclude each other", one.text, other.text))
            }
            _ => (of.at, "its clauses exclude each other".to_owned()),
        };
        let may_be_unknown =
            !self.space.is_nowhere(&[(&of.whole, Truths::TRUE.or(Truths::UNKNOWN))]);
        let mut message = format!("{} `{id}` can never be true: {why}", of.what);
        if may_be_unknown && of.on_unknown != OnUnknown::Next {
            message.push_str("; all it does is to stop alerts for which it is unknown");
        }
        self.add(Code::NeverTrue, at, message);
        true
    }

    /// One clause that can't be true, or two that can't be together.
    fn contradiction(&self, of: &Read<'p>) -> Vec<&'p Clause> {
        let are_nowhere = |formulas: &[&Formula]| {
            let wanted: Vec<Wanted<'_>> =
                formulas.iter().map(|each| (*each, Truths::TRUE)).collect();
            self.space.is_nowhere(&wanted)
        };
        for (index, (clause, formula)) in of.required.iter().enumerate() {
            if are_nowhere(&[formula]) {
                return vec![clause];
            }
            for (other, with) in of.required.iter().take(index) {
                if are_nowhere(&[formula, with]) {
                    return vec![other, clause];
                }
            }
        }
        Vec::new()
    }

    /// Whenever it is true, an earlier rule is true, or unknown and asks for people.
    fn is_never_reached(&mut self, of: &Read<'p>, earlier: &[Read<'p>]) -> bool {
        // The last rule gets what the boundary refuses, too.
        if of.required.is_empty() && of.alternatives.is_empty() {
            return false;
        }
        let mut wanted: Vec<Wanted<'_>> = vec![(&of.whole, Truths::TRUE)];
        wanted.extend(earlier.iter().map(|read| (&read.whole, pass(read))));
        if !self.space.is_nowhere(&wanted) {
            return false;
        }
        let takes = |read: &&Read<'_>| {
            self.space.is_nowhere(&[(&of.whole, Truths::TRUE), (&read.whole, pass(read))])
        };
        let id = of.id;
        let message = match earlier.iter().find(takes) {
            Some(taker) => {
                let is_true =
                    self.space.is_nowhere(&[(&of.whole, Truths::TRUE), (&taker.whole, NOT_TRUE())]);
                let how =
                    if is_true { "is true" } else { "is true, or unknown and asks for people," };
                format!(
                    "rule `{id}` never gets an alert: rule `{}` before it (line {}) {how} whenever this one is true",
                    taker.id, taker.at.line
                )
            }
            None => format!(
                "rule `{id}` never gets an alert: the rules before it take all for which it is true"
            ),
        };
        self.add(Code::NeverReached, of.at, message);
        true
    }

    fn clauses(&mut self, of: &Read<'p>) {
        let mut kept: Vec<&(&Clause, Formula)> = of.required.iter().collect();
        for (index, (clause, formula)) in of.required.iter().enumerate().rev() {
            if self.is_always_true(formula) {
                let message = format!("`{}` is always true, whatever the alert", clause.text);
                self.add(Code::AlwaysTrue, &clause.at, message);
            } else {
                let others = kept.iter().enumerate().filter(|(place, _)| *place != index);
                let mut wanted: Vec<Wanted<'_>> =
                    others.map(|(_, (_, other))| (other, Truths::TRUE)).collect();
                wanted.push((formula, NOT_TRUE()));
                if wanted.len() == 1 || !self.space.is_nowhere(&wanted) {
                    continue;
                }
                let message = format!(
                    "`{}` is true whenever the other clauses of the {} are",
                    clause.text, of.what
                );
                self.add(Code::SaysNothing, &clause.at, message);
            }
            kept.remove(index);
        }
        let mut settling = Vec::new();
        settle(of.when.root(), false, &mut settling);
        for (clause, place, formula) in &of.alternatives {
            let which = place.map_or_else(
                || format!("`{}`", clause.text),
                |place| format!("alternative {place} of `{}`", clause.text),
            );
            if self.is_always_true(formula) {
                // A clause with such an alternative is always true by itself and was told.
                if place.is_none() {
                    let settles = settling.iter().any(|each| std::ptr::eq(*each, *clause));
                    let what = if settles {
                        "and with it the others say nothing"
                    } else {
                        "whatever the alert"
                    };
                    self.add(
                        Code::AlwaysTrue,
                        &clause.at,
                        format!("{which} is always true, {what}"),
                    );
                }
            } else if self.space.is_nowhere(&[(&of.whole, Truths::TRUE), (formula, Truths::TRUE)]) {
                let message = format!("{which} can never be true in this {}", of.what);
                self.add(Code::NeverHelps, &clause.at, message);
            }
        }
    }

    /// Unless something is unknown, which makes a clause unknown at most.
    fn is_always_true(&self, formula: &Formula) -> bool {
        self.space.search(&[(formula, NOT_TRUE())], false) == Search::Nowhere
            && self.space.is_nowhere(&[(formula, Truths::FALSE)])
    }
}

/// Values that intake never lets a field have. What follows from them is not told again.
pub(super) fn misspelt(when: &Condition) -> Vec<Finding> {
    let mut found = Vec::new();
    for clause in when.clauses() {
        for (path, word, words) in strangers(clause) {
            let hint = suggestion(&word, words.iter().copied());
            let message =
                format!("`{path}` is never `{word}`: it is one of {}{hint}", words.join(", "));
            found.push(Finding { at: clause.at.clone(), code: Code::NoSuchValue, message });
        }
    }
    found
}

/// Each literal that a field with fixed words is compared with and that is none of them.
fn strangers(clause: &Clause) -> Vec<(String, String, &'static [&'static str])> {
    let mut found = Vec::new();
    let mut leaves = Vec::new();
    atoms(clause.tree(), &mut leaves);
    for atom in leaves {
        let (subject, literals): (Subject, Vec<Value<'_>>) = match atom {
            Atom::Compare(subject, _, literal) => (subject, vec![literal]),
            Atom::In(subject, list) => (subject, list),
            _ => continue,
        };
        let Slot::Field(field) = subject.slot else { continue };
        let Some(words) = field.words() else { continue };
        let strange = literals.iter().filter_map(Value::text);
        let strange = strange.filter(|text| !words.contains(text));
        found.extend(strange.map(|text| (field.path().to_owned(), text.to_owned(), words)));
    }
    found
}

fn atoms<'c>(tree: Tree<'c>, found: &mut Vec<Atom<'c>>) {
    match tree {
        Tree::All(parts) | Tree::Any(parts) => {
            parts.into_iter().for_each(|part| atoms(part, found))
        }
        Tree::Leaf { atom, .. } => found.push(atom),
    }
}

/// Whether one condition always comes with another, for those who compare the two.
pub(super) struct Together<'p> {
    space: Space<'p>,
    one: Formula,
    other: Formula,
}

impl<'p> Together<'p> {
    pub fn new(
        one: &'p Condition,
        other: &'p Condition,
        schema: &Schema,
        kinds: &[String],
        detectors: &[String],
    ) -> Self {
        let mut space = Space::default();
        let (one, other) = (space.condition(one), space.condition(other));
        space.close(schema, |slot| limits_of(slot, kinds, detectors));
        Self { space, one, other }
    }

    /// The first is never true while the second is false.
    pub fn never_without(&self) -> bool {
        self.space.is_nowhere(&[(&self.one, Truths::TRUE), (&self.other, Truths::FALSE)])
    }

    /// The second is never true and never unknown.
    pub fn is_idle(&self) -> bool {
        self.space.is_nowhere(&[(&self.other, Truths::TRUE.or(Truths::UNKNOWN))])
    }

    /// The second is never false.
    pub fn is_total(&self) -> bool {
        self.space.is_nowhere(&[(&self.other, Truths::FALSE)])
    }
}
