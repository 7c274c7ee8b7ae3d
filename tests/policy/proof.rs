//! `boundary prove`: whatever is permitted lies inside, what is listed is not everything, and
//! whoever widens a boundary is told.

use std::cell::LazyCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use tipstaff::case::{Body, Decision, EnricherShape, Field, Millis, Ruling, Type, Why};
use tipstaff::clause::Schema;
use tipstaff::decide::Decided;
use tipstaff::policy::{Change, Comparison, Need, Policy, Proof, Row, compare, prove};

use crate::choices::{Choices, choices, config};
use crate::generated::{added_layer, playbook, rich_boundaries};
use crate::proved::{Ruled, obligations};
use crate::support::{NOW, OWNER, Situation, policy, policy_over, schema, text, unknown};

/// Some answers are too old for a boundary alone, and some alerts are none.
fn situation(choices: &mut Choices) -> Situation {
    let mut situation = crate::generated::situation(choices);
    for row in situation.facts.iter_mut().flatten() {
        if row.as_of == Some(NOW) && choices.chance(5) {
            Arc::make_mut(row).as_of = Some(Millis(NOW.0 - 45 * 60_000));
        }
    }
    if choices.chance(4) {
        situation.facts[OWNER] = unknown(OWNER, Why::Timeout);
    }
    if let Body::Alert(alert) = &mut situation.arrival.body
        && choices.chance(6)
    {
        alert.set(Field::NotAnAlert, text("known-noise"));
    }
    situation
}

/// The same enrichers and one more, and all at other places.
fn other_schema() -> Schema {
    let mut enrichers = schema().enrichers;
    let provides = vec![("tier".to_owned(), Type::Bool), ("environment".to_owned(), Type::Int)];
    enrichers.push(EnricherShape { name: "inventory".into(), provides });
    enrichers.reverse();
    enrichers.iter_mut().for_each(|shape| shape.provides.reverse());
    Schema { enrichers, ..Schema::default() }
}

fn is_automated(decided: &Decided<'_>) -> bool {
    matches!(decided.decision.fate, Ruling::Escalate(_) | Ruling::Suppress(_))
}

/// The same ruling with the same permit, or with another that asks for as much.
fn is_widening_of(less: &Decision<'_>, more: &Decision<'_>) -> bool {
    let count = |decision: &Decision<'_>| -> BTreeMap<String, i64> {
        let approvals = obligations(decision).into_iter().filter(|(kind, _)| kind == "approvals");
        let told = approvals.map(|(_, value)| {
            let (count, role) = value.split_once(' ').unwrap();
            (role.to_owned(), count.parse().unwrap())
        });
        told.collect()
    };
    let (less, more) = (count(less), count(more));
    less.iter().any(|(role, needed)| more.get(role).is_none_or(|count| count < needed))
}

fn proof(policy: &Policy) -> Proof {
    prove(&policy.bounds()).unwrap()
}

fn compared(old: &Policy, new: &Policy) -> Comparison {
    compare(&old.bounds(), &new.bounds()).unwrap()
}

fn texts(layers: &[String]) -> Vec<&str> {
    layers.iter().map(String::as_str).collect()
}

#[test]
fn whatever_is_permitted_lies_inside_what_is_proved() {
    let mut runner = TestRunner::new(config(1));
    let (for_policy, for_situation) = (choices(400), choices(100));
    let (mut counts, mut outside) = (BTreeMap::<&str, usize>::new(), 0);
    for round in 0..5000 {
        if round >= 150 && counts.len() == 3 && counts.values().all(|count| *count > 30) {
            break;
        }
        let mut choices = Choices::new(for_policy.new_tree(&mut runner).unwrap().current());
        let (playbook, layers) = (playbook(&mut choices), rich_boundaries(&mut choices));
        let policy = policy(&[&playbook], &texts(&layers)).unwrap();
        let proof = LazyCell::new(|| proof(&policy));
        let other = situation(&mut choices);
        for _ in 0..10 {
            let bytes = for_situation.new_tree(&mut runner).unwrap().current();
            let situation = situation(&mut Choices::new(bytes));
            let decided = situation.decide(&policy);
            if !is_automated(&decided) {
                continue;
            }
            let decision = &decided.decision;
            let ruled = Ruled { policy: &policy, situation: &situation, decision };
            assert!(ruled.is_inside(&proof), "{decision:#?}\n{layers:#?}\n{:#?}", *proof);
            let kind = match &decided.permit {
                Some(_) => "escalated",
                None if ruled.is_no_alert() => "no alert",
                None => "suppressed",
            };
            *counts.entry(kind).or_default() += 1;
            // The same ruling about something else: a set of everything would hold that, too.
            let elsewhere = Ruled { situation: &other, ..ruled };
            outside += usize::from(!elsewhere.is_inside(&proof));
        }
    }
    assert!(counts.len() == 3 && counts.values().all(|count| *count > 30), "{counts:?}");
    assert!(outside > 25, "only {outside} are outside");
}

