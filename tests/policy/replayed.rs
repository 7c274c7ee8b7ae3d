//! Records ruled again, under their own policy and another.

use std::collections::BTreeMap;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::value::RawValue;
use tipstaff::audit::{Actor, Cause, Engine, Hash, Kind, PolicyRef, Raw, Record};
use tipstaff::case::{
    Again, Body, Decision, Millis, Revised, Ruling, Standing, Unreadable, Value, Why,
};
use tipstaff::decide::{Inputs, explain, rests_on};
use tipstaff::policy::Policy;
use tipstaff::replay::{Change, Progress, Report, Stored, changes, compare};

use crate::choices::{Choices, choices, config};
use crate::generated::{boundaries, playbook, situation};
use crate::support::{
    NOW, OWNER, REGISTRY, Situation, VAULT, absent, arrived, known, plain_alert, policy, text,
};

/// A policy and one like it, with another hash.
fn generated(choices: &mut Choices, hash: &str) -> Policy {
    let (playbook, layers) = (playbook(choices), boundaries(choices));
    let layers: Vec<&str> = layers.iter().map(String::as_str).collect();
    let mut policy = policy(&[&playbook], &layers).unwrap_or_else(|p| panic!("{p:?}\n{playbook}"));
    policy.hash = hash.to_owned();
    policy
}

pub struct Written<'w> {
    pub policy: &'w str,
    pub number: usize,
    pub at: Millis,
    pub revised: Option<Revised<'w>>,
}

/// As it would stand on the decisions topic.
pub fn record(situation: &Situation, decision: &Decision<'_>, written: &Written<'_>) -> Vec<u8> {
    let Body::Alert(alert) = &situation.arrival.body else { panic!("no alert") };
    let texts: Vec<Box<RawValue>> =
        situation.facts.iter().flatten().map(|row| row.json().to_owned()).collect();
    let engine = Engine { version: "t".into(), build: "t".into() };
    let actor = Actor { service: "t".into(), instance: "t".into() };
    let kind = if written.revised.is_some() { Kind::Revision } else { Kind::Ruling };
    let is_later = written.revised.is_some();
    let record = Record {
        alert_id: Some(format!("{:032x}", written.number)),
        correlation_id: Some("c".into()),
        revision: is_later.then_some(1),
        cause: is_later.then_some(Cause { seq: 0, hash: Hash::NONE }),
        revised: written.revised.clone(),
        next_in: BTreeMap::new(),
        pipeline: Some("gitleaks".into()),
        alert: Some(std::borrow::Cow::Borrowed(alert.as_ref())),
        facts: texts.iter().map(|text| Raw(text)).collect(),
        counters: Some(std::borrow::Cow::Borrowed(&situation.counters)),
        policy: Some(PolicyRef { hash: written.policy.into(), generation: 1, signers: Vec::new() }),
        ruling: Some(std::borrow::Cow::Borrowed(decision)),
        ..Record::new(kind, written.at, engine, actor)
    };
    serde_json::to_vec(&record).unwrap()
}

fn compared(old: &Policy, new: &Policy, records: &[Vec<u8>]) -> Report {
    let records: Vec<Stored<'_>> =
        (0..).zip(records).map(|(offset, bytes)| (0, offset, bytes.as_slice())).collect();
    compare(old, new, &records, &Progress::default()).unwrap()
}

