//! What `check` says of one rule, of rules after each other, of denials and of what the boundary
//! lets through: what is there is told, and nothing that is not so.

use tipstaff::policy::{Code, Finding, Policy, Severity, findings, possible};
use tipstaff::text::Problems;

use crate::support::{policy, schema};

const BOUNDARY: &str = "boundary: b\nowner: o\ndefault_queue: {queue: q, priority: low}\n";
const ROUTE: &str = "route: {queue: q, priority: high}";
const SUPPRESS: &str = "suppress: {reason: test_fixture, evidence: [registry.fixture], expires: 2d, on_expiry: recheck}";
const ESCALATE: &str =
    "escalate: {action: disable-key, rollback: enable-key, expires: 1d, queue: q, priority: high}";

fn quoted(clauses: &[&str]) -> String {
    let quote = |clause: &&str| {
        if clause.starts_with('{') { (*clause).to_owned() } else { format!("'{clause}'") }
    };
    clauses.iter().map(quote).collect::<Vec<_>>().join(", ")
}

fn rule(id: &str, when: &[&str], on_unknown: &str, outcome: &str) -> String {
    format!(
        "  - id: {id}\n    when: [{}]\n    on_unknown: {on_unknown}\n    {outcome}\n",
        quoted(when)
    )
}

fn playbook(rules: &str) -> String {
    format!(
        "playbook: p\ntitle: t\nowner: o\nmode: live\non: {{kind: exposed_key, detector: [gitleaks]}}\n\
         group: {{by: [nhi.id], window: 1h}}\n\
         facts: {{registry: {{max_age: 1h}}, owner: {{max_age: 1h}}, vault: {{max_age: 1h}}, threat: {{max_age: 1h}}}}\n\
         windows: {{w: {{where: has(kind), by: [nhi.id], within: 15m}}}}\n\
         rules:\n{rules}  - id: otherwise\n    route: {{queue: q, priority: low}}\n"
    )
}

/// What is not about the rules is left out.
fn shown(policy: &Policy) -> Vec<String> {
    let aside = [Code::NoTest, Code::OpenQueues, Code::IdleAction, Code::Unused];
    let found = findings(policy).into_iter().filter(|finding| !aside.contains(&finding.code));
    found.map(|finding| format!("{} {}", finding.code.id(), finding.message)).collect()
}

fn told(rules: &str, layers: &[&str]) -> Vec<String> {
    let base = format!("{BOUNDARY}{}", layers.first().unwrap_or(&""));
    let more = layers.iter().skip(1).enumerate();
    let more: Vec<String> =
        more.map(|(index, text)| format!("boundary: more-{index}\nowner: o\n{text}")).collect();
    let all: Vec<&str> = std::iter::once(&*base).chain(more.iter().map(String::as_str)).collect();
    let policy = policy(&[&playbook(rules)], &all);
    shown(&policy.unwrap_or_else(|problems| panic!("{rules}{all:#?}\n{problems:#?}")))
}

#[track_caller]
fn assert_told(found: &[String], expected: &[&str], of: &str) {
    let is_as = |(found, expected): (&String, &&str)| found.starts_with(*expected);
    let is_all = found.len() == expected.len() && found.iter().zip(expected).all(is_as);
    assert!(is_all, "{of}\n{found:#?}\n{expected:#?}");
}

