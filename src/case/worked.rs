use serde::{Deserialize, Serialize};

use super::{
    CaseState, Change, Closing, Id, Judgement, Millis, Part, Statement, Verb, Via, is_zero,
};

/// Who did something to a case, when, and by which order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Act {
    pub by: String,
    pub at: Millis,
    /// The order's id.
    pub order: String,
    /// It came through a sink.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub via: Option<Box<Via>>,
}

/// A closing; what shows it stands in its order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closed {
    pub act: Act,
    pub verdict: Judgement,
    pub reason: String,
    /// The case that it repeats.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub of: Option<Id>,
}

/// A risk that is accepted, by whom, and until when; why stands in its order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Excepted {
    pub act: Act,
    pub ends_at: Millis,
    /// The credential that the order named: it is accepted of no other.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub credential: Option<String>,
    pub approvers: Vec<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub emergency: bool,
}

/// What people have done to a case.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Worked {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub acked: Option<Act>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub assignee: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub risk_closed: Option<Closed>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub finding_closed: Option<Closed>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub excepted: Option<Excepted>,
    /// How often it was opened again, by people, by an alert or by the end of an exception.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub reopened: u32,
}

impl Worked {
    /// Risk and finding are both gone.
    pub fn is_closed(&self) -> bool {
        self.risk_closed.is_some() && self.finding_closed.is_some()
    }

    pub fn is_partly_closed(&self) -> bool {
        self.risk_closed.is_some() || self.finding_closed.is_some()
    }

    pub fn has_closed(&self, part: Option<Part>) -> bool {
        match part {
            None => self.is_closed(),
            Some(Part::Risk) => self.risk_closed.is_some(),
            Some(Part::Finding) => self.finding_closed.is_some(),
        }
    }

    /// What an accepted order makes of it. A `release` changes nothing here: what is ruled again
    /// because of it tells of itself.
    pub fn take(&mut self, statement: &Statement, at: Millis) -> Option<Change> {
        let act = || Act {
            by: statement.by.clone(),
            at,
            order: statement.id.clone(),
            via: statement.via.clone(),
        };
        let change = match statement.order {
            Verb::Release | Verb::Stop | Verb::Resume => return None,
            Verb::Reopen => {
                self.reopen();
                return Some(Change::Reopened);
            }
            Verb::Ack => Change::Acknowledged,
            Verb::Assign => {
                self.assignee.clone_from(&statement.to);
                Change::Assigned
            }
            Verb::Close => {
                self.close(statement.close.as_ref()?, act());
                Change::Closed
            }
            Verb::Except => {
                let excepting = statement.except.as_ref()?;
                self.excepted = Some(Excepted {
                    act: act(),
                    ends_at: excepting.ends_at()?,
                    credential: statement.subject.as_ref()?.credential.clone(),
                    approvers: excepting.approvers.clone(),
                    emergency: excepting.emergency,
                });
                Change::Excepted
            }
        };
        // Whoever orders something about it has seen it.
        self.acked.get_or_insert_with(act);
        Some(change)
    }

    fn close(&mut self, closing: &Closing, act: Act) {
        let Closing { verdict, reason, of, part, .. } = closing;
        let closed = Closed { act, verdict: *verdict, reason: reason.clone(), of: of.clone() };
        if *part != Some(Part::Finding) {
            self.risk_closed = Some(closed.clone());
        }
        if *part != Some(Part::Risk) {
            self.finding_closed = Some(closed);
        }
    }

    /// It is to be acknowledged again; who has it keeps it, and an exception lasts as long as it
    /// was to.
    pub fn reopen(&mut self) {
        (self.acked, self.risk_closed, self.finding_closed) = (None, None, None);
        self.reopened = self.reopened.saturating_add(1);
    }

    /// The exception is over: the case is people's again.
    pub fn end_exception(&mut self) {
        self.excepted = None;
        self.reopen();
    }

    /// How the case stands, where rulings alone have brought it to `ruled`.
    pub fn state(&self, ruled: CaseState) -> &'static str {
        match (&self.risk_closed, &self.finding_closed) {
            (Some(_), Some(_)) => "closed",
            (Some(_), None) => "risk_closed",
            (None, Some(_)) => "finding_closed",
            (None, None) if self.excepted.is_some() => "excepted",
            (None, None) if self.acked.is_some() => "acknowledged",
            (None, None) if self.reopened > 0 && ruled == CaseState::New => "reopened",
            (None, None) => ruled.code(),
        }
    }
}
