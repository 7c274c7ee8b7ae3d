use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::had::Had;
use crate::case::{
    Alert, Breadth, BreakOut, Count, Counters, Excepted, Field, Millis, Spread, Worked, is_zero,
};

/// A case and whatever leads to it have one text of it between them.
pub(super) type Name = Arc<str>;

/// One problem: an NHI, a credential, and the time without a pause in which alerts about it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub id: Name,
    /// What its alerts are grouped by. None: its alert had no key, and no other joins it (INV-11).
    pub keys: Vec<Name>,
    pub nhi: Option<Name>,
    pub fingerprint: Option<Name>,
    /// The first id that an alert named.
    #[serde(default)]
    pub credential: Option<Box<str>>,
    pub seen: i64,
    /// There may be more of them than `seen`, and earlier ones than `first_seen`.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub is_partial: bool,
    pub first_seen: Millis,
    pub last_seen: Millis,
    /// The episode ends when this long passes without an alert.
    pub window_ms: i64,
    pub detectors: Spread,
    pub repositories: Spread,
    pub sources: Spread,
    /// None where everything was suppressed so far.
    pub had: Option<Had>,
    /// None where no person has done anything.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub worked: Option<Box<Worked>>,
}

/// What of cases is gone, without which nothing says how much is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Missed {
    /// The last of the cases that were dropped before their end would have ended then.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub until: Option<Millis>,
    /// When it was seen that alerts are lost.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lost: Option<Millis>,
}

impl Case {
    pub fn is_over(&self, at: Millis) -> bool {
        at.since(self.last_seen) > self.window_ms
    }

    /// Of a field that `break_out` may name.
    pub(super) fn spread(&self, field: Field) -> &Spread {
        match field {
            Field::Detector => &self.detectors,
            Field::Repository => &self.repositories,
            _ => &self.sources,
        }
    }

    /// The first that reported it.
    pub(super) fn detector(&self) -> Option<&str> {
        self.detectors.some.first().map(|name| &**name)
    }

    pub(super) fn has_names(&self) -> bool {
        !(self.repositories.some.is_empty() && self.sources.some.is_empty())
    }

    /// Where others of the same NHI or the same value find it.
    pub(super) fn places(&self) -> impl Iterator<Item = (Name, Millis, Name)> {
        let place = |name: &Name| (name.clone(), self.first_seen, self.id.clone());
        self.nhi.iter().chain(&self.fingerprint).map(place)
    }

    pub(super) fn due(&self) -> Option<(Millis, Name)> {
        let had = self.had.as_ref().filter(|had| !had.is_overdue)?;
        Some((had.ack_by?, self.id.clone()))
    }

    pub fn is_acked(&self) -> bool {
        self.worked.as_ref().is_some_and(|worked| worked.acked.is_some())
    }

    /// What people have accepted of it.
    pub fn excepted(&self) -> Option<&Excepted> {
        self.worked.as_ref()?.excepted.as_ref()
    }

    /// Whether this playbook ruled what people have of it; where not all is remembered, it may be.
    pub fn may_be_of(&self, playbook: &str) -> bool {
        self.had.as_ref().is_some_and(|had| had.may_be_of(playbook))
    }

    /// Whose it is. An alert without an NHI is a case of its own, and stands for itself.
    pub fn subject(&self) -> Option<&str> {
        let alone = || self.had.as_ref().map(|had| &*had.alert_id);
        self.nhi.as_deref().or_else(alone)
    }

    /// With one alert more.
    pub(super) fn add(&mut self, alert: &Alert<'_>) {
        self.detectors.add(alert.text(Field::Detector));
        self.repositories.add(alert.text(Field::Repository));
        self.sources.add(alert.text(Field::SourceIp));
        if self.credential.is_none() {
            self.credential = alert.text(Field::CredentialId).map(Into::into);
        }
    }

