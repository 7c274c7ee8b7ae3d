use crate::case::{
    Again, Blocked, CacheState, Decision, EnricherShape, Escalate, FactRow, FactState, Facts,
    Field, Hold, Millis, Priority, Reason, Revised, Route, Ruling, Standing, Value, Wait, Why,
};
use crate::clause::Slot;
use crate::policy::Policy;

use super::{Inputs, decide};

/// Rules again, with what is known now, what people have already or what was suppressed.
///
/// INVARIANT (INV-4): it may enrich, raise or release a hold. It never suppresses what people have,
/// never lowers the priority, never takes a case out of people's hands.
pub fn revise<'p>(
    policy: &'p Policy,
    inputs: &Inputs<'p>,
    revised: &'p Revised<'p>,
) -> Decision<'p> {
    again(policy, decide(policy, inputs).decision, inputs, revised)
}

/// What a ruling becomes that is made again.
pub(super) fn again<'p>(
    policy: &'p Policy,
    mut decision: Decision<'p>,
    inputs: &Inputs<'_>,
    revised: &'p Revised<'p>,
) -> Decision<'p> {
    let now = inputs.now;
    decision.fate = due_from_now(decision.fate, inputs);
    let fallback = fallback(policy, &decision);
    let Some(standing) = &revised.standing else { return checked(decision, fallback, now) };
    let (fate, reason) = match decision.fate {
        Ruling::Escalate(escalate) => {
            (Ruling::Escalate(raised(escalate, standing)), decision.reason)
        }
        Ruling::Suppress(_) => {
            decision.blocked.push(Blocked {
                action: "suppress".into(),
                rule: decision.rule.clone(),
                why: Reason::LateSuppression.about().into(),
            });
            (with_people(standing, fallback, now), Reason::LateSuppression)
        }
        Ruling::Hold(_) if standing.is_held && revised.why == Again::HoldOver => {
            (with_people(standing, fallback, now), Reason::HoldOver)
        }
        Ruling::Hold(_) if standing.is_held && revised.why == Again::Released => {
            (with_people(standing, fallback, now), Reason::Released)
        }
        Ruling::Hold(_) => (as_it_was(standing), decision.reason),
        Ruling::Route(route) => (Ruling::Route(routed(route, standing)), decision.reason),
        // The ruling failed inside the program: nothing changes for people.
        Ruling::DeadLetter(_) => (as_it_was(standing), Reason::RuleFailed),
    };
    debug_assert!(
        !matches!(fate, Ruling::Suppress(_)) && fate.priority() >= Some(standing.priority),
        "INV-4: a revision helps nobody but people"
    );
    Decision { fate, reason, ..decision }
}

/// A first ruling's times run from when the broker took the alert. By now they may be over, before
/// anybody was told.
fn due_from_now<'p>(mut fate: Ruling<'p>, inputs: &Inputs<'_>) -> Ruling<'p> {
    let alert = inputs.arrival.body.alert();
    let received_at = alert.and_then(|alert| alert.get(Field::ReceivedAt).time());
    let since = received_at.map_or(0, |received_at| inputs.now.since(received_at).max(0));
    let later = |time: &mut Millis| *time = time.plus(since);
    match &mut fate {
        Ruling::Route(route) => route.ack_by.iter_mut().for_each(later),
        Ruling::Escalate(escalate) => {
            escalate.ack_by.iter_mut().for_each(later);
            later(&mut escalate.expires_at);
        }
        Ruling::Suppress(_) | Ruling::Hold(_) | Ruling::DeadLetter(_) => {}
    }
    fate
}

/// What was suppressed until now: it has had its time, and so none of it is held.
fn checked<'p>(
    decision: Decision<'p>,
    (queue, priority, ack_within_ms): (&'p str, Priority, Option<i64>),
    now: Millis,
) -> Decision<'p> {
    let fate = match decision.fate {
        Ruling::Hold(hold) => {
            Ruling::Route(Route { queue: hold.queue, priority: hold.priority, ack_by: None })
        }
        Ruling::DeadLetter(_) => {
            let ack_by = ack_within_ms.map(|within| now.plus(within));
            Ruling::Route(Route { queue: queue.into(), priority, ack_by })
        }
        fate => fate,
    };
    Decision { fate, ..decision }
}

