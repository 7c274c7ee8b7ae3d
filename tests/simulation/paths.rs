//! The paths that are seldom taken, each by name: what comes, what is remembered, what people are told.

use std::borrow::Cow;
use std::collections::BTreeMap;

use tipstaff::audit::{Actor, Engine, Folded, Hash, Input, Kind, Record};
use tipstaff::case::{
    Alert, BreakOut, Change, Count, Decision, Field, Grouping, Look, Millis, OnExpiry, Priority,
    Reason, Route, Ruling, Sighting, Spans, Suppress, Value, WindowId,
};
use tipstaff::correlate::{News, State};

const HOUR: i64 = 3_600_000;
const OUT: BreakOut = BreakOut { distinct: Field::Repository, over: 2 };

/// A chain's state and what people were told by its last record.
#[derive(Default)]
struct Story {
    state: State,
    seq: u64,
}

impl Story {
    /// One ruling; its case and why people were told.
    fn rule(
        &mut self,
        at: i64,
        (key, repository): (Option<&str>, &str),
        fate: Ruling<'static>,
    ) -> (String, Vec<Change>) {
        let alert_id = format!("alert {}", self.seq);
        let mut alert = Alert::default();
        alert.set(Field::NhiId, Value::Text("svc".into()));
        alert.set(Field::Repository, Value::Text(repository.to_owned().into()));
        let group = |id: &str| Grouping {
            id: id.to_owned(),
            also: None,
            window_ms: HOUR,
            break_out: Some(OUT),
        };
        let (now, grouping) = (Millis(at), key.map(group));
        let counters = self.state.counters(&alert_id, Some(&alert), grouping, now);
        let decision = Decision::new(fate, Reason::RuleMatched, "p", "r");
        let told = self.state.cases().told(&News {
            alert_id: &alert_id,
            alert: &alert,
            counters: &counters,
            decision: &decision,
            break_out: Some(OUT),
            revised: None,
            now,
        });
        let changed = told.as_ref().map(|told| told.changed.clone()).unwrap_or_default();
        let case = counters.case_id.clone();
        let offset = i64::try_from(self.seq).unwrap();
        let record = Record {
            alert_id: Some(alert_id),
            input: Some(Input { topic: "alerts".into(), partition: 0, offset, received_at: None }),
            next_in: BTreeMap::new(),
            counters: Some(Cow::Owned(counters)),
            told,
            alert: Some(Cow::Owned(alert)),
            ruling: Some(Cow::Owned(decision)),
            ..self.blank(Kind::Ruling, at)
        };
        self.state.apply(&record, Hash::NONE);
        (case, changed)
    }

    fn blank(&mut self, kind: Kind, at: i64) -> Record<'static> {
        self.seq += 1;
        let engine = Engine { version: "1".into(), build: "test".into() };
        let actor = Actor { service: "t".into(), instance: "t".into() };
        Record { seq: self.seq, ..Record::new(kind, Millis(at), engine, actor) }
    }
}

fn routed() -> Ruling<'static> {
    Ruling::Route(Route { queue: "q".into(), priority: Priority::High, ack_by: None })
}

fn suppressed(until: i64) -> Ruling<'static> {
    Ruling::Suppress(Suppress {
        evidence: vec![],
        expires_at: Millis(until),
        on_expiry: OnExpiry::ReleaseSummary,
        authorized_by: "o".into(),
    })
}

/// A suppression ends: people are told, once.
fn expiry() -> String {
    let mut story = Story::default();
    for at in [0, 10] {
        let (_, changed) = story.rule(at, (Some("k"), "r"), suppressed(100));
        assert!(changed.is_empty());
    }
    let next = story.state.counters("next", Some(&Alert::default()), None, Millis(10));
    assert_eq!(next.suppressed, 2, "both are of the hour's budget");
    assert!(!story.state.silences().is_empty());
    assert_eq!(story.state.silences().over(Millis(99)).count(), 0);
    let silence = story.state.silences().over(Millis(100)).next().unwrap().clone();
    let told = story.state.cases().told_released(&silence, ("q", Priority::Low, None));
    let timer = Record {
        alert_id: Some(silence.alert_id.clone()),
        counters: Some(Cow::Owned(silence.counters.clone())),
        told: Some(told.clone()),
        ..story.blank(Kind::Timer, 100)
    };
    story.state.apply(&timer, Hash::NONE);
    assert!(story.state.silences().is_empty());
    assert_eq!((told.count, told.changed.as_slice()), (2, &[Change::SuppressionOver][..]));
    let case = story.state.cases().get(&silence.case_id).unwrap();
    assert!(case.may_be_of("p") && !case.may_be_of("q"), "whose playbook suppressed it");
    let (_, changed) = story.rule(200, (Some("k"), "r"), routed());
    assert_eq!(changed, [Change::Priority, Change::Rule], "what people have of it goes on");
    format!("2 alerts suppressed, told as {:?}, then as {changed:?}", told.changed)
}

