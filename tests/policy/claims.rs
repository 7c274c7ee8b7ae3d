//! What `findings` claims can't happen does not happen: random policies, random situations.

use std::collections::BTreeMap;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use tipstaff::case::{Alert, Body, Decision, Field, Millis, Reason, Ruling, Tri, Value, Why};
use tipstaff::clause::{Clause, Part, Scope};
use tipstaff::policy::{Code, Finding, Playbook, Policy, Rule, findings};

use crate::choices::{Choices, choices, config};
use crate::generated;
use crate::support::{
    NOW, OWNER, REGISTRY, Rows, Situation, VAULT, absent, counters, known, plain_alert, policy,
    text, unknown,
};

const IDS: [&str; 6] = ["aws:a", "aws:ab", "aws:b", "gcp:a", "", "x"];
const IPS: [&str; 6] =
    ["10.0.0.1", "10.1.2.3", "192.0.2.1", "::1", "::ffff:10.0.0.1", "no address"];
const SEVERITIES: [&str; 5] = ["informational", "low", "medium", "high", "critical"];
const TIERS: [&str; 4] = ["1", "2", "3", "12"];
const RELATIONS: [&str; 6] = ["==", "!=", "<", "<=", ">", ">="];

fn quoted(values: &[&str]) -> String {
    format!("[{}]", values.iter().map(|v| format!("\"{v}\"")).collect::<Vec<_>>().join(", "))
}

fn of_text(choices: &mut Choices, path: &str, values: &[&str], parts: &[&str]) -> String {
    let (one, other) = (*choices.one(values), *choices.one(values));
    match choices.below(7) {
        0 => format!("{path} == \"{one}\""),
        1 => format!("{path} != \"{one}\""),
        2 => format!("{path} in {}", quoted(&[one, other])),
        3 => format!("has({path})"),
        _ if parts.is_empty() => format!("{path} in {}", quoted(&[one])),
        4 => format!("{path}.startsWith(\"{}\")", choices.one(parts)),
        5 => format!("{path}.contains(\"{}\")", choices.one(parts)),
        _ => format!("{path}.matches(\"^{}\")", choices.one(parts)),
    }
}

fn atom(choices: &mut Choices) -> String {
    let relation = *choices.one(&RELATIONS);
    let number = choices.below(4);
    match choices.below(12) {
        0 | 1 => of_text(choices, "nhi.id", &IDS, &["aws:", "aws:a", "a", "gcp", ""]),
        2 => of_text(choices, "severity", &SEVERITIES, &[]),
        3 => of_text(choices, "owner.tier", &TIERS, &["1", "2"]),
        4 => {
            let network = *choices.one(&["10.0.0.0/8", "10.1.0.0/16", "192.0.2.0/24", "::/0"]);
            format!("cidr(source.ip, \"{network}\")")
        }
        5 => format!("event.count {relation} {number}"),
        6 => format!("registry.count {relation} {number}"),
        7 => format!("counters.seen {relation} {number}"),
        8 => format!("age(vault.used_at) {relation} duration(\"{}h\")", 1 + number),
        9 => format!("observed_at {relation} vault.used_at"),
        10 => format!("event.count {relation} registry.count"),
        _ => (*choices.one(&["registry.fixture", "registry.fixture == true", "has(vault.live)"]))
            .to_owned(),
    }
}

fn always(choices: &mut Choices) -> String {
    let one = atom(choices);
    format!("({one}) || !({one})")
}

fn expression(choices: &mut Choices) -> String {
    match choices.below(6) {
        0 => format!("({}) || {}", atom(choices), atom(choices)),
        1 => format!("({}) && {}", atom(choices), atom(choices)),
        2 => format!("!({})", atom(choices)),
        3 => always(choices),
        _ => atom(choices),
    }
}

fn part(choices: &mut Choices) -> String {
    match choices.below(6) {
        0 => format!("{{any: ['{}', '{}']}}", expression(choices), expression(choices)),
        1 => format!("{{not: ['{}', '{}']}}", expression(choices), expression(choices)),
        2 => format!(
            "{{any: [{{not: {{any: ['!({})', '{}']}}}}, '{}']}}",
            always(choices),
            atom(choices),
            atom(choices)
        ),
        _ => format!("'{}'", expression(choices)),
    }
}

