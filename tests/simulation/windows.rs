//! Windows against a slow and simple model of the rules: a list of all that happened.

use std::collections::BTreeSet;

use proptest::prelude::*;
use tipstaff::audit::{Actor, Engine, Folded, Hash, Kind, PolicyRef, Raw, Record, SnapshotRef};
use tipstaff::case::{Baseline, Count, Glimpse, Look, Mark, Millis, Sighting, Spans, WindowId};
use tipstaff::correlate::State;

const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;
const DAY: i64 = 86_400_000;
const WITHIN: i64 = 10 * MINUTE + 1;
const LATENESS: i64 = 2 * MINUTE;
const SOON: i64 = 4 * MINUTE;
const OVER: i64 = 60 * MINUTE;
const T: i64 = 20_000 * DAY;

#[derive(Debug, Clone)]
struct Event {
    key: usize,
    /// Received so long after the one before.
    after: i64,
    /// Happened so long before it was received.
    delay: i64,
    counts: bool,
    then: bool,
    mark: Option<u64>,
    /// A snapshot behind it.
    snapshot: bool,
}

fn event(after_max: i64) -> impl Strategy<Value = Event> {
    let delay = prop_oneof![4 => 0..5 * SECOND, 3 => 0..WITHIN + 2 * LATENESS];
    let after = prop_oneof![8 => 0..30 * SECOND, 1 => 0..after_max];
    (0..3_usize, after, delay, any::<bool>(), any::<bool>(), prop::option::of(0..90_u64), 0..8)
        .prop_map(|(key, after, delay, counts, then, mark, snapshot)| Event {
            key,
            after,
            delay,
            counts,
            then,
            mark,
            snapshot: snapshot == 0,
        })
}

fn spans() -> Spans {
    Spans {
        within_ms: WITHIN,
        lateness_ms: LATENESS,
        distinct: 1,
        then_ms: vec![SOON],
        baseline_ms: Some(OVER),
    }
}

fn sighting(event: &Event, received_at: i64) -> Sighting {
    let at = received_at - event.delay;
    Sighting {
        window: WindowId(7),
        key: format!("key {}", event.key),
        at: Millis(at.max(received_at - WITHIN - LATENESS)),
        received_at: Millis(received_at),
        counts: event.counts,
        then: vec![event.then],
        distinct: vec![event.mark.map(Mark)],
        late: at < received_at - WITHIN - LATENESS,
        spans: spans(),
    }
}

/// All that was ever counted.
#[derive(Default)]
struct Model(Vec<Sighting>);

impl Model {
    fn of<'m>(&'m self, key: &'m str) -> impl Iterator<Item = &'m Sighting> + Clone {
        self.0.iter().filter(move |each| each.key == key)
    }

    fn start(end: i64) -> i64 {
        let step = (WITHIN + 59) / 60;
        (end - WITHIN).div_euclid(step) * step
    }

    /// What is to be seen at it, and whether it is late; counted then.
    fn next(&mut self, mut sighting: Sighting) -> (Glimpse, bool) {
        let latest = self.of(&sighting.key).map(|each| each.at.0).max();
        sighting.late |= latest.is_some_and(|latest| sighting.at.0 < Self::start(latest));
        let end = latest.map_or(sighting.at.0, |latest| latest.max(sighting.at.0));
        if (sighting.counts || sighting.then[0]) && !sighting.late {
            self.0.push(sighting.clone());
        }
        (self.glimpse(&sighting.key, Self::start(end), end), sighting.late)
    }