/// Each by the start of what is told.
#[test]
fn what_is_told_of_the_clauses_of_a_rule() {
    for (when, expected) in [
        // Texts and patterns.
        (&["nhi.id == \"a\""][..], &[][..]),
        (&["nhi.id != \"a\""], &[]),
        (&["nhi.id in [\"a\"]"], &[]),
        (&["nhi.id == \"a\"", "nhi.id != \"a\""], &["TS-201"]),
        (&["nhi.id == \"a\"", "nhi.id == \"b\""], &["TS-201"]),
        (&["nhi.id in [\"a\", \"b\"]", "nhi.id == \"a\""], &["TS-206 `nhi.id in"]),
        (&["nhi.id == \"ab\"", "nhi.id.startsWith(\"a\")"], &["TS-206 `nhi.id.startsWith"]),
        (&["nhi.id == \"ab\"", "nhi.id.startsWith(\"b\")"], &["TS-201"]),
        (&["nhi.id == \"a\" || nhi.id != \"a\" || !has(nhi.id)"], &["TS-203"]),
        (&["nhi.id == \"a\" || !(nhi.id == \"a\")"], &[]),
        (&["nhi.id.startsWith(\"a\")", "nhi.id.startsWith(\"b\")"], &["TS-201"]),
        (&["nhi.id.startsWith(\"a\") && nhi.id.startsWith(\"ab\")"], &[]),
        (&["nhi.id.startsWith(\"ab\") && nhi.id.startsWith(\"a\")"], &[]),
        (&["nhi.id.startsWith(\"a\") && !nhi.id.startsWith(\"ab\")"], &[]),
        (&["nhi.id.startsWith(\"ab\") && !nhi.id.startsWith(\"a\")"], &["TS-201"]),
        (&["nhi.id.endsWith(\"a\")", "nhi.id.endsWith(\"b\")"], &["TS-201"]),
        (&["nhi.id.endsWith(\"a\") && nhi.id.endsWith(\"ba\")"], &[]),
        (&["nhi.id.endsWith(\"ba\") && nhi.id.endsWith(\"a\")"], &[]),
        (&["nhi.id.endsWith(\"a\") && !nhi.id.endsWith(\"ba\")"], &[]),
        (&["nhi.id.endsWith(\"ba\") && !nhi.id.endsWith(\"a\")"], &["TS-201"]),
        (&["nhi.id.startsWith(\"a\") && nhi.id.endsWith(\"b\")"], &[]),
        (&["nhi.id.startsWith(\"a\") && !nhi.id.endsWith(\"a\")"], &[]),
        (&["nhi.id.startsWith(\"ab\") && !nhi.id.contains(\"b\")"], &["TS-201"]),
        (&["nhi.id.endsWith(\"ab\") && !nhi.id.contains(\"a\")"], &["TS-201"]),
        (&["nhi.id.contains(\"ab\") && !nhi.id.contains(\"a\")"], &["TS-201"]),
        (&["nhi.id.contains(\"a\") && !nhi.id.contains(\"ab\")"], &[]),
        (&["nhi.id.contains(\"ab\") && !nhi.id.startsWith(\"a\")"], &[]),
        (&["nhi.id.contains(\"a\") && nhi.id.contains(\"b\")"], &[]),
        (&["!nhi.id.startsWith(\"a\") && !nhi.id.startsWith(\"b\")"], &[]),
        (&["nhi.id.matches(\"^a\") && !nhi.id.matches(\"^ab\")"], &[]),
        // Addresses.
        (&["cidr(source.ip, \"10.0.0.0/8\")"], &[]),
        (&["!cidr(source.ip, \"10.0.0.0/8\")"], &[]),
        (&["cidr(source.ip, \"10.0.0.0/8\") && cidr(source.ip, \"192.0.2.0/24\")"], &["TS-201"]),
        (&["cidr(source.ip, \"10.0.0.0/8\") && !cidr(source.ip, \"192.0.2.0/24\")"], &[]),
        (&["cidr(source.ip, \"10.0.0.0/8\") && cidr(source.ip, \"10.1.0.0/16\")"], &[]),
        (&["cidr(source.ip, \"10.1.0.0/16\") && cidr(source.ip, \"10.0.0.0/8\")"], &[]),
        (&["cidr(source.ip, \"10.0.0.0/8\") && !cidr(source.ip, \"10.1.0.0/16\")"], &[]),
        (&["cidr(source.ip, \"10.1.0.0/16\") && !cidr(source.ip, \"10.0.0.0/8\")"], &["TS-201"]),
        (&["cidr(source.ip, \"::/0\") || !cidr(source.ip, \"::/0\") || !has(source.ip)"], &[]),
        (&["cidr(source.ip, \"10.0.0.0/8\") && source.ip.startsWith(\"10.\")"], &[]),
        // Words that intake lets through, and what routing makes sure of.
        (&["severity == \"low\" && severity in [\"low\"]"], &[]),
        (&["severity == \"hihg\""], &["TS-205 `severity` is never `hihg`"]),
        (&["severity in [\"hihg\", \"low\"]"], &["TS-205 `severity` is never `hihg`"]),
        (&["nhi.id in [\"hihg\"]", "severity != \"low\""], &[]),
        (&["kind == \"exposed_key\""], &["TS-203"]),
        (&["kind == \"activity\""], &["TS-201"]),
        (&["detector == \"gitleaks\""], &["TS-203"]),
        (&["detector == \"other\""], &["TS-201"]),
        (&["has(not_an_alert)"], &["TS-201"]),
        // Numbers, durations, times and ages.
        (&["event.count in [5]"], &[]),
        (&["event.count > 5", "event.count < 6"], &["TS-201"]),
        (&["event.count > 5", "event.count < 7"], &[]),
        (&["event.count < 0"], &[]),
        (&["registry.fixture == true", "registry.fixture == false"], &["TS-201"]),
        (&["registry.fixture == true || registry.fixture == false"], &[]),
        (&["threat.every > duration(\"1h\")"], &[]),
        (&["threat.every > duration(\"2h\")", "threat.every < duration(\"1h\")"], &["TS-201"]),
        (&["threat.score > 1 && threat.score < 2"], &[]),
        (&["observed_at > timestamp(\"2026-01-01T00:00:00Z\")"], &[]),
        (&["age(observed_at) > duration(\"1h\")"], &[]),
        (
            &["age(observed_at) > duration(\"1h\") && age(observed_at) < duration(\"1h\")"],
            &["TS-201"],
        ),
        (&["age(observed_at) < duration(\"0s\")"], &[]),
        (&["counters.seen >= 1 || !has(counters.seen)"], &["TS-203"]),
        (&["counters.seen >= 2 || !has(counters.seen)"], &[]),
        (&["counters.seen < 1"], &["TS-201"]),
        (&["counters.seen == 1"], &[]),
        (&["w.count < 0"], &["TS-201"]),
        (&["w.count in [0]"], &[]),
        (&["w.first < timestamp(\"1969-01-01T00:00:00Z\")"], &[]),
        (&["age(w.last) < duration(\"0s\")"], &[]),
        // Two values against each other.
        (&["event.count < registry.count"], &[]),
        (&["registry.count < event.count"], &[]),
        (&["event.count < registry.count", "registry.count < event.count"], &["TS-201"]),
        (&["event.count <= registry.count", "registry.count <= event.count"], &[]),
        (&["observed_at < vault.used_at", "occurred_at < vault.used_at"], &[]),
        (&["observed_at < vault.used_at", "!(occurred_at < vault.used_at)"], &[]),
        (&["event.count < event.count"], &["TS-201"]),
        (&["event.count <= event.count", "event.count > 1"], &["TS-206 `event.count <="]),
        (&["event.count < registry.count", "!has(event.count)"], &["TS-201"]),
        (&["event.count < registry.count", "!has(registry.count)"], &["TS-201"]),
        // Several at once.
        (&["has(nhi.id)", "has(nhi.name)"], &[]),
        (
            &["has(nhi.id)", "nhi.id == \"a\""],
            &["TS-206 `has(nhi.id)` is true whenever the other clauses of the rule are"],
        ),
        (&["nhi.id == \"a\"", "has(nhi.id)"], &["TS-206 `has(nhi.id)`"]),
        (&["has(nhi.id)", "has(nhi.id)"], &["TS-206"]),
        (&["nhi.id == \"a\" || nhi.id == \"b\""], &[]),
        (
            &["nhi.id == \"a\" || nhi.id == \"b\" && nhi.id == \"c\""],
            &[
                "TS-204 alternative 2 of `nhi.id == \"a\" || nhi.id == \"b\" && nhi.id == \"c\"` can never be true in this rule",
            ],
        ),
        (
            &["nhi.id == \"a\"", "{any: ['nhi.id == \"b\"', 'has(nhi.id)']}"],
            &["TS-204 `nhi.id == \"b\"`"],
        ),
        (
            &["{any: ['has(nhi.id) || !has(nhi.id)', 'has(nhi.name)']}", "has(severity)"],
            &[
                "TS-203 `has(nhi.id) || !has(nhi.id)` is always true, and with it the others say nothing",
            ],
        ),
        (
            &[
                "{any: [{not: {any: ['has(title)', {not: {any: ['has(nhi.id) || !has(nhi.id)', 'has(nhi.name)']}}]}}]}",
            ],
            &[
                "TS-203 `has(nhi.id) || !has(nhi.id)` is always true, and with it the others say nothing",
            ],
        ),
        (
            &["nhi.id == \"a\"", "has(severity)", "nhi.id == \"b\""],
            &[
                "TS-201 rule `r` can never be true: `nhi.id == \"a\"` and `nhi.id == \"b\"` exclude each other",
            ],
        ),
        (
            &["has(severity)", "nhi.id == \"a\" && nhi.id == \"b\""],
            &["TS-201 rule `r` can never be true: `nhi.id == \"a\" && nhi.id == \"b\"` can't be"],
        ),
        (
            &["event.count != 1", "event.count in [1, 2]", "event.count != 2"],
            &["TS-201 rule `r` can never be true: its clauses exclude each other"],
        ),
    ] {
        assert_told(&told(&rule("r", when, "next", ROUTE), &[]), expected, &format!("{when:?}"));
    }
}

