//! What people are told of a case again, and what is one more of what they know.

use std::borrow::Cow;
use std::collections::BTreeMap;

use tipstaff::audit::{Actor, Engine, Folded, Hash, Input, Kind, Raw, Record, SnapshotRef};
use tipstaff::case::{
    Again, Alert, BreakOut, Change, Closing, Count, Counters, Decision, Escalate, Field, Grouping,
    Hold, Id, Judgement, Millis, OnExpiry, Part, PermitRecord, Priority, Reason, Revised, Route,
    Ruling, Standing, Suppress, Told, Value, Verb,
};
use tipstaff::correlate::{Case, News, State};

use super::forged::statement;

#[derive(Default)]
struct Story {
    state: State,
    number: u32,
}

pub type Fields<'f> = &'f [(Field, &'f str)];

pub fn alert(fields: Fields<'_>) -> Alert<'static> {
    let mut alert = Alert::default();
    for (field, value) in fields {
        alert.set(*field, Value::Text((*value).to_owned().into()));
    }
    alert
}

impl Story {
    fn counters(&self, alert_id: &str, (key, fields): (&str, Fields<'_>)) -> Counters {
        let out = Some(BreakOut { distinct: Field::Detector, over: 1 });
        let group = Grouping { id: key.into(), also: None, window_ms: 10_000, break_out: out };
        self.state.counters(alert_id, Some(&alert(fields)), Some(group), self.now())
    }

    fn now(&self) -> Millis {
        Millis(self.number.into())
    }

    /// One more alert of this case, ruled so by this rule of `p`; what people are told.
    fn rule(
        &mut self,
        (key, fields): (&str, Fields<'_>),
        (rule, fate): (&str, Ruling<'static>),
    ) -> Option<Told<'static>> {
        self.number += 1;
        let alert_id = format!("alert {}", self.number);
        let counters = self.counters(&alert_id, (key, fields));
        let decision = Decision::new(fate, Reason::RuleMatched, "p", rule.to_owned());
        self.write(Kind::Ruling, (alert_id, counters), (alert(fields), decision), None)
    }

    fn write(
        &mut self,
        kind: Kind,
        (alert_id, counters): (Id, Counters),
        (alert, decision): (Alert<'static>, Decision<'static>),
        revised: Option<Revised<'static>>,
    ) -> Option<Told<'static>> {
        let told = self.state.cases().told(&News {
            alert_id: &alert_id,
            alert: &alert,
            counters: &counters,
            decision: &decision,
            break_out: None,
            revised: revised.as_ref(),
            now: self.now(),
        });
        let input = Input { topic: "a".into(), partition: 0, offset: 0, received_at: None };
        let record = Record {
            alert_id: Some(alert_id),
            input: (kind == Kind::Ruling).then_some(input),
            counters: Some(Cow::Owned(counters)),
            alert: Some(Cow::Owned(alert)),
            ruling: Some(Cow::Owned(decision)),
            told: told.clone(),
            revised,
            ..self.blank(kind)
        };
        self.state.apply(&record, Hash::NONE);
        told
    }

    fn blank(&self, kind: Kind) -> Record<'static> {
        let engine = Engine { version: "1".into(), build: "test".into() };
        let actor = Actor { service: "t".into(), instance: "t".into() };
        Record::new(kind, self.now(), engine, actor)
    }

    /// What people are told without a ruling.
    fn tell(&mut self, kind: Kind, told: Told<'static>) {
        let record = Record { told: Some(told), ..self.blank(kind) };
        self.state.apply(&record, Hash::NONE);
    }

    /// The first alert again, of which people have this.
    fn again(
        &mut self,
        (why, standing): (Again, Option<Standing>),
        fate: Ruling<'static>,
    ) -> Option<Told<'static>> {
        let revised = Revised { why, facts: vec![], standing };
        let of = ("alert 1".to_owned(), self.counters("alert 1", ("k", &[])));
        let decision = Decision::new(fate, Reason::RuleMatched, "p", "r");
        self.write(Kind::Revision, of, (Alert::default(), decision), Some(revised))
    }

    fn close_risk(&mut self) {
        let mut close = statement(0, Verb::Close);
        close.close = Some(Closing {
            verdict: Judgement::TruePositive,
            reason: "rotated".to_owned(),
            evidence: vec![],
            of: None,
            part: Some(Part::Risk),
            links: BTreeMap::new(),
        });
        let told = self.case().told_ordered(&close, self.now()).unwrap();
        self.tell(Kind::Order, told);
    }

    fn case(&self) -> &Case {
        self.state.cases().get(&self.counters("a", ("k", &[])).case_id).unwrap()
    }

    fn may_be_of(&self, key: &str, playbook: &str) -> bool {
        let case = self.counters("a", (key, &[])).case_id;
        self.state.cases().get(&case).unwrap().may_be_of(playbook)
    }
}

fn changed(told: Option<Told<'_>>) -> Vec<Change> {
    told.map(|told| told.changed).unwrap_or_default()
}

fn route(queue: &'static str, priority: Priority) -> Ruling<'static> {
    Ruling::Route(Route { queue: queue.into(), priority, ack_by: None })
}

fn high() -> Ruling<'static> {
    route("q", Priority::High)
}

fn due(priority: Priority, at: i64) -> Ruling<'static> {
    Ruling::Route(Route { queue: "q".into(), priority, ack_by: Some(Millis(at)) })
}

fn suppressed() -> Ruling<'static> {
    Ruling::Suppress(Suppress {
        evidence: vec![],
        expires_at: Millis(0),
        on_expiry: OnExpiry::ReleaseSummary,
        authorized_by: "o".into(),
    })
}

