//! Every alert leaves as a Detection Finding that the published OCSF schema allows.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tipstaff::audit::{Appended, Chain, FINDINGS, Kind, Record, finding, record_hash};
use tipstaff::case::{Alert, FIELDS, Field, Millis, Ruling, Type};
use tipstaff::correlate::State;
use tipstaff::pipeline::{Active, Case, Identity, Lane, Outbox, Sent, Terms, Topics, look_up};

use super::schema::Schema;
use super::*;

fn finding_of(bytes: &[u8]) -> Option<Value> {
    let record = Record::parse(bytes).unwrap();
    let appended = Appended { seq: record.seq, hash: record_hash(bytes) };
    let found = finding(&record, appended)?;
    assert_eq!(found.topic, FINDINGS);
    Some(serde_json::from_slice(&found.value).unwrap())
}

/// The findings of all examples with the names of their examples.
fn findings() -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for (name, records) in ruled() {
        for bytes in records {
            let record = Record::parse(&bytes).unwrap();
            let is_read = !matches!(record.ruling.unwrap().fate, Ruling::DeadLetter(_));
            let found = finding_of(&bytes);
            assert_eq!(
                found.is_some(),
                is_read,
                "{name}: one finding for each alert, and no other"
            );
            all.extend(found.map(|found| (name.clone(), found)));
        }
    }
    all
}

#[test]
fn every_example_is_a_finding_that_the_published_schema_allows() {
    let schema = Schema::published();
    let (mut enriched, mut suppressed) = (0, 0);
    for (name, found) in findings() {
        let problems = schema.problems(&found);
        assert!(problems.is_empty(), "{name}: {problems:#?}\n{found:#}");
        enriched += found["enrichments"].as_array().unwrap().len();
        suppressed += usize::from(found["status"] == "Suppressed");
    }
    assert!(enriched > 0 && suppressed > 0, "{enriched} {suppressed}");
}

/// Nothing is seen anew when a ruling is made again, nor is the finding.
#[test]
fn a_finding_of_a_later_ruling_is_modified_then() {
    let schema = Schema::published();
    let (_, records) = ruled().into_iter().next().unwrap();
    let mut record = Record::parse(&records[0]).unwrap();
    let received_at = record.alert.as_ref().unwrap().get(Field::ReceivedAt).time().unwrap();
    let later = record.at.plus(86_400_000);
    (record.kind, record.revision, record.at) = (Kind::Revision, Some(1), later);
    let appended = Appended { seq: record.seq, hash: record_hash(&records[0]) };
    let seen = received_at.plus(1000);
    record.told.as_mut().unwrap().last_seen = seen;
    for seen in [seen, received_at] {
        let found: Value =
            serde_json::from_slice(&finding(&record, appended).unwrap().value).unwrap();
        assert_eq!(schema.problems(&found), Vec::<String>::new());
        let info = &found["finding_info"];
        assert_eq!(info["modified_time"], later.0);
        assert_eq!((info.get("created_time"), &info["last_seen_time"]), (None, &json!(seen.0)));
        record.told = None;
    }
}

#[test]
fn a_finding_says_what_its_record_says() {
    for (name, records) in ruled() {
        for bytes in records {
            let record: Value = serde_json::from_slice(&bytes).unwrap();
            let Some(found) = finding_of(&bytes) else { continue };
            let about = |at: &str| found.pointer(at).cloned().unwrap_or_default();
            let alert = &record["alert"];
            for (place, wanted) in [
                ("/finding_info/uid", &record["alert_id"]),
                ("/evidences/0/data", alert),
                ("/resources/0/uid", &alert["nhi"]["id"]),
                ("/unmapped/fate", &record["ruling"]["fate"]),
                ("/unmapped/case_id", &record["counters"]["case_id"]),
                ("/metadata/correlation_uid", &record["correlation_id"]),
                ("/metadata/uid", &json!(record_hash(&bytes).to_string())),
                ("/metadata/product/version", &record["engine"]["version"]),
                ("/status_code", &record["ruling"]["reason"]),
            ] {
                assert_eq!(&about(place), wanted, "{name}: {place}");
            }
            let millis = |text: &Value| Millis::parse(text.as_str().unwrap()).unwrap().0;
            assert_eq!(about("/time"), millis(&alert["received_at"]), "{name}");
            assert_eq!(about("/finding_info/created_time"), millis(&record["at"]), "{name}");
            let facts = record["facts"].as_array().map_or(0, Vec::len);
            assert_eq!(about("/enrichments").as_array().unwrap().len(), facts, "{name}");
            let is_noise = record["ruling"]["reason"] == "not_an_alert";
            assert_eq!(about("/is_alert"), !is_noise, "{name}");
            if alert["severity"].is_null() {
                assert_eq!(about("/severity_id"), 0, "{name}: never from the priority");
            }
        }
    }
}