fn playbook(choices: &mut Choices) -> String {
    let mut rules = String::new();
    let mut last: Vec<String> = Vec::new();
    for index in 0..4 {
        let mut clauses: Vec<String> = (0..=choices.below(3)).map(|_| part(choices)).collect();
        // Rules that share clauses are what shadows look like.
        if choices.chance(2) {
            clauses.extend(last.first().cloned());
        }
        let on_unknown = *choices.one(&["next", "next", "route", "hold"]);
        rules.push_str(&format!("  - id: rule-{index}\n    on_unknown: {on_unknown}\n    when:\n"));
        clauses.iter().for_each(|clause| rules.push_str(&format!("      - {clause}\n")));
        rules.push_str("    route: {queue: q, priority: high}\n");
        last = clauses;
    }
    format!(
        "playbook: generated\ntitle: t\nowner: o\nmode: live\non: {{kind: exposed_key}}\n\
         group: {{by: [native_id], window: 1h}}\n\
         facts: {{registry: {{max_age: 1h}}, owner: {{max_age: 1h}}, vault: {{max_age: 1h}}}}\n\
         rules:\n{rules}  - id: otherwise\n    route: {{queue: q, priority: low}}\n"
    )
}

fn maybe(choices: &mut Choices, value: Value<'static>) -> Value<'static> {
    match choices.below(6) {
        0 => Value::Absent,
        1 => Value::Unknown(Why::Timeout),
        _ => value,
    }
}

fn there(choices: &mut Choices, value: Value<'static>) -> Value<'static> {
    if choices.chance(5) { Value::Absent } else { value }
}

fn number(choices: &mut Choices) -> Value<'static> {
    Value::Int(i64::try_from(choices.below(6)).unwrap() - 1)
}

fn time(choices: &mut Choices) -> Value<'static> {
    let minutes = i64::try_from(choices.below(12)).unwrap() * 30 - 30;
    Value::Time(Millis(NOW.0 - minutes * 60_000))
}

fn situation(choices: &mut Choices) -> Situation {
    let mut alert = plain_alert();
    alert.set(Field::NativeId, text("n"));
    for (field, value) in [
        (Field::NhiId, text(choices.one::<&str>(&IDS))),
        (Field::SourceIp, text(choices.one::<&str>(&IPS))),
        (Field::Severity, text(choices.one::<&str>(&SEVERITIES))),
        (Field::EventCount, number(choices)),
        (Field::ObservedAt, time(choices)),
    ] {
        let value = there(choices, value);
        alert.set(field, value);
    }
    let mut facts: Rows = vec![None; 3];
    let fixture = maybe(choices, Value::Bool(true));
    let fixture = if choices.chance(2) { fixture } else { maybe(choices, Value::Bool(false)) };
    let count = number(choices);
    facts[REGISTRY] = known(REGISTRY, [fixture, maybe(choices, count)]);
    let tier = text(choices.one::<&str>(&TIERS));
    facts[OWNER] = known(OWNER, [Value::Absent, maybe(choices, tier)]);
    let used_at = time(choices);
    facts[VAULT] = known(VAULT, [maybe(choices, Value::Bool(true)), maybe(choices, used_at)]);
    for (enricher, row) in facts.iter_mut().enumerate() {
        match choices.below(12) {
            0 => *row = unknown(enricher, Why::Error),
            1 => *row = absent(enricher),
            _ => {}
        }
    }
    let mut situation = Situation::new(alert, facts);
    situation.counters = counters(1 + i64::try_from(choices.below(4)).unwrap());
    situation
}

fn alert_of(situation: &Situation) -> &Alert<'static> {
    match &situation.arrival.body {
        Body::Alert(alert) => alert,
        Body::Unreadable(_) => panic!("an alert"),
    }
}

fn scope<'s>(situation: &'s Situation, playbook: &'s Playbook) -> Scope<'s> {
    Scope {
        alert: alert_of(situation),
        facts: &situation.facts,
        counters: Some(&situation.counters),
        now: NOW,
        max_age_ms: &playbook.max_age_ms,
    }
}

const OF_RULES: [Code; 8] = [
    Code::NeverTrue,
    Code::NeverReached,
    Code::AlwaysTrue,
    Code::NeverHelps,
    Code::SaysNothing,
    Code::NeverAllowed,
    Code::NeverSuppressed,
    Code::TooLong,
];

