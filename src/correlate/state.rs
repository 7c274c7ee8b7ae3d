use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::orders::{Orders, WrittenOrders, accepted};
use super::waiting::{Waiting, Waits};
use crate::audit::{Folded, Hash, Kind, Record};
use crate::case::{Counters, Id, Millis};

/// Alerts remembered for the duplicate check. LIMIT: the second line of defense, behind intake,
/// which leaves out what it finds on the alerts topic.
const RECENT_MAX: usize = 4096;
/// Groups kept at a snapshot. LIMIT: the oldest are dropped, and their next alert opens a new case.
const GROUPS_MAX: usize = 4096;

/// The state of one chain.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct State {
    recent: VecDeque<Arc<str>>,
    recent_set: HashSet<Arc<str>>,
    groups: HashMap<Id, Group>,
    waits: Waits,
    orders: Orders,
    policy: Option<(String, i64)>,
    records_since_snapshot: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Group {
    id: Id,
    case_id: Id,
    seen: i64,
    first_seen: Millis,
    last_seen: Millis,
    window_ms: i64,
}

impl Group {
    fn is_over(&self, at: Millis) -> bool {
        at.since(self.last_seen) > self.window_ms
    }
}

/// The state as written: lists in a fixed order, so that equal states are equal bytes.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    v: u32,
    recent: Vec<Id>,
    groups: Vec<Group>,
    waiting: Vec<Waiting>,
    #[serde(skip_serializing_if = "WrittenOrders::is_empty", default)]
    orders: WrittenOrders,
    policy: Option<(String, i64)>,
}

impl State {
    /// True when exactly this alert was ruled before, as far back as `RECENT_MAX` alerts.
    pub fn was_ruled(&self, alert_id: &str) -> bool {
        self.recent_set.contains(alert_id)
    }

    /// How often this group was seen, the alert at hand included; a missing group is never counted
    /// with another alert (INV-11).
    pub fn counters(&self, alert_id: &str, group: Option<(Id, i64)>, at: Millis) -> Counters {
        let known = group.as_ref().and_then(|(id, _)| self.groups.get(id));
        let (id, window_ms) = group.map_or((None, 0), |(id, window_ms)| (Some(id), window_ms));
        match known.filter(|known| !known.is_over(at)) {
            Some(known) => Counters {
                case_id: known.case_id.clone(),
                group: id,
                seen: known.seen + 1,
                first_seen: known.first_seen,
                window_ms,
            },
            None => Counters {
                case_id: crate::case::id_of("case", &[alert_id.as_bytes()]),
                group: id,
                seen: 1,
                first_seen: at,
                window_ms,
            },
        }
    }

    /// Hash and generation of the policy that the chain is under.
    pub fn policy(&self) -> Option<(&str, i64)> {
        self.policy.as_ref().map(|(hash, generation)| (hash.as_str(), *generation))
    }

    /// Rulings that are made again when their facts are known or their time is over.
    pub fn waits(&self) -> &Waits {
        &self.waits
    }

