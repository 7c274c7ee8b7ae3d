use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use tipstaff::audit::Record;
use tipstaff::case::{Again, Arrival, Body, EnricherShape, FactRow, FactState, Field, Value};
use tipstaff::decide::{decide, explain, revise};
use tipstaff::pipeline::{Case, Lane, Outbox};
use tipstaff::policy::Policy;
use tipstaff::replay::{Progress, Recaller, compare};

use super::split::{genesis, terms};
use super::*;

/// The ruling made again from nothing but the record and its policy.
fn again(policy: &Policy, bytes: &[u8]) -> String {
    let record = Record::parse(bytes).unwrap();
    let recalled = Recaller::new(policy, &[policy]).recall(&record).unwrap();
    let facts = recalled.facts.iter().flatten().count();
    assert_eq!(facts, record.facts.len(), "every fact is read back");
    assert!(recalled.unrecorded.is_empty(), "and none was missing");
    let decision = match &recalled.revised {
        Some(revised) => revise(policy, &recalled.inputs(), revised),
        None => decide(policy, &recalled.inputs()).decision,
    };
    let explained = explain(policy, &recalled.inputs(), recalled.revised.as_ref());
    assert_eq!(explained.ruling, decision, "what is explained is what is ruled");
    serde_json::to_string(&decision).unwrap()
}

#[derive(Deserialize)]
struct Written<'w> {
    #[serde(borrow)]
    ruling: &'w RawValue,
}

/// INV-7.
#[test]
fn a_ruling_made_again_from_its_record_is_the_same_bytes() {
    let loaded = shipped();
    let (mut facts, mut fates) = (0, std::collections::BTreeSet::new());
    for (name, records) in ruled() {
        for bytes in &records {
            let written: Written<'_> = serde_json::from_slice(bytes).unwrap();
            assert_eq!(again(&loaded.checked.policy, bytes), written.ruling.get(), "{name}");
            let record = Record::parse(bytes).unwrap();
            facts += record.facts.len();
            fates.insert(record.ruling.unwrap().fate.name());
        }
    }
    assert!(facts > 50, "{facts}");
    assert_eq!(
        fates.into_iter().collect::<Vec<_>>(),
        ["dead_letter", "escalate", "hold", "route", "suppress"]
    );
}

#[test]
fn no_ruling_changes_under_the_policy_that_made_it() {
    let loaded = shipped();
    let policy = &loaded.checked.policy;
    let all: Vec<Vec<u8>> = ruled().into_iter().flat_map(|(_, records)| records).collect();
    let records: Vec<_> = (0..).zip(&all).map(|(at, bytes)| (0, at, bytes.as_slice())).collect();
    let report = compare(policy, policy, &records, &Progress::default()).unwrap();
    assert_eq!((report.changed, report.other_rule, report.failed, report.foreign), (0, 0, 0, 0));
    assert_eq!((report.rested[0].rulings, report.regrouped), (0, [0, 0]));
    assert_eq!(report.alerts + report.unreadable, all.len() as u64);
    assert!(report.alerts > 200, "{}", report.alerts);
}

/// The same of a revision: what waits in the examples, with every unknown fact found to be absent.
#[test]
fn a_revision_made_again_from_its_record_is_the_same_bytes() {
    let loaded = shipped();
    let (terms, policy) = (terms(loaded), &loaded.checked.policy);
    let shapes = &policy.schema().enrichers;
    let mut revised = 0;
    for (name, records) in ruled() {
        for bytes in &records {
            let record = Record::parse(bytes).unwrap();
            if record.waits.is_empty() {
                continue;
            }
            let (chain, state, _) = genesis();
            let mut lane = Lane::new(0, chain, state);
            let known = |shape: &EnricherShape| {
                let row = record.facts.iter().find_map(|fact| FactRow::read(fact.0, shape))?;
                let names = (shape.name.clone(), row.source.clone(), row.version.clone());
                let nothing = (shape.provides.as_slice(), Vec::new());
                let absent =
                    FactRow::new(names, &row.key, Some(record.at), FactState::Absent, nothing);
                Some(Arc::new(if row.state == FactState::Known { row } else { absent }))
            };
            let case = |facts| case(&record, facts);
            let first = facts(policy, &record);
            let mut sent = Vec::new();
            let mut out = Outbox::memory(&mut sent);
            lane.rule(&terms, &case(first), record.at, &mut out);
            let waiting = lane.waits().iter().next().expect(&name).clone();
            let later = case(shapes.iter().map(known).collect());
            let cause = (Again::Repaired, &["owner"][..]);
            lane.revise(&terms, waiting.before(), &later, cause, (record.at, &mut out))
                .expect(&name);
            drop(out);
            let last = sent.iter().rfind(|sent| sent.topic == terms.topics.decisions).unwrap();
            let bytes = last.value.as_deref().unwrap();
            let written: Written<'_> = serde_json::from_slice(bytes).unwrap();
            assert_eq!(again(policy, bytes), written.ruling.get(), "{name}");
            revised += 1;
        }
    }
    assert!(revised > 1, "{revised}");
}

