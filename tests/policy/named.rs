//! The promises, each attacked by name.

use tipstaff::case::{
    Alert, Body, FactState, Field, Priority, Reason, Ruling, Tri, Unreadable, Value, Why,
};
use tipstaff::clause::Scope;
use tipstaff::decide::{Inputs, rests_on};
use tipstaff::policy::Policy;
use tipstaff::trial::run_tests;

use crate::generated::stopped;
use crate::support::{
    NOW, OWNER, REGISTRY, Rows, Situation, VAULT, absent, alert, arrived, clause, counters, known,
    plain_alert, policy, row, text, unknown,
};

const PLAYBOOK: &str = r#"
playbook: exposed-key
title: A key was found where others can read it
owner: platform-security
mode: live
on: {kind: exposed_key}
controls: {nist_csf: [RS.MA-02]}
facts:
  registry: {max_age: 1h}
  owner: {max_age: 24h}
  vault: {max_age: 15m}
group: {by: [nhi.id, credential.id], window: 6h}
rules:
  - id: known-test-fixture
    when:
      - registry.fixture == true
      - credential.validity == "invalid"
    on_unknown: next
    suppress: {reason: test_fixture, evidence: [registry.fixture, credential.validity], expires: 10d, on_expiry: recheck}
  - id: live
    when:
      - credential.validity == "valid"
      - vault.live
    on_unknown: route
    escalate: {action: disable-key, rollback: enable-key, expires: 24h, queue: cloud-response, priority: critical}
  - id: otherwise
    route: {queue: cicd-response, priority: high, ack_within: 1h}
tests:
  - name: a fixture that is proved not to work is suppressed
    now: 2026-01-01T00:00:00Z
    alert: {severity: low, nhi.id: "aws:ci", credential: {validity: invalid}}
    facts: {registry.fixture: true}
    expect: {suppress: test_fixture, rule: known-test-fixture}
  - name: a live key is disabled
    now: 2026-01-01T00:00:00Z
    alert:
      severity: high
      nhi: {id: "aws:deploy", kind: service_account, known_by: native}
      credential: {id: AKIA1, validity: valid}
    facts: {vault.live: true, owner.environment: prod}
    expect: {escalate: disable-key, rule: live, priority: critical}
  - name: a stale vault leads to people
    now: 2026-01-01T00:00:00Z
    alert: {credential.validity: valid}
    facts: {vault.live: {value: true, as_of: 2025-12-31T23:00:00Z}}
    expect: {route: cicd-response, rule: live, reason: unknown_fact, priority: critical}
  - name: this one is wrong on purpose
    now: 2026-01-01T00:00:00Z
    alert: {credential.validity: valid}
    facts: {registry: {unknown: timeout}}
    expect: {hold: cicd-response, rule: live}
"#;

const BOUNDARY: &str = r#"
boundary: base
owner: security
default_queue: {queue: triage, priority: medium}
context: {environment: owner.environment}
protected: [{id: ours, nhi: ["tipstaff:*"], why: it is the pipeline itself}]
allow: [{id: keys, actions: [disable-key], environments: [prod, dev]}]
deny: [{id: counted, of: escalate, when: ["registry.count > 100"], why: too much hangs on it}]
require: {escalate: {facts: {vault.live: 10m}, sources: 1}}
suppress: {max_expires: 20d, never_severity: [critical]}
obligations: {approvals: {role: security, count: 2}, per_hour: 5, hours: "mon-fri 08:00-18:00", change_ticket: true}
"#;

