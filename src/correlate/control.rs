use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::orders::{had_its_turn, is_accepted, is_unread};
use crate::audit::{Gap, Lost, Record};
use crate::case::{Millis, Statement, Stopped, Verb};

/// Another broker may lead the topic, with a clock that is behind.
const CLOCKS_DIFFER_MS: i64 = 3_600_000;

/// What people ordered about everything, as far as this chain has read of it.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Control {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    stopped: Option<Stopped>,
    /// Ids of orders that had their turn, until the control topic's own time is past their end: a
    /// chain that reads it late finds the same of them used.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    used: BTreeMap<String, Millis>,
}

impl Control {
    pub fn stopped(&self) -> Option<&Stopped> {
        self.stopped.as_ref()
    }

    /// Whether an order of this id had its turn that was still good at this time of the topic's.
    pub fn was_used(&self, id: &str, received_at: Millis) -> bool {
        self.used.get(id).is_some_and(|expires_at| *expires_at > received_at)
    }

    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    pub fn apply(&mut self, record: &Record<'_>) {
        if let Some(Gap { from, to, .. }) = record.gap.filter(|gap| gap.of == Lost::Control) {
            let why = format!(
                "orders {from} to {to} of the control topic were gone before they were read"
            );
            self.miss(why, record.at);
        }
        if is_unread(record) {
            let why =
                format!("order {} of the chain is in words that are not known here", record.seq);
            self.miss(why, record.at);
        }
        if let Some(statement) = had_its_turn(record).filter(|it| it.order.concerns_everything()) {
            let received_at = record.input.as_ref().and_then(|input| input.received_at);
            self.take(&statement, received_at.unwrap_or(record.at), is_accepted(record));
        }
    }

    fn take(&mut self, statement: &Statement, received_at: Millis, is_accepted: bool) {
        self.used.retain(|_, expires_at| expires_at.plus(CLOCKS_DIFFER_MS) > received_at);
        self.used.insert(statement.id.clone(), statement.expires_at);
        if !is_accepted {
            return;
        }
        self.stopped = (statement.order == Verb::Stop).then(|| Stopped {
            since: received_at,
            by: Some(statement.by.clone()),
            order: Some(statement.id.clone()),
            why: statement.why.clone().unwrap_or_default(),
        });
    }

    /// What nobody here has read may have been a stop.
    fn miss(&mut self, why: String, at: Millis) {
        self.stopped.get_or_insert(Stopped { since: at, by: None, order: None, why });
    }
}