/// LIMIT: 20,000 steps.
#[test]
fn what_is_settled_is_not_looked_at_again_and_what_takes_too_long_is_not_claimed() {
    let fields = [
        "nhi.id",
        "nhi.name",
        "nhi.platform",
        "nhi.account",
        "credential.type",
        "credential.id",
        "credential.fingerprint",
        "location.repository",
        "location.file",
        "location.commit",
        "title",
        "resource.id",
        "event.type",
        "event.action",
    ];
    let wide = fields.map(|field| format!("has({field})")).join(" || ");
    let always = "severity == \"low\" || severity != \"low\" || !has(severity)";
    let both = ["severity == \"low\"", "severity == \"high\""];
    let after = rule("a", &[always], "next", ROUTE) + &rule("b", &[&wide], "next", ROUTE);
    assert_told(&told(&after, &[]), &["TS-203", "TS-202"], "the first takes all");
    let all = fields.map(|field| format!("has({field})")).join(" && ");
    let open = rule("a", &["!(source.country == \"a\")", &all], "next", ROUTE)
        + &rule("b", &[always], "next", ROUTE)
        + &rule("c", &["!has(source.country)"], "next", ROUTE);
    assert_told(&told(&open, &[]), &["TS-203", "TS-202"], "the first is not true, whatever else");
    let within = rule("r", &[&wide, both[0], both[1]], "next", ROUTE);
    assert_told(&told(&within, &[]), &["TS-201"], "the last two exclude each other");
    let pairs: Vec<String> =
        fields.chunks(2).map(|pair| format!("has({}) || has({})", pair[0], pair[1])).collect();
    let clauses: Vec<&str> = pairs.iter().map(String::as_str).chain(both).collect();
    assert_told(&told(&rule("r", &clauses, "next", ROUTE), &[]), &[], "4 to the 7th ways first");
    let starts = |count: usize| {
        let parts = (0..count).map(|part| format!("nhi.id.startsWith(\"{part}\")"));
        parts.collect::<Vec<_>>().join(" && ")
    };
    assert_told(&told(&rule("r", &[&starts(6)], "next", ROUTE), &[]), &["TS-201"], "6 patterns");
    assert_told(&told(&rule("r", &[&starts(7)], "next", ROUTE), &[]), &[], "7 patterns");
}

