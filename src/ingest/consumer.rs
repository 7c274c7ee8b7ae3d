use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{
    BaseConsumer, CommitMode, Consumer as _, ConsumerContext, ConsumerGroupMetadata,
};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::BorrowedMessage;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use tracing::warn;

use super::client::{log_error, log_line};
use super::error::Doubt;
use super::message::Message;
use super::settings::Settings;

const CALL_WAIT: Duration = Duration::from_secs(5);

/// What Kafka says of one input partition: a hint, never the authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    pub topic: String,
    pub partition: i32,
    pub committed: Option<i64>,
    pub metadata: String,
}

/// When a batch closes: whichever comes first.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// After the first message, if more come all the time; also the length of an idle tick.
    pub time: Duration,
    pub messages: usize,
    pub bytes: usize,
}

impl Default for BatchLimits {
    fn default() -> BatchLimits {
        // Measured: at full load 1,000 messages a transaction cost half the rate of 10,000.
        BatchLimits { time: Duration::from_millis(100), messages: 10_000, bytes: 16 << 20 }
    }
}

/// The group's generation in which a partition was assigned. A commit under an older one is refused
/// by the broker, so it is taken once per assignment and not again.
pub struct Membership(pub(super) ConsumerGroupMetadata);

/// A member of the consumer group. Rebalances are only written down; what is read, and from where,
/// is decided by [`Consumer::start`].
pub struct Consumer {
    inner: BaseConsumer<Member>,
}

#[derive(Default)]
struct Member {
    group: Mutex<Group>,
}

#[derive(Default)]
struct Group {
    assigned: Option<Vec<(String, i32)>>,
    rebalances: u64,
}

impl Member {
    fn group(&self) -> MutexGuard<'_, Group> {
        self.group.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Member {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log_line("consumer", level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log_error("consumer", &error, reason);
    }
}

impl ConsumerContext for Member {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        event: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let mut group = self.group();
        group.rebalances += 1;
        if event == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            let elements = partitions.elements();
            group.assigned =
                Some(elements.iter().map(|e| (e.topic().to_owned(), e.partition())).collect());
            return;
        }
        group.assigned = None;
        drop(group);
        if let Err(error) = consumer.unassign() {
            warn!(error = %error, "revoked partitions could not be given up");
        }
    }
}

/// The messages of one batch, kept alive.
pub struct Held<'c>(Vec<BorrowedMessage<'c>>);