    /// What people have ordered, and the cases they can order something about.
    pub fn orders(&self) -> &Orders {
        &self.orders
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

    /// What an alert that is ruled at this time leaves behind.
    pub fn count(&mut self, counters: &Counters, at: Millis) {
        let Some(id) = &counters.group else { return };
        if let Some(known) = self.groups.get_mut(id).filter(|g| g.case_id == counters.case_id) {
            known.seen = counters.seen;
            known.first_seen = counters.first_seen;
            known.last_seen = at;
            known.window_ms = counters.window_ms;
            return;
        }
        let group = Group {
            id: id.clone(),
            case_id: counters.case_id.clone(),
            seen: counters.seen,
            first_seen: counters.first_seen,
            last_seen: at,
            window_ms: counters.window_ms,
        };
        self.groups.insert(id.clone(), group);
    }

    fn prune(&mut self, at: Millis) {
        self.groups.retain(|_, group| !group.is_over(at));
        if self.groups.len() > GROUPS_MAX {
            let mut ages: Vec<(Millis, Id)> =
                self.groups.values().map(|group| (group.last_seen, group.id.clone())).collect();
            ages.sort();
            for (_, id) in ages.iter().take(self.groups.len() - GROUPS_MAX) {
                self.groups.remove(id);
            }
        }
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
                if let Some(counters) = &record.counters {
                    self.count(counters, record.at);
                }
                self.waits.apply(record, hash);
                self.orders.ruled(record);
            }
            Kind::Revision => {
                self.waits.apply(record, hash);
                self.orders.ruled(record);
            }
            Kind::Order => {
                if let Some((order, statement)) = accepted(record) {
                    self.waits.release(&statement, record.seq);
                    self.orders.ordered(order, &statement);
                }
            }
            Kind::Policy | Kind::Genesis => {
                if let Some(policy) = &record.policy {
                    self.policy = Some((policy.hash.to_string(), policy.generation));
                }
            }
            Kind::Snapshot => {
                self.prune(record.at);
                self.waits.prune(record.at);
                self.orders.prune(record.at);
                self.records_since_snapshot = 0;
            }
            Kind::Timer => {
                self.waits.end(record);
                self.orders.timer(record);
            }
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
    }

    fn snapshot(&mut self, at: Millis) -> String {
        self.prune(at);
        self.waits.prune(at);
        self.orders.prune(at);
        let mut groups: Vec<Group> = self.groups.values().cloned().collect();
        groups.sort_by(|a, b| a.id.cmp(&b.id));
        let written = Written {
            v: 1,
            recent: self.recent.iter().map(ToString::to_string).collect(),
            groups,
            waiting: self.waits.iter().cloned().collect(),
            orders: self.orders.written(),
            policy: self.policy.clone(),
        };
        serde_json::to_string(&written).unwrap_or_default()
    }

    fn restore(text: &str) -> Option<Self> {
        let written: Written = serde_json::from_str(text).ok().filter(|w: &Written| w.v == 1)?;
        let recent: VecDeque<Arc<str>> = written.recent.into_iter().map(Arc::from).collect();
        Some(Self {
            recent_set: recent.iter().cloned().collect(),
            recent,
            groups: written.groups.into_iter().map(|group| (group.id.clone(), group)).collect(),
            waits: Waits::of(written.waiting),
            orders: Orders::of(written.orders),
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
        let first = state.counters("a", None, Millis(0));
        let second = state.counters("b", None, Millis(0));
        assert_ne!(first.case_id, second.case_id);
        assert_eq!((first.seen, second.seen), (1, 1));
    }

    #[test]
    fn an_episode_ends_after_its_window() {
        let mut state = State::default();
        let group = || Some(("g".to_owned(), 1000));
        let first = state.counters("a", group(), Millis(0));
        state.count(&first, Millis(0));
        let second = state.counters("b", group(), Millis(1000));
        assert_eq!((second.seen, &second.case_id), (2, &first.case_id));
        state.count(&second, Millis(1000));
        let third = state.counters("c", group(), Millis(2001));
        assert_eq!(third.seen, 1);
        assert_ne!(third.case_id, first.case_id);
    }

    #[test]
    fn a_restored_state_is_equal_and_bounded() {
        let mut state = State::default();
        for n in 0..(RECENT_MAX + 10) {
            state.remember(&format!("alert {n}"));
            let counters = state.counters(&n.to_string(), Some((format!("g{n}"), 10)), Millis(0));
            state.count(&counters, Millis(0));
        }
        assert!(!state.was_ruled("alert 9") && state.was_ruled("alert 10"));
        let text = state.snapshot(Millis(5));
        assert_eq!(state.groups.len(), GROUPS_MAX);
        assert_eq!(State::restore(&text), Some(state.clone()));
        state.snapshot(Millis(11));
        assert!(state.groups.is_empty());
    }
}