fn example() -> Policy {
    policy(&[PLAYBOOK], &[BOUNDARY]).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn live_facts() -> Rows {
    vec![
        known(REGISTRY, [Value::Bool(false), Value::Int(1)]),
        known(OWNER, [text("prod"), text("1")]),
        known(VAULT, [Value::Bool(true), Value::Absent]),
    ]
}

#[test]
fn the_tests_of_a_playbook_run_and_say_how_they_differ() {
    let outcomes = run_tests(&example(), |_, _| true);
    let wrong: Vec<&str> = outcomes.iter().filter(|o| !o.passed()).map(|o| &*o.name).collect();
    assert_eq!(wrong, ["this one is wrong on purpose"], "{outcomes:#?}");
    let lines: Vec<String> = outcomes[3].differences.iter().map(ToString::to_string).collect();
    assert_eq!(lines[0], "ruling: expected `hold cicd-response`, got `route cicd-response`");
    assert_eq!(lines[1], "rule: expected `live`, got `otherwise`");
}

#[test]
fn a_detector_whose_budget_is_spent_is_suppressed_no_more() {
    let bounded = BOUNDARY.replace("[critical]}", "[critical], per_hour: 3}");
    let policy = policy(&[PLAYBOOK], &[&bounded]).unwrap();
    let mut alert = plain_alert();
    alert.set(Field::CredentialValidity, text("invalid"));
    let mut facts = live_facts();
    facts[REGISTRY] = known(REGISTRY, [Value::Bool(true), Value::Int(1)]);
    let mut situation = Situation::new(alert, facts);
    situation.counters.suppressed = 2;
    assert_eq!(situation.decide(&policy).decision.reason, Reason::TestFixture);
    situation.counters.suppressed = 3;
    let decision = situation.decide(&policy).decision;
    assert_eq!((decision.fate.name(), decision.reason), ("route", Reason::BoundaryRefused));
    let why = "budget:base: 3 of 3 of this detector in this hour";
    assert_eq!(decision.blocked[0].why, why);
    for wrong in ["0", "-1"] {
        let wrong = BOUNDARY.replace("[critical]}", &format!("[critical], per_hour: {wrong}}}"));
        let problems = policy_of(&wrong).unwrap_err();
        assert!(problems[0].contains("`per_hour` is a number from 1"), "{problems:?}");
    }
}

#[test]
fn the_tests_of_a_playbook_spend_budgets_as_triage_does() {
    let bounded = BOUNDARY.replace("[critical]}", "[critical], per_hour: 3}");
    let test = "tests:\n  - name: the fourth\n    now: 2026-01-01T00:00:00Z\n    \
        alert: {severity: low, nhi.id: \"aws:ci\", credential: {validity: invalid}}\n    \
        facts: {registry.fixture: true}\n    alerts:\n      \
        - {times: 3, every: 1m, expect: {suppress: test_fixture}}\n      \
        - {at: 1m, expect: {route: cicd-response, reason: boundary_refused}}\n";
    let playbook = PLAYBOOK.split("tests:\n").next().unwrap().to_owned() + test;
    let outcomes = run_tests(&policy(&[&playbook], &[&bounded]).unwrap(), |_, _| true);
    assert!(outcomes.len() == 1 && outcomes[0].passed(), "{outcomes:#?}");
}

#[test]
fn who_may_be_a_person_is_not_contained_and_why_is_said() {
    let policy = example();
    for (kind, why) in [
        (None, "the kind of NHI is missing: it might be a person"),
        (Some("person"), "a person is never contained automatically"),
        (Some("unknown"), "the kind of NHI is not known: it might be a person"),
        (Some("service_account"), "not a person"),
    ] {
        let mut alert = plain_alert();
        alert.set(Field::NhiKind, kind.map_or(Value::Absent, text));
        let situation = Situation::new(alert, live_facts());
        let decision = situation.decide(&policy).decision;
        let person = decision.boundary.iter().find(|verdict| verdict.id == "person").unwrap();
        assert_eq!((person.allows, &*person.why), (why == "not a person", why));
    }
}

/// What the boundary has not refused rests on nothing that it reads.
#[test]
fn a_refusal_rests_on_what_the_boundary_could_not_read() {
    let policy = example();
    let open = |alert: Alert<'static>, facts: Rows| -> Vec<String> {
        let Situation { arrival, facts, counters } = &Situation::new(alert, facts);
        let inputs = Inputs { arrival, facts, counters, now: NOW };
        let names = rests_on(&policy, &inputs, Why::NotRecorded);
        names.into_iter().map(str::to_owned).collect()
    };
    let missing = || unknown(OWNER, Why::NotRecorded);
    let in_part = || known(OWNER, [Value::Unknown(Why::NotRecorded), text("1")]);
    for owner in [missing, in_part] {
        let mut facts = live_facts();
        facts[OWNER] = owner();
        assert_eq!(open(plain_alert(), facts.clone()), ["owner"]);
        facts[REGISTRY] = known(REGISTRY, [Value::Bool(true), Value::Int(1)]);
        let mut fixture = plain_alert();
        fixture.set(Field::CredentialValidity, text("invalid"));
        assert_eq!(open(fixture, facts), [""; 0]);
    }
}

