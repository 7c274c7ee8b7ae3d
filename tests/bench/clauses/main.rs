//! What conditions cost: `clauses` prints nanoseconds, `clauses count PART N` does one part N times, so
//! that its instructions can be counted; there it also knows what is done to an alert besides.

mod path;

#[path = "../cpu.rs"]
mod cpu;

use std::hint::black_box;
use std::sync::Arc;

use cpu::cpu;
use tipstaff::case::{
    Alert, Arrival, Body, Counters, EnricherShape, FactRow, FactState, Field, Millis, Origin, Tri,
    Type, Value, Why, id_of,
};
use tipstaff::clause::{Clause, Schema, Scope, compile};
use tipstaff::correlate::State;
use tipstaff::decide::{Inputs, decide};
use tipstaff::policy::{self, Policy};
use tipstaff::text::{At, Problems, Source};

use path::{Event, Lane};

const NOW: Millis = Millis(1_767_225_600_000);
const ROUNDS: usize = 15;
/// Until patterns that are asked often have their tables.
const WARM_UP: u32 = 300;

/// One of each kind, with what it comes to. Their texts are as long as real ones.
const CLAUSES: &[(&str, Tri)] = &[
    ("credential.validity == \"valid\"", Tri::True),
    ("nhi.kind != \"person\"", Tri::True),
    ("event.count >= 10", Tri::True),
    ("registry.fixture", Tri::False),
    ("registry.fixture == true", Tri::False),
    ("has(owner.tier)", Tri::True),
    ("severity in [\"high\", \"critical\"]", Tri::True),
    ("age(vault.rotated) > duration(\"90d\")", Tri::True),
    ("now - vault.rotated < vault.every + duration(\"7d\")", Tri::False),
    ("threat.score >= 7.5", Tri::True),
    ("\"admin\" in vault.roles", Tri::True),
    ("size(vault.roles) > 3", Tri::False),
    ("vault.roles.exists(role, role.startsWith(\"adm\"))", Tri::True),
    ("nhi.id.startsWith(\"arn:aws:iam::\")", Tri::True),
    ("location.file.endsWith(\".env\")", Tri::True),
    ("location.file.contains(\"/test/\")", Tri::False),
    ("usage.callers > 3", Tri::Unknown),
    ("!(severity == \"low\") && (has(nhi.id) || registry.fixture)", Tri::True),
    ("cidr(source.ip, \"10.0.0.0/8\")", Tri::False),
    ("location.file.matches(r\"^services/[a-z-]+/.*\\.env$\")", Tri::True),
];

const RULES: usize = 30;
/// All but the last hold, so that every clause of every rule is looked at.
const RULE: [&str; 5] = [
    "credential.validity == \"valid\"",
    "severity in [\"high\", \"critical\"]",
    "age(vault.rotated) > duration(\"90d\")",
    "has(owner.tier)",
    "nhi.id == \"arn:aws:iam::123456789012:user/nobody-NUMBER\"",
];

fn schema() -> Schema {
    let shape = |name: &str, provides: &[(&str, Type)]| EnricherShape {
        name: name.into(),
        provides: provides.iter().map(|(name, of)| ((*name).to_owned(), *of)).collect(),
    };
    let vault = [("rotated", Type::Time), ("every", Type::Duration), ("roles", Type::List)];
    Schema {
        enrichers: vec![
            shape("registry", &[("fixture", Type::Bool)]),
            shape("owner", &[("tier", Type::Text)]),
            shape("vault", &vault),
            shape("threat", &[("score", Type::Decimal)]),
            shape("usage", &[("callers", Type::Int)]),
        ],
        windows: vec![],
    }
}

type Rows = Vec<Option<Arc<FactRow>>>;

fn facts() -> Rows {
    let schema = schema();
    let row = |index: usize, state, values: Vec<Value<'static>>| {
        let shape = &schema.enrichers[index];
        let origin = (shape.name.clone(), "table:t.csv".into(), "1".into());
        Some(Arc::new(FactRow::new(origin, "k", Some(NOW), state, (&shape.provides, values))))
    };
    let roles: Vec<Box<str>> = vec!["reader".into(), "admin".into()];
    let vault = vec![
        Value::Time(Millis(NOW.0 - 200 * 86_400_000)),
        Value::Duration(90 * 86_400_000),
        Value::List(roles.into()),
    ];
    vec![
        row(0, FactState::Known, vec![Value::Bool(false)]),
        row(1, FactState::Known, vec![Value::Text("1".into())]),
        row(2, FactState::Known, vault),
        row(3, FactState::Known, vec![Value::read(Type::Decimal, "8.25").unwrap()]),
        row(4, FactState::Unknown(Why::Timeout), Vec::new()),
    ]
}

