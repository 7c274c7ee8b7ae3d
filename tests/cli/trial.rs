//! `tipstaff test`: alerts over time, facts in every state, what differs, what is not reached, and
//! what is written where somebody asked for it.

use std::io::{BufRead, BufReader};

use super::*;

const ENRICHER: &str = "\
enricher: registry
title: Values
owner: o
provides: {fixture: bool, purpose: text}
key: {first: [credential.id]}
source:
  table: {file: fixtures.yaml, key: credential}
";
const BOUNDARY: &str = "\
boundary: b
owner: o
default_queue: {queue: soc, priority: low}
allow: [{id: tokens, actions: [disable-key], nhi_kinds: [token]}]
suppress: {max_expires: 30d, never_severity: [critical]}
";
const ACTION: &str = "action: disable-key\ntitle: Disable\nundo: enable-key\n";
const RULES: &str = "\
playbook: a
title: A
owner: o
mode: live
on: {kind: exposed_key}
facts: {registry: {max_age: 1d}}
group: {by: [nhi.id], window: 1h}
rules:
  - id: fixture
    when: [registry.fixture == true]
    on_unknown: next
    suppress: {reason: test_fixture, evidence: [registry.purpose], expires: 30d, on_expiry: recheck}
  - id: valid
    when: ['credential.validity == \"valid\"']
    on_unknown: route
    escalate: {action: disable-key, rollback: enable-key, expires: 1d, queue: response, priority: high}
  - id: burst
    when: [counters.seen >= 20]
    route: {queue: response, priority: high}
  - id: otherwise
    route: {queue: soc, priority: low}
tests:
";
/// As the states of a fact are written.
const STATES: &str = "  - name: known
    now: 2026-01-01T00:00:00Z
    alert: {nhi.id: x, credential.id: k, severity: low}
    facts: {registry.fixture: true, registry.purpose: documentation}
    expect: {suppress: test_fixture, rule: fixture, reason: test_fixture, priority: none, queue: none, blocked: none, refused_by: []}
  - name: known, and its evidence is absent
    now: 2026-01-01T00:00:00Z
    alert: {nhi.id: x, credential.id: k, severity: low}
    facts: {registry.fixture: true, registry.purpose: null}
    expect: {route: soc, rule: otherwise, blocked: suppress, refused_by: ['evidence:registry.purpose']}
  - name: absent
    now: 2026-01-01T00:00:00Z
    alert: {nhi.id: x, credential.id: k, severity: low}
    facts: {registry: absent}
    expect: {route: soc, rule: otherwise, priority: low, queue: soc}
";
const TIME: &str = "  - name: the twentieth within an hour is a burst
    now: 2026-01-01T00:00:00Z
    alert: {nhi.id: x}
    alerts:
      - {times: 19, every: 30m, expect: {route: soc, rule: otherwise}}
      - {at: 1h, expect: {route: response, rule: burst}}
      - {at: 61m, expect: {route: soc, rule: otherwise}}
      - {at: 2026-01-01T12:00:00Z, alert: {nhi.id: y, credential.validity: valid}, expect: {route: soc}}
      - {at: 0s, alert: {nhi.id: y, nhi.kind: token, nhi.known_by: native, credential.id: k, credential.validity: valid}, expect: {escalate: disable-key, queue: response}}
  - name: an entry grows old
    now: 2026-01-01T00:00:00Z
    alert: {nhi.id: x, credential.id: k, severity: low}
    facts: {registry.fixture: true, registry.purpose: docs, as_of: 2026-01-01T00:00:00Z}
    alerts:
      - expect: {suppress: test_fixture}
      - {at: 1d, expect: {suppress: test_fixture}}
      - {at: 1m, expect: {route: soc, rule: otherwise}}
";

fn unknowns() -> String {
    let test = |why: &&str| {
        format!(
            "  - name: unknown, {why}\n    now: 2026-01-01T00:00:00Z\n    alert: {{nhi.id: x, credential.id: k, severity: low}}\n    \
             facts: {{registry: {{unknown: {why}}}}}\n    expect: {{route: soc, rule: otherwise}}\n"
        )
    };
    ["error", "timeout", "stale", "conflict", "no_key"].iter().map(test).collect()
}

fn with_tests(name: &str, tests: &str) -> String {
    let playbook = format!("{RULES}{tests}");
    configuration(
        name,
        &[
            ("enrichers/registry/enricher.yaml", ENRICHER),
            ("enrichers/registry/fixtures.yaml", "- {credential: k, fixture: true, purpose: p}\n"),
            ("playbooks/boundary.yaml", BOUNDARY),
            ("playbooks/actions/disable-key.yaml", ACTION),
            ("playbooks/a.yaml", &playbook),
        ],
    )
}