#[test]
fn a_comparison_finds_what_ruling_each_alert_twice_finds_and_nothing_under_one_policy() {
    let mut runner = TestRunner::new(config(1));
    let bytes = choices(200);
    let mut next = || Choices::new(bytes.new_tree(&mut runner).unwrap().current());
    let mut found = 0;
    for _ in 0..20 {
        let (old, new) = (generated(&mut next(), "old"), generated(&mut next(), "new"));
        let mut situations: Vec<Situation> = (0..40).map(|_| situation(&mut next())).collect();
        let records: Vec<Vec<u8>> = (0..)
            .zip(&situations)
            .map(|(number, situation)| {
                let written = Written { policy: "old", number, at: NOW, revised: None };
                record(situation, &situation.decide(&old).decision, &written)
            })
            .collect();
        for policy in [&old, &new] {
            let same = compared(policy, policy, &records);
            assert_eq!((same.alerts, same.changed, same.other_rule, same.failed), (40, 0, 0, 0));
        }
        let report = compared(&old, &new, &records);
        let mut expected: BTreeMap<Change, u64> = BTreeMap::new();
        // As if nothing had been stopped.
        situations.iter_mut().for_each(|situation| situation.counters.stopped = None);
        for situation in &situations {
            let (was, is) = (situation.decide(&old).decision, situation.decide(&new).decision);
            for change in changes(&was, &is) {
                *expected.entry(change).or_default() += 1;
            }
        }
        assert_eq!(report.counts, expected);
        let told: u64 = report.groups.values().map(|group| group.count).sum();
        assert_eq!(told, expected.values().sum::<u64>());
        found += report.changed;
    }
    assert!(found > 100, "{found}");
}

/// INV-7: who asks for the reasons gets the same ruling, and its trace agrees with it.
#[test]
fn what_is_explained_is_what_is_ruled() {
    let mut runner = TestRunner::new(config(1));
    let bytes = choices(200);
    let mut next = || Choices::new(bytes.new_tree(&mut runner).unwrap().current());
    for _ in 0..200 {
        let policy = generated(&mut next(), "p");
        let situation = situation(&mut next());
        let inputs = Inputs {
            arrival: &situation.arrival,
            facts: &situation.facts,
            counters: &situation.counters,
            now: NOW,
        };
        let decision = situation.decide(&policy).decision;
        let explanation = explain(&policy, &inputs, None);
        assert_eq!(explanation.ruling, decision);
        let rules = &explanation.playbooks[0].rules;
        assert_eq!(rules.len(), policy.playbooks()[0].rules.len());
        for passed in &decision.passed {
            let rule = rules.iter().find(|rule| rule.rule == passed.rule).unwrap();
            assert!(rule.tried && rule.verdict == passed.because.verdict, "{passed:?}");
        }
        if decision.reason.code() == "rule_matched" {
            let rule = rules.iter().find(|rule| rule.rule == decision.rule).unwrap();
            assert_eq!(rule.verdict, tipstaff::case::Verdict::True);
        }
        let nothing = explanation.stronger.iter().find(|each| each.needs.is_empty());
        assert!(nothing.is_none(), "nothing stood in its way: {nothing:?}\n{decision:#?}");
    }
}

const BASE: &str = "boundary: base\nowner: o\ndefault_queue: {queue: triage, priority: medium}\n\
    context: {environment: owner.environment}\n\
    allow: [{id: dev, actions: [disable-key], environments: [dev]}]\n\
    suppress: {max_expires: 30d}\n";

fn keys(facts: &str, rules: &str) -> Policy {
    keys_within(facts, &format!("{rules}{}", otherwise("")), BASE)
}

fn otherwise(more: &str) -> String {
    format!("  - id: otherwise\n    route: {{queue: q, priority: low{more}}}\n")
}

fn keys_within(facts: &str, rules: &str, boundary: &str) -> Policy {
    let text = format!(
        "playbook: keys\ntitle: t\nowner: o\nmode: live\non: {{kind: exposed_key}}\n\
         facts: {{{facts}}}\nrules:\n{rules}"
    );
    let mut policy = policy(&[&text], &[boundary]).unwrap_or_else(|p| panic!("{p:?}\n{text}"));
    policy.hash = text;
    policy
}

const SUPPRESS: &str = "  - id: fixture\n    when: [registry.fixture == true]\n    on_unknown: next\n    \
    suppress: {reason: test_fixture, evidence: [registry.fixture], expires: 2d, on_expiry: recheck}\n";
const ESCALATE: &str = "  - id: live\n    when: [vault.live == true]\n    on_unknown: hold\n    \
    escalate: {action: disable-key, rollback: enable-key, expires: 1d, queue: cloud, priority: high}\n";

