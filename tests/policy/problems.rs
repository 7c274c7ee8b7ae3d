//! Every mistake is told, where it stands, in words its author can act on.

use crate::support::{clause, policy, shown_problems};

#[test]
fn mistakes_in_a_condition_stand_at_their_column() {
    for (text, expected) in [
        ("severity = 'high'", "1:10: `=` does not compare, did you mean `==`?"),
        ("severity == high", "1:13: unknown name `high`; text stands in quotes: \"high\""),
        ("severty == 'high'", "1:1: unknown name `severty`, did you mean `severity`?"),
        ("nhi.idd == 'a'", "1:1: unknown name `nhi.idd`, did you mean `nhi.id`?"),
        (
            "registry.fixtur == true",
            "1:1: `registry` provides no `registry.fixtur`, did you mean `registry.fixture`?",
        ),
        ("has(nhi.id) and true", "1:13: `and` is not an operator, did you mean `&&`?"),
        ("has(nhi.id) OR true", "1:13: `OR` is not an operator, did you mean `||`?"),
        ("not has(nhi.id)", "1:1: `not` is not an operator, did you mean `!`?"),
        ("has(nhi.id) & true", "1:13: `&` is not an operator, did you mean `&&`?"),
        ("hass(nhi.id)", "1:1: unknown function `hass`, did you mean `has`?"),
        ("nhi.id.startswith('a')", "1:8: unknown method `startswith`, did you mean `startsWith`?"),
        ("event.count == '3'", "1:16: int can't be compared with text"),
        ("severity == 3", "1:13: text can't be compared with int: write \"3\""),
        (
            "observed_at > '2026-01-01T00:00:00Z'",
            "1:15: time can't be compared with text: write timestamp(\"2026-01-01T00:00:00Z\")",
        ),
        (
            "age(observed_at) < '1h'",
            "1:20: duration can't be compared with text: write duration(\"1h\")",
        ),
        ("age(severity) < duration('1h')", "1:5: age() needs a time, and `severity` is text"),
        ("severity > 'low'", "1:1: text has no order: use `==` or `in […]`"),
        (
            "event.count > 1.",
            "1:15: not a number: write digits, with one point among them for a decimal",
        ),
        (
            "event.count > 1e3",
            "1:15: not a number: write digits, with one point among them for a decimal",
        ),
        ("threat.score > 1234567890.1234567890", "1:16: a decimal has at most 18 digits"),
        ("threat.score > '7.5'", "1:16: decimal can't be compared with text"),
        ("threat.score in [1, '2']", "1:21: decimal can't be compared with text"),
        ("nhi.id == 7.5", "1:11: text can't be compared with decimal: write \"7.5\""),
        ("event.count in [1.5]", "1:17: int can't be compared with decimal"),
        ("registry.fixture in [true]", "1:1: bool is in no list: compare it"),
        ("vault.roles == ['a']", "1:16: a list can only stand after `in`"),
        (
            "vault.roles == vault.roles",
            "1:1: a list can't be compared: use `in`, size(…) or .exists(x, …)",
        ),
        ("vault.roles", "1:1: `vault.roles` is list, not true or false: compare it"),
        ("3 in vault.roles", "1:1: a list of texts holds no int"),
        ("nhi.id in severity", "1:11: `in` needs a list of values: [\"a\", \"b\"]"),
        ("size(event.count) > 1", "1:6: size() needs text or a list, and `event.count` is int"),
        ("size(nhi.id)", "1:1: size(…) is not true or false: compare it"),
        ("size(nhi.id, 1) > 1", "1:1: write size(text or list)"),
        ("nhi.id.exists(x, x == 'a')", "1:1: exists() needs a list, and `nhi.id` is text"),
        ("vault.roles.exists('x', x == 'a')", "1:13: write list.exists(x, test of x)"),
        (
            "vault.roles.exists(x, y == 'a')",
            "1:23: each item is asked about by itself: `x` with ==, !=, `in […]`, or a method of a text",
        ),
        (
            "vault.roles.exists(x, x.startwith('a'))",
            "1:25: unknown method `startwith`, did you mean `startsWith`?",
        ),
        (
            "startsWith(nhi.id, 'a')",
            "1:1: `startsWith` is no function: write text.startsWith(\"…\")",
        ),
        ("nhi.id.size() > 1", "1:8: `size` is no method: write size(text or list)"),
        ("cidr(event.count, '10.0.0.0/8')", "1:6: cidr() needs text, and `event.count` is int"),
        (
            "observed_at + occurred_at > now",
            "1:13: `+` calculates with times and durations, not time and time",
        ),
        ("observed_at - duration('1h')", "1:1: is not true or false: compare it"),
        ("now > now - duration('1x')", "1:22: not a duration such as \"15m\", \"24h\" or \"30d\""),
        ("nwo > observed_at", "1:1: unknown name `nwo`, did you mean `now`?"),
        ("-observed_at > now", "1:1: `-` was not expected here"),
        (
            "event.count * 2 > 1",
            "1:13: `*` is not supported: a condition calculates with times and durations alone",
        ),
        ("has(nhi.id) ? true : false", "1:13: `?` is not supported: write a rule for each case"),
        ("event.count", "1:1: `event.count` is int, not true or false: compare it"),
        ("has(nhi.id) && 'a'", "1:16: must be true or false: compare it with something"),
        ("nhi.id in 'a'", "1:11: `in` needs a list of values: [\"a\", \"b\"]"),
        ("nhi.id in ['a', 1]", "1:17: text can't be compared with int: write \"1\""),
        ("nhi.id in ['a', severity]", "1:17: a list holds values, not names"),
        ("cidr(source.ip, '10.0.0.0/99')", "1:17: not a network such as \"10.0.0.0/8\""),
        ("nhi.id.matches('(')", "1:16: not a pattern that can be matched"),
        ("nhi.id.matches('a{1000}{1000}')", "1:16: the pattern is too large"),
        (
            "age(observed_at) < duration('1y')",
            "1:29: not a duration such as \"15m\", \"24h\" or \"30d\"",
        ),
        ("event.count + 1 > 2", "1:13: `+` calculates with times and durations, not int and int"),
        ("has(nhi.id", "1:11: a `)` is missing"),
        ("severity == 'a", "1:13: the text has no closing '"),
        (
            "severity == 'a' == true",
            "1:17: compares two things at a time: join comparisons with `&&`",
        ),
        ("true", "1:1: the condition names nothing of the alert or its facts"),
        (
            "unknown(owner.tier, 'old')",
            "1:21: unknown cause `old`: one of error, timeout, stale, conflict, no_key",
        ),
        ("severty in vault.roles", "1:1: unknown name `severty`, did you mean `severity`?"),
        (
            "nhi.id in vault.rols",
            "1:11: `vault` provides no `vault.rols`, did you mean `vault.roles`?",
        ),
        (
            "unknown(nhi.id)",
            "1:9: only a fact, a window or a counter is ever unknown: write !has(nhi.id)",
        ),
        ("unknown('a')", "1:1: write unknown(fact) or unknown(fact, \"cause\")"),
        ("severity == null", "1:13: there is no null: use has(…)"),
        ("severity == “a”", "1:13: use straight quotes: \" or '"),
    ] {
        let problems = clause(text).map(|_| ()).unwrap_err();
        assert_eq!(problems, [format!("f.yaml:{expected}")], "{text}");
    }
}