fn rule_of<'p>(playbook: &'p Playbook, finding: &Finding) -> &'p Rule {
    let mut rules = playbook.rules.iter();
    rules.rfind(|rule| rule.at.line <= finding.at.line).expect("a rule")
}

/// Took the alert: ruled it, was held back or refused, but not merely undecided.
fn wins(decision: &Decision<'_>, rule: &Rule) -> bool {
    let undecided = [Reason::UnknownFact, Reason::BoundaryRefused, Reason::NoRule];
    decision.rule == rule.id && !undecided.contains(&decision.reason)
        || decision.blocked.iter().any(|blocked| blocked.rule == rule.id)
}

/// Of all that must hold, the part that the clause is in.
fn joined<'p>(part: &'p Part, clause: &Clause) -> Option<&'p Part> {
    let holds = |part: &Part| match part {
        Part::Clause(each) => std::ptr::eq(each, clause),
        Part::All(_) | Part::Any(_) => joined(part, clause).is_some(),
    };
    match part {
        Part::All(parts) => parts.iter().find(|part| holds(part)).map(|part| match part {
            Part::All(_) => joined(part, clause).unwrap_or(part),
            Part::Any(_) | Part::Clause(_) => part,
        }),
        Part::Any(parts) => parts.iter().any(holds).then_some(part),
        Part::Clause(_) => None,
    }
}

fn at<'p>(rule: &'p Rule, finding: &Finding) -> &'p Clause {
    rule.when.clauses().into_iter().find(|clause| clause.at == finding.at).expect("a clause")
}

fn check(policy: &Policy, found: &[Finding], finding: &Finding, situation: &Situation) {
    let playbook = &policy.playbooks()[0];
    if finding.at.path != playbook.at.path || !OF_RULES.contains(&finding.code) {
        return;
    }
    let rule = rule_of(playbook, finding);
    let scope = scope(situation, playbook);
    let decided = situation.decide(policy);
    let told = || format!("{finding:?}\n{rule:#?}\n{:#?}", situation.facts);
    match finding.code {
        Code::NeverTrue => assert_ne!(rule.when.eval(&scope), Tri::True, "{}", told()),
        Code::NeverReached => assert!(!wins(&decided.decision, rule), "{}", told()),
        Code::AlwaysTrue => {
            let clause = at(rule, finding);
            let open = clause.names().iter();
            let open =
                open.map(|name| scope.read(name.slot)).any(|v| matches!(v, Value::Unknown(_)));
            let expected = if open { [Tri::True, Tri::Unknown] } else { [Tri::True; 2] };
            assert!(expected.contains(&clause.eval(&scope)), "{}", told());
            if finding.message.ends_with("the others say nothing")
                && clause.eval(&scope) == Tri::True
            {
                let whole = joined(rule.when.root(), clause).expect("its alternatives");
                assert_eq!(whole.eval(&scope), Tri::True, "{}", told());
            }
        }
        Code::NeverHelps if !finding.message.starts_with("alternative") => {
            let both = rule.when.eval(&scope).and(at(rule, finding).eval(&scope));
            assert_ne!(both, Tri::True, "{}", told());
        }
        Code::SaysNothing => {
            let said = |clause: &&&Clause| {
                !found.iter().any(|f| f.code == Code::SaysNothing && f.at == clause.at)
            };
            let (required, _) = rule.when.required_and_alternative();
            let others = required.iter().filter(said);
            let others = others.fold(Tri::True, |so_far, c| so_far.and(c.eval(&scope)));
            if others == Tri::True {
                assert_eq!(at(rule, finding).eval(&scope), Tri::True, "{}", told());
            }
        }
        Code::NeverAllowed | Code::NeverSuppressed | Code::TooLong => {
            let automatic =
                matches!(decided.decision.fate, Ruling::Suppress(_) | Ruling::Escalate(_));
            assert!(!(automatic && decided.decision.rule == rule.id), "{}", told());
        }
        _ => {}
    }
}

fn bytes(runner: &mut TestRunner, length: usize) -> Choices {
    Choices::new(choices(length).new_tree(runner).unwrap().current())
}

