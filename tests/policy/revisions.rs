//! Rulings made again: whatever is learned later, people keep what they have.

use std::sync::Arc;

use proptest::prelude::*;
use tipstaff::case::{
    Again, Arrival, CacheState, Decision, FactState, Field, Millis, Priority, Reason, Revised,
    Ruling, Standing, Value, Wait, Why,
};
use tipstaff::decide::{Inputs, decide, explain, revise, waits};
use tipstaff::policy::Policy;

use super::support::*;

const BOUNDARY: &str = "
boundary: base
owner: governance
default_queue: {queue: soc, priority: medium}
repair_queue: data-repair
facts: {owner: {max_age: 7d}}
context: {environment: owner.environment, tier: owner.tier}
allow:
  - {id: all, actions: [disable-key], environments: [staging], kinds: [exposed_key], tiers: [\"2\"]}
require: {escalate: {facts: {owner.environment: 7d, owner.tier: 7d}}}
suppress: {max_expires: 30d, never_severity: []}
";

const PLAYBOOK: &str = "
playbook: keys
title: t
owner: team
mode: live
on: {kind: exposed_key}
facts: {registry: {max_age: 1h}, owner: {max_age: 1h}, vault: {max_age: 1h}}
rules:
  - id: fixture
    when: [registry.fixture == true]
    on_unknown: next
    suppress: {reason: test_fixture, evidence: [registry.fixture], expires: 1d, on_expiry: recheck}
  - id: live
    when: [vault.live == true]
    on_unknown: UNKNOWN
    escalate: {action: disable-key, rollback: enable-key, expires: 1h, queue: response, priority: critical}
  - id: tiered
    when: [owner.tier == \"0\"]
    on_unknown: next
    route: {queue: first-line, priority: high}
  - id: otherwise
    route: {queue: people, priority: low, ack_within: 1h}
tests:
  - {name: n, now: 2026-01-01T00:00:00Z, alert: {nhi.id: x}, expect: {route: people, rule: otherwise}}
";

fn keys(on_unknown: &str) -> Policy {
    policy(&[&PLAYBOOK.replace("UNKNOWN", on_unknown)], &[BOUNDARY]).unwrap()
}

fn facts_of(registry: usize, owner: usize, vault: usize) -> Rows {
    let of = |enricher: usize, how: usize, values: [Value<'static>; 2]| match how {
        0 => known(enricher, values),
        1 => absent(enricher),
        2 => unknown(enricher, Why::Timeout),
        3 => unknown(enricher, Why::Conflict),
        _ => row(enricher, Some(Millis(0)), FactState::Absent, Vec::new()),
    };
    vec![
        of(REGISTRY, registry, [Value::Bool(true), Value::Int(1)]),
        of(OWNER, owner, [text("staging"), text("2")]),
        of(VAULT, vault, [Value::Bool(true), Value::Absent]),
    ]
}

proptest! {
    /// INV-4: from any ruling, by any facts, for any cause.
    #[test]
    fn a_revision_never_suppresses_never_lowers_and_ends_a_hold_that_is_over(
        first in (0_usize..5, 0_usize..5, 0_usize..5),
        later in (0_usize..5, 0_usize..5, 0_usize..5),
        on_unknown in prop::sample::select(vec!["next", "route", "hold"]),
        why in prop::sample::select(vec![Again::HoldOver, Again::Released, Again::Repaired]),
    ) {
        let policy = keys(on_unknown);
        let arrival = arrival(plain_alert());
        let counters = counters(1);
        let rows = facts_of(first.0, first.1, first.2);
        let inputs = Inputs { arrival: &arrival, facts: &rows, counters: &counters, now: NOW };
        let ruled = decide(&policy, &inputs).decision;
        let Some(standing) = Standing::of(&ruled.fate) else { return Ok(()) };
        let is_over = why != Again::Repaired;
        let revised = Revised { why, facts: vec![], standing: Some(standing.clone()) };
        let rows = facts_of(later.0, later.1, later.2);
        let inputs = Inputs { facts: &rows, ..inputs };
        let again = revise(&policy, &inputs, &revised);
        let explained = explain(&policy, &inputs, Some(&revised));
        prop_assert_eq!(&explained.ruling, &again);
        let nothing = explained.stronger.iter().find(|each| each.needs.is_empty());
        prop_assert!(nothing.is_none(), "nothing stood in its way: {:?}", nothing);
        prop_assert!(!matches!(again.fate, Ruling::Suppress(_)));
        prop_assert!(again.fate.priority() >= Some(standing.priority));
        let is_held = matches!(again.fate, Ruling::Hold(_));
        prop_assert!(!is_held || (standing.is_held && !is_over), "held again: {:?}", again.fate);
        let is_routed = matches!(again.fate, Ruling::Route(_)) && !standing.is_held;
        if is_routed && again.fate.priority() == Some(standing.priority) {
            prop_assert_eq!(again.fate.queue(), Some(standing.queue.as_str()));
        }
    }
}

fn ruled<'p>(policy: &'p Policy, rows: &'p Rows, arrival: &'p Arrival<'p>) -> Decision<'p> {
    let counters = Box::leak(Box::new(counters(1)));
    decide(policy, &Inputs { arrival, facts: rows, counters, now: NOW }).decision
}

/// What is told of a rule is what became of its ruling in the end.
#[test]
fn a_revision_is_explained_as_it_is_made() {
    let (policy, arrival, counters) = (keys("hold"), arrival(plain_alert()), counters(1));
    let told = |rows: &Rows, is_held: bool, why: Again| {
        let standing = Standing {
            is_held,
            queue: "people".to_owned(),
            priority: Priority::Low,
            due: Some(NOW),
            released: None,
        };
        let revised = Revised { why, facts: vec![], standing: Some(standing) };
        let inputs = Inputs { arrival: &arrival, facts: rows, counters: &counters, now: NOW };
        let explained = explain(&policy, &inputs, Some(&revised));
        let rule = explained.playbooks[0].rules.iter().find(|r| r.rule == explained.ruling.rule);
        let outcomes: Vec<_> = explained.stronger.iter().map(|each| each.outcome).collect();
        assert!(!outcomes.contains(&"suppress"), "a revision never does");
        (explained.ruling.reason, rule.unwrap().effect.clone())
    };
    let (fixture, open) = (facts_of(0, 0, 1), facts_of(1, 0, 3));
    let of = |reason: Reason, effect: &str| (reason, effect.to_owned());
    assert_eq!(
        told(&fixture, false, Again::Repaired),
        of(
            Reason::LateSuppression,
            "the first rule that is true: people have it already, and so it is not suppressed"
        )
    );
    assert_eq!(
        told(&open, true, Again::HoldOver),
        of(
            Reason::HoldOver,
            "can't be decided, and so it goes to people, held as long as it may be: it rules"
        )
    );
    assert_eq!(
        told(&open, false, Again::Repaired),
        of(
            Reason::UnknownFact,
            "can't be decided, and so people keep it as they have it: it rules"
        )
    );
    assert_eq!(
        told(&open, true, Again::Repaired),
        of(Reason::UnknownFact, "can't be decided, and so it is held for people: it rules")
    );
}

#[test]
fn a_hold_names_the_repair_queue_and_what_it_waits_for() {
    let (policy, arrival) = (keys("hold"), arrival(plain_alert()));
    let rows = facts_of(1, 0, 3);
    let held = ruled(&policy, &rows, &arrival);
    let Ruling::Hold(hold) = &held.fate else { panic!("{:?}", held.fate) };
    assert_eq!((&*hold.queue, hold.until), ("data-repair", NOW.plus(3_600_000)));
    let patient = PLAYBOOK.replace("UNKNOWN", "hold").replace(", ack_within: 1h", "");
    let patient = super::support::policy(&[&patient], &[BOUNDARY]).unwrap();
    let Ruling::Hold(hold) = ruled(&patient, &rows, &arrival).fate else { panic!("not held") };
    assert_eq!(hold.until, NOW.plus(86_400_000), "a day, where nobody says how long");
    let waiting = waits(&policy, &rows, &held, NOW);
    assert_eq!(waiting, [Wait { enricher: "vault".into(), why: Why::Conflict }]);
    // One field of it, too, unless nothing could be asked for.
    for (why, expected) in [(Why::NoKey, None), (Why::Error, Some(Why::Error))] {
        let mut rows = facts_of(1, 0, 3);
        rows[OWNER] = known(OWNER, [Value::Unknown(why), text("2")]);
        let waiting = waits(&policy, &rows, &ruled(&policy, &rows, &arrival), NOW);
        let owner = waiting.iter().find(|wait| wait.enricher == "owner").map(|wait| wait.why);
        assert_eq!(owner, expected);
    }
    // Too old counts as unknown for what is held.
    let rows = facts_of(4, 0, 3);
    let waiting = waits(&policy, &rows, &ruled(&policy, &rows, &arrival), NOW);
    assert_eq!(waiting[0], Wait { enricher: "registry".into(), why: Why::Stale });
}

#[test]
fn a_routed_alert_waits_only_for_what_failed_or_came_late() {
    let (policy, arrival) = (keys("next"), arrival(plain_alert()));
    for (rows, expected) in [
        (facts_of(1, 2, 1), vec!["owner"]),
        (facts_of(1, 4, 1), vec![]),
        (facts_of(1, 3, 1), vec![]),
        (facts_of(1, 1, 1), vec![]),
    ] {
        let routed = ruled(&policy, &rows, &arrival);
        assert!(matches!(routed.fate, Ruling::Route(_)), "{:?}", routed.fate);
        let waiting = waits(&policy, &rows, &routed, NOW);
        let names: Vec<_> = waiting.iter().map(|wait| &*wait.enricher).collect();
        assert_eq!(names, expected);
    }
}

/// Whatever it is unknown for: the rule would not have won with it.
#[test]
fn a_rule_that_asks_for_the_unknown_waits_for_what_it_asks_about() {
    let asking = PLAYBOOK.replace(
        "  - id: fixture",
        "  - id: asking\n    when: ['unknown(vault.live)']\n    route: {queue: people, priority: low}\n  - id: fixture",
    );
    let policy = policy(&[&asking.replace("UNKNOWN", "next")], &[BOUNDARY]).unwrap();
    let arrival = arrival(plain_alert());
    for (rows, expected) in [
        (facts_of(1, 0, 3), vec![("vault", Why::Conflict)]),
        (facts_of(1, 0, 4), vec![("vault", Why::Stale)]),
        (facts_of(1, 3, 3), vec![("vault", Why::Conflict)]),
        (facts_of(1, 0, 1), vec![]),
    ] {
        let routed = ruled(&policy, &rows, &arrival);
        let by_asking = (&*routed.rule, routed.reason) == ("asking", Reason::RuleMatched);
        assert_eq!(by_asking, !expected.is_empty(), "{routed:?}");
        let waiting = waits(&policy, &rows, &routed, NOW);
        let waiting: Vec<_> = waiting.iter().map(|wait| (&*wait.enricher, wait.why)).collect();
        assert_eq!(waiting, expected);
    }
}

/// What a service said an hour ago and is being asked for again, as a table is not.
#[test]
fn a_routed_alert_waits_for_a_stale_answer_that_is_asked_for_again() {
    let (policy, arrival) = (keys("next"), arrival(plain_alert()));
    let waiting_for = |cache: Option<CacheState>| {
        let mut rows = facts_of(1, 4, 1);
        let owner = rows[OWNER].take().unwrap();
        rows[OWNER] = Some(Arc::new(Arc::unwrap_or_clone(owner).told(cache, None)));
        let waiting = waits(&policy, &rows, &ruled(&policy, &rows, &arrival), NOW);
        waiting.into_iter().map(|wait| (wait.enricher.into_owned(), wait.why)).collect::<Vec<_>>()
    };
    assert_eq!(waiting_for(Some(CacheState::Stale)), [("owner".to_owned(), Why::Stale)]);
    assert_eq!(waiting_for(None), []);
}

#[test]
fn what_would_suppress_now_is_left_to_people() {
    let (policy, arrival, counters) = (keys("hold"), arrival(plain_alert()), counters(1));
    let rows = facts_of(2, 0, 3);
    let first = ruled(&policy, &rows, &arrival);
    let standing = Standing::of(&first.fate).unwrap();
    assert!(standing.is_held);
    let revised =
        Revised { why: Again::LateFact, facts: vec!["registry".into()], standing: Some(standing) };
    let rows = facts_of(0, 0, 1);
    let inputs = Inputs { arrival: &arrival, facts: &rows, counters: &counters, now: NOW };
    assert!(matches!(decide(&policy, &inputs).decision.fate, Ruling::Suppress(_)), "it would");
    let again = revise(&policy, &inputs, &revised);
    let Ruling::Route(route) = &again.fate else { panic!("{:?}", again.fate) };
    assert_eq!((&*route.queue, again.reason), ("people", Reason::LateSuppression));
    assert_eq!(&*again.blocked[0].action, "suppress");
    assert_eq!(route.ack_by, Some(NOW.plus(3_600_000)));
}

#[test]
fn a_fact_that_came_late_may_escalate_by_the_boundary() {
    let (policy, arrival, counters) = (keys("route"), arrival(plain_alert()), counters(1));
    let rows = facts_of(1, 0, 2);
    let standing = Standing::of(&ruled(&policy, &rows, &arrival).fate).unwrap();
    let revised = Revised { why: Again::LateFact, facts: vec![], standing: Some(standing) };
    let rows = facts_of(1, 0, 0);
    let inputs = Inputs { arrival: &arrival, facts: &rows, counters: &counters, now: NOW };
    assert!(matches!(revise(&policy, &inputs, &revised).fate, Ruling::Escalate(_)));
    // The boundary is asked anew: without an owner there is no permit.
    let rows = facts_of(1, 2, 0);
    let inputs = Inputs { facts: &rows, ..inputs };
    assert!(matches!(revise(&policy, &inputs, &revised).fate, Ruling::Route(_)));
}

/// Nobody has it, so nothing can be taken from people: whatever the rules say by then, but nothing is
/// held any longer.
#[test]
fn what_was_suppressed_is_ruled_by_what_is_true_when_its_time_is_over() {
    let (policy, arrival, counters) = (keys("hold"), arrival(plain_alert()), counters(1));
    let revised = Revised { why: Again::SuppressionOver, facts: vec![], standing: None };
    let again = |rows: &Rows| {
        let inputs = Inputs { arrival: &arrival, facts: rows, counters: &counters, now: NOW };
        let decision = revise(&policy, &inputs, &revised);
        (decision.fate.name(), decision.fate.queue().map(str::to_owned), decision.reason)
    };
    assert_eq!(again(&facts_of(0, 0, 1)), ("suppress", None, Reason::TestFixture));
    let to = |queue: &str| Some(queue.to_owned());
    assert_eq!(again(&facts_of(1, 0, 1)), ("route", to("people"), Reason::RuleMatched));
    let held = again(&facts_of(1, 0, 3));
    assert_eq!(held, ("route", to("data-repair"), Reason::UnknownFact));
}

/// Hours after the broker took the alert: nobody is late for what they were not told.
#[test]
fn what_people_are_told_now_is_due_from_now() {
    const HOUR: i64 = 3_600_000;
    let (policy, counters) = (keys("route"), counters(1));
    let mut alert = plain_alert();
    alert.set(Field::ReceivedAt, Value::Time(NOW.plus(-24 * HOUR)));
    let arrival = arrival(alert);
    let standing = |is_held: bool| Standing {
        is_held,
        queue: "people".into(),
        priority: Priority::Low,
        due: Some(NOW.plus(-23 * HOUR)),
        released: None,
    };
    let again = |vault: usize, standing: Option<Standing>| {
        let revised = Revised { why: Again::LateFact, facts: vec![], standing };
        let rows = facts_of(1, 0, vault);
        let inputs = Inputs { arrival: &arrival, facts: &rows, counters: &counters, now: NOW };
        match revise(&policy, &inputs, &revised).fate {
            Ruling::Route(route) => route.ack_by,
            Ruling::Escalate(escalate) => Some(escalate.expires_at),
            other => panic!("{other:?}"),
        }
    };
    for vault in [0, 1] {
        for standing in [None, Some(standing(true))] {
            assert_eq!(again(vault, standing), Some(NOW.plus(HOUR)), "{vault}");
        }
    }
    assert_eq!(again(1, Some(standing(false))), standing(false).due, "what they have stays due");
    let rows = facts_of(1, 0, 1);
    let first = ruled(&policy, &rows, &arrival).fate.ack_by();
    assert_eq!(first, Some(NOW.plus(-23 * HOUR)), "a first ruling's time is the broker's");
}

/// INV-4: never later, never less urgent, and to another queue only from a hold or where it is more
/// urgent.
#[test]
fn what_people_have_keeps_its_deadline_its_priority_and_its_queue() {
    const HOUR: i64 = 3_600_000;
    let playbook = PLAYBOOK
        .replace("UNKNOWN", "route")
        .replace("priority: critical}", "priority: low}")
        .replace("{queue: people, priority: low,", "{queue: people, priority: medium,");
    let policy = policy(&[&playbook], &[BOUNDARY]).unwrap();
    let (arrival, counters) = (arrival(plain_alert()), counters(1));
    let (held, people) = (true, false);
    let (escalates, routes) = (0, 1);
    let (low, medium, high) = (Priority::Low, Priority::Medium, Priority::High);
    for (vault, (is_held, priority, due), expected) in [
        (escalates, (people, high, Some(5)), ("response", high, Some(5))),
        (escalates, (people, low, Some(HOUR)), ("response", low, Some(HOUR))),
        (escalates, (people, low, None), ("response", low, None)),
        (escalates, (held, low, Some(5)), ("response", low, None)),
        (routes, (people, medium, Some(5)), ("theirs", medium, Some(5))),
        (routes, (people, high, None), ("theirs", high, Some(HOUR))),
        (routes, (people, low, Some(HOUR + 1)), ("people", medium, Some(HOUR))),
        (routes, (held, high, Some(5)), ("people", high, Some(HOUR))),
    ] {
        let due = due.map(|ms| NOW.plus(ms));
        let standing = Standing { is_held, queue: "theirs".into(), priority, due, released: None };
        let revised =
            Revised { why: Again::LateFact, facts: vec![], standing: Some(standing.clone()) };
        let rows = facts_of(1, 0, vault);
        let inputs = Inputs { arrival: &arrival, facts: &rows, counters: &counters, now: NOW };
        let fate = revise(&policy, &inputs, &revised).fate;
        assert_eq!(matches!(fate, Ruling::Escalate(_)), vault == escalates);
        let found = (fate.queue(), fate.priority(), fate.ack_by().map(|at| at.since(NOW)));
        assert_eq!(found, (Some(expected.0), Some(expected.1), expected.2), "{standing:?}");
    }
}