#[test]
fn all_mistakes_of_one_condition_are_told_at_once() {
    let text =
        "severty = 'high' and event.count > 'x' | vault.lve && not age(severity) < duration('1y')";
    let expected = [
        "1:1: unknown name `severty`, did you mean `severity`?",
        "1:9: `=` does not compare, did you mean `==`?",
        "1:18: `and` is not an operator, did you mean `&&`?",
        "1:36: int can't be compared with text",
        "1:40: `|` is not an operator, did you mean `||`?",
        "1:42: `vault` provides no `vault.lve`, did you mean `vault.live`?",
        "1:55: `!` binds tighter than a comparison: write !(…) around it",
        "1:55: `not` is not an operator, did you mean `!`?",
        "1:84: not a duration such as \"15m\", \"24h\" or \"30d\"",
    ];
    let problems = clause(text).map(|_| ()).unwrap_err();
    assert_eq!(problems, expected.map(|each| format!("f.yaml:{each}")));
}

#[test]
fn a_mistake_is_shown_in_its_line_however_the_yaml_writes_it() {
    let rules = r#"  - id: a
    when:
      - severty == "high"
      - "nhi.kind == \"person\" && nhi.idd == 'x'"
      - 'nhi.id == ''a'' && event.count > ''b'''
      - |
        has(nhi.id) &&
          age(observd_at) > duration("1h")
      - >-
        has(nhi.id)
        || vault.roles.exists(r, r.beginsWith("x"))
      - {any: [has(nhi.id), credential.validity = "valid"]}
    route: {queue: q, priority: low}
"#;
    let expected = r#"playbook1.yaml:10:9: unknown name `severty`
   |
10 |       - severty == "high"
   |         ^^^^^^^
   = did you mean `severity`?

playbook1.yaml:11:36: unknown name `nhi.idd`
   |
11 |       - "nhi.kind == \"person\" && nhi.idd == 'x'"
   |                                    ^^^^^^^
   = did you mean `nhi.id`?

playbook1.yaml:12:43: int can't be compared with text
   |
12 |       - 'nhi.id == ''a'' && event.count > ''b'''
   |                                           ^^^^^

playbook1.yaml:15:15: unknown name `observd_at`
   |
15 |           age(observd_at) > duration("1h")
   |               ^^^^^^^^^^
   = did you mean `observed_at`?

playbook1.yaml:18:36: unknown method `beginsWith`
   |
18 |         || vault.roles.exists(r, r.beginsWith("x"))
   |                                    ^^^^^^^^^^^^^^^

playbook1.yaml:19:49: `=` does not compare
   |
19 |       - {any: [has(nhi.id), credential.validity = "valid"]}
   |                                                 ^
   = did you mean `==`?
"#;
    assert_eq!(shown_problems(&[&playbook("p", rules)], &[BASE]), expected);
}