pub fn escalate(action: &'static str, target: &'static str) -> Ruling<'static> {
    Ruling::Escalate(Escalate {
        action: action.into(),
        target: target.into(),
        rollback: "enable".into(),
        queue: "q".into(),
        priority: Priority::High,
        expires_at: Millis(0),
        ack_by: None,
        permit: PermitRecord { id: "p".into(), allowed_by: "b".into(), obligations: vec![] },
    })
}

#[test]
fn another_action_or_target_is_told_and_the_same_one_is_not() {
    let mut story = Story::default();
    let mut told = |fate| changed(story.rule(("k", &[]), ("r", fate)));
    assert_eq!(told(escalate("disable", "a")), [Change::Opened]);
    assert_eq!(told(escalate("disable", "a")), []);
    assert_eq!(told(escalate("disable", "b")), [Change::State]);
    assert_eq!(told(escalate("revoke", "b")), [Change::State]);
    assert_eq!(told(high()), []);
    assert_eq!(told(escalate("revoke", "b")), []);
}

#[test]
fn each_validity_of_a_credential_is_told_once() {
    let mut story = Story::default();
    let mut told = |validity| {
        changed(story.rule(("k", &[(Field::CredentialValidity, validity)]), ("r", high())))
    };
    assert_eq!(told("unknown"), [Change::Opened]);
    assert_eq!(told("unknown"), []);
    assert_eq!(told("valid"), [Change::Validity]);
    assert_eq!(told("unknown"), []);
    assert_eq!(told("valid"), []);
}

/// Of more than so many it is no longer known whether another one is new.
#[test]
fn each_rule_is_told_once_and_only_so_many_are_told_apart() {
    let mut story = Story::default();
    for detector in ["a", "b", "c", "d"] {
        story.rule(("k", &[(Field::Detector, detector)]), ("0", high()));
    }
    assert!(story.may_be_of("k", "p") && !story.may_be_of("k", "another"));
    let mut told = |rule: &str| {
        let changed = changed(story.rule(("k", &[(Field::Detector, rule)]), (rule, high())));
        changed.contains(&Change::Rule)
    };
    for rule in 1..8 {
        assert!(told(&rule.to_string()) && !told(&rule.to_string()), "{rule}");
    }
    assert!(!told("8"));
    assert!(story.may_be_of("k", "another"), "nobody knows");
}

