use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use crate::audit::{Cause, Hash, Record};
use crate::case::{
    Counters, Id, Millis, Released, Ruling, Standing, Statement, Subject, Verb, Why,
};

/// Routed alerts that wait for facts. LIMIT: the oldest are dropped; people have them.
const ROUTED_MAX: usize = 2048;
/// A routed alert waits no longer than this for a fact: by then people have asked themselves.
const ROUTED_MS: i64 = 24 * 3_600_000;
/// LIMIT: after as many revisions nobody learns anything from another one.
const REVISIONS_MAX: u32 = 8;

/// A ruling that is to be made again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waiting {
    pub alert_id: Id,
    /// On the alerts topic.
    pub offset: i64,
    /// The first ruling's record.
    pub cause: Cause,
    pub counters: Counters,
    pub standing: Standing,
    pub ruled_at: Millis,
    /// How many revisions there were.
    pub revisions: u32,
    /// Enrichers and why each was unknown.
    pub facts: Vec<(String, Why)>,
}

/// A ruling before it is made again.
#[derive(Debug, Clone, Copy)]
pub struct Before<'w> {
    /// Nothing where it was suppressed.
    pub standing: Option<&'w Standing>,
    pub counters: &'w Counters,
    pub cause: &'w Cause,
    pub revisions: u32,
}

impl Waiting {
    pub fn before(&self) -> Before<'_> {
        let Self { standing, counters, cause, revisions, .. } = self;
        Before { standing: Some(standing), counters, cause, revisions: *revisions }
    }
}

/// What waits, by when it was ruled first: a fold over the chain like everything beside it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Waits {
    by_number: BTreeMap<u64, Waiting>,
    numbers: HashMap<Id, u64>,
    held: BTreeSet<u64>,
    routed: BTreeSet<u64>,
}

impl Waits {
    pub(super) fn of(all: Vec<Waiting>) -> Self {
        let mut waits = Self::default();
        all.into_iter().for_each(|waiting| waits.put(waiting));
        waits
    }

    /// Oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Waiting> {
        self.by_number.values()
    }

    pub fn get(&self, alert_id: &str) -> Option<&Waiting> {
        self.by_number.get(self.numbers.get(alert_id)?)
    }

    pub fn len(&self) -> usize {
        self.by_number.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_number.is_empty()
    }

    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// What is held above this number, oldest first.
    pub fn held_above(&self, max: usize) -> impl Iterator<Item = &Waiting> {
        let many = self.held.len().saturating_sub(max);
        self.held.iter().take(many).filter_map(|number| self.by_number.get(number))
    }

    fn alike(&mut self, is_held: bool) -> &mut BTreeSet<u64> {
        if is_held { &mut self.held } else { &mut self.routed }
    }

    fn put(&mut self, waiting: Waiting) {
        let number = waiting.cause.seq;
        self.alike(waiting.standing.is_held).insert(number);
        self.numbers.insert(waiting.alert_id.clone(), number);
        self.by_number.insert(number, waiting);
    }

    fn take(&mut self, alert_id: &str) -> Option<Waiting> {
        let number = self.numbers.remove(alert_id)?;
        let waiting = self.by_number.remove(&number)?;
        self.alike(waiting.standing.is_held).remove(&number);
        Some(waiting)
    }

    /// A ruling or a revision.
    pub(super) fn apply(&mut self, record: &Record<'_>, hash: Hash) {
        let Some(alert_id) = &record.alert_id else { return };
        let before = self.take(alert_id);
        let fate = record.ruling.as_deref().map(|decision| &decision.fate);
        let revisions = record.revision.unwrap_or(0);
        let may_learn = !record.waits.is_empty() && revisions < REVISIONS_MAX;
        // A hold ends by a revision and by nothing else, whatever it waits for.
        let waits = may_learn || matches!(fate, Some(Ruling::Hold(_)));
        let Some(standing) = fate.filter(|_| waits).and_then(Standing::of) else { return };
        let facts = record.waits.iter().map(|wait| (wait.enricher.to_string(), wait.why)).collect();
        let alert_id = alert_id.clone();
        let input = record.input.as_ref().map(|input| input.offset);
        let (Some(counters), at) = (record.counters.clone(), record.at) else { return };
        let first = match before {
            Some(first) => Some((first.offset, first.cause, first.ruled_at)),
            None => input.map(|offset| (offset, Cause { seq: record.seq, hash }, at)),
        };
        let Some((offset, cause, ruled_at)) = first else { return };
        self.put(Waiting {
            alert_id,
            offset,
            cause,
            counters,
            standing,
            ruled_at,
            revisions,
            facts,
        });
        self.shed();
    }

    /// What of a case is held is to be ruled again at once.
    pub(super) fn release(&mut self, statement: &Statement, seq: u64) {
        let subject = statement.subject.as_ref().filter(|_| statement.order == Verb::Release);
        let Some(Subject { case_id, .. }) = subject else { return };
        for waiting in self.by_number.values_mut() {
            if waiting.standing.is_held && waiting.counters.case_id == *case_id {
                let order = statement.id.clone();
                waiting.standing.released = Some(Released { order, seq });
            }
        }
    }

    /// Whether anything of this case is held that nobody has released yet.
    pub fn holds(&self, case_id: &str) -> bool {
        self.iter().any(|waiting| {
            waiting.standing.is_held
                && waiting.standing.released.is_none()
                && waiting.counters.case_id == case_id
        })
    }

    /// Of an alert that cannot be ruled again.
    pub(super) fn end(&mut self, record: &Record<'_>) {
        record.alert_id.as_ref().and_then(|alert_id| self.take(alert_id));
    }

    fn shed(&mut self) {
        if self.routed.len() <= ROUTED_MAX {
            return;
        }
        let oldest = self.routed.first().and_then(|number| self.by_number.get(number));
        if let Some(alert_id) = oldest.map(|oldest| oldest.alert_id.clone()) {
            self.take(&alert_id);
        }
    }

    pub(super) fn prune(&mut self, at: Millis) {
        let is_over = |waiting: &&Waiting| {
            !waiting.standing.is_held && at.since(waiting.ruled_at) > ROUTED_MS
        };
        let over: Vec<Id> =
            self.iter().filter(is_over).map(|waiting| waiting.alert_id.clone()).collect();
        for alert_id in over {
            self.take(&alert_id);
        }
    }
}
