use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tracing::warn;

use super::current::Current;
use super::names::Topics;
use super::outbox::Outbox;
use super::stage::{Batch, Hint, Stage, Start};
use crate::case::{Body, Id, Millis, Origin, Reason, write_json};
use crate::ingest::{Admin, Doubt, LogReader, Message, TopicIdError};
use crate::normalize::{FingerprintKeys, Incoming, Pipelines, partition_key, partition_of};
use crate::observe::{Batch as TracedBatch, Metrics, Traces, Work};

/// Quiet sources are committed this often, too: otherwise their ends would fall behind without
/// limit, and a recovery would read all that came after them.
const QUIET_EVERY: Duration = Duration::from_secs(1);
/// Stands for a topic's id on a cluster that gives none.
const NO_IDS: &str = "-";

/// Detector messages in, alerts out. It keeps no state: what it has written is on the alerts topic.
///
/// Its committed offsets carry where its last transaction began and from where on the alerts topic
/// that transaction's alerts lie. A recovery starts there again and leaves out exactly the alerts
/// that it finds, so that a torn transaction neither loses nor doubles one (INV-1).
pub struct Intake {
    pipelines: Current<Pipelines>,
    keys: Arc<FingerprintKeys>,
    topics: Topics,
    admin: Admin,
    ends: AlertEnds,
    metrics: Metrics,
    traces: Traces,
    sources: BTreeMap<(String, i32), Source>,
    already: HashSet<Id>,
    /// Where `already` was read from; committed until everything read again was passed.
    already_from: Vec<i64>,
    /// When every source was committed last, since the recovery.
    all_committed: Option<Instant>,
    line: Vec<u8>,
    counted: Counted,
    /// Of the open transaction.
    traced: TracedBatch,
}

/// What the open transaction holds; told to the metrics when it is committed.
#[derive(Default)]
struct Counted {
    alerts: u64,
    skipped: u64,
    unreadable: Vec<Reason>,
}

struct Source {
    incarnation: String,
    next: i64,
    /// Messages before this may have their alerts on the alerts topic already.
    repeated_to: i64,
}

/// A lower bound of the end of each alerts partition. It may lag: a recovery then reads more.
#[derive(Clone)]
pub struct AlertEnds(Arc<[AtomicI64]>);

impl AlertEnds {
    pub fn new(partitions: i32) -> Self {
        Self((0..partitions).map(|_| AtomicI64::new(0)).collect())
    }

    pub fn refresh(&self, log: &LogReader, alerts: &str) -> Result<(), Doubt> {
        for (partition, end) in (0..).zip(self.0.iter()) {
            end.fetch_max(log.high(alerts, partition)?, Relaxed);
        }
        Ok(())
    }
}

/// What is committed beside an offset: `i1:<incarnation>:<from>:<end>,<end>,…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntakeMetadata {
    pub incarnation: String,
    /// First offset of the transaction that committed this.
    pub from: i64,
    /// For each alerts partition an offset in front of that transaction's alerts.
    pub ends: Vec<i64>,
}

impl IntakeMetadata {
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix("i1:")?.split(':');
        let (incarnation, from, ends) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Self {
            incarnation: incarnation.to_owned(),
            from: from.parse().ok()?,
            ends: ends.split(',').map(|end| end.parse().ok()).collect::<Option<_>>()?,
        })
    }
}

