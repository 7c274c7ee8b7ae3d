use super::*;

fn problems(files: &[(&str, &str)], aliases: Option<&str>) -> Vec<String> {
    let files: Vec<Source> = files.iter().map(|(path, text)| Source::new(*path, *text)).collect();
    let aliases = aliases.map(|text| Source::new("a.csv", text));
    let mut problems = Problems::default();
    let compiled = tipstaff::normalize::compile(&files, aliases.as_ref(), &mut problems);
    assert_eq!(compiled.is_some(), problems.is_empty());
    problems.into_sorted().iter().map(ToString::to_string).collect()
}

const GOOD: &str =
    "pipeline: p\ntitle: t\nowner: o\nfrom: {topic: x}\nkind: exposed_key\nmap: {title: a}\n";

#[test]
fn all_mistakes_are_told_at_once_and_where() {
    let text = "\
pipeline: My Pipeline
title: t
ower: o
from: {topics: x, webhook: hook}
detect:
  - {path: a, equals: b, exists: true}
  - {path: 'a[*]', exists: true}
  - {exists: true}
unwrap: a..b
each: items
kind: exposed_keys
not_an_alert:
  - id: x
    when: [{field: event.outcom, equals: success}, {field: event.outcome, equals: sucess}]
  - {id: y}
redact: [Secret]
fingerprint: [Token]
map:
  nhi.nmae: a
  nhi.known_by: a
  title: {path: a, first: [b]}
  severity: {path: a, table: {x: hihg}, ranges: [{below: 4, is: low}, {below: 3, is: high}]}
  occurred_at: {path: a, time: iso, required: true}
  native_id: {path: a, time: rfc3339}
  nhi.id: {join: [a, {const: [1]}], wiht: ''}
  location.file: {path: a, capture: '('}
  location.url: {cases: [{when: [{field: title, exists: true}], is: x, use: a}]}
  nhi.kind: {cases: [{when: [{any: []}], is: robot}]}
  event.type: '@key.b'
";
    assert_eq!(
        problems(&[("p.yaml", text)], None),
        [
            "p.yaml:1:1: `owner` is missing",
            "p.yaml:1:1: a pipeline's name has only `a-z`, `0-9` and `-`",
            "p.yaml:3:1: unknown key `ower`, did you mean `owner`?",
            "p.yaml:4:7: `topic` is missing",
            "p.yaml:4:8: unknown key `topics`, did you mean `topic`?",
            "p.yaml:6:5: a condition needs exactly one of `equals`, `one_of`, `starts_with`, `ends_with`, `contains`, `matches`, their `not_` forms, or `exists`",
            "p.yaml:7:12: `[*]` is not for this condition",
            "p.yaml:8:5: a condition needs one of `path`, `header`, `any`",
            "p.yaml:9:9: a key with other characters is written [\"like this\"]",
            "p.yaml:10:7: `each` names the items of a list or object: it ends with `[*]` or `{*}`",
            "p.yaml:11:7: `kind` is one of `exposed_key`, `auth_failure`, `token_misuse`, `activity`, never `exposed_keys`, did you mean `exposed_key`?",
            "p.yaml:14:20: no alert has the field `event.outcom`, did you mean `event.outcome`?",
            "p.yaml:14:83: `event.outcome` is one of `success`, `failure`, `unknown`, never `sucess`, did you mean `success`?",
            "p.yaml:15:5: `when` must list at least one condition",
            "p.yaml:17:15: what is fingerprinted must be in `redact` too",
            "p.yaml:19:3: no alert has the field `nhi.nmae`, did you mean `nhi.name`?",
            "p.yaml:20:3: `nhi.known_by` is filled by intake and can not be mapped",
            "p.yaml:21:10: a source needs exactly one of `path`, `header`, `const`, `first`, `join` and `cases`",
            "p.yaml:22:34: `severity` is one of `informational`, `low`, `medium`, `high`, `critical`, never `hihg`, did you mean `high`?",
            "p.yaml:22:71: ranges must rise, and only the last may have no `below`",
            "p.yaml:23:16: a time is never `required`: an alert without one is still an alert",
            "p.yaml:23:32: a time format is `rfc3339`, `epoch_ms`, `epoch_s`, `rfc1123` or a pattern like `%Y-%m-%d %H:%M:%S`",
            "p.yaml:24:14: `time` is only for fields that are times",
            "p.yaml:25:30: must be text, not a list",
            "p.yaml:25:37: unknown key `wiht`, did you mean `with`?",
            "p.yaml:26:37: `(` is no regular expression, or too large a one",
            "p.yaml:27:26: a case needs either `is`, a word, or `use`, a source",
            "p.yaml:27:34: a condition needs one of `path`, `header`, `any`",
            "p.yaml:27:35: unknown key `field`; known here: any, all, path, header, exists, equals, one_of, starts_with, ends_with, contains, matches, not_equals, not_one_of, not_starts_with, not_ends_with, not_contains, not_matches",
            "p.yaml:28:30: `any` must list at least one condition",
            "p.yaml:28:46: `nhi.kind` is one of `service_account`, `api_key`, `token`, `oauth_app`, `certificate`, `agent`, `managed_identity`, `person`, `unknown`, never `robot`",
            "p.yaml:29:15: `@key` stands alone, or after `^.`",
        ],
    );
}

