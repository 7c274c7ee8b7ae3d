use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::forgotten::Forgotten;
use super::marks::Marks;
use super::{BASELINE_STEPS, step_of};
use crate::case::{Baseline, Count, Glimpse, Millis, Sighting, Spans};

/// What one key had in one window, up to the latest it knows of.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Track {
    since: Option<i64>,
    latest: Option<i64>,
    /// When it last had what the window counts, and what may follow that.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub counted: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub then: Option<i64>,
    /// What there may have been before it was begun.
    forgotten: Forgotten,
    steps: VecDeque<Step>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    distinct: Vec<Marks>,
    /// What was counted, by step of the baseline.
    #[serde(skip_serializing_if = "VecDeque::is_empty", default)]
    past: VecDeque<(i64, i64)>,
}

/// One step of the window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Step {
    index: i64,
    #[serde(skip_serializing_if = "Run::is_none", default)]
    counted: Run,
    /// Of each `then`.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    then: Vec<Run>,
}

/// How many, the first of them and the last.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Run(i64, i64, i64);

impl Run {
    fn is_none(&self) -> bool {
        self.0 == 0
    }

    fn add(&mut self, at: i64) {
        let Self(count, first, last) = *self;
        *self = if count == 0 {
            Self(1, at, at)
        } else {
            Self(count.saturating_add(1), first.min(at), last.max(at))
        };
    }
}

impl Track {
    pub fn new(forgotten: Forgotten) -> Self {
        Self { forgotten, ..Self::default() }
    }

    /// There may have been more, up to then.
    pub fn miss(&mut self, unseen: Forgotten) {
        self.forgotten.rise(unseen);
    }

    pub fn latest(&self) -> Millis {
        Millis(self.latest.unwrap_or_default())
    }

    pub fn cells(&self) -> usize {
        let steps: usize = self.steps.iter().map(|step| 2 + step.then.len()).sum();
        let distinct: usize = self.distinct.iter().map(Marks::len).sum();
        steps + distinct + self.past.len()
    }

    /// Whether the window has moved past this time.
    pub fn is_over(&self, at: Millis, spans: &Spans) -> bool {
        self.latest.is_some_and(|latest| at < spans.start(Millis(latest)))
    }

    pub fn add(&mut self, sighting: &Sighting) {
        let (at, spans) = (sighting.at, &sighting.spans);
        self.since = Some(self.since.map_or(at.0, |since| since.min(at.0)));
        let latest = self.latest.max(Some(at.0)).map_or(at, Millis);
        self.latest = Some(latest.0);
        let start = spans.start(latest);
        self.drop_before(start, spans);
        self.add_to_step(sighting);
        if sighting.then.contains(&true) {
            self.then = self.then.max(Some(at.0));
        }
        if !sighting.counts {
            return;
        }
        self.counted = self.counted.max(Some(at.0));
        self.distinct.resize_with(sighting.distinct.len(), Marks::default);
        for (marks, mark) in self.distinct.iter_mut().zip(&sighting.distinct) {
            if let Some(mark) = mark {
                marks.add(*mark, at);
            }
        }
        self.add_to_past(at, spans);
    }

    fn add_to_past(&mut self, at: Millis, spans: &Spans) {
        if let Some(over_ms) = spans.baseline_ms {
            let index = at.0.div_euclid(step_of(over_ms, BASELINE_STEPS));
            match self.past.binary_search_by_key(&index, |(index, _)| *index) {
                Ok(place) => {
                    if let Some((_, count)) = self.past.get_mut(place) {
                        *count = count.saturating_add(1);
                    }
                }
                Err(place) => self.past.insert(place, (index, 1)),
            }
        }
    }

    fn add_to_step(&mut self, sighting: &Sighting) {
        let index = sighting.at.0.div_euclid(sighting.spans.step_ms());
        let place = match self.steps.binary_search_by_key(&index, |step| step.index) {
            Ok(place) => place,
            Err(place) => {
                let step = Step { index, counted: Run::default(), then: Vec::new() };
                self.steps.insert(place, step);
                place
            }
        };
        let Some(step) = self.steps.get_mut(place) else { return };
        if sighting.counts {
            step.counted.add(sighting.at.0);
        }
        if sighting.then.contains(&true) {
            step.then.resize(sighting.then.len(), Run::default());
            let runs = step.then.iter_mut().zip(&sighting.then);
            runs.filter(|(_, holds)| **holds).for_each(|(run, _)| run.add(sighting.at.0));
        }
    }

    /// No window that is still to come begins before this.
    fn drop_before(&mut self, start: Millis, spans: &Spans) {
        let index = start.0.div_euclid(spans.step_ms());
        while self.steps.front().is_some_and(|step| step.index < index) {
            self.steps.pop_front();
        }
        self.distinct.iter_mut().for_each(|marks| marks.drop_before(start));
        if let Some(over_ms) = spans.baseline_ms {
            let (first, _) = baseline_steps(start, over_ms);
            while self.past.front().is_some_and(|(index, _)| *index < first) {
                self.past.pop_front();
            }
        }
    }