fn policy_of(boundary: &str) -> Result<Policy, Vec<String>> {
    policy(&[PLAYBOOK], &[boundary])
}

#[test]
fn an_escalation_carries_its_permit_and_what_it_rests_on() {
    let (policy, situation) = (example(), Situation::new(plain_alert(), live_facts()));
    let decided = situation.decide(&policy);
    let Ruling::Escalate(escalate) = &decided.decision.fate else { panic!("{decided:#?}") };
    let permit = decided.permit.unwrap();
    assert_eq!((permit.action(), permit.target()), ("disable-key", "AKIA1"));
    assert_eq!(escalate.permit, permit.record());
    assert_eq!(escalate.permit.allowed_by, "base/keys");
    let obligations: Vec<String> = escalate
        .permit
        .obligations
        .iter()
        .map(|each| format!("{}={}", each.kind, each.value))
        .collect();
    assert_eq!(
        obligations,
        [
            "approvals=2 security",
            "per_hour=5",
            "hours=mon-fri 08:00-18:00",
            "change_ticket=required"
        ]
    );
    assert_eq!(decided.decision.because.len(), 2);
    assert_eq!(decided.decision.because[1].seen[0].value, "true");
    assert_eq!(decided.decision.passed[0].because.clause, "registry.fixture == true");
    assert!(decided.decision.boundary.iter().all(|verdict| verdict.allows));
    assert_eq!(policy.wanted(&plain_alert()), [REGISTRY, OWNER, VAULT]);
    assert!(policy.queues().into_iter().eq(["cicd-response", "cloud-response", "triage"]));
}

#[test]
fn a_failed_validity_check_never_suppresses() {
    let policy = example();
    let validities = [Value::Absent, text("unverified"), Value::Unknown(Why::Error)];
    for validity in validities {
        for fixture in [
            known(REGISTRY, [Value::Bool(true), Value::Absent]),
            unknown(REGISTRY, Why::Timeout),
            row(REGISTRY, None, FactState::Known, vec![Value::Bool(true), Value::Absent]),
        ] {
            let mut alert = plain_alert();
            alert.set(Field::CredentialValidity, validity.clone());
            let facts = vec![fixture, absent(OWNER), absent(VAULT)];
            let situation = Situation::new(alert, facts);
            let decision = situation.decide(&policy).decision;
            assert!(!matches!(decision.fate, Ruling::Suppress(_)), "{decision:#?}");
        }
    }
    for why in [Why::Error, Why::Timeout, Why::Stale, Why::Conflict, Why::NoKey] {
        let mut alert = plain_alert();
        alert.set(Field::CredentialValidity, text("invalid"));
        let facts = vec![unknown(REGISTRY, why), absent(OWNER), absent(VAULT)];
        let situation = Situation::new(alert, facts);
        let decision = situation.decide(&policy).decision;
        assert!(matches!(decision.fate, Ruling::Route(_)), "{decision:#?}");
    }
}

#[test]
fn what_people_stopped_is_not_contained() {
    let policy = example();
    let mut situation = Situation::new(plain_alert(), live_facts());
    assert!(situation.decide(&policy).permit.is_some());
    situation.counters.stopped = Some(Box::new(stopped()));
    let decided = situation.decide(&policy);
    assert!(decided.permit.is_none());
    assert_eq!(decided.decision.reason, Reason::BoundaryRefused);
    let blocked = &decided.decision.blocked[0];
    assert_eq!(&*blocked.action, "disable-key");
    assert!(blocked.why.starts_with("stop:order: dana stopped everything automatic"));
}

