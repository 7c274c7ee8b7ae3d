use crate::case::{FIELDS, Field, Millis, Priority, Type, Value, field_named, parse_duration};
use crate::clause::{Condition, Schema, Slot};
use crate::text::{At, Data, Fields, Node, Problems, suggestion};

use super::findings::Code;

/// People, and how soon they should look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToQueue {
    pub queue: String,
    pub priority: Priority,
    pub ack_within_ms: Option<i64>,
}

/// A value named outside a condition: evidence, a required fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    pub path: String,
    pub slot: Slot,
    pub of: Type,
    pub at: At,
}

const NAME_BYTES_MAX: usize = 100;

/// `queue, priority, ack_within?` of a mapping whose other keys the caller reads.
pub(super) fn to_queue(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<ToQueue> {
    let queue = require_name(fields, "queue", problems);
    let priority = fields.require("priority", problems).and_then(|node| priority(node, problems));
    let ack_within_ms = duration(fields, "ack_within", problems);
    Some(ToQueue { queue: queue?, priority: priority?, ack_within_ms })
}

pub(super) fn priority(node: &Node, problems: &mut Problems) -> Option<Priority> {
    one_of(node, "priority", &Priority::ALL, Priority::name, problems)
}

/// One of our words, with the nearest one named when it is not.
pub(super) fn one_of<T: Copy>(
    node: &Node,
    what: &str,
    all: &[T],
    name: fn(T) -> &'static str,
    problems: &mut Problems,
) -> Option<T> {
    let found = node.text().and_then(|text| all.iter().copied().find(|each| name(*each) == text));
    if found.is_none() {
        let known: Vec<&str> = all.iter().map(|each| name(*each)).collect();
        let message = match node.text() {
            Some(text) => {
                let hint = suggestion(text, known.iter().copied());
                let list = || format!(": one of {}", known.join(", "));
                let hint = if hint.is_empty() && known.len() < 10 { list() } else { hint };
                format!("unknown {what} `{text}`{hint}")
            }
            None => format!("{what} must be one of {}, not {}", known.join(", "), node.kind()),
        };
        problems.add(&node.at, message);
    }
    found
}

/// A name that can be part of a topic's name: letters, digits, `.`, `_` and `-`.
pub(super) fn require_name(
    fields: &mut Fields<'_>,
    key: &'static str,
    problems: &mut Problems,
) -> Option<String> {
    let node = fields.require(key, problems)?;
    let text = fields.text(key, problems)?;
    let fits = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        && text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && text.len() <= NAME_BYTES_MAX;
    if !fits {
        let message = format!(
            "`{key}` must be a name of letters, digits, `.`, `_` and `-`, at most {NAME_BYTES_MAX}, starting with a letter or digit"
        );
        problems.add(&node.at, message);
    }
    fits.then(|| text.to_owned())
}

/// Longer is a slip of the finger, and a time that is beyond the year 9999 can't be written.
const DURATION_MAX_DAYS: i64 = 3650;

/// Milliseconds, above zero. Nothing when the key is absent or, with a problem, wrong.
pub(super) fn duration(
    fields: &mut Fields<'_>,
    key: &'static str,
    problems: &mut Problems,
) -> Option<i64> {
    let node = fields.get(key)?;
    let fits = |duration: &i64| (1..=DURATION_MAX_DAYS * 86_400_000).contains(duration);
    let found = node.text().and_then(parse_duration).filter(fits);
    if found.is_none() {
        let message = format!(
            "`{key}` must be a duration such as 15m, 24h or 30d, at most {DURATION_MAX_DAYS}d"
        );
        problems.add(&node.at, message);
    }
    found
}

pub(super) fn require_duration(
    fields: &mut Fields<'_>,
    key: &'static str,
    problems: &mut Problems,
) -> Option<i64> {
    fields.require(key, problems)?;
    duration(fields, key, problems)
}

pub(super) fn strings(
    fields: &mut Fields<'_>,
    key: &'static str,
    problems: &mut Problems,
) -> Vec<String> {
    fields.texts(key, problems).into_iter().map(|(text, _)| text.to_owned()).collect()
}

/// Fields of an alert, one or a list.
pub(super) fn alert_fields(
    fields: &mut Fields<'_>,
    key: &'static str,
    problems: &mut Problems,
) -> Vec<Field> {
    let mut found = Vec::new();
    for (path, at) in fields.texts(key, problems) {
        match field_named(path) {
            Some(field) => found.push(field),
            None => problems.add(at, no_field(path)),
        }
    }
    found
}

pub(super) fn no_field(path: &str) -> String {
    let hint = suggestion(path, FIELDS.iter().map(|info| info.path));
    format!("no field of an alert is called `{path}`{hint}")
}

/// One item, or a list of them. A restriction that is there is no empty one (INV-5).
pub(super) fn one_or_more<'n>(node: &'n Node, what: &str, problems: &mut Problems) -> &'n [Node] {
    let Data::List(items) = &node.data else { return std::slice::from_ref(node) };
    if items.is_empty() {
        problems.add(&node.at, format!("{what} is empty: name one, or leave it out"));
    }
    items
}

