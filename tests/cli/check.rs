use super::*;

const PIPELINE: &str = "\
pipeline: broken
title: Broken
owner: o
from: {topic: alerts.broken}
kind: exposed_keys
redct: [Secret]
map:
  credential.id: {path: Key}
";
const ENRICHER: &str = "\
enricher: vault
title: The vault
owner: o
provides: {state: txt}
key: [credential.id]
source: {table: vault.csv}
";
const PLAYBOOK: &str = "\
playbook: a
title: A
owner: o
mode: live
on: {kind: exposed_key}
rules:
  - id: first
    when: [credential.validty == \"valid\"]
    route: {queue: q, priority: hgh}
";

/// A test of a playbook with an expectation, and another.
fn playbook(expected: &str) -> String {
    format!(
        "\
playbook: a
title: A
owner: o
mode: live
on: {{kind: exposed_key}}
rules:
  - id: otherwise
    route: {{queue: q, priority: low}}
tests:
  - name: everything goes to people
    now: 2026-01-01T00:00:00Z
    alert: {{nhi.id: x}}
    expect: {{route: {expected}, rule: otherwise}}
"
    )
}

#[test]
fn the_shipped_files_are_right_inside_the_program_and_in_a_folder() {
    for arguments in [&["check"][..], &["check", "--config", "."], &["check", "--config", "deploy"]]
    {
        let ran = tipstaff(arguments);
        assert_eq!((ran.code, &*ran.err), (DONE, ""), "{arguments:?}");
        assert!(ran.out.starts_with("ok: ") && ran.out.lines().count() == 1, "{}", ran.out);
    }
    assert_eq!(tipstaff(&["check"]).out, tipstaff(&["check", "--config", "deploy"]).out);
}

#[test]
fn every_problem_of_every_file_is_told_with_its_place() {
    let files = [
        ("pipelines/broken/pipeline.yaml", PIPELINE),
        ("enrichers/vault/enricher.yaml", ENRICHER),
        ("playbooks/a.yaml", PLAYBOOK),
        (
            "tipstaff.yaml",
            "kafka: {bootstrap.servers: k:1}\nfingerprint: {id: k1}\nlog: {levl: info}\n",
        ),
    ];
    let folder = configuration("every_problem", &files);
    let ran = tipstaff(&["check", "--config", &folder]);
    assert_eq!((ran.code, &*ran.out), (WRONG, ""));
    let problems = ran.problems(&folder);
    for expected in [
        "enrichers/vault/enricher.yaml:4:19: `state` has no known type, did you mean `text`?",
        "enrichers/vault/enricher.yaml:5:6: `key` must be",
        "pipelines/broken/pipeline.yaml:5:7: `kind` is one of",
        "pipelines/broken/pipeline.yaml:6:1: unknown key `redct`, did you mean `redact`?",
        "playbooks/a.yaml:8:12: unknown name `credential.validty`, did you mean `credential.validity`?",
        "playbooks/a.yaml:9:33: unknown priority `hgh`, did you mean `high`?",
        "tipstaff.yaml:2:14: `key` is missing",
        "tipstaff.yaml:3:7: unknown key `levl`, did you mean `level`?",
    ] {
        assert!(problems.iter().any(|line| line.starts_with(expected)), "{expected}\n{}", ran.err);
    }
    let place = |line: &String| {
        let mut parts = line.split(':');
        let path = parts.next().unwrap().to_owned();
        let mut number = || parts.next().unwrap().parse::<u32>().unwrap();
        (path, number(), number())
    };
    let places: Vec<_> = problems.iter().map(place).collect();
    assert!(places.is_sorted(), "{}", ran.err);
    let shown = "\
playbooks/a.yaml:8:12: unknown name `credential.validty`
  |
8 |     when: [credential.validty == \"valid\"]
  |            ^^^^^^^^^^^^^^^^^^
  = did you mean `credential.validity`?
";
    assert!(ran.err.contains(shown), "{}", ran.err);
}

#[test]
fn a_folder_that_is_not_there_is_told() {
    let ran = tipstaff(&["check", "--config", "no/such/folder"]);
    assert_eq!((ran.code, &*ran.out), (WRONG, ""));
    assert!(ran.err.contains("no/such/folder/playbooks:1:1: cannot be read"), "{}", ran.err);
}

#[test]
fn each_shipped_test_of_a_playbook_is_one_line_and_passes() {
    let ran = tipstaff(&["test"]);
    assert_eq!((ran.code, &*ran.err), (DONE, ""), "{}", ran.out);
    let lines: Vec<&str> = ran.out.lines().collect();
    let (last, tests) = lines.split_last().unwrap();
    assert!(tests.len() > 10 && tests.iter().all(|line| line.starts_with("ok ")), "{}", ran.out);
    assert_eq!(*last, format!("{} passed, 0 failed", tests.len()));
}

#[test]
fn a_broken_expectation_shows_what_was_expected_what_came_and_where() {
    let (sound, broken) = (playbook("q"), playbook("other"));
    let sound = configuration("sound_test", &[("playbooks/a.yaml", &sound)]);
    let ran = tipstaff(&["test", "--config", &sound]);
    assert_eq!(
        (ran.code, &*ran.out),
        (DONE, "ok      a: everything goes to people\n1 passed, 0 failed\n")
    );
    let broken = configuration("broken_test", &[("playbooks/a.yaml", &broken)]);
    let ran = tipstaff(&["test", "--config", &broken]);
    let expected = format!(
        "\
FAILED  a: everything goes to people ({broken}/playbooks/a.yaml:10:5)
        route: expected `other`, got `q`
0 passed, 1 failed
"
    );
    assert_eq!((ran.code, ran.out, &*ran.err), (FAILED, expected, ""));
}