#[test]
fn a_case_goes_to_another_queue_only_when_it_is_more_urgent_there() {
    let mut story = Story::default();
    let mut told = |detector, queue, priority| {
        let told = story.rule(("k", &[(Field::Detector, detector)]), ("r", route(queue, priority)));
        told.map(|told| (told.queue, told.left, told.priority)).unwrap()
    };
    assert_eq!(told("a", "one", Priority::Medium), ("one".into(), None, Priority::Medium));
    assert_eq!(told("b", "two", Priority::Low), ("one".into(), None, Priority::Medium));
    let left = Some("one".into());
    assert_eq!(told("c", "two", Priority::High), ("two".into(), left, Priority::High));
    assert_eq!(told("d", "two", Priority::High), ("two".into(), None, Priority::High));
}

#[test]
fn a_later_ruling_is_told_of_the_alert_that_people_were_told_of() {
    let mut story = Story::default();
    story.rule(("k", &[]), ("r", high()));
    let had = || (Again::LateFact, Standing::of(&high()));
    assert_eq!(changed(story.again(had(), high())), [Change::Facts]);
    story.rule(("k", &[]), ("another", high()));
    assert_eq!(changed(story.again(had(), high())), [], "of which they were told before that");
}

#[test]
fn the_end_of_a_suppression_is_told_with_what_it_came_to() {
    let mut story = Story::default();
    story.rule(("k", &[]), ("r", suppressed()));
    let over = || (Again::SuppressionOver, None);
    let opened = [Change::Opened, Change::SuppressionOver];
    assert_eq!(changed(story.again(over(), high())), opened);
    assert_eq!(changed(story.again(over(), high())), [Change::Facts, Change::SuppressionOver]);
}

#[test]
fn what_is_suppressed_no_longer_is_theirs_with_a_deadline_or_goes_on() {
    for (due, given) in [(3, Some(2)), (2, Some(1)), (1, None), (0, None)] {
        let mut story = Story::default();
        story.rule(("k", &[]), ("r", suppressed()));
        let silence = story.state.silences().over(Millis(1)).next().unwrap().clone();
        let due = Some(Millis(due));
        let told = story.state.cases().told_released(&silence, ("q", Priority::Low, due));
        assert_eq!((told.revision, told.ack_by), (1, due));
        story.tell(Kind::Timer, told);
        assert_eq!(story.case().had.as_ref().unwrap().ack_ms, given, "the time that they have");
        let next = story.state.cases().told_released(&silence, ("q", Priority::Low, None));
        assert_eq!((next.revision, next.ack_by), (2, due));
    }
}

/// What is ruled again has kept its first deadline, and what asks for nothing new has theirs.
#[test]
fn a_deadline_comes_earlier_where_a_case_asks_for_attention_anew() {
    let after = |is_again: bool, (fields, priority, at): (Fields<'_>, Priority, i64)| {
        let mut story = Story::default();
        story.rule(("k", &[]), ("r", due(Priority::Medium, 10)));
        story.number = 4;
        let told = if is_again {
            let standing = Standing::of(&due(Priority::Medium, 10));
            story.again((Again::LateFact, standing), due(priority, at))
        } else {
            story.rule(("k", fields), ("r", due(priority, at)))
        };
        told.unwrap().ack_by.unwrap().0
    };
    let high = |at| (&[][..], Priority::High, at);
    assert_eq!([3, 4, 5].map(|at| after(true, high(at))), [10, 10, 5]);
    assert_eq!([4, 5, 11].map(|at| after(false, high(at))), [4, 5, 10]);
    let detector = (&[(Field::Detector, "another")][..], Priority::Medium, 7);
    assert_eq!(after(false, detector), 10);
}

#[test]
fn what_is_held_and_cannot_be_ruled_is_theirs_and_open() {
    let until = Millis(9);
    let held = || Ruling::Hold(Hold { queue: "data".into(), priority: Priority::Low, until });
    for is_closed in [false, true] {
        let mut story = Story::default();
        story.rule(("k", &[]), ("r", held()));
        let mut expected = vec![Change::State];
        if is_closed {
            story.close_risk();
            expected.push(Change::Reopened);
        }
        let to = ("q", Priority::High, Some(Millis(20)));
        let told = story.case().told_unruled(to).unwrap();
        assert_eq!((told.priority, told.ack_by), (Priority::High, Some(Millis(20))));
        assert_eq!((told.queue, told.left), ("q".into(), Some("data".into())));
        assert_eq!(told.changed, expected);
        let reopened = told.worked.map(|worked| (worked.is_partly_closed(), worked.reopened));
        assert_eq!(reopened, is_closed.then_some((false, 1)));
    }
}

