//! What a boundary can say, each matter by itself.

use std::collections::BTreeSet;

use tipstaff::case::{Alert, Body, Field, Millis, Ruling, Value};
use tipstaff::decide::Decided;

use crate::support::{
    NOW, OWNER, REGISTRY, Rows, Situation, THREAT, VAULT, known, plain_alert, policy, text,
};

const PLAYBOOK: &str = r#"
playbook: p
title: t
owner: o
mode: live
on: {kind: exposed_key}
facts: {registry: {max_age: 1h}, owner: {max_age: 1h}}
rules:
  - id: fixture
    when: [registry.fixture == true]
    on_unknown: next
    suppress: {reason: test_fixture, evidence: [registry.fixture], expires: 1d, on_expiry: recheck}
  - id: live
    when: [credential.validity == "valid"]
    on_unknown: next
    escalate: {action: disable-key, rollback: enable-key, expires: 1d, queue: cloud, priority: high}
  - id: otherwise
    route: {queue: q, priority: low}
"#;

const BASE: &str = "\
boundary: base
owner: o
default_queue: {queue: triage, priority: medium}
context: {environment: owner.environment, tier: owner.tier}
allow:
  - {id: dev, actions: [disable-key], environments: [dev]}
  - {id: prod, actions: [disable-key], environments: [prod], obligations: {approvals: [{role: lead, count: 2}, {role: owner, count: 1}], per_hour: 1}}
suppress: {max_expires: 30d}
obligations: {approvals: {role: lead, count: 1}, per_hour: 5}
";

fn facts(is_fixture: bool, environment: &str) -> Rows {
    vec![
        known(REGISTRY, [Value::Bool(is_fixture), Value::Int(1)]),
        known(OWNER, [text(environment), text("1")]),
        known(VAULT, [Value::Bool(true), Value::Absent]),
    ]
}

/// `fate` and the refusals, of a fixture and of a live key.
fn ruled(layers: &[&str], change: &dyn Fn(&mut Situation)) -> [(String, String); 2] {
    [true, false].map(|is_fixture| {
        let mut situation = Situation::new(plain_alert(), facts(is_fixture, "dev"));
        change(&mut situation);
        let policy = policy(&[PLAYBOOK], layers).unwrap_or_else(|wrong| panic!("{wrong:#?}"));
        let Decided { decision, .. } = situation.decide(&policy);
        let refused = decision.blocked.iter().map(|blocked| blocked.why.to_string()).collect();
        (decision.fate.name().to_owned(), refused)
    })
}

fn set(field: Field, value: &str) -> impl Fn(&mut Situation) + '_ {
    move |situation| {
        let mut alert = plain_alert();
        alert.set(field, text(value));
        situation.arrival = crate::support::arrival(alert);
    }
}

fn nothing(_: &mut Situation) {}

fn told(ruled: [(String, String); 2]) -> [String; 2] {
    ruled
        .map(|(fate, refused)| if refused.is_empty() { fate } else { format!("{fate}: {refused}") })
}

#[test]
fn hours_hold_back_what_they_are_about() {
    let layer = |hours: &str| format!("boundary: night\nowner: o\nhours: {{{hours}}}\n");
    // It is midnight on a Thursday.
    for (hours, suppressed, escalated) in [
        ("escalate: '00:00-00:01', suppress: [thu 00:00-24:00]", "suppress", "escalate"),
        ("escalate: '08:00-18:00'", "suppress", "route: hours:night: outside of 08:00-18:00"),
        (
            "suppress: ['00:00-24:00', mon-wed 00:00-24:00]",
            "route: hours:night: outside of mon-wed 00:00-24:00",
            "escalate",
        ),
    ] {
        let told = told(ruled(&[BASE, &layer(hours)], &nothing));
        assert_eq!(told, [suppressed, escalated], "{hours}");
    }
}

#[test]
fn the_pipelines_own_identities_need_no_line() {
    let told = told(ruled(&[BASE], &set(Field::NhiId, "aws:iam:1:role:tipstaff-contain")));
    let refused = "route: own: the pipeline itself runs as this identity";
    assert_eq!(told, [refused, refused]);
}

