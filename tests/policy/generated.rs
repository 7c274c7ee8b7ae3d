//! Generated playbooks, boundaries and situations.

use std::sync::Arc;

use tipstaff::case::{Alert, Decimal, FactRow, FactState, Field, Millis, Stopped, Value, Why};

use crate::choices::Choices;
use crate::support::{
    NOW, OWNER, REGISTRY, Rows, Situation, THREAT, VAULT, absent, known_all, plain_alert, row,
    text, unknown,
};

const ATOMS: [&str; 7] = [
    "registry.fixture == true",
    "registry.count == 1",
    "owner.environment == \"dev\"",
    "owner.tier == \"1\"",
    "vault.live == true",
    "credential.validity == \"valid\"",
    "severity == \"high\"",
];

/// Of all types; a boundary has only those above, which its second reading understands.
const RICH_ATOMS: [&str; 7] = [
    "age(vault.used_at) > duration(\"1h\")",
    "now - vault.used_at < threat.every + duration(\"1h\")",
    "\"admin\" in vault.roles",
    "vault.roles.exists(r, r.startsWith(\"a\") && r != \"a\")",
    "size(vault.roles) >= 2",
    "threat.score >= 7.5",
    "owner.tier in [\"1\", \"2\"]",
];

fn playbook_atom(choices: &mut Choices) -> String {
    if !choices.chance(2) {
        return atom(choices);
    }
    let atom = *choices.one(&RICH_ATOMS);
    if choices.chance(4) { format!("!({atom})") } else { atom.to_owned() }
}

fn atom(choices: &mut Choices) -> String {
    let atom = *choices.one(&ATOMS);
    match choices.below(5) {
        0 => format!("!({atom})"),
        1 => format!("has({})", atom.split_once(' ').unwrap().0),
        _ => atom.to_owned(),
    }
}

/// Only for rules that lead to people.
const UNKNOWNS: [&str; 6] = [
    "'unknown(vault.live)'",
    "'!unknown(registry.fixture)'",
    "'unknown(owner.tier, \"timeout\")'",
    "'unknown(owner.environment, \"stale\") || vault.live'",
    "{not: {any: ['unknown(vault.live, \"timeout\")', 'registry.fixture == true']}}",
    "{any: ['!unknown(owner.tier)', 'severity == \"high\"']}",
];

fn clause(choices: &mut Choices) -> String {
    match choices.below(5) {
        0 => format!("{{any: ['{}', '{}']}}", playbook_atom(choices), playbook_atom(choices)),
        1 => format!("{{not: '{}'}}", playbook_atom(choices)),
        2 => format!("'{} || {}'", playbook_atom(choices), playbook_atom(choices)),
        _ => format!("'{}'", playbook_atom(choices)),
    }
}

const OUTCOMES: [&str; 7] = [
    "suppress: {reason: test_fixture, evidence: [registry.fixture], expires: 2d, on_expiry: recheck}",
    "suppress: {reason: rotation_in_progress, evidence: [credential.validity], expires: 9d, on_expiry: recheck}",
    "escalate: {action: disable-key, rollback: enable-key, expires: 1d, queue: cloud, priority: high}",
    "escalate: {action: block-role, rollback: unblock-role, target: nhi.id, expires: 1d, queue: cloud, priority: critical}",
    "escalate: {action: disable-key, rollback: enable-key, expires: 1d, queue: cloud, priority: high}",
    "route: {queue: cicd, priority: critical}",
    "hold: {queue: cicd, priority: medium, for: 4h}",
];

