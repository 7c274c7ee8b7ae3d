//! Without unknown or absent values a condition means what it means in CEL.

use std::collections::HashMap;

use proptest::test_runner::TestRunner;
use tipstaff::case::{Alert, Tri, Value};
use tipstaff::clause::Scope;

use crate::choices::{Choices, choices, config};
use crate::expressions::{FIELDS, NAMES, Tree, domain, tree};
use crate::support::{NOW, REGISTRY, Rows, VAULT, absent, clause, known};

/// One alert and facts with these values, by the index of [`NAMES`].
pub fn situation(values: &[Value<'static>]) -> (Alert<'static>, Rows) {
    let mut alert = Alert::default();
    for (field, value) in FIELDS.iter().zip(values) {
        alert.set(*field, value.clone());
    }
    let registry = known(REGISTRY, [values[4].clone(), values[5].clone()]);
    let vault = known(VAULT, [Value::Absent, values[6].clone()]);
    (alert, vec![registry, absent(1), vault])
}

pub fn eval(text: &str, values: &[Value<'static>]) -> Tri {
    let (alert, facts) = situation(values);
    let compiled = clause(text).unwrap_or_else(|problems| panic!("{text}: {problems:?}"));
    let scope = Scope { alert: &alert, facts: &facts, counters: None, now: NOW, max_age_ms: &[] };
    compiled.eval(&scope)
}

fn to_cel(value: &Value<'_>) -> cel::Value {
    match value {
        Value::Text(text) => text.to_string().into(),
        Value::Int(value) => (*value).into(),
        Value::Bool(value) => (*value).into(),
        Value::Time(time) => {
            cel::Value::Timestamp(chrono::DateTime::from_timestamp_millis(time.0).unwrap().into())
        }
        other => panic!("CEL has no {other:?}"),
    }
}

fn ask_cel(text: &str, values: &[Value<'static>]) -> bool {
    let mut groups: HashMap<&str, HashMap<String, cel::Value>> = HashMap::new();
    let mut context = cel::Context::default();
    context.add_variable_from_value("now", to_cel(&Value::Time(NOW)));
    for (path, value) in NAMES.iter().zip(values) {
        match path.split_once('.') {
            Some((group, name)) => {
                groups.entry(group).or_default().insert(name.to_owned(), to_cel(value));
            }
            None => context.add_variable_from_value(*path, to_cel(value)),
        }
    }
    for (group, fields) in groups {
        context.add_variable_from_value(group, fields);
    }
    let program = cel::Program::compile(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    match program.execute(&context) {
        Ok(cel::Value::Bool(value)) => value,
        other => panic!("{text}: {other:?}"),
    }
}

fn agrees(tree: &Tree, values: &[Value<'static>]) {
    let ours = tree.write(false);
    // CEL's has() is about members of a message; a bare variable is always there.
    let theirs = tree.write(true).replace("has(observed_at)", "true");
    assert_eq!(eval(&ours, values), Tri::of(ask_cel(&theirs, values)), "{ours}\n{values:?}");
}

#[test]
fn conditions_mean_what_cel_says() {
    let mut runner = TestRunner::new(config(1500));
    let outcome = runner.run(&choices(80), |bytes| {
        let mut choices = Choices::new(bytes);
        let values: Vec<Value<'static>> =
            (0..NAMES.len()).map(|name| choices.one(&domain(name)).clone()).collect();
        agrees(&tree(&mut choices, 4), &values);
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn precedence_is_cels() {
    let values: Vec<Value<'static>> =
        (0..NAMES.len()).map(|name| domain(name)[0].clone()).collect();
    for text in [
        "registry.fixture || registry.fixture && !registry.fixture",
        "!registry.fixture || registry.fixture",
        "!registry.fixture == false",
        "!has(nhi.id) || event.count < 0 && registry.count == -1",
        "event.count in [1, -1] && nhi.id in ['valid']",
        "nhi.id == 'v\\u0061lid' || nhi.id == r'v\\d'",
    ] {
        let ours = clause(text).map(|_| eval(text, &values));
        match ours {
            Ok(ours) => assert_eq!(ours, Tri::of(ask_cel(text, &values)), "{text}"),
            Err(problems) => assert!(text.contains("== false"), "{problems:?}"),
        }
    }
}
