//! INV-4: what automation does with something unknown, it would do however that turned out.

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use tipstaff::case::{Escalate, Ruling};

use crate::choices::{Choices, choices, config};
use crate::generated::{boundaries, completed, has_unknown, playbook, situation};
use crate::support::{Situation, policy};

const POLICIES: usize = 700;
const COMPLETIONS: usize = 25;

/// What is done, apart from which of two equal rules asked for it.
fn effect(fate: &Ruling<'_>) -> String {
    match fate {
        Ruling::Escalate(Escalate {
            action,
            target,
            rollback,
            queue,
            priority,
            expires_at,
            ..
        }) => {
            format!("{action} {target} {rollback} {queue} {priority:?} {expires_at}")
        }
        other => format!("{other:?}"),
    }
}

#[test]
fn what_is_unknown_never_helps_automation() {
    let (mut suppressed, mut escalated) = (0, 0);
    let mut runner = TestRunner::new(config(1));
    let bytes = choices(200);
    // More than planned where chance gave too few that the property speaks of.
    for round in 0..POLICIES * 20 {
        if round >= POLICIES && suppressed > 5 && escalated > 5 {
            break;
        }
        let mut choices = Choices::new(bytes.new_tree(&mut runner).unwrap().current());
        let situation = situation(&mut choices);
        let (playbook, layers) = (playbook(&mut choices), boundaries(&mut choices));
        let layers: Vec<&str> = layers.iter().map(String::as_str).collect();
        let policy = policy(&[&playbook], &layers).unwrap_or_else(|p| panic!("{p:?}\n{playbook}"));
        let fate = situation.decide(&policy).decision.fate;
        match fate {
            _ if !has_unknown(&situation.facts) => continue,
            Ruling::Suppress(_) => suppressed += 1,
            Ruling::Escalate(_) => escalated += 1,
            Ruling::Route(_) | Ruling::Hold(_) | Ruling::DeadLetter(_) => continue,
        }
        for _ in 0..COMPLETIONS {
            let mut more = Choices::new(bytes.new_tree(&mut runner).unwrap().current());
            let turned_out = Situation {
                arrival: situation.arrival.clone(),
                facts: completed(&situation.facts, &mut more),
                counters: situation.counters.clone(),
            };
            let then = turned_out.decide(&policy).decision.fate;
            assert_eq!(
                effect(&fate),
                effect(&then),
                "{playbook}\n{layers:#?}\n{:?}\nand then\n{:?}",
                situation.facts,
                turned_out.facts
            );
        }
    }
    assert!(suppressed > 5 && escalated > 5, "too few: {suppressed} and {escalated}");
}
