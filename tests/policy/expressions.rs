//! Generated conditions as trees of the test's own, written out as text in our words or in CEL's.

use std::collections::BTreeMap;

use tipstaff::case::{Decimal, Field, Millis, Tri, Value};

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
    /// The difference of both sides in milliseconds is the sum of these.
    Calculated(&'static str, Vec<(i64, Term)>),
    /// Characters of a text or items of a list.
    Size(&'static str, i64),
    In(Vec<Value<'static>>),
    /// The second is in the first, or this text is.
    InList(Option<String>),
    Part(Part),
    /// Of the items of a list: any that passes one, the other, or not the last.
    Exists(Vec<(bool, Part)>),
}

#[derive(Debug, Clone)]
pub enum Term {
    Name(usize),
    Now,
    Constant(i64),
}

/// What a text is asked: a method, `==`, `!=` or `in`, and with which text.
#[derive(Debug, Clone)]
pub struct Part(&'static str, String);

/// What generated conditions are about. Values come from [`domain`].
pub const NAMES: [&str; 10] = [
    "nhi.id",
    "credential.validity",
    "event.count",
    "observed_at",
    "registry.fixture",
    "registry.count",
    "vault.used_at",
    "vault.roles",
    "threat.score",
    "threat.every",
];
pub const FIELDS: [Field; 4] =
    [Field::NhiId, Field::CredentialValidity, Field::EventCount, Field::ObservedAt];

/// Small, so that every completion can be tried.
pub fn domain(name: usize) -> Vec<Value<'static>> {
    match NAMES[name] {
        "nhi.id" | "credential.validity" => ["valid", "a\"b'\\c", "aab"].map(text).into(),
        "event.count" | "registry.count" => [-1, 0, 7].map(Value::Int).into(),
        "registry.fixture" => [true, false].map(Value::Bool).into(),
        "vault.roles" => [&[][..], &["aab"], &["valid", "a\"b'\\c"]].map(list).into(),
        // All of them are floats without loss, which is what CEL has.
        "threat.score" => ["-0.5", "0", "7.25"].map(decimal).into(),
        "threat.every" => [0, HOUR_MS, 24 * HOUR_MS].map(Value::Duration).into(),
        _ => [0, -3_600_000, -86_400_000].map(|ago| Value::Time(NOW.plus(ago))).into(),
    }
}

const HOUR_MS: i64 = 3_600_000;

fn list(items: &[&str]) -> Value<'static> {
    Value::List(items.iter().map(|item| Box::from(*item)).collect::<Vec<Box<str>>>().into())
}

fn decimal(text: &str) -> Value<'static> {
    Value::Decimal(Decimal::parse(text).unwrap())
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
                let part = part(choices);
                let words = part.write(path);
                with(Test::Part(part), words)
            }
        },
        "vault.roles" => list_leaf(choices),
        "registry.fixture" if choices.chance(2) => with(Test::Is, path.to_owned()),
        "registry.fixture" => compared(choices.one::<&str>(&RELATIONS[..2])),
        "observed_at" | "vault.used_at" => match choices.below(3) {
            0 => compared(choices.one::<&str>(&RELATIONS)),
            _ => calculated(choices, name),
        },
        "threat.every" => match choices.below(3) {
            0 => compared(choices.one::<&str>(&RELATIONS)),
            _ => calculated(choices, 3),
        },
        "threat.score" if choices.chance(4) => {
            let list: Vec<_> =
                (0..choices.below(3)).map(|_| choices.one(&domain(name)).clone()).collect();
            let items: Vec<String> = list.iter().map(literal).collect();
            with(Test::In(list), format!("{path} in [{}]", items.join(", ")))
        }
        _ => compared(choices.one::<&str>(&RELATIONS)),
    }
}

fn part(choices: &mut Choices) -> Part {
    let method = *choices.one(&["startsWith", "endsWith", "contains", "matches", "==", "!=", "in"]);
    let text = match method {
        "matches" => *choices.one(&PATTERNS),
        _ => *choices.one(&["va", "b", "\\c", "", "\"b'", "valid"]),
    };
    Part(method, text.to_owned())
}