pub(super) fn reference(
    path: &str,
    at: &At,
    schema: &Schema,
    problems: &mut Problems,
) -> Option<Reference> {
    let Some((slot, of)) = schema.find(path) else {
        problems.add(at, schema.unknown_name(path));
        return None;
    };
    Some(Reference { path: path.to_owned(), slot, of, at: at.clone() })
}

/// Asking whether a fact is unknown leads to people, and nowhere else.
pub(super) fn refuse_unknown(when: &Condition, why: &str, problems: &mut Problems) {
    for clause in when.clauses().into_iter().filter(|clause| clause.asks_for_unknown()) {
        let message = format!("`unknown(…)` is for rules that route or hold: {why}");
        problems.add(&clause.at, message);
    }
}

pub(super) fn owner(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<String> {
    let code = Code::NoOwner.id();
    problems.under(code, |problems| fields.require_text("owner", problems).map(str::to_owned))
}

/// The enrichers whose facts a condition reads.
pub(super) fn enrichers_of(when: &Condition) -> impl Iterator<Item = usize> {
    let clauses = when.clauses().into_iter();
    clauses.flat_map(|clause| clause.names().iter().filter_map(|name| name.slot.enricher()))
}

/// The enrichers that a mapping as for [`max_ages`] names, and where.
pub(super) fn declared(node: Option<&Node>, schema: &Schema) -> Vec<(usize, At)> {
    let Some(Data::Map(entries)) = node.map(|node| &node.data) else { return Vec::new() };
    let named = entries.iter().filter_map(|(key, _)| {
        let (index, _) = schema.enricher(key.text()?)?;
        Some((index, key.at.clone()))
    });
    named.collect()
}

/// `{<enricher>: {max_age: 24h}, …}`: by enricher, nothing where it is not named.
pub(super) fn max_ages(
    node: Option<&Node>,
    schema: &Schema,
    problems: &mut Problems,
) -> Vec<Option<i64>> {
    let mut ages = vec![None; schema.enrichers.len()];
    let Some(mut named) = node.and_then(|node| Fields::of(node, "`facts`", problems)) else {
        return ages;
    };
    for (key, value) in named.rest() {
        let name = key.text().unwrap_or_default();
        let Some(mut fields) = Fields::of(value, &format!("`{name}`"), problems) else { continue };
        let age = require_duration(&mut fields, "max_age", problems);
        fields.finish(problems);
        match schema.enricher(name) {
            Some((index, _)) if schema.exceptions() == Some(index) => {
                problems.add(&key.at, format!("`{name}` is looked up nowhere and needs no age"));
            }
            Some((index, _)) => {
                if let Some(slot) = ages.get_mut(index) {
                    // A wrong age is a problem already; the enricher still counts as declared.
                    *slot = Some(age.unwrap_or(0));
                }
            }
            None => {
                let names = schema.enrichers.iter().map(|shape| &*shape.name);
                problems
                    .add(&key.at, format!("unknown enricher `{name}`{}", suggestion(name, names)));
            }
        }
    }
    ages
}

pub(super) fn time(node: &Node, problems: &mut Problems) -> Option<Millis> {
    let found = node.text().and_then(Millis::parse);
    if found.is_none() {
        problems.add(&node.at, "must be a time such as 2026-01-31T09:00:00Z");
    }
    found
}

/// A value of a declared type, as YAML writes it.
pub(super) fn value(node: &Node, of: Type, problems: &mut Problems) -> Option<Value<'static>> {
    let found = match (&node.data, of) {
        (Data::Bool(value), Type::Bool) => Some(Value::Bool(*value)),
        (Data::Int(value), Type::Int) => Some(Value::Int(*value)),
        (Data::Int(value), Type::Decimal) => Some(Value::Decimal((*value).into())),
        (Data::Text(text), Type::Time | Type::Duration | Type::Text)
        | (Data::Decimal(text), Type::Decimal) => Value::read(of, text).map(Value::into_owned),
        (Data::List(items), Type::List) => {
            let texts = items.iter().map(|item| item.text().map(Box::from));
            texts.collect::<Option<Vec<Box<str>>>>().map(|texts| Value::List(texts.into()))
        }
        _ => None,
    };
    if found.is_none() {
        let like = match of {
            Type::Time => " such as 2026-01-31T09:00:00Z",
            Type::Duration => " such as 15m",
            Type::Decimal => " of at most 18 digits, such as 7.25",
            Type::List => " of texts, such as [a, b]",
            Type::Bool | Type::Int | Type::Text => "",
        };
        problems.add(&node.at, format!("must be {}{like}, not {}", of.name(), node.kind()));
    }
    found
}