#[test]
fn missing_nhi_is_never_contained() {
    let policy = example();
    for (field, value, why) in [
        (Field::NhiId, Value::Absent, "nhi: the NHI is missing"),
        (Field::NhiId, text(""), "nhi: the NHI is missing"),
        (Field::CredentialId, Value::Absent, "target: the target is missing"),
        (Field::CredentialId, text(""), "target: the target is missing"),
        (Field::NhiKnownBy, Value::Absent, "nhi: the NHI was not resolved"),
        (Field::NhiKnownBy, text("credential.id"), "nhi: the NHI was not resolved"),
        (Field::NhiKnownBy, text("aliased"), "nhi: the NHI was not resolved"),
        (Field::NhiKind, text("person"), "person: a person is never contained"),
        (Field::NhiKind, Value::Absent, "person: the kind of NHI is missing"),
        (Field::NhiId, text("tipstaff:intake"), "protected:base/ours: it is"),
    ] {
        let mut alert = plain_alert();
        alert.set(field, value.clone());
        let situation = Situation::new(alert, live_facts());
        let decided = situation.decide(&policy);
        assert!(decided.permit.is_none(), "{field:?} {value:?}");
        let decision = decided.decision;
        assert_eq!(decision.reason, Reason::BoundaryRefused);
        assert_eq!((&*decision.rule, &*decision.blocked[0].rule), ("otherwise", "live"));
        assert!(decision.blocked[0].why.contains(why), "{}", decision.blocked[0].why);
        assert_eq!(decision.fate.queue(), Some("cicd-response"));
        assert_eq!(decision.fate.priority(), Some(Priority::Critical));
    }
}

#[test]
fn an_alert_without_its_key_is_not_grouped() {
    let policy = example();
    assert!(policy.group(&plain_alert()).is_some());
    for (field, value) in
        [(Field::NhiId, Value::Absent), (Field::CredentialId, text("")), (Field::Kind, text("x"))]
    {
        let mut alert = plain_alert();
        alert.set(field, value);
        assert_eq!(policy.group(&alert), None, "{field:?}");
    }
}

#[test]
fn adding_a_boundary_layer_never_allows_more() {
    use crate::choices::{Choices, choices, config};
    use crate::generated::{boundaries, playbook, situation};
    use proptest::strategy::{Strategy, ValueTree};
    let mut runner = proptest::test_runner::TestRunner::new(config(1));
    let (bytes, mut narrowed) = (choices(200), 0);
    for round in 0..10_000 {
        if round >= 500 && narrowed > 5 {
            break;
        }
        let mut choices = Choices::new(bytes.new_tree(&mut runner).unwrap().current());
        let situation = situation(&mut choices);
        let (playbook, layers) = (playbook(&mut choices), boundaries(&mut choices));
        let texts: Vec<&str> = layers.iter().map(String::as_str).collect();
        let mut was_automatic = true;
        for count in 1..=texts.len() {
            let policy = policy(&[&playbook], &texts[..count]).unwrap();
            let fate = situation.decide(&policy).decision.fate;
            let automatic = matches!(fate, Ruling::Suppress(_) | Ruling::Escalate(_));
            assert!(was_automatic || !automatic, "{playbook}\n{texts:#?}");
            narrowed += usize::from(count > 1 && was_automatic && !automatic);
            was_automatic = automatic;
        }
    }
    assert!(narrowed > 5, "only {narrowed}");
    let empty = "boundary: base\nowner: o\ndefault_queue: {queue: triage, priority: low}\n";
    let wide = "boundary: wide\nowner: o\nallow: [{id: all, actions: [disable-key]}]\n\
                suppress: {max_expires: 30d}\n";
    for layers in [vec![empty], vec![empty, wide]] {
        let policy = policy(&[PLAYBOOK], &layers).unwrap();
        let situation = Situation::new(plain_alert(), live_facts());
        assert!(situation.decide(&policy).permit.is_none(), "silence in the base allows nothing");
    }
}

