//! The chain under tears, without a broker: a log, a committed offset, and a seeded adversary between
//! them. Whatever it does, picking the chain up again must lose nothing, double nothing, and leave a
//! chain that verifies; whatever an editor does to the bytes, verifying must say so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

mod cases;
mod chain_model;
mod forged;
mod outputs;
mod paths;
mod resumed;
mod told;
mod used;
mod windows;

use std::collections::BTreeMap;

use chain_model::{Model, Outcome};
use proptest::prelude::*;

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        6 => Just(Outcome::Committed),
        2 => (0_usize..6).prop_map(Outcome::TornCommit),
        2 => Just(Outcome::TornAbort),
        2 => Just(Outcome::Aborted),
        1 => Just(Outcome::GroupExpired),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// INV-1, INV-2, INV-8: one ruling each, in order, on a chain that verifies, after any tears.
    #[test]
    fn tears_lose_nothing_and_double_nothing(
        steps in prop::collection::vec((1_usize..6, outcome()), 1..25),
        window in 1_usize..20,
    ) {
        let mut model = Model::new(window);
        for (batch, outcome) in steps {
            model.step(batch, outcome);
        }
        model.settle();
        let report = model.verify();
        prop_assert!(report.is_sound(), "{:?}", report.findings);
        prop_assert!(model.inputs() == 0 || report.other.contains_key("revision"), "none revised");
        prop_assert_eq!(model.ruled(), (0..model.inputs()).collect::<Vec<_>>());
        prop_assert_eq!(model.missing(), Vec::<i64>::new());
    }

    /// The same for two input topics of one chain: each message of both has exactly one record, in
    /// order, whatever was torn.
    #[test]
    fn tears_lose_and_double_nothing_of_two_inputs(
        steps in prop::collection::vec((0_usize..5, 0_usize..4, outcome()), 1..25),
        window in 1_usize..20,
    ) {
        let mut model = Model::new(window);
        for (batch, orders, outcome) in steps {
            model.step_with(batch, orders, outcome);
        }
        model.settle();
        let report = model.verify();
        prop_assert!(report.is_sound(), "{:?}", report.findings);
        prop_assert_eq!(model.ruled(), (0..model.inputs()).collect::<Vec<_>>());
        prop_assert_eq!(model.missing(), Vec::<i64>::new());
        prop_assert_eq!(model.ordered(), (0..model.orders()).collect::<Vec<_>>());
    }

    /// INV-8: any edit, drop, swap, copy or cut in the middle is found, at or before the next record.
    #[test]
    fn edits_are_found(
        steps in prop::collection::vec((1_usize..6, outcome()), 3..12),
        at in any::<prop::sample::Index>(),
        byte in any::<prop::sample::Index>(),
        how in 0_usize..5,
    ) {
        let mut model = Model::new(8);
        for (batch, outcome) in steps {
            model.step(batch, outcome);
        }
        model.settle();
        prop_assume!(model.live().len() > 3);
        // The last record is left alone: a cut at the end needs an anchor outside the log to be seen.
        let live = model.live();
        let place = live[at.index(live.len() - 1)];
        let mut log: BTreeMap<i64, Vec<u8>> = model.log.clone();
        let next = live[live.iter().position(|p| *p == place).unwrap() + 1];
        match how {
            0 => { let bytes = log.get_mut(&place).unwrap(); let i = byte.index(bytes.len()); bytes[i] ^= 1; }
            1 => { log.remove(&place); }
            2 => { let (a, b) = (log[&place].clone(), log[&next].clone()); log.insert(place, b); log.insert(next, a); }
            3 => { let copy = log[&place].clone(); log.insert(model.end(), copy); }
            _ => { log.insert(place, b"{}".to_vec()); }
        }
        prop_assert!(!chain_model::verify(&log).is_sound());
    }
}