#[test]
fn what_one_boundary_permits_and_another_refuses_is_told_as_a_widening() {
    let mut runner = TestRunner::new(config(1));
    let bytes = choices(400);
    let mut found = 0;
    for round in 0..8000 {
        if round >= 150 && found > 25 {
            break;
        }
        let mut choices = Choices::new(bytes.new_tree(&mut runner).unwrap().current());
        let situation = situation(&mut choices);
        let playbook = playbook(&mut choices);
        let (old, new) = (rich_boundaries(&mut choices), rich_boundaries(&mut choices));
        let (old, new) = (texts(&old), texts(&new));
        let (was, is) = (policy(&[&playbook], &old).unwrap(), policy(&[&playbook], &new).unwrap());
        let (before, after) = (situation.decide(&was), situation.decide(&is));
        let gained = is_automated(&after)
            && (!is_automated(&before) || is_widening_of(&before.decision, &after.decision));
        if !gained {
            continue;
        }
        found += 1;
        let ruled = Ruled { policy: &is, situation: &situation, decision: &after.decision };
        let action = ruled.asked();
        // Where the old one's enrichers stand is no matter.
        let was = policy_over(other_schema(), &[], &old).unwrap();
        let told = compared(&was, &is);
        assert!(
            told.widened.iter().any(|change| change.action == action),
            "{:#?}\n{old:#?}\n{new:#?}\n{told:#?}",
            after.decision
        );
    }
    assert!(found > 25, "too few: {found}");
}

#[test]
fn an_added_layer_never_allows_more() {
    let mut runner = TestRunner::new(config(1));
    let bytes = choices(400);
    let (mut kept, mut taken) = (0, 0);
    for round in 0..8000 {
        if round >= 150 && kept > 15 && taken > 15 {
            break;
        }
        let mut choices = Choices::new(bytes.new_tree(&mut runner).unwrap().current());
        let situation = situation(&mut choices);
        let (playbook, mut layers) = (playbook(&mut choices), rich_boundaries(&mut choices));
        let without = policy(&[&playbook], &texts(&layers)).unwrap();
        layers.push(added_layer(&mut choices));
        let with = policy(&[&playbook], &texts(&layers)).unwrap();
        if round % 10 == 0 {
            let told = compared(&without, &with);
            assert!(told.widened.is_empty(), "{layers:#?}\n{told:#?}");
        }
        let (before, after) = (situation.decide(&without), situation.decide(&with));
        if is_automated(&after) {
            kept += 1;
            assert!(is_automated(&before), "{layers:#?}\n{:#?}", after.decision);
            let same = before.decision.fate.name() == after.decision.fate.name();
            assert!(same, "{layers:#?}\n{:#?}", after.decision);
            assert!(!is_widening_of(&before.decision, &after.decision), "{layers:#?}");
        } else if is_automated(&before) {
            taken += 1;
        }
    }
    assert!(kept > 15 && taken > 15, "too few: {kept} and {taken}");
}

