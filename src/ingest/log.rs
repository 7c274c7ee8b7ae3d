use std::cell::Cell;
use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::ops::Range;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};

use super::client::Logged;
use super::error::Doubt;
use super::message::Message;
use super::settings::Settings;

const CALL_WAIT: Duration = Duration::from_secs(5);
const METADATA_WAIT: Duration = Duration::from_secs(2);
/// A read that gets nothing for this long has failed: what it asks for is known to be there.
const READ_WAIT: Duration = Duration::from_secs(10);

/// Reads what is in the log, whatever the group has committed. Two clients: one that sees only what
/// is committed, one that sees the end of the log behind open transactions as well.
pub struct LogReader {
    committed: BaseConsumer<Logged>,
    uncommitted: BaseConsumer<Logged>,
    /// One read at a time: two threads would take each other's records.
    alone: PhantomData<Cell<()>>,
}

/// A record that outlives the read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub offset: i64,
    pub timestamp_ms: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
}

impl LogReader {
    /// `group` is never joined and nothing is committed to it; brokers ask for a name that the
    /// client may read under.
    pub fn connect(settings: &Settings, group: &str) -> Result<LogReader, Doubt> {
        let client = |isolation: &str| {
            settings
                .reader(group, isolation)
                .create_with_context(Logged("log reader"))
                .map_err(|error| Doubt::of("log reader", &error))
        };
        Ok(LogReader {
            committed: client("read_committed")?,
            uncommitted: client("read_uncommitted")?,
            alone: PhantomData,
        })
    }

    /// How many partitions the topic has; `None` when it does not exist.
    pub fn partitions(&self, topic: &str) -> Result<Option<i32>, Doubt> {
        let metadata = self
            .committed
            .fetch_metadata(Some(topic), METADATA_WAIT)
            .map_err(|error| Doubt::of("metadata", &error))?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let Some(found) = found.filter(|found| found.error().is_none()) else { return Ok(None) };
        Ok(i32::try_from(found.partitions().len()).ok().filter(|count| *count > 0))
    }

    /// The topics whose names begin so.
    pub fn topics(&self, prefix: &str) -> Result<BTreeSet<String>, Doubt> {
        let metadata = self
            .committed
            .fetch_metadata(None, METADATA_WAIT)
            .map_err(|error| Doubt::of("metadata", &error))?;
        let names = metadata.topics().iter().map(|found| found.name());
        Ok(names.filter(|name| name.starts_with(prefix)).map(str::to_owned).collect())
    }

    /// The oldest offset that retention has left.
    pub fn low(&self, topic: &str, partition: i32) -> Result<i64, Doubt> {
        Ok(watermarks(&self.uncommitted, topic, partition, CALL_WAIT)?.start)
    }

    /// The end of the log, open and aborted transactions included.
    pub fn high(&self, topic: &str, partition: i32) -> Result<i64, Doubt> {
        Ok(watermarks(&self.uncommitted, topic, partition, CALL_WAIT)?.end)
    }

    /// The end of what is settled: before it every transaction is committed or aborted.
    pub fn stable(&self, topic: &str, partition: i32) -> Result<i64, Doubt> {
        Ok(watermarks(&self.committed, topic, partition, CALL_WAIT)?.end)
    }

    /// The oldest offset and the end of the log, open and aborted transactions included.
    pub fn ends(
        &self,
        topic: &str,
        partition: i32,
        patience: Duration,
    ) -> Result<Range<i64>, Doubt> {
        watermarks(&self.uncommitted, topic, partition, patience)
    }

    /// The first offset whose record is not older than this time; `None` when all are.
    pub fn offset_at(
        &self,
        topic: &str,
        partition: i32,
        time_ms: i64,
    ) -> Result<Option<i64>, Doubt> {
        let doubt = |error| Doubt::of("offset of a time", &error);
        let mut asked = TopicPartitionList::new();
        asked.add_partition_offset(topic, partition, Offset::Offset(time_ms)).map_err(doubt)?;
        let answer = self.committed.offsets_for_times(asked, CALL_WAIT).map_err(doubt)?;
        Ok(match answer.find_partition(topic, partition).map(|found| found.offset()) {
            Some(Offset::Offset(offset)) => Some(offset),
            _ => None,
        })
    }

