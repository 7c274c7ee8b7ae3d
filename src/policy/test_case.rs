use std::sync::Arc;

use crate::case::{
    Alert, Arrival, Body, Counters, FIELDS, FactRow, Field, Millis, Origin, Spans, Value, WindowId,
    field_named, id_of, parse_duration,
};
use crate::clause::Schema;
use crate::text::{At, Data, Fields, Node, Problems, suggestion};

use super::playbook::Playbook;
use super::read::{duration, no_field, time, value};
use super::test_expect::{Expect, expect};
use super::test_facts::TestFacts;
use super::test_windows::{forgotten, is_forgotten};

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

/// One of the alerts that are written, as often as it is repeated.
#[derive(Debug)]
pub struct Step {
    /// Its number among the `alerts`; nothing where the test has one alert.
    pub number: Option<usize>,
    /// Nothing: as those before it in the test have counted.
    pub counters: Option<Counters>,
    /// Windows that no longer hold all that was in them.
    pub forgotten: Vec<(WindowId, Spans)>,
    /// Of the last of its turns.
    pub expect: Option<Expect>,
    times: usize,
    every_ms: i64,
    /// Of the first, and so is the arrival, but for when it was received.
    now: Millis,
    arrival: Arrival<'static>,
    facts: TestFacts,
}

/// One alert and everything that its ruling sees.
#[derive(Debug)]
pub struct Turn<'t> {
    pub now: Millis,
    pub arrival: Arrival<'static>,
    pub facts: Vec<Option<Arc<FactRow>>>,
    pub expect: Option<&'t Expect>,
}

impl Step {
    /// Made one by one: a test is as large as it is written, however often it repeats itself.
    pub fn turns<'t>(&'t self, schema: &'t Schema) -> impl Iterator<Item = Turn<'t>> {
        (0..self.times).map(move |turn| {
            let after = i64::try_from(turn).unwrap_or(i64::MAX).saturating_mul(self.every_ms);
            let now = self.now.plus(after);
            let mut arrival = self.arrival.clone();
            arrival.origin.index = u32::try_from(turn).unwrap_or(u32::MAX);
            arrival.alert_id = arrival.origin.alert_id();
            if let Body::Alert(alert) = &mut arrival.body {
                received(alert, now);
            }
            let expect = self.expect.as_ref().filter(|_| turn + 1 == self.times);
            Turn { now, arrival, facts: self.facts.rows(now, schema), expect }
        })
    }
}

/// LIMIT: alerts of one test, repeated ones counted.
const ALERTS_MAX: usize = 1000;

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
    let windows = fields.get("windows");
    let mut reader = Reader {
        playbook,
        schema,
        name: name.clone().unwrap_or_default(),
        now: now.unwrap_or_default(),
        common,
        facts,
        windows,
        steps: Vec::new(),
        left: ALERTS_MAX,
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
    windows: Option<&'r Node>,
    steps: Vec<Step>,
    /// How many alerts there may be more.
    left: usize,
    problems: &'r mut Problems,
}

impl<'r> Reader<'r> {
    /// A test with one alert.
    fn only(&mut self, node: &Node, fields: &mut Fields<'_>) {
        let mut alert = self.common.clone();
        fill(&mut alert, self.playbook);
        received(&mut alert, self.now);
        let counters = fields.get("counters");
        let counters = counters_of(counters, &alert, self.playbook, self.now, self.problems);
        let expect = fields
            .require("expect", self.problems)
            .and_then(|node| expect(node, self.playbook, self.problems));
        let repeated = (1, 0);
        let step = self.made(repeated, &node.at, alert, (self.facts, self.windows));
        self.steps.push(Step { counters: Some(counters), expect, ..step });
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
        let windows = fields.get("windows").or(self.windows);
        let mut of_step = self.common.clone();
        if let Some(node) = fields.get("alert") {
            alert(node, &mut of_step, self.problems);
        }
        fill(&mut of_step, self.playbook);
        let expect =
            fields.get("expect").and_then(|node| expect(node, self.playbook, self.problems));
        fields.finish(self.problems);
        let times = usize::try_from(times).ok().filter(|times| (1..=self.left).contains(times));
        let Some(times) = times else {
            let message =
                format!("a test has between 1 and {ALERTS_MAX} alerts, repeated ones counted");
            return self.problems.add(&node.at, message);
        };
        self.left -= times;
        let step = self.made((times, every), &node.at, of_step, (facts, windows));
        let last = i64::try_from(times - 1).unwrap_or(i64::MAX).saturating_mul(every);
        self.now = self.now.plus(last);
        self.steps.push(Step { number: Some(number), expect, ..step });
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

    fn made(
        &mut self,
        (times, every_ms): (usize, i64),
        at: &At,
        alert: Alert<'static>,
        (facts, windows): (Option<&Node>, Option<&Node>),
    ) -> Step {
        let detector = alert.text(Field::Detector).unwrap_or("test").to_owned();
        let origin = Origin {
            topic: "test".into(),
            incarnation: self.playbook.name.clone().into(),
            partition: i32::try_from(at.column).unwrap_or(0),
            offset: i64::from(at.line),
            index: 0,
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
        let facts = TestFacts::read(facts, self.schema, self.problems);
        let forgotten = forgotten(windows, self.playbook, self.problems);
        let (number, counters, expect) = (None, None, None);
        Step { number, counters, forgotten, expect, times, every_ms, now: self.now, arrival, facts }
    }
}

/// What every alert of this playbook has and a test need not repeat.
fn fill(alert: &mut Alert<'static>, playbook: &Playbook) {
    let first = |names: &[String]| names.first().cloned().map(|name| Value::Text(name.into()));
    let defaults =
        [(Field::Kind, first(&playbook.kinds)), (Field::Detector, first(&playbook.detectors))];
    for (field, default) in defaults {
        if let Some(default) = default.filter(|_| !alert.get(field).is_present()) {
            alert.set(field, default);
        }
    }
}

fn received(alert: &mut Alert<'static>, now: Millis) {
    if !alert.get(Field::ReceivedAt).is_present() {
        alert.set(Field::ReceivedAt, Value::Time(now));
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
        return problems.add(&key.at, no_field(path));
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
        window_ms: grouping.as_ref().map_or(0, |grouping| grouping.window_ms),
        also: grouping.as_ref().and_then(|grouping| grouping.also.clone()),
        group: grouping.map(|grouping| grouping.id),
        ..Counters::alone(id_of("case", &[b"test"]), now)
    };
    if let Some(mut fields) = node.and_then(|node| Fields::of(node, "`counters`", problems)) {
        counters.seen = fields.int("seen", problems).unwrap_or(counters.seen);
        if let Some(first_seen) = fields.get("first_seen").and_then(|node| time(node, problems)) {
            counters.first_seen = first_seen;
        }
        let why = fields.get("unknown");
        counters.is_partial = why.is_some_and(|node| is_forgotten(node, problems));
        fields.finish(problems);
    }
    counters
}
