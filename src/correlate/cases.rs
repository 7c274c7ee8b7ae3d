use std::collections::{BTreeSet, HashMap, HashSet};

use super::accepted::Accepted;
use super::case::{Case, Missed, Name};
use super::had::Had;
use crate::audit::Record;
use crate::case::{Alert, Counters, Field, Grouping, Id, Millis};

/// Cases of one chain. LIMIT: above it a snapshot drops those that are missed least; the next alert
/// of a dropped one opens a case of its own.
const CASES_MAX: usize = 32_768;
/// With so many, a snapshot is made before its time.
const CASES_CROWDED: usize = CASES_MAX / 2 * 3;
/// LIMIT: older ones keep their numbers and lose the names behind them.
const DETAILED_MAX: usize = 2048;
/// Keys of one case. LIMIT: another one leads to it no more: an alert that has no other key opens
/// a case of its own.
const KEYS_MAX: usize = 64;
/// Cases named as related.
const RELATED_MAX: usize = 8;

/// All cases of a chain that an alert, a person or a deadline may still concern.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Cases {
    by_id: HashMap<Name, Box<Case>>,
    /// A key leads to one case.
    by_key: HashMap<Name, Name>,
    /// By NHI and by fingerprint, of each the oldest case first.
    by_name: BTreeSet<(Name, Millis, Name)>,
    due: BTreeSet<(Millis, Name)>,
    accepted: Accepted,
    missed: Missed,
}

impl Cases {
    pub(super) fn of(all: Vec<Case>, missed: Missed) -> Self {
        let mut cases = Self { missed, ..Self::default() };
        all.into_iter().for_each(|case| cases.put(case));
        cases
    }

    /// Oldest first.
    pub(super) fn written(&self) -> Vec<&Case> {
        let mut all: Vec<&Case> = self.by_id.values().map(|case| &**case).collect();
        all.sort_unstable_by_key(|case| (case.first_seen, &*case.id));
        all
    }

    pub(super) fn missed(&self) -> Missed {
        self.missed
    }

    /// Whether a case that this alert opens may have begun before.
    pub(super) fn may_have_begun(
        &self,
        group: &Grouping,
        alert: Option<&Alert<'_>>,
        at: Millis,
    ) -> bool {
        let Missed { until, lost } = self.missed;
        if until.is_none() && lost.is_none() {
            return false;
        }
        // What is gone may have had another key of a case that goes on.
        let names = [Field::CredentialFingerprint, Field::NhiId];
        let names = names.into_iter().filter_map(|field| alert?.text(field));
        let mut cases = names.flat_map(|name| self.named(name)).filter_map(|id| self.get(id));
        until.is_some_and(|until| at <= until)
            || lost.is_some_and(|lost| at.since(lost) <= group.window_ms)
            || cases.any(|case| case.is_partial && !case.is_over(at))
    }

    /// Alerts are gone that nothing has counted.
    pub(super) fn lose(&mut self, at: Millis) {
        self.missed.lost = Some(at);
        for case in self.by_id.values_mut().filter(|case| !case.keys.is_empty()) {
            case.is_partial = true;
            self.missed.until = self.missed.until.max(Some(at.plus(case.window_ms)));
        }
    }

    /// There is a snapshot's worth of what a snapshot would drop.
    pub(super) fn is_crowded(&self) -> bool {
        self.len() >= CASES_CROWDED
    }

