//! What windows hold: for each key of each window what happened in it, by event time.
//!
//! In: the sightings on the chain's records. Out: what a ruling sees. A window of a key ends at the
//! latest it knows of and begins `within` before that; what is older when it comes is late.
//! INVARIANT (INV-4): what is dropped while it could still count leaves a mark, and from then on a
//! count is a lower bound, never a smaller number.

mod forgotten;
mod marks;
mod track;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::case::{Id, Look, Millis, Reading, Sighting, Spans, WindowId};
use forgotten::Forgotten;
use track::Track;

/// A window moves by this part of its length: it holds what happened `within`, and up to one step
/// more.
pub const STEPS: i64 = 60;
/// So does the time of a baseline.
pub const BASELINE_STEPS: i64 = 32;

/// Keys of one window. LIMIT, at snapshots: beyond it those that were quiet for longest go.
const KEYS_MAX: usize = 8192;
/// Steps and distinct values of all keys of all windows, of some 32 bytes. LIMIT, at snapshots:
/// with it a snapshot's record stays far below what a topic takes.
const CELLS_MAX: usize = 65_536;
/// What a key costs beside its cells.
const CELLS_OF_KEY: usize = 5;
/// LIMIT: an alert that is received this long after others is taken to be alone.
const LAG_MS: i64 = 30 * 86_400_000;

/// All windows of one chain.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Windows {
    all: BTreeMap<WindowId, Window>,
    /// When the newest alert was received: nothing is thrown away by a clock that runs ahead of
    /// the alerts.
    received_at: Option<i64>,
    /// Up to when there were alerts that a window which is not there was perhaps never shown.
    unseen: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Window {
    spans: Spans,
    forgotten: Forgotten,
    keys: BTreeMap<Id, Track>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    all: Vec<(WindowId, Window)>,
    received_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    unseen: Option<i64>,
}

impl Windows {
    /// What a ruling sees, the alert at hand included, and what that adds to the windows.
    pub fn look(&self, looks: Vec<Look>) -> (Vec<Reading>, Vec<Sighting>) {
        let (mut readings, mut sightings) = (Vec::new(), Vec::new());
        for Look { window, is_read, sighting } in looks {
            let Some(mut sighting) = sighting else {
                readings.extend(is_read.then_some(Reading { window, seen: None }));
                continue;
            };
            let known = self.all.get(&window);
            let track = known.and_then(|known| known.keys.get(&sighting.key));
            sighting.late |= track.is_some_and(|track| track.is_over(sighting.at, &sighting.spans));
            if is_read {
                let forgotten = known.map_or(self.unseen(), |known| known.forgotten);
                let fresh = || Cow::Owned(Track::new(forgotten));
                let mut track = track.map_or_else(fresh, Cow::Borrowed);
                if sighting.adds() && !sighting.late {
                    track.to_mut().add(&sighting);
                }
                let seen = Some(track.glimpse(sighting.at, &sighting.spans));
                readings.push(Reading { window, seen });
            }
            if sighting.adds() {
                sightings.push(sighting);
            }
        }
        (readings, sightings)
    }

    fn unseen(&self) -> Forgotten {
        Forgotten { counted: self.unseen, then: self.unseen }
    }

    /// Other windows are looked into from now on: what came before was not shown to those that are
    /// new, nor perhaps to those that had nothing since the last change.
    pub(super) fn change(&mut self, at: Millis) {
        let before = self.unseen;
        self.miss(at, |latest| before.is_some_and(|before| latest.0 <= before));
    }

    /// Alerts are gone that nothing has counted.
    pub(super) fn lose(&mut self, at: Millis) {
        self.miss(at, |_| true);
    }

    /// Of the windows by the latest that they know of.
    fn miss(&mut self, at: Millis, has_missed: impl Fn(Millis) -> bool) {
        self.unseen = self.unseen.max(Some(at.0));
        let unseen = self.unseen();
        for window in self.all.values_mut() {
            let latest = window.keys.values().map(Track::latest).max();
            if has_missed(latest.unwrap_or_default()) {
                window.forgotten.rise(unseen);
                window.keys.values_mut().for_each(|track| track.miss(unseen));
            }
        }
    }