#[test]
fn consent_lets_an_unknown_rule_be_passed_to_an_escalation() {
    let asking = PLAYBOOK.split("tests:").next().unwrap().to_owned();
    let facts = || {
        let mut facts = live_facts();
        facts[REGISTRY] = unknown(REGISTRY, Why::Timeout);
        facts
    };
    let mut alert = plain_alert();
    alert.set(Field::CredentialValidity, text("valid"));
    let playbook = asking.replace("- credential.validity == \"invalid\"", "- has(nhi.id)");
    let boundary = BOUNDARY.replace("registry.count > 100", "owner.tier == '0'");
    let held = policy(&[&playbook], &[&boundary]).unwrap();
    let situation = Situation::new(alert, facts());
    let decision = situation.decide(&held).decision;
    assert_eq!(decision.reason, Reason::UnknownBeforeEscalation);
    assert!(matches!(decision.fate, Ruling::Hold(_)));
    assert_eq!(decision.fate.priority(), Some(Priority::Critical));
    let consent = format!("{boundary}pass_unknown: [registry.fixture]\n");
    let passing = policy(&[&playbook], &[&consent]).unwrap();
    assert!(situation.decide(&passing).permit.is_some());
    let other = "boundary: other\nowner: o\n";
    let half = policy(&[&playbook], &[&consent, other]).unwrap();
    assert!(situation.decide(&half).permit.is_none(), "every layer must consent");
}

/// Either rule may turn out to be the one that asks, so the weaker of them must have its sources.
#[test]
fn the_same_escalation_twice_counts_the_weaker_sources() {
    let same = "escalate: {action: disable-key, rollback: enable-key, expires: 1d, queue: q, priority: high}";
    let playbook = format!(
        "playbook: p\ntitle: t\nowner: o\nmode: live\non: {{kind: exposed_key}}\n\
         facts: {{registry: {{max_age: 1h}}, owner: {{max_age: 1h}}, vault: {{max_age: 1h}}}}\nrules:\n\
         \x20 - {{id: weak, when: [registry.fixture], on_unknown: next, {same}}}\n\
         \x20 - {{id: strong, when: [vault.live, has(owner.tier)], on_unknown: next, {same}}}\n\
         \x20 - {{id: otherwise, route: {{queue: q, priority: low}}}}\n"
    );
    let boundary = |sources: usize| {
        BOUNDARY
            .replace("sources: 1", &format!("sources: {sources}"))
            .replace("registry.count > 100", "owner.tier == '0'")
    };
    let mut facts = live_facts();
    facts[REGISTRY] = unknown(REGISTRY, Why::Timeout);
    let situation = Situation::new(plain_alert(), facts);
    let allowed = policy(&[&playbook], &[&boundary(0)]).unwrap();
    let decided = situation.decide(&allowed);
    assert!(decided.permit.is_some(), "{:#?}", decided.decision);
    let refused = policy(&[&playbook], &[&boundary(2)]).unwrap();
    assert!(situation.decide(&refused).permit.is_none());
    let known = Situation::new(plain_alert(), live_facts());
    assert!(known.decide(&refused).permit.is_some(), "without the unknown rule two sources do");
}

#[test]
fn after_an_unknown_rule_nothing_is_suppressed() {
    let playbook = PLAYBOOK
        .replace("on_unknown: route\n    escalate: {action: disable-key, rollback: enable-key, expires: 24h, queue: cloud-response, priority: critical}", "on_unknown: next\n    route: {queue: cloud-response, priority: critical}")
        .replace("  - id: otherwise", "  - id: late\n    when: [has(nhi.id)]\n    on_unknown: next\n    suppress: {reason: approved_change, evidence: [nhi.id], expires: 1d, on_expiry: recheck}\n  - id: otherwise");
    let playbook = playbook.split("tests:").next().unwrap();
    let policy = policy(&[playbook], &[BOUNDARY]).unwrap();
    let mut facts = live_facts();
    facts[VAULT] = unknown(VAULT, Why::Error);
    let situation = Situation::new(plain_alert(), facts);
    let decision = situation.decide(&policy).decision;
    assert_eq!(decision.reason, Reason::UnknownBeforeSuppression, "{decision:#?}");
    assert_eq!(decision.fate.priority(), Some(Priority::Critical));
    assert!(matches!(decision.fate, Ruling::Hold(_)));
}