    fn glimpse(&self, key: &str, start: i64, end: i64) -> Glimpse {
        let inside = self.of(key).filter(|each| each.at.0 >= start && each.at.0 <= end);
        let counted = inside.clone().filter(|each| each.counts);
        let marks: BTreeSet<Mark> = counted.clone().filter_map(|each| each.distinct[0]).collect();
        let distinct = i64::try_from(marks.len()).unwrap();
        let follows = |first: &Sighting| {
            inside.clone().filter(|each| each.then[0]).any(|each| {
                let after = each.at.0 - first.at.0;
                after > 0 && after <= SOON
            })
        };
        let step = (OVER + 31) / 32;
        let last = start.div_euclid(step) * step;
        let first = last - 32 * step;
        let since = self.of(key).map(|each| each.at.0).min();
        let past = self.of(key).filter(|each| each.counts && (first..last).contains(&each.at.0));
        let past = i64::try_from(past.count()).unwrap();
        Glimpse {
            from: Millis(start),
            to: Millis(end),
            count: Count::Exactly(i64::try_from(counted.clone().count()).unwrap()),
            first: counted.clone().map(|each| each.at).min(),
            last: counted.clone().map(|each| each.at).max(),
            distinct: vec![if distinct > 64 {
                Count::AtLeast { at_least: 64 }
            } else {
                Count::Exactly(distinct)
            }],
            then: vec![Some(counted.clone().any(follows))],
            baseline: since.filter(|since| *since <= first).map(|_| Baseline {
                events: Some(past),
                within_ms: WITHIN,
                over_ms: OVER,
            }),
        }
    }
}

fn look(sighting: Sighting) -> Vec<Look> {
    vec![Look { window: WindowId(7), is_read: true, sighting: Some(sighting) }]
}

fn record<'r>(kind: Kind) -> Record<'r> {
    let engine = Engine { version: "1".into(), build: "test".into() };
    let actor = Actor { service: "tipstaff".into(), instance: "test".into() };
    Record::new(kind, Millis(T), engine, actor)
}

