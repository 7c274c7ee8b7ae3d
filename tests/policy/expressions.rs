//! Generated conditions as trees of the test's own, written out as text in our words or in CEL's.

use tipstaff::case::{Field, Millis, Tri, Value};

use crate::choices::Choices;
use crate::support::{NOW, text};

#[derive(Debug, Clone)]
pub enum Tree {
    And(Box<Tree>, Box<Tree>),
    Or(Box<Tree>, Box<Tree>),
    Not(Box<Tree>),
    Leaf(Leaf),
}

#[derive(Debug, Clone)]
pub struct Leaf {
    /// One or two of [`NAMES`].
    pub names: Vec<usize>,
    pub ours: String,
    pub cel: String,
    pub test: Test,
}

#[derive(Debug, Clone)]
pub enum Test {
    Has,
    Is,
    Compare(&'static str, Value<'static>),
    CompareNames(&'static str),
    Age(&'static str, i64),
    In(Vec<Value<'static>>),
    Part(&'static str, String),
}

/// What generated conditions are about. Values come from [`domain`].
pub const NAMES: [&str; 7] = [
    "nhi.id",
    "credential.validity",
    "event.count",
    "observed_at",
    "registry.fixture",
    "registry.count",
    "vault.used_at",
];
pub const FIELDS: [Field; 4] =
    [Field::NhiId, Field::CredentialValidity, Field::EventCount, Field::ObservedAt];

/// Small, so that every completion can be tried.
pub fn domain(name: usize) -> Vec<Value<'static>> {
    match NAMES[name] {
        "nhi.id" | "credential.validity" => ["valid", "a\"b'\\c", "aab"].map(text).into(),
        "event.count" | "registry.count" => [-1, 0, 7].map(Value::Int).into(),
        "registry.fixture" => [true, false].map(Value::Bool).into(),
        _ => [0, -3_600_000, -86_400_000].map(|ago| Value::Time(NOW.plus(ago))).into(),
    }
}

const RELATIONS: [&str; 6] = ["==", "!=", "<", "<=", ">", ">="];
const PATTERNS: [&str; 5] = ["a+b", "^va", "\\\\c$", "", "[b-d]"];

pub fn tree(choices: &mut Choices, depth: usize) -> Tree {
    match choices.below(if depth == 0 { 1 } else { 5 }) {
        1 => Tree::And(tree(choices, depth - 1).into(), tree(choices, depth - 1).into()),
        2 => Tree::Or(tree(choices, depth - 1).into(), tree(choices, depth - 1).into()),
        3 => Tree::Not(tree(choices, depth - 1).into()),
        _ => Tree::Leaf(leaf(choices)),
    }
}

fn leaf(choices: &mut Choices) -> Leaf {
    let name = choices.below(NAMES.len());
    let path = NAMES[name];
    let value = choices.one(&domain(name)).clone();
    if choices.chance(7) {
        let has = format!("has({path})");
        return Leaf { names: vec![name], ours: has.clone(), cel: has, test: Test::Has };
    }
    let with = |test, ours: String| Leaf { names: vec![name], cel: ours.clone(), ours, test };
    let compared = |relation: &'static str| {
        let words = format!("{path} {relation} {}", literal(&value));
        with(Test::Compare(relation, value.clone()), words)
    };
    match path {
        "nhi.id" | "credential.validity" => match choices.below(4) {
            0 => compared(choices.one::<&str>(&RELATIONS[..2])),
            1 => {
                let list: Vec<_> =
                    (0..choices.below(3)).map(|_| choices.one(&domain(0)).clone()).collect();
                let items: Vec<String> = list.iter().map(literal).collect();
                with(Test::In(list), format!("{path} in [{}]", items.join(", ")))
            }
            2 => {
                let relation = *choices.one(&RELATIONS[..2]);
                let ours = format!("nhi.id {relation} credential.validity");
                let test = Test::CompareNames(relation);
                Leaf { names: vec![0, 1], cel: ours.clone(), ours, test }
            }
            _ => {
                let method = *choices.one(&["startsWith", "endsWith", "contains", "matches"]);
                let part = match method {
                    "matches" => (*choices.one(&PATTERNS)).to_owned(),
                    _ => (*choices.one(&["va", "b", "\\c", "", "\"b'"])).to_owned(),
                };
                let words = format!("{path}.{method}({})", literal(&text(&part)));
                with(Test::Part(method, part), words)
            }
        },
        "registry.fixture" if choices.chance(2) => with(Test::Is, path.to_owned()),
        "registry.fixture" => compared(choices.one::<&str>(&RELATIONS[..2])),
        "observed_at" | "vault.used_at" => {
            let relation = *choices.one(&RELATIONS);
            match choices.below(3) {
                0 => {
                    let hours = i64::try_from(choices.below(3)).unwrap();
                    let test = Test::Age(relation, hours * 3_600_000);
                    let ours = format!("age({path}) {relation} duration(\"{hours}h\")");
                    let cel = format!("(now - {path}) {relation} duration(\"{hours}h\")");
                    Leaf { names: vec![name], ours, cel, test }
                }
                1 => {
                    let ours = format!("observed_at {relation} vault.used_at");
                    let test = Test::CompareNames(relation);
                    Leaf { names: vec![3, 6], cel: ours.clone(), ours, test }
                }
                _ => compared(relation),
            }
        }
        _ => compared(choices.one::<&str>(&RELATIONS)),
    }
}

pub fn literal(value: &Value<'_>) -> String {
    match value {
        Value::Text(text) => {
            format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
        }
        Value::Int(value) => value.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Time(time) => format!("timestamp(\"{time}\")"),
        other => panic!("no literal for {other:?}"),
    }
}

impl Tree {
    pub fn write(&self, in_cel: bool) -> String {
        match self {
            Self::And(a, b) => format!("({} && {})", a.write(in_cel), b.write(in_cel)),
            Self::Or(a, b) => format!("({} || {})", a.write(in_cel), b.write(in_cel)),
            Self::Not(of) => format!("!({})", of.write(in_cel)),
            Self::Leaf(leaf) if in_cel => leaf.cel.clone(),
            Self::Leaf(leaf) => leaf.ours.clone(),
        }
    }

    pub fn names(&self, found: &mut Vec<usize>) {
        match self {
            Self::And(a, b) | Self::Or(a, b) => {
                a.names(found);
                b.names(found);
            }
            Self::Not(of) => of.names(found),
            Self::Leaf(leaf) => found.extend(&leaf.names),
        }
        found.sort_unstable();
        found.dedup();
    }

    /// The naive reading: `!` is carried down by hand, every leaf looks its names up.
    pub fn naive(&self, values: &[Value<'static>], negated: bool) -> Tri {
        match (self, negated) {
            (Self::Not(of), _) => of.naive(values, !negated),
            (Self::And(a, b), false) | (Self::Or(a, b), true) => {
                a.naive(values, negated).and(b.naive(values, negated))
            }
            (Self::Or(a, b), false) | (Self::And(a, b), true) => {
                a.naive(values, negated).or(b.naive(values, negated))
            }
            (Self::Leaf(leaf), _) => leaf.naive(values, negated),
        }
    }
}

impl Leaf {
    fn naive(&self, values: &[Value<'static>], negated: bool) -> Tri {
        let operands: Vec<&Value<'static>> = self.names.iter().map(|name| &values[*name]).collect();
        let absent = operands.iter().any(|value| **value == Value::Absent);
        let unknown = operands.iter().any(|value| matches!(value, Value::Unknown(_)));
        if matches!(self.test, Test::Has) {
            return if unknown { Tri::Unknown } else { Tri::of(absent == negated) };
        }
        if absent {
            return if negated { Tri::Unknown } else { Tri::False };
        }
        if unknown {
            return Tri::Unknown;
        }
        Tri::of(self.holds(&operands) != negated)
    }

    fn holds(&self, operands: &[&Value<'static>]) -> bool {
        let first = operands[0];
        match &self.test {
            Test::Has => true,
            Test::Is => *first == Value::Bool(true),
            Test::Compare(relation, value) => holds(number(first, value), relation),
            Test::CompareNames(relation) => holds(number(first, operands[1]), relation),
            Test::Age(relation, hours) => {
                let Value::Time(Millis(time)) = first else { panic!("a time") };
                holds(NOW.0 - time - hours, relation)
            }
            Test::In(list) => list.iter().any(|item| item == first),
            Test::Part(method, part) => {
                let Value::Text(text) = first else { panic!("a text") };
                match *method {
                    "startsWith" => text.starts_with(part.as_str()),
                    "endsWith" => text.ends_with(part.as_str()),
                    "contains" => text.contains(part.as_str()),
                    _ => regex::Regex::new(part).unwrap().is_match(text),
                }
            }
        }
    }
}

/// Negative, zero or positive, as the left is less, equal or greater.
fn number(left: &Value<'_>, right: &Value<'_>) -> i64 {
    match (left, right) {
        (Value::Int(a), Value::Int(b)) => a - b,
        (Value::Time(a), Value::Time(b)) => a.0 - b.0,
        _ => i64::from(left != right),
    }
}

fn holds(difference: i64, relation: &str) -> bool {
    match relation {
        "==" => difference == 0,
        "!=" => difference != 0,
        "<" => difference < 0,
        "<=" => difference <= 0,
        ">" => difference > 0,
        _ => difference >= 0,
    }
}
