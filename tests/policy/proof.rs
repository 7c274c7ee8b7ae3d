//! `boundary prove`: whatever is permitted lies inside, what is listed is not everything, and
//! whoever widens a boundary is told.

use std::collections::BTreeMap;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use tipstaff::case::{Body, Decision, Field, Ruling, Value};
use tipstaff::decide::Decided;
use tipstaff::policy::{Change, Comparison, Need, Policy, Proof, Row, compare, prove};

use crate::choices::{Choices, choices, config};
use crate::generated::{added_layer, boundaries, playbook, situation};
use crate::second_reading::{look_up, sources, surely_false};
use crate::support::{NOW, Situation, policy, schema};

/// A value as the proof names it.
fn name(value: Option<&Value<'_>>) -> String {
    match value {
        None | Some(Value::Unknown(_)) => "(unknown)".to_owned(),
        Some(Value::Absent) => "(absent)".to_owned(),
        Some(Value::Text(text)) => text.to_string(),
        Some(Value::Bool(flag)) => flag.to_string(),
        Some(_) => "known".to_owned(),
    }
}

/// A text that is not listed is any other.
fn is_among(value: &str, listed: &[String], all: &[String]) -> bool {
    let is_told = |values: &[String]| values.iter().any(|each| each == value);
    is_told(listed) || (!is_told(all) && listed.iter().any(|each| each == "(any other)"))
}

fn holds(need: &Need, situation: &Situation, decision: &Decision<'_>) -> bool {
    let Body::Alert(alert) = &situation.arrival.body else { panic!("an alert") };
    match need {
        Need::Fact { path, max_age_ms } => {
            let enricher = path.split_once('.').unwrap().0;
            let index = schema().enrichers.iter().position(|shape| *shape.name == *enricher);
            let row = situation.facts[index.unwrap()].as_ref().unwrap();
            let is_there = look_up(situation, path).is_some_and(|value| value.is_present());
            is_there && NOW.0 - row.as_of.unwrap().0 <= *max_age_ms
        }
        Need::Not(text) => surely_false(situation, text),
        Need::NotNhi(pattern) => {
            let pattern = format!("^{}$", pattern.replace('*', ".*"));
            let is_like = |nhi| regex::Regex::new(&pattern).unwrap().is_match(nhi);
            alert.text(Field::NhiId).is_some_and(|nhi| !is_like(nhi))
        }
        Need::NotCredential(_) => {
            !alert.text(Field::CredentialId).is_some_and(|id| id.ends_with('3'))
        }
        Need::Sources(count) => sources(situation, &decision.because) >= *count,
        Need::RuledIn(hours) => hours != "mon-wed 00:00-24:00",
        Need::Expires { max_ms } => match &decision.fate {
            Ruling::Suppress(suppress) => suppress.expires_at.0 - NOW.0 <= *max_ms,
            _ => false,
        },
        Need::Approvals { role, count } => {
            let needed = format!("{count} {role}");
            obligations(decision).contains(&("approvals".to_owned(), needed))
        }
        Need::PerHour(limit) => {
            obligations(decision).contains(&("per_hour".to_owned(), limit.to_string()))
        }
        Need::ChangeTicket => obligations(decision).iter().any(|(kind, _)| kind == "change_ticket"),
        other => panic!("{other} is not generated"),
    }
}

fn obligations(decision: &Decision<'_>) -> Vec<(String, String)> {
    let Ruling::Escalate(escalate) = &decision.fate else { return Vec::new() };
    let all = escalate.permit.obligations.iter();
    all.map(|each| (each.kind.to_string(), each.value.to_string())).collect()
}