fn alert() -> Alert<'static> {
    let mut alert = Alert::default();
    for (field, value) in [
        (Field::Kind, "exposed_key"),
        (Field::Severity, "high"),
        (Field::NhiId, "arn:aws:iam::123456789012:user/deploy-pipeline"),
        (Field::NhiKind, "service_account"),
        (Field::NhiKnownBy, "native"),
        (Field::CredentialId, "notareal-key-id"),
        (Field::CredentialValidity, "valid"),
        (Field::File, "services/checkout/config/production.env"),
        (Field::SourceIp, "192.0.2.17"),
    ] {
        alert.set(field, Value::Text(value.into()));
    }
    alert.set(Field::EventCount, Value::Int(12));
    alert
}

fn clause(text: &str) -> Clause {
    let mut problems = Problems::default();
    let at = At { path: "clause".into(), line: 1, column: 1 };
    let compiled = compile(text, &at, &schema(), &mut problems);
    compiled.unwrap_or_else(|| panic!("{text}: {:?}", problems.into_sorted()))
}

const WINDOW: &str = "windows:\n  seen: {where: 'kind == \"exposed_key\"', by: [nhi.id], within: 15m, \
    distinct: [source.ip], then: {more: {where: 'event.outcome == \"success\"'}}, baseline: {over: 7d}}\n";
const WINDOW_RULE: &str = "  - id: window\n    when: ['seen.count < 5', 'seen.distinct.source_ip > 3', \
    seen.then.more]\n    route: {queue: q, priority: low}\n";

fn policy(windows: &str, rule: &str) -> Policy {
    let mut text = format!(
        "playbook: p\ntitle: t\nowner: o\nmode: live\non: {{kind: exposed_key}}\n\
        facts: {{owner: {{max_age: 1h}}, vault: {{max_age: 1h}}}}\n{windows}rules:\n{rule}"
    );
    for number in 0..RULES - 1 {
        text.push_str(&format!("  - id: rule-{number}\n    when:\n"));
        for clause in RULE {
            text.push_str(&format!("      - {}\n", clause.replace("NUMBER", &number.to_string())));
        }
        text.push_str("    route: {queue: q, priority: low}\n");
    }
    text.push_str("  - id: otherwise\n    route: {queue: q, priority: low}\n");
    let boundary = "boundary: b\nowner: o\ndefault_queue: {queue: q, priority: low}\n";
    let mut problems = Problems::default();
    let policy = policy::compile(
        &[Source::new("playbook.yaml", text)],
        &[Source::new("boundary.yaml", boundary)],
        &[],
        schema(),
        &mut problems,
    );
    policy.unwrap_or_else(|| panic!("{:?}", problems.into_sorted()))
}

struct Bench {
    arrival: Arrival<'static>,
    facts: Rows,
    counters: Counters,
    max_age_ms: Vec<Option<i64>>,
    clauses: Vec<Clause>,
    policy: Policy,
    with_window: Policy,
    state: State,
}

impl Bench {
    fn new() -> Self {
        let origin = Origin {
            topic: "alerts".into(),
            incarnation: "1".into(),
            partition: 0,
            offset: 1,
            index: 0,
            of: 1,
            sha256: "00".into(),
        };
        let arrival = Arrival {
            alert_id: origin.alert_id(),
            correlation_id: "c".into(),
            origin,
            pipeline: "p".into(),
            body: Body::Alert(Box::new(alert())),
        };
        let counters = Counters {
            group: Some(id_of("group", &[b"1"])),
            window_ms: 60_000,
            ..Counters::alone(id_of("case", &[b"1"]), NOW)
        };
        let bench = Self {
            arrival,
            facts: facts(),
            counters,
            max_age_ms: vec![Some(3_600_000); 5],
            clauses: CLAUSES.iter().map(|(text, _)| clause(text)).collect(),
            policy: policy("", ""),
            with_window: policy(WINDOW, WINDOW_RULE),
            state: State::default(),
        };
        let state = bench.filled();
        let bench = Self { state, ..bench };
        for (compiled, (text, expected)) in bench.clauses.iter().zip(CLAUSES) {
            assert_eq!(compiled.eval(&bench.scope()), *expected, "{text}");
        }
        let inputs = bench.inputs();
        assert_eq!(decide(&bench.policy, &inputs).decision.passed.len(), RULES - 1);
        bench
    }