    /// What a ruling sees on an alert of this time.
    pub fn glimpse(&self, at: Millis, spans: &Spans) -> Glimpse {
        let end = self.latest.map_or(at, |latest| at.max(Millis(latest)));
        let start = spans.start(end);
        let is_whole = self.forgotten.counted.is_none_or(|until| until < start.0);
        let knows_then = is_whole && self.forgotten.then.is_none_or(|until| until < start.0);
        let steps: Vec<&Step> =
            self.steps.iter().filter(|step| step.index * spans.step_ms() >= start.0).collect();
        let counted = || steps.iter().map(|step| step.counted).filter(|run| !run.is_none());
        let count = counted().fold(0_i64, |sum, run| sum.saturating_add(run.0));
        let then = spans.then_ms.iter().enumerate().map(|(place, within_ms)| {
            if is_followed(&steps, place, *within_ms) {
                Some(true)
            } else {
                knows_then.then_some(false)
            }
        });
        let nothing = Marks::default();
        Glimpse {
            from: start,
            to: end,
            count: if is_whole {
                Count::Exactly(count)
            } else {
                Count::AtLeast { at_least: count }
            },
            first: counted().map(|run| Millis(run.1)).min(),
            last: counted().map(|run| Millis(run.2)).max(),
            distinct: (0..spans.distinct)
                .map(|place| self.distinct.get(place).unwrap_or(&nothing).count(start, is_whole))
                .collect(),
            then: then.collect(),
            baseline: spans.baseline_ms.and_then(|over_ms| self.baseline(start, spans, over_ms)),
        }
    }

    /// Nothing until the key has been seen for so long.
    fn baseline(&self, start: Millis, spans: &Spans, over_ms: i64) -> Option<Baseline> {
        let (first, end) = baseline_steps(start, over_ms);
        let begin = first.saturating_mul(step_of(over_ms, BASELINE_STEPS));
        let Forgotten { counted, then } = self.forgotten;
        let is_whole = counted.max(then).is_none_or(|until| until < begin);
        if is_whole && self.since.is_none_or(|since| since > begin) {
            return None;
        }
        let past = self.past.iter().filter(|(index, _)| (first..end).contains(index));
        let events = past.fold(0_i64, |sum, (_, count)| sum.saturating_add(*count));
        let events = is_whole.then_some(events);
        Some(Baseline { events, within_ms: spans.within_ms, over_ms })
    }
}

/// The steps of the baseline in front of a window: whole ones, and none that the window begins in.
fn baseline_steps(start: Millis, over_ms: i64) -> (i64, i64) {
    let end = start.0.div_euclid(step_of(over_ms, BASELINE_STEPS));
    (end - BASELINE_STEPS, end)
}

/// Whether something counted has one of these after it, and soon enough.
fn is_followed(steps: &[&Step], place: usize, within_ms: i64) -> bool {
    let mut last: Option<i64> = None;
    for step in steps {
        let then = step.then.get(place).filter(|run| !run.is_none());
        if let Some(Run(_, first_then, last_then)) = then {
            let is_soon = last.is_some_and(|last| first_then.saturating_sub(last) <= within_ms);
            // A `then` waits for at least a step, so that two in one are always near enough.
            if is_soon || !step.counted.is_none() && step.counted.1 < *last_then {
                return true;
            }
        }
        if !step.counted.is_none() {
            last = Some(step.counted.2);
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Mark, WindowId};

    const MINUTE: i64 = 60_000;
    const WITHIN: i64 = 15 * MINUTE;
    const OVER: i64 = 32 * 60 * MINUTE;
    /// At the beginning of a step, of the window's and of the baseline's.
    const T: i64 = 1_000_000 * 60 * MINUTE;

    fn spans() -> Spans {
        Spans {
            within_ms: WITHIN,
            lateness_ms: 0,
            distinct: 1,
            then_ms: vec![MINUTE],
            baseline_ms: Some(OVER),
        }
    }

    fn sighting(at: i64) -> Sighting {
        Sighting {
            window: WindowId(1),
            key: "k".to_owned(),
            at: Millis(at),
            received_at: Millis(at),
            counts: true,
            then: vec![false],
            distinct: vec![Some(Mark(1))],
            late: false,
            spans: spans(),
        }
    }

    #[test]
    fn what_is_forgotten_counts_as_long_as_it_may_be_in_the_window() {
        for (until, is_out) in [(T - 1, true), (T, false), (T + 1, false)] {
            let seen = |counted, then| {
                let track = Track::new(Forgotten { counted, then });
                track.glimpse(Millis(T + WITHIN), &spans())
            };
            let counted = seen(Some(until), None);
            assert_eq!(counted.count == Count::Exactly(0), is_out, "{until}");
            assert_eq!(counted.then, [is_out.then_some(false)], "{until}");
            let then = seen(None, Some(until));
            assert_eq!(
                (then.count, &*then.then),
                (Count::Exactly(0), &[is_out.then_some(false)][..])
            );
        }
    }

    #[test]
    fn a_baseline_is_told_from_the_first_moment_on_and_its_number_where_nothing_is_forgotten() {
        let events = |since, forgotten| {
            let forgotten = Forgotten { counted: forgotten, then: None };
            let mut track = Track::new(forgotten);
            track.add(&sighting(since));
            let seen = track.glimpse(Millis(T + OVER + WITHIN), &spans());
            seen.baseline.map(|baseline| baseline.events)
        };
        assert_eq!(events(T, None), Some(Some(1)));
        assert_eq!(events(T + 1, None), None, "not seen for so long");
        assert_eq!(events(T + 1, Some(T - 1)), None);
        assert_eq!(events(T + 1, Some(T)), Some(None), "perhaps it was");
    }

    #[test]
    fn a_key_takes_as_much_room_as_it_has_steps_and_values() {
        let mut track = Track::default();
        track.add(&sighting(T));
        assert_eq!(track.cells(), 2 + 1 + 1, "a step, a value, a step of the baseline");
        track.add(&Sighting { then: vec![true], distinct: vec![Some(Mark(2))], ..sighting(T) });
        track.add(&Sighting { distinct: vec![Some(Mark(3))], ..sighting(T + MINUTE) });
        assert_eq!(track.cells(), 2 * 2 + 1 + 3 + 1);
        track.add(&sighting(T + 2 * OVER));
        assert_eq!(track.cells(), 2 + 1 + 1, "what is over takes none");
    }
}
