use tipstaff::case::{Field, Reason, Unreadable};
use tipstaff::normalize::ALERT_BYTES_MAX;

use super::*;

fn read(topic: &str, bytes: &[u8]) -> Vec<Arrival<'static>> {
    shipped().read(&incoming(topic, bytes), None, &keys())
}

fn unreadable<'a>(arrivals: &'a [Arrival<'static>]) -> &'a Unreadable<'static> {
    assert_eq!(arrivals.len(), 1);
    match &arrivals[0].body {
        Body::Unreadable(unreadable) => unreadable,
        Body::Alert(alert) => panic!("{alert:?}"),
    }
}

#[test]
fn hostile_messages_give_one_unreadable_with_its_reason() {
    let finding =
        |more: &str| format!("[{{\"RuleID\":\"r\",\"Secret\":\"notarealsecret\"{more}}}]");
    let padded = |bytes: usize| format!("[\"{}\"]", "x".repeat(bytes)).into_bytes();
    let many = format!("[{}]", vec![finding("").trim_matches(['[', ']']); 1001].join(","));
    let long = finding(&format!(",\"File\":\"{}\"", "é\\\"".repeat(30_000)));
    let values = format!(
        ",\"Match\":[{}]",
        (0..300).map(|n| format!("{}", 1_000_000 + n)).collect::<Vec<_>>().join(",")
    );
    for (what, bytes, reason, detail) in [
        ("no byte", Vec::new(), Reason::Empty, "no byte"),
        ("blank", b" \n ".to_vec(), Reason::Empty, "no byte"),
        ("lists", "[".repeat(10_000).into_bytes(), Reason::TooDeep, "nested too deep"),
        ("objects", "{\"a\":".repeat(10_000).into_bytes(), Reason::TooDeep, "nested too deep"),
        ("5 MB", padded(5_000_000), Reason::TooLarge, "more than 1048576 bytes"),
        ("1 MB of text", padded(1_000_000), Reason::UnknownShape, "no pipeline knows its shape"),
        ("NUL", b"\0\0{}".to_vec(), Reason::UnknownShape, "no pipeline knows its shape"),
        ("NUL alone", b"\0\0".to_vec(), Reason::Empty, "no byte"),
        ("NUL between", b"{\0}".to_vec(), Reason::NotJson, "not JSON"),
        ("NUL in text", finding(",\"File\":\"a\0b\"").into_bytes(), Reason::NotJson, "not JSON"),
        ("bytes", b"{\"a\":\"\xff\"}".to_vec(), Reason::NotJson, "not UTF-8"),
        ("mark", b"\xef\xbb\xbf[]".to_vec(), Reason::NotJson, "starts with a byte order mark"),
        ("garbage", b"garbage\nmore\n".to_vec(), Reason::NotJson, "not JSON"),
        ("a log", b"2026-11-24 x\n17 y\n".to_vec(), Reason::NotJson, "something follows the value"),
        ("cut", b"[{\"RuleID\":\"r".to_vec(), Reason::NotJson, "ends inside a value"),
        ("text", b"\"RuleID\"".to_vec(), Reason::UnknownShape, "no pipeline knows its shape"),
        ("scalars", b"[1]".to_vec(), Reason::UnknownShape, "no pipeline knows its shape"),
        ("strange", b"{\"hello\":1}".to_vec(), Reason::UnknownShape, "no pipeline knows its shape"),
        ("twice", finding(",\"Secret\":\"other\"").into_bytes(), Reason::NotJson, "duplicate key"),
        (
            "wrong type",
            b"[{\"RuleID\":{\"id\":1},\"Secret\":\"notarealsecret\"}]".to_vec(),
            Reason::BadField,
            "`event.type` can not be used",
        ),
        ("1,001", many.into_bytes(), Reason::TooMany, "more than 1000 alerts in one message"),
        ("long", long.into_bytes(), Reason::AlertTooLarge, "more than 65536 bytes"),
        (
            "values",
            finding(&values).into_bytes(),
            Reason::AlertTooLarge,
            "too many values to redact",
        ),
    ] {
        let arrivals = read("alerts.gitleaks", &bytes);
        let found = unreadable(&arrivals);
        assert_eq!((found.reason, found.detail.as_ref()), (reason, detail), "{what}");
        assert_eq!(found.size, bytes.len() as u64);
        assert_eq!(found.fingerprint, keys().fingerprint(&bytes));
        assert!(!format!("{arrivals:?}").contains("notarealsecret"), "{what}");
    }
}

#[test]
fn a_tombstone_is_unreadable() {
    let message = Incoming { value: None, ..incoming("alerts.okta", b"") };
    let arrivals = shipped().read(&message, None, &keys());
    let found = unreadable(&arrivals);
    assert_eq!((found.reason, found.detail.as_ref()), (Reason::Empty, "a tombstone"));
}

#[test]
fn a_fault_is_placed_in_the_message() {
    let text =
        "[\n  {\"RuleID\":\"r\",\"Secret\":\"x\"},\n  {\"RuleID\":\"r\",\"RuleID\":\"s\"}\n]";
    let arrivals = read("alerts.gitleaks", text.as_bytes());
    assert_eq!(arrivals.len(), 2);
    assert!(alert(&arrivals[0]).is_some(), "one bad item costs no other");
    let Body::Unreadable(second) = &arrivals[1].body else { panic!("{:?}", arrivals[1]) };
    assert_eq!((second.reason, second.line, second.column), (Reason::NotJson, Some(3), Some(17)));
    assert_eq!((arrivals[1].origin.index, arrivals[1].origin.of), (1, 2));
}