#[test]
fn a_credential_is_protected_where_its_identity_is_not_known() {
    let layer = "boundary: keys\nowner: o\nprotected: [{id: root, credential: ['AKIA1', 'fp:k1:*'], why: root's}]\n";
    let refused = "route: protected:keys/root: root's";
    assert_eq!(told(ruled(&[BASE, layer], &nothing)), [refused, refused]);
    let by_fingerprint = |situation: &mut Situation| {
        let mut alert = plain_alert();
        alert.set(Field::CredentialId, text("AKIA2"));
        alert.set(Field::CredentialFingerprint, text("fp:k1:00ff"));
        situation.arrival = crate::support::arrival(alert);
    };
    assert_eq!(told(ruled(&[BASE, layer], &by_fingerprint)), [refused, refused]);
    let other = set(Field::CredentialId, "AKIA2");
    assert_eq!(told(ruled(&[BASE, layer], &other)), ["suppress", "escalate"]);
    // What names no credential is about none of them.
    let none = |situation: &mut Situation| {
        let mut alert = plain_alert();
        alert.set(Field::CredentialId, Value::Absent);
        situation.arrival = crate::support::arrival(alert);
    };
    assert_eq!(ruled(&[BASE, layer], &none)[0].0, "suppress");
}

#[test]
fn sources_can_be_asked_of_a_suppression_too() {
    let layer = |count: usize| {
        format!("boundary: two\nowner: o\nrequire: {{suppress: {{sources: {count}}}}}\n")
    };
    assert_eq!(ruled(&[BASE, &layer(1)], &nothing)[0].0, "suppress");
    let told = told(ruled(&[BASE, &layer(2)], &nothing));
    assert_eq!(told, ["route: require:two/sources: 1 of 2 sources of facts", "escalate"]);
}

#[test]
fn a_permit_obliges_to_the_strictest_of_every_layer_and_of_its_row() {
    let layer = "boundary: more\nowner: o\nobligations: {approvals: {role: lead, count: 3}, per_hour: 9, per_owner: 2, hours: '08:00-18:00', change_ticket: true}\n";
    for (environment, layers, expected) in [
        ("dev", vec![BASE], vec!["approvals 1 lead", "per_hour 5"]),
        ("prod", vec![BASE], vec!["approvals 2 lead", "approvals 1 owner", "per_hour 1"]),
        (
            "prod",
            vec![BASE, layer],
            vec![
                "approvals 3 lead",
                "approvals 1 owner",
                "per_hour 1",
                "per_owner 2",
                "hours 08:00-18:00",
                "change_ticket required",
            ],
        ),
    ] {
        let policy = policy(&[PLAYBOOK], &layers).unwrap();
        let situation = Situation::new(plain_alert(), facts(false, environment));
        let decided = situation.decide(&policy);
        let Ruling::Escalate(escalate) = &decided.decision.fate else { panic!("{decided:#?}") };
        let all = escalate.permit.obligations.iter();
        let told: Vec<String> = all.map(|each| format!("{} {}", each.kind, each.value)).collect();
        assert_eq!(told, expected, "{environment}");
    }
}

#[test]
fn an_answer_is_as_old_as_the_strictest_of_playbook_and_boundary_lets_it_be() {
    let layer = "boundary: more\nowner: o\nfacts: {owner: {max_age: 30m}, vault: {max_age: 2h}}\n\
                 require: {escalate: {facts: {vault.live: 10m}}}\n";
    let policy = policy(&[PLAYBOOK], &[BASE, layer]).unwrap();
    let minutes = |ages: &mut dyn Iterator<Item = Option<i64>>| -> Vec<Option<i64>> {
        ages.map(|age| age.map(|age| age / 60_000)).collect()
    };
    let of = |alert| minutes(&mut policy.ages(&alert).iter().copied());
    assert_eq!(of(plain_alert()), [Some(60), Some(30), Some(120), None, None]);
    assert_eq!(
        of(Alert::default()),
        [None, Some(30), Some(120), None, None],
        "no playbook is for it"
    );
    assert_eq!(minutes(&mut policy.least_ages_ms()), [Some(60), Some(30), Some(10), None, None]);
}

