use tipstaff::case::Field;

use super::*;

fn compiled(map: &str, aliases: &str) -> Pipelines {
    let text = format!(
        "pipeline: p\ntitle: t\nowner: o\nfrom: {{topic: x}}\nkind: exposed_key\nredact: [s]\nmap:\n{map}"
    );
    let mut problems = Problems::default();
    let aliases = Source::new("policy/keys.csv", aliases);
    let files = [Source::new("p.yaml", text)];
    let compiled = tipstaff::normalize::compile(&files, Some(&aliases), &mut problems);
    compiled.unwrap_or_else(|| panic!("{:?}", problems.into_sorted()))
}

fn mapped(map: &str, aliases: &str, message: &str) -> serde_json::Value {
    let keys = FingerprintKeys::new(("new", &[1; 16]), Some(("old", &[2; 16]))).unwrap();
    let arrivals = compiled(map, aliases).read(&incoming("x", message.as_bytes()), None, &keys);
    serde_json::to_value(alert(&arrivals[0]).unwrap()).unwrap()
}

const NO_ALIASES: &str = "match,value,nhi_id\n";

#[test]
fn sources_are_read_in_their_order() {
    for (source, message, expected) in [
        ("a", r#"{"a":"x"}"#, Some("x")),
        ("a", r#"{"a":12345678901234567890.10}"#, Some("12345678901234567890.10")),
        ("a", r#"{"a":true}"#, Some("true")),
        ("a", r#"{"a":null}"#, None),
        ("a", r#"{"a":""}"#, None),
        ("a", r#"{"a":["x"]}"#, None),
        ("'[\"a.b\"].c'", r#"{"a.b":{"c":"x"}}"#, Some("x")),
        ("{first: [a, b]}", r#"{"a":null,"b":"y"}"#, Some("y")),
        ("{first: [{path: a, absent_when: x}, b]}", r#"{"a":"x","b":"y"}"#, Some("y")),
        ("{const: c}", "{}", Some("c")),
        ("{join: [{const: c}, a, b], with: /}", r#"{"a":1,"b":"y"}"#, Some("c/1/y")),
        ("{join: [a, b]}", r#"{"a":"x"}"#, None),
        ("'a[*].b'", r#"{"a":[{"c":"x"},{"b":"y"},{"b":"z"}]}"#, Some("y")),
        ("'a[n=2].b'", r#"{"a":[{"n":1,"b":"x"},{"b":"y","n":2}]}"#, Some("y")),
        ("'a[n=3].b'", r#"{"a":[{"n":1,"b":"x"}]}"#, None),
        ("'^.b'", r#"{"b":"x"}"#, None),
        ("'@key'", r#"{"b":"x"}"#, None),
        ("{path: a, capture: '^x-(.+)$'}", r#"{"a":"x-yz"}"#, Some("yz")),
        ("{path: a, capture: 'y.'}", r#"{"a":"x-yz"}"#, Some("yz")),
        ("{path: a, capture: '^y'}", r#"{"a":"x-yz"}"#, None),
        ("{path: a, capture: '^(?:x|(y))', default: d}", r#"{"a":"x"}"#, Some("x")),
        ("{cases: [{when: [{path: a, starts_with: x}], is: c}]}", r#"{"a":"xy"}"#, Some("c")),
        ("{cases: [{when: [{path: a, ends_with: x}], is: c}]}", r#"{"a":"xy"}"#, None),
        (
            "{cases: [{when: [{path: a, equals: 7}], is: c}, {when: [{path: [z, a], matches: '^[0-9]+$'}], use: b}], default: d}",
            r#"{"a":8,"b":"y"}"#,
            Some("y"),
        ),
        (
            "{cases: [{when: [{any: [{path: a, exists: true}, {all: [{path: b, not_one_of: [x, y]}, {path: c, exists: false}]}]}], is: c}]}",
            r#"{"b":"z"}"#,
            Some("c"),
        ),
        ("{path: a, lower: true}", r#"{"a":"ÄX"}"#, Some("äx")),
        ("{path: a, table: {x: y}}", r#"{"a":"x"}"#, Some("y")),
        ("{path: a, table: {x: y}}", r#"{"a":"z"}"#, None),
        ("{path: a, table: {x: y, 1: one}, default: d}", r#"{"a":1}"#, Some("one")),
        ("{path: a, table: {x: y}, default: d}", r#"{"a":"z"}"#, Some("d")),
        (
            "{path: a, ranges: [{below: 4, is: l}, {below: 6.5, is: m}, {is: h}]}",
            r#"{"a":3.999}"#,
            Some("l"),
        ),
        (
            "{path: a, ranges: [{below: 4, is: l}, {below: 6.5, is: m}, {is: h}]}",
            r#"{"a":4}"#,
            Some("m"),
        ),
        (
            "{path: a, ranges: [{below: 4, is: l}, {below: 6.5, is: m}, {is: h}]}",
            r#"{"a":"6.50"}"#,
            Some("h"),
        ),
        ("{path: a, ranges: [{below: 4, is: l}]}", r#"{"a":"high"}"#, None),
        // Lower case is made after the secret was taken out, not before.
        (
            "{path: a, lower: true}",
            r#"{"a":"is NOTAREALSECRET","s":"NOTAREALSECRET"}"#,
            Some("is fp:new:f6467e2b6adabe12a1877a3f21fe8e02"),
        ),
        ("{path: s, lower: true}", r#"{"s":"abc"}"#, None),
    ] {
        let alert = mapped(&format!("  title: {source}\n"), NO_ALIASES, message);
        assert_eq!(alert["title"].as_str(), expected, "{source} {message}");
    }
}

#[test]
fn times_and_numbers_that_do_not_fit_are_absent() {
    let map = "  occurred_at: {first: [{path: a, time: epoch_ms}, {path: b, time: [rfc1123, rfc3339]}]}\n  event.count: n\n";
    for (message, expected) in [
        (r#"{"a":1655424000123}"#, "2022-06-17T00:00:00.123Z"),
        (r#"{"a":"soon","b":"Fri, 17 Jun 2022 00:00:00 GMT"}"#, "2022-06-17T00:00:00.000Z"),
        (r#"{"b":"2200-01-17T00:00:00Z","n":"many"}"#, "2200-01-17T00:00:00.000Z"),
    ] {
        let alert = mapped(map, NO_ALIASES, message);
        assert_eq!(alert["occurred_at"], expected);
        assert_eq!(alert["event"], serde_json::Value::Null);
    }
    assert_eq!(mapped(map, NO_ALIASES, r#"{"n":"7"}"#)["event"]["count"], 7);
}

#[test]
fn words_that_no_alert_has_are_absent() {
    assert!(mapped("  severity: a\n", NO_ALIASES, r#"{"a":"high"}"#)["severity"] == "high");
    assert!(mapped("  severity: a\n", NO_ALIASES, r#"{"a":"HIGH"}"#)["severity"].is_null());
}

/// Detectors know more techniques than pipelines name.
#[test]
fn a_detectors_technique_passes_when_it_is_written_like_one() {
    for (text, is_there) in [("T1078.004", true), ("T9999", true), ("T1O78", false), ("x", false)] {
        let alert = mapped("  attack_technique: a\n", NO_ALIASES, &format!(r#"{{"a":"{text}"}}"#));
        let wanted = is_there.then_some(text);
        assert_eq!(alert.get("attack_technique").and_then(|t| t.as_str()), wanted, "{alert}");
    }
}

#[test]
fn a_kind_from_the_alias_table_says_so() {
    let table = "match,value,nhi_id,nhi_kind\nnhi_id,a,b,agent\nnhi_id,c,d,\n";
    let map = "  nhi.id: id\n  nhi.kind: {const: token}\n";
    let by_table = mapped(map, table, r#"{"id":"a"}"#);
    assert_eq!(by_table["nhi"]["kind"], "agent");
    assert_eq!(by_table["nhi"]["kind_known_by"], by_table["nhi"]["known_by"]);
    assert_ne!(
        mapped(map, table, r#"{"id":"c"}"#)["nhi"]["kind_known_by"],
        by_table["nhi"]["known_by"]
    );
}

#[test]
fn an_identity_is_found_by_the_strongest_that_is_known() {
    let old = FingerprintKeys::new(("old", &[2; 16]), None).unwrap().fingerprint(b"notarealsecret");
    let table = format!(
        "match,value,nhi_id,platform\n\
         credential_id,key-1,by-key,\nfingerprint,{old},by-fingerprint,\n\
         nhi_name,bot,by-name,aws\nnhi_id,login,replaced,\n"
    );
    let map = "  nhi.id: id\n  nhi.name: name\n  nhi.platform: platform\n  credential.id: key\n";
    for (message, id, known_by) in [
        (r#"{"id":"native","key":"key-1"}"#, "native", "native"),
        (r#"{"id":"login","key":"key-1"}"#, "replaced", "alias:"),
        (r#"{"key":"key-1","s":"notarealsecret"}"#, "by-key", "alias:keys.csv@"),
        (r#"{"key":"key-2","s":"notarealsecret\n"}"#, "by-fingerprint", "alias:"),
        (r#"{"name":"bot","platform":"aws"}"#, "by-name", "alias:"),
        (r#"{"name":"bot","platform":"okta","key":"key-2"}"#, "credential:key-2", "credential_id"),
        (r#"{"s":"notareal-other"}"#, "fp:new:", "fingerprint"),
        (r#"{"s":"REDACTED"}"#, "origin:", "origin"),
    ] {
        let alert = mapped(map, &table, message);
        let text = |name: &str| alert["nhi"][name].as_str().unwrap().to_owned();
        assert!(text("id").starts_with(id), "{message}: {}", text("id"));
        assert!(text("known_by").starts_with(known_by), "{message}: {}", text("known_by"));
    }
}

#[test]
fn alerts_in_lists_of_lists_know_what_is_around_them() {
    let text = "\
pipeline: p
title: t
owner: o
from: {topic: x}
each: ['runs[*].results[*]', 'files{*}[*]', 'results[*]']
kind: exposed_key
redact: ['^.secret']
map:
  event.type: type
  title: {first: ['^.tool', '^.@key']}
  location.url: '^^.version'
  location.file: '@key'
";
    let mut problems = Problems::default();
    let pipelines =
        tipstaff::normalize::compile(&[Source::new("p.yaml", text)], None, &mut problems).unwrap();
    let read = |message: &str| {
        let arrivals = pipelines.read(&incoming("x", message.as_bytes()), None, &keys());
        let texts = arrivals.iter().map(|arrival| {
            let Some(alert) = alert(arrival) else { return "unreadable".to_owned() };
            [Field::EventType, Field::Title, Field::Url, Field::File]
                .map(|field| alert.text(field).unwrap_or("-"))
                .join(" ")
        });
        texts.collect::<Vec<_>>()
    };
    assert_eq!(
        read(
            r#"{"version":"v","runs":[{"tool":"a","results":[{"type":"1"},{"type":"2"}]},{"results":null},
            {"results":{"type":"3"},"tool":"c"},{"tool":"b","results":[{"type":"4"}]}]}"#
        ),
        ["1 a v -", "2 a v -", "3 c v -", "4 b v -"]
    );
    assert_eq!(read(r#"{"version":"v","runs":[7,{"results":[8]}]}"#), ["unreadable", "unreadable"]);
    assert_eq!(
        read(
            r#"{"version":"v","files":{"a/b":[{"type":"1"}],"c":[{"type":"2"},{"type":"3"}],"d":"x"}}"#
        ),
        ["1 a/b v -", "2 c v -", "3 c v -", "unreadable"]
    );
    assert_eq!(read(r#"{"tool":"a","results":[{"type":"1"}]}"#), ["1 a - -"]);
    // What lacks its list is not passed over; another `each` that leads everywhere goes before.
    assert_eq!(
        read(r#"{"runs":[{"results":[{"type":"1"}]},{"type":"2"}]}"#),
        ["1 - - -", "2 - - -"]
    );
    assert_eq!(read(r#"{"runs":[{"x":1}],"results":[{"type":"1"}]}"#), ["1 - - -"]);
    assert_eq!(read(r#"{"runs":[{"results":[]}],"results":[{"type":"1"}]}"#), ["- - - -"]);
    // The secret of one run is no secret of another.
    assert_eq!(
        read(
            r#"{"runs":[{"secret":"notareal-1","results":[{"type":"notareal-1"}]},
            {"secret":"notareal-2","results":[{"type":"notareal-1"}]}]}"#
        )[1],
        "notareal-1 - - -"
    );
}

#[test]
fn the_kind_of_an_identity_says_how_it_is_known() {
    let keys = keys();
    let known = |map: &str, message: &str| {
        let arrivals =
            compiled(map, NO_ALIASES).read(&incoming("x", message.as_bytes()), None, &keys);
        let alert = alert(&arrivals[0]).unwrap();
        [Field::NhiKind, Field::NhiKindKnownBy].map(|field| alert.text(field).map(str::to_owned))
    };
    let some = |text: &str| Some(text.to_owned());
    let table = "  nhi.kind: {first: [{path: a.t, table: {User: person}}, {path: 'b[x=1].t', table: {App: oauth_app}}]}\n";
    assert_eq!(known(table, r#"{"a":{"t":"User"}}"#), [some("person"), some("path:a.t")]);
    assert_eq!(
        known(table, r#"{"a":{"t":"?"},"b":[{"x":1,"t":"App"}]}"#),
        [some("oauth_app"), some("path:b[x=1].t")]
    );
    assert_eq!(known(table, "{}"), [some("unknown"), None]);
    assert_eq!(known("  nhi.kind: {const: agent}\n", "{}"), [some("agent"), some("pipeline")]);
    let cases = "  nhi.kind: {cases: [{when: [{path: c, starts_with: AKIA}], is: service_account}], default: unknown}\n";
    assert_eq!(known(cases, r#"{"c":"AKIAX"}"#), [some("service_account"), some("path:c")]);
    assert_eq!(known(cases, r#"{"c":"ASIAX"}"#), [some("unknown"), None]);
}

#[test]
fn a_header_tells_messages_apart() {
    let file = |name: &str, value: &str| {
        Source::new(
            format!("{name}.yaml"),
            format!(
                "pipeline: {name}\ntitle: t\nowner: o\nfrom: {{topic: x}}\nkind: exposed_key\n\
                 detect: [{{header: X-GitHub-Event, equals: {value}}}]\nmap: {{title: a}}\n"
            ),
        )
    };
    let files = [file("push", "push"), file("scan", "secret_scanning_alert")];
    let pipelines = tipstaff::normalize::compile(&files, None, &mut Problems::default()).unwrap();
    let headers: &[(&str, &[u8])] = &[("x-github-event", b"secret_scanning_alert")];
    let message = Incoming { headers, ..incoming("x", br#"{"a":"t"}"#) };
    let arrivals = pipelines.read(&message, None, &keys());
    assert_eq!(arrivals[0].pipeline, "scan");
    assert_eq!(alert(&arrivals[0]).unwrap().text(Field::Title), Some("t"));
}
