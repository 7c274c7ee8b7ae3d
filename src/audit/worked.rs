use serde::Serialize;

use super::outputs::{CASES_PREFIX, Named, Output, written};
use super::{Appended, Record};
use crate::case::{Millis, OrderedCase, Priority, Statement, Verb, Worked};

/// A case that a person has worked on, for the queue that has it.
#[derive(Serialize)]
struct WorkedCase<'r> {
    v: u32,
    case_id: &'r str,
    correlation_id: &'r str,
    alert_ids: [&'r str; 1],
    first_seen: Millis,
    last_seen: Millis,
    count: i64,
    summary: String,
    /// `acknowledged`, `assigned`, `reopened`, `risk_closed`, `finding_closed`, `closed`,
    /// `excepted`, `review` or, at the end of an exception, `returned`.
    state: &'r str,
    queue: &'r str,
    priority: Priority,
    nhi: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<&'r str>,
    worked: &'r Worked,
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<Ordered<'r>>,
    record: Named<'r>,
}

#[derive(Clone, Copy, Serialize)]
struct Ordered<'r> {
    order: Verb,
    id: &'r str,
    by: &'r str,
    at: Millis,
}

impl<'r> WorkedCase<'r> {
    fn output(
        case: &'r OrderedCase,
        (state, queue): (&'r str, &'r str),
        order: Option<Ordered<'r>>,
        record: Named<'r>,
    ) -> Option<Output> {
        let by = order.map_or_else(String::new, |order| format!(" by {}", order.by));
        let worked = Self {
            v: 1,
            case_id: &case.case_id,
            correlation_id: &case.correlation_id,
            alert_ids: [&case.alert_id],
            first_seen: case.first_seen,
            last_seen: case.last_seen,
            count: case.count,
            summary: format!("{}: {}, {state}{by}", case.kind, case.nhi),
            state,
            queue,
            priority: case.priority,
            nhi: &case.nhi,
            credential: case.credential.as_deref(),
            worked: &case.worked,
            order,
            record,
        };
        let topic = format!("{CASES_PREFIX}{queue}");
        Some(Output { topic, key: case.nhi.clone(), value: written(&worked).ok()? })
    }
}

/// What an accepted order or the end of an exception tells the queue; the revision that follows a
/// `release` tells of that.
pub(super) fn worked(record: &Record<'_>, appended: Appended, emit: &mut dyn FnMut(Output)) {
    let named = || Named::of(record, appended);
    if let Some(case) = record.timer.as_ref().and_then(|timer| timer.case.as_deref()) {
        let returned = WorkedCase::output(case, ("returned", &case.queue), None, named());
        return returned.into_iter().for_each(emit);
    }
    let Some(order) = record.order.as_ref().filter(|order| order.refused.is_none()) else { return };
    let statement = order.statement.as_deref().and_then(|text| Statement::read(text).ok());
    let (Some(case), Some(state)) = (order.case.as_deref(), order.state.as_deref()) else { return };
    let Some(statement) = statement.filter(|statement| statement.order != Verb::Release) else {
        return;
    };
    let Statement { order: verb, id, by, .. } = &statement;
    let ordered = Ordered { order: *verb, id, by, at: record.at };
    let places = [(state, Some(&*case.queue)), ("review", order.review_queue.as_deref())];
    for (state, queue) in places.into_iter().filter_map(|(state, queue)| Some((state, queue?))) {
        let output = WorkedCase::output(case, (state, queue), Some(ordered), named());
        output.into_iter().for_each(&mut *emit);
    }
}