#[test]
fn mistakes_in_limits_stand_at_their_place() {
    let base = "boundary: base\nowner: o\ndefault_queue: {queue: triage, priority: medium}\n";
    for (text, expected) in [
        (
            "protected: [{id: p, why: w}]",
            "boundary1.yaml:4:13: an entry of `protected` names an `nhi` or a `credential`, or both",
        ),
        (
            "hours: {escalate: 8-18}",
            "boundary1.yaml:4:19: `hours` must be like `mon-fri 08:00-18:00` (UTC)",
        ),
        (
            "hours: {route: '08:00-18:00'}",
            "boundary1.yaml:4:9: unknown key `route`; known here: escalate, suppress",
        ),
        (
            "hours: {escalate: []}",
            "boundary1.yaml:4:19: the list of `hours` is empty: name one, or leave it out",
        ),
        (
            "obligations: {hours: []}",
            "boundary1.yaml:4:22: the list of `hours` is empty: name one, or leave it out",
        ),
        (
            "obligations: {approvals: []}",
            "boundary1.yaml:4:26: `approvals` is empty: name one, or leave it out",
        ),
        (
            "protected: [{id: p, nhi: [], credential: [k], why: w}]",
            "boundary1.yaml:4:26: `nhi` is empty: name one, or leave it out",
        ),
        ("stop:", "boundary1.yaml:4:1: `stop` has no value: write one, or no `stop`"),
        ("deny: null", "boundary1.yaml:4:1: `deny` has no value: write one, or no `deny`"),
        (
            "allow: [{id: a, actions: [disable-key], kinds: }]",
            "boundary1.yaml:4:41: `kinds` has no value: write one, or no `kinds`",
        ),
        (
            "require: {escalate: {sources: ~}}",
            "boundary1.yaml:4:22: `sources` has no value: write one, or no `sources`",
        ),
        (
            "obligations: {approvals: [{role: a, count: 1}, {role: a, count: 2}]}",
            "boundary1.yaml:4:48: this role is there already",
        ),
        (
            "obligations: {approvals: {role: a, count: 0}}",
            "boundary1.yaml:4:26: `count` must be a whole number above zero",
        ),
        (
            "require: {suppress: {sources: -1}}",
            "boundary1.yaml:4:21: `sources` can't be below zero",
        ),
        (
            "allow: [{id: a, actions: [disable-key], obligations: {share_percent: 101}}]",
            "boundary1.yaml:4:54: `share_percent` is out of range",
        ),
        (
            "suppress: {max_expires: 0h}",
            "boundary1.yaml:4:25: `max_expires` must be a duration such as 15m, 24h or 30d, at most 3650d",
        ),
    ] {
        let wrong = policy(&[], &[&format!("{base}{text}\n")]).unwrap_err();
        assert_eq!(wrong, [expected], "{text}");
    }
    for text in ["obligations: {share_percent: 100}", "obligations: {per_hour: 0, per_owner: 101}"]
    {
        assert!(policy(&[], &[&format!("{base}{text}\n")]).is_ok(), "{text}");
    }
}

