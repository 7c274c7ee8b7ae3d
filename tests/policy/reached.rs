//! `boundary prove`, matter by matter: what must not be missing from what is reached, nor from what
//! is told of a change.

use tipstaff::policy::{Need, Policy, Proof, Row, compare, prove};

use crate::support::policy;

const BASE: &str = "\
boundary: base
owner: o
default_queue: {queue: triage, priority: medium}
allow: [{id: a, actions: [disable-key]}]
";
const CONTEXT: &str = "context: {environment: owner.environment, tier: owner.tier}\n";
const SUPPRESS: &str = "suppress: {max_expires: 30d, per_hour: 9}\n";

fn bounded(more: &[&str]) -> Policy {
    let text = format!("{BASE}{}", more.concat());
    policy(&[], &[&text]).unwrap_or_else(|wrong| panic!("{wrong:#?}"))
}

fn denied(when: &str) -> String {
    format!("deny: [{{id: d, of: any, when: ['{when}'], why: w}}]\n")
}

fn proof(policy: &Policy) -> Proof {
    prove(&policy.bounds()).unwrap()
}

fn rows<'p>(proof: &'p Proof, action: &str) -> Vec<&'p Row> {
    proof.reachable.iter().filter(|row| row.action == action).collect()
}

fn is_at(row: &Row, place: &str, value: &str) -> bool {
    row.at.get(place).is_none_or(|values| values.iter().any(|each| each == value))
}

#[test]
fn two_places_that_are_compared_with_each_other_may_differ_though_neither_is_listed() {
    let policy = bounded(&[CONTEXT, &denied("owner.environment == owner.tier")]);
    let proof = proof(&policy);
    let other = "(any other)";
    let mut found = rows(&proof, "disable-key").into_iter();
    let is_other = |place: &str, row: &Row| is_at(row, place, other);
    assert!(
        found.any(|row| is_other("owner.environment", row) && is_other("owner.tier", row)),
        "{proof:#?}"
    );
}

#[test]
fn a_listed_place_may_be_what_an_unlisted_one_is_compared_with() {
    let pair = "owner.environment == owner.tier";
    let listed = "owner.environment == \"prod\" && owner.tier == \"1\"";
    let deny =
        |id: &str, when: &str| format!("  - {{id: {id}, of: any, when: ['{when}'], why: w}}\n");
    let policy =
        bounded(&[CONTEXT, &format!("deny:\n{}{}", deny("pair", pair), deny("both", listed))]);
    let proof = proof(&policy);
    for (environment, tier) in [("prod", "(any other)"), ("(any other)", "1")] {
        let is_here = |row: &&&Row| {
            is_at(row, "owner.environment", environment) && is_at(row, "owner.tier", tier)
        };
        let rows = rows(&proof, "disable-key");
        let [row] = &rows.iter().filter(is_here).collect::<Vec<_>>()[..] else {
            panic!("{rows:#?}")
        };
        assert!(row.needs.contains(&Need::Not(pair.to_owned())), "{row:#?}");
    }
}

#[test]
fn a_value_that_a_denial_lists_is_tried_and_told_when_the_denial_goes() {
    let (with, without) =
        (bounded(&[CONTEXT, &denied("owner.tier in [\"0\"]")]), bounded(&[CONTEXT]));
    for row in rows(&proof(&with), "disable-key") {
        assert!(!is_at(row, "owner.tier", "0") && is_at(row, "owner.tier", "(any other)"));
    }
    let told = compare(&with.bounds(), &without.bounds()).unwrap();
    let is_told = |action: &str| {
        told.widened.iter().any(|change| {
            change.action == action && change.at["owner.tier"].contains(&"0".to_owned())
        })
    };
    assert!(is_told("disable-key") && told.narrowed.is_empty(), "{told:#?}");
}

