use std::sync::Arc;

use crate::case::{
    Alert, Arrival, Body, Counters, FIELDS, FactRow, Field, Millis, Origin, Value, field_named,
    id_of, parse_duration,
};
use crate::clause::Schema;
use crate::text::{At, Data, Fields, Node, Problems, suggestion};

use super::playbook::Playbook;
use super::read::{duration, time, value};
use super::test_expect::{Expect, expect};
use super::test_facts::facts_of;

/// One entry of a playbook's `tests:`: alerts, one after the other, and what their rulings must be.
#[derive(Debug)]
pub struct TestCase {
    pub name: String,
    pub at: At,
    /// Index of the playbook whose test it is.
    pub playbook: usize,
    /// In the order of their time; at least one has an expectation.
    pub steps: Vec<Step>,
}

/// One alert and everything that its ruling sees.
#[derive(Debug)]
pub struct Step {
    /// Its number among the `alerts` that are written; nothing where the test has one alert.
    pub number: Option<usize>,
    pub now: Millis,
    pub arrival: Arrival<'static>,
    pub facts: Vec<Option<Arc<FactRow>>>,
    /// Nothing: as those before it in the test have counted.
    pub counters: Option<Counters>,
    pub expect: Option<Expect>,
}

/// LIMIT: alerts of one test, repeated ones counted.
const STEPS_MAX: usize = 1000;

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
    let has_alerts = fields.get("alerts").is_some();
    let alert_node =
        if has_alerts { fields.get("alert") } else { fields.require("alert", problems) };
    let mut common = Alert::default();
    if let Some(node) = alert_node {
        alert(node, &mut common, problems);
    }
    let facts = fields.get("facts");
    let mut reader = Reader {
        playbook,
        schema,
        name: name.clone().unwrap_or_default(),
        now: now.unwrap_or_default(),
        common,
        facts,
        steps: Vec::new(),
        problems,
    };
    if has_alerts {
        let nodes = fields.list("alerts", reader.problems);
        nodes.iter().enumerate().for_each(|(place, node)| reader.step(node, place + 1));
    } else {
        reader.only(node, &mut fields);
    }
    let Reader { steps, problems, .. } = reader;
    fields.finish(problems);
    if has_alerts && steps.iter().all(|step| step.expect.is_none()) {
        problems.add(&node.at, "none of the `alerts` has an `expect`: nothing is tested");
    }
    Some(TestCase { name: name?, at: node.at.clone(), playbook: index, steps })
}

struct Reader<'r> {
    playbook: &'r Playbook,
    schema: &'r Schema,
    name: String,
    /// Of the step before.
    now: Millis,
    /// What every alert of the test has.
    common: Alert<'static>,
    facts: Option<&'r Node>,
    steps: Vec<Step>,
    problems: &'r mut Problems,
}

impl<'r> Reader<'r> {
    /// A test with one alert.
    fn only(&mut self, node: &Node, fields: &mut Fields<'_>) {
        let mut alert = self.common.clone();
        fill(&mut alert, self.playbook, self.now);
        let counters = fields.get("counters");
        let counters = counters_of(counters, &alert, self.playbook, self.now, self.problems);
        let expect = fields
            .require("expect", self.problems)
            .and_then(|node| expect(node, self.playbook, self.problems));
        self.push((None, &node.at, 0), alert, self.facts, Some(counters), expect);
    }