/// Whether a row of the proof is about this very ruling.
fn is_inside(proof: &Proof, row: &Row, situation: &Situation, decision: &Decision<'_>) -> bool {
    let action = match &decision.fate {
        Ruling::Escalate(escalate) => &*escalate.action,
        _ => "suppress",
    };
    let all = |place: &str| &proof.vocabulary[action][place];
    let at = |(place, listed): (&String, &Vec<String>)| {
        is_among(&name(look_up(situation, place).as_ref()), listed, all(place))
    };
    let fact = |(place, states): (&String, &Vec<String>)| {
        let value = name(look_up(situation, place).as_ref());
        let is_known = !value.starts_with('(');
        let other = ["known", "(any other)"];
        states.contains(&value) || (is_known && states.iter().any(|s| other.contains(&&**s)))
    };
    row.action == action
        && row.at.iter().all(at)
        && row.facts.iter().all(fact)
        && row.needs.iter().all(|need| holds(need, situation, decision))
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
    let bytes = choices(300);
    let (mut escalated, mut suppressed, mut outside) = (0, 0, 0);
    for round in 0..8000 {
        if round >= 150 && escalated > 25 && suppressed > 25 {
            break;
        }
        let mut choices = Choices::new(bytes.new_tree(&mut runner).unwrap().current());
        let situation = situation(&mut choices);
        let (playbook, layers) = (playbook(&mut choices), boundaries(&mut choices));
        let policy = policy(&[&playbook], &texts(&layers)).unwrap();
        let decided = situation.decide(&policy);
        if !is_automated(&decided) {
            continue;
        }
        let proof = proof(&policy);
        let decision = &decided.decision;
        let mut rows = proof.reachable.iter();
        assert!(
            rows.any(|row| is_inside(&proof, row, &situation, decision)),
            "{decision:#?}\n{layers:#?}\n{proof:#?}"
        );
        // The same ruling about something else: a set of everything would hold that, too.
        let other = crate::generated::situation(&mut choices);
        let mut rows = proof.reachable.iter();
        outside += usize::from(!rows.any(|row| is_inside(&proof, row, &other, decision)));
        match decided.permit {
            Some(_) => escalated += 1,
            None => suppressed += 1,
        }
    }
    assert!(escalated > 25 && suppressed > 25, "too few: {escalated} and {suppressed}");
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
        let (old, new) = (boundaries(&mut choices), boundaries(&mut choices));
        let (old, new) = (texts(&old), texts(&new));
        let (was, is) = (policy(&[&playbook], &old).unwrap(), policy(&[&playbook], &new).unwrap());
        let (before, after) = (situation.decide(&was), situation.decide(&is));
        let gained = is_automated(&after)
            && (!is_automated(&before) || is_widening_of(&before.decision, &after.decision));
        if !gained {
            continue;
        }
        found += 1;
        let action = match &after.decision.fate {
            Ruling::Escalate(escalate) => escalate.action.to_string(),
            _ => "suppress".to_owned(),
        };
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
        let (playbook, mut layers) = (playbook(&mut choices), boundaries(&mut choices));
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
        let layers = boundaries(&mut choices);
        let policy = policy(&[], &texts(&layers)).unwrap();
        let told = compared(&policy, &policy);
        assert!(told.widened.is_empty() && told.narrowed.is_empty(), "{layers:#?}\n{told:#?}");
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
suppress: {max_expires: 30d, never_severity: [critical]}
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
            "nhi.kind=service_account,api_key,token,oauth_app,certificate,agent,managed_identity,unknown,(any other)",
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
            "disable-key: allowed now [kind=exposed_key nhi.kind=service_account,api_key,token,oauth_app,certificate,agent,managed_identity,unknown,(any other) owner.environment=prod owner.tier=1,2]",
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
        let (old, new) = (policy(&[], &[&old]).unwrap(), policy(&[], &[&new]).unwrap());
        let told_all = compared(&old, &new);
        let lines: Vec<String> = told_all.widened.iter().map(told).collect();
        match expected {
            "" => assert!(lines.is_empty(), "{from}: {lines:#?}"),
            _ => {
                assert!(lines.iter().any(|line| line.starts_with(expected)), "{from}: {lines:#?}")
            }
        }
        let back = compared(&new, &old);
        assert_eq!(back.narrowed.len(), told_all.widened.len(), "{from}: {back:#?}");
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
