use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::waiting::Before;
use crate::audit::{Cause, Hash, Kind, Record};
use crate::case::{Counters, Id, Millis, OnExpiry, Reason, Ruling};

/// Silences of one chain. LIMIT: above it the one that would end first ends now.
const SILENCES_MAX: usize = 4096;

/// What rules suppressed of one case, from its first alert until that one's expiry. Then it ends,
/// on record: another alert of the case begins another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Silence {
    pub case_id: Id,
    /// The last alert that was suppressed, and its place on the alerts topic.
    pub alert_id: Id,
    pub offset: i64,
    pub cause: Cause,
    pub counters: Counters,
    pub playbook: Box<str>,
    pub nhi: Option<Box<str>>,
    pub count: i64,
    pub since: Millis,
    pub last: Millis,
    pub until: Millis,
    pub on_expiry: OnExpiry,
}

/// By case: a fold over the chain like everything beside it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Silences {
    by_case: BTreeMap<Id, Silence>,
    ends: BTreeSet<(Millis, Id)>,
}

impl Silence {
    pub fn before(&self) -> Before<'_> {
        Before { standing: None, counters: &self.counters, cause: &self.cause, revisions: 0 }
    }
}

impl Silences {
    pub(super) fn of(all: Vec<Silence>) -> Self {
        let mut silences = Self::default();
        all.into_iter().for_each(|silence| silences.put(silence));
        silences
    }

    pub(super) fn written(&self) -> Vec<&Silence> {
        self.by_case.values().collect()
    }

    /// Those whose time is over, and those for which there is no room; what ends first in front.
    pub fn over(&self, at: Millis) -> impl Iterator<Item = &Silence> {
        let many = self.surplus();
        let ends = self.ends.iter().enumerate();
        let over = ends.take_while(move |(place, (until, _))| *until <= at || *place < many);
        over.filter_map(|(_, (_, case_id))| self.by_case.get(case_id))
    }

    /// The cases of those for which there is room.
    pub(super) fn kept(&self) -> impl Iterator<Item = &str> {
        self.ends.iter().skip(self.surplus()).map(|(_, case_id)| &**case_id)
    }

    /// How many there is no room for.
    pub fn surplus(&self) -> usize {
        self.len().saturating_sub(SILENCES_MAX)
    }

    pub fn len(&self) -> usize {
        self.by_case.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_case.is_empty()
    }

    fn put(&mut self, silence: Silence) {
        self.ends.insert((silence.until, silence.case_id.clone()));
        self.by_case.insert(silence.case_id.clone(), silence);
    }

    fn take(&mut self, case_id: &str) -> Option<Silence> {
        let silence = self.by_case.remove(case_id)?;
        self.ends.remove(&(silence.until, silence.case_id.clone()));
        Some(silence)
    }

    /// The playbook of what this record ends without a ruling.
    pub(super) fn ended_by(&self, record: &Record<'_>) -> Option<Box<str>> {
        let counters = record.counters.as_ref().filter(|_| record.kind == Kind::Timer)?;
        self.by_case.get(&counters.case_id).map(|silence| silence.playbook.clone())
    }

    pub(super) fn apply(&mut self, record: &Record<'_>, hash: Hash) {
        let Some(counters) = &record.counters else { return };
        match record.kind {
            Kind::Ruling => {}
            // With the ruling made again, or with what people are told instead.
            Kind::Revision | Kind::Timer => {
                let has_people = record.revised.as_ref().is_some_and(|it| it.standing.is_some());
                if !has_people {
                    self.take(&counters.case_id);
                }
                return;
            }
            _ => return,
        }
        let (Some(decision), Some(alert_id)) = (&record.ruling, &record.alert_id) else { return };
        let (Ruling::Suppress(suppress), Some(input)) = (&decision.fate, &record.input) else {
            return;
        };
        // What is no alert is no part of a case.
        if decision.reason == Reason::NotAnAlert {
            return;
        }
        let before = self.take(&counters.case_id);
        let (count, since) = before.as_ref().map_or((0, record.at), |it| (it.count, it.since));
        let until = before.as_ref().map_or(suppress.expires_at, |it| it.until);
        let on_expiry = before.as_ref().map_or(suppress.on_expiry, |it| it.on_expiry);
        self.put(Silence {
            case_id: counters.case_id.clone(),
            alert_id: alert_id.clone(),
            offset: input.offset,
            cause: Cause { seq: record.seq, hash },
            counters: counters.clone().into_owned(),
            playbook: (&*decision.playbook).into(),
            nhi: crate::audit::nhi(record).map(Into::into),
            count: count + 1,
            since,
            last: record.at,
            until: until.min(suppress.expires_at),
            on_expiry: on_expiry.max(suppress.on_expiry),
        });
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::collections::BTreeMap;

    use super::*;
    use crate::audit::{Actor, Engine, Folded, Input};
    use crate::case::{Again, Decision, Revised, Suppress};
    use crate::correlate::State;

    fn blank(kind: Kind, at: i64) -> Record<'static> {
        let engine = Engine { version: "1".into(), build: "test".into() };
        Record::new(kind, Millis(at), engine, Actor { service: "t".into(), instance: "t".into() })
    }