/// Rules by their clauses and `on_unknown`, and what is told of them.
#[test]
fn what_is_told_of_rules_after_each_other() {
    let either = "vault.live == true || vault.live == false || !has(vault.live)";
    let is_true = "rule `b` never gets an alert: rule `a` before it (line 10) is true whenever this one is true";
    for (rules, expected) in [
        (&[(&["event.count > 10"][..], "next"), (&["event.count > 100"], "next")][..], &[format!("TS-202 {is_true}")][..]),
        (&[(&["event.count > 100"], "next"), (&["event.count > 10"], "next")], &[]),
        (&[(&["vault.live == true"], "next"), (&["vault.live == true", "has(nhi.id)"], "next")], &[format!("TS-202 {is_true}")]),
        // Unknown of the first leads on, or not.
        (&[(&[either], "next"), (&["has(nhi.id)"], "next")], &["TS-203".to_owned()]),
        (
            &[(&[either], "route"), (&["has(nhi.id)"], "next")],
            &["TS-203".to_owned(), "TS-202 rule `b` never gets an alert: rule `a` before it (line 10) is true, or unknown and asks for people, whenever this one is true".to_owned()],
        ),
        (&[(&["counters.seen < 1"], "route")],
         &["TS-201 rule `a` can never be true: `counters.seen < 1` can't be; all it does is to stop alerts for which it is unknown".to_owned()]),
        // A count may be known to be so much or more: then a list says nothing.
        (&[(&["!(counters.seen in [3])"], "next"), (&["counters.seen > 3"], "next")], &[]),
        (
            &[(&["has(nhi.id)"], "next"), (&["!has(nhi.id)"], "next"), (&["severity == \"low\""], "next")],
            &["TS-202 rule `c` never gets an alert: the rules before it take all for which it is true".to_owned()],
        ),
        // What keeps alerts although it can never be true.
        (&[(&["vault.live == true", "vault.live == false"], "route")],
         &["TS-201 rule `a` can never be true: `vault.live == true` and `vault.live == false` exclude each other; all it does is to stop alerts for which it is unknown".to_owned()]),
    ] {
        let ids = ["a", "b", "c"];
        let text: String = rules.iter().zip(ids).map(|((when, on), id)| rule(id, when, on, ROUTE)).collect();
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        assert_told(&told(&text, &[]), &expected, &text);
    }
    let never = "TS-201 rule `a` can never be true: `vault.live == true` and `vault.live == false` exclude each other";
    let text = rule("a", &["vault.live == true", "vault.live == false"], "next", ROUTE);
    assert_eq!(told(&text, &[]), [never]);
    let never = "TS-201 rule `a` can never be true: `nhi.id == \"a\"` and `nhi.id == \"b\"` exclude each other";
    let text = rule("a", &["nhi.id == \"a\"", "nhi.id == \"b\""], "route", ROUTE);
    assert_eq!(told(&text, &[]), [never]);
}

