//! INV-4: what automation does with something unknown, it would do however that turned out.

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use tipstaff::case::{Escalate, Priority, Reason, Ruling, Value, Why};

use crate::choices::{Choices, choices, config};
use crate::generated::{boundaries, completed, has_unknown, playbook, situation};
use crate::support::{
    OWNER, REGISTRY, Rows, Situation, THREAT, VAULT, absent, known, plain_alert, policy, text,
    unknown,
};

const POLICIES: usize = 700;
const COMPLETIONS: usize = 25;

/// What is done, apart from which of two equal rules asked for it.
fn effect(fate: &Ruling<'_>) -> String {
    match fate {
        Ruling::Escalate(Escalate {
            action,
            target,
            rollback,
            queue,
            priority,
            expires_at,
            ..
        }) => {
            format!("{action} {target} {rollback} {queue} {priority:?} {expires_at}")
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn what_is_unknown_never_helps_automation() {
    let (mut suppressed, mut escalated) = (0, 0);
    let mut runner = TestRunner::new(config(1));
    let bytes = choices(200);
    // More than planned where chance gave too few that the property speaks of.
    for round in 0..POLICIES * 20 {
        if round >= POLICIES && suppressed > 5 && escalated > 5 {
            break;
        }
        let mut choices = Choices::new(bytes.new_tree(&mut runner).unwrap().current());
        let situation = situation(&mut choices);
        let (playbook, layers) = (playbook(&mut choices), boundaries(&mut choices));
        let layers: Vec<&str> = layers.iter().map(String::as_str).collect();
        let policy = policy(&[&playbook], &layers).unwrap_or_else(|p| panic!("{p:?}\n{playbook}"));
        let fate = situation.decide(&policy).decision.fate;
        match fate {
            _ if !has_unknown(&situation.facts) => continue,
            Ruling::Suppress(_) => suppressed += 1,
            Ruling::Escalate(_) => escalated += 1,
            Ruling::Route(_) | Ruling::Hold(_) | Ruling::DeadLetter(_) => continue,
        }
        for _ in 0..COMPLETIONS {
            let mut more = Choices::new(bytes.new_tree(&mut runner).unwrap().current());
            let turned_out = Situation {
                arrival: situation.arrival.clone(),
                facts: completed(&situation.facts, &mut more),
                counters: situation.counters.clone(),
            };
            let then = turned_out.decide(&policy).decision.fate;
            assert_eq!(
                effect(&fate),
                effect(&then),
                "{playbook}\n{layers:#?}\n{:?}\nand then\n{:?}",
                situation.facts,
                turned_out.facts
            );
        }
    }
    assert!(suppressed > 5 && escalated > 5, "too few: {suppressed} and {escalated}");
}

/// A rule that wins because a fact is unknown is in the place of another, which might have been
/// more urgent.
#[test]
fn what_is_unknown_never_makes_a_ruling_less_urgent() {
    let (mut compared, mut by_asking) = (0, 0);
    let mut runner = TestRunner::new(config(1));
    let bytes = choices(200);
    for round in 0..POLICIES * 20 {
        if round >= POLICIES && by_asking > 100 {
            break;
        }
        let mut choices = Choices::new(bytes.new_tree(&mut runner).unwrap().current());
        let situation = situation(&mut choices);
        let (mut playbook, layers) = (playbook(&mut choices), boundaries(&mut choices));
        let last = format!("priority: {}}}\n", choices.one(&["low", "medium", "high"]));
        playbook.truncate(playbook.len() - "priority: low}\n".len());
        playbook.push_str(&last);
        let layers: Vec<&str> = layers.iter().map(String::as_str).collect();
        let policy = policy(&[&playbook], &layers).unwrap_or_else(|p| panic!("{p:?}\n{playbook}"));
        let decision = situation.decide(&policy).decision;
        if !has_unknown(&situation.facts) || matches!(decision.fate, Ruling::Suppress(_)) {
            continue;
        }
        let asks = decision.because.iter().any(|each| each.clause.contains("unknown("));
        by_asking += usize::from(asks && decision.reason == Reason::RuleMatched);
        for _ in 0..COMPLETIONS {
            let mut more = Choices::new(bytes.new_tree(&mut runner).unwrap().current());
            let turned_out = Situation {
                arrival: situation.arrival.clone(),
                facts: completed(&situation.facts, &mut more),
                counters: situation.counters.clone(),
            };
            let then = turned_out.decide(&policy).decision;
            // What is refused or undecided then is as urgent as the last rule, which nobody won.
            if !matches!(then.reason, Reason::RuleMatched | Reason::NoRule) {
                continue;
            }
            compared += 1;
            assert!(
                decision.fate.priority() >= then.fate.priority(),
                "{playbook}\n{layers:#?}\n{:?}\n{:?}\nand then\n{:?}\n{:?}",
                situation.facts,
                decision.fate,
                turned_out.facts,
                then.fate
            );
        }
    }
    assert!(compared > 1000 && by_asking > 100, "too few: {compared} and {by_asking}");
}

const BOUNDARY: &str = "
boundary: base
owner: o
default_queue: {queue: triage, priority: medium}
context: {environment: owner.environment, tier: owner.tier}
allow: [{id: all, actions: [disable-key]}]
suppress: {max_expires: 30d}
";

fn rules(text: &str) -> String {
    format!(
        "playbook: p\ntitle: t\nowner: o\nmode: live\non: {{kind: exposed_key}}\nfacts: \
         {{registry: {{max_age: 1h}}, owner: {{max_age: 1h}}, vault: {{max_age: 1h}}}}\nrules:\n{text}"
    )
}

fn facts() -> Rows {
    vec![
        known(REGISTRY, [Value::Bool(false), Value::Absent]),
        known(OWNER, [text("dev"), text("1")]),
        unknown(VAULT, Why::Timeout),
        absent(THREAT),
    ]
}

#[test]
fn a_rule_that_asks_for_the_unknown_is_as_urgent_as_what_could_win_in_its_place() {
    let asking = "  - {id: a, when: ['unknown(vault.live) || severity == \"critical\"'], route: {queue: q, priority: low}}\n";
    let escalate = "  - {id: e, when: [vault.live], on_unknown: next, escalate: {action: disable-key, rollback: enable-key, expires: 1d, queue: q, priority: critical}}\n";
    let route = "  - {id: r, when: [has(nhi.id)], route: {queue: q, priority: medium}}\n";
    let other = "  - {id: o, when: [nhi.id == \"other\"], route: {queue: q, priority: critical}}\n";
    let last = "  - {id: last, route: {queue: q, priority: high}}\n";
    let priority = |written: &str, severity: &str| {
        let policy = policy(&[&rules(written)], &[BOUNDARY]).unwrap();
        let mut alert = plain_alert();
        alert.set(tipstaff::case::Field::Severity, text(severity));
        let situation = Situation::new(alert, facts());
        let decision = situation.decide(&policy).decision;
        assert_eq!((&*decision.rule, decision.reason), ("a", Reason::RuleMatched));
        decision.fate.priority().unwrap()
    };
    assert_eq!(priority(&format!("{asking}{escalate}{last}"), "high"), Priority::Critical);
    assert_eq!(priority(&format!("{asking}{last}"), "high"), Priority::High);
    assert_eq!(priority(&format!("{asking}{other}{last}"), "high"), Priority::High, "never wins");
    let behind = format!("{asking}{other}{escalate}{last}");
    assert_eq!(priority(&behind, "high"), Priority::Critical, "a rule that is false ends nothing");
    let behind = format!("{asking}{route}{escalate}{last}");
    assert_eq!(priority(&behind, "high"), Priority::High, "a rule that is true ends it");
}

#[test]
fn consent_to_pass_a_fact_is_consent_to_compare_it_with_now() {
    let with = |clause: &str, consent: &str| {
        let playbook = rules(&format!(
            "  - {{id: a, when: ['{clause}'], on_unknown: next, suppress: {{reason: approved_change, evidence: [nhi.id], expires: 1d, on_expiry: recheck}}}}\n\
             \x20 - {{id: b, when: [has(nhi.id)], on_unknown: next, escalate: {{action: disable-key, rollback: enable-key, expires: 1d, queue: q, priority: high}}}}\n\
             \x20 - {{id: last, route: {{queue: q, priority: low}}}}\n"
        ));
        let boundary = format!("{BOUNDARY}pass_unknown: [{consent}]\n");
        let policy = policy(&[&playbook], &[&boundary]).unwrap();
        Situation::new(plain_alert(), facts()).decide(&policy).permit.is_some()
    };
    let compared = "now - vault.used_at > duration(\"1h\")";
    assert!(with(compared, "vault.used_at"));
    assert!(with("age(vault.used_at) > duration(\"1h\")", "vault.used_at"));
    assert!(!with(compared, "vault.live"));
    // Nothing is unknown here, and yet it can't be decided: beyond the last time that there is.
    let beyond = "now + duration(\"106751991167d\") > now";
    assert!(!with(beyond, "vault.used_at"));
}
