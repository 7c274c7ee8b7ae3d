use std::collections::HashMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use tracing::{error, warn};

use super::lane::{Case, Lane};
use super::outbox::Outbox;
use super::triage::{Triage, look_up};
use crate::case::{Again, Alert, Arrival, Body, Facts, Millis, Why};
use crate::correlate::Waiting;
use crate::decide::unknown;
use crate::ingest::{Doubt, LogReader};
use crate::policy::Policy;

/// Answers that come together are worth one look.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// What failed is asked for again; how often the source really is asked is for its cache to say.
const ASK_EVERY: Duration = Duration::from_secs(15);
/// Of one lane at a time: bounds what a look costs the batch behind it.
const LOOK_AT_MOST: usize = 256;
/// When one fact is there and another is not, one revision waits this long for both.
const TOGETHER_MS: i64 = 10_000;
/// Messages between two that are wanted that are read over rather than sought past.
const READ_OVER: i64 = 2000;

/// When what waits was looked at last.
pub(super) struct Visits {
    looked: Instant,
    asked: Instant,
    changes: u64,
    sweeps: HashMap<i32, Sweep>,
}

/// One look at all that waits in a partition, in several turns.
#[derive(Default)]
struct Sweep {
    /// The number of the first ruling that was looked at last.
    cursor: u64,
    left: usize,
}

impl Default for Visits {
    fn default() -> Self {
        let now = Instant::now();
        Self { looked: now, asked: now, changes: 0, sweeps: HashMap::new() }
    }
}

impl Visits {
    /// `Some(true)` when every fact may have changed, `Some(false)` when only time has passed.
    fn turn(&mut self, changes: u64) -> Option<bool> {
        if self.looked.elapsed() < LOOK_EVERY {
            return None;
        }
        self.looked = Instant::now();
        let has_changed = changes != self.changes || self.asked.elapsed() >= ASK_EVERY;
        if has_changed {
            (self.changes, self.asked) = (changes, self.looked);
        }
        Some(has_changed)
    }
}

impl Triage {
    /// Rules again what waits and has its facts now, or was held or suppressed as long as may be,
    /// and tells of what nobody acknowledged. True: there is something to commit.
    pub(super) fn revisit(&mut self, log: &LogReader, out: &mut Outbox<'_>) -> bool {
        let now = (self.clock)();
        let mut wrote = false;
        let mut partitions: Vec<i32> = self.lanes.keys().copied().collect();
        partitions.sort_unstable();
        let turn = self.visits.turn(self.enrichers.changes());
        for partition in partitions {
            // Whatever the time: a flood of holds or suppressions is as long as it is fast.
            wrote |= self.end_surplus(partition, now, out);
            let Some(open) = self.lanes.get(&partition) else { continue };
            if turn.is_some() || open.lane.state().silences().surplus() > 0 {
                wrote |= self.end_silences(partition, now, log, out);
            }
            let Some(has_changed) = turn else { continue };
            let Some(open) = self.lanes.get_mut(&partition) else { continue };
            wrote |= open.lane.end_exceptions(&self.terms, (now, &mut *out));
            wrote |= open.lane.tell_overdue(&self.terms, now, out);
            let sweep = self.visits.sweeps.entry(partition).or_default();
            if has_changed {
                sweep.left = open.lane.waits().len();
            }
            let chosen = chosen(&open.lane, now, sweep);
            if !chosen.is_empty() {
                wrote |= self.look_again(partition, (&chosen, false), now, out);
            }
        }
        wrote
    }

    fn end_surplus(&mut self, partition: i32, now: Millis, out: &mut Outbox<'_>) -> bool {
        let surplus = self.lanes.get(&partition).map(|open| open.lane.surplus());
        let surplus = surplus.unwrap_or_default();
        !surplus.is_empty() && self.look_again(partition, (&surplus, true), now, out)
    }

    /// Of a partition that another worker may have from now on.
    pub(super) fn forget_lanes(&self) {
        for (partition, open) in &self.lanes {
            for state in ["held", "routed"] {
                let labels = [partition.to_string(), state.to_owned()];
                // It is not there when nothing was committed yet.
                self.metrics.waiting.remove_label_values(&labels.each_ref().map(|l| &**l)).ok();
            }
            // Nor is this, before the control topic was asked for.
            self.metrics.memory.stopped.remove_label_values(&[&*partition.to_string()]).ok();
            for (what, _) in open.lane.state().sizes() {
                self.metrics
                    .memory
                    .entries
                    .remove_label_values(&[&*partition.to_string(), what])
                    .ok();
            }
        }
    }