    pub fn add(&mut self, sightings: &[Sighting]) {
        let unseen = self.unseen();
        for sighting in sightings {
            self.received_at = self.received_at.max(Some(sighting.received_at.0));
            if sighting.late {
                continue;
            }
            let window = self.all.entry(sighting.window).or_insert_with(|| Window {
                spans: sighting.spans.clone(),
                forgotten: unseen,
                keys: BTreeMap::new(),
            });
            let forgotten = window.forgotten;
            let known = window.keys.get_mut(&sighting.key);
            match known {
                Some(track) => track.add(sighting),
                None => {
                    let mut track = Track::new(forgotten);
                    track.add(sighting);
                    window.keys.insert(sighting.key.clone(), track);
                }
            }
        }
    }

    /// Drops what no window reaches any more, and what is too much: how many keys of that.
    pub(super) fn prune(&mut self) -> usize {
        let Some(received_at) = self.received_at.map(Millis) else { return 0 };
        for Window { spans, forgotten, keys } in self.all.values_mut() {
            let kept_ms = spans.kept_ms();
            keys.retain(|_, track| {
                let is_kept = received_at.since(track.latest()) <= kept_ms;
                if !is_kept {
                    forgotten.add(track);
                }
                is_kept
            });
            forgotten.end(received_at, kept_ms.saturating_add(LAG_MS));
        }
        let dropped = self.shed();
        self.all.retain(|_, window| {
            !window.keys.is_empty() || window.forgotten != Forgotten::default()
        });
        dropped
    }

    /// Keys go, those first of which nothing was counted, then those that were quiet for longest.
    fn shed(&mut self) -> usize {
        let cells = |track: &Track| CELLS_OF_KEY + track.cells();
        let mut total: usize = self.tracks().map(|(.., track)| cells(track)).sum();
        if total <= CELLS_MAX && self.all.values().all(|window| window.keys.len() <= KEYS_MAX) {
            return 0;
        }
        let mut dropped = 0;
        let mut order: Vec<(bool, Millis, WindowId, Id)> = self
            .tracks()
            .map(|(id, key, track)| (track.counted.is_some(), track.latest(), id, key.clone()))
            .collect();
        order.sort_unstable();
        for (_, _, id, key) in order {
            let Some(window) = self.all.get_mut(&id) else { continue };
            if total <= CELLS_MAX && window.keys.len() <= KEYS_MAX {
                continue;
            }
            if let Some(track) = window.keys.remove(&key) {
                total -= cells(&track);
                window.forgotten.add(&track);
                dropped += 1;
            }
        }
        dropped
    }

    /// Keys of all windows.
    pub fn keys(&self) -> usize {
        self.all.values().map(|window| window.keys.len()).sum()
    }

    fn tracks(&self) -> impl Iterator<Item = (WindowId, &Id, &Track)> {
        let windows = self.all.iter();
        windows.flat_map(|(id, window)| window.keys.iter().map(|(key, track)| (*id, key, track)))
    }

    pub(super) fn written(&self) -> Written {
        let all = self.all.iter().map(|(id, window)| (*id, window.clone())).collect();
        Written { all, received_at: self.received_at, unseen: self.unseen }
    }

    pub(super) fn restore(written: Written) -> Self {
        let Written { all, received_at, unseen } = written;
        Self { all: all.into_iter().collect(), received_at, unseen }
    }
}

impl Spans {
    /// How long after it was received something may still count in what a ruling sees.
    fn kept_ms(&self) -> i64 {
        let reach = self.baseline_ms.map_or(0, |over_ms| over_ms + over_ms / BASELINE_STEPS + 1);
        self.within_ms.saturating_mul(2).saturating_add(self.lateness_ms).saturating_add(reach)
    }

    /// By how much the window moves.
    fn step_ms(&self) -> i64 {
        step_of(self.within_ms, STEPS)
    }

    /// Where the window begins that ends here.
    fn start(&self, end: Millis) -> Millis {
        let step = self.step_ms();
        Millis(end.plus(-self.within_ms).0.div_euclid(step).saturating_mul(step))
    }
}

