//! What `explain` says: what became of each rule, why a playbook is not for an alert, and what automation
//! would have needed.

use serde_json::{Value as Json, json};
use tipstaff::case::{
    Again, Alert, Breadth, Count, Field, Priority, Revised, Standing, Value, Why,
};
use tipstaff::decide::{Inputs, explain, rests_on};

use crate::support::{
    NOW, OWNER, REGISTRY, Rows, Situation, THREAT, VAULT, known, plain_alert, policy, text, unknown,
};

const HEAD: &str = r#"
playbook: exposed-key
title: t
owner: o
mode: live
on: {kind: exposed_key}
order: 2
facts: {registry: {max_age: 1h}, owner: {max_age: 24h}, vault: {max_age: 15m}, threat: {max_age: 1h}}
group: {by: [nhi.id], window: 6h, break_out: {distinct: location.repository, over: 2}}
rules:
"#;
const LAST: &str = "  - {id: otherwise, route: {queue: people, priority: high}}\n";
const SUPPRESS: &str = "suppress: {reason: test_fixture, evidence: [registry.fixture], expires: 10d, on_expiry: recheck}\n";
const ESCALATE: &str = "escalate: {action: disable-key, rollback: enable-key, expires: 24h, queue: people, \
    priority: critical}\n";
const BOUNDARY: &str = r#"
boundary: base
owner: security
default_queue: {queue: triage, priority: medium}
context: {environment: owner.environment}
allow: [{id: keys, actions: [disable-key], environments: [prod]}]
require: {escalate: {facts: {vault.live: 10m}}}
suppress: {max_expires: 20d}
"#;

fn rule(id: &str, when: &str, on_unknown: &str, outcome: &str) -> String {
    format!("  - id: {id}\n    when: [{when}]\n    on_unknown: {on_unknown}\n    {outcome}")
}

fn facts() -> Rows {
    vec![
        known(REGISTRY, [Value::Bool(true), Value::Int(1)]),
        known(OWNER, [text("prod"), text("1")]),
        known(VAULT, [Value::Bool(false), Value::Absent]),
        unknown(THREAT, Why::Timeout),
    ]
}

/// Under these rules, files and layers' lines.
fn explained(
    (rules, others): (&str, &[&str]),
    layer: &str,
    situation: &Situation,
    revised: Option<&Revised<'_>>,
) -> Json {
    let own = format!("{HEAD}{rules}{LAST}");
    let mut playbooks = vec![&*own];
    playbooks.extend(others);
    let policy = policy(&playbooks, &[&format!("{BOUNDARY}{layer}")]).unwrap();
    let Situation { arrival, facts, counters } = situation;
    let inputs = Inputs { arrival, facts, counters, now: NOW };
    serde_json::to_value(explain(&policy, &inputs, revised)).unwrap()
}

fn effect(all: &Json, rule: &str) -> String {
    let mut rules = all["playbooks"][0]["rules"].as_array().unwrap().iter();
    rules.find(|each| each["rule"] == rule).unwrap()["effect"].as_str().unwrap().to_owned()
}

#[test]
fn what_became_of_a_rule_is_said() {
    let score = rule("scored", "threat.score > 7.0", "next", ESCALATE);
    let fixture = rule("fixture", "registry.fixture", "next", SUPPRESS);
    let first = |then: &str| format!("the first rule that is true: {then}");
    let mut situation = Situation::new(plain_alert(), facts());
    let all = explained((&format!("{score}{fixture}"), &[]), "", &situation, None);
    let undecided = "passed over, undecided: nothing behind it may suppress, and the priority is at \
                     least critical; an escalation behind it needs the boundary's `pass_unknown`";
    assert_eq!(effect(&all, "scored"), undecided);
    let held = first("an undecided rule stands before it, and so it is held for people");
    assert_eq!(effect(&all, "fixture"), held);
    let asks =
        rule("asks", "unknown(threat.score)", "next", "route: {queue: people, priority: high}\n");
    let all = explained((&asks, &[]), "", &situation, None);
    let least = first("it rules, at least as urgently as what could win in its place");
    assert_eq!(effect(&all, "asks"), least);
    let count = Count::Exactly(5);
    situation.counters.breadth = Some(Breadth { distinct: "location.repository".into(), count });
    let all = explained((&fixture, &[]), "", &situation, None);
    let far = first("it has spread too far, and the last rule's queue gets it");
    assert_eq!(effect(&all, "fixture"), far);
}