#[test]
fn a_boundary_against_itself_has_changed_nothing() {
    let mut runner = TestRunner::new(config(1));
    let bytes = choices(100);
    for _ in 0..20 {
        let mut choices = Choices::new(bytes.new_tree(&mut runner).unwrap().current());
        let layers = rich_boundaries(&mut choices);
        let one = policy(&[], &texts(&layers)).unwrap();
        let other = policy_over(other_schema(), &[], &texts(&layers)).unwrap();
        for told in [compared(&one, &one), compared(&other, &one), compared(&one, &other)] {
            assert!(told.widened.is_empty() && told.narrowed.is_empty(), "{layers:#?}\n{told:#?}");
        }
    }
}

const BASE: &str = "\
boundary: base
owner: o
default_queue: {queue: triage, priority: medium}
facts: {owner: {max_age: 7d}}
context: {environment: owner.environment, tier: owner.tier}
protected:
  - {id: glass, nhi: ['*break-glass*'], credential: [AKIA9], why: needed}
allow:
  - {id: dev, actions: [disable-key], environments: [dev], tiers: ['1', '2'], kinds: [exposed_key]}
  - {id: role, actions: [block-role], environments: [dev], nhi_kinds: [service_account]}
deny:
  - {id: live, of: escalate, when: [vault.live == true], why: used}
  - {id: core, of: any, when: [owner.tier == \"0\"], why: core}
  - {id: old, of: escalate, when: ['age(received_at) > duration(\"1h\")'], why: old}
require:
  escalate: {facts: {owner.team: 7d}, sources: 2}
  suppress: {facts: {registry.fixture: 1h}}
pass_unknown: []
suppress: {max_expires: 30d, never_severity: [critical], per_hour: 9}
hours: {escalate: 'mon-fri 08:00-18:00'}
obligations: {approvals: {role: lead, count: 2}, per_hour: 5, per_owner: 2, share_percent: 1, hours: '08:00-18:00', change_ticket: true}
";

fn base() -> String {
    BASE.replace("owner.team", "registry.count")
}

fn rows<'p>(proof: &'p Proof, action: &str) -> Vec<&'p Row> {
    proof.reachable.iter().filter(|row| row.action == action).collect()
}

#[test]
fn a_row_says_where_in_which_states_and_under_what() {
    let policy = policy(&[], &[&base()]).unwrap();
    let proof = proof(&policy);
    let [row] = &rows(&proof, "disable-key")[..] else { panic!("{proof:#?}") };
    let told: Vec<String> =
        row.at.iter().map(|(place, values)| format!("{place}={}", values.join(","))).collect();
    assert_eq!(
        told,
        [
            "kind=exposed_key",
            "nhi.kind=service_account,api_key,token,oauth_app,certificate,agent,managed_identity,(any other)",
            "owner.environment=dev",
            "owner.tier=1,2",
        ]
    );
    assert_eq!(row.facts["vault.live"], ["false", "(absent)"]);
    assert_eq!(row.facts["registry.count"], ["known"]);
    assert_eq!(row.allowed_by, ["base/dev"]);
    let needs: Vec<String> = row.needs.iter().map(ToString::to_string).collect();
    assert_eq!(
        needs,
        [
            "registry.count known, no older than 7d",
            "owner.* no older than 7d",
            "not: age(received_at) > duration(\"1h\")",
            "not: vault.live == true",
            "nhi.id is not like *break-glass*",
            "the credential is not like AKIA9",
            "2 sources of the facts that the rule saw",
            "ruled mon-fri 08:00-18:00 UTC",
            "approved by 2 lead",
            "at most 5 an hour",
            "at most 2 of one owner",
            "at most 1 % of the known NHIs",
            "done 08:00-18:00 UTC",
            "a change ticket",
        ]
    );
    let [role] = &rows(&proof, "block-role")[..] else { panic!("{proof:#?}") };
    assert_eq!(role.at["nhi.kind"], ["service_account"]);
    // Any tier but 0, and one that is not known cannot be told from 0.
    assert_eq!(role.at["owner.tier"], ["(any other)", "(absent)"]);
    let [suppress] = &rows(&proof, "suppress")[..] else { panic!("{proof:#?}") };
    assert_eq!(suppress.at["severity"], ["informational", "low", "medium", "high"]);
    let [no_alert] = &rows(&proof, "suppress not_an_alert")[..] else { panic!("{proof:#?}") };
    assert!(no_alert.at["severity"].contains(&"(absent)".to_owned()));
    assert_eq!(
        proof.open,
        [
            "deny:base/live: vault.live == true",
            "deny:base/old: age(received_at) > duration(\"1h\")"
        ]
    );
}