    pub fn get(&self, case_id: &str) -> Option<&Case> {
        self.by_id.get(case_id).map(|case| &**case)
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The open case that one of its keys leads to; the first key is the strongest.
    pub(super) fn open(&self, group: &Grouping, at: Millis) -> Option<&Case> {
        let keys = [&group.id].into_iter().chain(&group.also);
        let mut cases = keys.filter_map(|key| self.get(self.by_key.get(&**key)?));
        cases.find(|case| !case.is_over(at))
    }

    /// Cases whose acknowledgement is overdue at this time, and of which nobody was told so.
    pub fn overdue(&self, at: Millis) -> impl Iterator<Item = &Case> {
        let due = self.due.iter().take_while(move |(due, _)| *due <= at);
        due.filter_map(|(_, id)| self.get(id))
    }

    /// Cases whose exception is over at this time.
    pub fn ended(&self, at: Millis) -> impl Iterator<Item = &Case> {
        self.accepted.ended(at).filter_map(|id| self.get(id))
    }

    /// How many risks are accepted.
    pub fn excepted(&self) -> usize {
        self.accepted.len()
    }

    /// The case whose accepted risk covers this alert.
    pub fn covering(&self, alert: &Alert<'_>, at: Millis) -> Option<&Case> {
        self.get(self.accepted.covering(alert, at)?)
    }

    /// Others of the same NHI or the same value, newest first.
    pub(super) fn related(&self, case_id: &str, alert: &Alert<'_>) -> Vec<Id> {
        let names = [Field::CredentialFingerprint, Field::NhiId];
        let names = names.into_iter().filter_map(|field| alert.text(field));
        let ids = names.flat_map(|name| self.named(name));
        let mut related: Vec<Id> = Vec::new();
        for id in ids.filter(|id| ***id != *case_id) {
            if !related.iter().any(|known| **known == **id) {
                related.push(id.to_string());
            }
            if related.len() == RELATED_MAX {
                break;
            }
        }
        related
    }

    /// Newest first.
    fn named(&self, name: &str) -> impl Iterator<Item = &Name> {
        let (name, none) = (Name::from(name), Name::from(""));
        let first = (name.clone(), Millis(i64::MIN), none.clone());
        let places = self.by_name.range(first..(name, Millis(i64::MAX), none));
        places.rev().map(|(.., id)| id)
    }

    fn put(&mut self, case: Case) {
        for key in &case.keys {
            self.by_key.insert(key.clone(), case.id.clone());
        }
        self.by_name.extend(case.places());
        self.due.extend(case.due());
        self.accepted.put(&case);
        self.by_id.insert(case.id.clone(), Box::new(case));
    }

    fn remove(&mut self, case_id: &str) {
        let Some(case) = self.by_id.remove(case_id) else { return };
        case.due().map(|due| self.due.remove(&due));
        self.accepted.take(&case);
        for key in &case.keys {
            if self.by_key.get(key) == Some(&case.id) {
                self.by_key.remove(key);
            }
        }
        for place in case.places() {
            self.by_name.remove(&place);
        }
    }

    /// One alert more.
    pub(super) fn count(&mut self, counters: &Counters, alert: Option<&Alert<'_>>, at: Millis) {
        let case_id = &*counters.case_id;
        if !self.by_id.contains_key(case_id) {
            self.put(Case::new(counters, alert));
        }
        for key in counters.group.iter().chain(&counters.also) {
            self.lead(key, case_id, at);
        }
        let Some(case) = self.by_id.get_mut(case_id) else { return };
        case.seen = counters.seen;
        case.is_partial |= counters.is_partial;
        (case.last_seen, case.window_ms) = (at, case.window_ms.max(counters.window_ms));
        if let Some(alert) = alert {
            case.add(alert);
        }
    }

    /// A key that leads to another open case goes on leading there: the two are related.
    fn lead(&mut self, key: &str, case_id: &str, at: Millis) {
        let to = self.by_key.get(key).and_then(|to| self.get(to));
        if to.is_some_and(|to| *to.id == *case_id || !to.is_over(at)) {
            return;
        }
        let Some(case) = self.by_id.get_mut(case_id) else { return };
        if case.keys.len() == KEYS_MAX {
            return;
        }
        let key = Name::from(key);
        case.keys.reserve_exact(1);
        case.keys.push(key.clone());
        let before = self.by_key.insert(key.clone(), case.id.clone());
        if let Some(before) = before.and_then(|before| self.by_id.get_mut(&before)) {
            before.keys.retain(|known| *known != key);
        }
    }

    /// What people are told from now on. With the playbook whose suppression this ends, if it does
    /// and no ruling is made again.
    pub(super) fn tell(&mut self, record: &Record<'_>, silenced_by: Option<&str>) {
        let Some(told) = &record.told else { return };
        let Some(case) = self.by_id.get_mut(&*told.case_id) else { return };
        case.due().map(|due| self.due.remove(&due));
        self.accepted.take(case);
        let mut had = Had::of(record, told, case.had.take());
        silenced_by.into_iter().for_each(|playbook| had.was_silenced_by(playbook));
        case.had = Some(had);
        if case.nhi.is_none() {
            case.nhi = told.nhi.as_deref().map(Into::into);
            self.by_name.extend(case.places());
        }
        case.worked.clone_from(&told.worked);
        self.due.extend(case.due());
        self.accepted.put(case);
    }

    /// Drops what no limit leaves room for; nothing that waits for something, as these do, or for
    /// the end of an exception. How many cases, and of how many the names.
    pub(super) fn prune<'w>(
        &mut self,
        at: Millis,
        waiting: impl Iterator<Item = &'w str>,
    ) -> (usize, usize) {
        let over = self.len().saturating_sub(CASES_MAX);
        let dropped = if over > 0 { self.least(over, at, &waiting.collect()) } else { Vec::new() };
        let of = dropped.iter().filter_map(|id| self.get(id)).filter(|case| !case.keys.is_empty());
        let ends = of.map(|case| case.last_seen.plus(case.window_ms)).filter(|end| *end >= at);
        self.missed.until = self.missed.until.max(ends.max());
        dropped.iter().for_each(|id| self.remove(id));
        let plain = self.len().saturating_sub(DETAILED_MAX);
        let mut cases: Vec<&mut Case> = self.by_id.values_mut().map(|case| &mut **case).collect();
        first(&mut cases, plain, |case| (case.last_seen, case.id.clone()));
        let mut named = 0;
        for case in cases.into_iter().take(plain).filter(|case| case.has_names()) {
            case.repositories.forget();
            case.sources.forget();
            named += 1;
        }
        (dropped.len(), named)
    }