impl std::fmt::Display for IntakeMetadata {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "i1:{}:{}:", self.incarnation, self.from)?;
        for (at, end) in self.ends.iter().enumerate() {
            write!(f, "{}{end}", if at == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// The part of an alert's record that recovery needs.
#[derive(Deserialize)]
struct Written<'a> {
    alert_id: Id,
    #[serde(borrow)]
    origin: Origin<'a>,
}

impl Intake {
    pub fn new(
        (pipelines, keys): (Current<Pipelines>, Arc<FingerprintKeys>),
        topics: Topics,
        (admin, ends): (Admin, AlertEnds),
        (metrics, traces): (Metrics, Traces),
    ) -> Self {
        Self {
            pipelines,
            keys,
            topics,
            admin,
            ends,
            metrics,
            traces,
            sources: BTreeMap::new(),
            already: HashSet::new(),
            already_from: Vec::new(),
            all_committed: None,
            line: Vec::new(),
            counted: Counted::default(),
            traced: TracedBatch::default(),
        }
    }

    /// Where the partition goes on, or why it must not.
    fn check(&self, hint: &Hint, incarnation: &str) -> Result<IntakeMetadata, String> {
        let Some(_) = hint.committed else {
            // Kafka forgets the offsets of a topic that is deleted.
            return Err(format!(
                "no start is on record for it: it is new, or it was deleted and made again: run `tipstaff topics create --adopt {}`",
                hint.topic
            ));
        };
        let Some(metadata) = IntakeMetadata::parse(&hint.metadata) else {
            return Err("its committed offset was not written by tipstaff".to_owned());
        };
        if metadata.incarnation != incarnation {
            return Err(format!(
                "the topic was deleted and made again (id {incarnation}, was {}): run `tipstaff topics create --adopt {}`",
                metadata.incarnation, hint.topic
            ));
        }
        if metadata.ends.len() != self.ends.0.len() {
            return Err(
                "the alerts topic had another partition count when it was last read".to_owned()
            );
        }
        Ok(metadata)
    }

    /// A topic that is made again goes on under its name: its messages at the next offset look like
    /// the old topic's, and those before it would be lost.
    fn check_incarnations(&self, batch: &Batch<'_>) -> Result<(), Doubt> {
        let mut known: BTreeMap<&str, &str> = BTreeMap::new();
        let mut last = ("", -1);
        for message in batch.messages {
            if last == (message.topic, message.partition) {
                continue;
            }
            last = (message.topic, message.partition);
            let source = self.sources.get(&(message.topic.to_owned(), message.partition));
            if let Some(source) = source.filter(|source| source.incarnation != NO_IDS) {
                known.insert(message.topic, &source.incarnation);
            }
        }
        if known.is_empty() {
            return Ok(());
        }
        let known: Vec<(&str, &str)> = known.into_iter().collect();
        match self.admin.other_topic(&known)? {
            None => Ok(()),
            Some(topic) => {
                Err(Doubt::Unsure(format!("topic `{topic}` was deleted while it was read")))
            }
        }
    }

    /// Ids of the alerts that the last transactions of these sources left on the alerts topic.
    fn read_back(&mut self, from: &[IntakeMetadata], log: &LogReader) -> Result<(), Doubt> {
        self.already.clear();
        self.already_from.clear();
        for (partition, at) in (0..self.topics.partitions).zip(0..) {
            // What these sources left there is settled by now. Behind it are open transactions of
            // other workers, and under load there always is one.
            let end = log.stable(&self.topics.alerts, partition)?;
            let start = from.iter().filter_map(|metadata| metadata.ends.get(at).copied()).min();
            let start = start.unwrap_or(end).max(log.low(&self.topics.alerts, partition)?);
            self.already_from.push(start);
            log.read(&self.topics.alerts, partition, start..end, |message| {
                let written =
                    message.value.and_then(|v| serde_json::from_slice::<Written<'_>>(v).ok());
                let Some(written) = written else { return };
                let origin = &written.origin;
                let place = (origin.topic.to_string(), origin.partition);
                let Some(source) = self.sources.get_mut(&place) else { return };
                if origin.incarnation == source.incarnation && origin.offset >= source.next {
                    source.repeated_to = source.repeated_to.max(origin.offset + 1);
                    self.already.insert(written.alert_id);
                }
            })?;
        }
        Ok(())
    }

    fn take(
        &mut self,
        pipelines: &Pipelines,
        (place, message): (usize, &Message<'_>),
        out: &mut Outbox<'_>,
    ) {
        let Some(source) = self.sources.get_mut(&(message.topic.to_owned(), message.partition))
        else {
            let place = format!("{}/{}", message.topic, message.partition);
            return out.fail(Doubt::Unsure(format!("a message of {place}, which is not assigned")));
        };
        source.next = message.offset + 1;
        let headers: Vec<(&str, &[u8])> = message.headers.iter().collect();
        let incoming = Incoming {
            topic: message.topic,
            incarnation: &source.incarnation,
            partition: message.partition,
            offset: message.offset,
            headers: &headers,
            value: message.value,
            received_at: Millis(message.timestamp_ms),
        };
        pipelines.read_then(&incoming, None, &self.keys, |arrivals| {
            for arrival in arrivals {
                if self.already.contains(&arrival.alert_id) {
                    self.counted.skipped += 1;
                    continue;
                }
                if let Body::Unreadable(unreadable) = &arrival.body {
                    self.counted.unreadable.push(unreadable.reason);
                }
                let key = partition_key(&arrival);
                self.line.clear();
                if write_json(&mut self.line, &arrival).is_err() {
                    return out
                        .fail(Doubt::Refused("an alert can't be written as JSON".to_owned()));
                }
                let partition = partition_of(key, self.topics.partitions);
                let at = (self.topics.alerts.as_str(), message.partition, message.offset);
                out.traced(self.traced.alert(place, at));
                out.pass_on(&self.topics.alerts, partition, key.as_bytes(), &self.line);
                self.counted.alerts += 1;
            }
        });
    }
}

impl Stage for Intake {
    fn depends_on(&self, _: &str, _: i32) -> Vec<(String, i32)> {
        (0..self.topics.partitions).map(|p| (self.topics.alerts.clone(), p)).collect()
    }

    fn recover(&mut self, assigned: &[Hint], log: &LogReader) -> Result<Vec<Start>, Doubt> {
        self.sources.clear();
        self.all_committed = None;
        self.counted = Counted::default();
        std::mem::take(&mut self.traced).not_committed();
        let lows = (0..self.topics.partitions).map(|p| log.low(&self.topics.alerts, p));
        let lows = lows.collect::<Result<Vec<_>, _>>()?;
        let mut starts = Vec::with_capacity(assigned.len());
        let mut from = Vec::new();
        for hint in assigned {
            let (topic, partition) = (hint.topic.clone(), hint.partition);
            let incarnation = match self.admin.topic_ids(&[&topic]) {
                Ok(ids) => ids.into_iter().next().unwrap_or_default(),
                Err(TopicIdError::NotSupported) => NO_IDS.to_owned(),
                Err(TopicIdError::Missing(_)) => {
                    let why = "the topic does not exist".to_owned();
                    starts.push(Start::Blocked { topic, partition, why });
                    continue;
                }
                Err(TopicIdError::Failed(doubt)) => return Err(doubt),
            };
            match self.check(hint, &incarnation) {
                Err(why) => starts.push(Start::Blocked { topic, partition, why }),
                Ok(metadata) => {
                    let committed = hint.committed.unwrap_or(metadata.from);
                    // What retention took can't be told from what a tear lost. A tear is healed
                    // long before retention comes, so what is gone was written.
                    let is_gone = metadata.ends.iter().zip(&lows).any(|(end, low)| end < low);
                    let offset = if is_gone { committed } else { metadata.from };
                    let repeated_to = committed.max(offset);
                    let source = Source { incarnation, next: offset, repeated_to };
                    self.sources.insert((topic.clone(), partition), source);
                    starts.push(Start::At { topic, partition, offset });
                    from.push(metadata);
                }
            }
        }
        self.ends.refresh(log, &self.topics.alerts)?;
        self.read_back(&from, log)?;
        if !self.already.is_empty() {
            let alerts = self.already.len();
            warn!(alerts, "alerts of the last transaction are there already; they are left out");
        }
        Ok(starts)
    }

    fn process(&mut self, batch: &Batch<'_>, _: &LogReader, out: &mut Outbox<'_>) -> bool {
        if batch.messages.is_empty() {
            return false;
        }
        if let Err(doubt) = self.check_incarnations(batch) {
            out.fail(doubt);
            return false;
        }
        let from: Vec<i64> = self.sources.values().map(|source| source.next).collect();
        let repeats = self.sources.values().any(|source| source.next < source.repeated_to);
        let ends: Vec<i64> = if repeats {
            self.already_from.clone()
        } else {
            self.ends.0.iter().map(|end| end.load(Relaxed)).collect()
        };
        let headers = batch.messages.iter().map(|message| message.headers.iter());
        self.traced = self.traces.batch(Work::Intake, &self.topics.alerts, headers);
        let pipelines = self.pipelines.get();
        let mut messages: Vec<_> = batch.messages.iter().enumerate().collect();
        // One detector's after another's: by turns, each pipeline drives the others out of the
        // processor's caches, and mapping takes twice as long.
        messages.sort_by_key(|(_, message)| message.topic);
        for message in messages {
            self.take(&pipelines, message, out);
        }
        out.traced(None);
        self.traced.alerts(self.counted.alerts);
        let is_all = self.all_committed.is_none_or(|at| at.elapsed() >= QUIET_EVERY);
        if is_all {
            self.all_committed = Some(Instant::now());
        }
        for (((topic, partition), source), from) in self.sources.iter().zip(from) {
            if source.next == from && !is_all {
                continue;
            }
            let incarnation = source.incarnation.clone();
            let metadata = IntakeMetadata { incarnation, from, ends: ends.clone() };
            out.next(topic, *partition, source.next, &metadata.to_string());
        }
        true
    }

    fn committed(&mut self) {
        drop(std::mem::take(&mut self.traced));
        let counted = std::mem::take(&mut self.counted);
        self.metrics.alerts.inc_by(counted.alerts);
        self.metrics.skipped.inc_by(counted.skipped);
        for reason in counted.unreadable {
            self.metrics.unreadable.with_label_values(&[reason.code()]).inc();
        }
    }
}