#[test]
fn what_is_told_of_denials() {
    for (when, expected) in [
        (&["has(nhi.name)"][..], &[][..]),
        (
            &["has(nhi.name)", "!has(nhi.name)"],
            &["TS-404 `deny:b/d` never denies: its condition is always false"],
        ),
        (
            &["has(nhi.name) || !has(nhi.name)"],
            &["TS-405 `deny:b/d` denies everything: its condition is never false"],
        ),
        (&["vault.live", "has(nhi.name)", "!has(nhi.name)"], &["TS-404"]),
        (&["vault.live || has(nhi.name) || !has(nhi.name)"], &["TS-405"]),
        // Of what is unknown both are unknown, and of what is absent what is negated is.
        (&["vault.live", "!vault.live"], &[]),
        (&["vault.live == true", "vault.live == false"], &[]),
        (&["!(nhi.id == \"a\")", "!(nhi.id != \"a\")"], &[]),
        (&["nhi.id == \"a\"", "nhi.id != \"a\""], &["TS-404"]),
        (&["event.count < registry.count", "event.count >= registry.count"], &[]),
        (&["registry.count < event.count", "registry.count >= event.count"], &[]),
        (&["event.count < event.count"], &["TS-404"]),
        // A boundary is asked of every kind and detector.
        (&["kind == \"activity\""], &[]),
        (&["detector == \"other\""], &[]),
        (&["has(not_an_alert)"], &[]),
        (&["has(kind)"], &[]),
    ] {
        let deny = format!("deny: [{{id: d, of: any, when: [{}], why: no}}]\n", quoted(when));
        assert_told(&told("", &[&deny]), expected, &deny);
    }
}