#[test]
fn a_head_that_an_abort_took_says_nothing_of_what_was_committed() {
    let mut model = Model::new(1);
    model.step_with(0, 1, Outcome::GroupExpired);
    model.step_with(1, 1, Outcome::TornAbort);
    model.step_with(0, 0, Outcome::TornAbort);
    model.step_with(0, 1, Outcome::TornCommit(2));
    model.settle();
    let report = model.verify();
    assert!(report.is_sound(), "{:?}", report.findings);
    assert_eq!(model.ruled(), (0..model.inputs()).collect::<Vec<_>>());
    assert_eq!(model.ordered(), (0..model.orders()).collect::<Vec<_>>());
}

/// The second head takes the number of the first, which an abort took; then a commit tears.
#[test]
fn what_a_torn_commit_keeps_behind_an_aborted_head_has_its_outputs() {
    for torn in [Outcome::TornCommit(5), Outcome::Aborted] {
        let mut model = Model::new(1);
        model.step(3, Outcome::Committed);
        model.step(1, Outcome::TornCommit(9));
        model.step(1, Outcome::TornAbort);
        model.step(2, torn);
        model.settle();
        assert_eq!(model.missing(), Vec::<i64>::new());
    }
}

#[test]
fn of_two_branches_the_committed_one_goes_on() {
    let mut model = Model::new(8);
    model.step(2, Outcome::Committed);
    model.step(3, Outcome::Zombie);
    model.step(1, Outcome::Committed);
    model.settle();
    let report = model.verify();
    assert!(report.is_sound(), "{:?}", report.findings);
    // A revision, three rulings and the two parts of a snapshot.
    assert_eq!(report.voided, 6);
    assert_eq!(model.ruled(), (0..model.inputs()).collect::<Vec<_>>());
}

/// INV-7: a ruling names the policy that its chain is under, and generations rise.
#[test]
fn a_ruling_under_another_policy_than_its_chain_s_is_found() {
    let found = |steps: &[(&'static str, Option<i64>)]| -> Vec<String> {
        chain_model::policies(steps).findings.iter().map(ToString::to_string).collect()
    };
    let whole =
        [("p", Some(1)), ("p", None), ("q", Some(2)), ("q", None), ("p", Some(3)), ("p", None)];
    assert_eq!(found(&whole), Vec::<String>::new());
    assert_eq!(
        found(&[("p", Some(1)), ("q", None), ("p", None)]),
        ["offset 2, record 2: ruled under policy q, and the chain is under p"]
    );
    assert_eq!(
        found(&[("p", Some(2)), ("q", Some(2)), ("q", None), ("p", Some(1))]),
        [
            "offset 2, record 2: a policy of generation 2 behind one of generation 2",
            "offset 4, record 4: a policy of generation 1 behind one of generation 2",
        ]
    );
}

#[test]
fn a_chain_without_genesis_is_never_continued() {
    use tipstaff::audit::{Committed, Resume, resume};
    use tipstaff::correlate::State;
    let offsets = BTreeMap::from([(chain_model::INPUT.to_owned(), 5)]);
    let committed = Committed { offsets, metadata: None };
    for committed in [committed, Committed::default()] {
        let picked = resume::<State>("c", &[], true, &committed);
        assert!(matches!(picked, Resume::Refuse(_)), "{picked:?}");
    }
}

#[test]
fn a_chain_of_another_name_is_never_continued() {
    use tipstaff::audit::{Committed, Resume, resume};
    use tipstaff::correlate::State;
    let model = Model::new(8);
    let tail = model.tail(0);
    let picked = resume::<State>("other", &tail, true, &Committed::default());
    assert!(matches!(picked, Resume::Refuse(_)), "{picked:?}");
}

/// The examples in `src/ARCHITECTURE.md` are what this version reads and writes.
#[test]
fn documented_records_are_records() {
    let page = include_str!("../../src/ARCHITECTURE.md");
    let mut kinds = Vec::new();
    for block in page.split("```json\n").skip(1) {
        let text = block.split("```").next().unwrap();
        let record = tipstaff::audit::Record::parse(text.as_bytes()).expect(text);
        let written: serde_json::Value = serde_json::to_value(&record).unwrap();
        assert_eq!(written, serde_json::from_str::<serde_json::Value>(text).unwrap());
        kinds.push(record.kind);
    }
    assert_eq!(kinds.len(), 15, "each kind once: {kinds:?}");
}