    /// Hands every committed record in `range` to `each`, in order.
    ///
    /// Errors: [`Doubt::Unsure`] when the range is not settled or partly removed by retention; then
    /// `each` may have seen its beginning.
    pub fn read(
        &self,
        topic: &str,
        partition: i32,
        range: Range<i64>,
        mut each: impl FnMut(Message<'_>),
    ) -> Result<(), Doubt> {
        if range.is_empty() {
            return Ok(());
        }
        // The end of a partition may be reported before an open transaction, so it proves that all
        // was read only when the range is known to be settled.
        let settled = watermarks(&self.committed, topic, partition, CALL_WAIT)?;
        if settled.end < range.end || settled.start > range.start {
            return Err(Doubt::Unsure(format!(
                "{topic}/{partition}: asked for {range:?}, there is {settled:?}"
            )));
        }
        let doubt = |error: KafkaError| Doubt::of("read", &error);
        let mut from = TopicPartitionList::new();
        from.add_partition_offset(topic, partition, Offset::Offset(range.start)).map_err(doubt)?;
        self.committed.assign(&from).map_err(doubt)?;
        let result = self.read_assigned(&range, &mut each);
        self.committed.assign(&TopicPartitionList::new()).map_err(doubt)?;
        result.map_err(|why| match why {
            Some(error) => Doubt::of("read", &error),
            None => Doubt::Unreachable(format!("{topic}/{partition}: nothing came")),
        })
    }

    /// Hands every settled record of every partition to `each`, partition after partition.
    ///
    /// How many there are; `None` when the topic does not exist.
    pub fn read_settled(
        &self,
        topic: &str,
        mut each: impl FnMut(i32, Message<'_>),
    ) -> Result<Option<i32>, Doubt> {
        let partitions = self.partitions(topic)?;
        for partition in 0..partitions.unwrap_or(0) {
            let range = self.low(topic, partition)?..self.stable(topic, partition)?;
            self.read(topic, partition, range, |message| each(partition, message))?;
        }
        Ok(partitions)
    }

    fn read_assigned(
        &self,
        range: &Range<i64>,
        each: &mut impl FnMut(Message<'_>),
    ) -> Result<(), Option<KafkaError>> {
        let mut patience = Instant::now() + READ_WAIT;
        while Instant::now() < patience {
            match self.committed.poll(Duration::from_millis(100)) {
                None => {}
                Some(Ok(message)) => {
                    if message.offset() >= range.end {
                        return Ok(());
                    }
                    if message.offset() < range.start {
                        continue;
                    }
                    each(Message::of(&message));
                    if message.offset() + 1 >= range.end {
                        return Ok(());
                    }
                    patience = Instant::now() + READ_WAIT;
                }
                // Commit markers are never delivered: at the end only this tells.
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(()),
                Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => {
                    return Err(Some(error));
                }
                Some(Err(error)) => {
                    use rdkafka::error::RDKafkaErrorCode as Code;
                    if matches!(
                        error.rdkafka_error_code(),
                        Some(
                            Code::AutoOffsetReset
                                | Code::TopicAuthorizationFailed
                                | Code::GroupAuthorizationFailed
                        )
                    ) {
                        return Err(Some(error));
                    }
                }
            }
        }
        Err(None)
    }

    /// The same, as owned records.
    pub fn tail(
        &self,
        topic: &str,
        partition: i32,
        range: Range<i64>,
    ) -> Result<Vec<Stored>, Doubt> {
        let mut records = Vec::new();
        self.read(topic, partition, range, |message| {
            records.push(Stored {
                offset: message.offset,
                timestamp_ms: message.timestamp_ms,
                key: message.key.map(<[u8]>::to_vec),
                value: message.value.map(<[u8]>::to_vec),
            });
        })?;
        Ok(records)
    }
}

/// A topic that was just made, or whose leader just moved, answers a moment later.
fn watermarks(
    client: &BaseConsumer<Logged>,
    topic: &str,
    partition: i32,
    patience: Duration,
) -> Result<Range<i64>, Doubt> {
    use rdkafka::error::RDKafkaErrorCode as Code;
    let until = Instant::now() + patience;
    loop {
        let error = match client.fetch_watermarks(topic, partition, patience) {
            Ok((low, high)) => return Ok(low..high),
            Err(error) => error,
        };
        let is_moving = matches!(
            error.rdkafka_error_code(),
            Some(Code::NotLeaderForPartition | Code::LeaderNotAvailable | Code::UnknownPartition)
        );
        if !is_moving || Instant::now() >= until {
            return Err(Doubt::of(&format!("ends of {topic}/{partition}"), &error));
        }
        // The client keeps what a broker that had just started said of the topic; asked again, it
        // forgets that.
        drop(client.fetch_metadata(Some(topic), METADATA_WAIT));
        std::thread::sleep(Duration::from_millis(100));
    }
}
