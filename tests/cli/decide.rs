use serde_json::{Value, json};

use super::*;

fn finding(file: &str) -> Value {
    json!({"RuleID": "generic-api-key", "Description": "A key", "Secret": "notreal-1", "Match": "k",
           "File": file, "Commit": "c0ffee", "StartLine": 1, "Date": "2026-03-01T00:00:00Z",
           "Fingerprint": format!("c0ffee:{file}:generic-api-key:1")})
}

fn event(user: &str) -> Value {
    json!({"uuid": format!("u-{user}"), "published": "2026-03-01T00:00:00.000Z", "version": "0",
           "eventType": "user.session.start", "severity": "WARN",
           "outcome": {"result": "FAILURE", "reason": "INVALID_CREDENTIALS"},
           "actor": {"id": user, "type": "User", "alternateId": user, "displayName": user}})
}

fn decided(arguments: &[&str], input: &str) -> Ran {
    let ran = fed(&[&["decide", "--now", NOW], arguments].concat(), input.as_bytes());
    assert_eq!(ran.code, DONE, "{}{}", ran.out, ran.err);
    ran
}

/// What each record was made of, and what became of it.
fn fates(ran: &Ran) -> Vec<(String, String)> {
    let of = |record: &Value| {
        let fate = record["ruling"]["fate"].as_object().unwrap().keys().next().unwrap().clone();
        (record["pipeline"].as_str().unwrap_or_default().to_owned(), fate)
    };
    ran.json().iter().map(of).collect()
}

fn routed(pipeline: &str, count: usize) -> Vec<(String, String)> {
    vec![(pipeline.to_owned(), "route".to_owned()); count]
}

#[test]
fn one_document_that_a_pipeline_knows_is_one_message() {
    let report = json!([finding("a"), finding("b"), finding("c")]);
    let pretty = serde_json::to_string_pretty(&report).unwrap();
    for text in [report.to_string(), pretty] {
        let ran = decided(&["-"], &text);
        assert_eq!((fates(&ran), &*ran.err), (routed("gitleaks", 3), ""));
        for (index, record) in ran.json().iter().enumerate() {
            let origin = &record["origin"];
            assert_eq!((&origin["index"], &origin["of"]), (&json!(index), &json!(3)));
            assert_eq!(origin["offset"], 0);
        }
    }
}

#[test]
fn each_line_is_a_message() {
    let lines = format!("{}\n\n{}\n", event("a"), json!([finding("b"), finding("c")]));
    let ran = decided(&["-"], &lines);
    let expected = [routed("okta-system-log", 1), routed("gitleaks", 2)].concat();
    assert_eq!(fates(&ran), expected, "{}", ran.err);
    let offsets: Vec<Value> = ran.json().iter().map(|r| r["origin"]["offset"].clone()).collect();
    assert_eq!(offsets, [0, 1, 1]);
}

#[test]
fn each_element_of_an_array_that_no_pipeline_knows_is_a_message() {
    let reports = json!([[finding("a")], [finding("b"), finding("c")]]);
    let ran = decided(&["-"], &reports.to_string());
    assert_eq!(fates(&ran), routed("gitleaks", 3), "{}", ran.err);
    let offsets: Vec<Value> = ran.json().iter().map(|r| r["origin"]["offset"].clone()).collect();
    assert_eq!(offsets, [0, 1, 1]);
}

#[test]
fn a_file_and_standard_input_are_ruled_alike() {
    let path = "pipelines/gitleaks/examples/several-findings.json";
    let text = std::fs::read_to_string(root().join(path)).unwrap();
    let ran = decided(&[path], "");
    assert_eq!(ran.out, decided(&["-"], &text).out);
    assert!(ran.json().len() > 1);
}

#[test]
fn a_named_pipeline_reads_what_would_find_another() {
    let ran = decided(&["--pipeline", "gitleaks", "-"], &json!([finding("a")]).to_string());
    assert_eq!(fates(&ran), routed("gitleaks", 1));
    let ran = decided(&["--pipeline", "gitleaks", "-"], &event("a").to_string());
    assert_eq!(fates(&ran)[0].1, "dead_letter", "{}", ran.out);
}

#[test]
fn a_wrong_argument_is_told_and_nothing_is_ruled() {
    let path = "pipelines/gitleaks/examples/finding.json";
    for (arguments, told) in [
        (&["--pipeline", "gitleeks", path][..], "`gitleeks`, did you mean `gitleaks`?"),
        (
            &["--now", "yesterday", path],
            "`--now yesterday` is not a time like 2026-01-31T12:00:00Z",
        ),
        (&["no/such.json"], "no/such.json: "),
        (&["--config", "no/such/folder", path], "no/such/folder"),
    ] {
        let ran = tipstaff(&[&["decide"], arguments].concat());
        assert_eq!((ran.code, &*ran.out), (WRONG, ""), "{arguments:?}");
        assert!(ran.err.contains(told), "{}", ran.err);
    }
}

