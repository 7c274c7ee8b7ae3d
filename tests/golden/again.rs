use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use tipstaff::audit::Record;
use tipstaff::case::{Arrival, Body, FactRow, Ruling};
use tipstaff::decide::{Inputs, decide};
use tipstaff::policy::Policy;

use super::*;

/// The ruling made again from nothing but the record and its policy.
fn again(policy: &Policy, bytes: &[u8]) -> String {
    let record = Record::parse(bytes).unwrap();
    let body = match (&record.alert, &record.ruling.as_ref().unwrap().fate) {
        (Some(alert), _) => Body::Alert(Box::new(alert.as_ref().clone())),
        (None, Ruling::DeadLetter(unreadable)) => Body::Unreadable(unreadable.clone()),
        (None, fate) => panic!("nothing to rule, and yet: {}", fate.name()),
    };
    let arrival = Arrival {
        alert_id: record.alert_id.clone().unwrap(),
        correlation_id: record.correlation_id.clone().unwrap(),
        origin: record.origin.clone().unwrap().into_owned(),
        pipeline: record.pipeline.clone().unwrap_or(Cow::Borrowed("")),
        body,
    };
    let shapes = &policy.schema().enrichers;
    let row = |shape| record.facts.iter().find_map(|fact| FactRow::read(fact.0, shape));
    let facts: Vec<_> = shapes.iter().map(|shape| row(shape).map(Arc::new)).collect();
    assert_eq!(facts.iter().flatten().count(), record.facts.len(), "every fact is read back");
    let counters = record.counters.clone().unwrap();
    let inputs = Inputs { arrival: &arrival, facts: &facts, counters: &counters, now: record.at };
    serde_json::to_string(&decide(policy, &inputs).decision).unwrap()
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
    for (name, records) in ruled(&loaded) {
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

/// Proof that the one above can fail: a ruling sees the facts, the counters' time and `now`.
#[test]
fn a_ruling_made_again_from_an_edited_record_differs() {
    let loaded = shipped();
    let (mut edited, mut differing) = (0, 0);
    for (_, records) in ruled(&loaded) {
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