#[test]
fn a_good_file_has_no_problem() {
    assert_eq!(problems(&[("p.yaml", GOOD)], None), [""; 0]);
}

#[test]
fn a_webhook_ends_with_the_name_of_its_pipeline() {
    let with = |path: &str| {
        let from = format!("from: {{topic: x, webhook: {path}}}");
        problems(&[("p.yaml", &GOOD.replace("from: {topic: x}", &from))], None)
    };
    assert_eq!(with("/v1/alerts/p"), [""; 0]);
    for wrong in ["/v1/alerts/q", "/v1/alerts/p/", "v1/alerts/p", "hook", "/v1/alerts/"] {
        assert_eq!(with(wrong), ["p.yaml:4:7: `webhook` must be `/v1/alerts/p`"], "{wrong}");
    }
}

#[test]
fn two_pipelines_on_a_topic_must_tell_their_messages_apart() {
    assert_eq!(
        problems(&[("p.yaml", GOOD), ("q.yaml", GOOD)], None),
        [
            "q.yaml:1:1: p.yaml reads the same topic: both need `detect` to tell their messages apart",
            "q.yaml:1:1: the pipeline `p` is already in p.yaml",
        ],
    );
}

#[test]
fn the_kind_is_never_the_detectors_word() {
    let text = GOOD.replace("kind: exposed_key", "kind: {path: kind}");
    assert_eq!(
        problems(&[("p.yaml", &text)], None),
        ["p.yaml:5:7: `kind` needs a `table`: a detector must not name its own kind"],
    );
}

#[test]
fn alias_tables_are_checked_row_by_row() {
    let table = "\
match,value,nhi_id,platform
credential,a,b,
credential_id,,b,
nhi_name,a,b,
credential_id,a,b,
credential_id,a,c,
credential_id,a
";
    assert_eq!(
        problems(&[("p.yaml", GOOD)], Some(table)),
        [
            "a.csv:2:1: `match` is never `credential`, did you mean `credential_id`?",
            "a.csv:3:1: `value` and `nhi_id` must not be empty",
            "a.csv:4:1: a name is only unique with its `platform`",
            "a.csv:6:1: an earlier row matches the same value",
            "a.csv:7:1: 2 cells where the header has 4",
        ],
    );
    assert_eq!(
        problems(
            &[("p.yaml", GOOD)],
            Some("match,value,nhi_id,nhi_kind\nnhi_id,a,b,agent\nnhi_id,c,d,servise_account\n")
        ),
        ["a.csv:3:1: `nhi.kind` is one of `service_account`, `api_key`, `token`, `oauth_app`, \
             `certificate`, `agent`, `managed_identity`, `person`, `unknown`, never \
             `servise_account`, did you mean `service_account`?"],
    );
    assert_eq!(
        problems(&[("p.yaml", GOOD)], Some("match,valu\n")),
        [
            "a.csv:1:1: the column `nhi_id` must be there once",
            "a.csv:1:1: the column `value` must be there once",
            "a.csv:1:1: unknown column `valu`, did you mean `value`?",
        ],
    );
}

#[test]
fn a_technique_or_top_ten_entry_that_there_is_not_is_told_where_it_stands() {
    let mapped = |map: &str| problems(&[("p.yaml", &GOOD.replace("{title: a}", map))], None);
    let told = |map: &str, wanted: &str| {
        let told = mapped(map);
        assert_eq!(told.len(), 1, "{map}: {told:?}");
        assert!(told[0].starts_with("p.yaml:6:") && told[0].contains(wanted), "{map}: {told:?}");
    };
    let shape = "is not written like `T1078` or `T1078.004`";
    let unknown = "is no technique of ATT&CK that is known here";
    told(
        "{attack_technique: {const: T1O78.004}}",
        &format!("`attack_technique`: `T1O78.004` {shape}, did you mean `T1078.004`?"),
    );
    told(
        "{attack_technique: {path: a, table: {x: T1078.040}}}",
        &format!("`T1078.040` {unknown}, did you mean `T1078.004`?"),
    );
    told("{attack_technique: {path: a, default: t1078}}", shape);
    told("{attack_technique: {path: a, table: {x: T1078, y: T0001}}}", unknown);
    told("{owasp_nhi: {const: NHI2:2024}}", "did you mean `NHI2:2025`?");
    told("{owasp_nhi: {path: a, default: NHI11:2025}}", "never `NHI11:2025`");
    for map in [
        "{attack_technique: {const: T1552.001}, owasp_nhi: {const: NHI2:2025}}",
        "{attack_technique: {path: a, table: {x: T1078.004}, default: T1110}}",
    ] {
        assert!(mapped(map).is_empty(), "{map}: {:?}", mapped(map));
    }
}