/// One rule that suppresses, and what it is told under such layers.
#[test]
fn what_is_told_of_a_suppression_that_the_boundary_refuses() {
    let allowed = "suppress: {max_expires: 30d, never_severity: []}\n";
    let denied = |of: &str, when: &str| {
        format!("{allowed}deny: [{{id: d, of: {of}, when: ['{when}'], why: no}}]\n")
    };
    let always = "registry.fixture == true || has(nhi.id)";
    let refused = "TS-402 rule `r` never suppresses: `deny:b/d` denies whatever it is true for";
    for (layers, expected) in [
        (&[allowed.to_owned()][..], &[][..]),
        (&[String::new()], &["TS-402 rule `r` never suppresses: boundary `b` has no `suppress`"]),
        (&[allowed.to_owned(), String::new()], &[]),
        (&["suppress: {max_expires: 2d, never_severity: []}\n".to_owned()], &[]),
        (&["suppress: {max_expires: 1d, never_severity: []}\n".to_owned()],
         &["TS-401 rule `r` suppresses for 2d, and boundary `b` allows at most 1d: it is always refused"]),
        (&[allowed.to_owned(), "suppress: {max_expires: 1d, never_severity: []}\n".to_owned()],
         &["TS-401 rule `r` suppresses for 2d, and boundary `more-0` allows at most 1d: it is always refused"]),
        (&["suppress: {max_expires: 30d, never_severity: [low]}\n".to_owned()], &[]),
        (&["suppress: {max_expires: 30d, never_severity: [low, high]}\n".to_owned()], &[]),
        (&["suppress: {max_expires: 30d, never_severity: [informational, low, medium, high, critical]}\n".to_owned()],
         &["TS-402 rule `r` never suppresses: `never_severity` names every severity"]),
        (&[denied("suppress", always)], &[refused]),
        (&[denied("any", always)], &[refused]),
        (&[denied("escalate", always)], &[]),
        (&[denied("suppress", "registry.fixture == false || has(nhi.id)")], &[]),
        // What denies everything is told by itself.
        (&[denied("suppress", "has(nhi.id) || !has(nhi.id)")], &["TS-405"]),
    ] {
        let layers: Vec<&str> = layers.iter().map(String::as_str).collect();
        let text = rule("r", &["registry.fixture == true"], "next", SUPPRESS);
        assert_told(&told(&text, &layers), expected, &format!("{layers:?}"));
    }
}

/// One rule that escalates, and what it is told under such layers.
#[test]
fn what_is_told_of_an_escalation_that_the_boundary_refuses() {
    let row = |more: &str| format!("allow: [{{id: a, actions: [disable-key]{more}}}]\n");
    let env = "context: {environment: owner.environment, tier: owner.tier}\n";
    let of = |more: &str| format!("{env}{}", row(more));
    let denied = |of: &str| {
        format!("{}deny: [{{id: d, of: {of}, when: ['vault.live'], why: no}}]\n", row(""))
    };
    let sources = |count: i64| format!("{}require: {{escalate: {{sources: {count}}}}}\n", row(""));
    let apart = "TS-403 rule `r` never gets to `disable-key`: the rows of the layers allow it in no place that is common to all of them";
    let none = "TS-403 rule `r` never gets to `disable-key`: no row of boundary `b` allows that action for alerts of kind exposed_key";
    for (layers, expected) in [
        (vec![row("")], &[][..]),
        (
            vec![String::new()],
            &["TS-403 rule `r` never gets to `disable-key`: boundary `b` has no `allow`"],
        ),
        (vec![row(""), String::new()], &[]),
        (vec![row(", kinds: [exposed_key]")], &[]),
        (vec![row(", kinds: [activity]")], &[none]),
        (vec![row("").replace("disable-key", "block-role")], &[none]),
        (vec![row(", kinds: [activity]").replace("disable-key", "block-role")], &[none]),
        (vec![sources(2)], &[]),
        (vec![sources(1)], &[]),
        (
            vec![sources(3)],
            &[
                "TS-403 rule `r` never gets to `disable-key`: boundary `b` wants 3 sources of facts, and the rule names facts of 2",
            ],
        ),
        (
            vec![denied("escalate")],
            &[
                "TS-403 rule `r` never gets to `disable-key`: `deny:b/d` denies whatever it is true for",
            ],
        ),
        (vec![denied("any")], &["TS-403"]),
        (vec![denied("suppress")], &[]),
        // Rows of two layers that have to meet.
        (vec![of(", environments: [dev]"), of(", environments: [dev, prod]")], &[]),
        (vec![of(", environments: [dev]"), of(", environments: [prod]")], &[apart]),
        (vec![of(", environments: [dev]"), of("")], &[]),
        (vec![of(", tiers: ['1']"), of(", tiers: ['2']")], &[apart]),
        (vec![of(", tiers: ['1']"), of(", tiers: ['2', '1']")], &[]),
        (vec![of(", nhi_kinds: [token]"), of(", nhi_kinds: [person]")], &[apart]),
        (vec![of(", nhi_kinds: [token]"), of(", nhi_kinds: [token]")], &[]),
        (
            vec![
                of(", environments: [dev], tiers: ['1']"),
                of(", environments: [dev], tiers: ['2']"),
            ],
            &[apart],
        ),
        (
            vec![
                of(", environments: [dev], tiers: ['1']"),
                of(", environments: [prod], tiers: ['1']"),
            ],
            &[apart],
        ),
        (
            vec![
                of(", nhi_kinds: [token], tiers: ['1']"),
                of(", nhi_kinds: [person], tiers: ['1']"),
            ],
            &[apart],
        ),
        // Lists over different facts say nothing about each other.
        (
            vec![
                of(", environments: [dev]"),
                of(", environments: [prod]")
                    .replace("environment: owner.environment", "environment: owner.tier"),
            ],
            &[],
        ),
        // One row of several that fits is enough.
        (
            vec![
                of(", environments: [dev]"),
                format!(
                    "{env}allow: [{{id: a, actions: [disable-key], environments: [prod]}}, {{id: c, actions: [disable-key], environments: [dev]}}]\n"
                ),
            ],
            &[],
        ),
    ] {
        let layers: Vec<&str> = layers.iter().map(String::as_str).collect();
        let text = rule("r", &["vault.live", "registry.fixture"], "next", ESCALATE);
        assert_told(&told(&text, &layers), expected, &format!("{layers:?}"));
    }
}