fn told(change: &Change) -> String {
    let at: Vec<String> =
        change.at.iter().map(|(place, values)| format!("{place}={}", values.join(","))).collect();
    format!("{}: {} [{}]", change.action, change.what, at.join(" "))
}

#[test]
fn a_planted_widening_is_named_and_its_reverse_is_a_narrowing() {
    for (from, to, expected) in [
        (
            "environments: [dev], tiers",
            "environments: [dev, prod], tiers",
            "disable-key: allowed now [kind=exposed_key nhi.kind=service_account,api_key,token,oauth_app,certificate,agent,managed_identity,(any other) owner.environment=prod owner.tier=1,2]",
        ),
        ("tiers: ['1', '2']", "tiers: ['1', '2', '0']", ""),
        ("nhi_kinds: [service_account]", "nhi_kinds: [service_account, person]", ""),
        (
            "nhi_kinds: [service_account]",
            "nhi_kinds: [service_account, token]",
            "block-role: allowed now [nhi.kind=token owner.environment=dev owner.tier=(any other),(absent)]",
        ),
        (
            ", kinds: [exposed_key]",
            "",
            "disable-key: allowed now [kind=auth_failure,token_misuse,activity,(any other),(absent) ",
        ),
        ("actions: [block-role]", "actions: [block-role, disable-key]", "disable-key: allowed now"),
        (
            "when: [vault.live == true]",
            "when: [vault.live == false]",
            "disable-key: no longer needed: not: vault.live == true",
        ),
        (
            "  - {id: live, of: escalate",
            "  - {id: live, of: suppress",
            "block-role: no longer needed: not: vault.live == true",
        ),
        (
            "duration(\"1h\")",
            "duration(\"2h\")",
            "disable-key: no longer needed: not: age(received_at) > duration(\"1h\")",
        ),
        (
            "  - {id: core, of: any",
            "  - {id: core, of: escalate",
            "suppress: allowed now [owner.tier=0,(unknown) ",
        ),
        (
            "'*break-glass*'",
            "'*glass-break*'",
            "suppress: no longer needed: nhi.id is not like *break-glass*",
        ),
        (
            "credential: [AKIA9], ",
            "",
            "disable-key: no longer needed: the credential is not like AKIA9",
        ),
        (
            "registry.count: 7d",
            "registry.count: 8d",
            "disable-key: registry.count known, no older than 8d (was: registry.count known, no older than 7d)",
        ),
        (
            "owner: {max_age: 7d}",
            "owner: {max_age: 9d}",
            "disable-key: owner.* no older than 9d (was: owner.* no older than 7d)",
        ),
        ("sources: 2", "sources: 1", "disable-key: 1 source"),
        (
            "registry.fixture: 1h",
            "vault.live: 1h",
            "suppress: no longer needed: registry.fixture known, no older than 1h",
        ),
        (
            "pass_unknown: []",
            "pass_unknown: [vault.live]",
            "every action: may be passed while it is unknown: vault.live",
        ),
        (
            "max_expires: 30d",
            "max_expires: 60d",
            "suppress not_an_alert: for 60d at most (was: for 30d at most)",
        ),
        ("never_severity: [critical]", "never_severity: []", "suppress: allowed now ["),
        (", per_hour: 9", "", "suppress: no longer needed: at most 9 an hour of one detector"),
        (
            "escalate: 'mon-fri 08",
            "escalate: 'mon-sun 08",
            "disable-key: no longer needed: ruled mon-fri 08:00-18:00 UTC",
        ),
        ("count: 2", "count: 1", "disable-key: approved by 1 lead (was: approved by 2 lead)"),
        ("role: lead", "role: anybody", "disable-key: no longer needed: approved by 2 lead"),
        ("per_hour: 5", "per_hour: 6", "disable-key: at most 6 an hour (was: at most 5 an hour)"),
        ("per_owner: 2, ", "", "disable-key: no longer needed: at most 2 of one owner"),
        (
            "share_percent: 1",
            "share_percent: 2",
            "disable-key: at most 2 % of the known NHIs (was: at most 1 % of the known NHIs)",
        ),
        (
            "hours: '08:00-18:00'",
            "hours: '08:00-19:00'",
            "disable-key: no longer needed: done 08:00-18:00 UTC",
        ),
        (", change_ticket: true", "", "disable-key: no longer needed: a change ticket"),
        (
            "environment: owner.environment",
            "environment: owner.tier",
            "block-role: allowed now [nhi.kind=service_account owner.environment=(any other),(absent),(unknown) owner.tier=dev]",
        ),
    ] {
        let old = base();
        assert!(old.contains(from), "{from}");
        let new = old.replacen(from, to, 1);
        let new = policy(&[], &[&new]).unwrap();
        // Where the old one's enrichers stand is no matter.
        for schema in [schema(), other_schema()] {
            let old = policy_over(schema, &[], &[&old]).unwrap();
            let told_all = compared(&old, &new);
            let lines: Vec<String> = told_all.widened.iter().map(told).collect();
            match expected {
                "" => assert!(lines.is_empty(), "{from}: {lines:#?}"),
                _ => assert!(lines.iter().any(|l| l.starts_with(expected)), "{from}: {lines:#?}"),
            }
            let back = compared(&new, &old);
            assert_eq!(back.narrowed.len(), told_all.widened.len(), "{from}: {back:#?}");
        }
    }
}