fn facts(policy: &Policy, record: &Record<'_>) -> Vec<Option<Arc<FactRow>>> {
    let read = |shape| record.facts.iter().find_map(|fact| FactRow::read(fact.0, shape));
    policy.schema().enrichers.iter().map(read).map(|row| row.map(Arc::new)).collect()
}

fn case<'r>(record: &'r Record<'r>, facts: Vec<Option<Arc<FactRow>>>) -> Case<'r> {
    let arrival = Arrival {
        alert_id: record.alert_id.clone().unwrap(),
        correlation_id: record.correlation_id.clone().unwrap(),
        origin: record.origin.clone().unwrap().into_owned(),
        pipeline: record.pipeline.clone().unwrap(),
        body: Body::Alert(Box::new(record.alert.as_deref().unwrap().clone())),
    };
    Case { offset: 0, received_at: record.at, bytes: b"it", arrival: Some(arrival), facts }
}

#[test]
fn what_waits_and_the_messages_kept_of_it_stay_within_their_limits() {
    let loaded = shipped();
    let (terms, policy) = (terms(loaded), &loaded.checked.policy);
    let all = ruled();
    let records = all.iter().flat_map(|(_, records)| records);
    let of = |fate: &str| {
        let waits = |record: &Record<'_>| {
            !record.waits.is_empty() && record.ruling.as_ref().unwrap().fate.name() == fate
        };
        records.clone().filter_map(|bytes| Record::parse(bytes)).find(waits).unwrap()
    };
    let (held, routed) = (of("hold"), of("route"));
    let (chain, state, _) = genesis();
    let mut lane = Lane::new(0, chain, state);
    let mut sent = Vec::new();
    let mut out = Outbox::memory(&mut sent);
    let mut numbers = 0..;
    let mut rule = |lane: &mut Lane, out: &mut Outbox<'_>, is_held: bool| {
        let record = if is_held { &held } else { &routed };
        let mut case = case(record, facts(policy, record));
        let alert_id = format!("{:032x}", numbers.next().unwrap());
        let arrival = case.arrival.as_mut().unwrap();
        arrival.alert_id = alert_id.clone();
        let Body::Alert(alert) = &mut arrival.body else { unreachable!() };
        alert.set(Field::NhiId, Value::Text(alert_id.clone().into()));
        lane.rule(&terms, &case, record.at, out);
        alert_id
    };
    let ids: Vec<String> = (0..1100).map(|_| rule(&mut lane, &mut out, true)).collect();
    let surplus = lane.surplus();
    let oldest: Vec<&str> = surplus.iter().map(|waiting| &*waiting.alert_id).collect();
    assert_eq!(oldest, ids[..1100 - 1024], "the oldest of them");
    for waiting in &surplus {
        let mut case = case(&held, facts(policy, &held));
        case.arrival.as_mut().unwrap().alert_id = waiting.alert_id.clone();
        let why = (Again::HoldOver, &[][..]);
        lane.revise(&terms, waiting.before(), &case, why, (held.at, &mut out)).unwrap();
    }
    assert_eq!((lane.waits().held(), lane.surplus().len()), (1024, 0));
    let waiting = |lane: &Lane| lane.waits().len();
    let more: Vec<String> = (0..4000).map(|_| rule(&mut lane, &mut out, false)).collect();
    assert_eq!(waiting(&lane), 1024 + 2048);
    let kept = ids.iter().chain(&more).filter(|id| lane.text(id).is_some()).count();
    assert!((waiting(&lane)..=waiting(&lane) + 1024).contains(&kept), "{kept} messages");
}

/// Proof that the first one can fail: a ruling sees the facts, the counters' time and `now`.
#[test]
fn a_ruling_made_again_from_an_edited_record_differs() {
    let loaded = shipped();
    let (mut edited, mut differing) = (0, 0);
    for (_, records) in ruled() {
        for bytes in records.iter().filter(|bytes| find(bytes, "\"state\":\"known\"")) {
            let text = std::str::from_utf8(bytes).unwrap();
            let unknown =
                text.replace("\"state\":\"known\"", "\"state\":\"unknown\",\"why\":\"error\"");
            let written: Written<'_> = serde_json::from_slice(bytes).unwrap();
            edited += 1;
            let again = again(&loaded.checked.policy, unknown.as_bytes());
            differing += usize::from(again != written.ruling.get());
        }
    }
    assert!(edited > 10 && differing > 5, "{differing} of {edited}");
}

fn find(bytes: &[u8], text: &str) -> bool {
    std::str::from_utf8(bytes).unwrap().contains(text)
}
