use std::collections::BTreeMap;

use crate::audit::Record;
use crate::case::{Millis, Refusal, Statement};

/// How the name of the control topic ends.
const CONTROL: &str = ".control";

/// Ids of orders that had their turn, until they would be refused as expired anyway.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Orders {
    used: BTreeMap<String, Millis>,
}

impl Orders {
    pub(super) fn of(used: BTreeMap<String, Millis>) -> Self {
        Self { used }
    }

    pub(super) fn written(&self) -> &BTreeMap<String, Millis> {
        &self.used
    }

    /// Whether an order of this id had its turn that is still good.
    pub fn was_used(&self, id: &str, at: Millis) -> bool {
        self.used.get(id).is_some_and(|expires_at| *expires_at > at)
    }

    pub(super) fn take(&mut self, statement: &Statement) {
        self.used.insert(statement.id.clone(), statement.expires_at);
    }

    pub(super) fn prune(&mut self, at: Millis) {
        self.used.retain(|_, expires_at| *expires_at > at);
    }
}

pub(super) fn is_accepted(record: &Record<'_>) -> bool {
    record.order.as_ref().is_some_and(|order| order.refused.is_none())
}

/// Whether a program that knows more words has accepted it, about everything.
pub(super) fn is_unread(record: &Record<'_>) -> bool {
    is_accepted(record)
        && record.input.as_ref().is_some_and(|input| input.topic.ends_with(CONTROL))
        && statement(record).is_none()
}

fn statement(record: &Record<'_>) -> Option<Statement> {
    Statement::read(record.order.as_ref()?.statement.as_deref()?).ok()
}

/// The statement of an order that was accepted, or came when there was nothing to do: else whoever
/// can write to the topic could keep it for a time when there is.
pub(super) fn had_its_turn(record: &Record<'_>) -> Option<Statement> {
    let is_over = |refused: Option<Refusal>| refused.is_none_or(|it| it == Refusal::NotNow);
    record.order.as_ref().filter(|order| is_over(order.refused))?;
    statement(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_good_once_until_its_end() {
        let mut orders = Orders::of(BTreeMap::from([("a".to_owned(), Millis(10))]));
        for at in [0, 9] {
            orders.prune(Millis(at));
            assert!(orders.was_used("a", Millis(at)) && !orders.was_used("b", Millis(at)));
        }
        assert!(!orders.was_used("a", Millis(10)) && !orders.was_used("a", Millis(11)));
        assert_eq!(Orders::of(orders.written().clone()), orders);
        orders.prune(Millis(10));
        assert_eq!(orders, Orders::default());
    }
}
