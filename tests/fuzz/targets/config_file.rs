//! Any text as one file of a configuration among the shipped others: its mistakes have places in it, and
//! what is right rules an alert. An input's first line says which file it is.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tipstaff::case::{Alert, Arrival, Body, Counters, Field, Millis, Origin, Value, id_of};
use tipstaff::config::{Files, SERVICE_FILE, load};
use tipstaff::decide::{Inputs, decide};
use tipstaff::text::Source;

const KINDS: &[(&str, &str)] = &[
    ("playbook", "playbooks/exposed-key.yaml"),
    ("boundary", "playbooks/boundary.yaml"),
    ("action", "playbooks/actions/disable-key.yaml"),
    ("sink", "playbooks/sinks/jira.yaml"),
    ("enricher", "enrichers/vault/enricher.yaml"),
    ("service", SERVICE_FILE),
];

/// Without pipelines, which have a target of their own, and without the playbooks' tests.
static OTHERS: LazyLock<Files> = LazyLock::new(|| {
    let mut others = Files::default();
    for (path, file) in Files::shipped().iter() {
        let is_playbook = path.starts_with("playbooks/") && path.split('/').count() == 2;
        let is_kept = path.ends_with("boundary.yaml")
            || path.starts_with("playbooks/actions/")
            || path.ends_with("/enricher.yaml");
        if is_kept || is_playbook && path.ends_with("auth-failure.yaml") {
            others.insert(path, file.source.clone(), None);
        }
    }
    others
});

fn arrival() -> Arrival<'static> {
    let mut alert = Alert::default();
    for (field, text) in [
        (Field::Kind, "exposed_key"),
        (Field::Detector, "gitleaks"),
        (Field::Severity, "high"),
        (Field::NhiId, "aws:deploy"),
        (Field::CredentialId, "notareal-id"),
        (Field::CredentialValidity, "valid"),
    ] {
        alert.set(field, Value::Text(text.into()));
    }
    let origin = Origin {
        topic: "alerts".into(),
        incarnation: "1".into(),
        partition: 0,
        offset: 1,
        index: 0,
        of: 1,
        sha256: "00".into(),
    };
    Arrival {
        alert_id: origin.alert_id(),
        correlation_id: "c".into(),
        origin,
        pipeline: "gitleaks".into(),
        body: Body::Alert(Box::new(alert)),
    }
}

fuzz_target!(|input: &str| {
    let Some((kind, text)) = input.split_once('\n') else { return };
    let Some((_, path)) = KINDS.iter().find(|(name, _)| *name == kind) else { return };
    let mut files = OTHERS.clone();
    files.insert(path, Source::new(*path, text), None);
    let checked = match load(&files) {
        Ok(checked) => checked,
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a word");
            for problem in problems {
                assert!(!problem.message.is_empty() && problem.at.column > 0, "{problem:#}");
                let Some(file) = files.get(&problem.at.path) else { continue };
                let lines = u32::try_from(file.source.text.split(['\n', '\r']).count()).unwrap();
                assert!((1..=lines + 1).contains(&problem.at.line), "{problem:#} in {lines} lines");
                assert!(format!("{problem:#}").len() < 10_000, "an endless excerpt");
            }
            return;
        }
    };
    let arrival = arrival();
    let facts = vec![None; checked.enrichers.len()];
    let now = Millis(1_767_225_600_000);
    let counters = Counters { window_ms: 60_000, ..Counters::alone(id_of("case", &[b"1"]), now) };
    let inputs = Inputs { arrival: &arrival, facts: &facts, counters: &counters, now };
    std::hint::black_box(decide(&checked.policy, &inputs));
});