/// INV-4: exactly so many, or no more than there are.
fn is_sound(seen: Count, truth: Count) -> bool {
    match (seen, truth) {
        (Count::Exactly(seen), Count::Exactly(truth)) => seen == truth,
        (
            Count::AtLeast { at_least: seen },
            Count::Exactly(truth) | Count::AtLeast { at_least: truth },
        ) => seen <= truth,
        (Count::Exactly(_), Count::AtLeast { .. }) => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn windows_see_what_a_list_of_all_events_says(
        events in prop::collection::vec(event(8 * MINUTE), 1..200),
    ) {
        let (mut state, mut model, mut received_at) = (State::default(), Model::default(), T);
        for event in &events {
            received_at += event.after;
            let sighting = sighting(event, received_at);
            let (readings, sightings) = state.windows().look(look(sighting.clone()));
            state.see(&sightings);
            let (expected, late) = model.next(sighting);
            prop_assert_eq!(readings[0].seen.as_ref(), Some(&expected));
            prop_assert!(sightings.iter().all(|each| each.late == late));
        }
    }

    /// With what is dropped at snapshots, and received from topics of which one lags behind.
    #[test]
    fn what_snapshots_drop_leaves_lower_bounds_and_a_fold_that_is_equal_from_anywhere(
        events in prop::collection::vec(event(3 * 60 * MINUTE), 1..120),
        lag in 0..6 * 60 * MINUTE,
    ) {
        let (mut genesis, mut received_at) = (State::default(), T);
        let (mut tail, mut model) = (genesis.clone(), Model::default());
        for event in &events {
            received_at += event.after;
            let lag = if event.key == 2 { lag } else { 0 };
            let sighting = sighting(event, received_at - lag);
            let key = sighting.key.clone();
            let (readings, sightings) = genesis.windows().look(look(sighting));
            prop_assert_eq!(&readings, &tail.windows().look(look(self::sighting(event, received_at - lag))).0);
            model.0.extend(sightings.iter().filter(|each| !each.late).cloned());
            let ruling = Record { windows: sightings, ..record(Kind::Ruling) };
            genesis.apply(&ruling, Hash::NONE);
            tail.apply(&ruling, Hash::NONE);
            let seen = readings[0].seen.clone().unwrap();
            let truth = model.glimpse(&key, seen.from.0, seen.to.0);
            prop_assert!(is_sound(seen.count, truth.count), "{:?} {:?}", seen, truth);
            prop_assert!(is_sound(seen.distinct[0], truth.distinct[0]), "{:?} {:?}", seen, truth);
            prop_assert!(seen.then[0].is_none_or(|then| Some(then) == truth.then[0]), "{:?} {:?}", seen, truth);
            if event.snapshot {
                let text = genesis.snapshot(Millis(T)).remove(0);
                let json = serde_json::from_str(&text).unwrap();
                let snapshot = SnapshotRef { digest: Hash::NONE, state: Raw(json), part: 0, rest: 0 };
                let snapshot = Record { snapshot: Some(snapshot), ..record(Kind::Snapshot) };
                genesis.apply(&snapshot, Hash::NONE);
                tail = State::restore(&[&text]).unwrap();
                prop_assert_eq!(&tail, &genesis);
            }
        }
        prop_assert_eq!(tail, genesis);
    }
}

fn sees(state: &mut State, window: u64, (key, at): (&str, i64), received_at: i64) -> Count {
    let (window, key) = (WindowId(window), key.to_owned());
    let (at, received_at) = (Millis(at), Millis(received_at));
    let event = Event {
        key: 0,
        after: 0,
        delay: 0,
        counts: true,
        then: false,
        mark: None,
        snapshot: false,
    };
    let sighting = Sighting { window, key, at, received_at, ..sighting(&event, 0) };
    let (readings, sightings) =
        state.windows().look(vec![Look { window, is_read: true, sighting: Some(sighting) }]);
    state.see(&sightings);
    readings[0].seen.as_ref().unwrap().count
}

/// Until the last alert is received that may still find it in its baseline, however late that is.
#[test]
fn a_key_is_kept_as_long_as_it_may_count() {
    let kept = 2 * WITHIN + LATENESS + OVER + OVER / 32 + 1;
    for (after, keys) in [(kept, 2), (kept + 1, 1)] {
        let mut state = State::default();
        sees(&mut state, 7, ("a", T), T);
        sees(&mut state, 7, ("b", T + after), T + after);
        state.snapshot(Millis(T));
        assert_eq!(state.sizes(), [("cases", 0), ("silences", 0), ("window_keys", keys)]);
    }
}

/// A window without a key left still knows that it had some, until nothing asks for that time.
#[test]
fn what_an_empty_window_had_is_not_counted_as_nothing() {
    for (after, expected) in [(DAY, Count::AtLeast { at_least: 1 }), (32 * DAY, Count::Exactly(1))]
    {
        let mut state = State::default();
        sees(&mut state, 7, ("a", T), T);
        sees(&mut state, 8, ("b", T + after), T + after);
        state.snapshot(Millis(T));
        assert_eq!(sees(&mut state, 7, ("c", T + MINUTE), T + after), expected, "{after}");
    }
}

/// So many keys, each with so many values, as they are left by a snapshot and told in it.
fn kept(keys: u64, values: u64) -> (usize, String) {
    let spans = Spans {
        within_ms: WITHIN,
        lateness_ms: 0,
        distinct: 1,
        then_ms: vec![],
        baseline_ms: None,
    };
    let sighting = |(key, value): (u64, u64)| Sighting {
        window: WindowId(7),
        key: format!("key {key}"),
        at: Millis(T),
        received_at: Millis(T),
        counts: true,
        then: vec![],
        distinct: vec![(value > 0).then_some(Mark(value))],
        late: false,
        spans: spans.clone(),
    };
    let mut state = State::default();
    for key in 0..keys {
        state.see(&(0..=values).map(|value| sighting((key, value))).collect::<Vec<_>>());
    }
    let text = state.snapshot(Millis(T)).concat();
    let dropped = text.split("\"names\":0,\"keys\":").nth(1).unwrap();
    (state.sizes()[2].1, dropped.split('}').next().unwrap().to_owned())
}

#[test]
fn keys_go_where_there_are_too_many_of_them_or_of_what_they_hold() {
    assert_eq!(kept(8192, 0), (8192, "0".to_owned()));
    assert_eq!(kept(8193, 0), (8192, "1".to_owned()));
    // Of 71 cells each.
    assert_eq!(kept(923, 64), (923, "0".to_owned()));
    assert_eq!(kept(1000, 64), (923, "77".to_owned()));
}

#[test]
fn a_policy_that_is_another_shows_windows_what_they_were_not_shown() {
    for (hash, expected) in [("p", Count::Exactly(1)), ("q", Count::AtLeast { at_least: 1 })] {
        let mut state = State::default();
        for (at, hash) in [(T, "p"), (T + 1, hash)] {
            let policy = PolicyRef { hash: hash.into(), generation: 1, signers: vec![] };
            let record = Record { policy: Some(policy), at: Millis(at), ..record(Kind::Policy) };
            state.apply(&record, Hash::NONE);
        }
        assert_eq!(sees(&mut state, 7, ("a", T + 2), T + 2), expected, "{hash}");
    }
}