/// LIMIT: 4,096 of them.
#[test]
fn nothing_is_claimed_of_more_combinations_of_rows_than_are_looked_at() {
    let layer = |environment: &str, count: usize| {
        let rows = (0..count).map(|row| {
            format!("{{id: a-{row}, actions: [disable-key], environments: [{environment}]}}")
        });
        let rows: Vec<String> = rows.collect();
        format!("context: {{environment: owner.environment}}\nallow: [{}]\n", rows.join(", "))
    };
    let rule = rule("r", &["vault.live"], "next", ESCALATE);
    for (one, other, expected) in [(64, 64, &["TS-403"][..]), (2, 2, &["TS-403"]), (64, 65, &[])] {
        let (one, other) = (layer("dev", one), layer("prod", other));
        assert_told(&told(&rule, &[&one, &other]), expected, &format!("{} rows", other.len()));
    }
}

fn codes(playbook: &str, layers: &str, of: &[Code]) -> Vec<(Code, String)> {
    let policy = policy(&[playbook], &[&format!("{BOUNDARY}{layers}")]).unwrap();
    let found = findings(&policy).into_iter().filter(|finding| of.contains(&finding.code));
    found.map(|finding| (finding.code, finding.message)).collect()
}

#[test]
fn what_is_told_of_names_that_nobody_uses() {
    let plain = "playbook: p\ntitle: t\nowner: o\nmode: live\non: {kind: exposed_key}\nrules:\n";
    let last = "  - id: otherwise\n    route: {queue: q, priority: low}\n";
    let idle = |name: &str| (Code::IdleAction, format!("no rule asks for `{name}`"));
    let empty = format!("{plain}{last}");
    let asking = format!("{plain}{}{last}", rule("r", &["has(nhi.id)"], "next", ESCALATE));
    let actions = |text: &str| codes(text, "", &[Code::IdleAction]);
    assert_eq!(actions(&empty), [idle("disable-key"), idle("block-role")]);
    assert_eq!(actions(&asking), [idle("block-role")]);

    let aged = |more: &str| {
        codes(&empty, &format!("facts: {{owner: {{max_age: 1h}}}}\n{more}"), &[Code::Unused])
    };
    assert_eq!(
        aged(""),
        [(Code::Unused, "`owner` has an age here and no boundary reads it".to_owned())]
    );
    assert_eq!(aged("deny: [{id: d, of: any, when: ['owner.tier == \"1\"'], why: no}]\n"), []);

    let test = "tests:\n  - {name: n, now: 2026-01-01T00:00:00Z, alert: {severity: low}, expect: {route: q}}\n";
    let untested = |text: &str| codes(text, "", &[Code::NoTest]).len();
    assert_eq!((untested(&empty), untested(&format!("{empty}{test}"))), (1, 0));

    let window = "windows: {w: {where: has(kind), by: [nhi.id], within: 15m}}\nrules:\n";
    let proven = SUPPRESS.replace("registry.fixture", "w.count");
    let by_evidence = asking.replace(ESCALATE, &proven).replace("rules:\n", window);
    assert_eq!(codes(&by_evidence, "", &[Code::Unused]), [], "its evidence reads it");
}

