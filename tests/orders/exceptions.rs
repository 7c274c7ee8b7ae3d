//! An accepted risk is a fact to rules: of its own NHI and credential, until it ends, with whose order
//! it was.

use std::sync::Arc;

use tipstaff::audit::{Kind, Record};
use tipstaff::case::{
    Arrival, Body, Excepting, FactRow, Field, Millis, Reason, Revised, Ruling, Verb,
};
use tipstaff::config::Files;
use tipstaff::decide::{Inputs, decide, revise};
use tipstaff::text::Source;

use crate::rig::{BOUNDARY, HOUR, NOW, Rig, checked, excepting, files, statement};

const NHI: &str = "aws:iam:1:user:ci";
const PLAYBOOK: &str = r#"playbook: p
title: t
owner: p
mode: live
on: {kind: exposed_key}
group: {by: [nhi.id, credential.id], window: 1h}
rules:
  - id: accepted
    when:
      - exception.active == true
      - exception.emergency != true
    on_unknown: next
    suppress: {reason: accepted_risk, evidence: [exception.order, exception.approvers], expires: 30d, on_expiry: recheck}
  - {id: rest, route: {queue: triage, priority: high, ack_within: 1h}}
"#;

fn with(playbook: &str) -> Files {
    files(&[&format!("{BOUNDARY}suppress: {{max_expires: 30d}}\n")], playbook)
}

/// A case whose risk is accepted for a day, by the order of this id.
fn accepted(excepting: Excepting, signers: &[&str]) -> (Rig, String, String) {
    let mut rig = Rig::of(with(PLAYBOOK), NHI, true);
    let case = rig.alert(NHI, "high");
    let mut except = statement(&case, NHI, Verb::Except, "sam");
    except.except = Some(excepting);
    assert_eq!(rig.order(&except, signers), "accepted", "{}", rig.detail());
    (rig, case, except.id)
}

fn a_day() -> (Rig, String, String) {
    accepted(excepting(&["dana"], 24 * HOUR, false), &["sam", "dana"])
}

fn suppressed_until(rig: &Rig) -> Option<Millis> {
    let record = rig.last();
    let decision = record.ruling.as_ref().unwrap();
    let Ruling::Suppress(suppress) = &decision.fate else { return None };
    assert_eq!((decision.reason, &*decision.rule), (Reason::AcceptedRisk, "accepted"));
    Some(suppress.expires_at)
}

#[test]
fn it_is_seen_by_rules_until_it_ends_and_by_whose_order() {
    let (mut rig, first, order) = a_day();
    rig.now = NOW.plus(5 * HOUR);
    let later = rig.alert(NHI, "high");
    assert_ne!(later, first, "another episode");
    let ends = NOW.plus(24 * HOUR);
    assert_eq!(suppressed_until(&rig), Some(ends), "never longer than what it rests on");
    let record = rig.last();
    let row: serde_json::Value = serde_json::from_str(record.facts[0].0.get()).unwrap();
    assert_eq!((&row["enricher"], &row["source"]), (&"exception".into(), &"order".into()));
    assert_eq!((&row["version"], &row["key"]), (&order.as_str().into(), &"key-1".into()));
    assert_eq!(row["as_of"], NOW.to_string());
    assert_eq!(row["values"]["by"], "sam");
    assert_eq!(row["values"]["approvers"], serde_json::json!(["dana"]));
    assert_eq!(row["values"]["case_id"], first.as_str());
    let Ruling::Suppress(suppress) = &record.ruling.as_ref().unwrap().fate else { panic!() };
    assert_eq!((&*suppress.evidence[0].source, suppress.evidence[0].as_of), ("order", Some(NOW)));
    rig.now = ends.plus(-1);
    rig.alert(NHI, "high");
    assert_eq!(suppressed_until(&rig), Some(ends));
    rig.now = ends;
    rig.alert(NHI, "high");
    assert_eq!(suppressed_until(&rig), None, "before its timer has come");
    rig.is_whole();
}

/// Not wider than NHI and credential as the order named them (INV-11).
#[test]
fn it_is_of_nobody_else() {
    let (mut rig, ..) = a_day();
    for (nhi, credential) in [
        (NHI, (Field::CredentialId, "key-2")),
        (NHI, (Field::CredentialFingerprint, "fp:k:1")),
        (NHI, (Field::CredentialType, "key-1")),
        ("aws:iam:1:user:cd", (Field::CredentialId, "key-1")),
        ("", (Field::CredentialId, "key-1")),
    ] {
        rig.alert_of(nhi, "high", credential);
        assert_eq!(suppressed_until(&rig), None, "{nhi} {credential:?}");
        assert!(rig.last().facts[0].0.get().contains("\"state\":\"absent\""));
    }
    rig.alert(NHI, "high");
    assert!(suppressed_until(&rig).is_some());
    rig.is_whole();
}

/// What people accepted for a time comes back when that is over, though its rule says 30 days.
#[test]
fn what_was_suppressed_because_of_it_returns_at_its_end() {
    let (mut rig, ..) = a_day();
    rig.now = NOW.plus(2 * HOUR);
    rig.alert(NHI, "high");
    assert!(suppressed_until(&rig).is_some());
    rig.now = NOW.plus(24 * HOUR);
    assert_eq!(rig.recheck(), 1);
    let record = rig.last();
    assert_eq!(record.kind, Kind::Revision);
    assert_eq!(record.ruling.as_ref().unwrap().fate.name(), "route");
    rules_again(&record, &with(PLAYBOOK));
    rig.is_whole();
}