/// However often a test repeats an alert, it is kept once.
#[test]
fn a_test_is_as_large_as_it_is_written() {
    let tests = "tests:
  - name: many
    now: 2026-01-01T00:00:00Z
    alert: {nhi.id: x}
    facts: {registry.fixture: true}
    alerts: [{times: 998, every: 1m, expect: {route: q}}, {at: 1m, expect: {route: q}}]
";
    let with = |tests: &str| policy(&[&format!("{PLAYBOOK}{tests}")], &[BASE]);
    assert!(with(&tests.replace("{at: 1m,", "{at: 1m, times: 3,")).is_err(), "1001 alerts");
    let policy = with(tests).unwrap();
    let steps = &policy.tests()[0].steps;
    assert_eq!(steps.len(), 2);
    let turns: Vec<_> = steps.iter().flat_map(|step| step.turns(policy.schema())).collect();
    let times: Vec<Millis> = turns.iter().map(|turn| turn.now).collect();
    assert_eq!(times, (0..999).map(|minute| NOW.plus(minute * 60_000)).collect::<Vec<_>>());
    let ids: BTreeSet<&str> = turns.iter().map(|turn| &*turn.arrival.alert_id).collect();
    assert_eq!(ids.len(), 999);
    let expected = (0..).zip(&turns).filter(|(_, turn)| turn.expect.is_some());
    assert_eq!(expected.map(|(at, _)| at).collect::<Vec<_>>(), [997, 998]);
    for turn in &turns {
        let Body::Alert(alert) = &turn.arrival.body else { panic!("no alert") };
        assert_eq!(alert.get(Field::ReceivedAt), &Value::Time(turn.now));
        assert_eq!(turn.facts[REGISTRY].as_ref().unwrap().as_of, Some(turn.now));
    }
}

#[test]
fn a_playbook_rules_the_alerts_of_its_detector_alone() {
    let of = |name: &str, on: &str| {
        let text = PLAYBOOK.replace("playbook: p", &format!("playbook: {name}"));
        text.replace("on: {kind: exposed_key}", on)
    };
    let mine = of("mine", "on: {kind: exposed_key, detector: gitleaks}\norder: 1");
    let others = of("others", "on: {kind: exposed_key}\norder: 2");
    let policy = policy(&[&mine, &others], &[BASE]).unwrap();
    for (detector, expected) in [("gitleaks", "mine"), ("trufflehog", "others")] {
        let mut alert = plain_alert();
        alert.set(Field::Detector, text(detector));
        assert_eq!(policy.live(&alert).map(|playbook| &*playbook.name), Some(expected));
    }
    assert!(policy.live(&Alert::default()).is_none());
}

#[test]
fn a_denial_is_told_as_it_is_written() {
    for (when, expected) in [
        ("'has(nhi.id)'", "has(nhi.id)"),
        ("[has(nhi.id), has(kind)]", "has(nhi.id) and has(kind)"),
        ("{any: [has(nhi.id), has(kind)]}", "(has(nhi.id) or has(kind))"),
        ("{not: has(nhi.id)}", "not (has(nhi.id))"),
        ("['has(nhi.id) || has(kind)']", "has(nhi.id) || has(kind)"),
        (
            "['has(nhi.id) || has(kind)', 'has(kind) && has(severity)', has(title)]",
            "(has(nhi.id) || has(kind)) and (has(kind) && has(severity)) and has(title)",
        ),
    ] {
        let deny = format!("{BASE}deny: [{{id: d, of: any, when: {when}, why: w}}]\n");
        let policy = policy(&[], &[&deny]).unwrap();
        assert_eq!(policy.boundary().layers[0].deny[0].text, expected, "{when}");
    }
}

#[test]
fn a_test_says_facts_of_every_type_as_yaml_writes_them() {
    let tests = "tests:
  - name: typed
    now: 2026-01-01T00:00:00Z
    alert: {nhi.id: x}
    facts: {threat.score: 7, threat.every: 15m, vault.roles: [a, b], registry.count: 3}
    expect: {route: q}
";
    let policy = policy(&[&format!("{PLAYBOOK}{tests}")], &[BASE]).unwrap();
    let turns: Vec<_> = policy.tests()[0].steps[0].turns(policy.schema()).collect();
    let values = |enricher: usize| &turns[0].facts[enricher].as_ref().unwrap().values;
    assert_eq!(values(REGISTRY)[1], Value::Int(3));
    let roles: [Box<str>; 2] = ["a".into(), "b".into()];
    assert_eq!(values(VAULT)[2], Value::List(roles.to_vec().into()));
    assert_eq!(values(THREAT).to_vec(), [Value::Decimal(7.into()), Value::Duration(900_000)]);
}