fn fixture() -> Situation {
    let facts = vec![
        known(REGISTRY, [Value::Bool(true), Value::Absent]),
        known(OWNER, [text("dev"), text("1")]),
        None,
    ];
    Situation::new(plain_alert(), facts)
}

#[test]
fn a_fact_that_was_not_recorded_is_unknown_and_counted() {
    let old = keys("registry: {max_age: 1h}", SUPPRESS);
    let new =
        keys("registry: {max_age: 1h}, vault: {max_age: 1h}", &format!("{ESCALATE}{SUPPRESS}"));
    let situation = fixture();
    let written = Written { policy: &old.hash, number: 1, at: NOW, revised: None };
    let records = [record(&situation, &situation.decide(&old).decision, &written)];
    let report = compared(&old, &new, &records);
    assert_eq!((report.rested[0].rulings, report.rested[1].rulings), (0, 1));
    assert_eq!(report.rested[1].by_enricher, BTreeMap::from([("vault".to_owned(), 1)]));
    // Unknown helps no automation: what was suppressed is held.
    assert_eq!(report.count(Change::LostSuppression), 1);
    assert_eq!(report.count(Change::NewHold), 1);
    // With the fact at hand nothing rests on nothing.
    let mut whole = fixture();
    whole.facts[VAULT] = known(VAULT, [Value::Bool(false), Value::Absent]);
    let records = [record(&whole, &whole.decide(&old).decision, &written)];
    let report = compared(&old, &new, &records);
    assert_eq!((report.rested[1].rulings, report.changed), (0, 0));
}

/// What was refused for want of a rule's own evidence or sources rests on them, too.
#[test]
fn what_is_refused_for_a_fact_that_was_not_recorded_is_counted() {
    let old = keys("registry: {max_age: 1h}", SUPPRESS);
    let situation = fixture();
    let written = Written { policy: &old.hash, number: 1, at: NOW, revised: None };
    let records = [record(&situation, &situation.decide(&old).decision, &written)];
    let facts = "registry: {max_age: 1h}, vault: {max_age: 1h}";
    let by_evidence = SUPPRESS.replace("evidence: [registry", "evidence: [vault.live, registry");
    let by_source = SUPPRESS.replace(
        "when: [registry.fixture == true]",
        "when: [{any: [severity == \"high\", vault.live == true]}]",
    );
    for (rules, layer, why) in [
        (&by_evidence, "", "evidence:vault.live"),
        (&by_source, "require: {suppress: {sources: 1}}\n", "require:base/sources"),
    ] {
        let rules = format!("{rules}{}", otherwise(""));
        let new = keys_within(facts, &rules, &format!("{BASE}{layer}"));
        let report = compared(&old, &new, &records);
        let blocked: Vec<_> = report.groups.keys().map(|(_, _, new)| new.reason).collect();
        assert_eq!(blocked, ["boundary_refused"], "{why}");
        assert_eq!((report.rested[0].rulings, report.rested[1].rulings), (0, 1), "{why}");
        let vault = BTreeMap::from([("vault".to_owned(), 1)]);
        assert_eq!(report.rested[1].by_enricher, vault, "{why}");
        // With the fact at hand, known to be of no help, it is refused all the same.
        let mut whole = fixture();
        whole.facts[VAULT] = absent(VAULT);
        let records = [record(&whole, &whole.decide(&old).decision, &written)];
        assert_eq!(compared(&old, &new, &records).rested[1].rulings, 0, "{why}");
    }
}

/// A record that says what it is and is not whole beyond that.
#[test]
fn an_alert_with_a_record_that_is_not_whole_is_counted_and_left_out() {
    let old = keys("vault: {max_age: 1h}", ESCALATE);
    let mut situation = fixture();
    situation.facts[VAULT] = crate::support::unknown(VAULT, Why::Timeout);
    let held = situation.decide(&old).decision;
    let standing = Standing::of(&held.fate).unwrap();
    let revised = Revised { why: Again::HoldOver, facts: Vec::new(), standing: Some(standing) };
    let of = |number, revised| {
        record(&situation, &held, &Written { policy: &old.hash, number, at: NOW, revised })
    };
    let cut = |record: Vec<u8>| {
        let text = String::from_utf8(record).unwrap();
        let broken = text.replacen("\"counters\":{", "\"counter\":{", 1);
        assert_ne!(broken, text);
        broken.into_bytes()
    };
    let whole = of(1, None);
    for (records, alerts, unread) in [
        (vec![whole.clone(), cut(of(2, None))], 1, 1),
        (vec![whole.clone(), of(2, None), cut(of(2, Some(revised.clone())))], 1, 1),
        (vec![whole, of(2, None), of(2, Some(revised))], 2, 0),
    ] {
        let report = compared(&old, &old, &records);
        assert_eq!((report.alerts, report.unread, report.failed), (alerts, unread, 0));
    }
}

