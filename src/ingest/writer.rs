use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, ProducerContext};
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use super::client::{Logged, log_error, log_line};
use super::error::Doubt;
use super::producer::NextOffset;
use super::settings::Settings;

const FLUSH_WAIT: Duration = Duration::from_secs(30);
const COORDINATOR_WAIT: Duration = Duration::from_secs(60);

/// Writes records outside a transaction: what a person's command starts, and what detectors
/// publish.
pub struct Writer {
    inner: BaseProducer<Deliveries>,
}

/// Keeps the first failed delivery for the next `flush`.
#[derive(Default)]
struct Deliveries {
    failed: Arc<Mutex<Option<KafkaError>>>,
}

impl ClientContext for Deliveries {
    fn log(&self, level: rdkafka::config::RDKafkaLogLevel, facility: &str, line: &str) {
        log_line("writer", level, facility, line);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        log_error("writer", &error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, message)) = result {
            tracing::warn!(topic = message.topic(), error = %error, "a record was not written");
            let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            failed.get_or_insert_with(|| error.clone());
        }
    }
}

impl Writer {
    pub fn connect(settings: &Settings) -> Result<Self, Doubt> {
        let inner = settings.writer().create_with_context(Deliveries::default());
        Ok(Self { inner: inner.map_err(|error| Doubt::of("writer", &error))? })
    }

    /// Queues one record; waits while the queue is full. `partition` -1 lets the key decide.
    pub fn send(
        &self,
        topic: &str,
        partition: i32,
        key: Option<&[u8]>,
        value: &[u8],
    ) -> Result<(), Doubt> {
        let mut record = BaseRecord::<[u8], [u8]>::to(topic).payload(value);
        if partition >= 0 {
            record = record.partition(partition);
        }
        if let Some(key) = key {
            record = record.key(key);
        }
        self.queue(record)
    }

    /// Queues that nothing stands under the key any more.
    pub fn remove(&self, topic: &str, partition: i32, key: &[u8]) -> Result<(), Doubt> {
        self.queue(BaseRecord::<[u8], [u8]>::to(topic).partition(partition).key(key))
    }

    fn queue(&self, mut record: BaseRecord<'_, [u8], [u8]>) -> Result<(), Doubt> {
        loop {
            match self.inner.send(record) {
                Ok(()) => {
                    self.inner.poll(Duration::ZERO);
                    return Ok(());
                }
                Err((KafkaError::MessageProduction(Code::QueueFull), back)) => {
                    record = back;
                    self.inner.poll(Duration::from_millis(20));
                }
                Err((error, _)) => return Err(Doubt::of("write", &error)),
            }
        }
    }

    /// Waits until everything queued is acknowledged by all in-sync replicas.
    pub fn flush(&self) -> Result<(), Doubt> {
        self.inner.flush(FLUSH_WAIT).map_err(|error| Doubt::of("flush", &error))?;
        let failed = &self.inner.context().failed;
        let failed = failed.lock().unwrap_or_else(PoisonError::into_inner).take();
        failed.map_or(Ok(()), |error| Err(Doubt::of("write", &error)))
    }
}

/// The offsets a group would start from, set by a person's command while nobody runs in it.
pub struct Starts {
    inner: BaseConsumer<Logged>,
}

impl Starts {
    pub fn connect(settings: &Settings, group: &str) -> Result<Self, Doubt> {
        let inner = settings.reader(group, "read_committed").create_with_context(Logged("starts"));
        Ok(Self { inner: inner.map_err(|error| Doubt::of("starts", &error))? })
    }

    /// Offset and metadata that the group has committed. The first group of a new cluster waits for
    /// its coordinator.
    pub fn committed(&self, topic: &str, partition: i32) -> Result<Option<(i64, String)>, Doubt> {
        let mut asked = TopicPartitionList::new();
        asked.add_partition(topic, partition);
        let until = Instant::now() + COORDINATOR_WAIT;
        let found = loop {
            let answer = self.inner.committed_offsets(asked.clone(), Duration::from_secs(15));
            match answer.map_err(|error| Doubt::of("committed offsets", &error)) {
                Err(Doubt::Unreachable(_)) if Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(200));
                }
                answer => break answer?,
            }
        };
        Ok(found.find_partition(topic, partition).and_then(|element| match element.offset() {
            Offset::Offset(offset) => Some((offset, element.metadata().to_owned())),
            _ => None,
        }))
    }

    /// Errors: refused by the broker while the group has members.
    pub fn commit(&self, offsets: &[NextOffset]) -> Result<(), Doubt> {
        let mut list = TopicPartitionList::new();
        for next in offsets {
            let mut element = list.add_partition(&next.topic, next.partition);
            element
                .set_offset(Offset::Offset(next.offset))
                .map_err(|error| Doubt::of("offset", &error))?;
            element.set_metadata(&next.metadata);
        }
        self.inner
            .commit(&list, CommitMode::Sync)
            .map_err(|error| Doubt::of("commit of starting offsets", &error))
    }
}