fn count_claims(
    policies: usize,
    generate: impl Fn(&mut Choices) -> Policy,
    situation: impl Fn(&mut Choices) -> Situation,
) -> BTreeMap<Code, usize> {
    let mut runner = TestRunner::new(config(1));
    let mut claims = BTreeMap::new();
    for _ in 0..policies {
        let policy = generate(&mut bytes(&mut runner, 200));
        let found = findings(&policy);
        found.iter().for_each(|finding| *claims.entry(finding.code).or_default() += 1);
        for _ in 0..60 {
            let situation = situation(&mut bytes(&mut runner, 60));
            found.iter().for_each(|finding| check(&policy, &found, finding, &situation));
        }
    }
    claims
}

/// A playbook with one rule for each outcome, under a boundary with one denial for each.
fn with_denials(choices: &mut Choices) -> Policy {
    let condition = |choices: &mut Choices| match choices.below(4) {
        0 => {
            let one = expression(choices);
            format!("'({one}) && !({one})'")
        }
        _ => part(choices),
    };
    let denial = |of: &&str| {
        let when = condition(choices).replace("counters.seen", "event.count");
        format!("  - {{id: {of}, of: {of}, when: [{when}], why: no}}\n")
    };
    let denials: Vec<String> = ["suppress", "escalate", "any"].iter().map(denial).collect();
    let boundary = format!(
        "{BOUNDARY}allow: [{{id: a, actions: [disable-key]}}]\nsuppress: {{max_expires: 30d, never_severity: []}}\n\
         facts: {{registry: {{max_age: 1h}}, owner: {{max_age: 1h}}, vault: {{max_age: 1h}}}}\ndeny:\n{}",
        denials.concat()
    );
    let playbook = generated::playbook(choices);
    policy(&[&playbook], &[&boundary]).unwrap_or_else(|problems| panic!("{boundary}\n{problems:?}"))
}

#[test]
fn what_is_claimed_of_denials_is_so() {
    let mut runner = TestRunner::new(config(1));
    let mut claims: BTreeMap<Code, usize> = BTreeMap::new();
    let wanted = [Code::NeverDenies, Code::AlwaysDenies, Code::NeverAllowed, Code::NeverSuppressed];
    let is_enough = |claims: &BTreeMap<Code, usize>| {
        wanted.iter().all(|code| claims.get(code).copied().unwrap_or(0) >= 5)
    };
    for round in 0.. {
        if round >= 500 && is_enough(&claims) {
            break;
        }
        assert!(round < 5000, "too little is claimed: {claims:?}");
        let policy = with_denials(&mut bytes(&mut runner, 120));
        let denials = || policy.boundary().layers.iter().flat_map(|layer| &layer.deny);
        let found = findings(&policy);
        for finding in
            found.iter().filter(|f| matches!(f.code, Code::NeverDenies | Code::AlwaysDenies))
        {
            *claims.entry(finding.code).or_default() += 1;
            let deny =
                denials().find(|deny| finding.message.contains(&format!("`{}`", deny.label)));
            let deny = deny.expect("the denial");
            for _ in 0..60 {
                let situation = situation(&mut bytes(&mut runner, 60));
                let verdict = deny.when.eval(&scope(&situation, &policy.playbooks()[0]));
                let told = || format!("{finding:?}\n{:#?}", situation.facts);
                match finding.code {
                    Code::NeverDenies => assert_eq!(verdict, Tri::False, "{}", told()),
                    _ => assert_ne!(verdict, Tri::False, "{}", told()),
                }
            }
        }
        for _ in 0..20 {
            let situation = generated::situation(&mut bytes(&mut runner, 60));
            found.iter().for_each(|finding| check(&policy, &found, finding, &situation));
        }
        found.iter().for_each(|finding| *claims.entry(finding.code).or_default() += 1);
    }
}

/// Never true, but unknown where there is no NHI: it denies there.
#[test]
fn what_is_unknown_only_for_want_of_a_value_still_denies() {
    let boundary = format!(
        "{BOUNDARY}deny: [{{id: d, of: any, when: [not: ['nhi.id.startsWith(\"\")']], why: no}}]\n"
    );
    let policy = policy(&[], &[&boundary]).unwrap();
    assert!(findings(&policy).iter().all(|finding| finding.code != Code::NeverDenies));
}