    pub(super) fn new(counters: &Counters, alert: Option<&Alert<'_>>) -> Self {
        let text = |field| alert.and_then(|alert| alert.text(field)).map(Into::into);
        Self {
            id: counters.case_id.as_str().into(),
            keys: Vec::new(),
            nhi: text(Field::NhiId),
            fingerprint: text(Field::CredentialFingerprint),
            credential: None,
            seen: 0,
            is_partial: false,
            first_seen: counters.first_seen,
            last_seen: counters.first_seen,
            window_ms: counters.window_ms,
            detectors: Spread::default(),
            repositories: Spread::default(),
            sources: Spread::default(),
            had: None,
            worked: None,
        }
    }
}

/// How far a case has spread with this alert.
pub(super) fn breadth(
    out: BreakOut,
    (case, is_partial): (Option<&Case>, bool),
    alert: &Alert<'_>,
) -> Option<Breadth> {
    let none = Spread::default();
    let spread = case.map_or(&none, |case| case.spread(out.distinct));
    let (count, is_more) = spread.with(alert.text(out.distinct));
    let count = i64::from(count);
    let count = match is_more || is_partial {
        true => Count::AtLeast { at_least: count },
        false => Count::Exactly(count),
    };
    Some(Breadth { distinct: out.distinct.path().into(), count })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Actor, Engine, Folded, Gap, Hash, Kind, Lost, Record};
    use crate::case::Grouping;
    use crate::correlate::State;

    fn counters(state: &State, id: &str, at: i64) -> Counters {
        let group = Grouping { id: id.to_owned(), also: None, window_ms: 1000, break_out: None };
        state.counters(&format!("{id} at {at}"), None, Some(group), Millis(at))
    }

    #[test]
    fn a_case_that_may_have_been_dropped_has_at_least_what_is_known_of_it() {
        let mut state = State::default();
        state.count(&counters(&state, "g", 0), None, Millis(0));
        for n in 0..40_000 {
            state.count(&counters(&state, &n.to_string(), 500), None, Millis(500));
        }
        state.snapshot(Millis(600));
        let again = counters(&state, "g", 700);
        assert_eq!((again.seen, again.is_partial), (1, true));
        assert!(!counters(&state, "g", 1501).is_partial, "after a pause that ends an episode");
        state.count(&again, None, Millis(700));
        let parts = state.snapshot(Millis(700));
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let state = State::restore(&parts).unwrap();
        assert!(counters(&state, "g", 1600).is_partial, "as long as the case goes on");
        assert!(counters(&state, "other", 1500).is_partial, "and what else may have begun");
        assert!(!counters(&state, "g", 1701).is_partial);
    }

    #[test]
    fn alerts_that_are_lost_may_have_been_of_any_case() {
        let mut state = State::default();
        state.count(&counters(&state, "g", 0), None, Millis(0));
        assert!(!counters(&state, "g", 10).is_partial);
        let engine = Engine { version: "1".into(), build: "test".into() };
        let actor = Actor { service: "t".into(), instance: "t".into() };
        let gap = |of| Record {
            gap: Some(Gap { from: 1, to: 2, of }),
            ..Record::new(Kind::Gap, Millis(20), engine.clone(), actor.clone())
        };
        state.apply(&gap(Lost::Control), Hash::NONE);
        state.apply(&gap(Lost::Orders), Hash::NONE);
        assert!(!counters(&state, "g", 30).is_partial, "orders are no alerts");
        state.apply(&gap(Lost::Alerts), Hash::NONE);
        for (id, at, is_partial) in [("g", 30, true), ("h", 1020, true), ("h", 1021, false)] {
            assert_eq!(counters(&state, id, at).is_partial, is_partial, "{id} at {at}");
        }
        let mut alert = Alert::default();
        alert.set(Field::NhiId, crate::case::Value::Text("svc".into()));
        for at in [1000, 2000] {
            state.count(&counters(&state, "h", at), Some(&alert), Millis(at));
        }
        let other = Grouping { id: "i".into(), also: None, window_ms: 1000, break_out: None };
        let other = state.counters("a", Some(&alert), Some(other), Millis(2100));
        assert!(other.is_partial, "by another key of what goes on, it may be of it");
    }
}