/// A record of an example with another alert and fate in it.
fn with(bytes: &[u8], alert: &Alert<'_>, fate: &Value) -> Vec<u8> {
    let mut record: Value = serde_json::from_slice(bytes).unwrap();
    record["alert"] = serde_json::to_value(alert).unwrap();
    record["ruling"]["fate"] = fate.clone();
    serde_json::to_vec(&record).unwrap()
}

fn fates() -> [Value; 4] {
    let until = "2026-03-03T09:30:00.000Z";
    let permit = json!({"id": "0".repeat(32), "allowed_by": "b", "obligations": []});
    [
        json!({"route": {"queue": "q", "priority": "low"}}),
        json!({"hold": {"queue": "q", "priority": "critical", "until": until}}),
        json!({"suppress": {"evidence": [], "expires_at": until, "on_expiry": "release_summary",
                            "authorized_by": "o"}}),
        json!({"escalate": {"action": "a", "target": "t", "rollback": "r", "queue": "q",
                            "priority": "high", "expires_at": until, "permit": permit}}),
    ]
}

fn set(alert: &mut Alert<'static>, field: Field, text: &str) {
    use tipstaff::case::Value as Slot;
    let value = match field.of() {
        Type::Text => Slot::Text(text.to_owned().into()),
        Type::Int => Slot::Int(7),
        Type::Time => Slot::Time(Millis(1_767_225_600_000)),
        Type::Bool | Type::Decimal | Type::Duration | Type::List => panic!("no field of an alert"),
    };
    alert.set(field, value);
}

/// Whatever a detector says and leaves out, alone and together.
#[test]
fn any_alert_is_a_finding_that_the_schema_allows() {
    let schema = Schema::published();
    let example = ruled().into_iter().find(|(name, _)| name == "gitleaks--finding");
    let bytes = example.unwrap().1.remove(0);
    let mut alerts = vec![Alert::default()];
    let strange = ["", "x", "a/", "\"\u{0}\u{7f}é", "192.0.2.7", "2001:db8::7", "DE", "T9999.999"];
    for text in strange {
        let mut full = Alert::default();
        for info in FIELDS {
            let mut one = Alert::default();
            set(&mut one, info.field, text);
            set(&mut full, info.field, text);
            alerts.push(one);
        }
        alerts.push(full);
    }
    for (field, words) in [
        (Field::Kind, &["exposed_key", "auth_failure", "token_misuse", "activity"][..]),
        (Field::Severity, &["informational", "low", "medium", "high", "critical"]),
        (Field::NhiKind, &["service_account", "api_key", "person", "managed_identity", "unknown"]),
        (Field::AttackTechnique, &["T1078", "T1078.004", "T1552.001", "T1000.999"]),
        (Field::OwaspNhi, &["NHI2:2025", "NHI10:2025"]),
    ] {
        for word in words {
            let mut alert = Alert::default();
            set(&mut alert, Field::NhiId, "okta:0oa1example");
            set(&mut alert, field, word);
            alerts.push(alert);
        }
    }
    for alert in &alerts {
        for fate in fates() {
            let found = finding_of(&with(&bytes, alert, &fate)).unwrap();
            let problems = schema.problems(&found);
            assert!(problems.is_empty(), "{alert:?}: {problems:#?}\n{found:#}");
        }
    }
}