const BASE: &str = "boundary: base\nowner: o\ndefault_queue: {queue: triage, priority: medium}\n";
const LAST: &str = "  - id: otherwise\n    route: {queue: q, priority: low}\n";

fn playbook(name: &str, rules: &str) -> String {
    format!(
        "playbook: {name}\ntitle: t\nowner: o\nmode: live\non: {{kind: {name}}}\ncontrols: {{}}\nrules:\n{rules}{LAST}"
    )
}

#[test]
fn mistakes_in_several_files_are_told_at_once() {
    let first = "\
playbook: first
titel: t
owner: o
mode: canary
on: {kind: a}
facts: {registy: {max_age: 1h}, owner: {max_age: forever}}
rules:
  - id: one
    when:
      - registry.fixture == true
      - \"severity = 'high'\"
      - {any: [has(nhi.id), 'nhi.kid == \"x\"']}
      - |
        has(nhi.id) &&
          nope.nope
    suppress: {reason: not_an_alert, evidence: [owner.teir], expires: 1d, on_expiry: recheck}
  - id: one
    when: [counters.seen > 3]
    route: {queue: a b, priority: hihg}
  - id: last
    when: [has(nhi.id)]
    hold: {queue: q, priority: low, for: 1h}
";
    let second = "\
boundary: base
owner: o
allow: [{id: a, actions: [disable-kye], environments: [prod]}]
deny: [{id: d, of: everything, when: [has(nhi.id)], why: no}]
suppress: {max_expires: 30, never_severity: [hihg]}
obligations: {share_percent: 200, hours: always}
pass_unknown: [vault.alive]
";
    let expected = [
        "boundary1.yaml:1:1: `allow` names environments: say which fact holds them, `context: {environment: …}`",
        "boundary1.yaml:1:1: no boundary has a `default_queue`: where alerts go that no playbook is for",
        "boundary1.yaml:3:27: there is no action `disable-kye`, did you mean `disable-key`?",
        "boundary1.yaml:4:20: unknown of `everything`: one of suppress, escalate, any",
        "boundary1.yaml:5:25: `max_expires` must be a duration such as 15m, 24h or 30d, at most 3650d",
        "boundary1.yaml:5:46: unknown severity `hihg`, did you mean `high`?",
        "boundary1.yaml:6:14: `share_percent` is out of range",
        "boundary1.yaml:6:42: `hours` must be like `mon-fri 08:00-18:00` (UTC)",
        "boundary1.yaml:7:16: `vault` provides no `vault.alive`, did you mean `vault.live`?",
        "playbook1.yaml:1:1: `title` is missing",
        "playbook1.yaml:2:1: unknown key `titel`, did you mean `title`?",
        "playbook1.yaml:4:7: mode `canary` needs `canary`: for whom, such as {percent: 5}",
    ];
    let problems = policy(&[first], &[second]).map(|_| ()).unwrap_err();
    let (told, rest) = problems.split_at(expected.len());
    assert_eq!(told, expected);
    let expected_rules = [
        "playbook1.yaml:6:9: unknown enricher `registy`, did you mean `registry`?",
        "playbook1.yaml:6:50: `max_age` must be a duration such as 15m, 24h or 30d, at most 3650d",
        "playbook1.yaml:8:5: a rule that suppresses or escalates must say `on_unknown`: next, route or hold",
        "playbook1.yaml:11:19: `=` does not compare, did you mean `==`?",
        "playbook1.yaml:12:30: unknown name `nhi.kid`, did you mean `nhi.id`?",
        "playbook1.yaml:15:11: unknown name `nope.nope`",
        "playbook1.yaml:16:24: unknown reason `not_an_alert`: one of test_fixture, revoked_verified, rotation_in_progress, approved_change, accepted_risk",
        "playbook1.yaml:16:49: `owner` provides no `owner.teir`, did you mean `owner.tier`?",
        "playbook1.yaml:18:12: `counters.seen` needs a `group` in this playbook",
        "playbook1.yaml:19:20: `queue` must be a name of letters, digits, `.`, `_` and `-`, at most 100, starting with a letter or digit",
        "playbook1.yaml:19:35: unknown priority `hihg`, did you mean `high`?",
        "playbook1.yaml:20:5: the last rule must be a `route` without `when`: where everything else goes",
    ];
    assert_eq!(rest, expected_rules);
}