#[test]
fn what_is_told_of_what_must_be_so_before_a_case_is_closed() {
    let of = |when: &str| {
        let text = format!(
            "playbook: p\ntitle: t\nowner: o\nmode: live\non: {{kind: exposed_key}}\n\
             closing:\n  facts: {{vault: {{max_age: 1h}}, owner: {{max_age: 1h}}}}\n  require: [{{id: dead, when: [{when}]}}]\n\
             rules:\n  - id: otherwise\n    route: {{queue: q, priority: low}}\n"
        );
        codes(&text, "", &[Code::Unused, Code::NeverTrue, Code::AlwaysTrue, Code::SaysNothing])
    };
    let unused = "`owner` is declared, and nothing that is required reads it";
    let said = |message: &str| (Code::Unused, message.to_owned());
    let never = "requirement `dead` can never be true: `vault.live == true` and `vault.live == false` exclude each other";
    let nothing = "`has(vault.live)` is true whenever the other clauses of the requirement are";
    for (when, expected) in [
        ("vault.live == true, owner.tier == \"1\"", &[][..]),
        ("vault.live == true", &[said(unused)]),
        (
            "vault.live == true, vault.live == false",
            &[said(unused), (Code::NeverTrue, never.to_owned())],
        ),
        (
            "has(vault.live), vault.live == true",
            &[said(unused), (Code::SaysNothing, nothing.to_owned())],
        ),
    ] {
        let found = of(when);
        assert!(
            found.len() == expected.len() && expected.iter().all(|it| found.contains(it)),
            "{when}: {found:#?}"
        );
    }
}

/// Of each rule whether it can be true and unknown, and each clause true, false and unknown.
#[test]
fn what_alerts_can_make_of_a_rule() {
    let rules = rule("a", &["event.count > 10"], "next", ROUTE)
        + &rule("b", &["event.count > 100", "vault.live == true"], "next", ROUTE)
        + &rule("c", &["vault.live == true"], "route", ROUTE)
        + &rule("d", &["vault.live == true", "has(nhi.id)"], "next", ROUTE);
    let policy = policy(&[&playbook(&rules)], &[BOUNDARY]).unwrap();
    let found = possible(&policy, &policy.playbooks()[0]);
    let found: Vec<_> =
        found.into_iter().map(|it| (it.is_true, it.is_unknown, it.clauses)).collect();
    let any = [true; 3];
    let expected = [
        (true, false, vec![[true, true, false]]),
        (false, false, vec![[false, true, false], any]),
        (true, true, vec![any]),
        (false, false, vec![[false, true, false], [true, true, false]]),
        (true, false, vec![]),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_code_is_found_by_its_id_and_says_where_it_is_explained() {
    for code in Code::ALL {
        assert_eq!(Code::named(code.id()), Some(*code));
    }
    assert_eq!(Code::named("TS-000"), None);
    assert_eq!(Code::Overlap.page(), "playbooks/FINDINGS.md#ts-101");
    let names = [Severity::Note, Severity::Warning, Severity::Error].map(Severity::name);
    assert_eq!(names, ["note", "warning", "error"]);
    let unowned = playbook("").replace("owner: o\n", "");
    let mut problems = Problems::default();
    let sources = |name: &str, text: &str| [tipstaff::text::Source::new(name, text)];
    let compiled = tipstaff::policy::compile(
        &sources("p.yaml", &unowned),
        &sources("b.yaml", BOUNDARY),
        &[],
        schema(),
        &mut problems,
    );
    assert!(compiled.is_none());
    let found: Vec<Finding> = problems.into_sorted().iter().map(Finding::of).collect();
    let [one] = &found[..] else { panic!("{found:#?}") };
    assert_eq!(
        (one.code, &*one.message, one.at.to_string()),
        (Code::NoOwner, "`owner` is missing", "p.yaml:1:1".to_owned())
    );
}