#[test]
fn a_pipeline_can_end_what_is_no_alert_but_not_past_the_boundary() {
    let policy = example();
    let nothing = alert(&[(Field::NotAnAlert, "empty_report")]);
    let situation = Situation::new(nothing.clone(), vec![absent(0), absent(1), absent(2)]);
    let decision = situation.decide(&policy).decision;
    let Ruling::Suppress(suppress) = &decision.fate else { panic!("{decision:#?}") };
    assert_eq!((&*decision.playbook, &*decision.rule), ("pipeline:gitleaks", "empty_report"));
    assert_eq!(decision.reason, Reason::NotAnAlert);
    assert_eq!(suppress.expires_at, NOW.plus(20 * 86_400_000));
    assert_eq!(suppress.evidence[0].source, "pipeline:gitleaks");
    for (field, value) in [(Field::Severity, "critical"), (Field::NhiId, "tipstaff:intake")] {
        let mut alert = nothing.clone();
        alert.set(field, text(value));
        let situation = Situation::new(alert, vec![absent(0), absent(1), absent(2)]);
        let decision = situation.decide(&policy).decision;
        assert_eq!(decision.reason, Reason::BoundaryRefused);
        assert_eq!(decision.fate.queue(), Some("triage"));
    }
}

#[test]
fn stop_and_severity_and_expiry_hold_back_suppressions() {
    let mut fixture = plain_alert();
    fixture.set(Field::CredentialValidity, text("invalid"));
    let facts =
        || vec![known(REGISTRY, [Value::Bool(true), Value::Int(1)]), absent(OWNER), absent(VAULT)];
    let fate = |boundary: &str, alert: &tipstaff::case::Alert<'static>| {
        let policy = policy(&[PLAYBOOK], &[boundary]).unwrap();
        let situation = Situation::new(alert.clone(), facts());
        situation.decide(&policy).decision.fate.name().to_owned()
    };
    assert_eq!(fate(BOUNDARY, &fixture), "suppress");
    assert_eq!(fate(&format!("{BOUNDARY}stop: true\n"), &fixture), "route");
    let mut ordered = Situation::new(fixture.clone(), facts());
    ordered.counters.stopped = Some(Box::new(stopped()));
    let running = policy(&[PLAYBOOK], &[BOUNDARY]).unwrap();
    let decision = ordered.decide(&running).decision;
    assert_eq!((decision.fate.name(), decision.reason), ("route", Reason::BoundaryRefused));
    assert!(decision.blocked[0].why.starts_with("stop:order: dana stopped everything automatic"));
    assert_eq!(fate(&BOUNDARY.replace("20d", "9d"), &fixture), "route");
    assert_eq!(fate(&BOUNDARY.replace("20d", "10d"), &fixture), "suppress");
    for severity in [text("critical"), text("sev1"), Value::Absent] {
        let mut alert = fixture.clone();
        alert.set(Field::Severity, severity);
        assert_eq!(fate(BOUNDARY, &alert), "route");
        let of_any = BOUNDARY.replace("[critical]", "[]");
        assert_eq!(fate(&of_any, &alert), "suppress", "no severity is named");
    }
    let mut nobody = fixture;
    nobody.set(Field::NhiId, Value::Absent);
    let situation = Situation::new(nobody, facts());
    let decision = situation.decide(&running).decision;
    let why = "protected:base/ours: the NHI is missing";
    assert!(decision.blocked[0].why.contains(why), "{}", decision.blocked[0].why);
}

