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
            counters: counters.into_owned(),
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

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::audit::{Actor, Engine, Input, Kind};
    use crate::case::{Decision, Hold, Priority, Reason, Route, STATEMENT, Wait};

    const DAY: i64 = 86_400_000;

    fn routed() -> Ruling<'static> {
        Ruling::Route(Route { queue: "q".into(), priority: Priority::Low, ack_by: None })
    }

    fn held() -> Ruling<'static> {
        Ruling::Hold(Hold { queue: "q".into(), priority: Priority::Low, until: Millis(DAY) })
    }

    /// The ruling of alert `n`, by record `n` and at that time, of a case of every other alert.
    fn ruling(n: i64, fate: Ruling<'static>, asks: bool) -> Record<'static> {
        let engine = Engine { version: "1".into(), build: "test".into() };
        let actor = Actor { service: "t".into(), instance: "t".into() };
        let wait = Wait { enricher: "owner".into(), why: Why::Timeout };
        let counters = Counters::alone(format!("case {}", n % 2), Millis(n));
        let topic = "alerts".into();
        Record {
            seq: n.unsigned_abs(),
            alert_id: Some(format!("alert {n}")),
            input: Some(Input { topic, partition: 0, offset: n, received_at: None }),
            counters: Some(Cow::Owned(counters)),
            waits: if asks { vec![wait] } else { Vec::new() },
            ruling: Some(Cow::Owned(Decision::new(fate, Reason::NoRule, "p", "r"))),
            ..Record::new(Kind::Ruling, Millis(n), engine, actor)
        }
    }

    fn again(n: i64, revision: u32, fate: Ruling<'static>) -> Record<'static> {
        let first = ruling(n, fate, true);
        Record { kind: Kind::Revision, revision: Some(revision), seq: 1000, input: None, ..first }
    }

    fn folded(records: &[Record<'_>]) -> Waits {
        let mut waits = Waits::default();
        records.iter().for_each(|record| waits.apply(record, Hash::NONE));
        waits
    }

    fn alerts(waits: &Waits) -> Vec<&str> {
        waits.iter().map(|waiting| waiting.alert_id.as_str()).collect()
    }

    #[test]
    fn a_hold_waits_for_its_revision_and_what_people_have_for_a_day() {
        let mut waits = folded(&[
            ruling(1, routed(), true),
            ruling(2, held(), false),
            ruling(3, routed(), false),
        ]);
        assert_eq!(alerts(&waits), ["alert 1", "alert 2"]);
        assert_eq!((waits.len(), waits.held(), waits.is_empty()), (2, 1, false));
        waits.prune(Millis(1 + DAY));
        assert_eq!(alerts(&waits), ["alert 1", "alert 2"]);
        waits.prune(Millis(2 + DAY));
        assert_eq!(alerts(&waits), ["alert 2"]);
        waits.prune(Millis(1000 * DAY));
        assert_eq!(alerts(&waits), ["alert 2"], "no time ends a hold");
        assert_eq!(Waits::of(waits.iter().cloned().collect()), waits);
        waits.apply(&Record { waits: Vec::new(), ..again(2, 1, routed()) }, Hash::NONE);
        assert_eq!((waits.len(), waits.held(), waits.is_empty()), (0, 0, true));
    }

    #[test]
    fn a_fact_is_awaited_through_so_many_revisions_and_a_hold_through_any() {
        let mut waits = folded(&[ruling(1, routed(), true), ruling(2, held(), true)]);
        let last = REVISIONS_MAX - 1;
        for n in [1, 2] {
            waits.apply(&again(n, last, if n == 1 { routed() } else { held() }), Hash::NONE);
            let waiting = waits.get(&format!("alert {n}")).unwrap();
            assert_eq!((waiting.revisions, waiting.offset, waiting.ruled_at), (last, n, Millis(n)));
            assert_eq!(waiting.cause.seq, n.unsigned_abs(), "the first ruling");
        }
        waits.apply(&again(1, REVISIONS_MAX, routed()), Hash::NONE);
        waits.apply(&again(2, REVISIONS_MAX, held()), Hash::NONE);
        assert_eq!(alerts(&waits), ["alert 2"]);
    }

    #[test]
    fn what_there_is_no_room_for_is_what_people_have() {
        let mut waits = folded(&[ruling(0, held(), false)]);
        let many = i64::try_from(ROUTED_MAX).unwrap();
        (1..=many).for_each(|n| waits.apply(&ruling(n, routed(), true), Hash::NONE));
        assert_eq!((waits.len(), alerts(&waits)[1]), (1 + ROUTED_MAX, "alert 1"));
        waits.apply(&ruling(many + 1, routed(), true), Hash::NONE);
        assert_eq!((waits.len(), waits.held()), (1 + ROUTED_MAX, 1));
        assert_eq!(alerts(&waits)[..2], ["alert 0", "alert 2"]);
    }

    fn release(order: Verb) -> Statement {
        Statement {
            statement: STATEMENT.to_owned(),
            v: 1,
            order,
            id: "an order".to_owned(),
            at: None,
            subject: Some(Subject {
                case_id: "case 0".to_owned(),
                nhi: "n".to_owned(),
                credential: None,
            }),
            issued_at: Millis(0),
            expires_at: Millis(DAY),
            by: "sam".to_owned(),
            via: None,
            to: None,
            close: None,
            except: None,
            why: None,
            ends: None,
        }
    }

    #[test]
    fn a_release_is_of_what_is_held_of_its_case() {
        let mut waits = folded(&[
            ruling(1, held(), false),
            ruling(2, held(), false),
            ruling(4, routed(), true),
        ]);
        let above = |max| waits.held_above(max).map(|it| &*it.alert_id).collect::<Vec<_>>();
        assert_eq!(
            (above(0), above(1), above(2)),
            (vec!["alert 1", "alert 2"], vec!["alert 1"], vec![])
        );
        let released = |waits: &Waits| -> Vec<String> {
            let of = waits.iter().filter(|waiting| waiting.standing.released.is_some());
            of.map(|waiting| waiting.alert_id.clone()).collect()
        };
        waits.release(&release(Verb::Ack), 9);
        assert_eq!(released(&waits), Vec::<String>::new());
        assert!(waits.holds("case 0") && waits.holds("case 1") && !waits.holds("case 2"));
        waits.release(&release(Verb::Release), 9);
        assert_eq!(released(&waits), ["alert 2"]);
        assert!(!waits.holds("case 0") && waits.holds("case 1"));
        waits.end(&ruling(1, held(), false));
        assert_eq!((alerts(&waits), waits.held()), (vec!["alert 2", "alert 4"], 1));
    }
}