#[test]
fn each_mistake_in_a_playbook_is_told() {
    let suppress =
        "suppress: {reason: test_fixture, evidence: [nhi.id], expires: 1d, on_expiry: recheck}";
    let escalate = "escalate: {action: disable-key, rollback: enable-key, expires: 1d, queue: q, priority: low}";
    for (rules, expected) in [
        ("  - id: a\n    route: {queue: q, priority: low}\n".to_owned(),
         "8:5: only the last rule may have no `when`: nothing comes after it"),
        ("  - id: a\n    when: [vault.live]\n    route: {queue: q, priority: low}\n".to_owned(),
         "9:12: `vault.live` is used but `vault` is not declared under `facts`"),
        ("  - id: a\n    when: [counters.seen > 1]\n    route: {queue: q, priority: low}\n".to_owned(),
         "9:12: `counters.seen` needs a `group` in this playbook"),
        (format!("  - id: a\n    when: [has(nhi.id)]\n    {suppress}\n"),
         "8:5: a rule that suppresses or escalates must say `on_unknown`: next, route or hold"),
        (format!("  - id: a\n    when: [has(nhi.id)]\n    on_unknown: next\n    {}\n", suppress.replace("[nhi.id]", "[]")),
         "11:15: a suppression needs `evidence`: the names that prove it"),
        (format!("  - id: a\n    when: [has(nhi.id)]\n    on_unknown: next\n    {}\n", escalate.replace("disable-key", "disable")),
         "8:5: there is no action `disable`"),
        (format!("  - id: a\n    when: [has(nhi.id)]\n    on_unknown: next\n    {}\n", escalate.replace("enable-key", "unblock")),
         "8:5: action `disable-key` is undone by `enable-key`, not by `unblock`"),
        (format!("  - id: a\n    when: [has(nhi.id)]\n    on_unknown: never\n    {escalate}\n"),
         "10:17: unknown on_unknown `never`: one of next, route, hold"),
        (format!("  - id: a\n    when: [has(nhi.id)]\n    on_unknown: next\n    {escalate}\n    {suppress}\n"),
         "8:5: a rule needs exactly one of `route`, `suppress`, `escalate`, `hold`"),
        ("  - id: otherwise\n    when: [has(nhi.id)]\n    route: {queue: q, priority: low}\n".to_owned(),
         "11:5: rule `otherwise` is there already, in line 8"),
        ("  - id: a\n    when: []\n    route: {queue: q, priority: low}\n".to_owned(),
         "9:11: no condition stands here"),
        ("  - id: a\n    when: [{any: [has(nhi.id)], not: has(nhi.id)}]\n    route: {queue: q, priority: low}\n".to_owned(),
         "9:12: must be exactly one of `any` and `not`"),
    ] {
        let problems = policy(&[&playbook("p", &rules)], &[BASE]).map(|_| ()).unwrap_err();
        assert_eq!(problems, [format!("playbook1.yaml:{expected}")], "{rules}");
    }
}