#[test]
fn technique_and_top_ten_entry_stand_in_the_finding_with_their_names() {
    let bytes = ruled().remove(0).1.remove(0);
    let mut alert = Alert::default();
    set(&mut alert, Field::AttackTechnique, "T1552.001");
    set(&mut alert, Field::OwaspNhi, "NHI2:2025");
    set(&mut alert, Field::Severity, "critical");
    let of = |fate: &Value| finding_of(&with(&bytes, &alert, fate)).unwrap();
    let [route, hold, suppress, escalate] = fates().map(|fate| of(&fate));
    assert_eq!(
        route["finding_info"]["attacks"],
        json!([{"tactic": {"uid": "TA0006", "name": "Credential Access"},
                "technique": {"uid": "T1552", "name": "Unsecured Credentials"},
                "sub_technique": {"uid": "T1552.001", "name": "Credentials In Files"},
                "version": "18.1"}])
    );
    assert_eq!(
        route["finding_info"]["tags"],
        json!([{"name": "owasp_nhi", "value": "NHI2:2025"},
               {"name": "owasp_nhi_name", "value": "Secret Leakage"}])
    );
    let said = |found: &Value| {
        let text = |name: &str| found[name].as_str().unwrap_or("-").to_owned();
        [text("severity"), text("status"), text("priority")]
    };
    assert_eq!(said(&route), ["Critical", "New", "Low"]);
    assert_eq!(said(&hold), ["Critical", "New", "Critical"]);
    assert_eq!(said(&suppress), ["Critical", "Suppressed", "-"]);
    assert_eq!(said(&escalate), ["Critical", "In Progress", "High"]);
}

/// The judge is worth nothing if it does not see what it is there for.
#[test]
fn the_judge_sees_what_is_wrong() {
    let schema = Schema::published();
    let all = findings();
    let found = &all.iter().find(|(name, _)| name == "gitleaks--with-repository").unwrap().1;
    assert!(!found["enrichments"].as_array().unwrap().is_empty(), "{found:#}");
    for required in [
        "/activity_id",
        "/category_uid",
        "/class_uid",
        "/type_uid",
        "/time",
        "/severity_id",
        "/metadata",
        "/metadata/version",
        "/metadata/product",
        "/metadata/product/name",
        "/finding_info",
        "/finding_info/uid",
        "/finding_info/analytic/type_id",
        "/enrichments/0/name",
        "/enrichments/0/value",
        "/enrichments/0/data",
        "/observables/0/type_id",
        "/evidences/0/file/name",
        "/evidences/0/file/type_id",
        "/evidences/0/user/programmatic_credentials/0/uid",
        "/assignee_group/name",
    ] {
        let mut broken = found.clone();
        let (parent, name) = required.rsplit_once('/').unwrap();
        let parent = broken.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        assert!(parent.remove(name).is_some(), "{required}");
        assert!(!schema.problems(&broken).is_empty(), "{required} may be missing");
    }
    for (place, wrong) in [
        ("/time", json!(1.5)),
        ("/time", json!("2026-03-02T09:30:00Z")),
        ("/severity_id", json!(7)),
        ("/severity_id", json!("4")),
        ("/severity", json!("Severe")),
        ("/status", json!("Open")),
        ("/class_uid", json!(2001)),
        ("/type_uid", json!(200_402)),
        ("/is_alert", json!("true")),
        ("/message", json!(["a"])),
        ("/resources", json!({"uid": "a"})),
        ("/resources/0", json!({"type": "a"})),
        ("/resources/0/role", json!("Victim")),
        ("/observables/0/type_id", json!(1000)),
        ("/metadata/version", json!("1.0.0")),
        ("/metadata/profiles", json!([])),
        ("/metadata/product_name", json!("x")),
        ("/finding_info/product_uid", json!("deprecated")),
        ("/cloud", json!({"provider": "of another profile"})),
        ("/unmapped", json!("text")),
        ("/evidences/0/src_endpoint", json!({"ip": "somewhere"})),
    ] {
        let mut broken = found.clone();
        let (parent, name) = place.rsplit_once('/').unwrap();
        match broken.pointer_mut(parent).unwrap() {
            Value::Array(items) => items[name.parse::<usize>().unwrap()] = wrong.clone(),
            parent => parent[name] = wrong.clone(),
        }
        assert!(!schema.problems(&broken).is_empty(), "{place} may be {wrong}");
    }
}