pub fn playbook(choices: &mut Choices) -> String {
    let mut rules = String::new();
    for index in 0..=choices.below(3) {
        let mut clauses: Vec<String> = (0..=choices.below(2)).map(|_| clause(choices)).collect();
        let on_unknown = *choices.one(&["next", "next", "next", "route", "hold"]);
        let outcome = choices.one(&OUTCOMES);
        let is_for_people = outcome.starts_with("route") || outcome.starts_with("hold");
        if is_for_people && choices.chance(2) {
            clauses = vec![(*choices.one(&UNKNOWNS)).to_owned()];
        }
        rules.push_str(&format!(
            "  - id: rule-{index}\n    when: [{}]\n    on_unknown: {on_unknown}\n    {outcome}\n",
            clauses.join(", ")
        ));
    }
    format!(
        "playbook: generated\ntitle: t\nowner: o\nmode: live\non: {{kind: exposed_key}}\n\
         facts: {{registry: {{max_age: 1h}}, owner: {{max_age: 1h}}, vault: {{max_age: 1h}}, threat: {{max_age: 1h}}}}\n\
         rules:\n{rules}  - id: otherwise\n    route: {{queue: cicd, priority: low}}\n"
    )
}

/// The base and up to two layers more. Without `pass_unknown`.
pub fn boundaries(choices: &mut Choices) -> Vec<String> {
    let more = choices.below(3);
    (0..=more).map(|index| layer(choices, index)).collect()
}

/// The same with denials of every form and with ages.
pub fn rich_boundaries(choices: &mut Choices) -> Vec<String> {
    let more = choices.below(3);
    (0..=more).map(|index| rich_layer(choices, index)).collect()
}

/// One more, that is no base.
pub fn added_layer(choices: &mut Choices) -> String {
    rich_layer(choices, 9)
}

fn rich_layer(choices: &mut Choices, index: usize) -> String {
    let mut text = layer(choices, index);
    if choices.chance(2) {
        let enricher = *choices.one(&["owner", "registry", "vault"]);
        text.push_str(&format!("facts: {{{enricher}: {{max_age: 30m}}}}\n"));
    }
    if !text.contains("\ndeny: ") {
        let denials: Vec<String> = (0..=choices.below(2)).map(|of| denial(choices, of)).collect();
        text.push_str(&format!("deny: [{}]\n", denials.join(", ")));
    }
    text
}

fn denial(choices: &mut Choices, index: usize) -> String {
    let of = *choices.one(&["suppress", "escalate", "any"]);
    let parts: Vec<String> = (0..=choices.below(2)).map(|_| denied(choices, 0)).collect();
    format!("{{id: d-{index}, of: {of}, when: [{}], why: no}}", parts.join(", "))
}

/// What only a boundary's own denials say here: of time, and by pattern.
const DENIED: [&str; 8] = [
    "owner.tier == \"2\" && now < timestamp(\"2026-01-01T00:00:00Z\")",
    "owner.environment == \"prod\" && now < timestamp(\"2026-01-01T00:00:00Z\")",
    "now >= timestamp(\"2026-01-01T00:00:00Z\")",
    "now < timestamp(\"2026-01-01T00:00:00Z\")",
    "now - vault.used_at < duration(\"1h\")",
    "age(vault.used_at) > duration(\"1h\")",
    "owner.tier.startsWith(\"1\")",
    "owner.environment in [\"dev\", \"prod\"]",
];

fn denied(choices: &mut Choices, depth: usize) -> String {
    let one = |choices: &mut Choices| {
        if choices.chance(2) { (*choices.one(&DENIED)).to_owned() } else { atom(choices) }
    };
    match choices.below(if depth < 2 { 7 } else { 4 }) {
        0 => format!("'{} && {}'", one(choices), one(choices)),
        1 => format!("'{} || {}'", one(choices), one(choices)),
        2 | 3 => format!("'{}'", one(choices)),
        4 => format!("{{not: [{}, {}]}}", denied(choices, depth + 1), denied(choices, depth + 1)),
        _ => format!("{{any: [{}, {}]}}", denied(choices, depth + 1), denied(choices, depth + 1)),
    }
}