fn text_of(folder: &str) -> String {
    std::fs::read_to_string(format!("{folder}/playbooks/a.yaml")).unwrap()
}

#[test]
fn facts_in_every_state_and_alerts_over_time_are_ruled_as_expected() {
    let tests = format!("{STATES}{}{TIME}", unknowns());
    let ran = tipstaff(&["test", "--config", &with_tests("states", &tests)]);
    assert_eq!((ran.code, &*ran.err), (DONE, ""), "{}", ran.out);
    assert!(ran.out.ends_with("10 passed, 0 failed\n"), "{}", ran.out);
}

#[test]
fn what_differs_is_shown_with_what_was_seen() {
    let broken = TIME
        .replace("times: 19", "times: 18")
        .replace("{route: soc}}", "{escalate: disable-key, blocked: none, refused_by: []}}");
    let folder = with_tests("differs", &broken);
    let ran = tipstaff(&["test", "--config", &folder]);
    assert_eq!(ran.code, FAILED);
    let expected = format!(
        "\
FAILED  a: the twentieth within an hour is a burst ({folder}/playbooks/a.yaml:23:5)
        alert 2: route: expected `response`, got `soc`
        alert 2: rule: expected `burst`, got `otherwise`
        alert 4: ruling: expected `escalate disable-key`, got `route soc`
        alert 4: blocked: expected `none`, got `disable-key`
        alert 4: refused_by: expected ``, got `allow:b, nhi, person, target`
        `burst` is false: `counters.seen >= 20` with counters.seen = 19
        blocked: nhi: the NHI was not resolved: neither native nor from an alias table; target: the target is missing; person: the kind of NHI is missing: it might be a person; allow:b: no row allows `disable-key` here
ok      a: an entry grows old
1 passed, 1 failed
"
    );
    assert_eq!(ran.out, expected);
    assert_eq!(text_of(&folder), format!("{RULES}{broken}"), "nothing is written unasked");
}

#[test]
fn what_is_wrong_with_a_test_is_told_with_its_place() {
    for (tests, expected) in [
        (
            "  - {name: n, now: 2026-01-01T00:00:00Z, alerts: [{at: 1h}]}\n",
            "none of the `alerts` has an `expect`",
        ),
        (
            "  - {name: n, now: 2026-01-01T00:00:00Z, alerts: [{at: soon, expect: {route: q}}]}\n",
            "`at` must be how long after",
        ),
        (
            "  - {name: n, now: 2026-01-01T00:00:00Z, alerts: [{at: 2025-01-01T00:00:00Z, expect: {route: q}}]}\n",
            "`at` must be how long after",
        ),
        (
            "  - {name: n, now: 2026-01-01T00:00:00Z, alerts: [{times: 5000, expect: {route: q}}]}\n",
            "between 1 and 1000 alerts",
        ),
        (
            "  - {name: n, now: 2026-01-01T00:00:00Z, alert: {}, facts: {registry: absent, registry.fixture: true}, expect: {route: q}}\n",
            "`registry` is said to be absent or unknown as a whole, and to have a value as well",
        ),
        (
            "  - {name: n, now: 2026-01-01T00:00:00Z, alert: {}, facts: {registry.fixture: true, registry: {unknown: stale}}, expect: {route: q}}\n",
            "`registry` is said to be absent or unknown as a whole, and to have a value as well",
        ),
        (
            "  - {name: n, now: 2026-01-01T00:00:00Z, alert: {}, facts: {registry.fixture: {value: true, as_of: 2025-01-01T00:00:00Z}, registry.purpose: {value: p, as_of: 2025-01-02T00:00:00Z}}, expect: {route: q}}\n",
            "another `as_of` of the same enricher says otherwise",
        ),
        (
            "  - {name: n, now: 2026-01-01T00:00:00Z, alert: {}, facts: {registry: {unknown: stale, as_of: 2025-01-01T00:00:00Z}}, expect: {route: q}}\n",
            "what is unknown is of no time",
        ),
        (
            "  - {name: n, now: 2026-01-01T00:00:00Z, alert: {severity: hihg}, expect: {route: q}}\n",
            "never `hihg`, did you mean `high`?",
        ),
        (
            "  - {name: n, now: 2026-01-01T00:00:00Z, alert: {}, expect: {route: q, rule: bust}}\n",
            "no rule `bust`, did you mean `burst`?",
        ),
        (
            "  - {name: n, now: 2026-01-01T00:00:00Z, alert: {}, expect: {rule: burst}}\n",
            "exactly one of `route`",
        ),
    ] {
        let folder = with_tests("wrong_test", tests);
        let ran = tipstaff(&["test", "--config", &folder]);
        assert_eq!(ran.code, WRONG, "{tests}{}", ran.out);
        let (what, hint) = expected.split_once(", ").unwrap_or((expected, ""));
        for part in [what, hint, "a.yaml:23:"] {
            assert!(ran.err.contains(part), "{tests}{}", ran.err);
        }
    }
}

