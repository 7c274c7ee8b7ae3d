//! Which alerts are one case.

use tipstaff::case::{Alert, Breadth, BreakOut, Count, Counters, Field, Grouping, Reason, Value};
use tipstaff::decide::{Inputs, decide};
use tipstaff::policy::Policy;

use crate::support::*;

const BOUNDARY: &str = "boundary: b\nowner: o\ndefault_queue: {queue: q, priority: low}\n";

fn playbook(name: &str, kind: &str, group: &str) -> String {
    format!(
        "playbook: {name}\ntitle: t\nowner: o\nmode: live\non: {{kind: {kind}}}\ngroup: {group}\n\
         rules:\n  - {{id: all, route: {{queue: q, priority: low}}}}\n"
    )
}

fn example() -> Policy {
    let by = "{by: [nhi.id, credential.id], window: 1h, break_out: {distinct: source.ip, over: 3}}";
    let [first, second] = [playbook("a", "exposed_key", by), playbook("b", "token_misuse", by)];
    let third = playbook("c", "auth_failure", "{by: [nhi.id], window: 1h}");
    policy(&[&first, &second, &third], &[BOUNDARY]).unwrap()
}

fn with(fields: &[(Field, &str)]) -> Alert<'static> {
    let mut alert = plain_alert();
    for (field, value) in fields {
        let value = Value::Text((*value).to_owned().into());
        alert.set(*field, if value.text() == Some("") { Value::Absent } else { value });
    }
    alert
}

fn grouping(fields: &[(Field, &str)]) -> Option<Grouping> {
    example().group(&with(fields))
}

#[test]
fn one_credential_is_one_case_whichever_playbook_rules_it() {
    let exposed = grouping(&[]).unwrap();
    let misused = grouping(&[(Field::Kind, "token_misuse")]).unwrap();
    assert_eq!(exposed, misused);
    let failed = grouping(&[(Field::Kind, "auth_failure")]).unwrap();
    assert_ne!(exposed.id, failed.id, "grouped by other fields");
    assert_ne!(exposed.id, grouping(&[(Field::NhiId, "another")]).unwrap().id);
}

#[test]
fn the_fingerprint_of_its_value_stands_for_a_credential_without_an_id() {
    let both = grouping(&[(Field::CredentialFingerprint, "fp:1")]).unwrap();
    let value = [(Field::CredentialId, ""), (Field::CredentialFingerprint, "fp:1")];
    let value = grouping(&value).unwrap();
    assert_eq!(both.id, grouping(&[]).unwrap().id);
    assert_eq!((both.also, value.also.as_ref()), (Some(value.id.clone()), None));
    // What is called as the value is another credential.
    let named = grouping(&[(Field::CredentialId, "fp:1")]).unwrap();
    assert_ne!(named.id, value.id);
}

/// INV-11
#[test]
fn without_both_nothing_is_grouped_and_neither_is_what_is_no_alert() {
    assert_eq!(grouping(&[(Field::CredentialId, "")]), None);
    assert_eq!(grouping(&[(Field::NhiId, ""), (Field::CredentialFingerprint, "fp:1")]), None);
    assert_eq!(grouping(&[(Field::NotAnAlert, "it is fine")]), None);
}

#[test]
fn what_breaks_out_is_one_of_what_a_case_counts() {
    let out = BreakOut { distinct: Field::SourceIp, over: 3 };
    assert_eq!(example().break_out(&plain_alert()), Some(out));
    for (written, told) in [
        (
            "{distinct: source.ipp, over: 3}",
            "`distinct` is one of detector, location.repository, source.ip, never `source.ipp`, \
             did you mean `source.ip`?",
        ),
        ("{distinct: source.ip, over: 16}", "`over` is a number from 1 to 15"),
        ("{distinct: source.ip}", "`over` is missing"),
        ("{distinct: source.ip, over: 1, more: 1}", "unknown key `more`"),
        ("3", "`break_out` must be a mapping"),
    ] {
        let group = format!("{{by: [nhi.id], window: 1h, break_out: {written}}}");
        let problems = policy(&[&playbook("a", "x", &group)], &[BOUNDARY]).unwrap_err();
        assert!(problems.iter().any(|problem| problem.contains(told)), "{written}: {problems:?}");
    }
}

const SPREADS: &str = "
playbook: keys
title: t
owner: team
mode: live
on: {kind: exposed_key}
facts: {registry: {max_age: 1h}}
group: {by: [nhi.id], window: 1h, break_out: {distinct: location.repository, over: 2}}
rules:
  - id: fixture
    when: [registry.fixture == true]
    on_unknown: next
    suppress: {reason: test_fixture, evidence: [registry.fixture], expires: 1d, on_expiry: recheck}
  - {id: otherwise, route: {queue: q, priority: low}}
";

const SILENCES: &str = "boundary: b\nowner: o\ndefault_queue: {queue: q, priority: low}\n\
    suppress: {max_expires: 30d, never_severity: []}\n";

/// A rule may be right about each of them, and still nobody planned for so many.
#[test]
fn what_has_spread_further_than_it_may_is_suppressed_no_longer() {
    let policy = policy(&[SPREADS], &[SILENCES]).unwrap();
    let arrival = arrival(plain_alert());
    let ruled = |breadth: Option<(&str, Count)>| {
        let breadth = breadth.map(|(distinct, count)| Breadth { distinct: distinct.into(), count });
        let counters = Counters { breadth, ..counters(1) };
        let rows =
            vec![known(REGISTRY, [Value::Bool(true), Value::Int(1)]), absent(OWNER), absent(VAULT)];
        let inputs = Inputs { arrival: &arrival, facts: &rows, counters: &counters, now: NOW };
        let decision = decide(&policy, &inputs).decision;
        let why = decision.blocked.first().map(|blocked| blocked.why.to_string());
        (decision.fate.name(), decision.reason, why)
    };
    let of = |count| Some(("location.repository", count));
    let suppressed = ("suppress", Reason::TestFixture, None);
    assert_eq!(ruled(None), suppressed, "nobody counted");
    assert_eq!(ruled(of(Count::Exactly(2))), suppressed);
    assert_eq!(ruled(Some(("detector", Count::Exactly(9)))), suppressed, "of another playbook");
    let why = "there are 3 of `location.repository`, and 2 are allowed";
    assert_eq!(ruled(of(Count::Exactly(3))), ("route", Reason::SpreadTooFar, Some(why.to_owned())));
    let why = "there are at least 1 of `location.repository`, and 2 are allowed";
    let found = ruled(of(Count::AtLeast { at_least: 1 }));
    assert_eq!(found, ("route", Reason::SpreadTooFar, Some(why.to_owned())), "or more");
}