    fn scope(&self) -> Scope<'_> {
        let Body::Alert(alert) = &self.arrival.body else { panic!("an alert") };
        Scope {
            alert,
            facts: &self.facts,
            counters: Some(&self.counters),
            now: NOW,
            max_age_ms: &self.max_age_ms,
        }
    }

    fn inputs(&self) -> Inputs<'_> {
        Inputs { arrival: &self.arrival, facts: &self.facts, counters: &self.counters, now: NOW }
    }

    /// Every clause once.
    fn evaluate(&self) {
        let scope = self.scope();
        for clause in &self.clauses {
            black_box(black_box(clause).eval(&scope));
        }
    }

    /// The conditions of all rules.
    fn walk(&self) {
        let scope = self.scope();
        for playbook in self.policy.playbooks() {
            for rule in &playbook.rules {
                black_box(black_box(&rule.when).eval(&scope));
            }
        }
    }

    /// A burst of 300 in the window, from eight addresses.
    fn filled(&self) -> State {
        let mut state = State::default();
        let Body::Alert(alert) = &self.arrival.body else { panic!("an alert") };
        for number in 0..300 {
            let mut alert = alert.clone();
            alert.set(Field::OccurredAt, Value::Time(NOW.plus(number * 3000 - 900_000)));
            alert.set(Field::SourceIp, Value::Text(format!("192.0.2.{}", number % 8).into()));
            let (_, sightings) = state.windows().look(self.with_window.looks(&alert, NOW, None));
            state.see(&sightings);
        }
        state
    }

    /// The whole ruling, of a policy with one window more.
    fn rule_by_window(&self) {
        let Body::Alert(alert) = &self.arrival.body else { panic!("an alert") };
        let looks = self.with_window.looks(alert, NOW, None);
        let (windows, sightings) = self.state.windows().look(looks);
        let counters = Counters { windows, ..self.counters.clone() };
        let inputs = Inputs { counters: &counters, ..self.inputs() };
        black_box(decide(&self.with_window, &inputs));
        black_box(sightings);
    }

    /// The whole ruling, with its reasons.
    fn rule(&self) {
        black_box(decide(&self.policy, &self.inputs()));
    }
}

/// CPU nanoseconds of one round, the median.
fn nanoseconds(times: u32, mut work: impl FnMut()) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let began = cpu();
            for _ in 0..times {
                work();
            }
            (cpu() - began).as_nanos() as f64 / f64::from(times)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

fn print(bench: &Bench) {
    let scope = bench.scope();
    let row = |what: &str, time: f64| println!("| {what} | {time:.1} |");
    println!("| clause | ns |\n| --- | ---: |");
    let each = bench.clauses.iter().zip(CLAUSES).map(|(clause, (text, _))| {
        let time = nanoseconds(100_000, || {
            black_box(black_box(clause).eval(&scope));
        });
        row(&format!("`{}`", text.replace('|', "\\|")), time);
        time
    });
    let times: Vec<f64> = each.collect();
    row("mean of them", times.iter().sum::<f64>() / times.len() as f64);
    row("slowest of them", times.iter().copied().fold(0.0, f64::max));
    let clauses = (RULES - 1) * RULE.len();
    println!("\n| {RULES} rules, {clauses} clauses, none of them spared | ns |\n| --- | ---: |");
    row("conditions", nanoseconds(10_000, || bench.walk()));
    row("a ruling over them, with its reasons", nanoseconds(10_000, || bench.rule()));
    let window = nanoseconds(10_000, || bench.rule_by_window());
    row("the same with a window that holds 300 alerts", window);
}

fn main() {
    let bench = Bench::new();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [] => print(&bench),
        ["count", part, times] => {
            let (event, mut lane) = (Event::new(), Lane::new());
            let mut work: Box<dyn FnMut()> = match *part {
                "clauses" => Box::new(|| bench.evaluate()),
                "conditions" => Box::new(|| bench.walk()),
                "ruling" => Box::new(|| bench.rule()),
                "window" => Box::new(|| bench.rule_by_window()),
                "parse" => Box::new(|| event.parse()),
                "map" => Box::new(|| event.map()),
                "record" => Box::new(|| lane.rule(&bench.policy, &bench.inputs())),
                other => panic!("no part is called {other}"),
            };
            let times: u32 = times.parse().expect("a number");
            (0..WARM_UP + times).for_each(|_| work());
        }
        _ => panic!("use: clauses [count PART TIMES]"),
    }
}