const BOUNDARY: &str = "boundary: b\nowner: o\ndefault_queue: {queue: q, priority: low}\n";

fn told(playbook: &str, layers: &str, code: Code) -> Vec<String> {
    let policy = policy(&[playbook], &[&format!("{BOUNDARY}{layers}")]).unwrap();
    let found = findings(&policy).into_iter().filter(|finding| finding.code == code);
    found.map(|finding| finding.message).collect()
}

fn playbook_of(rules: &str) -> String {
    format!(
        "playbook: p\ntitle: t\nowner: o\nmode: live\non: {{kind: exposed_key}}\n\
         facts: {{owner: {{max_age: 1h}}}}\nrules:\n{rules}  - id: otherwise\n    route: {{queue: q, priority: low}}\n"
    )
}

#[test]
fn an_enricher_that_the_boundary_reads_is_used() {
    let playbook = playbook_of("");
    let deny = "deny: [{id: d, of: any, when: ['owner.tier == \"1\"'], why: no}]\n";
    assert_eq!(told(&playbook, deny, Code::Unused), Vec::<String>::new());
    let [idle] = &told(&playbook, "", Code::Unused)[..] else { panic!("one finding") };
    assert!(idle.starts_with("`owner` is declared, and neither a rule nor the boundary reads it"));
    let evidence = playbook_of(
        "  - id: r\n    when: [has(nhi.id)]\n    on_unknown: next\n    suppress: {reason: test_fixture, \
         evidence: [owner.tier], expires: 1d, on_expiry: recheck}\n",
    );
    assert_eq!(told(&evidence, "", Code::Unused), Vec::<String>::new(), "its evidence reads it");
}

#[test]
fn the_others_say_nothing_only_beside_an_alternative_that_settles_it() {
    let always = "severity == \"low\" || severity != \"low\" || !has(severity)";
    let settles = "is always true, and with it the others say nothing";
    for (when, expected) in [
        (format!("{{any: ['{always}', 'event.count > 1']}}"), settles),
        (
            format!("{{any: ['event.count > 1', {{any: ['{always}', 'event.count > 2']}}]}}"),
            settles,
        ),
        (
            format!(
                "{{any: ['event.count > 1', {{not: {{any: ['!({always})', 'event.count > 2']}}}}]}}"
            ),
            "is always true, whatever the alert",
        ),
        (
            format!("{{not: ['event.count > 1', {{any: ['!({always})', 'event.count > 2']}}]}}"),
            "is always true, whatever the alert",
        ),
    ] {
        let rule =
            format!("  - id: r\n    when: [{when}]\n    route: {{queue: q, priority: high}}\n");
        let found = told(&playbook_of(&rule), "", Code::AlwaysTrue);
        let [message] = &found[..] else { panic!("{when}: {found:#?}") };
        assert!(message.ends_with(expected), "{when}: {message}");
    }
}

#[test]
fn what_is_claimed_of_rules_and_clauses_is_so() {
    let generate = |choices: &mut Choices| {
        let playbook = playbook(choices);
        policy(&[&playbook], &[BOUNDARY])
            .unwrap_or_else(|problems| panic!("{playbook}\n{problems:?}"))
    };
    let claims = count_claims(400, generate, situation);
    for code in
        [Code::NeverTrue, Code::NeverReached, Code::AlwaysTrue, Code::NeverHelps, Code::SaysNothing]
    {
        let count = claims.get(&code).copied().unwrap_or(0);
        assert!(count >= 20, "{code:?} was claimed {count} times only: {claims:?}");
    }
}

#[test]
fn what_the_boundary_is_claimed_to_refuse_is_refused() {
    let generate = |choices: &mut Choices| {
        let playbook = generated::playbook(choices);
        let boundaries = generated::boundaries(choices);
        let boundaries: Vec<&str> = boundaries.iter().map(String::as_str).collect();
        policy(&[&playbook], &boundaries)
            .unwrap_or_else(|problems| panic!("{playbook}\n{problems:?}"))
    };
    let claims = count_claims(300, generate, generated::situation);
    for code in [Code::NeverAllowed, Code::TooLong] {
        let count = claims.get(&code).copied().unwrap_or(0);
        assert!(count >= 5, "{code:?} was claimed {count} times only: {claims:?}");
    }
}
