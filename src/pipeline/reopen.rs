//! Where a chain goes on after a recovery, and what has to be written first.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use tracing::{error, warn};

use super::lane::Lane;
use super::revisit::read_waiting;
use super::stage::Hint;
use super::triage::{Open, Triage};
use crate::audit::{
    Chain, Committed, Gap, Head, Kind, Link, Lost, Metadata, Picked, Record, Recovery, Resume,
    chain_name, resume,
};
use crate::correlate::State;
use crate::ingest::{Doubt, LogReader};

/// Places read back at first: what mostly lies behind a snapshot, with the ends of transactions.
/// Four times as many while that is not enough.
const TAIL_FIRST: i64 = 20_000;

/// With the offset at which each input topic goes on.
type Opened = (Open, Vec<(String, i64)>);

impl Triage {
    /// Restores one lane, or says why it must not run.
    pub(super) fn open(
        &self,
        (partition, hints): (i32, &[&Hint]),
        log: &LogReader,
    ) -> Result<Result<Opened, String>, Doubt> {
        let decisions = &self.terms.topics.decisions;
        let chain = chain_name(&self.expected.cluster, decisions, partition);
        let committed = Committed {
            offsets: hints.iter().filter_map(|h| Some((h.topic.clone(), h.committed?))).collect(),
            metadata: hints.iter().find_map(|hint| Metadata::parse(&hint.metadata)),
        };
        let (low, high) = (log.low(decisions, partition)?, log.high(decisions, partition)?);
        let genesis = Tail::read(log, (decisions, partition), low..high.min(low + 1))?;
        if let Err(why) = self.check_genesis(genesis.links().first()) {
            return Ok(Err(why));
        }
        let mut back = TAIL_FIRST;
        loop {
            let from = (high - back).max(low);
            let tail = Tail::read(log, (decisions, partition), from..high)?;
            let tail = tail.links();
            match resume::<State>(&chain, &tail, from == low, &committed) {
                Resume::Longer => back = back.saturating_mul(4),
                Resume::Refuse(why) => return Ok(Err(why)),
                Resume::Picked(picked) => {
                    return self.restored((partition, hints), log, *picked, &tail, chain);
                }
            }
        }
    }

    fn restored(
        &self,
        (partition, hints): (i32, &[&Hint]),
        log: &LogReader,
        picked: Picked<State>,
        tail: &[Link<'_>],
        chain: String,
    ) -> Result<Result<Opened, String>, Doubt> {
        let mut pending = Vec::new();
        if !picked.void.is_empty() {
            warn!(partition, offsets = ?picked.void, "voiding what a torn transaction left");
            pending.push(Record { void: picked.void.clone(), ..self.blank(Kind::Void) });
        }
        pending.extend(self.recoveries(hints, &picked));
        match self.activation(&picked.state, partition) {
            Ok(record) => pending.extend(record),
            Err(why) => return Ok(Err(why)),
        }
        let mut starts = Vec::with_capacity(hints.len());
        for hint in hints {
            let (next, gap) = self.next(hint, &picked.head, log)?;
            starts.push((hint.topic.clone(), next));
            pending.extend(gap);
        }
        let again = picked.emit_again.iter().filter_map(|at| tail.get(*at));
        let again = again.map(|link| link.bytes.into()).collect();
        let mut lane = Lane::new(partition, Chain::new(chain, Some(picked.head)), picked.state)
            .settled_at(picked.settled);
        read_waiting(&mut lane, log, &self.terms.topics.alerts, partition)?;
        Ok(Ok((Open { lane, again, pending }, starts)))
    }

    /// One record for each topic whose committed offset and chain disagree.
    fn recoveries(&self, hints: &[&Hint], picked: &Picked<State>) -> Vec<Record<'static>> {
        let alerts = &self.terms.topics.alerts;
        let mut records = Vec::new();
        for found in &picked.found {
            let topic = found.topic.as_ref().unwrap_or(alerts);
            let hint = hints.iter().find(|hint| hint.topic == *topic);
            let committed = hint.and_then(|hint| hint.committed);
            let next_in = picked.head.next_in.get(topic).copied().unwrap_or(0);
            self.metrics.torn.with_label_values(&[found.what]).inc();
            error!(
                topic,
                partition = hint.map(|hint| hint.partition),
                found = found.what,
                committed,
                next_in,
                "the committed offset and the chain disagree; the chain is right"
            );
            let is_first = records.is_empty();
            let recovery = Recovery {
                found: found.what.into(),
                topic: (topic != alerts).then(|| Cow::Owned(topic.clone())),
                committed,
                next_in,
                emitted_again: if is_first { picked.emit_again.len() as u64 } else { 0 },
            };
            records.push(Record { recovery: Some(recovery), ..self.blank(Kind::Recovery) });
        }
        records
    }

    /// Where a topic goes on, and the record of what retention has removed before it was read.
    ///
    /// A chain that was begun before there were orders names no offset of theirs: it reads all of
    /// them that are there.
    fn next(
        &self,
        hint: &Hint,
        head: &Head,
        log: &LogReader,
    ) -> Result<(i64, Option<Record<'static>>), Doubt> {
        let (topic, partition) = (&hint.topic, hint.partition);
        let low = log.low(topic, partition)?;
        let known = head.next_in.get(topic).copied();
        let next = known.unwrap_or(if *topic == self.terms.topics.alerts { 0 } else { low });
        if low <= next {
            return Ok((next, None));
        }
        error!(
            topic,
            partition,
            from = next,
            to = low,
            "messages were removed before they were ruled"
        );
        let is_orders = *topic == self.terms.topics.orders;
        let of = if is_orders { Lost::Orders } else { Lost::Alerts };
        let gap = Record {
            gap: Some(Gap { from: next, to: low, of }),
            next_in: BTreeMap::from([(Cow::Owned(topic.clone()), low)]),
            ..self.blank(Kind::Gap)
        };
        Ok((low, Some(gap)))
    }
}

/// Records as they were read, in one piece: what many small ones leave behind would stay resident.
#[derive(Default)]
struct Tail {
    bytes: Vec<u8>,
    /// Of each record its offset and where it ends.
    ends: Vec<(i64, usize)>,
}

impl Tail {
    fn read(
        log: &LogReader,
        (topic, partition): (&str, i32),
        range: Range<i64>,
    ) -> Result<Self, Doubt> {
        let mut tail = Self::default();
        log.read(topic, partition, range, |message| {
            tail.bytes.extend_from_slice(message.value.unwrap_or_default());
            tail.ends.push((message.offset, tail.bytes.len()));
        })?;
        Ok(tail)
    }

    fn links(&self) -> Vec<Link<'_>> {
        let mut begin = 0;
        let link = |(offset, end): &(i64, usize)| {
            let bytes = self.bytes.get(begin..*end).unwrap_or_default();
            begin = *end;
            Link { offset: *offset, bytes }
        };
        self.ends.iter().map(link).collect()
    }
}