#[test]
fn what_became_of_a_hold_is_said() {
    let hold = "hold: {queue: people, priority: high, for: 1d}\n";
    let hold = rule("wait", "registry.fixture", "next", hold);
    let undecided = rule("scored", "threat.score > 7.0", "next", ESCALATE)
        + &rule("wait", "registry.fixture", "next", SUPPRESS);
    let situation = Situation::new(plain_alert(), facts());
    let said = |rules: &str, revised: Option<(Again, bool)>| {
        let revised = revised.map(|(why, is_held)| {
            let (queue, priority) = ("people".to_owned(), Priority::High);
            let standing = Standing { is_held, queue, priority, due: Some(NOW), released: None };
            Revised { why, facts: vec![], standing: Some(standing) }
        });
        effect(&explained((rules, &[]), "", &situation, revised.as_ref()), "wait")
    };
    for (rules, revised, then) in [
        (&hold, None, "it rules"),
        (&hold, Some((Again::LateFact, false)), "people keep it as they have it"),
        (&hold, Some((Again::HoldOver, true)), "it goes to people, held as long as it may be"),
        (&hold, Some((Again::Released, true)), "it goes to people, released by one of them"),
        (&undecided, Some((Again::HoldOver, true)), "it goes to people, held as long as it may be"),
    ] {
        assert_eq!(said(rules, revised), format!("the first rule that is true: {then}"));
    }
}

#[test]
fn why_a_playbook_is_not_for_an_alert_is_said() {
    let other = |name: &str, of: &str| {
        let head = HEAD.replace("playbook: exposed-key", &format!("playbook: {name}"));
        head.replace("on: {kind: exposed_key}\norder: 2", of) + LAST
    };
    let others = [
        other("failures", "on: {kind: auth_failure}"),
        other("others", "on: {kind: exposed_key, detector: trufflehog}\norder: 1"),
    ];
    let others: Vec<&str> = others.iter().map(String::as_str).collect();
    let said = |alert: Alert<'static>| {
        let situation = Situation::new(alert, facts());
        let all = explained(("", &others), "", &situation, None);
        let all = all["playbooks"].as_array().unwrap().clone();
        let why = |name: &str| {
            let own = all.iter().find(|each| each["playbook"] == name).unwrap();
            own["why"].as_str().unwrap().to_owned()
        };
        [why("failures"), why("others")]
    };
    assert_eq!(said(plain_alert()), ["for auth_failure", "for alerts of trufflehog"]);
    let mut none = plain_alert();
    none.set(Field::NotAnAlert, text("a test"));
    assert_eq!(said(none), ["the pipeline says that there is nothing to act on"; 2]);
}

fn needs(all: &Json) -> Vec<(String, usize)> {
    let stronger = all["stronger"].as_array().unwrap().iter();
    let one = |each: &Json| {
        (each["rule"].as_str().unwrap().to_owned(), each["needs"].as_array().unwrap().len())
    };
    stronger.map(one).collect()
}

#[test]
fn the_nearest_of_what_automation_could_have_done_stands_in_front() {
    let far = "{any: [{not: {any: [registry.fixture, registry.count == 1, owner.tier == '1']}}]}";
    let near = "vault.live, registry.count > 5";
    let rules = [rule("far", far, "next", SUPPRESS), rule("near", near, "next", SUPPRESS)].concat();
    let situation = Situation::new(plain_alert(), facts());
    let all = explained((&rules, &[]), "", &situation, None);
    assert_eq!(needs(&all), [("near".to_owned(), 2), ("far".to_owned(), 1)], "{all:#}");
}

/// Only what asks for people, or what the boundary lets nobody pass, stands in front of an escalation.
#[test]
fn an_undecided_rule_stands_in_the_way_where_it_may_not_be_passed() {
    let situation = Situation::new(plain_alert(), facts());
    for (on_unknown, layer, is_in_the_way) in [
        ("next", "pass_unknown: [threat.score]\n", false),
        ("route", "pass_unknown: [threat.score]\n", true),
        ("next", "", true),
    ] {
        let route = "route: {queue: people, priority: high}\n";
        let rules = rule("scored", "threat.score > 7.0", on_unknown, route)
            + &rule("live", "vault.live", "next", ESCALATE);
        let all = explained((&rules, &[]), layer, &situation, None);
        let live = &all["stronger"][0];
        assert_eq!(live["rule"], "live");
        let needs = live["needs"].as_array().unwrap();
        let stands = needs.iter().any(|need| need["rule"] == json!("scored"));
        assert_eq!(stands, is_in_the_way, "{on_unknown} {layer}");
    }
}

/// Of the rule's own values only where the boundary counted their sources.
#[test]
fn a_refusal_for_another_reason_rests_on_no_value_of_the_rule() {
    let when = "{any: [\"severity == \\\"high\\\"\", \"threat.score > 7.0\"]}";
    let own = format!("{HEAD}{}{LAST}", rule("live", when, "next", ESCALATE));
    let mut rows = facts();
    rows[VAULT] = unknown(VAULT, Why::NotRecorded);
    rows[THREAT] = unknown(THREAT, Why::NotRecorded);
    let Situation { arrival, facts, counters } = &Situation::new(plain_alert(), rows);
    let inputs = Inputs { arrival, facts, counters, now: NOW };
    let sources = BOUNDARY.replace("vault.live: 10m}", "vault.live: 10m}, sources: 1");
    for (boundary, expected) in [(BOUNDARY, &["vault"][..]), (&sources, &["threat", "vault"])] {
        let policy = policy(&[&own], &[boundary]).unwrap();
        assert_eq!(rests_on(&policy, &inputs, Why::NotRecorded), expected);
    }
}