/// About a list, and perhaps a text in it.
fn list_leaf(choices: &mut Choices) -> Leaf {
    const ROLES: usize = 7;
    let with = |names: &[usize], test, ours: String| Leaf {
        names: names.to_vec(),
        cel: ours.clone(),
        ours,
        test,
    };
    match choices.below(4) {
        0 => with(&[ROLES, 0], Test::InList(None), "nhi.id in vault.roles".to_owned()),
        1 => {
            let Value::Text(item) = choices.one(&domain(0)).clone() else { panic!("a text") };
            let words = format!("{} in vault.roles", literal(&text(&item)));
            with(&[ROLES], Test::InList(Some(item.into_owned())), words)
        }
        2 => {
            let (relation, size) = (*choices.one(&RELATIONS), choices.below(4));
            let (name, path) = *choices.one(&[(ROLES, "vault.roles"), (0, "nhi.id")]);
            let words = format!("size({path}) {relation} {size}");
            with(&[name], Test::Size(relation, i64::try_from(size).unwrap()), words)
        }
        _ => {
            let parts: Vec<(bool, Part)> =
                (0..=choices.below(2)).map(|_| (choices.chance(3), part(choices))).collect();
            let words: Vec<String> = parts
                .iter()
                .map(|(negated, part)| match part.write("role") {
                    words if *negated => format!("!({words})"),
                    words => words,
                })
                .collect();
            let words = format!("vault.roles.exists(role, {})", words.join(" || "));
            with(&[ROLES], Test::Exists(parts), words)
        }
    }
}

/// Two times or two durations, each made with a calculation.
fn calculated(choices: &mut Choices, name: usize) -> Leaf {
    const EVERY: usize = 9;
    let (path, relation) = (NAMES[name], *choices.one(&RELATIONS));
    let hours = i64::try_from(choices.below(3)).unwrap();
    let (hours_ms, constant) = (hours * HOUR_MS, format!("duration(\"{hours}h\")"));
    let with = |names: &[usize], terms: Vec<(i64, Term)>, ours: String, cel: String| Leaf {
        names: names.to_vec(),
        ours,
        cel,
        test: Test::Calculated(relation, terms),
    };
    let (first, minus_constant) = ((1, Term::Name(name)), (-1, Term::Constant(hours_ms)));
    match choices.below(6) {
        0 => with(
            &[name],
            vec![(1, Term::Now), (-1, Term::Name(name)), minus_constant],
            format!("age({path}) {relation} {constant}"),
            format!("(now - {path}) {relation} {constant}"),
        ),
        1 => {
            let words = format!("observed_at {relation} vault.used_at");
            let terms = vec![(1, Term::Name(3)), (-1, Term::Name(6))];
            with(&[3, 6], terms, words.clone(), words)
        }
        2 => {
            let words = format!("{path} + {constant} - threat.every {relation} now");
            let constant = (1, Term::Constant(hours_ms));
            let terms = vec![first, constant, (-1, Term::Name(EVERY)), (-1, Term::Now)];
            with(&[name, EVERY], terms, words.clone(), words)
        }
        3 => {
            let words = format!("now - {path} {relation} threat.every + {constant}");
            let terms = vec![
                (1, Term::Now),
                (-1, Term::Name(name)),
                (-1, Term::Name(EVERY)),
                minus_constant,
            ];
            with(&[name, EVERY], terms, words.clone(), words)
        }
        4 => {
            let words = format!("observed_at - vault.used_at {relation} {constant}");
            let terms = vec![(1, Term::Name(3)), (-1, Term::Name(6)), minus_constant];
            with(&[3, 6], terms, words.clone(), words)
        }
        _ => {
            let words = format!("threat.every - {constant} {relation} now - (now - {constant})");
            let terms = vec![(1, Term::Name(EVERY)), minus_constant.clone(), minus_constant];
            with(&[EVERY], terms, words.clone(), words)
        }
    }
}

