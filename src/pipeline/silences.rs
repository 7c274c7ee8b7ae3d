use std::collections::HashMap;
use std::time::Instant;

use tracing::{error, warn};

use super::lane::Case;
use super::outbox::Outbox;
use super::revisit::read_at;
use super::triage::{Triage, look_up};
use crate::case::{Again, Arrival, Millis, OnExpiry};
use crate::correlate::Silence;
use crate::ingest::LogReader;

/// Of one lane at a time, where there is room for all: each may need a place of its topic that was
/// read long ago.
const ENDED_AT_MOST: usize = 16;

impl Triage {
    /// What was suppressed as long as it may be is ruled again or told of, as its rule asked for.
    /// True: there is something to commit.
    pub(super) fn end_silences(
        &mut self,
        partition: i32,
        now: Millis,
        log: &LogReader,
        out: &mut Outbox<'_>,
    ) -> bool {
        let Some(open) = self.lanes.get_mut(&partition) else { return false };
        let silences = open.lane.state().silences();
        let over = silences.over(now).take(ENDED_AT_MOST.max(silences.surplus()));
        let over: Vec<Silence> = over.cloned().collect();
        let (again, told): (Vec<Silence>, Vec<Silence>) =
            over.into_iter().partition(|silence| silence.on_expiry == OnExpiry::Recheck);
        for silence in &told {
            open.lane.release(&self.terms, silence, "suppression_over", (now, out));
        }
        let mut texts: HashMap<i64, Box<[u8]>> = HashMap::new();
        let offsets = again.iter().map(|silence| silence.offset).collect();
        let keep = |offset, value: &[u8]| drop(texts.insert(offset, value.into()));
        if let Err(doubt) = read_at(log, &self.terms.topics.alerts, partition, offsets, keep) {
            warn!(partition, reason = %doubt, "what was suppressed is ruled again later");
            return !told.is_empty();
        }
        let case = |silence: &Silence| {
            let text = texts.get(&silence.offset);
            let arrival = text.and_then(|text| Arrival::parse(text));
            let (offset, bytes) = (silence.offset, [].as_slice());
            Case { offset, received_at: now, bytes, arrival, facts: Vec::new() }
        };
        let mut cases: Vec<Case<'_>> = again.iter().map(case).collect();
        // There is no other look: the answers are waited for.
        look_up(&self.terms, &self.enrichers, &mut cases, Instant::now() + self.lookup);
        for (silence, case) in again.iter().zip(&cases) {
            let why = Again::SuppressionOver;
            let ruled = match case.arrival {
                Some(_) => {
                    open.lane.revise(&self.terms, silence.before(), case, (why, &[]), (now, out))
                }
                None => None,
            };
            match ruled {
                Some(ruled) => self.counted.revisions.push((why, ruled)),
                None => {
                    let what = if case.arrival.is_some() { "rule_failed" } else { "alert_gone" };
                    error!(partition, alert = %silence.alert_id, what, "what was suppressed cannot be ruled again: people are told of it");
                    open.lane.release(&self.terms, silence, what, (now, out));
                }
            }
        }
        !(told.is_empty() && again.is_empty())
    }
}
