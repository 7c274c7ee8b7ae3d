//! What follows from a record, and whose it is.

use std::borrow::Cow;

use serde_json::Value as Json;
use tipstaff::audit::{Appended, FINDINGS, Hash, Kind, Record, finding, outputs};
use tipstaff::case::{Counters, Decision, Field, Hold, Millis, Origin, Priority, Reason, Ruling};
use tipstaff::correlate::{News, State};

use super::chain_model::{self, ruling};
use super::told::{Fields, alert, escalate};

const APPENDED: Appended = Appended { seq: 1, hash: Hash::NONE };

fn ruled(fields: Fields<'_>, fate: Ruling<'static>) -> Record<'static> {
    let alert = alert(fields);
    let origin: Origin<'static> = ruling(0).origin.unwrap().into_owned();
    let alert_id = origin.alert_id();
    let counters = Counters::alone("case".to_owned(), Millis(0));
    let decision = Decision::new(fate, Reason::RuleMatched, "p", "r");
    let told = State::default().cases().told(&News {
        alert_id: &alert_id,
        alert: &alert,
        counters: &counters,
        decision: &decision,
        break_out: None,
        revised: None,
        now: Millis(0),
    });
    Record {
        alert_id: Some(alert_id),
        origin: Some(Cow::Owned(origin)),
        counters: Some(Cow::Owned(counters)),
        alert: Some(Cow::Owned(alert)),
        ruling: Some(Cow::Owned(decision)),
        told,
        ..chain_model::record(Kind::Ruling)
    }
}

fn written(record: &Record<'_>) -> Vec<(String, String, Json)> {
    let mut all = Vec::new();
    outputs(record, APPENDED, &mut |output| {
        all.push((output.topic, output.key, serde_json::from_slice(&output.value).unwrap()));
    });
    all
}

fn held() -> Ruling<'static> {
    Ruling::Hold(Hold { queue: "q".into(), priority: Priority::High, until: Millis(9) })
}

#[test]
fn a_containment_is_an_action_on_its_target_and_a_case() {
    for (fields, nhi) in [(&[(Field::NhiId, "svc")][..], Some("svc")), (&[], None)] {
        let record = ruled(fields, escalate("disable", "key-1"));
        let nhi = nhi.unwrap_or(record.alert_id.as_deref().unwrap());
        let all = written(&record);
        let [(cases, _, case), (actions, target, action)] = &all[..] else { panic!("{all:?}") };
        assert_eq!((&**cases, &**actions, &**target), ("cases.q", "actions", "key-1"));
        assert_eq!(
            (&case["escalation"]["action"], &case["held_until"]),
            (&"disable".into(), &Json::Null)
        );
        assert_eq!(action["nhi"], nhi);
        let finding = finding(&record, APPENDED).unwrap();
        assert_eq!((&*finding.topic, &*finding.key), (FINDINGS, nhi));
    }
}

#[test]
fn a_hold_says_until_when() {
    let all = written(&ruled(&[(Field::NhiId, "svc")], held()));
    let [(_, key, case)] = &all[..] else { panic!("{all:?}") };
    assert_eq!((&**key, &case["escalation"]), ("svc", &Json::Null));
    assert_eq!(case["held_until"], Millis(9).to_string());
}

#[test]
fn a_case_is_summed_up_in_one_sentence() {
    let said = |fields: Fields<'_>| {
        let mut all = vec![(Field::NhiId, "svc"), (Field::Detector, "d")];
        all.extend(fields);
        written(&ruled(&all, held()))[0].2["summary"].as_str().unwrap().to_owned()
    };
    let why = Reason::RuleMatched.about();
    let exposed = (Field::Kind, "exposed_key");
    let place = [(Field::Repository, "r"), (Field::SourceIp, "10.0.0.1")];
    assert_eq!(
        said(&[exposed, (Field::CredentialType, "token"), place[0], place[1]]),
        format!("token exposed in r: svc, reported by d; {why}")
    );
    assert_eq!(
        said(&[(Field::Kind, "auth_failure"), place[1]]),
        format!("failed authentication (unknown) from 10.0.0.1: svc, reported by d; {why}")
    );
    assert_eq!(
        said(&[(Field::Kind, "token_misuse"), (Field::EventType, "e")]),
        format!("possible token misuse (e): svc, reported by d; {why}")
    );
}