fn layer(choices: &mut Choices, index: usize) -> String {
    let mut text = format!("boundary: layer-{index}\nowner: o\n");
    if index == 0 {
        text.push_str("default_queue: {queue: triage, priority: medium}\n");
    }
    text.push_str("context: {environment: owner.environment, tier: owner.tier}\n");
    if choices.chance(12) {
        text.push_str("stop: true\n");
    }
    if choices.chance(4) {
        let glob = *choices.one(&["aws:prod*", "*deploy", "aws:deploy2", "*"]);
        let credential = *choices.one(&["", ", credential: ['*3']"]);
        text.push_str(&format!(
            "protected: [{{id: p, nhi: ['{glob}']{credential}, why: careful}}]\n"
        ));
    }
    if choices.chance(6) {
        let hours = *choices.one(&["'thu 00:00-01:00'", "'mon-wed 00:00-24:00'", "'22:00-02:00'"]);
        let of = *choices.one(&["escalate", "suppress"]);
        text.push_str(&format!("hours: {{{of}: {hours}}}\n"));
    }
    if choices.chance(3) {
        let (approvals, an_hour) = (choices.below(3) + 1, choices.below(9));
        let role = *choices.one(&["lead", "owner"]);
        text.push_str(&format!(
            "obligations: {{approvals: {{role: {role}, count: {approvals}}}, per_hour: {an_hour}}}\n"
        ));
    }
    if index == 0 || choices.chance(2) {
        let rows: Vec<String> = (0..=choices.below(2)).map(|row| allow_row(choices, row)).collect();
        text.push_str(&format!("allow: [{}]\n", rows.join(", ")));
    }
    if choices.chance(3) {
        let of = *choices.one(&["suppress", "escalate", "any"]);
        let when = atom(choices);
        text.push_str(&format!("deny: [{{id: d, of: {of}, when: ['{when}'], why: no}}]\n"));
    }
    if choices.chance(3) {
        let fact = *choices.one(&["owner.tier", "registry.fixture", "vault.live"]);
        let sources = choices.below(3);
        text.push_str(&format!(
            "require: {{escalate: {{facts: {{{fact}: 30m}}, sources: {sources}}}, suppress: {{facts: {{{fact}: 2h}}, sources: {sources}}}}}\n"
        ));
    }
    if index == 0 || choices.chance(3) {
        let never = *choices.one(&["[]", "[critical]", "[high, critical]"]);
        let expires = *choices.one(&["30d", "30d", "5d"]);
        text.push_str(&format!("suppress: {{max_expires: {expires}, never_severity: {never}}}\n"));
    }
    text
}

fn allow_row(choices: &mut Choices, index: usize) -> String {
    let mut row = format!("{{id: row-{index}, actions: [disable-key, block-role]");
    for (key, values) in [
        ("environments", ["[dev]", "[dev, prod]"]),
        ("tiers", ["['1']", "['1', '2']"]),
        ("nhi_kinds", ["[service_account]", "[token]"]),
        ("kinds", ["[exposed_key]", "[token_misuse]"]),
    ] {
        if choices.chance(6) {
            row.push_str(&format!(", {key}: {}", choices.one(&values)));
        }
    }
    if choices.chance(4) {
        row.push_str(", obligations: {approvals: [{role: owner, count: 2}], change_ticket: true}");
    }
    row.push('}');
    row
}

pub fn situation(choices: &mut Choices) -> Situation {
    let mut situation = Situation::new(alert(choices), facts(choices));
    situation.counters.is_partial = choices.chance(6);
    situation.counters.stopped = choices.chance(6).then(|| Box::new(stopped()));
    situation
}

pub fn stopped() -> Stopped {
    let (by, order) = (Some("dana".to_owned()), Some("1".to_owned()));
    Stopped { since: NOW, by, order, why: "a drill".to_owned() }
}