/// A hold that ends gives people a time to answer by that no two alerts have in common.
#[test]
fn other_deadlines_of_later_rulings_are_one_group() {
    let with = |within: &str| {
        let last = otherwise(&format!(", ack_within: {within}"));
        keys_within("vault: {max_age: 1h}", &format!("{ESCALATE}{last}"), BASE)
    };
    let (old, new) = (with("2h"), with("1h"));
    let mut situation = fixture();
    situation.facts[VAULT] = crate::support::unknown(VAULT, Why::Timeout);
    let held = situation.decide(&old).decision;
    let standing = Standing::of(&held.fate).unwrap();
    let revised = Revised { why: Again::HoldOver, facts: Vec::new(), standing: Some(standing) };
    let mut records = Vec::new();
    for number in 0..50_usize {
        let of = |at, revised| {
            record(&situation, &held, &Written { policy: &old.hash, number, at, revised })
        };
        records.push(of(NOW, None));
        let minutes = i64::try_from(number).unwrap() * 60_000;
        records.push(of(NOW.plus(minutes), Some(revised.clone())));
    }
    let told = |old: &Policy, new: &Policy| {
        let report = compared(old, new, &records);
        assert_eq!(report.count(Change::OtherDeadline), 50);
        let groups = report.groups_of(Change::OtherDeadline);
        let told = groups.iter().map(|(old, new, _)| (old.ruling.clone(), new.ruling.clone()));
        told.collect::<Vec<_>>()
    };
    let of = |old: &str, new: &str| vec![(old.to_owned(), new.to_owned())];
    assert_eq!(told(&old, &new), of("route q (high)", "route q (high), sooner"));
    assert_eq!(told(&new, &old), of("route q (high)", "route q (high), later"));
}

#[test]
fn an_alert_that_can_no_longer_be_read_is_a_change_of_its_own() {
    let policy =
        keys("registry: {max_age: 1h}, vault: {max_age: 1h}", &format!("{SUPPRESS}{ESCALATE}"));
    let with = |registry, vault| {
        let mut situation = fixture();
        (situation.facts[REGISTRY], situation.facts[VAULT]) = (registry, vault);
        situation
    };
    let live = known(VAULT, [Value::Bool(true), Value::Absent]);
    let situations =
        [fixture(), with(absent(REGISTRY), live), with(absent(REGISTRY), absent(VAULT))];
    let [suppressed, escalated, routed] =
        situations.each_ref().map(|situation| situation.decide(&policy).decision);
    let letter = Decision { fate: Ruling::DeadLetter(unreadable()), ..routed.clone() };
    for (ruled, new, lost) in [
        (&routed, &[Change::NewDeadLetter][..], &[Change::LostDeadLetter][..]),
        (&suppressed, &[Change::NewDeadLetter], &[Change::NewSuppression, Change::LostDeadLetter]),
        (
            &escalated,
            &[Change::NewDeadLetter, Change::LostEscalation],
            &[Change::NewContainment, Change::LostDeadLetter],
        ),
    ] {
        assert_eq!((&*changes(ruled, &letter), &*changes(&letter, ruled)), (new, lost));
    }
}