impl Part {
    fn write(&self, of: &str) -> String {
        let text = literal(&text(&self.1));
        match self.0 {
            "==" | "!=" => format!("{of} {} {text}", self.0),
            "in" => format!("{of} in [\"aab\", {text}]"),
            method => format!("{of}.{method}({text})"),
        }
    }

    fn holds(&self, text: &str) -> bool {
        let part = self.1.as_str();
        match self.0 {
            "==" => text == part,
            "!=" => text != part,
            "in" => text == "aab" || text == part,
            "startsWith" => text.starts_with(part),
            "endsWith" => text.ends_with(part),
            "contains" => text.contains(part),
            _ => regex::Regex::new(part).unwrap().is_match(text),
        }
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
        Value::Duration(ms) => format!("duration(\"{}h\")", ms / HOUR_MS),
        // CEL takes a number for a float where it has a point.
        Value::Decimal(value) if value.to_string().contains('.') => value.to_string(),
        Value::Decimal(value) => format!("{value}.0"),
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

    /// How often each kind of leaf is in it.
    pub fn kinds(&self, found: &mut BTreeMap<&'static str, usize>) {
        match self {
            Self::And(a, b) | Self::Or(a, b) => {
                a.kinds(found);
                b.kinds(found);
            }
            Self::Not(of) => of.kinds(found),
            Self::Leaf(leaf) => *found.entry(leaf.kind()).or_default() += 1,
        }
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
    fn kind(&self) -> &'static str {
        match &self.test {
            Test::Has => "has",
            Test::Is => "is",
            Test::Compare(..) => "compare",
            Test::CompareNames(_) => "compare names",
            Test::Calculated(..) => "calculated",
            Test::Size(..) => "size",
            Test::In(_) | Test::InList(_) => "in",
            Test::Part(_) => "part",
            Test::Exists(_) => "exists",
        }
    }

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
            Test::Calculated(relation, terms) => {
                let value = |term: &Term| match term {
                    Term::Now => NOW.0,
                    Term::Constant(value) => *value,
                    Term::Name(name) => {
                        let index = self.names.iter().position(|each| each == name).unwrap();
                        match operands[index] {
                            Value::Time(Millis(value)) | Value::Duration(value) => *value,
                            other => panic!("{other:?} is no time"),
                        }
                    }
                };
                holds(terms.iter().map(|(sign, term)| sign * value(term)).sum(), relation)
            }
            Test::Size(relation, wanted) => {
                let size = match first {
                    Value::List(items) => items.len(),
                    Value::Text(text) => text.chars().count(),
                    other => panic!("{other:?} has no size"),
                };
                holds(i64::try_from(size).unwrap() - wanted, relation)
            }
            Test::In(list) => list.iter().any(|item| item == first),
            Test::InList(item) => {
                let item = item.as_deref().or_else(|| operands[1].text()).unwrap();
                items(first).iter().any(|each| **each == *item)
            }
            Test::Exists(parts) => items(first)
                .iter()
                .any(|item| parts.iter().any(|(negated, part)| part.holds(item) != *negated)),
            Test::Part(part) => part.holds(first.text().unwrap()),
        }
    }
}

fn items<'v>(value: &'v Value<'static>) -> &'v [Box<str>] {
    let Value::List(items) = value else { panic!("a list") };
    items
}

/// Negative, zero or positive, as the left is less, equal or greater.
fn number(left: &Value<'_>, right: &Value<'_>) -> i64 {
    match (left, right) {
        (Value::Int(a), Value::Int(b)) => a - b,
        (Value::Time(a), Value::Time(b)) => a.0 - b.0,
        (Value::Duration(a), Value::Duration(b)) => a - b,
        (Value::Decimal(a), Value::Decimal(b)) => a.cmp(b) as i64,
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
