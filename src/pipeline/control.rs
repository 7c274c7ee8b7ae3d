//! What concerns everything: each worker reads the control topic to its end before it rules a
//! batch. What can't be read may be a stop, so nothing automatic is done until it can.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use tracing::{error, info};

use super::closings::{Ask, Look};
use super::lane::Lane;
use super::outbox::Outbox;
use super::triage::Triage;
use crate::audit::{Gap, Input, Kind, Lost, Record};
use crate::case::{Millis, Stopped};
use crate::ingest::{Doubt, LogReader};

/// Alerts wait so long for it.
const PATIENCE: Duration = Duration::from_secs(1);
/// While it can't be read, alerts go to people and it is asked for no more often.
const ASK_EVERY: Duration = Duration::from_secs(2);

const NOTHING_IS_CLOSED: &Look<'static> = &|_: &[Ask<'_>]| Vec::new();

/// What a worker knows of the control topic beside what its chains have on record.
#[derive(Default)]
pub(super) struct Control {
    /// What is in front of it is on every chain of this worker.
    heeded: i64,
    unread: Option<Unread>,
}

struct Unread {
    since: Millis,
    asked: Instant,
}

/// What is there, and what of it may be new to a chain.
pub(super) struct News {
    ends: Range<i64>,
    orders: Vec<Order>,
}

struct Order {
    offset: i64,
    received_at: Option<Millis>,
    message: Vec<u8>,
}

impl Lane {
    /// From now on it is not known, or is again, what people ordered about everything.
    pub fn unread(&mut self, why: Option<Stopped>) {
        self.unread = why;
    }

    /// Why nothing automatic is done now.
    pub fn stopped(&self) -> Option<&Stopped> {
        self.state().control().stopped().or(self.unread.as_ref())
    }
}

impl Triage {
    /// Reads to the end. Nothing: it can't be.
    pub(super) fn listen(&mut self, log: &LogReader) -> Option<News> {
        let asked = self.control.unread.as_ref().map(|unread| unread.asked);
        if self.lanes.is_empty() || asked.is_some_and(|asked| asked.elapsed() < ASK_EVERY) {
            return None;
        }
        let topic = &self.terms.topics.control;
        let news = self.read_control(log);
        self.control.unread = match &news {
            Ok(_) => {
                if asked.is_some() {
                    info!(topic, "the control topic is read again: orders in it count");
                }
                None
            }
            Err(doubt) => {
                if asked.is_none() {
                    error!(topic, reason = %doubt, "the control topic can't be read: nothing automatic is done");
                }
                let known = self.control.unread.as_ref().map(|unread| unread.since);
                let since = known.unwrap_or_else(|| (self.clock)());
                Some(Unread { since, asked: Instant::now() })
            }
        };
        let stopped = self.control.unread.as_ref().map(|unread| Stopped {
            since: unread.since,
            by: None,
            order: None,
            why: "the control topic can't be read".to_owned(),
        });
        for (partition, open) in &mut self.lanes {
            open.lane.unread(stopped.clone());
            let gauge = self.metrics.memory.stopped.with_label_values(&[&*partition.to_string()]);
            gauge.set(i64::from(open.lane.stopped().is_some()));
        }
        news.ok()
    }

    fn read_control(&self, log: &LogReader) -> Result<News, Doubt> {
        let topic = &self.terms.topics.control;
        let ends = log.ends(topic, 0, PATIENCE)?;
        let next = self.lanes.values().map(|open| open.lane.next_in(topic).unwrap_or(0));
        let is_all_there = next.clone().all(|next| is_there(&ends, next));
        let unheeded = next.min().map(|next| next.max(self.control.heeded).min(ends.end));
        let from = unheeded.filter(|_| is_all_there).unwrap_or(ends.start);
        let mut orders = Vec::new();
        log.read(topic, 0, from..ends.end, |message| {
            orders.push(Order {
                offset: message.offset,
                received_at: message.is_broker_time.then_some(Millis(message.timestamp_ms)),
                message: message.value.unwrap_or_default().to_vec(),
            });
        })?;
        Ok(News { ends, orders })
    }

    /// Puts what is new on the record of every chain. True: there is something to commit.
    pub(super) fn heed(&mut self, news: Option<News>, out: &mut Outbox<'_>) -> bool {
        let Some(News { ends, orders }) = news else { return false };
        let topic = self.terms.topics.control.clone();
        let now = (self.clock)();
        let mut wrote = false;
        let mut lanes = std::mem::take(&mut self.lanes);
        for open in lanes.values_mut() {
            let mut next = open.lane.next_in(&topic).unwrap_or(0);
            if !is_there(&ends, next) {
                open.lane.write(&self.terms, self.gone((&topic, next), ends.start), out);
                (next, wrote) = (ends.start, true);
            }
            for order in orders.iter().filter(|order| order.offset >= next) {
                let (offset, received_at) = (order.offset, order.received_at);
                let topic = Cow::Borrowed(topic.as_str());
                let input = Input { topic, partition: 0, offset, received_at };
                let judges = (self.people.now(), NOTHING_IS_CLOSED);
                let message = (input, &*order.message);
                let verdict = open.lane.order(&self.terms, judges, message, (now, &mut *out));
                self.counted.orders.push(verdict);
                wrote = true;
            }
        }
        self.lanes = lanes;
        self.control.heeded = ends.end;
        wrote
    }

    fn gone(&self, (topic, next): (&str, i64), start: i64) -> Record<'static> {
        error!(
            topic,
            from = next,
            to = start,
            "orders were gone before they were read: nothing automatic is done until `tipstaff order resume`"
        );
        Record {
            gap: Some(Gap { from: next, to: start, of: Lost::Control }),
            next_in: BTreeMap::from([(Cow::Owned(topic.to_owned()), start)]),
            ..self.blank(Kind::Gap)
        }
    }
}

fn is_there(ends: &Range<i64>, next: i64) -> bool {
    (ends.start..=ends.end).contains(&next)
}
