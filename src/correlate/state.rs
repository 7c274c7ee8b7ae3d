use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::budgets::Budgets;
use super::cases::{Case, Cases, breadth, opened_by};
use super::control::Control;
use super::orders::{Orders, accepted};
use super::silences::{Silence, Silences};
use super::waiting::{Waiting, Waits};
use super::windows::{self, Windows};
use crate::audit::{Folded, Hash, Kind, Record};
use crate::case::{Alert, Counters, Decision, Grouping, Id, Millis, Sighting};

/// Alerts remembered for the duplicate check. LIMIT: the second line of defense, behind intake,
/// which leaves out what it finds on the alerts topic.
const RECENT_MAX: usize = 4096;

/// Records between two snapshots, or as many as there are cases.
const SNAPSHOT_EVERY: u64 = 8192;

/// The state of one chain.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct State {
    recent: VecDeque<Arc<str>>,
    recent_set: HashSet<Arc<str>>,
    cases: Cases,
    budgets: Budgets,
    waits: Waits,
    orders: Orders,
    control: Control,
    silences: Silences,
    windows: Windows,
    policy: Option<(String, i64)>,
    records_since_snapshot: u64,
}

/// Cases in one part of a snapshot: with all that is known of each, it stays below what a topic
/// takes.
const CASES_OF_PART: usize = 2048;
const VERSION: u32 = 3;

/// A part of the state as written: lists in a fixed order, so that equal states are equal bytes.
#[derive(Serialize)]
struct Written<'s> {
    v: u32,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    cases: &'s [&'s Case],
    #[serde(skip_serializing_if = "Option::is_none")]
    rest: Option<WrittenRest<'s>>,
}

/// All but the cases, in the last part.
#[derive(Serialize)]
struct WrittenRest<'s> {
    recent: Vec<&'s str>,
    budgets: &'s BTreeMap<Box<str>, (i64, i64)>,
    waiting: Vec<&'s Waiting>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    orders: &'s BTreeMap<String, Millis>,
    #[serde(skip_serializing_if = "Control::is_default")]
    control: &'s Control,
    silences: Vec<&'s Silence>,
    windows: windows::Written,
    policy: &'s Option<(String, i64)>,
    dropped: Dropped,
}

/// A part being read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    v: u32,
    #[serde(default)]
    cases: Vec<Case>,
    rest: Option<ReadRest>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadRest {
    recent: Vec<Id>,
    budgets: BTreeMap<Box<str>, (i64, i64)>,
    waiting: Vec<Waiting>,
    #[serde(default)]
    orders: BTreeMap<String, Millis>,
    #[serde(default)]
    control: Control,
    silences: Vec<Silence>,
    windows: windows::Written,
    policy: Option<(String, i64)>,
    #[serde(rename = "dropped")]
    _dropped: Dropped,
}

/// What there was no room for when a snapshot was made: on record with it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dropped {
    pub cases: usize,
    /// Cases that keep their numbers and lose the names behind them.
    pub names: usize,
    /// Keys of windows.
    pub keys: usize,
}

impl State {
    /// True when exactly this alert was ruled before, as far back as `RECENT_MAX` alerts.
    pub fn was_ruled(&self, alert_id: &str) -> bool {
        self.recent_set.contains(alert_id)
    }

    /// The alert's case and how often it was seen, the alert at hand included; an alert without a
    /// key is never counted with another (INV-11).
    pub fn counters(
        &self,
        alert_id: &str,
        alert: Option<&Alert<'_>>,
        group: Option<Grouping>,
        at: Millis,
    ) -> Counters {
        let known = group.as_ref().and_then(|group| self.cases.open(group, at));
        Counters {
            case_id: known.map_or_else(|| opened_by(alert_id), |case| case.id.to_string()),
            seen: known.map_or(0, |case| case.seen) + 1,
            first_seen: known.map_or(at, |case| case.first_seen),
            breadth: group.as_ref().and_then(|group| breadth(group.break_out?, known, alert?)),
            window_ms: group.as_ref().map_or(0, |group| group.window_ms),
            also: group.as_ref().and_then(|group| group.also.clone()),
            group: group.map(|group| group.id),
            suppressed: alert.map_or(0, |alert| self.budgets.spent(alert, at)),
            windows: Vec::new(),
            stopped: None,
        }
    }

    pub fn cases(&self) -> &Cases {
        &self.cases
    }

    /// Hash and generation of the policy that the chain is under.
    pub fn policy(&self) -> Option<(&str, i64)> {
        self.policy.as_ref().map(|(hash, generation)| (hash.as_str(), *generation))
    }

    /// Rulings that are made again when their facts are known or their time is over.
    pub fn waits(&self) -> &Waits {
        &self.waits
    }

    /// What people have ordered.
    pub fn orders(&self) -> &Orders {
        &self.orders
    }

