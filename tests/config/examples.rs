use std::fmt::Write as _;
use std::time::{Duration, Instant};

use tipstaff::case::{Alert, Arrival, Body, Counters, Millis, Ruling, id_of};
use tipstaff::config::{Checked, Files, load};
use tipstaff::correlate::State;
use tipstaff::decide::{Inputs, decide};
use tipstaff::enrich::Enrichers;
use tipstaff::normalize::{FingerprintKeys, Incoming};
use tipstaff::trial::run_tests;

fn now() -> Millis {
    Millis::parse("2026-03-02T09:30:00Z").unwrap()
}

/// The key that the fingerprints in the shipped tables are made with.
fn keys() -> FingerprintKeys {
    FingerprintKeys::new(("examples", b"examples-only-not-a-real-key"), None).unwrap()
}

/// `fate rule reason priority`, and why the boundary blocked what it blocked.
fn ruled(checked: &Checked, enrichers: &Enrichers, arrival: &Arrival<'_>) -> String {
    let nothing = Alert::default();
    let alert = match &arrival.body {
        Body::Alert(alert) => alert,
        Body::Unreadable(_) => &nothing,
    };
    let deadline = Instant::now() + Duration::from_secs(1);
    let facts = enrichers.facts(&[(alert, checked.policy.wanted(alert))], deadline).remove(0);
    let group = checked.policy.group(alert);
    let (windows, _) = State::default().windows().look(checked.policy.looks(alert, now(), None));
    let counters = Counters {
        window_ms: group.as_ref().map_or(0, |group| group.window_ms),
        windows,
        group: group.map(|group| group.id),
        ..Counters::alone(id_of("case", &[b"example"]), now())
    };
    let inputs = Inputs { arrival, facts: &facts, counters: &counters, now: now() };
    let decided = decide(&checked.policy, &inputs);
    let decision = decided.decision;
    assert_eq!(decided.permit.is_some(), matches!(decision.fate, Ruling::Escalate(_)));
    let priority = decision.fate.priority().map_or("-", |priority| priority.name());
    let mut line =
        format!("{} {} {} {priority}", decision.fate.name(), decision.rule, decision.reason);
    for blocked in &decision.blocked {
        write!(line, "; {} blocked: {}", blocked.action, blocked.why).unwrap();
    }
    line
}

/// Every alert of every shipped example, as `file: ruling`.
fn rulings(files: &Files, checked: &Checked) -> Vec<String> {
    let enrichers = Enrichers::new(&checked.enrichers, files, now()).expect("right tables");
    let mut lines = Vec::new();
    for (path, file) in files.iter().filter(|(path, _)| path.contains("/examples/")) {
        let message = Incoming {
            topic: "examples",
            incarnation: "1",
            partition: 0,
            offset: 1,
            headers: &[],
            value: Some(file.source.text.as_bytes()),
            received_at: now(),
        };
        let parts: Vec<&str> = path.split('/').collect();
        for arrival in checked.pipelines.read(&message, Some(parts[1]), &keys()) {
            lines.push(format!(
                "{}/{}: {}",
                parts[1],
                parts[3],
                ruled(checked, &enrichers, &arrival)
            ));
        }
    }
    lines
}

#[test]
fn every_playbook_has_tests_and_they_pass() {
    let checked = load(&Files::shipped()).expect("no problems");
    let outcomes = run_tests(&checked.policy, |_, _| true);
    for outcome in &outcomes {
        assert!(outcome.passed(), "{}: {}: {:#?}", outcome.at, outcome.name, outcome.differences);
    }
    for playbook in checked.policy.playbooks() {
        let tests = outcomes.iter().filter(|outcome| outcome.playbook == playbook.name).count();
        assert!(tests >= 5, "{} has {tests}", playbook.name);
    }
}

#[test]
fn the_shipped_examples_show_every_kind_of_ruling() {
    let files = Files::shipped();
    let rulings = rulings(&files, &load(&files).expect("no problems"));
    for expected in [
        "aws-guardduty/event-bridge-upper-case.json: escalate severe-use rule_matched critical",
        "aws-guardduty/role-session.json: route otherwise boundary_refused critical; disable-key blocked:",
        "gitleaks/one-finding.json: suppress known-test-fixture test_fixture -",
        "gitleaks/several-findings.json: route live-and-public unknown_fact critical",
        "gitleaks/version-7.json: route revoked-not-verified rule_matched low",
        "gitleaks/with-repository.json: route everyone-can-read-it rule_matched high",
        "gitleaks/empty-report.json: suppress empty_report not_an_alert -",
        "okta-system-log/service-app-token-denied.json: suppress rotation-explains-it rotation_in_progress -",
        "okta-system-log/known-by-name-only.json: hold nobody-owns-it unknown_fact high",
        "gitleaks/finding-without-a-rule.json: dead_letter unreadable bad_field -",
    ] {
        assert!(rulings.iter().any(|line| line.starts_with(expected)), "{expected}: {rulings:#?}");
    }
}