#[test]
fn what_is_closed_in_part_is_opened_again_by_what_is_new_alone() {
    let mut story = Story::default();
    story.rule(("k", &[]), ("r", high()));
    story.close_risk();
    let had = (Again::LateFact, Standing::of(&high()));
    assert_eq!(changed(story.again(had, high())), [Change::Facts]);
    let told = story.rule(("k", &[(Field::Detector, "another")]), ("r", high()));
    assert_eq!(changed(told), [Change::Detector, Change::Reopened]);
}

/// Newest first, each once, and at most eight.
#[test]
fn related_cases_are_those_of_the_same_identity_or_value() {
    let mut story = Story::default();
    let (nhi, value) = ((Field::NhiId, "svc"), (Field::CredentialFingerprint, "fp"));
    let mut open = |key: &str, fields: Fields<'_>| {
        let told = story.rule((key, fields), ("r", high())).unwrap();
        (told.case_id, told.related)
    };
    let (both, none) = open("both", &[nhi, value]);
    assert_eq!(none, Vec::<Id>::new());
    open("another", &[(Field::NhiId, "svc 2"), (Field::CredentialFingerprint, "fp 2")]);
    let (by_nhi, related) = open("nhi", &[nhi]);
    assert_eq!(related, [&*both]);
    let (by_value, related) = open("value", &[value]);
    assert_eq!(related, [&*both]);
    let (_, related) = open("last", &[nhi, value]);
    assert_eq!(related, [&*by_value, &*both, &*by_nhi], "those of the same value in front");
    for n in 0..8 {
        open(&n.to_string(), &[value]);
    }
    assert_eq!(open("many", &[nhi, value]).1.len(), 8);
}

#[test]
fn a_case_spreads_over_what_its_playbook_counts() {
    let mut story = Story::default();
    assert!(story.state.cases().is_empty());
    for (detector, source) in [("a", "1"), ("b", "2"), ("b", "3")] {
        story.rule(("k", &[(Field::Detector, detector), (Field::SourceIp, source)]), ("r", high()));
    }
    assert!(!story.state.cases().is_empty());
    let counters = story.counters("next", ("k", &[(Field::Detector, "c")]));
    assert_eq!(counters.breadth.unwrap().count, Count::Exactly(3));
}

/// Their names go, and which are no longer known is on record once.
#[test]
fn a_case_that_was_dropped_and_is_told_of_again_is_known_in_part() {
    let mut story = Story::default();
    story.rule(("g", &[]), ("r", suppressed()));
    let counters = story.counters("alert 1", ("g", &[]));
    assert!(!counters.is_partial);
    story.state = State::default();
    let decision = Decision::new(high(), Reason::RuleMatched, "p", "r".to_owned());
    let told =
        story.write(Kind::Revision, ("alert 1".to_owned(), counters), (alert(&[]), decision), None);
    assert!(told.is_some());
    assert!(story.counters("alert 2", ("g", &[])).is_partial);
}

#[test]
fn of_very_many_cases_a_snapshot_keeps_the_numbers_alone() {
    let mut story = Story::default();
    for n in 0..2048 + 5 {
        let field = if n % 2 == 0 { Field::Repository } else { Field::SourceIp };
        story.rule((&n.to_string(), &[(field, "name")]), ("r", high()));
    }
    let mut reader = story.state.clone();
    for expected in ["\"names\":5,", "\"names\":0,"] {
        let parts = story.state.snapshot(story.now());
        assert!(parts.last().unwrap().contains(expected), "{expected}");
    }
    let json = serde_json::from_str("{}").unwrap();
    let snapshot = SnapshotRef { digest: Hash::NONE, state: Raw(json), part: 0, rest: 1 };
    let first = Record { snapshot: Some(snapshot), ..story.blank(Kind::Snapshot) };
    story.state.apply(&first, Hash::NONE);
    reader.apply(&first, Hash::NONE);
    assert!(reader == story.state, "whoever reads the chain drops the same at the same record");
    let told = story.rule(("0", &[(Field::Repository, "another")]), ("r", high()));
    assert_eq!(changed(told), [], "nobody knows whether it is new");
}
