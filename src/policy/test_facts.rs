use std::sync::Arc;

use crate::case::{FactRow, FactState, Millis, Value, Why};
use crate::clause::{Schema, Slot};
use crate::text::{Data, Fields, Node, Problems};

use super::read::{one_of, time, value};

/// What a test says is known.
#[derive(Debug)]
pub(super) struct TestFacts {
    answers: Vec<Answer>,
    /// Nothing: of the moment that each alert is ruled at.
    as_of: Option<Millis>,
}

/// The answer of one enricher. Not named at all: absent.
#[derive(Debug)]
struct Answer {
    state: FactState,
    as_of: Option<Millis>,
    /// Some only where a value is named.
    values: Vec<Value<'static>>,
    /// Whether it is said of the whole enricher that it has nothing, or why it is unknown.
    has_none: bool,
}

impl TestFacts {
    pub(super) fn read(node: Option<&Node>, schema: &Schema, problems: &mut Problems) -> Self {
        let absent = || Answer {
            state: FactState::Absent,
            as_of: None,
            values: Vec::new(),
            has_none: false,
        };
        let mut answers: Vec<Answer> = schema.enrichers.iter().map(|_| absent()).collect();
        let mut as_of = None;
        if let Some(mut fields) = node.and_then(|node| Fields::of(node, "`facts`", problems)) {
            as_of = fields.get("as_of").and_then(|node| time(node, problems));
            for (key, node) in fields.rest() {
                fact(key, node, &mut answers, schema, problems);
            }
            fields.finish(problems);
        }
        Self { answers, as_of }
    }

    pub(super) fn rows(&self, now: Millis, schema: &Schema) -> Vec<Option<Arc<FactRow>>> {
        let rows = self.answers.iter().zip(&schema.enrichers).map(|(answer, shape)| {
            let as_of = match answer.state {
                FactState::Unknown(_) => None,
                FactState::Known | FactState::Absent => {
                    Some(answer.as_of.or(self.as_of).unwrap_or(now))
                }
            };
            let origin = (shape.name.clone(), format!("test:{}", shape.name).into(), "".into());
            let values = (shape.provides.as_slice(), answer.values.clone());
            Some(Arc::new(FactRow::new(origin, "test", as_of, answer.state, values)))
        });
        rows.collect()
    }
}

impl Answer {
    /// An answer has one time, and either values or none.
    fn taken(&mut self, as_of: Option<&Node>, problems: &mut Problems) {
        let Some(node) = as_of else { return };
        let Some(as_of) = time(node, problems) else { return };
        if self.as_of.is_some_and(|other| other != as_of) {
            let message =
                "another `as_of` of the same enricher says otherwise: its values are one answer";
            problems.add(&node.at, message);
        }
        self.as_of = Some(as_of);
    }
}

fn contradiction(key: &Node, enricher: &str, problems: &mut Problems) {
    let message = format!(
        "`{enricher}` is said to be absent or unknown as a whole, and to have a value as well"
    );
    problems.add(&key.at, message);
}

/// `registry.fixture: true | {unknown: timeout} | {value: true, as_of: …}`, and for a whole
/// enricher `registry: absent | {unknown: timeout} | {as_of: …}`. A value that is `null` is absent.
fn fact(key: &Node, node: &Node, answers: &mut [Answer], schema: &Schema, problems: &mut Problems) {
    let path = key.text().unwrap_or_default();
    if let Some((index, _)) = schema.enricher(path) {
        if let Some(answer) = answers.get_mut(index) {
            whole(node, answer, problems);
            if answer.has_none && !answer.values.is_empty() {
                contradiction(key, path, problems);
            }
        }
        return;
    }
    let Some((Slot::Fact { enricher, field }, of)) = schema.fact(path) else {
        problems.add(&key.at, schema.unknown_name(path));
        return;
    };
    let shape = schema.enrichers.get(enricher);
    let Some((answer, shape)) = answers.get_mut(enricher).zip(shape) else { return };
    let found = if let Data::Map(_) = node.data {
        let Some(mut fields) = Fields::of(node, path, problems) else { return };
        let unknown = why(&mut fields, problems);
        let given = fields.get("value").and_then(|node| value(node, of, problems));
        answer.taken(fields.get("as_of"), problems);
        if fields.get("unknown").is_some() == fields.get("value").is_some() {
            problems.add(&node.at, "must be `{unknown: why}` or `{value: …, as_of: …}`");
        }
        fields.finish(problems);
        unknown.map(Value::Unknown).or(given)
    } else if node.data == Data::Null {
        None
    } else {
        value(node, of, problems)
    };
    if answer.has_none {
        contradiction(key, &shape.name, problems);
    } else {
        answer.state = FactState::Known;
    }
    answer.values.resize(shape.provides.len(), Value::Absent);
    if let Some((slot, value)) = answer.values.get_mut(field).zip(found) {
        *slot = value;
    }
}

fn whole(node: &Node, answer: &mut Answer, problems: &mut Problems) {
    if node.text() == Some("absent") {
        answer.has_none = true;
        return;
    }
    let Some(mut fields) = Fields::of(node, "an enricher", problems) else { return };
    if let Some(why) = why(&mut fields, problems) {
        (answer.state, answer.has_none) = (FactState::Unknown(why), true);
    }
    let as_of = fields.get("as_of");
    if let Some(node) = as_of.filter(|_| answer.has_none) {
        problems.add(&node.at, "what is unknown is of no time: `unknown` or `as_of`, not both");
    }
    answer.taken(as_of, problems);
    fields.finish(problems);
}

fn why(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<Why> {
    let node = fields.get("unknown")?;
    one_of(node, "cause", &Why::OF_FACTS, Why::code, problems)
}
