use std::sync::Arc;

use crate::case::{FactRow, FactState, Millis, Value, Why};
use crate::clause::{Schema, Slot};
use crate::text::{Data, Fields, Node, Problems};

use super::read::{one_of, time, value};

/// The answer of one enricher while it is read. Not named at all: absent, as of now.
struct Draft {
    state: FactState,
    as_of: Option<Millis>,
    values: Vec<Value<'static>>,
}

pub(super) fn facts_of(
    node: Option<&Node>,
    now: Millis,
    schema: &Schema,
    problems: &mut Problems,
) -> Vec<Option<Arc<FactRow>>> {
    let draft = || Draft { state: FactState::Absent, as_of: None, values: Vec::new() };
    let mut drafts: Vec<Draft> = schema.enrichers.iter().map(|_| draft()).collect();
    let mut as_of = now;
    if let Some(mut fields) = node.and_then(|node| Fields::of(node, "`facts`", problems)) {
        if let Some(of_all) = fields.get("as_of").and_then(|node| time(node, problems)) {
            as_of = of_all;
        }
        for (key, node) in fields.rest() {
            fact(key, node, &mut drafts, schema, problems);
        }
        fields.finish(problems);
    }
    let rows = drafts.into_iter().zip(&schema.enrichers).map(|(draft, shape)| {
        let known_as_of = match draft.state {
            FactState::Unknown(_) => None,
            FactState::Known | FactState::Absent => Some(draft.as_of.unwrap_or(as_of)),
        };
        let origin = (shape.name.clone(), format!("test:{}", shape.name).into(), "".into());
        let values = (shape.provides.as_slice(), draft.values);
        Some(Arc::new(FactRow::new(origin, "test", known_as_of, draft.state, values)))
    });
    rows.collect()
}

/// `registry.fixture: true | {unknown: timeout} | {value: true, as_of: …}`, and for a whole
/// enricher `registry: absent | {unknown: timeout} | {as_of: …}`. A value that is `null` is absent.
fn fact(key: &Node, node: &Node, drafts: &mut [Draft], schema: &Schema, problems: &mut Problems) {
    let path = key.text().unwrap_or_default();
    if let Some((index, _)) = schema.enricher(path) {
        if let Some(draft) = drafts.get_mut(index) {
            whole(node, draft, problems);
        }
        return;
    }
    let Some((Slot::Fact { enricher, field }, of)) = schema.fact(path) else {
        problems.add(&key.at, schema.unknown_name(path));
        return;
    };
    let count = schema.enrichers.get(enricher).map_or(0, |shape| shape.provides.len());
    let Some(draft) = drafts.get_mut(enricher) else { return };
    let found = if let Data::Map(_) = node.data {
        let Some(mut fields) = Fields::of(node, path, problems) else { return };
        let unknown = why(&mut fields, problems);
        let given = fields.get("value").and_then(|node| value(node, of, problems));
        if let Some(as_of) = fields.get("as_of").and_then(|node| time(node, problems)) {
            draft.as_of = Some(as_of);
        }
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
    if draft.state == FactState::Absent {
        draft.state = FactState::Known;
    }
    draft.values.resize(count, Value::Absent);
    if let Some((slot, value)) = draft.values.get_mut(field).zip(found) {
        *slot = value;
    }
}

fn whole(node: &Node, draft: &mut Draft, problems: &mut Problems) {
    if node.text() == Some("absent") {
        return;
    }
    let Some(mut fields) = Fields::of(node, "an enricher", problems) else { return };
    if let Some(why) = why(&mut fields, problems) {
        draft.state = FactState::Unknown(why);
    }
    if let Some(as_of) = fields.get("as_of").and_then(|node| time(node, problems)) {
        draft.as_of = Some(as_of);
    }
    fields.finish(problems);
}

fn why(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<Why> {
    let node = fields.get("unknown")?;
    one_of(node, "cause", &Why::OF_FACTS, Why::code, problems)
}
