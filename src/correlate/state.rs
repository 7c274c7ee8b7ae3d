use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::budgets::Budgets;
use super::cases::{Case, Cases, opened_by};
use super::orders::{Orders, accepted};
use super::silences::{Silence, Silences};
use super::waiting::{Waiting, Waits};
use super::windows::{self, Windows};
use crate::audit::{Folded, Hash, Kind, Record};
use crate::case::{Alert, Counters, Decision, Grouping, Id, Millis, Sighting};

/// Alerts remembered for the duplicate check. LIMIT: the second line of defense, behind intake,
/// which leaves out what it finds on the alerts topic.
const RECENT_MAX: usize = 4096;

/// The state of one chain.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct State {
    recent: VecDeque<Arc<str>>,
    recent_set: HashSet<Arc<str>>,
    cases: Cases,
    budgets: Budgets,
    waits: Waits,
    orders: Orders,
    silences: Silences,
    windows: Windows,
    policy: Option<(String, i64)>,
    records_since_snapshot: u64,
}

/// The state as written: lists in a fixed order, so that equal states are equal bytes.
#[derive(Serialize)]
struct Written<'s> {
    v: u32,
    recent: Vec<&'s str>,
    cases: Vec<&'s Case>,
    budgets: &'s BTreeMap<Box<str>, (i64, i64)>,
    waiting: Vec<&'s Waiting>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    orders: &'s BTreeMap<String, Millis>,
    silences: Vec<&'s Silence>,
    windows: windows::Written,
    policy: &'s Option<(String, i64)>,
}

/// The same being read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    v: u32,
    recent: Vec<Id>,
    cases: Vec<Case>,
    budgets: BTreeMap<Box<str>, (i64, i64)>,
    waiting: Vec<Waiting>,
    #[serde(default)]
    orders: BTreeMap<String, Millis>,
    silences: Vec<Silence>,
    windows: windows::Written,
    policy: Option<(String, i64)>,
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
            case_id: known.map_or_else(|| opened_by(alert_id), |case| case.id.clone()),
            seen: known.map_or(0, |case| case.seen) + 1,
            first_seen: known.map_or(at, |case| case.first_seen),
            window_ms: group.as_ref().map_or(0, |group| group.window_ms),
            also: group.as_ref().and_then(|group| group.also.clone()),
            group: group.map(|group| group.id),
            suppressed: alert.map_or(0, |alert| self.budgets.spent(alert, at)),
            windows: Vec::new(),
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

    fn prune(&mut self, at: Millis) {
        self.waits.prune(at);
        self.cases.prune(at, &self.waits);
        self.budgets.prune(at);
        self.orders.prune(at);
        self.windows.prune();
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
                if let Some(statement) = accepted(record) {
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
                self.prune(record.at);
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
        self.silences.apply(record, hash);
        if let (Some(told), Some(counters)) = (&record.told, &record.counters)
            && self.cases.get(&told.case_id).is_none()
        {
            self.count(counters, record.alert.as_deref(), record.at);
        }
        self.cases.tell(record);
    }

    fn snapshot(&mut self, at: Millis) -> String {
        self.prune(at);
        let written = Written {
            v: 2,
            recent: self.recent.iter().map(|id| &**id).collect(),
            cases: self.cases.written(),
            budgets: self.budgets.written(),
            waiting: self.waits.iter().collect(),
            orders: self.orders.written(),
            silences: self.silences.written(),
            windows: self.windows.written(),
            policy: &self.policy,
        };
        serde_json::to_string(&written).unwrap_or_default()
    }

    fn restore(text: &str) -> Option<Self> {
        let written: Read = serde_json::from_str(text).ok().filter(|read: &Read| read.v == 2)?;
        let recent: VecDeque<Arc<str>> = written.recent.into_iter().map(Arc::from).collect();
        Some(Self {
            recent_set: recent.iter().cloned().collect(),
            recent,
            cases: Cases::of(written.cases),
            budgets: Budgets::of(written.budgets),
            waits: Waits::of(written.waiting),
            orders: Orders::of(written.orders),
            silences: Silences::of(written.silences),
            windows: Windows::restore(written.windows),
            policy: written.policy,
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
        Some(Grouping { id: id.to_owned(), also: None, window_ms })
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
    fn a_restored_state_is_equal_and_bounded() {
        let mut state = State::default();
        for n in 0..(RECENT_MAX + 10) {
            state.remember(&format!("alert {n}"));
        }
        assert!(!state.was_ruled("alert 9") && state.was_ruled("alert 10"));
        let counters = state.counters("a", None, group("g", 10), Millis(0));
        state.count(&counters, None, Millis(0));
        let text = state.snapshot(Millis(5));
        assert_eq!(State::restore(&text), Some(state));
    }
}