    /// What people have ordered about everything.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// What is suppressed until its time is over.
    pub fn silences(&self) -> &Silences {
        &self.silences
    }

    pub fn windows(&self) -> &Windows {
        &self.windows
    }

    pub fn records_since_snapshot(&self) -> u64 {
        self.records_since_snapshot
    }

    /// INVARIANT: it bounds what a recovery reads, what snapshots add to what is written, and how
    /// many cases there are in front of one.
    pub fn is_snapshot_due(&self) -> bool {
        let records = self.records_since_snapshot;
        let is_worth_it = records >= self.cases.len() as u64 || self.cases.is_crowded();
        records >= SNAPSHOT_EVERY && is_worth_it
    }

    /// What it holds, by name.
    pub fn sizes(&self) -> [(&'static str, usize); 3] {
        let Self { cases, silences, windows, .. } = self;
        [("cases", cases.len()), ("silences", silences.len()), ("window_keys", windows.keys())]
    }

    fn remember(&mut self, alert_id: &str) {
        let alert_id: Arc<str> = alert_id.into();
        if self.recent_set.insert(Arc::clone(&alert_id)) {
            self.recent.push_back(alert_id);
        }
        while self.recent.len() > RECENT_MAX {
            if let Some(oldest) = self.recent.pop_front() {
                self.recent_set.remove(&oldest);
            }
        }
    }

    fn prune(&mut self, at: Millis) -> Dropped {
        self.waits.prune(at);
        let (cases, names) = self.cases.prune(at, &self.waits);
        self.budgets.prune(at);
        self.orders.prune(at);
        Dropped { cases, names, keys: self.windows.prune() }
    }

    /// What an alert that is ruled at this time leaves behind.
    pub fn count(&mut self, counters: &Counters, alert: Option<&Alert<'_>>, at: Millis) {
        self.cases.count(counters, alert, at);
    }

    /// What its ruling leaves behind.
    pub fn spend(&mut self, alert: &Alert<'_>, decision: &Decision<'_>, at: Millis) {
        self.budgets.spend(alert, decision, at);
    }

    /// What it adds to windows.
    pub fn see(&mut self, sightings: &[Sighting]) {
        self.windows.add(sightings);
    }
}

impl Folded for State {
    fn apply(&mut self, record: &Record<'_>, hash: Hash) {
        self.records_since_snapshot += 1;
        match record.kind {
            Kind::Ruling => {
                if let Some(alert_id) = &record.alert_id {
                    self.remember(alert_id);
                }
                // What has no key and nobody is told of, nothing comes back to but its silence.
                if let Some(counters) = &record.counters
                    && counters.group.is_some()
                {
                    self.count(counters, record.alert.as_deref(), record.at);
                }
                self.budgets.apply(record);
                self.waits.apply(record, hash);
                self.windows.add(&record.windows);
            }
            Kind::Revision => self.waits.apply(record, hash),
            Kind::Order => {
                let statement = accepted(record);
                if let Some(statement) = statement.filter(|it| it.subject.is_some()) {
                    self.waits.release(&statement, record.seq);
                    self.orders.take(&statement);
                }
            }
            Kind::Policy | Kind::Genesis => {
                if let Some(policy) = &record.policy {
                    self.policy = Some((policy.hash.to_string(), policy.generation));
                }
            }
            Kind::Snapshot => {
                if record.snapshot.as_ref().is_some_and(|snapshot| snapshot.part == 0) {
                    self.prune(record.at);
                }
                self.records_since_snapshot = 0;
            }
            Kind::Timer => self.waits.end(record),
            // These change nothing that triage remembers.
            Kind::Duplicate
            | Kind::Gap
            | Kind::Recovery
            | Kind::Void
            | Kind::Seal
            | Kind::Key
            | Kind::Heartbeat
            | Kind::Close => {}
        }
        self.control.apply(record);
        let silenced_by = self.silences.ended_by(record);
        self.silences.apply(record, hash);
        if let (Some(told), Some(counters)) = (&record.told, &record.counters)
            && self.cases.get(&told.case_id).is_none()
        {
            self.count(counters, record.alert.as_deref(), record.at);
        }
        self.cases.tell(record, silenced_by.as_deref());
    }

    fn snapshot(&mut self, at: Millis) -> Vec<String> {
        let dropped = self.prune(at);
        let rest = WrittenRest {
            recent: self.recent.iter().map(|id| &**id).collect(),
            budgets: self.budgets.written(),
            waiting: self.waits.iter().collect(),
            orders: self.orders.written(),
            control: &self.control,
            silences: self.silences.written(),
            windows: self.windows.written(),
            policy: &self.policy,
            dropped,
        };
        let cases = self.cases.written();
        let parts = cases.chunks(CASES_OF_PART);
        let parts = parts.map(|cases| Written { v: VERSION, cases, rest: None });
        let last = Written { v: VERSION, cases: &[], rest: Some(rest) };
        let text = |part: Written<'_>| serde_json::to_string(&part).unwrap_or_default();
        parts.chain([last]).map(text).collect()
    }

