use super::budgets::Budgets;
use super::case::breadth;
use super::cases::Cases;
use super::control::Control;
use super::orders::{Orders, had_its_turn, is_accepted};
use super::recent::Recent;
use super::silences::Silences;
use super::snapshot::{Dropped, Read, Rest, Writer};
use super::waiting::Waits;
use super::windows::Windows;
use crate::audit::{Folded, Hash, Kind, Lost, Record};
use crate::case::{Alert, Counters, Decision, Grouping, Id, Millis, Sighting, id_of};

/// Records between two snapshots, or as many as there are cases. A recovery reads as many at first.
const SNAPSHOT_EVERY: u64 = 16_384;

/// The state of one chain.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct State {
    recent: Recent,
    /// Of webhooks: however many alerts come from topics, a repeat is still known.
    delivered: Recent,
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

impl State {
    /// True when exactly this alert was ruled before, as far back as is remembered.
    pub fn was_ruled(&self, alert_id: &str) -> bool {
        self.recent.has(alert_id) || self.delivered.has(alert_id)
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
        let may_have_begun = |group: &Grouping| self.cases.may_have_begun(group, alert, at);
        let is_partial =
            known.map_or(group.as_ref().is_some_and(may_have_begun), |case| case.is_partial);
        Counters {
            is_partial,
            case_id: known.map_or_else(|| opened_by(alert_id), |case| case.id.to_string()),
            seen: known.map_or(0, |case| case.seen) + 1,
            first_seen: known.map_or(at, |case| case.first_seen),
            breadth: group
                .as_ref()
                .and_then(|group| breadth(group.break_out?, (known, is_partial), alert?)),
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

    /// A case that was dropped, and that people are told of all the same.
    fn begin_again(&mut self, record: &Record<'_>) {
        if let (Some(told), Some(counters)) = (&record.told, &record.counters)
            && self.cases.get(&told.case_id).is_none()
        {
            let is_partial = counters.is_partial || counters.group.is_some();
            let counters = Counters { is_partial, ..counters.clone().into_owned() };
            self.count(&counters, record.alert.as_deref(), record.at);
        }
    }

    fn prune(&mut self, at: Millis) -> Dropped {
        self.waits.prune(at);
        let held = self.waits.iter().map(|waiting| &*waiting.counters.case_id);
        let (cases, names) = self.cases.prune(at, held.chain(self.silences.kept()));
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
                    let is_delivered = record.origin.as_ref().is_some_and(|it| it.is_webhook());
                    let ids = if is_delivered { &mut self.delivered } else { &mut self.recent };
                    ids.add(alert_id);
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
                let statement = had_its_turn(record);
                if let Some(statement) = statement.filter(|it| it.subject.is_some()) {
                    if is_accepted(record) {
                        self.waits.release(&statement, record.seq);
                    }
                    self.orders.take(&statement);
                }
            }
            Kind::Policy | Kind::Genesis => {
                if let Some(policy) = &record.policy {
                    if self.policy.as_ref().is_some_and(|(hash, _)| **hash != *policy.hash) {
                        self.windows.change(record.at);
                    }
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
            Kind::Gap => {
                if record.gap.is_some_and(|gap| gap.of == Lost::Alerts) {
                    self.windows.lose(record.at);
                    self.cases.lose(record.at);
                }
            }
            // These change nothing that triage remembers.
            Kind::Duplicate
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
        self.begin_again(record);
        self.cases.tell(record, silenced_by.as_deref());
    }

    fn snapshot(&mut self, at: Millis) -> Vec<String> {
        let dropped = self.prune(at);
        let mut parts = Writer::default();
        parts.cases(&self.cases.written());
        parts.waiting(self.waits.iter());
        parts.silences(&self.silences.written());
        parts.windows(&self.windows.written());
        parts.finish(Rest {
            recent: self.recent.written(),
            delivered: self.delivered.written(),
            budgets: self.budgets.written(),
            orders: self.orders.written(),
            control: &self.control,
            policy: &self.policy,
            missed: self.cases.missed(),
            dropped,
        })
    }

    fn restore(parts: &[&str]) -> Option<Self> {
        let Read { cases, waiting, silences, windows, rest } = Read::of(parts)?;
        Some(Self {
            recent: Recent::of(rest.recent),
            delivered: Recent::of(rest.delivered),
            cases: Cases::of(cases, rest.missed),
            budgets: Budgets::of(rest.budgets),
            waits: Waits::of(waiting),
            orders: Orders::of(rest.orders),
            control: rest.control,
            silences: Silences::of(silences),
            windows: Windows::restore(windows),
            policy: rest.policy,
            records_since_snapshot: 0,
        })
    }
}

/// The case of an alert whose group leads to none.
fn opened_by(alert_id: &str) -> Id {
    id_of("case", &[alert_id.as_bytes()])
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::collections::BTreeMap;

    use super::*;
    use crate::audit::{Actor, Cause, Engine};
    use crate::case::{
        Field, Mark, OnExpiry, Origin, Priority, Reading, Spans, Standing, Value, Why, WindowId,
        id_of,
    };
    use crate::correlate::recent::RECENT_MAX;
    use crate::correlate::silences::Silence;
    use crate::correlate::waiting::Waiting;

    const AT: Millis = Millis(1_795_415_442_125);

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

    fn ruled(topic: &'static str, alert_id: &str) -> Record<'static> {
        let engine = Engine { version: "1".into(), build: "test".into() };
        let actor = Actor { service: "t".into(), instance: "t".into() };
        let origin = Origin {
            topic: topic.into(),
            incarnation: "-".into(),
            partition: 0,
            offset: 0,
            index: 0,
            of: 1,
            sha256: "".into(),
        };
        Record {
            alert_id: Some(alert_id.to_owned()),
            origin: Some(Cow::Owned(origin)),
            ..Record::new(Kind::Ruling, AT, engine, actor)
        }
    }

    #[test]
    fn a_restored_state_is_equal_and_bounded() {
        let mut state = State::default();
        state.apply(&ruled("webhook:github", "delivery"), Hash::NONE);
        for n in 0..(RECENT_MAX + 10) {
            state.apply(&ruled("alerts.github", &format!("alert {n}")), Hash::NONE);
        }
        assert!(!state.was_ruled("alert 9") && state.was_ruled("alert 10"));
        assert!(state.was_ruled("delivery"), "alerts of topics take no room of webhooks'");
        let is_due = |records_since_snapshot| {
            State { records_since_snapshot, ..State::default() }.is_snapshot_due()
        };
        assert!(is_due(SNAPSHOT_EVERY) && !is_due(SNAPSHOT_EVERY - 1));
        let counters = state.counters("a", None, group("g", 10), Millis(0));
        state.count(&counters, None, Millis(0));
        let parts = state.snapshot(Millis(5));
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let state = State { records_since_snapshot: 0, ..state };
        assert_eq!((parts.len(), State::restore(&parts)), (2, Some(state)));
        assert_eq!(State::restore(&parts[..1]), None, "half of it is none");
        assert_eq!(State::restore(&[parts[0], parts[1], parts[0]]), None, "nor more than all");
        let newer = parts[1].replacen("\"v\":6", "\"v\":7", 1);
        assert_eq!(State::restore(&[parts[0], &newer]), None, "nor of another version");
    }

    /// What the topic of decisions takes, as `topics create` makes it.
    const RECORD_BYTES_MAX: usize = 4_194_304;

    fn counters(n: usize) -> Counters {
        let looks = Reading { window: WindowId(1), seen: None };
        let id = |what: &str| id_of(what, &[&n.to_be_bytes()]);
        let also = Some(id("also"));
        let windows = vec![looks; 4];
        Counters { group: Some(id("group")), also, windows, ..Counters::alone(id("case"), AT) }
    }

    fn sighting(n: u64) -> Sighting {
        let spans = Spans {
            within_ms: 3_600_000,
            lateness_ms: 0,
            distinct: 1,
            then_ms: vec![],
            baseline_ms: None,
        };
        Sighting {
            window: WindowId(1),
            key: id_of("key", &[&(n % 1000).to_be_bytes()]),
            at: AT,
            received_at: AT,
            counts: true,
            then: vec![],
            distinct: vec![Some(Mark(u64::MAX - n))],
            late: false,
            spans,
        }
    }

    fn full() -> State {
        let mut state = State::default();
        let long = "a name as long as an alert takes".repeat(1800);
        let mut alert = Alert::default();
        alert.set(Field::NhiId, Value::Text(long.as_str().into()));
        for n in 0..34_000_usize {
            let counters = counters(n);
            let is_newest = n >= 33_900;
            for name in 0..if is_newest { 16 } else { 1 } {
                alert.set(Field::Repository, Value::Text(format!("{name} {long}").into()));
                alert.set(Field::SourceIp, Value::Text(format!("{name} {long}").into()));
                state.count(
                    &counters,
                    is_newest.then_some(&alert),
                    AT.plus(i64::try_from(n).unwrap()),
                );
            }
            state.recent.add(&counters.case_id);
            state.delivered.add(&counters.case_id);
        }
        let cause = || Cause { seq: 1, hash: Hash::NONE };
        let standing = || Standing {
            queue: "identity-response".into(),
            priority: Priority::High,
            due: Some(AT),
            is_held: false,
            released: None,
        };
        let waiting = |n: usize| Waiting {
            alert_id: counters(n).case_id,
            offset: 1,
            cause: Cause { seq: n as u64, ..cause() },
            counters: counters(n),
            standing: standing(),
            ruled_at: AT,
            revisions: 1,
            facts: vec![("credential-inventory".into(), Why::Timeout); 8],
        };
        state.waits = Waits::of((0..3072).map(waiting).collect());
        let silence = |n: usize| Silence {
            case_id: counters(n).case_id,
            alert_id: counters(n).case_id,
            offset: 1,
            cause: cause(),
            counters: counters(n),
            playbook: "exposed-key".into(),
            nhi: Some(format!("{n} {}", &long[..if n < 50 { long.len() } else { 200 }]).into()),
            count: 1,
            since: AT,
            last: AT,
            until: AT,
            on_expiry: OnExpiry::Recheck,
        };
        state.silences = Silences::of((0..4096).map(silence).collect());
        state.see(&(0..64_000).map(sighting).collect::<Vec<_>>());
        state.policy = Some(("p".to_owned(), 1));
        state
    }

    #[test]
    fn a_state_that_is_full_is_written_in_parts_that_the_topic_takes() {
        let mut state = full();
        let parts = state.snapshot(AT.plus(34_000));
        let lengths: Vec<usize> = parts.iter().map(String::len).collect();
        assert!(lengths.iter().all(|length| *length < RECORD_BYTES_MAX * 3 / 4), "{lengths:?}");
        assert!(lengths.iter().any(|length| *length > RECORD_BYTES_MAX / 2), "of windows");
        assert!(lengths.iter().sum::<usize>() > 5 * RECORD_BYTES_MAX, "{lengths:?}");
        assert!(lengths.len() < 50 && !parts[lengths.len() - 1].contains("windows"), "{lengths:?}");
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let restored = State::restore(&parts).unwrap();
        assert!(restored == State { records_since_snapshot: 0, ..state });
        assert!(State::restore(&parts[1..]).unwrap() != restored, "without its first part");
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