#[test]
fn what_is_denied_by_being_there_is_reached_only_where_it_is_not() {
    let policy = bounded(&[CONTEXT, &denied("has(owner.tier)")]);
    let proof = proof(&policy);
    let [row] = &rows(&proof, "disable-key")[..] else { panic!("{proof:#?}") };
    assert_eq!(row.at["owner.tier"], ["(absent)"]);
}

#[test]
fn without_limits_of_its_own_a_base_suppresses_nothing_and_an_added_layer_narrows_nothing() {
    let silent = bounded(&[]);
    let proof_of_silent = proof(&silent);
    assert_eq!(rows(&proof_of_silent, "disable-key").len(), 1);
    assert!(rows(&proof_of_silent, "suppress").is_empty());

    let base = format!("{BASE}{SUPPRESS}");
    let policy = policy(&[], &[&base, "boundary: more\nowner: o\n"]).unwrap();
    let proof = proof(&policy);
    for (action, is_limited) in [("suppress", true), ("suppress not_an_alert", false)] {
        let [row] = &rows(&proof, action)[..] else { panic!("{proof:#?}") };
        assert_eq!(row.needs.contains(&Need::SuppressedPerHour(9)), is_limited, "{action}");
    }
}

#[test]
fn a_fact_beside_the_context_is_told_by_its_states_and_only_what_is_read_must_be_fresh() {
    let facts = "facts: {owner: {max_age: 7d}, vault: {max_age: 1h}}\n";
    let require = "require: {escalate: {facts: {registry.fixture: 1h}}}\n";
    let denials = [
        "owner.environment == \"prod\"",
        "nhi.platform == \"x\"",
        "has(threat.score) && owner.tier == \"0\"",
    ];
    let deny = |(n, when): (usize, &&str)| {
        format!("  - {{id: d{n}, of: escalate, when: ['{when}'], why: w}}\n")
    };
    let deny: String = denials.iter().enumerate().map(deny).collect();
    let deny = format!("deny:\n{deny}");
    let policy = bounded(&[facts, require, &deny]);
    let proof = proof(&policy);
    let [row] = &rows(&proof, "disable-key")[..] else { panic!("{proof:#?}") };
    let facts: Vec<(&str, String)> =
        row.facts.iter().map(|(fact, states)| (fact.as_str(), states.join(","))).collect();
    assert_eq!(
        facts,
        [
            ("owner.environment", "(any other),(absent)".to_owned()),
            ("registry.fixture", "true,false".to_owned()),
        ]
    );
    let is_fresh = |name: &str| {
        let of = |need: &Need| matches!(need, Need::Fresh { enricher, .. } if enricher == name);
        row.needs.iter().any(of)
    };
    assert!(is_fresh("owner") && !is_fresh("vault"), "{row:#?}");
    assert!(!row.needs.iter().any(|need| matches!(need, Need::Sources(_))), "{row:#?}");
    assert_eq!(proof.open.len(), denials.len(), "{:#?}", proof.open);
}

#[test]
fn an_unknown_may_be_passed_where_every_layer_says_so_and_a_new_one_is_a_widening() {
    let one = bounded(&["pass_unknown: [registry.fixture]\n"]);
    let two = bounded(&["pass_unknown: [registry.fixture, vault.live]\n"]);
    let base = format!("{BASE}pass_unknown: [registry.fixture, vault.live]\n");
    let more = "boundary: more\nowner: o\npass_unknown: [vault.live]\n";
    let both = policy(&[], &[&base, more]).unwrap();
    assert_eq!(proof(&two).pass_unknown, ["registry.fixture", "vault.live"]);
    assert_eq!(proof(&both).pass_unknown, ["vault.live"]);
    let told = compare(&one.bounds(), &two.bounds()).unwrap();
    let [widened] = &told.widened[..] else { panic!("{told:#?}") };
    assert_eq!(widened.what, "may be passed while it is unknown: vault.live");
    assert!(told.narrowed.is_empty(), "{told:#?}");
    let back = compare(&two.bounds(), &one.bounds()).unwrap();
    assert_eq!((back.widened.len(), back.narrowed.len()), (0, 1), "{back:#?}");
}