    /// Those that are missed least: what is over before what is open, what people were never told
    /// of before what they have, of a detector that has more than its share before others, and what
    /// is quiet longest.
    fn least(&self, count: usize, at: Millis, waiting: &HashSet<&str>) -> Vec<Name> {
        let mut of_detector: HashMap<Option<&str>, usize> = HashMap::new();
        for case in self.by_id.values() {
            *of_detector.entry(case.detector()).or_default() += 1;
        }
        let order = |case: &&Case| {
            let is_open = !case.is_over(at) || case.due().is_some();
            let is_many = of_detector.get(&case.detector()).is_some_and(|n| *n > CASES_MAX / 2);
            (is_open, case.had.is_some(), !is_many, case.last_seen, case.id.clone())
        };
        let all = self.by_id.values().map(|case| &**case);
        let is_free = |case: &&Case| case.excepted().is_none() && !waiting.contains(&*case.id);
        let mut cases: Vec<_> = all.filter(is_free).map(|case| order(&case)).collect();
        first(&mut cases, count, Clone::clone);
        cases.into_iter().take(count).map(|(.., id)| id).collect()
    }
}

/// Brings the first `count` to the front, in no order.
fn first<T, K: Ord>(all: &mut [T], count: usize, key: impl FnMut(&T) -> K) {
    if count < all.len() {
        all.select_nth_unstable_by_key(count, key);
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::audit::Kind;
    use crate::case::{CaseState, Decision, Priority, Ruling, Spread, Told};

    fn counters(n: usize, window_ms: i64) -> Counters {
        Counters {
            group: Some(format!("g{n}")),
            window_ms,
            ..Counters::alone(format!("case {n:05}"), Millis(i64::try_from(n).unwrap_or(0)))
        }
    }

    fn told(case: &Case, ack_by: i64) -> Record<'static> {
        let engine = crate::audit::Engine { version: "1".into(), build: "test".into() };
        let actor = crate::audit::Actor { service: "t".into(), instance: "t".into() };
        let told = Told {
            case_id: case.id.to_string(),
            revision: 1,
            changed: vec![],
            state: CaseState::New,
            queue: "q".into(),
            left: None,
            priority: Priority::Low,
            ack_by: Some(Millis(ack_by)),
            nhi: None,
            count: 1,
            first_seen: case.first_seen,
            last_seen: case.last_seen,
            detectors: Spread::default(),
            repositories: Spread::default(),
            sources: Spread::default(),
            related: vec![],
            worked: None,
        };
        let (priority, ack_by) = (Priority::Low, told.ack_by);
        let fate = Ruling::Route(crate::case::Route { queue: "q".into(), priority, ack_by });
        let ruling = Decision::new(fate, crate::case::Reason::NoRule, "p", "r");
        Record {
            alert_id: Some("a".into()),
            ruling: Some(Cow::Owned(ruling)),
            told: Some(told),
            ..Record::new(Kind::Ruling, Millis(0), engine, actor)
        }
    }

    #[test]
    fn eviction_takes_what_is_over_first_and_never_an_open_deadline_before_it() {
        let mut cases = Cases::default();
        for n in 0..CASES_MAX + 2 {
            let counters = counters(n, if n == 5 { 0 } else { 1_000_000 });
            let at = counters.first_seen;
            cases.count(&counters, None, at);
        }
        let first = cases.get("case 00000").unwrap().clone();
        cases.tell(&told(&first, 1), None);
        cases.prune(Millis(100_000), std::iter::empty());
        assert_eq!(cases.len(), CASES_MAX);
        let is_there = |n: usize| cases.get(&format!("case {n:05}")).is_some();
        assert!(!is_there(5), "its window is over");
        assert!(is_there(0) && !is_there(1), "then what people do not have, and is quiet longest");
        let newest = cases.get(&format!("case {:05}", CASES_MAX + 1)).unwrap();
        assert_eq!(newest.keys, [format!("g{}", CASES_MAX + 1).into()]);
    }

    #[test]
    fn a_detector_that_floods_takes_no_room_from_others() {
        let mut cases = Cases::default();
        let mut alert = Alert::default();
        for n in 0..CASES_MAX + 10 {
            let detector = if n < CASES_MAX / 4 { "calm" } else { "loud" };
            alert.set(Field::Detector, crate::case::Value::Text(detector.into()));
            let counters = counters(n, 1_000_000);
            cases.count(&counters, Some(&alert), counters.first_seen);
        }
        let (dropped, named) = cases.prune(Millis(100_000), std::iter::empty());
        assert_eq!((dropped, named, cases.len()), (10, 0, CASES_MAX));
        let first_loud = CASES_MAX / 4;
        let is_there = |n: usize| cases.get(&format!("case {n:05}")).is_some();
        assert!(is_there(0) && !is_there(first_loud + 9) && is_there(first_loud + 10));
    }

    /// Behind a backlog, and however often it is ruled again.
    #[test]
    fn people_have_the_time_again_that_their_rule_gave_them_at_first() {
        let mut cases = Cases::default();
        cases.count(&counters(1, 10), None, Millis(0));
        let case = cases.get("case 00001").unwrap().clone();
        let mut alert = Alert::default();
        alert.set(Field::ReceivedAt, crate::case::Value::Time(Millis(-900)));
        let ruled = |kind: Kind, (at, due): (i64, i64)| {
            let mut record = told(&case, due);
            (record.kind, record.at) = (kind, Millis(at));
            record.alert = Some(Cow::Owned(alert.clone()));
            record
        };
        for (kind, times, expected) in [
            (Kind::Ruling, (0, -300), 600),
            (Kind::Revision, (50, -300), 600),
            (Kind::Revision, (100, 150), 50),
        ] {
            cases.tell(&ruled(kind, times), None);
            let had = cases.get("case 00001").unwrap().had.as_ref().unwrap();
            assert_eq!(had.ack_ms, Some(expected), "{times:?}");
        }
    }

    #[test]
    fn a_key_too_many_leads_nowhere_and_those_before_it_stay() {
        let mut cases = Cases::default();
        for n in 0..KEYS_MAX + 3 {
            let also = Some(format!("also {n}"));
            cases.count(&Counters { also, ..counters(1, 10) }, None, Millis(0));
        }
        for (n, is_there) in [(0, true), (KEYS_MAX - 2, true), (KEYS_MAX - 1, false)] {
            let id = format!("also {n}");
            let grouping = Grouping { id, also: None, window_ms: 10, break_out: None };
            assert_eq!(cases.open(&grouping, Millis(0)).is_some(), is_there, "{n}");
        }
    }

    #[test]
    fn a_case_is_overdue_once_and_its_eviction_leaves_no_deadline() {
        let mut cases = Cases::default();
        cases.count(&counters(1, 10), None, Millis(0));
        let case = cases.get("case 00001").unwrap().clone();
        cases.tell(&told(&case, 50), None);
        assert_eq!(cases.overdue(Millis(49)).count(), 0);
        let overdue = cases.overdue(Millis(50)).next().unwrap().told_overdue().unwrap();
        assert_eq!((overdue.revision, overdue.priority), (2, Priority::Medium));
        let mut timer = told(&case, 0);
        (timer.kind, timer.ruling, timer.told) = (Kind::Timer, None, Some(overdue));
        cases.tell(&timer, None);
        assert_eq!(cases.overdue(Millis(1000)).count(), 0);
        cases.remove("case 00001");
        assert!(cases.due.is_empty() && cases.by_key.is_empty() && cases.by_name.is_empty());
    }
}
