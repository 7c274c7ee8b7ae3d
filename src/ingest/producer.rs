use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};

use super::binding;
use super::client::Logged;
use super::consumer::Membership;
use super::error::Doubt;
use super::message::owned;
use super::settings::Settings;

const INIT_WAIT: Duration = Duration::from_secs(15);
const INIT_SLICE: Duration = Duration::from_millis(500);
const FLUSH_WAIT: Duration = Duration::from_secs(8);
/// Long enough that a slow broker still makes progress; whatever takes this long is doubtful
/// anyway.
const COMMIT_WAIT: Duration = Duration::from_secs(5);
const QUEUE_WAIT: Duration = Duration::from_secs(5);

/// A transactional producer. Once a transaction was left unfinished it can only be dropped: a new
/// one of the same name fences whatever is still on its way.
pub struct Producer {
    inner: BaseProducer<Logged>,
    is_spoiled: bool,
}

/// The offset from which an input partition goes on once the transaction is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextOffset {
    pub topic: String,
    pub partition: i32,
    /// Last ruled offset + 1.
    pub offset: i64,
    pub metadata: String,
}

/// At least one [`NextOffset`]: a transaction without offsets cannot be recovered.
#[derive(Debug, Clone)]
pub struct NextOffsets(Vec<NextOffset>);

impl NextOffsets {
    pub fn new(offsets: Vec<NextOffset>) -> Option<NextOffsets> {
        (!offsets.is_empty()).then_some(NextOffsets(offsets))
    }

    pub fn iter(&self) -> impl Iterator<Item = &NextOffset> {
        self.0.iter()
    }
}

/// How long an acknowledged commit took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitTook(pub Duration);

impl CommitTook {
    /// A retry that the client hides takes at least 800 ms here, so a commit below this was not
    /// retried; above it a second commit request may still be on its way.
    pub const DOUBTFUL: Duration = Duration::from_millis(600);

    pub fn is_doubtful(self) -> bool {
        self.0 >= CommitTook::DOUBTFUL
    }
}

impl Producer {
    pub fn connect(settings: &Settings, transactional_id: &str) -> Result<Producer, Doubt> {
        let inner = settings
            .producer(transactional_id)
            .create_with_context(Logged("producer"))
            .map_err(|error| Doubt::of("producer", &error))?;
        Ok(Producer { inner, is_spoiled: false })
    }

    /// Fences every older producer of this name and ends the transaction it left open. Gives up
    /// early when `stop` says so.
    pub fn init(&mut self, stop: impl Fn() -> bool) -> Result<(), Doubt> {
        let until = Instant::now() + INIT_WAIT;
        loop {
            // Not tried again but waited for: the client goes on with the request it has sent.
            match self.inner.init_transactions(INIT_SLICE) {
                Err(KafkaError::Transaction(error))
                    if error.is_retriable() && Instant::now() < until && !stop() => {}
                result => return result.map_err(|error| Doubt::of("init", &error)),
            }
        }
    }

    pub fn begin(&mut self) -> Result<Txn<'_>, Doubt> {
        if self.is_spoiled {
            return Err(Doubt::Unsure("the last transaction was not finished".to_owned()));
        }
        self.serve();
        self.inner.begin_transaction().map_err(|error| Doubt::of("begin", &error))?;
        self.is_spoiled = true;
        Ok(Txn { producer: self })
    }

    /// Hands log lines and errors on; nothing else polls a producer that reports only errors.
    pub fn serve(&self) {
        self.inner.poll(Duration::ZERO);
    }
}

/// An open transaction. Dropped without [`Txn::finish`] it is abandoned and its producer with it;
/// there is no abort, because a late abort can undo a later transaction.
pub struct Txn<'p> {
    producer: &'p mut Producer,
}

impl Txn<'_> {
    pub fn send(
        &mut self,
        topic: &str,
        partition: i32,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, &[u8])],
    ) -> Result<(), Doubt> {
        let mut record = BaseRecord::<[u8], [u8]>::to(topic).partition(partition);
        record.key = key;
        record.payload = value;
        record.headers = owned(headers);
        let mut full_since = None;
        loop {
            match self.producer.inner.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back))
                    if full_since.get_or_insert_with(Instant::now).elapsed() < QUEUE_WAIT =>
                {
                    record = back;
                    self.producer.inner.poll(Duration::from_millis(1));
                }
                Err((error, _)) => return Err(Doubt::of("send", &error)),
            }
        }
    }

    /// Commits what was sent together with the input's next offsets.
    ///
    /// Errors: any error leaves the outcome to the log; the producer can only be dropped.
    pub fn finish(self, next: &NextOffsets, membership: &Membership) -> Result<CommitTook, Doubt> {
        let producer = &self.producer.inner;
        let offsets = list(next).map_err(|error| Doubt::of("offsets", &error))?;
        binding::flush(producer.client(), FLUSH_WAIT)
            .map_err(|code| Doubt::of_commit(&KafkaError::Flush(code)))?;
        let began = Instant::now();
        producer
            .send_offsets_to_transaction(&offsets, &membership.0, COMMIT_WAIT)
            .map_err(|error| Doubt::of_commit(&error))?;
        producer.commit_transaction(COMMIT_WAIT).map_err(|error| Doubt::of_commit(&error))?;
        let took = CommitTook(began.elapsed());
        self.producer.is_spoiled = false;
        Ok(took)
    }
}

fn list(next: &NextOffsets) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(next.0.len());
    for one in next.iter() {
        let mut element = list.add_partition(&one.topic, one.partition);
        element.set_offset(Offset::Offset(one.offset))?;
        element.set_metadata(&one.metadata);
    }
    Ok(list)
}
