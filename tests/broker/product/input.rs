use serde_json::Value;

use super::super::conservation::{check, collect, read_topic, search};
use super::super::fire::output_names;
use super::super::kafka::Kafka;
use super::super::seats;
use super::super::settings;
use super::{GITLEAKS, Process, Site, chains, drains, fate, finding};

const GUARDDUTY: &str = "alerts.guardduty";
const MACHINE: &[u8] =
    include_bytes!("../../../pipelines/aws-guardduty/examples/machine-without-identity.json");
const NO_NHI: &[u8] = include_bytes!("../../../pipelines/aws-guardduty/examples/no-user-name.json");
const NO_RULE: &[u8] =
    include_bytes!("../../../pipelines/gitleaks/examples/finding-without-a-rule.json");
/// Stands in every message that is refused.
const CANARY: &str = "canary-0123456789-abcdefgh";

/// A message, and how its alert is ruled: fate and reason.
struct Bad {
    topic: &'static str,
    value: Option<Vec<u8>>,
    ruled: &'static [(&'static str, &'static str)],
}

fn bad_messages() -> Vec<Bad> {
    let large = format!("[\"{CANARY}{}\"]", "x".repeat(5 * 1024 * 1024));
    let deep = format!("{}\"{CANARY}\"{}", "[".repeat(10_000), "]".repeat(10_000));
    let nul = format!("[{{\"RuleID\":\"a\",\"Secret\":\"{CANARY}\0\"}}]");
    let unreadable = format!("[{{\"RuleID\":\"a\",\"Secret\":\"{CANARY}\"");
    let strange = format!("{{\"a\":\"{CANARY}\"}}");
    let mut not_text = CANARY.as_bytes().to_vec();
    not_text.extend([0xff, 0xfe]);
    let bad = |value: Vec<u8>, ruled| Bad { topic: GITLEAKS, value: Some(value), ruled };
    vec![
        bad(unreadable.into_bytes(), &[("dead_letter", "not_json")]),
        bad(strange.into_bytes(), &[("dead_letter", "unknown_shape")]),
        bad(b"[]".to_vec(), &[("suppress", "not_an_alert")]),
        bad(large.into_bytes(), &[("dead_letter", "too_large")]),
        bad(deep.into_bytes(), &[("dead_letter", "too_deep")]),
        bad(nul.into_bytes(), &[("dead_letter", "not_json")]),
        Bad { topic: GITLEAKS, value: None, ruled: &[("dead_letter", "empty")] },
        bad(not_text, &[("dead_letter", "not_json")]),
        bad(Vec::new(), &[("dead_letter", "empty")]),
        // Of two findings one has no rule's id: the other is ruled all the same.
        bad(NO_RULE.to_vec(), &[("dead_letter", "bad_field"), ("route", "rule_matched")]),
        // A finding about a machine, which is no identity.
        Bad {
            topic: GUARDDUTY,
            value: Some(MACHINE.to_vec()),
            ruled: &[("suppress", "not_an_alert")],
        },
        // No identity is named: people look at it, and nothing groups it with another.
        Bad { topic: GUARDDUTY, value: Some(NO_NHI.to_vec()), ruled: &[("route", "rule_matched")] },
        // The very same bytes twice are two messages: each has its own fate.
        bad(finding(1), &[("route", "rule_matched")]),
        bad(finding(1), &[("route", "rule_matched")]),
        bad(finding(2), &[("route", "rule_matched")]),
    ]
}

#[test]
fn every_input_has_one_fate_and_the_chain_proves_it() {
    let _beside = seats::beside();
    let Some(kafka) = Kafka::start(&[]) else { return };
    let site = Site::new(&kafka.bootstrap(), "tipstaff", 2);
    site.create("");
    let small = "workers: {intake: 1, triage: 1}\nbatch: {max_ms: 5, max_alerts: 1}\n";
    let mut process = site.ready("p1", "intake,triage", small);
    let total = every_bad_message_has_its_reason_and_stops_nothing(&site, &process);
    a_foreign_record_on_the_alerts_topic_is_one_dead_letter(&site, &process, total);
    dead_letters_hold_no_payload(&site, &process);
    chains::metrics_count_what_the_chain_has(&site, &process);
    chains::a_ruling_can_be_made_again_from_its_record(&site);
    chains::an_export_proves_what_the_cluster_proves(&site);
    drains(&mut process);
    chains::batches_and_threads_change_no_ruling(&site);
}

