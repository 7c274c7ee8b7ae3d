//! A condition that is true or false with unknown values stays so whatever they turn out to be.

use proptest::test_runner::TestRunner;
use tipstaff::case::{Tri, Value, Why};

use crate::choices::{Choices, choices, config};
use crate::expressions::{NAMES, domain, tree};
use crate::oracle::eval;

fn some_value(choices: &mut Choices, name: usize) -> Value<'static> {
    match choices.below(4) {
        0 => Value::Absent,
        1 => Value::Unknown(Why::Timeout),
        _ => choices.one(&domain(name)).clone(),
    }
}

/// Every way to replace the unknown values among `names`, absence included.
fn completions(values: &[Value<'static>], names: &[usize]) -> Vec<Vec<Value<'static>>> {
    let mut all = vec![values.to_vec()];
    for name in names.iter().copied().filter(|name| matches!(values[*name], Value::Unknown(_))) {
        let mut choices = domain(name);
        choices.push(Value::Absent);
        let extend = |values: &Vec<Value<'static>>| {
            let replaced = choices.iter().map(|value| {
                let mut values = values.clone();
                values[name] = value.clone();
                values
            });
            replaced.collect::<Vec<_>>()
        };
        all = all.iter().flat_map(extend).collect();
    }
    all
}

#[test]
fn unknown_values_never_decide_a_condition() {
    let mut decided = 0;
    let mut runner = TestRunner::new(config(600));
    let bytes = choices(60);
    for _ in 0..600 {
        let bytes = proptest::strategy::Strategy::new_tree(&bytes, &mut runner).unwrap();
        let mut choices = Choices::new(proptest::strategy::ValueTree::current(&bytes));
        let values: Vec<Value<'static>> =
            (0..NAMES.len()).map(|name| some_value(&mut choices, name)).collect();
        let tree = tree(&mut choices, 3);
        let words = tree.write(false);
        let verdict = eval(&words, &values);
        assert_eq!(verdict, tree.naive(&values, false), "{words}\n{values:?}");
        let mut names = Vec::new();
        tree.names(&mut names);
        let has_unknown = names.iter().any(|name| matches!(values[*name], Value::Unknown(_)));
        if verdict == Tri::Unknown || !has_unknown {
            continue;
        }
        decided += 1;
        for completed in completions(&values, &names).iter().take(200) {
            assert_eq!(eval(&words, completed), verdict, "{words}\n{values:?}\n{completed:?}");
        }
    }
    assert!(decided > 30, "only {decided} conditions were decided with something unknown");
}

/// Of one fact, which is nothing by itself but can be asked about.
#[test]
fn that_a_fact_is_unknown_can_be_asked_and_its_being_known_is_never_assumed() {
    let place = NAMES.iter().position(|name| *name == "registry.fixture").unwrap();
    let with = |value: Value<'static>| {
        let mut values = vec![Value::Absent; NAMES.len()];
        values[place] = value;
        values
    };
    let (yes, no, open) = (Tri::True, Tri::False, Tri::Unknown);
    let plain = ["unknown(registry.fixture)", "unknown(registry.fixture, 'stale')"];
    for (value, expected) in [
        (Value::Bool(true), [no, no, yes, yes]),
        (Value::Absent, [no, no, yes, yes]),
        (Value::Unknown(Why::Stale), [yes, yes, open, open]),
        (Value::Unknown(Why::Conflict), [yes, no, open, open]),
        (Value::Unknown(Why::NotRecorded), [open, open, open, open]),
    ] {
        let values = with(value);
        let texts =
            plain.map(str::to_owned).into_iter().chain(plain.map(|text| format!("!{text}")));
        let found: Vec<Tri> = texts.map(|text| eval(&text, &values)).collect();
        assert_eq!(found, expected, "{values:?}");
    }
    let stale = with(Value::Unknown(Why::Stale));
    let both = "unknown(registry.fixture, 'stale') && registry.fixture == true";
    assert_eq!(eval(both, &stale), open);
}