#[test]
fn a_stop_reaches_nothing_and_an_end_of_it_widens() {
    let stopped = format!("{}stop: true\n", base());
    let (running, stopped) = (policy(&[], &[&base()]).unwrap(), policy(&[], &[&stopped]).unwrap());
    let nothing = proof(&stopped);
    assert!(nothing.reachable.is_empty());
    assert_eq!(nothing.stopped, ["base"]);
    assert!(compared(&running, &stopped).widened.is_empty());
    let told = compared(&stopped, &running).widened;
    for action in ["disable-key", "block-role", "suppress", "suppress not_an_alert"] {
        assert!(told.iter().any(|change| change.action == action), "{action}: {told:#?}");
    }
}

#[test]
fn a_pattern_over_a_listed_place_may_be_either_where_no_value_is_listed() {
    let text = base().replace("owner.tier == \"0\"", "owner.tier.matches(\"^0\")");
    let (any_other, nothing) = (["(any other)".to_owned()], ["(absent)".to_owned()]);
    let listed = ["1".to_owned(), "2".to_owned()];
    let policy = policy(&[], &[&text]).unwrap();
    let proof = proof(&policy);
    let [other, absent] = &rows(&proof, "block-role")[..] else { panic!("{proof:#?}") };
    let not = Need::Not("owner.tier.matches(\"^0\")".to_owned());
    assert_eq!((&*other.at["owner.tier"], other.needs.contains(&not)), (&any_other[..], true));
    // What is not there matches nothing.
    assert_eq!((&*absent.at["owner.tier"], absent.needs.contains(&not)), (&nothing[..], false));
    // A value that is listed is tried.
    let row = rows(&proof, "disable-key").remove(0);
    assert_eq!((&*row.at["owner.tier"], row.needs.contains(&not)), (&listed[..], false));
    assert!(proof.open.iter().any(|open| open.starts_with("deny:base/core")));
}

#[test]
fn too_many_values_are_a_refusal_and_no_long_wait() {
    let many: Vec<String> = (0..4000).map(|n| format!("e{n}")).collect();
    let text = base().replace("[dev], tiers", &format!("[{}], tiers", many.join(", ")));
    let policy = policy(&[], &[&text]).unwrap();
    let error = prove(&policy.bounds()).unwrap_err().to_string();
    assert!(error.contains("`disable-key`") && error.contains("1000000"), "{error}");
}