    fn restore(parts: &[&str]) -> Option<Self> {
        let mut cases = Vec::new();
        let mut rest = None;
        for part in parts {
            let read: Read = serde_json::from_str(part).ok()?;
            if read.v != VERSION || rest.is_some() {
                return None;
            }
            cases.extend(read.cases);
            rest = read.rest;
        }
        let rest: ReadRest = rest?;
        let recent: VecDeque<Arc<str>> = rest.recent.into_iter().map(Arc::from).collect();
        Some(Self {
            recent_set: recent.iter().cloned().collect(),
            recent,
            cases: Cases::of(cases),
            budgets: Budgets::of(rest.budgets),
            waits: Waits::of(rest.waiting),
            orders: Orders::of(rest.orders),
            control: rest.control,
            silences: Silences::of(rest.silences),
            windows: Windows::restore(rest.windows),
            policy: rest.policy,
            records_since_snapshot: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_group_is_never_counted_with_another() {
        let state = State::default();
        let first = state.counters("a", None, None, Millis(0));
        let second = state.counters("b", None, None, Millis(0));
        assert_ne!(first.case_id, second.case_id);
        assert_eq!((first.seen, second.seen), (1, 1));
    }

    fn group(id: &str, window_ms: i64) -> Option<Grouping> {
        Some(Grouping { id: id.to_owned(), also: None, window_ms, break_out: None })
    }

    #[test]
    fn an_episode_ends_after_its_window() {
        let mut state = State::default();
        let first = state.counters("a", None, group("g", 1000), Millis(0));
        state.count(&first, None, Millis(0));
        let second = state.counters("b", None, group("g", 1000), Millis(1000));
        assert_eq!((second.seen, &second.case_id), (2, &first.case_id));
        state.count(&second, None, Millis(1000));
        let third = state.counters("c", None, group("g", 1000), Millis(2001));
        assert_eq!(third.seen, 1);
        assert_ne!(third.case_id, first.case_id);
    }

    #[test]
    fn a_flood_of_new_cases_is_cut_back_by_snapshots() {
        let (mut state, mut most) = (State::default(), 0);
        for n in 0..200_000 {
            let at = Millis(n);
            let counters = state.counters(&format!("{n}"), None, group(&format!("{n}"), 10), at);
            state.count(&counters, None, at);
            state.records_since_snapshot += 1;
            most = most.max(state.cases.len());
            if state.is_snapshot_due() {
                state.prune(at);
                state.records_since_snapshot = 0;
            }
        }
        assert_eq!(most, 49_152, "half as many again as a snapshot leaves");
    }

    #[test]
    fn a_restored_state_is_equal_and_bounded() {
        let mut state = State::default();
        for n in 0..(RECENT_MAX + 10) {
            state.remember(&format!("alert {n}"));
        }
        assert!(!state.was_ruled("alert 9") && state.was_ruled("alert 10"));
        let is_due = |records_since_snapshot| {
            State { records_since_snapshot, ..State::default() }.is_snapshot_due()
        };
        assert!(is_due(SNAPSHOT_EVERY) && !is_due(SNAPSHOT_EVERY - 1));
        let counters = state.counters("a", None, group("g", 10), Millis(0));
        state.count(&counters, None, Millis(0));
        let parts = state.snapshot(Millis(5));
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        assert_eq!((parts.len(), State::restore(&parts)), (2, Some(state)));
        assert_eq!(State::restore(&parts[..1]), None, "half of it is none");
        assert_eq!(State::restore(&[parts[0], parts[1], parts[0]]), None, "nor more than all");
        let newer = parts[1].replacen("\"v\":3", "\"v\":4", 1);
        assert_eq!(State::restore(&[parts[0], &newer]), None, "nor of another version");
    }

    #[test]
    fn what_people_ordered_and_what_is_spent_outlives_a_snapshot() {
        let stopped = r#"{"stopped":{"since":"2026-01-01T00:00:00.000Z","why":"a drill"}}"#;
        let state = State {
            control: serde_json::from_str(stopped).unwrap(),
            orders: Orders::of(BTreeMap::from([("an order".to_owned(), Millis(10))])),
            budgets: Budgets::of(BTreeMap::from([("detector".into(), (0, 3))])),
            policy: Some(("p".to_owned(), 1)),
            ..State::default()
        };
        let parts = state.clone().snapshot(Millis(5));
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let restored = State::restore(&parts).unwrap();
        assert_eq!(restored, state);
        assert!(restored.control().stopped().is_some() && restored.policy() == Some(("p", 1)));
        assert!(restored.orders().was_used("an order", Millis(9)));
    }
}