#[test]
fn every_playbook_ends_with_people() {
    let suppress =
        "suppress: {reason: test_fixture, evidence: [nhi.id], expires: 1d, on_expiry: recheck}";
    for last in [
        "when: [has(nhi.id)]\n    route: {queue: q, priority: low}".to_owned(),
        format!("on_unknown: next\n    {suppress}"),
        format!("when: [has(nhi.id)]\n    on_unknown: next\n    {suppress}"),
        "hold: {queue: q, priority: low, for: 1h}".to_owned(),
    ] {
        let text = playbook("p", "").replace(LAST, &format!("  - id: last\n    {last}\n"));
        let problems = policy(&[&text], &[BASE]).map(|_| ()).unwrap_err();
        let expected = "the last rule must be a `route` without `when`: where everything else goes";
        assert_eq!(problems, [format!("playbook1.yaml:8:5: {expected}")], "{last}");
    }
}

#[test]
fn a_queue_that_nobody_reads_is_refused_wherever_it_is_named() {
    let listed = |queues: &str, more: &str| {
        let base = format!("{BASE}queues: {{{queues}}}\n{more}");
        policy(&[&playbook("p", "")], &[&base]).map(|_| ()).unwrap_err().join("\n")
    };
    let (all, repair) = ("q: a, triage: b", "repair_queue: broken\n");
    assert!(policy(&[&playbook("p", "")], &[&format!("{BASE}queues: {{{all}}}\n")]).is_ok());
    assert!(listed("triage: b", "").contains("no boundary lists a queue `q`"));
    assert!(listed("q: a", "").contains("no boundary lists a queue `triage`"));
    assert!(listed(all, repair).contains("no boundary lists a queue `broken`"));
    assert!(listed("q: a, triage: ''", "").contains("must say who reads this queue"));
}