/// It spreads further than it may: people are told again, once.
fn break_out() -> String {
    let mut story = Story::default();
    let told: Vec<bool> = ["a", "b", "b", "c", "d"]
        .into_iter()
        .map(|repository| story.rule(0, (Some("k"), repository), routed()).1)
        .map(|changed| changed.contains(&Change::BreakOut))
        .collect();
    assert_eq!(told, [false, false, false, true, false]);
    let mut alert = Alert::default();
    alert.set(Field::Repository, Value::Text("a".into()));
    let group = Grouping { id: "k".into(), also: None, window_ms: HOUR, break_out: Some(OUT) };
    let counters = story.state.counters("next", Some(&alert), Some(group), Millis(0));
    let breadth = counters.breadth.unwrap();
    assert_eq!((&*breadth.distinct, breadth.count), ("location.repository", Count::Exactly(4)));
    "1 of 4 repositories is the one too many; what is ruled next knows of 4".to_owned()
}

/// What happened before its window is on record as late and counted nowhere.
fn late_event() -> String {
    let spans =
        Spans { within_ms: HOUR, lateness_ms: 0, distinct: 0, then_ms: vec![], baseline_ms: None };
    let (mut state, window) = (State::default(), WindowId(1));
    let mut seen = Vec::new();
    for at in [10 * HOUR, 10 * HOUR + 1, 8 * HOUR] {
        let sighting = Sighting {
            window,
            key: "k".to_owned(),
            at: Millis(at),
            received_at: Millis(10 * HOUR),
            counts: true,
            then: vec![],
            distinct: vec![],
            late: false,
            spans: spans.clone(),
        };
        let look = Look { window, is_read: true, sighting: Some(sighting) };
        let (readings, sightings) = state.windows().look(vec![look]);
        state.see(&sightings);
        seen.push((readings[0].seen.as_ref().unwrap().count, sightings[0].late));
    }
    assert_eq!(seen.iter().map(|(_, late)| *late).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!(seen[1].0, seen[2].0);
    format!("3 came, {:?} counted, 1 late", seen[2].0)
}

/// Without a key nothing is counted with another.
fn missing_key() -> String {
    let mut story = Story::default();
    let (one, first) = story.rule(0, (None, "r"), routed());
    let (other, second) = story.rule(0, (None, "r"), routed());
    assert_ne!(one, other);
    assert_eq!((&*first, &*second), (&[Change::Opened][..], &[Change::Opened][..]));
    "2 alerts, 2 cases".to_owned()
}

/// Too many cases: what people have stays, no two are merged, and the record says how many went.
fn eviction() -> String {
    let mut story = Story::default();
    let (kept, _) = story.rule(0, (Some("people have it"), "r"), routed());
    let many = 33_000;
    for n in 0..many {
        story.rule(1, (Some(&n.to_string()), "r"), suppressed(i64::MAX));
    }
    let parts = story.state.snapshot(Millis(2));
    let left = story.state.cases().len();
    let dropped = format!("\"dropped\":{{\"cases\":{},", many + 1 - left);
    assert!(parts.last().unwrap().contains(&dropped), "on record");
    let (again, changed) = story.rule(3, (Some("people have it"), "r"), routed());
    assert_eq!((again, changed.len()), (kept, 0), "its case is still open");
    assert_eq!(left, 32_768);
    format!("{} cases, {left} kept in {} parts, the open one among them", many + 1, parts.len())
}

#[test]
fn seldom_paths_lead_where_the_rules_say() {
    println!("expiry       {}", expiry());
    println!("break-out    {}", break_out());
    println!("late event   {}", late_event());
    println!("missing key  {}", missing_key());
    println!("eviction     {}", eviction());
}