impl Held<'_> {
    pub fn messages(&self) -> Vec<Message<'_>> {
        self.0.iter().map(Message::of).collect()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Consumer {
    /// Joins `group` as the static member `instance`; needs no broker yet.
    pub fn connect(
        settings: &Settings,
        group: &str,
        instance: &str,
        topics: &[&str],
    ) -> Result<Consumer, Doubt> {
        let inner: BaseConsumer<Member> = settings
            .member(group, instance)
            .create_with_context(Member::default())
            .map_err(|error| Doubt::of("consumer", &error))?;
        inner.subscribe(topics).map_err(|error| Doubt::of("subscribe", &error))?;
        Ok(Consumer { inner })
    }

    /// Grows with every rebalance.
    pub fn rebalances(&self) -> u64 {
        self.inner.context().group().rebalances
    }

    /// What the group gave this member; `None` before the first assignment and after a revocation.
    pub fn assigned(&self) -> Option<Vec<(String, i32)>> {
        self.inner.context().group().assigned.clone()
    }

    /// Reads nothing more until [`Consumer::start`], but stays in the group.
    pub fn hold(&self) -> Result<(), Doubt> {
        let nothing = TopicPartitionList::new();
        self.inner.assign(&nothing).map_err(|error| Doubt::of("hold", &error))
    }

    /// Reads exactly these partitions from exactly these offsets.
    pub fn start(&self, at: &[(String, i32, i64)]) -> Result<(), Doubt> {
        let mut list = TopicPartitionList::with_capacity(at.len());
        for (topic, partition, offset) in at {
            list.add_partition_offset(topic, *partition, Offset::Offset(*offset))
                .map_err(|error| Doubt::of("start", &error))?;
        }
        self.inner.assign(&list).map_err(|error| Doubt::of("start", &error))
    }

    pub fn membership(&self) -> Result<Membership, Doubt> {
        let metadata = self.inner.group_metadata();
        metadata.map(Membership).ok_or_else(|| Doubt::Unsure("not a group member".to_owned()))
    }

    /// The committed offset and its metadata; blocks while an offset is part of an open
    /// transaction.
    pub fn committed(&self, topic: &str, partition: i32) -> Result<Hint, Doubt> {
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, partition);
        let answer = self
            .inner
            .committed_offsets(list, CALL_WAIT)
            .map_err(|error| Doubt::of("committed offset", &error))?;
        let element = answer
            .find_partition(topic, partition)
            .ok_or_else(|| Doubt::Unsure("committed offset: no answer".to_owned()))?;
        element.error().map_err(|error| Doubt::of("committed offset", &error))?;
        let committed = match element.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        };
        Ok(Hint {
            topic: topic.to_owned(),
            partition,
            committed,
            metadata: element.metadata().to_owned(),
        })
    }

    /// Outside a transaction: for work whose effect is elsewhere and done.
    ///
    /// Errors: also when the partitions are another member's by now.
    pub fn commit(&self, next: &[(String, i32, i64)]) -> Result<(), Doubt> {
        let mut list = TopicPartitionList::with_capacity(next.len());
        for (topic, partition, offset) in next {
            list.add_partition_offset(topic, *partition, Offset::Offset(*offset))
                .map_err(|error| Doubt::of("commit", &error))?;
        }
        let done = self.inner.commit(&list, CommitMode::Sync);
        done.map_err(|error| Doubt::of("commit", &error))
    }

    /// After a fatal error: only a new member can go on.
    pub fn is_broken(&self) -> bool {
        self.inner.client().fatal_error().is_some()
    }

    pub fn pause(&self, topic: &str, partition: i32) -> Result<(), Doubt> {
        self.inner.pause(&one(topic, partition)).map_err(|error| Doubt::of("pause", &error))
    }

    pub fn resume(&self, topic: &str, partition: i32) -> Result<(), Doubt> {
        self.inner.resume(&one(topic, partition)).map_err(|error| Doubt::of("resume", &error))
    }

    /// Serves the group and reads nothing; for waiting while nothing is assigned.
    pub fn serve(&self, time: Duration) -> Result<(), Doubt> {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if let Some(Err(error)) = self.inner.poll(left) {
                passing(&error)?;
            }
            if left.is_zero() {
                return Ok(());
            }
        }
    }

    /// The next batch; empty after an idle tick or as soon as `stop` says so. Once there is a
    /// message it waits no longer than `linger` for more, and takes what is there.
    ///
    /// Errors: what needs a recovery. Lost connections are the client's own business.
    pub fn gather(
        &self,
        limits: BatchLimits,
        linger: Duration,
        stop: impl Fn() -> bool,
    ) -> Result<Held<'_>, Doubt> {
        let slice = Duration::from_millis(20).min(limits.time);
        let rebalances = self.rebalances();
        let mut until = Instant::now() + limits.time;
        let mut wait_until = until;
        let mut bytes = 0;
        let mut held = Vec::new();
        while held.len() < limits.messages && bytes < limits.bytes {
            let now = Instant::now();
            if now >= until || stop() {
                break;
            }
            let wait = wait_until.saturating_duration_since(now);
            match self.inner.poll(wait.min(slice)) {
                Some(Ok(message)) => {
                    if held.is_empty() {
                        until = Instant::now() + limits.time;
                        wait_until = until.min(Instant::now() + linger);
                    }
                    bytes += message.payload_len() + message.key_len();
                    held.push(message);
                }
                Some(Err(error)) => passing(&error)?,
                None if wait.is_zero() || self.rebalances() != rebalances => break,
                None => {}
            }
        }
        Ok(Held(held))
    }
}

fn one(topic: &str, partition: i32) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    list.add_partition(topic, partition);
    list
}

/// `Ok` for what the client gets over by itself.
fn passing(error: &KafkaError) -> Result<(), Doubt> {
    if matches!(error, KafkaError::MessageConsumptionFatal(_)) {
        return Err(match Doubt::of("consumer", error) {
            Doubt::Unreachable(text) => Doubt::Unsure(text),
            other => other,
        });
    }
    match error.rdkafka_error_code() {
        Some(Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::PollExceeded) => {
            Err(Doubt::Unsure(format!("consumer: {error}")))
        }
        Some(Code::TopicAuthorizationFailed | Code::GroupAuthorizationFailed) => {
            Err(Doubt::of("consumer", error))
        }
        _ => Ok(()),
    }
}
