use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::reason::coded;
use super::{Id, Millis, Priority, Ruling, Worked, id_of};

/// Where rulings have brought a case. In the order in which it can only rise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaseState {
    Held,
    New,
    Escalated,
}

/// As [`Told::state`] says them.
pub const CASE_STATES: [&str; 9] = [
    "held",
    "new",
    "escalated",
    "acknowledged",
    "excepted",
    "risk_closed",
    "finding_closed",
    "closed",
    "reopened",
];

coded! {
    /// Why people are told of a case, or told again. A repeat that changes none of this is only
    /// counted.
    Change:
    Opened "opened" "the first alert of the case that people see",
    Facts "facts" "it was ruled again with facts that were not known before",
    State "state" "a hold ended, or a containment was ruled",
    Priority "priority" "the priority rose",
    Severity "severity" "the detector's severity rose",
    Rule "rule" "another rule, no less urgent, ruled it",
    Validity "validity" "the credential's validity is another",
    Detector "detector" "another detector reports it",
    Repository "repository" "it is in another repository",
    Sources "sources" "the number of source addresses doubled",
    Count "count" "the number of alerts is ten times what it was",
    BreakOut "break_out" "it spread further than the playbook's `break_out` allows",
    Overdue "overdue" "nobody acknowledged it in time",
    SuppressionOver "suppression_over" "it was suppressed, and the time of that is over",
    Acknowledged "acknowledged" "a person acknowledged it",
    Assigned "assigned" "a person gave it to somebody",
    Closed "closed" "a person closed it, or one part of it",
    Reopened "reopened" "it was closed, and is open again",
    Excepted "excepted" "its risk is accepted for a time",
    Returned "returned" "the time for which its risk was accepted is over",
    Review "review" "its risk was accepted in an emergency, by one person alone: somebody else looks at that",
}

/// Different values of one kind: the first of them by name, and how many there are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    pub count: u32,
    /// LIMIT: as many as [`Spread::MAX`]; then nobody knows any more whether another one is new.
    pub some: Vec<Box<str>>,
    /// There are more than `count`.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub is_more: bool,
}

impl Spread {
    pub const MAX: usize = 16;
    /// Bytes. LIMIT: a case holds many names, and a snapshot many cases.
    const NAME_BYTES_MAX: usize = 256;

    pub fn is_new(&self, value: &str) -> bool {
        let name = Self::name_of(value);
        self.names_all() && !self.some.iter().any(|known| **known == *name)
    }

    /// Of a longer one its beginning, and what tells it from others that begin so.
    fn name_of(value: &str) -> Cow<'_, str> {
        if value.len() <= Self::NAME_BYTES_MAX {
            return Cow::Borrowed(value);
        }
        let hash = id_of("name", &[value.as_bytes()]);
        let mut end = Self::NAME_BYTES_MAX - hash.len() - "… ".len();
        while !value.is_char_boundary(end) {
            end -= 1;
        }
        Cow::Owned(format!("{}… {hash}", value.get(..end).unwrap_or_default()))
    }

    fn names_all(&self) -> bool {
        !self.is_more && u32::try_from(self.some.len()) == Ok(self.count)
    }

    /// How many there are with this one, and whether there are more than that.
    pub fn with(&self, value: Option<&str>) -> (u32, bool) {
        match value {
            Some(_) if !self.names_all() => (self.count, true),
            Some(value) if self.is_new(value) && self.some.len() == Self::MAX => (self.count, true),
            Some(value) if self.is_new(value) => (self.count + 1, false),
            _ => (self.count, self.is_more),
        }
    }

    pub fn add(&mut self, value: Option<&str>) {
        let before = self.count;
        (self.count, self.is_more) = self.with(value);
        if let Some(value) = value.filter(|_| self.count > before) {
            // Most cases never have a second one.
            self.some.reserve_exact(1);
            self.some.push(Self::name_of(value).into());
        }
    }

    /// Keeps the number alone: from then on it is the least there can be.
    pub fn forget(&mut self) {
        self.some = Vec::new();
    }
}

/// What people are told of a case by one record: it takes the place of what they were told before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Told<'a> {
    pub case_id: Id,
    /// From 1; with `case_id` the key by which it is delivered once.
    pub revision: u32,
    pub changed: Vec<Change>,
    pub state: CaseState,
    #[serde(borrow)]
    pub queue: Cow<'a, str>,
    /// The queue that has it no longer.
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub left: Option<Cow<'a, str>>,
    pub priority: Priority,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ack_by: Option<Millis>,
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub nhi: Option<Cow<'a, str>>,
    pub count: i64,
    pub first_seen: Millis,
    pub last_seen: Millis,
    pub detectors: Spread,
    pub repositories: Spread,
    pub sources: Spread,
    /// Other cases of the same NHI or of the same value, newest first.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub related: Vec<Id>,
    /// What people have done to it, as this record leaves it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub worked: Option<Box<Worked>>,
}

impl Told<'_> {
    /// What its queue is partitioned by: all that is told of a case stands in one order.
    pub fn key(&self) -> &str {
        self.nhi.as_deref().unwrap_or(&self.case_id)
    }

    /// What people call its state.
    pub fn state(&self) -> &'static str {
        self.worked.as_ref().map_or(self.state.code(), |worked| worked.state(self.state))
    }
}

impl CaseState {
    pub fn code(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::New => "new",
            Self::Escalated => "escalated",
        }
    }

    /// Nothing where people get nothing.
    pub fn of(fate: &Ruling<'_>) -> Option<Self> {
        match fate {
            Ruling::Route(_) => Some(Self::New),
            Ruling::Escalate(_) => Some(Self::Escalated),
            Ruling::Hold(_) => Some(Self::Held),
            Ruling::Suppress(_) | Ruling::DeadLetter(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_counts_each_value_once_and_says_when_it_lost_count() {
        let mut spread = Spread::default();
        for n in [1, 1, 2] {
            spread.add(Some(&n.to_string()));
        }
        spread.add(None);
        assert_eq!((spread.count, spread.is_more), (2, false));
        for n in 0..40 {
            spread.add(Some(&n.to_string()));
        }
        assert_eq!((spread.count, spread.some.len(), spread.is_more), (16, Spread::MAX, true));
        assert!(!spread.is_new("never seen"), "nobody knows");
        let mut spread = Spread::default();
        spread.add(Some("a"));
        spread.forget();
        assert!(!spread.is_new("a") && !spread.is_new("b") && !spread.is_more);
        spread.add(Some("a"));
        assert_eq!((spread.count, spread.is_more), (1, true), "one or more");
    }

    #[test]
    fn a_long_name_takes_little_room_and_is_told_from_others_that_begin_so() {
        let (fits, long) = ("é".repeat(128), "é".repeat(30_000));
        let mut spread = Spread::default();
        for name in [&fits, &long, &format!("{long}!"), &long, &fits] {
            spread.add(Some(name));
        }
        assert_eq!((spread.count, &*spread.some[0]), (3, fits.as_str()));
        assert!(spread.some[1].len() <= 256 && spread.some[1].starts_with("éééé"));
        assert!(!spread.is_new(&long) && spread.is_new(&format!("{long}?")));
    }
}
