//! Accepted risks as facts: who orders them puts them on the chain, and its fold knows them.

use std::borrow::Cow;
use std::sync::Arc;

use super::lane::{Case, Lane};
use crate::case::{Alert, Excepted, FactRow, FactState, Facts, Millis, Type, Value};
use crate::correlate::State;
use crate::policy::Policy;

/// Where such a fact comes from.
const SOURCE: &str = "order";

impl Lane {
    /// What was looked up, and what people have accepted where a rule asks for it.
    pub(super) fn facts<'c>(
        &self,
        policy: &Policy,
        case: &'c Case<'_>,
        now: Millis,
    ) -> Cow<'c, Facts> {
        let alert = case.arrival.as_ref().and_then(|arrival| arrival.body.alert());
        let (Some(alert), Some(place)) = (alert, policy.schema().exceptions()) else {
            return Cow::Borrowed(&case.facts);
        };
        if !policy.wanted(alert).contains(&place) {
            return Cow::Borrowed(&case.facts);
        }
        let mut facts = case.facts.clone();
        facts.resize(facts.len().max(place + 1), None);
        let shape = policy.schema().enrichers.get(place);
        let row = shape.map(|shape| row(self.state(), (&shape.name, &shape.provides), alert, now));
        if let Some(slot) = facts.get_mut(place) {
            *slot = row.map(Arc::new);
        }
        Cow::Owned(facts)
    }
}

fn row(
    state: &State,
    (name, provides): (&Arc<str>, &[(String, Type)]),
    alert: &Alert<'_>,
    now: Millis,
) -> FactRow {
    let names = |order: &str| (Arc::clone(name), Arc::from(SOURCE), Arc::from(order));
    let covering = state.cases().covering(alert, now);
    let Some((case, excepted)) = covering.and_then(|case| Some((case, case.excepted()?))) else {
        return FactRow::new(names(""), "", Some(now), FactState::Absent, (provides, Vec::new()));
    };
    let values = provides.iter().map(|(field, _)| value(field, &case.id, excepted)).collect();
    let key = excepted.credential.as_deref().unwrap_or_default();
    let (order, since) = (names(&excepted.act.order), Some(excepted.act.at));
    FactRow::new(order, key, since, FactState::Known, (provides, values))
}

fn value(field: &str, case_id: &str, excepted: &Excepted) -> Value<'static> {
    let text = |text: &str| Value::Text(Cow::Owned(text.to_owned()));
    match field {
        "active" => Value::Bool(true),
        "ends" => Value::Time(excepted.ends_at),
        "since" => Value::Time(excepted.act.at),
        "by" => text(&excepted.act.by),
        "approvers" => {
            Value::List(excepted.approvers.iter().map(|name| name.as_str().into()).collect())
        }
        "emergency" => Value::Bool(excepted.emergency),
        "case_id" => text(case_id),
        "order" => text(&excepted.act.order),
        _ => Value::Absent,
    }
}