#[test]
fn no_event_in_the_input_is_a_failure() {
    for input in ["", "\n", " \r\n\t\n"] {
        let ran = fed(&["decide", "-"], input.as_bytes());
        assert_eq!((ran.code, &*ran.out), (FAILED, ""), "{input:?}");
        assert_eq!(ran.err, "tipstaff: there is no event in the input\n");
    }
}

#[test]
fn what_cannot_be_read_is_a_dead_letter_and_one_line_that_quotes_nothing() {
    for (text, told) in [
        ("{\"notreal\": ", "unreadable: not_json: ends inside a value at line 1, column 13"),
        ("{\"notreal\": 1}", "unreadable: unknown_shape: no pipeline knows its shape"),
        ("<notreal>", "unreadable: unknown_shape: no pipeline knows its shape"),
        (
            "[]",
            "unreadable: ambiguous_shape: several pipelines claim it: name one with `--pipeline`",
        ),
    ] {
        let ran = decided(&["-"], text);
        assert_eq!(fates(&ran), [(String::new(), "dead_letter".to_owned())], "{}", ran.out);
        assert_eq!(ran.err, format!("{told}\n"));
        assert!(!ran.out.contains("notreal") && !ran.err.contains("notreal"), "{}", ran.out);
    }
}

#[test]
fn findings_are_printed_instead_of_records_and_what_is_unreadable_has_none() {
    let input = format!("{}\n{{\"a\": \n{}\n", event("a"), event("b"));
    let (records, findings) = (decided(&["-"], &input), decided(&["--ocsf", "-"], &input));
    assert_eq!(findings.err, records.err);
    assert!(findings.err.starts_with("unreadable: not_json: "), "{}", findings.err);
    let (records, findings) = (records.json(), findings.json());
    assert_eq!((records.len(), findings.len()), (3, 2));
    for (record, finding) in [&records[0], &records[2]].into_iter().zip(&findings) {
        assert_eq!(
            (&finding["class_uid"], &finding["metadata"]["version"]),
            (&json!(2004), &json!("1.8.0"))
        );
        assert_eq!(finding["finding_info"]["uid"], record["alert_id"]);
    }
}

#[test]
fn one_unreadable_line_takes_no_other_with_it() {
    let ran = decided(&["-"], &format!("{}\n{{\"a\": \n{}\n", event("a"), event("b")));
    let fates: Vec<String> = fates(&ran).into_iter().map(|(_, fate)| fate).collect();
    assert_eq!(fates, ["route", "dead_letter", "route"]);
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
}

#[test]
fn what_a_record_of_an_export_names_void_is_not_explained() {
    let records = decided(&["-"], &format!("{}\n{}\n", event("a"), event("b"))).json();
    let mut void = records[0].clone();
    (void["kind"], void["void"]) = (json!("void"), json!([0]));
    let line = |(offset, record)| format!("0\t{offset}\t{record}\n");
    let export: String = (0..).zip(records.iter().chain([&void])).map(line).collect();
    let explained = fed(&["decide", "--explain", "--json", "-"], export.as_bytes());
    let told = explained.json();
    assert_eq!(told.len(), 1, "{}", explained.err);
    assert_eq!(told[0]["alert_id"], records[1]["alert_id"]);
}

/// INV-7, from outside: other process, other folder, other time zone, other way in.
#[test]
fn every_example_is_ruled_to_the_same_bytes_twice() {
    let mut inputs = vec![Vec::new()];
    let mut examples = 0;
    for detector in std::fs::read_dir(root().join("pipelines")).unwrap() {
        let folder = detector.unwrap().path().join("examples");
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            let mut body = std::fs::read(&path).unwrap();
            examples += 1;
            if path.extension().is_some_and(|extension| extension == "csv") {
                inputs.push(body);
                continue;
            }
            // A line is a message; a line end in JSON is a space.
            body.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b' ');
            body.push(b'\n');
            inputs[0].extend(body);
        }
    }
    assert!(examples > 380, "{examples}");
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("examples.ndjson");
    for input in inputs {
        std::fs::write(&file, &input).unwrap();
        let first = tipstaff(&["decide", "--now", NOW, file.to_str().unwrap()]);
        let mut again = program(&["decide", "--now", NOW, "-"]);
        again.current_dir(env!("CARGO_TARGET_TMPDIR")).env_clear().env("TZ", "Asia/Tokyo");
        let again = ran(again, &input);
        assert_eq!((first.code, again.code), (DONE, DONE));
        assert!(first.out.lines().count() > 0);
        assert!(first.out == again.out && first.err == again.err, "two readings differ");
    }
}