/// What a worker sends is what recovery would send again from the stored records (INV-2).
#[test]
fn findings_are_sent_with_their_rulings_and_follow_from_the_records_alone() {
    let loaded = shipped();
    let terms = |findings| Terms {
        active: Active::unsigned(&loaded.checked.policy, 1),
        topics: Topics::new("offline", 1),
        identity: Identity { instance: "test".to_owned() },
        findings,
    };
    let with_findings = sent(loaded, &terms(true));
    let of = |topic: &str| -> Vec<&Sent> {
        with_findings.iter().filter(|sent| sent.topic == format!("offline.{topic}")).collect()
    };
    let records = of("decisions");
    let again = records.iter().filter_map(|sent| {
        let bytes = sent.value.as_deref().unwrap();
        let record = Record::parse(bytes).unwrap();
        assert_eq!(record.kind, Kind::Ruling);
        finding(&record, Appended { seq: record.seq, hash: record_hash(bytes) })
    });
    let again: Vec<(String, Vec<u8>)> = again.map(|again| (again.key, again.value)).collect();
    let text = |bytes: &Option<Vec<u8>>| String::from_utf8(bytes.clone().unwrap()).unwrap();
    let found = of(FINDINGS);
    let found: Vec<(String, Vec<u8>)> =
        found.iter().map(|sent| (text(&sent.key), sent.value.clone().unwrap())).collect();
    assert!(found.len() > 30 && found.len() < records.len(), "{}", found.len());
    assert_eq!(found, again);
    let uids: BTreeSet<&[u8]> = found.iter().map(|(_, value)| value.as_slice()).collect();
    assert_eq!(uids.len(), found.len());

    let without = sent(loaded, &terms(false));
    let others = with_findings.iter().filter(|sent| sent.topic != "offline.findings");
    assert!(others.eq(without.iter()), "switched off, nothing else changes");
}

/// Everything that ruling all examples on one chain sends.
fn sent(loaded: &Loaded, terms: &Terms) -> Vec<Sent> {
    let keys = offline_keys().unwrap();
    let mut arrivals = Vec::new();
    for pipeline in loaded.checked.pipelines.list() {
        let folder = format!("pipelines/{}/examples/", pipeline.name);
        for (offset, (path, file)) in (0..).zip(loaded.files.iter()) {
            if !path.starts_with(&folder) {
                continue;
            }
            let incoming = Incoming {
                topic: &pipeline.topic,
                incarnation: "-",
                partition: 0,
                offset,
                headers: &[],
                value: Some(file.source.text.as_bytes()),
                received_at: now(),
            };
            arrivals.extend(loaded.checked.pipelines.read(&incoming, None, &keys));
        }
    }
    let cases = (0..).zip(arrivals).map(|(offset, arrival)| Case {
        bytes: &[],
        offset,
        received_at: now(),
        arrival: Some(arrival),
        facts: Vec::new(),
    });
    let mut cases: Vec<Case<'_>> = cases.collect();
    look_up(terms, &loaded.enrichers, &mut cases, Instant::now() + Duration::from_secs(5));
    let mut lane = Lane::new(0, Chain::new("offline", None), State::default());
    let mut sent = Vec::new();
    let mut out = Outbox::memory(&mut sent);
    for case in &cases {
        lane.rule(terms, case, now(), &mut out);
    }
    drop(out);
    sent
}
