use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::audit::{Order, Record};
use crate::case::{Field, Id, Millis, OrderedCase, Ruling, Statement};

/// Cases that an order can be about. LIMIT: of more, the one whose first alert is oldest is
/// forgotten, and an order about it is refused as `no_such_case`.
const CASES_MAX: usize = 2048;

/// LIMIT: no more risks are accepted at a time in one partition.
pub const EXCEPTIONS_MAX: usize = 1024;

/// What people have ordered, and the cases they can order something about: a fold over the chain.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Orders {
    /// Ids of accepted orders, until they would be refused as expired anyway.
    used: BTreeMap<String, Millis>,
    /// By the number of the first ruling's record.
    cases: BTreeMap<u64, OrderedCase>,
    numbers: HashMap<Id, u64>,
}

/// As it stands in a snapshot.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenOrders {
    used: BTreeMap<String, Millis>,
    cases: BTreeMap<u64, OrderedCase>,
}

impl WrittenOrders {
    pub(super) fn is_empty(&self) -> bool {
        self.used.is_empty() && self.cases.is_empty()
    }
}

impl Orders {
    pub(super) fn of(written: WrittenOrders) -> Self {
        let WrittenOrders { used, cases } = written;
        let numbers = cases.iter().map(|(seq, case)| (case.case_id.clone(), *seq)).collect();
        Self { used, cases, numbers }
    }

    pub(super) fn written(&self) -> WrittenOrders {
        WrittenOrders { used: self.used.clone(), cases: self.cases.clone() }
    }

    /// Whether an order of this id was accepted, as long as it could be accepted again.
    pub fn was_used(&self, id: &str) -> bool {
        self.used.contains_key(id)
    }

    pub fn case(&self, case_id: &str) -> Option<&OrderedCase> {
        self.cases.get(self.numbers.get(case_id)?)
    }

    /// A ruling or a revision: which case it is of, and who has it now.
    pub(super) fn ruled(&mut self, record: &Record<'_>) {
        let (Some(decision), Some(counters)) = (&record.ruling, &record.counters) else { return };
        let is_for_people =
            matches!(decision.fate, Ruling::Route(_) | Ruling::Hold(_) | Ruling::Escalate(_));
        let (Some(alert), Some(alert_id)) = (record.alert.as_deref(), &record.alert_id) else {
            return;
        };
        let place = (decision.fate.queue(), decision.fate.priority());
        let (Some(queue), Some(priority)) = place else { return };
        if !is_for_people {
            return;
        }
        let known = self.numbers.get(&counters.case_id).and_then(|seq| self.cases.get_mut(seq));
        if let Some(case) = known {
            case.alert_id.clone_from(alert_id);
            queue.clone_into(&mut case.queue);
            case.priority = priority;
            case.last_seen = record.at;
            case.count = case.count.max(counters.seen);
            // What is seen again after it was closed is a regression.
            if record.revision.is_none() && case.worked.is_partly_closed() {
                case.worked.reopen();
            }
            return;
        }
        let text = |field: Field| alert.text(field).map(str::to_owned);
        let credential = text(Field::CredentialId).or_else(|| text(Field::CredentialFingerprint));
        let case = OrderedCase {
            case_id: counters.case_id.clone(),
            correlation_id: record.correlation_id.as_deref().unwrap_or_default().to_owned(),
            alert_id: alert_id.clone(),
            kind: text(Field::Kind).unwrap_or_default(),
            nhi: text(Field::NhiId).unwrap_or_else(|| alert_id.clone()),
            credential,
            playbook: decision.playbook.to_string(),
            queue: queue.to_owned(),
            priority,
            first_seen: counters.first_seen,
            last_seen: record.at,
            count: counters.seen,
            worked: crate::case::Worked::default(),
        };
        self.numbers.insert(case.case_id.clone(), record.seq);
        self.cases.insert(record.seq, case);
        while self.cases.len() > CASES_MAX {
            // An exception is never forgotten before its end.
            let mut all = self.cases.iter();
            let oldest = all.find(|(_, case)| case.worked.excepted.is_none());
            let Some(seq) = oldest.map(|(seq, _)| *seq) else { return };
            if let Some(forgotten) = self.cases.remove(&seq) {
                self.numbers.remove(&forgotten.case_id);
            }
        }
    }

    /// An accepted order.
    pub(super) fn ordered(&mut self, order: &Order<'_>, statement: &Statement) {
        self.used.insert(statement.id.clone(), statement.expires_at);
        self.take(order.case.as_deref());
    }

    /// The end of an exception.
    pub(super) fn timer(&mut self, record: &Record<'_>) {
        self.take(record.timer.as_ref().and_then(|timer| timer.case.as_deref()));
    }

    fn take(&mut self, case: Option<&OrderedCase>) {
        let Some(case) = case else { return };
        let seq = self.numbers.get(&case.case_id);
        if let Some(known) = seq.and_then(|seq| self.cases.get_mut(seq)) {
            known.worked.clone_from(&case.worked);
        }
    }

    /// Cases whose risk is accepted.
    pub fn excepted(&self) -> impl Iterator<Item = &OrderedCase> {
        self.cases.values().filter(|case| case.worked.excepted.is_some())
    }

    pub(super) fn prune(&mut self, at: Millis) {
        self.used.retain(|_, expires_at| *expires_at > at);
    }
}

/// The statement of an order that was accepted.
pub(super) fn accepted<'r, 'a>(record: &'r Record<'a>) -> Option<(&'r Order<'a>, Statement)> {
    let order = record.order.as_ref().filter(|order| order.refused.is_none())?;
    Some((order, Statement::read(order.statement.as_deref()?).ok()?))
}
