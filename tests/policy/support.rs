//! A schema, facts and alerts to rule on.

use std::sync::Arc;

use tipstaff::case::{
    Alert, Arrival, Body, Counters, EnricherShape, FactRow, FactState, Field, Millis, Origin, Type,
    Value, Why, id_of,
};
use tipstaff::clause::{Clause, Schema, compile};
use tipstaff::decide::{Decided, Inputs, decide};
use tipstaff::policy::{self, Policy};
use tipstaff::text::{At, Problems, Source};

pub const NOW: Millis = Millis(1_767_225_600_000);

pub const REGISTRY: usize = 0;
pub const OWNER: usize = 1;
pub const VAULT: usize = 2;
pub const THREAT: usize = 3;

pub fn schema() -> Schema {
    let shape = |name: &str, provides: &[(&str, Type)]| EnricherShape {
        name: name.into(),
        provides: provides.iter().map(|(name, of)| ((*name).to_owned(), *of)).collect(),
    };
    Schema {
        enrichers: vec![
            shape("registry", &[("fixture", Type::Bool), ("count", Type::Int)]),
            shape("owner", &[("environment", Type::Text), ("tier", Type::Text)]),
            shape("vault", &[("live", Type::Bool), ("used_at", Type::Time), ("roles", Type::List)]),
            shape("threat", &[("score", Type::Decimal), ("every", Type::Duration)]),
        ],
        windows: vec![],
    }
}

pub type Rows = Vec<Option<Arc<FactRow>>>;

pub fn row(
    enricher: usize,
    as_of: Option<Millis>,
    state: FactState,
    values: Vec<Value<'static>>,
) -> Option<Arc<FactRow>> {
    let schema = schema();
    let shape = &schema.enrichers[enricher];
    let source = format!("table:{}.csv", shape.name).into();
    let origin = (shape.name.clone(), source, "1".into());
    Some(Arc::new(FactRow::new(origin, "key", as_of, state, (&shape.provides, values))))
}

pub fn known(enricher: usize, values: [Value<'static>; 2]) -> Option<Arc<FactRow>> {
    known_all(enricher, values.into())
}

pub fn known_all(enricher: usize, values: Vec<Value<'static>>) -> Option<Arc<FactRow>> {
    row(enricher, Some(NOW), FactState::Known, values)
}

pub fn absent(enricher: usize) -> Option<Arc<FactRow>> {
    row(enricher, Some(NOW), FactState::Absent, Vec::new())
}

pub fn unknown(enricher: usize, why: Why) -> Option<Arc<FactRow>> {
    row(enricher, None, FactState::Unknown(why), Vec::new())
}

pub fn text(value: &str) -> Value<'static> {
    Value::Text(value.to_owned().into())
}

pub fn alert(fields: &[(Field, &str)]) -> Alert<'static> {
    let mut alert = Alert::default();
    for (field, value) in fields {
        alert.set(*field, text(value));
    }
    alert
}

/// An alert about a resolved service account that nothing stands against.
pub fn plain_alert() -> Alert<'static> {
    alert(&[
        (Field::Kind, "exposed_key"),
        (Field::Detector, "gitleaks"),
        (Field::Severity, "high"),
        (Field::NhiId, "aws:deploy"),
        (Field::NhiKind, "service_account"),
        (Field::NhiKnownBy, "native"),
        (Field::CredentialId, "AKIA1"),
        (Field::CredentialValidity, "valid"),
    ])
}

pub fn arrival(alert: Alert<'static>) -> Arrival<'static> {
    arrived(Body::Alert(Box::new(alert)))
}

pub fn arrived(body: Body<'static>) -> Arrival<'static> {
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
        body,
    }
}

pub fn counters(seen: i64) -> Counters {
    Counters {
        group: Some(id_of("group", &[b"1"])),
        seen,
        window_ms: 60_000,
        ..Counters::alone(id_of("case", &[b"1"]), NOW)
    }
}

/// Compiles one condition, or lists its problems as `line:column message`.
pub fn clause(text: &str) -> Result<Clause, Vec<String>> {
    let mut problems = Problems::default();
    let at = At { path: "f.yaml".into(), line: 1, column: 1 };
    let clause = compile(text, &at, &schema(), &mut problems);
    clause.ok_or_else(|| lines(problems))
}

fn lines(problems: Problems) -> Vec<String> {
    problems.into_sorted().iter().map(ToString::to_string).collect()
}

pub const ACTIONS: &[&str] = &[
    "action: disable-key\ntitle: Disable\nundo: enable-key\n",
    "action: block-role\ntitle: Block\nundo: unblock-role\n",
];

pub fn policy(playbooks: &[&str], boundaries: &[&str]) -> Result<Policy, Vec<String>> {
    policy_over(schema(), playbooks, boundaries)
}

pub fn policy_over(
    schema: Schema,
    playbooks: &[&str],
    boundaries: &[&str],
) -> Result<Policy, Vec<String>> {
    let mut problems = Problems::default();
    let compiled = compiled(schema, playbooks, boundaries, &mut problems);
    assert_eq!(compiled.is_some(), problems.is_empty());
    compiled.ok_or_else(|| lines(problems))
}

/// As the command line shows them.
pub fn shown_problems(playbooks: &[&str], boundaries: &[&str]) -> String {
    let mut problems = Problems::default();
    compiled(schema(), playbooks, boundaries, &mut problems);
    let shown: Vec<String> =
        problems.into_sorted().iter().map(|problem| format!("{problem:#}\n")).collect();
    shown.join("\n")
}

fn compiled(
    schema: Schema,
    playbooks: &[&str],
    boundaries: &[&str],
    problems: &mut Problems,
) -> Option<Policy> {
    let sources = |name: &str, texts: &[&str]| -> Vec<Source> {
        let numbered = texts.iter().enumerate();
        numbered.map(|(i, text)| Source::new(format!("{name}{}.yaml", i + 1), *text)).collect()
    };
    policy::compile(
        &sources("playbook", playbooks),
        &sources("boundary", boundaries),
        &sources("action", ACTIONS),
        schema,
        problems,
    )
}

/// One alert, its facts, and what is counted about it.
pub struct Situation {
    pub arrival: Arrival<'static>,
    pub facts: Rows,
    pub counters: Counters,
}

impl Situation {
    pub fn new(alert: Alert<'static>, facts: Rows) -> Self {
        Self { arrival: arrival(alert), facts, counters: counters(1) }
    }

    pub fn decide<'p>(&'p self, policy: &'p Policy) -> Decided<'p> {
        let inputs = Inputs {
            arrival: &self.arrival,
            facts: &self.facts,
            counters: &self.counters,
            now: NOW,
        };
        decide(policy, &inputs)
    }
}