    pub(super) fn tell_lanes(&self) {
        for (partition, open) in &self.lanes {
            let (waits, partition) = (open.lane.waits(), partition.to_string());
            let (all, held) = (waits.len(), waits.held());
            for (state, count) in [("held", held), ("routed", all - held)] {
                let gauge = self.metrics.waiting.with_label_values(&[&*partition, state]);
                gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
            }
            for (what, count) in open.lane.state().sizes() {
                let gauge = self.metrics.memory.entries.with_label_values(&[&*partition, what]);
                gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
            }
        }
    }

    fn look_again(
        &mut self,
        partition: i32,
        (chosen, end_all): (&[Waiting], bool),
        now: Millis,
        out: &mut Outbox<'_>,
    ) -> bool {
        let Some(open) = self.lanes.get_mut(&partition) else { return false };
        let texts: Vec<Option<Box<[u8]>>> =
            chosen.iter().map(|each| open.lane.text(&each.alert_id).map(Into::into)).collect();
        let mut cases: Vec<Case<'_>> = chosen
            .iter()
            .zip(&texts)
            .map(|(waiting, text)| {
                let arrival = text.as_deref().and_then(Arrival::parse);
                let (offset, bytes) = (waiting.offset, [].as_slice());
                Case { offset, received_at: now, bytes, arrival, facts: Vec::new() }
            })
            .collect();
        // What is not there at once starts on its way and is found at a later look.
        look_up(&self.terms, &self.enrichers, &mut cases, Instant::now());
        let mut wrote = false;
        for (waiting, case) in chosen.iter().zip(&cases) {
            let Some(Arrival { body: Body::Alert(alert), .. }) = &case.arrival else {
                error!(partition, alert = %waiting.alert_id, "an alert that waits is gone from its topic: its case stays as it is");
                open.lane.give_up(&self.terms, waiting, "alert_gone", (now, out));
                wrote = true;
                continue;
            };
            let is_over = end_all || is_over(waiting, now);
            let known = (self.terms.policy(), &**alert, &*case.facts);
            let Some((why, changed)) = cause(known, waiting, now, is_over) else { continue };
            let before = waiting.before();
            match open.lane.revise(&self.terms, before, case, (why, &changed), (now, out)) {
                Some(ruled) => self.counted.revisions.push((why, ruled)),
                None => open.lane.give_up(&self.terms, waiting, "rule_failed", (now, out)),
            }
            wrote = true;
        }
        wrote
    }
}

fn is_over(waiting: &Waiting, now: Millis) -> bool {
    let standing = &waiting.standing;
    standing.is_held && (standing.released.is_some() || standing.due.is_some_and(|due| due <= now))
}

/// What of a lane to look at: holds that are over, and what may have its facts now, in turns.
fn chosen(lane: &Lane, now: Millis, sweep: &mut Sweep) -> Vec<Waiting> {
    let waits = lane.waits();
    let over = waits.iter().filter(|each| is_over(each, now));
    let mut chosen: Vec<Waiting> = over.take(LOOK_AT_MOST).cloned().collect();
    let (start, turn) = (sweep.cursor, sweep.left.min(LOOK_AT_MOST));
    sweep.left -= turn;
    let (behind, ahead): (Vec<&Waiting>, Vec<&Waiting>) = waits
        .iter()
        .filter(|each| !each.facts.is_empty())
        .partition(|each| each.cause.seq <= start);
    for waiting in ahead.into_iter().chain(behind).take(turn) {
        if chosen.iter().all(|each| each.alert_id != waiting.alert_id) {
            chosen.push(waiting.clone());
        }
        sweep.cursor = waiting.cause.seq;
    }
    chosen
}