    fn suppressed(case: &str, at: i64, (reason, on_expiry): (Reason, OnExpiry)) -> Record<'static> {
        let suppress = Suppress {
            evidence: vec![],
            expires_at: Millis(at + 100),
            on_expiry,
            authorized_by: "o".into(),
        };
        let decision = Decision::new(Ruling::Suppress(suppress), reason, "p", "r");
        let counters = Counters::alone(case.to_owned(), Millis(at));
        Record {
            alert_id: Some(format!("alert {at}")),
            input: Some(Input {
                topic: "alerts".into(),
                partition: 0,
                offset: at,
                received_at: None,
            }),
            next_in: BTreeMap::new(),
            counters: Some(Cow::Owned(counters)),
            ruling: Some(Cow::Owned(decision)),
            ..blank(Kind::Ruling, at)
        }
    }

    fn over(silences: &Silences, at: i64) -> Vec<(&str, i64)> {
        let over = silences.over(Millis(at));
        over.map(|silence| (silence.case_id.as_str(), silence.count)).collect()
    }

    #[test]
    fn a_silence_ends_with_its_first_alert_and_another_begins_after_it() {
        let (fixture, hash) = (Reason::TestFixture, Hash::NONE);
        let mut silences = Silences::default();
        for (case, at) in [("a", 0), ("a", 50), ("b", 60)] {
            silences.apply(&suppressed(case, at, (fixture, OnExpiry::Recheck)), hash);
        }
        silences.apply(&suppressed("c", 0, (Reason::NotAnAlert, OnExpiry::Recheck)), hash);
        assert_eq!((over(&silences, 99), over(&silences, 100)), (vec![], vec![("a", 2)]));
        assert_eq!(silences.by_case["a"].offset, 50, "the last one is ruled again");
        let revised = Revised { why: Again::SuppressionOver, facts: vec![], standing: None };
        let again = Record {
            kind: Kind::Revision,
            input: None,
            revised: Some(revised),
            ..suppressed("a", 100, (fixture, OnExpiry::Recheck))
        };
        silences.apply(&again, hash);
        assert_eq!(over(&silences, 1000), [("b", 1)], "whatever it came to");
        silences.apply(&suppressed("a", 500, (fixture, OnExpiry::Recheck)), hash);
        let timer = Record { counters: again.counters, ..blank(Kind::Timer, 600) };
        silences.apply(&timer, hash);
        assert_eq!(over(&silences, 1000), [("b", 1)]);
        assert_eq!(Silences::of(silences.written().into_iter().cloned().collect()), silences);
    }

    /// What ends it tells of the case as it was.
    #[test]
    fn a_flood_evicts_no_case_that_is_silenced() {
        let mut state = State::default();
        let mut record = suppressed("silenced", 0, (Reason::TestFixture, OnExpiry::Recheck));
        let counters = |n: usize| Counters {
            group: Some(format!("group {n}")),
            ..Counters::alone(format!("case {n}"), Millis(1))
        };
        record.counters.as_mut().unwrap().to_mut().group = Some("group".into());
        state.apply(&record, Hash::NONE);
        for n in 0..40_000 {
            state.count(&counters(n), None, Millis(1));
        }
        state.snapshot(Millis(2));
        assert!(state.cases().len() < 40_000 && state.cases().get("silenced").is_some());
    }

    #[test]
    fn a_summary_that_one_rule_asks_for_is_not_lost_by_another_and_room_is_made_by_ending() {
        let mut silences = Silences::default();
        for on_expiry in [OnExpiry::ReleaseSummary, OnExpiry::Recheck] {
            let record = suppressed("a", 10, (Reason::TestFixture, on_expiry));
            silences.apply(&record, Hash::NONE);
        }
        assert_eq!(silences.by_case["a"].on_expiry, OnExpiry::ReleaseSummary);
        for n in 0..SILENCES_MAX {
            let record =
                suppressed(&format!("{n:05}"), 20, (Reason::TestFixture, OnExpiry::Recheck));
            silences.apply(&record, Hash::NONE);
        }
        assert_eq!(over(&silences, 20), [("a", 2)]);
    }
}