#[test]
fn two_live_playbooks_for_one_alert_need_an_order() {
    let with = |name: &str, extra: &str| {
        playbook(name, "").replace(&format!("on: {{kind: {name}}}"), extra)
    };
    let told = |first: &str, second: &str| {
        policy(&[&with("a", first), &with("b", second)], &[BASE]).map(|_| ()).unwrap_or_else(
            |told| {
                assert!(told.iter().all(|each| each.starts_with("playbook")), "{told:?}");
                panic!("{}", told.join("\n"));
            },
        );
    };
    told("on: {kind: x}", "on: {kind: y}");
    told("on: {kind: x, detector: [d]}", "on: {kind: x, detector: [e]}");
    told("on: {kind: x, detector: [d]}\norder: 1", "on: {kind: x}\norder: 2");
    let fails = |first: &str, second: &str| {
        policy(&[&with("a", first), &with("b", second)], &[BASE])
            .map(|_| ())
            .unwrap_err()
            .join("\n")
    };
    assert_eq!(
        fails("on: {kind: x, detector: [d]}", "on: {kind: x}\norder: 2"),
        "playbook2.yaml:5:5: alerts of kind `x` also go to playbook `a` (playbook1.yaml:1:1): give both a different `order`"
    );
    assert!(fails("on: {kind: x}\norder: 1", "on: {kind: x}\norder: 1").contains("order"));
    assert_eq!(
        fails("on: {kind: x}\norder: 1", "on: {kind: x}\norder: 2"),
        "playbook2.yaml:5:5: no alert reaches this playbook: others with a lower order take them all"
    );
    let twice = policy(&[&playbook("a", ""), &playbook("a", "")], &[BASE]).map(|_| ()).unwrap_err();
    assert!(twice[0].contains("playbook `a` is there already: playbook1.yaml:1:1"), "{twice:?}");
}

#[test]
fn a_boundary_there_must_be_and_one_base_in_it() {
    let playbook = playbook("p", "");
    let told = |layers: &[&str]| policy(&[&playbook], layers).map(|_| ()).unwrap_err();
    let none = "no boundary has a `default_queue`: where alerts go that no playbook is for";
    assert_eq!(told(&[]), [format!("boundary.yaml:1:1: {none}")]);
    assert_eq!(told(&["boundary: a\nowner: o\n"]), [format!("boundary1.yaml:1:1: {none}")]);
    let twice = told(&[BASE, &BASE.replace("base", "other")]);
    assert_eq!(
        twice,
        [
            "boundary2.yaml:1:1: `default_queue` stands in another boundary already: only one can have it"
        ]
    );
}

#[test]
fn tests_of_a_playbook_are_checked_too() {
    let text = playbook("p", "").replace("rules:", "facts: {registry: {max_age: 1h}}\nrules:")
        + "\
tests:
  - name: wrong
    now: tomorrow
    alert: {severty: low, event: {count: many}}
    facts: {registry.fixture: {unknown: late}, registry.count: true, nope.x: 1}
    expect: {route: q, hold: q, rule: otherwize, reason: no, priority: top}
    extra: 1
";
    let problems = policy(&[&text], &[BASE]).map(|_| ()).unwrap_err();
    assert_eq!(
        problems,
        [
            "playbook1.yaml:13:10: must be a time such as 2026-01-31T09:00:00Z",
            "playbook1.yaml:14:13: no field of an alert is called `severty`, did you mean `severity`?",
            "playbook1.yaml:14:42: must be int, not text",
            "playbook1.yaml:15:41: unknown cause `late`: one of error, timeout, stale, conflict, no_key",
            "playbook1.yaml:15:64: must be int, not a boolean",
            "playbook1.yaml:15:70: unknown name `nope.x`",
            "playbook1.yaml:16:13: must be exactly one of `route`, `suppress`, `escalate`, `hold`",
            "playbook1.yaml:16:39: this playbook has no rule `otherwize`, did you mean `otherwise`?",
            "playbook1.yaml:16:58: unknown reason `no`",
            "playbook1.yaml:16:72: unknown priority `top`: one of low, medium, high, critical",
            "playbook1.yaml:17:5: unknown key `extra`; known here: name, now, alerts, alert, facts, windows, counters, expect",
        ]
    );
}