/// Why to rule again, and which facts have changed; nothing when it is not time yet.
fn cause<'w>(
    (policy, alert, facts): (&Policy, &Alert<'_>, &Facts),
    waiting: &'w Waiting,
    now: Millis,
    is_over: bool,
) -> Option<(Again, Vec<&'w str>)> {
    let shapes = &policy.schema().enrichers;
    let ages = policy.ages(alert);
    let is_answered = |enricher: &str| {
        let index = shapes.iter().position(|shape| *shape.name == *enricher);
        let row = index.and_then(|index| facts.get(index)?.as_ref().map(|row| (index, row)));
        row.is_none_or(|(index, row)| {
            unknown(row, ages.get(index).copied().flatten(), now).is_none()
        })
    };
    let (answered, open): (Vec<_>, Vec<_>) =
        waiting.facts.iter().partition(|(enricher, _)| is_answered(enricher));
    let changed: Vec<&str> = answered.iter().map(|(enricher, _)| enricher.as_str()).collect();
    if is_over {
        let is_released = waiting.standing.released.is_some();
        let why = if is_released { Again::Released } else { Again::HoldOver };
        return Some((why, changed));
    }
    let is_time = open.is_empty() || now.since(waiting.ruled_at) >= TOGETHER_MS;
    if changed.is_empty() || !is_time {
        return None;
    }
    let were_late = answered.iter().all(|(_, why)| *why == Why::Timeout);
    Some((if were_late { Again::LateFact } else { Again::Repaired }, changed))
}

/// After a recovery: the messages of the alerts that wait, from the topic they came by.
pub(super) fn read_waiting(
    lane: &mut Lane,
    log: &LogReader,
    alerts: &str,
    partition: i32,
) -> Result<(), Doubt> {
    let wanted: Vec<i64> = lane.waits().iter().map(|waiting| waiting.offset).collect();
    read_at(log, alerts, partition, wanted, |offset, value| match Arrival::parse(value) {
        Some(arrival) => lane.keep_text(arrival.alert_id, value),
        None => warn!(partition, offset, "an alert that waits cannot be read"),
    })
}

/// Messages at these offsets, of which some may be gone.
pub(super) fn read_at(
    log: &LogReader,
    topic: &str,
    partition: i32,
    mut wanted: Vec<i64>,
    mut each: impl FnMut(i64, &[u8]),
) -> Result<(), Doubt> {
    wanted.sort_unstable();
    let low = if wanted.is_empty() { 0 } else { log.low(topic, partition)? };
    for range in ranges(&wanted, low) {
        log.read(topic, partition, range, |message| {
            let is_wanted = wanted.binary_search(&message.offset).is_ok();
            if let Some(value) = message.value.filter(|_| is_wanted) {
                each(message.offset, value);
            }
        })?;
    }
    Ok(())
}

