//! Without unknown or absent values a condition means what it means in CEL.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use proptest::test_runner::TestRunner;
use tipstaff::case::{Alert, Tri, Value};
use tipstaff::clause::Scope;

use crate::choices::{Choices, choices, config};
use crate::expressions::{FIELDS, NAMES, Tree, domain, tree};
use crate::support::{NOW, REGISTRY, Rows, THREAT, VAULT, absent, clause, known, known_all};

/// One alert and facts with these values, by the index of [`NAMES`].
pub fn situation(values: &[Value<'static>]) -> (Alert<'static>, Rows) {
    let mut alert = Alert::default();
    for (field, value) in FIELDS.iter().zip(values) {
        alert.set(*field, value.clone());
    }
    let registry = known(REGISTRY, [values[4].clone(), values[5].clone()]);
    let all = vec![Value::Absent, values[6].clone(), values[7].clone()];
    let vault = known_all(VAULT, all);
    let threat = known(THREAT, [values[8].clone(), values[9].clone()]);
    (alert, vec![registry, absent(1), vault, threat])
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
        Value::Duration(ms) => cel::Value::Duration(chrono::Duration::milliseconds(*ms)),
        Value::Decimal(value) => cel::Value::Float(value.to_string().parse().unwrap()),
        Value::List(items) => {
            let items: Vec<cel::Value> = items.iter().map(|item| item.to_string().into()).collect();
            items.into()
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
    let mut runner = TestRunner::new(config(3000));
    let kinds = RefCell::new(BTreeMap::new());
    let outcome = runner.run(&choices(100), |bytes| {
        let mut choices = Choices::new(bytes);
        let values: Vec<Value<'static>> =
            (0..NAMES.len()).map(|name| choices.one(&domain(name)).clone()).collect();
        let tree = tree(&mut choices, 4);
        agrees(&tree, &values);
        tree.kinds(&mut kinds.borrow_mut());
        Ok(())
    });
    outcome.unwrap();
    let kinds = kinds.into_inner();
    assert!(kinds.len() == 9 && kinds.values().all(|count| *count > 50), "{kinds:?}");
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
        "now - observed_at + duration(\"1h\") >= threat.every - duration(\"1h\") - duration(\"1h\")",
        "observed_at + duration('90m') - duration('30m') > now && now-observed_at<duration('1s')",
        "!(size(vault.roles) > 0) || 'valid' in vault.roles && has(nhi.id)",
        "event.count < 7.5 && event.count > -1.5 || threat.score == 0",
        "vault.roles.exists(r, !r.startsWith('va') && r != 'x' || r == \"aab\" && !(r in ['b']))",
        "(nhi.id).startsWith('va') && threat.score in [0.5, -0.5]",
    ] {
        let ours = clause(text).map(|_| eval(text, &values));
        match ours {
            Ok(ours) => assert_eq!(ours, Tri::of(ask_cel(text, &values)), "{text}"),
            Err(problems) => assert!(text.contains("== false"), "{problems:?}"),
        }
    }
}