#[test]
fn an_unquoted_negation_is_never_lost() {
    for when in ["!has(nhi.id)", "!vault.live == true"] {
        let rules = format!(
            "  - id: a\n    when:\n      - {when}\n    route: {{queue: q, priority: low}}\n"
        );
        let problems = policy(&[&playbook("p", &rules)], &[BASE]).map(|_| ()).unwrap_err();
        assert!(problems[0].starts_with("playbook1.yaml:10:"), "{problems:?}");
    }
}

#[test]
fn nothing_is_suppressed_because_a_fact_is_unknown() {
    let with = |outcome: &str| {
        let rules = format!(
            "  - id: a\n    when: [{{any: [has(nhi.id), {{not: unknown(registry.count)}}]}}]\n    \
             on_unknown: next\n    {outcome}\n"
        );
        let text =
            playbook("p", &rules).replace("rules:", "facts: {registry: {max_age: 1h}}\nrules:");
        policy(&[&text], &[BASE]).map(|_| ()).err().unwrap_or_default()
    };
    let suppress =
        "suppress: {reason: test_fixture, evidence: [nhi.id], expires: 1d, on_expiry: recheck}";
    assert_eq!(
        with(suppress),
        [
            "playbook1.yaml:10:38: `unknown(…)` is for rules that route or hold: nothing is suppressed or escalated because a fact is unknown"
        ]
    );
    for outcome in ["route: {queue: q, priority: low}", "hold: {queue: q, priority: low, for: 1h}"]
    {
        assert_eq!(with(outcome), [""; 0]);
    }
}

#[test]
fn a_denial_never_asks_whether_a_fact_is_unknown() {
    let deny = |when: &str| {
        let base = format!("{BASE}deny: [{{id: d, of: any, when: {when}, why: no}}]\n");
        policy(&[&playbook("p", "")], &[&base]).map(|_| ()).err().unwrap_or_default()
    };
    let why = "name the fact under `require`, which refuses where it is unknown";
    for (when, column) in [
        ("unknown(vault.live)", 31),
        ("[has(nhi.id), '!unknown(vault.live, \"stale\")']", 46),
        ("{any: [has(nhi.id), {not: unknown(vault.live)}]}", 57),
    ] {
        let expected = format!(
            "boundary1.yaml:4:{column}: `unknown(…)` is for rules that route or hold: {why}"
        );
        assert_eq!(deny(when), [expected], "{when}");
    }
    assert_eq!(deny("vault.live"), [""; 0]);
}

/// Neither in its line of the file nor in the words about it.
#[test]
fn a_terminal_obeys_no_problem() {
    let hidden = "\u{1b}]0;x\u{7}\u{202e}\u{61c}\u{200b}\u{200d}\u{2060}\u{feff}\u{9b}";
    let escaped: String = hidden.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
    let rules = format!(
        "  - id: a\n    when: [\"nhi.kind in [1, 'x{escaped}']\", \"duration('{escaped}') > x\"]\n    \
         route: {{queue: q, priority: \"{escaped}\"}}\n"
    );
    let raw = playbook("p", "").replace("kind: p", "kind: p\u{200b}\u{2060}, kid: x\u{feff}");
    let shown = shown_problems(&[&playbook("p", &rules), &raw], &[BASE]);
    assert!(shown.contains("unknown priority `·]0;x·") && shown.contains("kid: x·"), "{shown}");
    let is_hidden = |c: char| c != '\n' && !c.is_ascii_graphic() && hidden.contains(c);
    assert!(!shown.contains(is_hidden), "{shown:?}");
}