#[test]
fn what_no_test_reaches_is_listed() {
    let folder = with_tests("coverage", STATES);
    let ran = tipstaff(&["test", "--coverage", "--config", &folder]);
    assert_eq!(ran.code, DONE, "{}", ran.out);
    let listed: Vec<&str> = ran.out.lines().skip(3).collect();
    let place = |line: u32, column: u32| format!("{folder}/playbooks/a.yaml:{line}:{column}");
    assert_eq!(
        listed,
        [
            "coverage of a: 2 of 4 rules, 4 of 8 outcomes of clauses, 0 of 2 rules unknown",
            &format!("        {}: `fixture` is never unknown (rule `fixture`)", place(9, 5)),
            &format!(
                "        {}: `registry.fixture == true` is never unknown (rule `fixture`)",
                place(10, 12)
            ),
            &format!("        {}: no alert is ruled by `valid` (rule `valid`)", place(13, 5)),
            &format!(
                "        {}: `credential.validity == \"valid\"` is never true (rule `valid`)",
                place(14, 13)
            ),
            &format!("        {}: no alert is ruled by `burst` (rule `burst`)", place(17, 5)),
            &format!("        {}: `burst` is never unknown (rule `burst`)", place(17, 5)),
            &format!(
                "        {}: `counters.seen >= 20` is never true (rule `burst`)",
                place(18, 12)
            ),
            &format!(
                "        {}: `counters.seen >= 20` is never unknown (rule `burst`)",
                place(18, 12)
            ),
            "3 passed, 0 failed",
        ]
    );
    let ran = tipstaff(&["test", "--coverage", "--json", "--config", &folder]);
    let object = &ran.json()[0];
    assert_eq!((&object["passed"], &object["failed"]), (&3.into(), &0.into()));
    assert_eq!(object["coverage"][0]["rules"], serde_json::json!({"reached": 2, "all": 4}));
    assert_eq!(object["coverage"][0]["gaps"].as_array().unwrap().len(), 8);
}

/// Whatever share of the identities the canary has, each playbook's tests are ruled by it alone.
#[test]
fn the_tests_of_a_playbook_are_ruled_by_it_beside_a_canary() {
    let test = |queue: &str| {
        format!(
            "  - name: a burst
    now: 2026-01-01T00:00:00Z
    alert: {{nhi.id: x}}
    alerts: [{{times: 2, every: 1m, expect: {{route: soc}}}}, {{expect: {{route: {queue}}}}}]\n"
        )
    };
    let folder = with_tests("beside_canary", &test("response").replace("times: 2", "times: 19"));
    let canary = RULES
        .replace("playbook: a", "playbook: next")
        .replace("mode: live", "mode: canary\ncanary: {nhis: [x], percent: 99}")
        .replace(">= 20", ">= 3")
        .replace("queue: response", "queue: first");
    std::fs::write(format!("{folder}/playbooks/next.yaml"), canary + &test("first")).unwrap();
    let ran = tipstaff(&["test", "--coverage", "--config", &folder]);
    assert_eq!((ran.code, &*ran.err), (DONE, ""), "{}", ran.out);
    assert!(ran.out.ends_with("2 passed, 0 failed\n"), "{}", ran.out);
    let covered: Vec<_> = ran.out.lines().filter(|line| line.starts_with("coverage of")).collect();
    assert!(covered.iter().all(|line| line.contains(": 2 of 4 rules")), "{covered:?}");
}

#[test]
fn a_filter_takes_the_tests_whose_name_has_it() {
    let folder = with_tests("filter", TIME);
    let ran = tipstaff(&["test", "--config", &folder, "grows old"]);
    assert_eq!(
        (ran.code, &*ran.out),
        (DONE, "ok      a: an entry grows old\n1 passed, 0 failed\n")
    );
    let ran = tipstaff(&["test", "--config", &folder, "grows young"]);
    assert_eq!((ran.code, &*ran.err), (WRONG, "tipstaff: no test has `grows young` in its name\n"));
}