/// Few stretches that hold all of `wanted` that is still there.
fn ranges(wanted: &[i64], low: i64) -> Vec<Range<i64>> {
    let mut ranges: Vec<Range<i64>> = Vec::new();
    for offset in wanted.iter().copied().filter(|offset| *offset >= low) {
        match ranges.last_mut() {
            Some(last) if offset - last.end <= READ_OVER => last.end = offset + 1,
            _ => ranges.push(offset..offset + 1),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::audit::{Chain, Kind, Record};
    use crate::case::{Field, Origin, Value};
    use crate::config::{Files, load};
    use crate::correlate::State;
    use crate::enrich::Enrichers;
    use crate::ingest::{Brokers, Settings};
    use crate::observe::{Metrics, Traces};
    use crate::pipeline::triage::{Expected, Open};
    use crate::pipeline::{Active, Batch, Identity, Stage, Terms, Topics};
    use crate::text::Source;

    const PLAYBOOK: &str = "playbook: p\ntitle: t\nowner: p\nmode: live\n\
        on: {kind: exposed_key}\nrules:\n  \
        - {id: doubtful, when: ['severity == \"low\"'], \
        hold: {queue: q, priority: low, for: 1d}}\n  \
        - {id: known, when: ['severity == \"informational\"'], on_unknown: next, \
        suppress: {reason: test_fixture, evidence: [severity], expires: 1d, \
        on_expiry: release_summary}}\n  \
        - {id: rest, route: {queue: q, priority: low}}\n";
    const BOUNDARY: &str = "boundary: b\nowner: o\ndefault_queue: {queue: q, priority: low}\n\
        suppress: {max_expires: 1d}\n";

    /// One that has one lane and asks nobody.
    fn triage() -> Triage {
        let mut files = Files::default();
        for (path, text) in [("playbooks/p.yaml", PLAYBOOK), ("playbooks/boundary.yaml", BOUNDARY)]
        {
            files.insert(path, Source::new(path, text), None);
        }
        let terms = Terms {
            active: Active::unsigned(&load(&files).unwrap().policy, 1),
            topics: Topics::new("t", 1),
            identity: Identity { instance: "test".to_owned() },
            findings: false,
        };
        let expected = Expected {
            cluster: "c".to_owned(),
            topics: BTreeMap::new(),
            partitions: 1,
            fingerprint_key: "k".to_owned(),
        };
        let mut triage = Triage::new(
            terms,
            (Arc::new(Enrichers::with([])), Duration::from_millis(1)),
            expected,
            Arc::new(|| Millis(1_767_225_600_000)),
            (Metrics::new().unwrap(), Traces::default()),
        );
        let lane = Lane::new(0, Chain::new("chain", None), State::default());
        triage.lanes.insert(0, Open { lane, again: Vec::new(), pending: Vec::new() });
        triage
    }

    fn line(offset: i64, severity: &'static str) -> Vec<u8> {
        let mut alert = Alert::default();
        for (field, value) in [(Field::Kind, "exposed_key"), (Field::Severity, severity)] {
            alert.set(field, Value::Text(value.into()));
        }
        let origin = Origin {
            topic: "d".into(),
            incarnation: "i".into(),
            partition: 0,
            offset,
            index: 0,
            of: 1,
            sha256: "".into(),
        };
        let arrival = Arrival {
            alert_id: origin.alert_id(),
            correlation_id: "c".into(),
            origin,
            pipeline: "p".into(),
            body: Body::Alert(Box::new(alert)),
        };
        serde_json::to_vec(&arrival).unwrap()
    }

    /// What an idle worker writes, which can't ask any broker: the kinds of its records.
    fn idle(triage: &mut Triage) -> Vec<Kind> {
        let properties = BTreeMap::from([("bootstrap.servers".to_owned(), "none:1".to_owned())]);
        let log =
            LogReader::connect(&Settings::new(&Brokers { properties }).unwrap(), "g").unwrap();
        let mut sent = Vec::new();
        triage.process(&Batch { messages: &[] }, &log, &mut Outbox::memory(&mut sent));
        let records = sent.iter().filter(|sent| sent.topic == "t.decisions");
        let records = records.filter_map(|sent| Record::parse(sent.value.as_deref()?));
        records.map(|record| record.kind).collect()
    }

    /// What is left of so many, and the kinds of the records that end the others.
    fn after_a_flood(
        severity: &'static str,
        alerts: i64,
        left: impl Fn(&Lane) -> usize,
    ) -> (usize, Vec<Kind>) {
        let (mut triage, mut sent) = (triage(), Vec::new());
        let (mut out, now) = (Outbox::memory(&mut sent), (triage.clock)());
        let Open { lane, .. } = triage.lanes.get_mut(&0).unwrap();
        for offset in 0..alerts {
            let line = line(offset, severity);
            let (arrival, facts) = (Arrival::parse(&line), Vec::new());
            let case = Case { offset, received_at: now, bytes: &line, arrival, facts };
            lane.rule(&triage.terms, &case, now, &mut out);
        }
        assert_eq!(i64::try_from(left(lane)), Ok(alerts));
        // Whatever the time.
        triage.visits = Visits::default();
        let kinds = idle(&mut triage);
        (left(&triage.lanes[&0].lane), kinds)
    }

    #[test]
    fn what_there_is_no_room_for_ends_with_the_next_batch() {
        let held = after_a_flood("low", 1027, |lane| lane.waits().held());
        assert_eq!(held, (1024, vec![Kind::Revision; 3]));
        let suppressed = |lane: &Lane| lane.state().silences().len();
        let silences = after_a_flood("informational", 4118, suppressed);
        assert_eq!(silences, (4096, vec![Kind::Timer; 22]));
    }

    #[test]
    fn few_stretches_hold_all_that_is_wanted_and_still_there() {
        assert_eq!(ranges(&[], 0), []);
        assert_eq!(ranges(&[1, 5, 6, 3000], 5), [5..7, 3000..3001]);
        assert_eq!(ranges(&[5, 1000, 9000], 0), [5..1001, 9000..9001]);
    }
}