    /// `{at: 10m, times: 3, every: 1m, alert: {…}, facts: {…}, expect: {…}}`
    fn step(&mut self, node: &'r Node, number: usize) {
        let Some(mut fields) = Fields::of(node, "one of the `alerts`", self.problems) else {
            return;
        };
        if let Some(node) = fields.get("at") {
            self.at(node);
        }
        let times = fields.int("times", self.problems).unwrap_or(1);
        let every = duration(&mut fields, "every", self.problems).unwrap_or(0);
        let facts = fields.get("facts").or(self.facts);
        let mut of_step = self.common.clone();
        if let Some(node) = fields.get("alert") {
            alert(node, &mut of_step, self.problems);
        }
        let mut expect =
            fields.get("expect").and_then(|node| expect(node, self.playbook, self.problems));
        fields.finish(self.problems);
        let left = STEPS_MAX.saturating_sub(self.steps.len());
        let Some(times) = usize::try_from(times).ok().filter(|times| (1..=left).contains(times))
        else {
            let message =
                format!("a test has between 1 and {STEPS_MAX} alerts, repeated ones counted");
            return self.problems.add(&node.at, message);
        };
        for turn in 0..times {
            if turn > 0 {
                self.now = self.now.plus(every);
            }
            // What is expected is expected of the last one.
            let expect = if turn + 1 == times { expect.take() } else { None };
            self.push((Some(number), &node.at, turn), of_step.clone(), facts, None, expect);
        }
    }

    /// A time, or how long after the alert before. The clock never goes back.
    fn at(&mut self, node: &Node) {
        let after = node.text().and_then(parse_duration).filter(|after| *after >= 0);
        let at = match after {
            Some(after) => Some(self.now.plus(after)),
            None => node.text().and_then(Millis::parse),
        };
        match at.filter(|at| *at >= self.now) {
            Some(at) => self.now = at,
            None => {
                let message = "`at` must be how long after the alert before, 10m, or a time that is not before it";
                self.problems.add(&node.at, message);
            }
        }
    }

    fn push(
        &mut self,
        (number, at, turn): (Option<usize>, &At, usize),
        mut alert: Alert<'static>,
        facts: Option<&Node>,
        counters: Option<Counters>,
        expect: Option<Expect>,
    ) {
        let now = self.now;
        fill(&mut alert, self.playbook, now);
        let facts = facts_of(facts, now, self.schema, self.problems);
        let detector = alert.text(Field::Detector).unwrap_or("test").to_owned();
        let origin = Origin {
            topic: "test".into(),
            incarnation: self.playbook.name.clone().into(),
            partition: 0,
            offset: i64::from(at.line),
            index: u32::try_from(turn).unwrap_or(u32::MAX),
            of: 1,
            sha256: "".into(),
        };
        let arrival = Arrival {
            alert_id: origin.alert_id(),
            correlation_id: self.name.clone().into(),
            origin,
            pipeline: detector.into(),
            body: Body::Alert(Box::new(alert)),
        };
        self.steps.push(Step { number, now, arrival, facts, counters, expect });
    }
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
fn alert(node: &Node, alert: &mut Alert<'static>, problems: &mut Problems) {
    let Some(mut fields) = Fields::of(node, "`alert`", problems) else { return };
    for (key, node) in fields.rest() {
        let name = key.text().unwrap_or_default();
        let is_group = FIELDS.iter().any(|info| info.group == name);
        if is_group && matches!(node.data, Data::Map(_)) {
            let Some(mut nested) = Fields::of(node, name, problems) else { continue };
            for (key, node) in nested.rest() {
                let path = format!("{name}.{}", key.text().unwrap_or_default());
                set(alert, &path, key, node, problems);
            }
        } else {
            set(alert, name, key, node, problems);
        }
    }
}

fn set(alert: &mut Alert<'static>, path: &str, key: &Node, node: &Node, problems: &mut Problems) {
    let Some(field) = field_named(path) else {
        let paths: Vec<String> = FIELDS.iter().map(|info| info.field.path()).collect();
        let hint = suggestion(path, paths.iter().map(String::as_str));
        problems.add(&key.at, format!("no field of an alert is called `{path}`{hint}"));
        return;
    };
    if node.data == Data::Null {
        return alert.set(field, Value::Absent);
    }
    let Some(value) = value(node, field.of(), problems) else { return };
    if let (Some(words), Some(word)) = (field.words(), value.text())
        && !words.contains(&word)
    {
        let hint = suggestion(word, words.iter().copied());
        let message = format!("`{path}` is one of {}, never `{word}`{hint}", words.join(", "));
        problems.add(&node.at, message);
    }
    alert.set(field, value);
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