fn fates(rulings: &[Value], topic: &str, offset: i64) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut of_message: Vec<&Value> = rulings
        .iter()
        .filter(|r| r["origin"]["topic"] == topic && r["origin"]["offset"] == offset)
        .collect();
    of_message.sort_by_key(|ruling| ruling["origin"]["index"].as_u64());
    of_message.into_iter().map(|r| (fate(r).to_owned(), text(&r["ruling"]["reason"]))).collect()
}

/// All on one partition, so that each one has to let the next one pass.
fn every_bad_message_has_its_reason_and_stops_nothing(site: &Site, process: &Process) -> usize {
    let bad = bad_messages();
    let messages: Vec<_> = bad.iter().map(|bad| (bad.topic, 0, bad.value.clone())).collect();
    site.publish(&messages);
    let total = bad.iter().map(|bad| bad.ruled.len()).sum();
    let rulings = site.rulings(total, process);
    let mut next = std::collections::BTreeMap::from([(GITLEAKS, 0), (GUARDDUTY, 0)]);
    for bad in &bad {
        let offset = next.get_mut(bad.topic).unwrap();
        let found = fates(&rulings, bad.topic, *offset);
        let found: Vec<(&str, &str)> = found.iter().map(|(f, r)| (&**f, &**r)).collect();
        assert_eq!(found, bad.ruled, "{} offset {offset}", bad.topic);
        *offset += 1;
    }
    total
}

fn a_foreign_record_on_the_alerts_topic_is_one_dead_letter(
    site: &Site,
    process: &Process,
    before: usize,
) {
    let alerts = site.topic("alerts");
    let garbage = format!("{{\"not\":\"ours\",\"Secret\":\"{CANARY}\"}}").into_bytes();
    site.publish(&[(&alerts, 1, Some(garbage)), (&alerts, 1, None)]);
    site.publish(&[(GITLEAKS, 1, Some(finding(3)))]);
    let rulings = site.rulings(before + 3, process);
    let foreign: Vec<&Value> =
        rulings.iter().filter(|ruling| ruling["ruling"]["reason"] == "bad_alert").collect();
    assert_eq!(foreign.len(), 2, "{rulings:#?}");
    assert!(foreign.iter().all(|ruling| fate(ruling) == "dead_letter"));
    assert_eq!(fates(&rulings, GITLEAKS, 0).len(), 2, "partition 0 and 1 of the detector");
}

fn dead_letters_hold_no_payload(site: &Site, process: &Process) {
    let letters = read_topic(&settings(&site.bootstrap), &site.topic("dead-letters"));
    let rulings = site.records("ruling");
    let dead: Vec<&Value> = rulings.iter().filter(|r| fate(r) == "dead_letter").collect();
    assert_eq!(letters.len(), dead.len(), "one dead letter for each such ruling");
    for (.., letter) in &letters {
        let letter: Value = serde_json::from_slice(letter).unwrap();
        let known = [
            "v",
            "alert_id",
            "at",
            "origin",
            "reason",
            "detail",
            "size",
            "fingerprint",
            "line",
            "column",
            "record",
        ];
        let fields = letter.as_object().unwrap().keys();
        assert!(fields.clone().all(|field| known.contains(&field.as_str())), "{letter}");
    }
    let mut collected = collect(
        &settings(&site.bootstrap),
        &site.prefix,
        &output_names(&site.bootstrap, &site.prefix),
    );
    let needle = CANARY.as_bytes().to_vec();
    // The stray record itself is on the alerts topic: somebody else put it there.
    collected.alerts.retain(|value| !value.starts_with(b"{\"not\":"));
    assert_eq!(search(&collected, &[needle]), Vec::<String>::new());
    assert!(!process.log().contains(CANARY));
    collected.alerts.retain(|value| !value.is_empty());
    collected.expected =
        rulings.iter().map(|ruling| ruling["alert_id"].as_str().unwrap().to_owned()).collect();
    let verdict = check(&collected);
    // Only the two records of somebody else are no alerts of the alerts topic.
    let lost = |problem: &String| problem.contains("never reached the alerts topic");
    assert_eq!(verdict.problems.iter().filter(|p| lost(p)).count(), 2, "{:#?}", verdict.problems);
    assert!(verdict.problems.iter().all(lost), "{:#?}", verdict.problems);
}
