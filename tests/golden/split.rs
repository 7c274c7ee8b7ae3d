//! INV-7: the records of a run do not depend on how it was cut into batches, on which thread ruled, or
//! on whether the state was kept or rebuilt out of the chain.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tipstaff::app::Loaded;
use tipstaff::audit::{
    Actor, Chain, Committed, Engine, Folded, Genesis, Kind, Link, Record, Resume, resume,
};
use tipstaff::case::{Arrival, Millis};
use tipstaff::correlate::State;
use tipstaff::normalize::{FingerprintKeys, Incoming, Pipelines};
use tipstaff::pipeline::{Active, Case, Identity, Lane, Outbox, Terms, Topics, look_up};

use super::{now, shipped};

const CHAIN: &str = "test/offline.decisions/0/0";

pub(super) fn terms(loaded: &Loaded) -> Terms {
    Terms {
        active: Active::unsigned(&loaded.checked.policy, 1),
        topics: Topics::new("offline", 1),
        identity: Identity { instance: "test".to_owned() },
        findings: false,
    }
}

/// Every shipped example three times over, as one partition of the alerts topic would hold them.
fn arrivals(
    pipelines: &Pipelines,
    loaded: &Loaded,
    keys: &FingerprintKeys,
) -> Vec<Arrival<'static>> {
    let mut all = Vec::new();
    for offset in 0..3 {
        for pipeline in pipelines.list() {
            let folder = format!("pipelines/{}/examples/", pipeline.name);
            for (at, (_, file)) in
                (0..).zip(loaded.files.iter().filter(|(path, _)| path.starts_with(&folder)))
            {
                let incoming = Incoming {
                    topic: &pipeline.topic,
                    incarnation: "i",
                    partition: at,
                    offset,
                    headers: &[],
                    value: Some(file.source.text.as_bytes()),
                    received_at: now(),
                };
                all.extend(pipelines.read(&incoming, None, keys));
            }
        }
    }
    // One alert a second time: its origin is known by then.
    all.extend(all.first().cloned());
    all
}

pub(super) fn genesis() -> (Chain, State, Vec<u8>) {
    let engine = Engine { version: "1".into(), build: "test".into() };
    let actor = Actor { service: "tipstaff".into(), instance: "test".into() };
    let mut first = Record {
        genesis: Some(Genesis {
            cluster: "test".into(),
            topics: BTreeMap::new(),
            partitions: 1,
            partition_function: "f".into(),
            fingerprint_key: "examples".into(),
            start: "earliest".into(),
        }),
        next_in: BTreeMap::from([("offline.alerts".into(), 0)]),
        ..Record::new(Kind::Genesis, Millis(0), engine, actor)
    };
    let (mut chain, mut state, mut line) = (Chain::new(CHAIN, None), State::default(), Vec::new());
    let appended = chain.append(&mut first, &mut line).unwrap();
    state.apply(&first, appended.hash);
    (chain, state, line)
}

/// Rules all arrivals, one second apart, in batches that end at `cuts`; with `rebuild` the lane is
/// thrown away after each batch and restored from the bytes that it wrote.
fn records(
    loaded: &Loaded,
    arrivals: &[Arrival<'static>],
    cuts: &[usize],
    rebuild: bool,
) -> Vec<Vec<u8>> {
    let terms = terms(loaded);
    let (chain, state, first) = genesis();
    let mut lane = Lane::new(0, chain, state);
    let mut written = vec![first];
    let mut ends: Vec<usize> = cuts.iter().copied().chain([arrivals.len()]).collect();
    ends.sort_unstable();
    let mut from = 0;
    for end in ends {
        let mut cases: Vec<Case<'_>> = (from..end)
            .map(|at| Case {
                bytes: &[],
                offset: i64::try_from(at).unwrap(),
                received_at: now(),
                arrival: Some(arrivals[at].clone()),
                facts: Vec::new(),
            })
            .collect();
        look_up(&terms, &loaded.enrichers, &mut cases, Instant::now() + Duration::from_secs(5));
        let mut sent = Vec::new();
        let mut out = Outbox::memory(&mut sent);
        for case in &cases {
            lane.rule(&terms, case, now().plus(case.offset * 1000), &mut out);
        }
        drop(out);
        let decisions = sent.into_iter().filter(|sent| sent.topic == terms.topics.decisions);
        written.extend(decisions.filter_map(|sent| sent.value));
        if rebuild {
            lane = restored(&written);
        }
        from = end;
    }
    written
}

fn restored(written: &[Vec<u8>]) -> Lane {
    let links: Vec<Link<'_>> =
        (0..).zip(written).map(|(offset, bytes)| Link { offset, bytes }).collect();
    match resume::<State>(CHAIN, &links, true, &Committed::default()) {
        Resume::Picked(picked) => Lane::new(0, Chain::new(CHAIN, Some(picked.head)), picked.state),
        other => panic!("{other:?}"),
    }
}

#[test]
fn records_do_not_depend_on_batches_threads_or_restarts() {
    let loaded = shipped();
    let keys = tipstaff::app::offline_keys().unwrap();
    let arrivals = Arc::new(arrivals(&loaded.checked.pipelines, loaded, &keys));
    let whole = Arc::new(records(loaded, &arrivals, &[], false));
    assert_eq!(whole.len(), arrivals.len() + 1);
    let last = Record::parse(whole.last().unwrap()).unwrap();
    assert_eq!(last.kind, Kind::Duplicate);
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let (arrivals, whole) = (Arc::clone(&arrivals), Arc::clone(&whole));
            std::thread::spawn(move || {
                let cuts = prop::collection::vec(0..arrivals.len(), 0..12);
                let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
                    cases: 8,
                    failure_persistence: None,
                    ..ProptestConfig::default()
                });
                let run = runner.run(&cuts, |cuts| {
                    let again = records(loaded, &arrivals, &cuts, thread % 2 == 0);
                    prop_assert!(again == *whole, "cut at {cuts:?}");
                    Ok(())
                });
                run.unwrap();
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}
