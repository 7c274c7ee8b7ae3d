//! What a lane tells people when a time is over and nothing is ruled.

use std::borrow::Cow;

use super::lane::{Lane, Terms};
use super::outbox::Outbox;
use crate::audit::{Kind, Record, Timer};
use crate::case::{Millis, Told};
use crate::correlate::{Case, Silence, Waiting};

/// Overdue cases told of in one look: bounds what it costs the batch behind it.
const OVERDUE_AT_MOST: usize = 256;

impl Lane {
    /// Ends the wait of an alert that cannot be ruled again, on record. People who have only been
    /// told that it is held get it now.
    pub fn give_up(
        &mut self,
        terms: &Terms,
        waiting: &Waiting,
        what: &'static str,
        (now, out): (Millis, &mut Outbox<'_>),
    ) {
        let at = self.time(now);
        let (engine, actor) = (terms.identity.engine(), terms.identity.actor());
        let timer = Timer { due: waiting.standing.due.unwrap_or(at), what: what.into() };
        let to = &terms.policy().boundary().default;
        let ack_by = to.ack_within_ms.map(|within| at.plus(within));
        let case = self.state().cases().get(&waiting.counters.case_id);
        let told = case.and_then(|case| case.told_unruled((&to.queue, to.priority, ack_by)));
        let record = Record {
            told: told.filter(|_| waiting.standing.is_held),
            alert_id: Some(waiting.alert_id.clone()),
            cause: Some(waiting.cause.clone()),
            timer: Some(timer),
            ..Record::new(Kind::Timer, at, engine, actor)
        };
        self.write(terms, record, out);
    }

    /// Tells people, on record, of what was suppressed and is not ruled again.
    pub fn release(
        &mut self,
        terms: &Terms,
        silence: &Silence,
        what: &'static str,
        (now, out): (Millis, &mut Outbox<'_>),
    ) {
        let now = self.time(now);
        let to = terms.policy().fallback(&silence.playbook);
        let ack_by = to.ack_within_ms.map(|within| now.plus(within));
        let (engine, actor) = (terms.identity.engine(), terms.identity.actor());
        let record = Record {
            told: Some(
                self.state().cases().told_released(silence, (&to.queue, to.priority, ack_by)),
            ),
            alert_id: Some(silence.alert_id.clone()),
            cause: Some(silence.cause.clone()),
            counters: Some(Cow::Borrowed(&silence.counters)),
            timer: Some(Timer { due: silence.until, what: what.into() }),
            ..Record::new(Kind::Timer, now, engine, actor)
        };
        self.write(terms, record, out);
    }

    /// Tells people, on record and once each, of cases that nobody acknowledged in time. True:
    /// there is something to commit.
    pub fn tell_overdue(&mut self, terms: &Terms, now: Millis, out: &mut Outbox<'_>) -> bool {
        let now = self.time(now);
        let overdue = self.state().cases().overdue(now).take(OVERDUE_AT_MOST);
        let told: Vec<Told<'_>> = overdue.filter_map(Case::told_overdue).collect();
        let is_any = !told.is_empty();
        for told in told {
            let (engine, actor) = (terms.identity.engine(), terms.identity.actor());
            let due = told.ack_by.unwrap_or(now);
            let timer = Timer { due, what: "ack_due".into() };
            let record = Record {
                timer: Some(timer),
                told: Some(told),
                ..Record::new(Kind::Timer, now, engine, actor)
            };
            self.write(terms, record, out);
        }
        is_any
    }
}