#[test]
fn shadow_playbooks_are_tried_and_change_nothing() {
    let shadow_text = PLAYBOOK
        .split("tests:")
        .next()
        .unwrap()
        .replace("mode: live", "mode: shadow")
        .replace("playbook: exposed-key", "playbook: candidate");
    let live = "playbook: live\ntitle: t\nowner: o\nmode: live\non: {kind: exposed_key}\n\
                rules: [{id: all, route: {queue: q, priority: low}}]\n";
    let policy = policy(&[&shadow_text, live], &[BOUNDARY]).unwrap();
    let situation = Situation::new(plain_alert(), live_facts());
    let decided = situation.decide(&policy);
    assert!(decided.permit.is_none());
    assert_eq!(decided.decision.fate.queue(), Some("q"));
    let shadow = &decided.decision.shadow[0];
    assert_eq!(
        (&*shadow.playbook, &*shadow.rule, &*shadow.fate),
        ("candidate", "live", "escalate")
    );
    assert_eq!(shadow.differs.as_deref(), Some("fate"));
    assert_eq!(shadow.action.as_deref(), Some("disable-key"), "{shadow:?}");
    assert_eq!(shadow.blocked, None);
    let stopped = format!("{BOUNDARY}stop: true\n");
    let stopped = super::support::policy(&[&shadow_text, live], &[&stopped]).unwrap();
    let shadow = situation.decide(&stopped).decision.shadow.remove(0);
    assert_eq!((&*shadow.rule, shadow.reason), ("otherwise", Reason::BoundaryRefused));
    let blocked = shadow.blocked.unwrap();
    assert_eq!((&*blocked.action, &*blocked.rule), ("disable-key", "live"));
    assert!(blocked.why.contains("stop"), "{blocked:?}");
    assert_eq!(policy.wanted(&plain_alert()), [REGISTRY, OWNER, VAULT]);
}

#[test]
fn a_canary_rules_its_share_and_the_other_playbook_stands_beside_it() {
    let live = "playbook: live\ntitle: t\nowner: o\nmode: live\non: {kind: exposed_key}\n\
                rules: [{id: all, route: {queue: old, priority: low}}]\n";
    let canary = |more: &str| {
        let text = live.replace("mode: live", "mode: canary").replace("queue: old", "queue: new");
        text.replace("playbook: live", "playbook: next") + more
    };
    let named = canary("canary: {nhis: [ci-deployer]}\n");
    let policy = policy(&[live, &named], &[BOUNDARY]).unwrap();
    let ruled = |nhi: Option<&'static str>| {
        let mut alert = plain_alert();
        alert.set(Field::NhiId, nhi.map_or(Value::Absent, text));
        let situation = Situation::new(alert, live_facts());
        let decision = situation.decide(&policy).decision;
        let shadow = &decision.shadow;
        assert_eq!((shadow.len(), shadow[0].differs.as_deref()), (1, Some("queue")));
        let queue = decision.fate.queue().unwrap().to_owned();
        (queue, decision.playbook.to_string(), shadow[0].playbook.to_string())
    };
    let of =
        |queue: &str, by: &str, beside: &str| (queue.to_owned(), by.to_owned(), beside.to_owned());
    assert_eq!(ruled(Some("ci-deployer")), of("new", "next", "live"));
    assert_eq!(ruled(Some("somebody-else")), of("old", "live", "next"));
    assert_eq!(ruled(None), of("old", "live", "next"), "INV-11");

    let problems = |texts: &[&str]| super::support::policy(texts, &[BOUNDARY]).unwrap_err();
    let second = named.replace("playbook: next", "playbook: after");
    let clash = problems(&[live, &named, &second]);
    assert!(clash[0].ends_with("one `mode: canary` at a time"), "{clash:?}");
    let wrong = [
        canary("canary: {percent: 100}\n"),
        canary("canary: {}\n"),
        live.to_owned() + "canary: {percent: 5}\n",
    ];
    for (text, why) in wrong.iter().zip([
        "`percent` must be from 1 to 99",
        "says for whom",
        "`canary` is for `mode: canary` alone",
    ]) {
        let found = problems(&[text]);
        assert!(found[0].contains(why), "{found:?}");
    }
}