#[test]
fn what_came_out_is_written_only_when_asked_and_nothing_else_changes() {
    let tests = "  - name: of lines   # a comment
    now: 2026-01-01T00:00:00Z
    alert: {nhi.id: x, credential.id: k, severity: low}
    facts: {registry.fixture: true, registry.purpose: docs}
    expect:
      route: soc        # before the registry knew it
      rule: \"otherwise\"
      priority: low
  - {name: of words, now: 2026-01-01T00:00:00Z, alert: {nhi.id: x}, counters: {seen: 30}, expect: {hold: soc, rule: valid, refused_by: [nhi]}}  # kept
";
    let folder = with_tests("update", tests);
    let json = tipstaff(&["test", "--json", "--config", &folder]);
    assert_eq!((json.code, &json.json()[0]["failed"]), (FAILED, &2.into()));
    let ran = tipstaff(&["test", "--update", "--config", &folder]);
    let at = format!("{folder}/playbooks/a.yaml");
    let expected = format!(
        "\
{at}:28:7: `route: soc` is now `suppress: test_fixture`
{at}:29:7: `rule: \"otherwise\"` is now `rule: fixture`
{at}:30:7: `priority: low` is gone
{at}:31:100: `hold: soc` is now `route: response`
{at}:31:111: `rule: valid` is now `rule: burst`
{at}:31:124: `refused_by: [nhi]` is now `refused_by: []`
6 changed, 0 left
"
    );
    assert_eq!((ran.code, ran.out, &*ran.err), (DONE, expected, ""));
    let mended = tests
        .replace("      route: soc        #", "      suppress: test_fixture        #")
        .replace("rule: \"otherwise\"\n      priority: low\n", "rule: fixture\n")
        .replace(
            "hold: soc, rule: valid, refused_by: [nhi]",
            "route: response, rule: burst, refused_by: []",
        );
    assert_eq!(text_of(&folder), format!("{RULES}{mended}"));
    assert_eq!(tipstaff(&["test", "--config", &folder]).code, DONE);
    let ran = tipstaff(&["test", "--update", "--config", &folder]);
    assert_eq!((ran.code, &*ran.out), (DONE, "0 changed, 0 left\n"));
    let ran = tipstaff(&["test", "--update"]);
    assert_eq!(
        (ran.code, &*ran.err),
        (WRONG, "tipstaff: `--update` writes into files: give `--config DIR`\n")
    );
}

#[test]
fn what_can_not_be_written_in_place_is_left_and_said() {
    let tests = "  - name: n
    now: 2026-01-01T00:00:00Z
    alert: {nhi.id: x}
    expect: {route: soc, refused_by: [nhi,
      person]}
";
    let folder = with_tests("update_left", tests);
    let ran = tipstaff(&["test", "--update", "--config", &folder]);
    assert_eq!(ran.code, FAILED);
    let at = format!("{folder}/playbooks/a.yaml");
    let left = format!("{at}:26:26: left as it is: change it by hand\n");
    assert_eq!(ran.out, format!("{left}0 changed, 1 left\n"));
    assert_eq!(text_of(&folder), format!("{RULES}{tests}"));
    // What stands beside it is mended all the same.
    let folder = with_tests("update_beside", &tests.replace("route: soc", "route: sco"));
    let ran = tipstaff(&["test", "--update", "--config", &folder]);
    let at = format!("{folder}/playbooks/a.yaml");
    let left = format!("{at}:26:26: left as it is: change it by hand\n");
    let mended = format!("{at}:26:14: `route: sco` is now `route: soc`\n");
    assert_eq!((ran.code, ran.out), (FAILED, format!("{left}{mended}1 changed, 1 left\n")));
    assert_eq!(text_of(&folder), format!("{RULES}{tests}"));
}

/// Ends with the test, whatever becomes of it.
struct Watching(std::process::Child);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn a_watch_runs_again_when_a_file_changes_and_goes_on_after_a_mistake() {
    let folder = with_tests("watch", TIME);
    let mut command = program(&["test", "--watch", "--config", &folder, "grows old"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut child = Watching(child);
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut run = || {
        lines.by_ref().take_while(|line| !line.contains("waiting for a change")).collect::<Vec<_>>()
    };
    assert_eq!(run(), ["ok      a: an entry grows old", "1 passed, 0 failed"]);
    let path = format!("{folder}/playbooks/a.yaml");
    let write = |text: &str| std::fs::write(&path, text).unwrap();
    write(&format!("{RULES}{}", TIME.replace("at: 1d", "at: 2d")));
    assert_eq!(run().last().unwrap(), "0 passed, 1 failed");
    write("playbook: [");
    assert_eq!(run(), [""; 0]);
    write(&format!("{RULES}{TIME}"));
    assert_eq!(run().last().unwrap(), "1 passed, 0 failed");
}