fn alert(choices: &mut Choices) -> Alert<'static> {
    let mut alert = plain_alert();
    for (field, values) in [
        (Field::Severity, ["low", "critical"]),
        (Field::NhiId, ["aws:prod-1", "aws:deploy2"]),
        (Field::NhiKind, ["person", "token"]),
        (Field::NhiKnownBy, ["alias:keys.csv", "credential.id"]),
        (Field::CredentialId, ["AKIA2", "AKIA3"]),
        (Field::CredentialValidity, ["invalid", "unverified"]),
    ] {
        match choices.below(12) {
            0 => alert.set(field, Value::Absent),
            1 | 2 => alert.set(field, text(choices.one::<&str>(&values))),
            _ => {}
        }
    }
    if choices.chance(30) {
        alert.set(Field::NhiId, text("aws:tipstaff-triage"));
    }
    alert
}

fn values(choices: &mut Choices, enricher: usize) -> Vec<Value<'static>> {
    match enricher {
        REGISTRY => vec![
            Value::Bool(choices.below(3) > 0),
            choices.one(&[Value::Int(1), Value::Int(2)]).clone(),
        ],
        OWNER => vec![
            text(choices.one::<&str>(&["dev", "dev", "prod"])),
            text(choices.one::<&str>(&["1", "1", "2"])),
        ],
        VAULT => {
            let roles: &[&str] = choices.one::<&[&str]>(&[&[], &["a"], &["admin", "b"]]);
            let roles: Vec<Box<str>> = roles.iter().map(|role| Box::from(*role)).collect();
            let used_at = *choices.one(&[NOW, Millis(NOW.0 - 5_000_000)]);
            vec![Value::Bool(choices.below(3) > 0), Value::Time(used_at), Value::List(roles.into())]
        }
        _ => vec![
            Value::Decimal(Decimal::parse(choices.one::<&str>(&["7.5", "2.25"])).unwrap()),
            Value::Duration(*choices.one(&[0, 3_600_000])),
        ],
    }
}

fn facts(choices: &mut Choices) -> Rows {
    let mut facts = Vec::new();
    for enricher in [REGISTRY, OWNER, VAULT, THREAT] {
        let mut given = values(choices, enricher);
        let given_count = given.len();
        facts.push(match choices.below(8) {
            0 => absent(enricher),
            1 => unknown(enricher, Why::Timeout),
            2 => {
                let old = Some(Millis(NOW.0 - 7_200_000));
                row(enricher, old, FactState::Known, given)
            }
            3 => {
                given[choices.below(given_count)] = Value::Unknown(Why::Conflict);
                known_all(enricher, given)
            }
            4 => {
                given[choices.below(given_count)] = Value::Absent;
                known_all(enricher, given)
            }
            _ => known_all(enricher, given),
        });
    }
    facts
}

pub fn has_unknown(facts: &Rows) -> bool {
    facts.iter().flatten().any(|row| {
        matches!(row.state, FactState::Unknown(_))
            || row.as_of != Some(NOW)
            || row.values.iter().any(|value| matches!(value, Value::Unknown(_)))
    })
}

/// One way in which everything unknown or stale could turn out.
pub fn completed(facts: &Rows, choices: &mut Choices) -> Rows {
    let complete = |(enricher, before): (usize, &Option<Arc<FactRow>>)| {
        let before = before.as_ref().unwrap();
        let fresh = values(choices, enricher);
        let maybe = |value: &Value<'static>, choices: &mut Choices| {
            if choices.chance(3) { Value::Absent } else { value.clone() }
        };
        let fresh: Vec<Value<'static>> = fresh.iter().map(|value| maybe(value, choices)).collect();
        if matches!(before.state, FactState::Unknown(_)) || before.as_of != Some(NOW) {
            return if choices.chance(4) { absent(enricher) } else { known_all(enricher, fresh) };
        }
        if before.state == FactState::Absent {
            return absent(enricher);
        }
        let kept = before.values.iter().zip(fresh).map(|(value, fresh)| match value {
            Value::Unknown(_) => fresh,
            value => value.clone(),
        });
        let kept: Vec<Value<'static>> = kept.collect();
        row(enricher, before.as_of, FactState::Known, kept)
    };
    facts.iter().enumerate().map(complete).collect()
}