#[test]
fn what_nobody_rules_goes_to_the_default_queue() {
    let policy = example();
    let situation = Situation::new(alert(&[(Field::Kind, "other")]), live_facts());
    let decision = situation.decide(&policy).decision;
    assert_eq!((decision.reason, decision.fate.queue()), (Reason::NoRule, Some("triage")));
    let unreadable = Unreadable {
        reason: Reason::NotJson,
        detail: "not JSON".into(),
        size: 3,
        fingerprint: "fp:1:0".into(),
        line: Some(1),
        column: Some(2),
    };
    let situation = Situation {
        arrival: arrived(Body::Unreadable(unreadable.clone())),
        facts: live_facts(),
        counters: counters(1),
    };
    let decision = situation.decide(&policy).decision;
    assert_eq!(decision.fate, Ruling::DeadLetter(unreadable));
    assert_eq!(decision.reason, Reason::NotJson);
}

#[test]
fn counters_say_no_more_than_is_known_of_the_case() {
    let mut counters = counters(9);
    let alert = plain_alert();
    let eval = |text: &str, counters: &tipstaff::case::Counters| {
        let scope = Scope {
            alert: &alert,
            facts: &[],
            counters: Some(counters),
            now: NOW,
            max_age_ms: &[],
        };
        clause(text).unwrap().eval(&scope)
    };
    assert_eq!(eval("counters.seen > 5", &counters), Tri::True);
    counters.is_partial = true;
    assert_eq!(eval("counters.seen > 5", &counters), Tri::True, "there are no fewer than nine");
    for clause in ["counters.seen <= 50", "counters.seen == 9", "counters.first_seen <= now"] {
        assert_eq!(eval(clause, &counters), Tri::Unknown, "{clause}");
    }
    counters.group = None;
    assert_eq!(eval("counters.seen > 5", &counters), Tri::False);
    assert_eq!(eval("!(counters.seen > 5)", &counters), Tri::Unknown);
}

#[test]
fn addresses_are_in_their_networks() {
    let holds = |ip: Option<&str>, text: &str| {
        let ip: Vec<(Field, &str)> = ip.map(|ip| (Field::SourceIp, ip)).into_iter().collect();
        let alert = alert(&ip);
        let scope = Scope { alert: &alert, facts: &[], counters: None, now: NOW, max_age_ms: &[] };
        clause(text).unwrap().eval(&scope)
    };
    let (inside, outside) = ("cidr(source.ip, '10.0.0.0/8')", "!cidr(source.ip, '10.0.0.0/8')");
    assert_eq!(holds(Some("10.1.2.3"), inside), Tri::True);
    assert_eq!(holds(Some("::ffff:10.1.2.3"), inside), Tri::True);
    assert_eq!(holds(Some("11.1.2.3"), outside), Tri::True);
    for none in [None, Some("unknown")] {
        assert_eq!(holds(none, inside), Tri::False);
        assert_eq!(holds(none, outside), Tri::Unknown);
    }
}

#[test]
fn hostile_expressions_are_problems_not_crashes() {
    let deep =
        |open: &str, close: &str| format!("{}a{}", open.repeat(10_000), close.repeat(10_000));
    let short = |open: &str, close: &str| format!("{}a{}", open.repeat(1300), close.repeat(1300));
    for text in [
        deep("(", ")"),
        deep("!", ""),
        deep("[", "]"),
        short("(", ")"),
        short("!", ""),
        short("[", "]"),
        short("has(", "")[..4000].to_owned(),
        format!("severity{}", ".contains('a')".repeat(250)),
        format!("severity{}", ".x".repeat(2000)),
        "severity == 'a' && ".repeat(200),
        "x".repeat(1024 * 1024),
        format!("severity == '{}", "\\u".repeat(1000)),
        format!("severity.matches('{}')", "(a{999}){999}".repeat(20)),
        format!("severity.matches('{}')", "(".repeat(1500)),
        format!("event.count == {}", "9".repeat(50)),
        format!("event.count in [{}]", "1,".repeat(1900)),
        vec!["severity == 'a'"; 215].join("||").replace("||severity == 'a'", "||true"),
        String::new(),
        "\0".to_owned(),
        "é == 'ü'".to_owned(),
    ] {
        let problems = clause(&text).map(|_| ()).unwrap_err();
        assert!(!problems.is_empty() && problems.len() < 300);
    }
    let wide = vec!["true"; 100].join(" && ");
    assert!(clause(&format!("has(nhi.id) && {wide}")).is_ok());
}