#[test]
fn a_text_too_long_for_any_alert_is_left_out_when_it_is_for_people() {
    let text = |key: &str| {
        let long = "x".repeat(ALERT_BYTES_MAX + 1);
        format!("[{{\"RuleID\":\"r\",\"Secret\":\"x\",\"{key}\":\"{long}\"}}]")
    };
    let arrivals = read("alerts.gitleaks", text("Description").as_bytes());
    assert_eq!(alert(&arrivals[0]).unwrap().text(Field::Title), None);
    let arrivals = read("alerts.gitleaks", text("File").as_bytes());
    assert_eq!(unreadable(&arrivals).reason, Reason::AlertTooLarge);
}

#[test]
fn long_texts_for_people_are_cut_and_ids_are_not() {
    let long = "é".repeat(2_000);
    let text = format!("[{{\"RuleID\":\"{long}\",\"Secret\":\"x\",\"Description\":\"{long}\"}}]");
    let arrivals = read("alerts.gitleaks", text.as_bytes());
    let alert = alert(&arrivals[0]).unwrap();
    assert_eq!(alert.text(Field::Title).unwrap().len(), 1000 + "…".len());
    assert_eq!(alert.text(Field::EventType), Some(long.as_str()));
}

#[test]
fn a_name_chooses_the_pipeline_and_an_unknown_topic_lets_all_claim() {
    let event = br#"{"RuleID":"r","Secret":"x","eventType":"user.session.start"}"#;
    let reason = |topic: &str, name: Option<&str>| {
        let arrivals = shipped().read(&incoming(topic, event), name, &keys());
        match &arrivals[0].body {
            Body::Alert(_) => arrivals[0].pipeline.to_string(),
            Body::Unreadable(unreadable) => unreadable.reason.to_string(),
        }
    };
    assert_eq!(reason("alerts.okta", None), "okta-system-log");
    assert_eq!(reason("alerts.okta", Some("gitleaks")), "gitleaks");
    assert_eq!(reason("alerts.okta", Some("nobody")), "unknown_shape");
    // A webhook's name is no reason to take anything for one of its alerts.
    assert_eq!(reason("alerts.okta", Some("gitguardian")), "unknown_shape");
    assert_eq!(reason("elsewhere", None), "ambiguous_shape");
    assert_eq!(reason("alerts.guardduty", None), "unknown_shape");
}

#[test]
fn the_senders_trace_is_the_correlation() {
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let header = format!("00-{trace}-00f067aa0ba902b7-01");
    let headers: &[(&str, &[u8])] = &[("Traceparent", header.as_bytes())];
    let message = Incoming { headers, ..incoming("alerts.gitleaks", b"[]") };
    let arrivals = shipped().read(&message, None, &keys());
    assert_eq!(arrivals[0].correlation_id, trace);
}

#[test]
fn alerts_without_a_trace_bear_the_id_of_their_messages_first() {
    let finding = |id: &str| format!(r#"{{"RuleID":"{id}","Secret":"notarealsecret"}}"#);
    let both = format!("[{},{}]", finding("one"), finding("two"));
    for (text, count) in [("[]", 1), (both.as_str(), 2), ("no JSON", 1)] {
        let message = incoming("alerts.gitleaks", text.as_bytes());
        let arrivals = shipped().read(&message, None, &keys());
        let ids: Vec<_> = arrivals.iter().map(|arrival| arrival.correlation_id.as_ref()).collect();
        assert_eq!(ids, vec![arrivals[0].alert_id.as_str(); count], "{text}");
    }
    for no_trace in
        ["00-4bf92f3577b34da6", "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"]
    {
        let headers: &[(&str, &[u8])] = &[("traceparent", no_trace.as_bytes())];
        let message = Incoming { headers, ..incoming("alerts.gitleaks", b"[]") };
        let arrivals = shipped().read(&message, None, &keys());
        assert_eq!(arrivals[0].correlation_id, arrivals[0].alert_id, "{no_trace}");
    }
}

/// Damaged messages: cut short, and with a byte replaced, at many places.
#[test]
fn whatever_comes_has_an_arrival_that_can_be_written() {
    let (pipelines, keys) = (shipped(), keys());
    let mut seen = 0;
    for Example { topic, name, bytes, .. } in examples() {
        for at in (0..bytes.len()).step_by(61) {
            let mut replaced = bytes.clone();
            replaced[at] = *b"\"\\{[0\xff,".get(at % 7).unwrap();
            for message in [bytes[..at].to_vec(), replaced] {
                let arrivals = pipelines.read(&incoming(&topic, &message), None, &keys);
                assert_eq!(arrivals.len(), arrivals[0].origin.of as usize, "{name} {at}");
                let text = serde_json::to_string(&arrivals).unwrap();
                assert_eq!(serde_json::from_str::<Vec<Arrival<'_>>>(&text).unwrap(), arrivals);
                seen += 1;
            }
        }
    }
    assert!(seen > 2_000, "{seen}");
}