/// The end of an alert's story under each policy: what one suppresses at first is not ruled again.
#[test]
fn later_rulings_of_an_alert_are_the_end_of_its_story_under_each_policy() {
    let old = keys("vault: {max_age: 1h}", ESCALATE);
    let new =
        keys("vault: {max_age: 1h}, registry: {max_age: 1h}", &format!("{SUPPRESS}{ESCALATE}"));
    let mut first = fixture();
    first.facts[VAULT] = crate::support::unknown(VAULT, Why::Timeout);
    let held = first.decide(&old).decision;
    let standing = Standing::of(&held.fate).unwrap();
    assert!(standing.is_held);
    let mut later = fixture();
    later.facts[VAULT] = known(VAULT, [Value::Bool(true), Value::Absent]);
    let revised =
        Revised { why: Again::LateFact, facts: vec!["vault".into()], standing: Some(standing) };
    let at = NOW.plus(60_000);
    let records = [
        record(&first, &held, &Written { policy: &old.hash, number: 1, at: NOW, revised: None }),
        record(
            &later,
            &later.decide(&old).decision,
            &Written { policy: &old.hash, number: 1, at, revised: Some(revised) },
        ),
    ];
    let report = compared(&old, &new, &records);
    assert_eq!((report.alerts, report.revisions, report.changed), (1, 1, 1));
    assert_eq!(report.count(Change::NewSuppression), 1);
    assert_eq!(report.count(Change::LostEscalation), 1, "the late fact escalated it");
    // The other way round: what was suppressed is escalated in the end.
    let report = compared(&new, &old, &records);
    assert_eq!(report.count(Change::NewContainment), 1);
    assert_eq!(report.count(Change::LostSuppression), 1);
    let report = compared(&old, &old, &records);
    assert_eq!((report.changed, report.other_rule), (0, 0));
}

#[test]
fn what_a_void_record_names_is_not_ruled_and_what_is_no_record_is_named() {
    let policy = keys("registry: {max_age: 1h}", SUPPRESS);
    let situation = fixture();
    let decision = situation.decide(&policy).decision;
    let written = |number| Written { policy: &policy.hash, number, at: NOW, revised: None };
    let rulings: Vec<Vec<u8>> =
        (0..3).map(|number| record(&situation, &decision, &written(number))).collect();
    let engine = Engine { version: "t".into(), build: "t".into() };
    let actor = Actor { service: "t".into(), instance: "t".into() };
    let void = Record { void: vec![1], ..Record::new(Kind::Void, NOW, engine, actor) };
    let void = serde_json::to_vec(&void).unwrap();
    let stored = |partition| -> Vec<Stored<'_>> {
        let mut all: Vec<Stored<'_>> =
            (0..).zip(&rulings).map(|(at, bytes)| (0, at, bytes.as_slice())).collect();
        all.push((partition, 3, &void));
        all
    };
    let alerts = |records: &[Stored<'_>]| {
        compare(&policy, &policy, records, &Progress::default()).map(|report| report.alerts)
    };
    assert_eq!(alerts(&stored(0)), Ok(2));
    assert_eq!(alerts(&stored(1)), Ok(3), "of another partition");
    let mut broken = stored(0);
    broken[2].2 = b"{\"v\":1}";
    assert_eq!(alerts(&broken), Err(2));
}

fn unreadable() -> Unreadable<'static> {
    Unreadable {
        reason: tipstaff::case::Reason::NotJson,
        detail: "d".into(),
        size: 1,
        fingerprint: "f".into(),
        line: None,
        column: None,
    }
}

#[test]
fn a_message_that_could_not_be_read_is_ruled_by_nobody() {
    let policy = keys("registry: {max_age: 1h}", SUPPRESS);
    let arrival = arrived(Body::Unreadable(unreadable()));
    let situation =
        Situation { arrival, facts: vec![None, None, None], counters: crate::support::counters(1) };
    let inputs = Inputs {
        arrival: &situation.arrival,
        facts: &situation.facts,
        counters: &situation.counters,
        now: NOW,
    };
    assert!(rests_on(&policy, &inputs, Why::NotRecorded).is_empty());
    let explanation = explain(&policy, &inputs, None);
    assert!(matches!(explanation.ruling.fate, Ruling::DeadLetter(_)));
    assert!(explanation.playbooks.is_empty() && explanation.stronger.is_empty());
}