/// Enrichers whose answers may still change this ruling, and why each is unknown in it.
///
/// What is held, or rests on an unknown fact, waits for all that is unknown or too old; any other
/// case for what failed, came late or is on its way, which may tell people more, and for what its
/// rule asks by `unknown(…)`.
pub fn waits<'p>(
    policy: &'p Policy,
    facts: &Facts,
    decision: &Decision<'_>,
    now: Millis,
) -> Vec<Wait<'p>> {
    let all = match &decision.fate {
        Ruling::Hold(_) => true,
        Ruling::Route(_) => decision.reason == Reason::UnknownFact,
        _ => return Vec::new(),
    };
    let playbook = policy.playbooks().iter().find(|each| *each.name == *decision.playbook);
    let ages = playbook.map_or(&policy.boundary().max_age_ms, |each| &each.boundary_max_age_ms);
    let rules = playbook.map(|each| each.rules.as_slice()).unwrap_or_default();
    let rule = rules.iter().find(|rule| *rule.id == *decision.rule);
    let clauses = rule.map(|rule| rule.when.clauses()).unwrap_or_default();
    let asked = clauses.iter().flat_map(|clause| clause.asked_unknown());
    let asked: Vec<usize> = asked.filter_map(Slot::enricher).collect();
    let shapes = policy.schema().enrichers.iter().enumerate();
    let wait = |(index, shape): (usize, &'p EnricherShape)| {
        let row = facts.get(index)?.as_ref()?;
        let why = unknown(row, ages.get(index).copied().flatten(), now)?;
        // A table is not asked again by itself.
        let is_asked_again = why == Why::Stale && row.cache == Some(CacheState::Stale);
        let is_open = all
            || asked.contains(&index)
            || is_asked_again
            || matches!(why, Why::Error | Why::Timeout);
        is_open.then(|| Wait { enricher: (&*shape.name).into(), why })
    };
    shapes.filter_map(wait).collect()
}

/// Why an answer cannot be ruled by; nothing where there is no key to ask by: no answer mends that.
pub fn unknown(row: &FactRow, max_age_ms: Option<i64>, now: Millis) -> Option<Why> {
    match row.state {
        FactState::Unknown(Why::NoKey | Why::Absent) => None,
        FactState::Unknown(why) => Some(why),
        FactState::Known | FactState::Absent => {
            let is_fresh = max_age_ms.is_none_or(|max_age_ms| row.is_fresh(now, max_age_ms));
            let of_field = || row.values.iter().find_map(unknown_field);
            if is_fresh { of_field() } else { Some(Why::Stale) }
        }
    }
}

/// Sources that are combined may be at odds, or late, in one field alone.
fn unknown_field(value: &Value<'_>) -> Option<Why> {
    match value {
        Value::Unknown(Why::NoKey | Why::Absent) => None,
        Value::Unknown(why) => Some(*why),
        _ => None,
    }
}

/// Queue, priority and deadline of the playbook's last rule, for a hold that ends.
fn fallback<'p>(policy: &'p Policy, decision: &Decision<'_>) -> (&'p str, Priority, Option<i64>) {
    let to = policy.fallback(&decision.playbook);
    (&to.queue, to.priority, to.ack_within_ms)
}

/// A hold ends in the queue of the playbook's last rule; what is with people stays where it is.
fn with_people<'p>(
    standing: &'p Standing,
    (queue, priority, ack_within_ms): (&'p str, Priority, Option<i64>),
    now: Millis,
) -> Ruling<'p> {
    if !standing.is_held {
        return as_it_was(standing);
    }
    let priority = priority.max(standing.priority);
    let ack_by = ack_within_ms.map(|within| now.plus(within));
    Ruling::Route(Route { queue: queue.into(), priority, ack_by })
}

fn as_it_was<'p>(standing: &'p Standing) -> Ruling<'p> {
    let (queue, priority) = ((&*standing.queue).into(), standing.priority);
    match (standing.is_held, standing.due) {
        (true, Some(until)) => Ruling::Hold(Hold { queue, priority, until }),
        (_, ack_by) => Ruling::Route(Route { queue, priority, ack_by }),
    }
}

/// To another queue only from a hold or when it is more urgent there.
fn routed<'p>(route: Route<'p>, standing: &'p Standing) -> Route<'p> {
    let priority = route.priority.max(standing.priority);
    if standing.is_held {
        return Route { priority, ..route };
    }
    let stays = route.priority <= standing.priority;
    let queue = if stays { (&*standing.queue).into() } else { route.queue };
    Route { queue, priority, ack_by: earlier(route.ack_by, standing.due) }
}

fn raised<'p>(escalate: Escalate<'p>, standing: &Standing) -> Escalate<'p> {
    let due = standing.due.filter(|_| !standing.is_held);
    let ack_by = earlier(escalate.ack_by, due);
    Escalate { priority: escalate.priority.max(standing.priority), ack_by, ..escalate }
}

fn earlier(one: Option<Millis>, other: Option<Millis>) -> Option<Millis> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
