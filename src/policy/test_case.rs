use std::sync::Arc;

use crate::case::{
    Alert, Arrival, Body, Counters, FIELDS, FactRow, FactState, Field, Millis, Origin, Priority,
    Reason, Value, Why, field_named, id_of,
};
use crate::clause::{Schema, Slot};
use crate::text::{At, Data, Fields, Node, Problems, suggestion};

use super::playbook::Playbook;
use super::read::{one_of, priority, time, value};

/// One entry of a playbook's `tests:`: everything a ruling sees, and what it must be.
#[derive(Debug)]
pub struct TestCase {
    pub name: String,
    pub at: At,
    /// Index of the playbook whose test it is.
    pub playbook: usize,
    pub arrival: Arrival<'static>,
    pub facts: Vec<Option<Arc<FactRow>>>,
    pub counters: Counters,
    pub now: Millis,
    pub expect: Expect,
}

#[derive(Debug)]
pub struct Expect {
    /// `route`, `suppress`, `escalate` or `hold`.
    pub fate: &'static str,
    /// The queue, the reason of the suppression, or the action.
    pub subject: String,
    pub rule: Option<String>,
    pub reason: Option<Reason>,
    pub priority: Option<Priority>,
}

const FATES: [&str; 4] = ["route", "suppress", "escalate", "hold"];

pub(super) fn test_case(
    node: &Node,
    playbook: &Playbook,
    index: usize,
    schema: &Schema,
    problems: &mut Problems,
) -> Option<TestCase> {
    let mut fields = Fields::of(node, "a test", problems)?;
    let name = fields.require_text("name", problems).map(str::to_owned);
    let now = fields.require("now", problems).and_then(|node| time(node, problems));
    let alert = fields.require("alert", problems).map(|node| alert(node, problems));
    let facts = fields.get("facts");
    let facts = facts_of(facts, now.unwrap_or_default(), schema, problems);
    let counters = fields.get("counters");
    let expect =
        fields.require("expect", problems).and_then(|node| expect(node, playbook, problems));
    fields.finish(problems);
    let (name, now, mut alert) = (name?, now?, alert?);
    fill(&mut alert, playbook, now);
    let counters = counters_of(counters, &alert, playbook, now, problems);
    let detector = alert.text(Field::Detector).unwrap_or("test").to_owned();
    let origin = Origin {
        topic: "test".into(),
        incarnation: playbook.name.clone().into(),
        partition: 0,
        offset: i64::from(node.at.line),
        index: 0,
        of: 1,
        sha256: "".into(),
    };
    Some(TestCase {
        arrival: Arrival {
            alert_id: origin.alert_id(),
            correlation_id: name.clone().into(),
            origin,
            pipeline: detector.into(),
            body: Body::Alert(Box::new(alert)),
        },
        name,
        at: node.at.clone(),
        playbook: index,
        facts,
        counters,
        now,
        expect: expect?,
    })
}

/// What every alert of this playbook has and a test need not repeat.
fn fill(alert: &mut Alert<'static>, playbook: &Playbook, now: Millis) {
    let first = |names: &[String]| names.first().cloned().map(|name| Value::Text(name.into()));
    let defaults = [
        (Field::Kind, first(&playbook.kinds)),
        (Field::Detector, first(&playbook.detectors)),
        (Field::ReceivedAt, Some(Value::Time(now))),
    ];
    for (field, default) in defaults {
        if let Some(default) = default.filter(|_| !alert.get(field).is_present()) {
            alert.set(field, default);
        }
    }
}

/// Fields by their path, `nhi.id: x`, or nested, `nhi: {id: x}`.
fn alert(node: &Node, problems: &mut Problems) -> Alert<'static> {
    let mut alert = Alert::default();
    let Some(mut fields) = Fields::of(node, "`alert`", problems) else { return alert };
    for (key, node) in fields.rest() {
        let name = key.text().unwrap_or_default();
        let is_group = FIELDS.iter().any(|info| info.group == name);
        if is_group && matches!(node.data, Data::Map(_)) {
            let Some(mut nested) = Fields::of(node, name, problems) else { continue };
            for (key, node) in nested.rest() {
                let path = format!("{name}.{}", key.text().unwrap_or_default());
                set(&mut alert, &path, key, node, problems);
            }
        } else {
            set(&mut alert, name, key, node, problems);
        }
    }
    alert
}

fn set(alert: &mut Alert<'static>, path: &str, key: &Node, node: &Node, problems: &mut Problems) {
    let Some(field) = field_named(path) else {
        let paths: Vec<String> = FIELDS.iter().map(|info| info.field.path()).collect();
        let hint = suggestion(path, paths.iter().map(String::as_str));
        problems.add(&key.at, format!("no field of an alert is called `{path}`{hint}"));
        return;
    };
    if node.data == Data::Null {
        return;
    }
    if let Some(value) = value(node, field.of(), problems) {
        alert.set(field, value);
    }
}

/// The answer of one enricher while it is read. Not named at all: absent, as of now.
struct Draft {
    state: FactState,
    as_of: Option<Millis>,
    values: Vec<Value<'static>>,
}

fn facts_of(
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
/// enricher `registry: {unknown: timeout} | {as_of: …}`.
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

fn counters_of(
    node: Option<&Node>,
    alert: &Alert<'_>,
    playbook: &Playbook,
    now: Millis,
    problems: &mut Problems,
) -> Counters {
    let grouping = playbook.grouping(alert);
    let mut counters = Counters {
        case_id: id_of("case", &[b"test"]),
        window_ms: grouping.as_ref().map_or(0, |grouping| grouping.window_ms),
        group: grouping.map(|grouping| grouping.id),
        seen: 1,
        first_seen: now,
    };
    if let Some(mut fields) = node.and_then(|node| Fields::of(node, "`counters`", problems)) {
        counters.seen = fields.int("seen", problems).unwrap_or(counters.seen);
        if let Some(first_seen) = fields.get("first_seen").and_then(|node| time(node, problems)) {
            counters.first_seen = first_seen;
        }
        fields.finish(problems);
    }
    counters
}

fn expect(node: &Node, playbook: &Playbook, problems: &mut Problems) -> Option<Expect> {
    let mut fields = Fields::of(node, "`expect`", problems)?;
    let mut fates = Vec::new();
    for fate in FATES {
        fates.extend(fields.text(fate, problems).map(|subject| (fate, subject.to_owned())));
    }
    let rule_at = fields.get("rule").map_or(&node.at, |node| &node.at);
    let rule = fields.text("rule", problems).map(str::to_owned);
    let ids = || playbook.rules.iter().map(|rule| rule.id.as_str());
    if let Some(rule) = rule.as_deref().filter(|rule| ids().all(|id| id != *rule)) {
        let hint = suggestion(rule, ids());
        problems.add(rule_at, format!("this playbook has no rule `{rule}`{hint}"));
    }
    let reason = fields
        .get("reason")
        .map(|node| one_of(node, "reason", Reason::ALL, Reason::code, problems));
    let priority = fields.get("priority").map(|node| priority(node, problems));
    fields.finish(problems);
    let [(fate, subject)] = <[_; 1]>::try_from(fates).ok().or_else(|| {
        problems.add(&node.at, "must be exactly one of `route`, `suppress`, `escalate`, `hold`");
        None
    })?;
    Some(Expect { fate, subject, rule, reason: reason.flatten(), priority: priority.flatten() })
}
