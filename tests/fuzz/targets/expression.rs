//! Any text as a condition: its mistakes have places, and what compiles keeps INV-4.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use tipstaff::case::{
    Alert, EnricherShape, FIELDS, FactRow, FactState, Millis, Tri, Type, Value, Why,
};
use tipstaff::clause::{Clause, Schema, Scope, compile};
use tipstaff::text::{At, Problems};

const NOW: Millis = Millis(1_767_225_600_000);

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    // As the examples of the language's page call them.
    let name = |of| match of {
        Type::Bool => "fixture",
        Type::Int => "count",
        Type::Decimal => "score",
        Type::Time => "rotated",
        Type::Duration => "every",
        Type::Text => "text",
        Type::List => "roles",
    };
    let provides = Type::ALL.into_iter().map(|of| (name(of).to_owned(), of)).collect();
    let enrichers = vec![EnricherShape { name: "vault".into(), provides }];
    Schema { enrichers, ..Schema::default() }
});

fn value(of: Type) -> Value<'static> {
    let text = match of {
        Type::Bool => "true",
        Type::Int => "10",
        Type::Decimal => "7.25",
        Type::Time => "2025-12-01T00:00:00Z",
        Type::Duration => "2h",
        Type::Text => "192.0.2.1",
        Type::List => "[\"admin\",\"\"]",
    };
    Value::read(of, text).unwrap()
}

/// Every value is what this gives.
fn eval(clause: &Clause, value: &dyn Fn(Type) -> Value<'static>) -> Tri {
    let mut alert = Alert::default();
    for info in FIELDS {
        alert.set(info.field, value(info.of));
    }
    let provides = &SCHEMA.enrichers[0].provides;
    let values = provides.iter().map(|(_, of)| value(*of)).collect();
    let names = ("vault".into(), "table:t".into(), "1".into());
    let row = FactRow::new(names, "k", Some(NOW), FactState::Known, (provides, values));
    let facts = [Some(Arc::new(row))];
    let scope =
        Scope { alert: &alert, facts: &facts, counters: None, now: NOW, max_age_ms: &[None] };
    let found = clause.eval(&scope);
    let because = clause.because(found, &scope);
    assert_eq!(because.seen.len(), clause.names().len());
    found
}

fuzz_target!(|text: &str| {
    let mut problems = Problems::default();
    let at = At { path: "f.yaml".into(), line: 3, column: 7 };
    let Some(clause) = compile(text, &at, &SCHEMA, &mut problems) else {
        assert!(!problems.is_empty(), "refused without a word");
        let end = u32::try_from(text.chars().count()).unwrap() + 7;
        for problem in problems.into_sorted() {
            let is_inside = problem.at.line == 3 && (7..=end).contains(&problem.at.column);
            assert!(is_inside && !problem.message.is_empty(), "{problem:#}");
        }
        return;
    };
    assert!(problems.is_empty(), "compiled with problems");
    let (unknown, absent) = (|_: Type| Value::Unknown(Why::Timeout), |_: Type| Value::Absent);
    let verdict = eval(&clause, &unknown);
    // The counters stay unknown. What asks whether a fact is unknown is answered another way then.
    if verdict != Tri::Unknown && !clause.asks_for_unknown() {
        assert_eq!(eval(&clause, &absent), verdict, "{text}: unknown turned out absent");
        assert_eq!(eval(&clause, &value), verdict, "{text}: unknown turned out known");
    }
    let mut again = Problems::default();
    let negated = compile(&format!("!({text})"), &at, &SCHEMA, &mut again);
    let Some(negated) = negated else { return };
    // The counters stay unknown, here too.
    let known = (eval(&clause, &value), eval(&negated, &value));
    assert_eq!(known.1, opposite(known.0), "{text}: negated over values that are there");
    if !clause.asks_for_unknown() {
        assert_eq!(eval(&negated, &unknown), opposite(verdict), "{text}: negated over unknown");
    }
    let none = (eval(&clause, &absent), eval(&negated, &absent));
    assert!(none != (Tri::True, Tri::True), "{text}: absence makes it and its negation true");
});

fn opposite(of: Tri) -> Tri {
    match of {
        Tri::True => Tri::False,
        Tri::False => Tri::True,
        Tri::Unknown => Tri::Unknown,
    }
}