fn step_of(length_ms: i64, steps: i64) -> i64 {
    length_ms.saturating_add(steps - 1).div_euclid(steps).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Baseline, Count, Glimpse, Mark};

    const WINDOW: WindowId = WindowId(1);
    const SECOND: i64 = 1000;
    const MINUTE: i64 = 60 * SECOND;
    const WITHIN: i64 = 15 * MINUTE;
    const DAY: i64 = 86_400_000;
    /// At the beginning of a step.
    const T: i64 = 1_000 * DAY;

    fn spans() -> Spans {
        Spans {
            within_ms: WITHIN,
            lateness_ms: 5 * MINUTE,
            distinct: 1,
            then_ms: vec![10 * MINUTE],
            baseline_ms: Some(7 * DAY),
        }
    }

    fn sighting(key: &str, at: i64) -> Sighting {
        Sighting {
            window: WINDOW,
            key: key.to_owned(),
            at: Millis(at),
            received_at: Millis(at),
            counts: true,
            then: vec![false],
            distinct: vec![None],
            late: false,
            spans: spans(),
        }
    }

    fn success(key: &str, at: i64) -> Sighting {
        Sighting { counts: false, then: vec![true], ..sighting(key, at) }
    }

    fn source(key: &str, at: i64, mark: u64) -> Sighting {
        Sighting { distinct: vec![Some(Mark(mark))], ..sighting(key, at) }
    }

    /// What is seen at it, and whether it is late; counted then.
    fn next(windows: &mut Windows, sighting: Sighting) -> (Glimpse, bool) {
        let look = Look { window: sighting.window, is_read: true, sighting: Some(sighting) };
        let (readings, sightings) = windows.look(vec![look]);
        windows.add(&sightings);
        let is_late = sightings.iter().any(|sighting| sighting.late);
        (readings[0].seen.clone().expect("a key"), is_late)
    }

    fn at_least(count: i64) -> Count {
        Count::AtLeast { at_least: count }
    }

    #[test]
    fn an_alert_counts_in_its_own_window_and_leaves_it_after_its_length() {
        let mut windows = Windows::default();
        for n in 0..15 {
            let (seen, _) = next(&mut windows, sighting("a", T + n * MINUTE));
            assert_eq!(seen.count, Count::Exactly(n + 1));
        }
        let (seen, _) = next(&mut windows, sighting("a", T + WITHIN));
        assert_eq!((seen.count, seen.first), (Count::Exactly(16), Some(Millis(T))));
        let (seen, _) = next(&mut windows, sighting("a", T + WITHIN + 15 * SECOND));
        assert_eq!((seen.count, seen.first), (Count::Exactly(16), Some(Millis(T + MINUTE))));
        assert_eq!(seen.last, Some(Millis(T + WITHIN + 15 * SECOND)));
    }

    #[test]
    fn a_late_event_is_on_record_and_not_counted() {
        let mut windows = Windows::default();
        next(&mut windows, sighting("a", T));
        let (seen, is_late) = next(&mut windows, sighting("a", T - WITHIN));
        assert_eq!((seen.count, is_late), (Count::Exactly(2), false), "out of order, and in time");
        let (seen, is_late) = next(&mut windows, sighting("a", T - WITHIN - 1));
        assert_eq!((seen.count, is_late), (Count::Exactly(2), true), "in front of the window");
        let told = Sighting { late: true, ..sighting("b", T) };
        let (seen, is_late) = next(&mut windows, told);
        assert_eq!((seen.count, is_late), (Count::Exactly(0), true), "too late when received");
    }

    #[test]
    fn a_missing_key_never_groups() {
        let windows = Windows::default();
        let look = |is_read| vec![Look { window: WINDOW, is_read, sighting: None }];
        let (readings, sightings) = windows.look(look(true));
        assert_eq!(readings, [Reading { window: WINDOW, seen: None }]);
        assert_eq!(sightings, []);
        assert_eq!(windows.look(look(false)), (vec![], vec![]));
    }

    #[test]
    fn a_sequence_is_told_in_the_order_of_events_though_it_arrives_out_of_it() {
        let orders = [[0, 1], [1, 0]];
        for order in orders {
            let then = |after: i64| {
                let mut windows = Windows::default();
                let both = [sighting("a", T), success("a", T + after)];
                for place in order {
                    next(&mut windows, both[place].clone());
                }
                let read = Sighting { counts: false, ..sighting("a", T + after.max(0)) };
                next(&mut windows, read).0.then[0]
            };
            assert_eq!(then(1), Some(true), "within one step");
            assert_eq!(then(MINUTE), Some(true));
            assert_eq!(then(10 * MINUTE), Some(true));
            assert_eq!(then(10 * MINUTE + 1), Some(false), "too long after");
            assert_eq!(then(0), Some(false), "at once is not after");
            assert_eq!(then(-1), Some(false), "before, in one step or two");
            assert_eq!(then(-MINUTE), Some(false));
        }
    }

    #[test]
    fn distinct_values_are_told_apart_as_long_as_they_are_in_the_window() {
        let mut windows = Windows::default();
        next(&mut windows, source("a", T, 1));
        next(&mut windows, source("a", T + MINUTE, 1));
        let (seen, _) = next(&mut windows, source("a", T + 2 * MINUTE, 2));
        assert_eq!(seen.distinct, [Count::Exactly(2)]);
        let (seen, _) = next(&mut windows, sighting("a", T + WITHIN + 2 * MINUTE));
        assert_eq!(seen.distinct, [Count::Exactly(1)]);
    }

    #[test]
    fn a_saturated_count_of_values_is_a_lower_bound_until_they_have_left_the_window() {
        let mut windows = Windows::default();
        let max = i64::try_from(marks::DISTINCT_MAX).unwrap();
        for n in 0..max + 2 {
            let at = T + SECOND * (n / 2);
            let (seen, _) = next(&mut windows, source("a", at, n.unsigned_abs()));
            let expected = if n < max { Count::Exactly(n + 1) } else { at_least(64) };
            assert_eq!(seen.distinct, [expected]);
        }
        next(&mut windows, sighting("a", T + 33 * SECOND));
        let read = |at| Sighting { counts: false, ..sighting("a", at) };
        let (seen, _) = next(&mut windows, read(T + WITHIN));
        assert_eq!(seen.distinct, [at_least(64)], "what was dropped is still in the window");
        let (seen, _) = next(&mut windows, read(T + WITHIN + 15 * SECOND));
        assert_eq!(seen.distinct, [Count::Exactly(36)]);
        let (seen, _) = next(&mut windows, sighting("a", T + WITHIN + 30 * SECOND));
        assert_eq!(seen.distinct, [Count::Exactly(6)]);
    }

    #[test]
    fn a_baseline_is_absent_until_the_key_was_seen_for_so_long() {
        let mut windows = Windows::default();
        let hour = 60 * MINUTE;
        for n in 0..7 * 24 {
            let (seen, _) = next(&mut windows, sighting("a", T + n * hour));
            assert_eq!(seen.baseline, None, "hour {n}");
        }
        let (seen, _) = next(&mut windows, sighting("a", T + 8 * DAY));
        let past = Baseline { events: Some(149), within_ms: WITHIN, over_ms: 7 * DAY };
        assert_eq!(seen.baseline, Some(past), "from the first step on, the last day without any");
    }

    /// What a window was never shown, nobody knows.
    #[test]
    fn a_new_window_and_one_that_missed_alerts_count_from_below() {
        let other = |at| Sighting { window: WindowId(2), ..sighting("a", at) };
        let mut windows = Windows::default();
        next(&mut windows, sighting("a", T));
        windows.change(Millis(T + MINUTE));
        let (seen, _) = next(&mut windows, sighting("a", T + 2 * MINUTE));
        assert_eq!(seen.count, Count::Exactly(2), "this one was there before");
        let (seen, _) = next(&mut windows, other(T + 2 * MINUTE));
        assert_eq!((seen.count, &*seen.then), (at_least(1), &[None][..]), "and this one was not");
        assert_eq!(Windows::restore(windows.written()), windows);
        let (seen, _) = next(&mut windows, other(T + WITHIN + 2 * MINUTE));
        assert_eq!(seen.count, Count::Exactly(2));

        // Two policies later the first of them may have been left out for a while.
        windows.change(Millis(T + 3 * MINUTE));
        windows.change(Millis(T + WITHIN + 3 * MINUTE));
        let (seen, _) = next(&mut windows, sighting("a", T + WITHIN + 4 * MINUTE));
        assert_eq!(seen.count, at_least(1));
        let (seen, _) = next(&mut windows, other(T + WITHIN + 4 * MINUTE));
        assert_eq!(seen.count, Count::Exactly(2));

        let lost = T + 2 * WITHIN;
        windows.lose(Millis(lost));
        for sighting in [other(lost + 1), sighting("new", lost + 1)] {
            let (seen, _) = next(&mut windows, sighting.clone());
            assert!(matches!(seen.count, Count::AtLeast { .. }), "{sighting:?}");
            let (seen, _) =
                next(&mut windows, Sighting { at: Millis(lost + 2 * WITHIN), ..sighting });
            assert!(matches!(seen.count, Count::Exactly(_)));
        }
    }

    #[test]
    fn eviction_makes_lower_bounds_and_never_smaller_numbers() {
        let mut windows = Windows::default();
        next(&mut windows, success("first", T));
        next(&mut windows, sighting("second", T));
        next(&mut windows, sighting("third", T + SECOND));
        for n in 0..KEYS_MAX - 1 {
            next(&mut windows, sighting(&format!("key {n}"), T + MINUTE));
        }
        assert_eq!(windows.prune(), 2);
        let keys = &windows.all[&WINDOW].keys;
        assert_eq!(keys.len(), KEYS_MAX);
        assert!(!keys.contains_key("first"), "of which nothing was counted");
        assert!(!keys.contains_key("second") && keys.contains_key("third"), "the oldest");
        let (seen, _) = next(&mut windows, sighting("second", T + MINUTE));
        assert_eq!((seen.count, &*seen.distinct), (at_least(1), &[at_least(0)][..]));
        assert_eq!((&*seen.then, seen.baseline.unwrap().events), (&[None][..], None));
        let (seen, _) = next(&mut windows, success("second", T + 2 * MINUTE));
        assert_eq!(seen.then, [Some(true)], "which nothing that is forgotten undoes");
        let (seen, _) = next(&mut windows, sighting("third", T + 2 * MINUTE));
        assert_eq!((seen.count, &*seen.then), (Count::Exactly(2), &[Some(false)][..]), "kept");
        let (seen, _) = next(&mut windows, sighting("new", T + WITHIN + MINUTE));
        assert_eq!(seen.count, Count::Exactly(1), "what was forgotten is out of its window");
    }

    #[test]
    fn what_an_idle_key_had_is_not_missed_by_what_comes_much_later() {
        let mut windows = Windows::default();
        next(&mut windows, sighting("a", T));
        next(&mut windows, sighting("b", T + 8 * DAY));
        windows.prune();
        assert_eq!(windows.all[&WINDOW].keys.len(), 1);
        let (seen, _) = next(&mut windows, sighting("a", T + 8 * DAY));
        assert_eq!((seen.count, seen.baseline), (Count::Exactly(1), None));
        let (seen, _) = next(&mut windows, sighting("a", T + MINUTE));
        assert_eq!(seen.count, Count::Exactly(1), "late");
        let (seen, _) = next(&mut windows, sighting("c", T + MINUTE));
        assert_eq!(seen.count, at_least(1), "received a week after the others");
    }

    #[test]
    fn restored_windows_are_equal_and_bounded() {
        let mut windows = Windows::default();
        for n in 0..12_000_i64 {
            let key = format!("key {}", n % 3000);
            next(&mut windows, source(&key, T + n * SECOND, n.unsigned_abs()));
            next(&mut windows, success(&key, T + n * SECOND + 1));
        }
        windows.prune();
        let cells: usize = windows.tracks().map(|(.., track)| CELLS_OF_KEY + track.cells()).sum();
        assert!(cells <= CELLS_MAX);
        let text = serde_json::to_string(&windows.written()).unwrap();
        assert!(text.len() < 3_000_000, "{}", text.len());
        let mut restored = Windows::restore(serde_json::from_str(&text).unwrap());
        assert_eq!(restored, windows);
        restored.prune();
        assert_eq!(restored, windows, "what is pruned once more is pruned no further");
    }
}