#[test]
fn an_emergency_is_told_apart() {
    let (mut rig, ..) = accepted(excepting(&[], HOUR, true), &["sam"]);
    rig.alert(NHI, "high");
    assert_eq!(suppressed_until(&rig), None);
}

/// INV-7: the record alone gives its ruling again, byte for byte.
#[test]
fn what_is_on_record_is_ruled_the_same_again() {
    let (mut rig, ..) = a_day();
    for credential in ["key-1", "key-2"] {
        rig.alert_of(NHI, "high", (Field::CredentialId, credential));
        rules_again(&rig.last(), &with(PLAYBOOK));
    }
}

fn rules_again(record: &Record<'_>, files: &Files) {
    let policy = checked(files).unwrap().policy;
    let shapes = &policy.schema().enrichers;
    let read = |shape| {
        let mut rows = record.facts.iter();
        rows.find_map(|row| FactRow::read(row.0, shape)).map(Arc::new)
    };
    let facts: Vec<_> = shapes.iter().map(read).collect();
    let arrival = Arrival {
        alert_id: record.alert_id.clone().unwrap(),
        correlation_id: "c".into(),
        origin: record.origin.as_deref().unwrap().clone(),
        pipeline: "p".into(),
        body: Body::Alert(Box::new(record.alert.as_deref().unwrap().clone())),
    };
    let counters = record.counters.as_ref().unwrap();
    let inputs = Inputs { arrival: &arrival, facts: &facts, counters, now: record.at };
    let revised: Option<Revised<'_>> = record.revised.clone();
    let again = match &revised {
        Some(revised) => revise(&policy, &inputs, revised),
        None => decide(&policy, &inputs).decision,
    };
    let bytes = |decision| serde_json::to_string(decision).unwrap();
    assert_eq!(bytes(&again), bytes(record.ruling.as_ref().unwrap()));
}

/// The boundary has the last word: nothing about a planted value is silenced because of it (INV-5).
#[test]
fn a_canary_is_an_alarm_whatever_was_accepted() {
    let mut shipped = Files::shipped();
    let boundary = shipped.get("playbooks/boundary.yaml").unwrap().source.text.clone();
    let may = BOUNDARY.split_once("roles:").unwrap().1;
    let boundary = boundary.replacen("stop: false\n", &format!("stop: false\nroles:{may}"), 1);
    shipped.insert("playbooks/boundary.yaml", Source::new("b.yaml", boundary), None);
    let playbook = PLAYBOOK.replace("triage", "soc-triage");
    shipped.insert("playbooks/exposed-key.yaml", Source::new("p.yaml", playbook), None);
    for (canary, is_suppressed) in [("false", true), ("true", false)] {
        let mut rig = Rig::of(shipped.clone(), NHI, true);
        let entry = format!("- {{credential: key-1, fixture: true, canary: {canary}}}\n");
        rig.add("enrichers/registry/fixtures.yaml", &entry);
        let case = rig.alert(NHI, "low");
        let mut except = statement(&case, NHI, Verb::Except, "sam");
        except.except = Some(excepting(&["dana"], 24 * HOUR, false));
        assert_eq!(rig.order(&except, &["sam", "dana"]), "accepted", "{}", rig.detail());
        rig.alert(NHI, "low");
        let record = rig.last();
        let decision = record.ruling.as_ref().unwrap();
        assert_eq!(decision.fate.name() == "suppress", is_suppressed, "{decision:#?}");
        assert_eq!(decision.reason == Reason::BoundaryRefused, !is_suppressed);
    }
}

#[test]
fn mistakes_are_found_before_anything_starts() {
    let problems = |from: &str, to: &str| {
        assert!(PLAYBOOK.contains(from), "{from}");
        let mut files = with(&PLAYBOOK.replacen(from, to, 1));
        let enricher = "enricher: keys\ntitle: t\nowner: o\nprovides: {state: text}\n\
            key: credential.id\nsource: {table: {file: k.csv, key: id}}\n";
        files.insert("enrichers/keys/enricher.yaml", Source::new("k.yaml", enricher), None);
        files.insert("enrichers/keys/k.csv", Source::new("k.csv", "id,state\n"), None);
        checked(&files).err().unwrap_or_default().join("\n")
    };
    let closing = "closing:\n  facts: {keys: {max_age: 1h}}\n  require:\n    - id: a\n      when:\n        \
        - keys.state == \"x\" || exception.active == true\nrules:\n";
    for (from, to, says) in [
        ("exception.active", "exception.activ", "`exception` provides no `exception.activ`"),
        ("rules:\n", "facts: {exception: {max_age: 1d}}\nrules:\n", "needs no age"),
        ("rules:\n", closing, "a risk that is accepted is not gone"),
    ] {
        let found = problems(from, to);
        assert!(found.contains(says), "{from} -> {to}: {found}");
    }
    let mut files = with(PLAYBOOK);
    let own = "enricher: exception\ntitle: t\nowner: o\nprovides: {active: bool}\nkey: nhi.id\n\
        source: {table: {file: k.csv, key: id}}\n";
    files.insert("enrichers/exception/enricher.yaml", Source::new("e.yaml", own), None);
    files.insert("enrichers/exception/k.csv", Source::new("k.csv", "id,active\n"), None);
    let found = checked(&files).err().unwrap().join("\n");
    assert!(found.contains("`exception` is what people have accepted"), "{found}");
}
