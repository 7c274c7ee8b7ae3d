use std::collections::BTreeMap;

use crate::ingest::{Doubt, NextOffset, NextOffsets, Producer, Txn};
use crate::observe::AlertTrace;

/// With what a request adds to each record it stays below the client's `batch.size`.
const REQUEST_BYTES: usize = 900_000;

/// Where a stage puts what a batch leads to. The transaction begins when the first of it goes out.
/// Failures are kept, not returned: after one nothing more is sent and nothing is committed.
///
/// The records of a partition wait here until they fill a request or no more are to come: a broker
/// answers a producer's requests one after another, and takes about a millisecond for each.
pub struct Outbox<'p> {
    sink: Sink<'p>,
    waiting: Vec<Waiting>,
    next: BTreeMap<(String, i32), (i64, String)>,
    sent: u64,
    doubt: Option<Doubt>,
    /// Of the alert that is being ruled.
    trace: Option<Box<AlertTrace>>,
}

enum Sink<'p> {
    Idle(&'p mut Producer),
    Open(Txn<'p>),
    Memory(&'p mut Vec<Sent>),
    Failed,
}

/// What goes to one partition, in its order.
struct Waiting {
    topic: String,
    partition: i32,
    /// Keys and values, one behind the other: memory of its own for each would cost more than the
    /// copy into it.
    bytes: Vec<u8>,
    records: Vec<Unsent>,
    /// Bytes of these, headers included.
    size: usize,
}

/// The lengths of a record's key and value.
struct Unsent {
    key: Option<usize>,
    value: Option<usize>,
    headers: Vec<(String, Vec<u8>)>,
}

impl Waiting {
    fn to(topic: &str, partition: i32) -> Self {
        let (bytes, records) = (Vec::new(), Vec::new());
        Self { topic: topic.to_owned(), partition, bytes, records, size: 0 }
    }

    fn put(&mut self, key: Option<&[u8]>, value: Option<&[u8]>, headers: &[(&str, &[u8])]) {
        for part in [key, value].into_iter().flatten() {
            self.bytes.extend_from_slice(part);
            self.size += part.len();
        }
        self.size += headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        let (key, value) = (key.map(<[u8]>::len), value.map(<[u8]>::len));
        self.records.push(Unsent { key, value, headers: owned(headers) });
    }

    fn send(&mut self, txn: &mut Txn<'_>) -> Result<(), Doubt> {
        let mut rest = self.bytes.as_slice();
        let mut part = |length: Option<usize>| {
            let (part, others) = rest.split_at_checked(length?)?;
            rest = others;
            Some(part)
        };
        for Unsent { key, value, headers } in self.records.drain(..) {
            let headers: Vec<_> = headers.iter().map(|(k, v)| (k.as_str(), &**v)).collect();
            txn.send(&self.topic, self.partition, part(key), part(value), &headers)?;
        }
        debug_assert!(rest.is_empty(), "a record without its own bytes");
        self.bytes.clear();
        self.size = 0;
        Ok(())
    }
}

fn owned(headers: &[(&str, &[u8])]) -> Vec<(String, Vec<u8>)> {
    headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect()
}

/// A record as an in-memory [`Outbox`] keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    pub topic: String,
    pub partition: i32,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
}

impl<'p> Outbox<'p> {
    pub(super) fn new(producer: &'p mut Producer) -> Outbox<'p> {
        Outbox::with(Sink::Idle(producer))
    }

    /// For running a stage without Kafka.
    pub fn memory(records: &'p mut Vec<Sent>) -> Outbox<'p> {
        Outbox::with(Sink::Memory(records))
    }

    fn with(sink: Sink<'p>) -> Outbox<'p> {
        Outbox {
            sink,
            waiting: Vec::new(),
            next: BTreeMap::new(),
            sent: 0,
            doubt: None,
            trace: None,
        }
    }

    pub fn send(&mut self, topic: &str, partition: i32, key: Option<&[u8]>, value: Option<&[u8]>) {
        self.send_with(topic, partition, key, value, &[]);
    }

    pub fn send_with(
        &mut self,
        topic: &str,
        partition: i32,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, &[u8])],
    ) {
        if self.doubt.is_some() {
            return;
        }
        self.sent += 1;
        if let Sink::Memory(records) = &mut self.sink {
            let (key, value) = (key.map(<[u8]>::to_vec), value.map(<[u8]>::to_vec));
            let (topic, headers) = (topic.to_owned(), owned(headers));
            records.push(Sent { topic, partition, key, value, headers });
            return;
        }
        let at = self.waiting(topic, partition).unwrap_or_else(|| {
            self.waiting.push(Waiting::to(topic, partition));
            self.waiting.len() - 1
        });
        let Some(waiting) = self.waiting.get_mut(at) else { return };
        waiting.put(key, value, headers);
        if waiting.size >= REQUEST_BYTES {
            self.send_waiting(at);
        }
    }

    fn waiting(&self, topic: &str, partition: i32) -> Option<usize> {
        self.waiting.iter().position(|to| to.partition == partition && to.topic == topic)
    }

    /// Nothing more goes to this partition, as far as the stage knows: what waits is sent, and on
    /// its way while the stage goes on with others.
    pub fn complete(&mut self, topic: &str, partition: i32) {
        if let Some(at) = self.waiting(topic, partition) {
            self.send_waiting(at);
        }
    }

    fn send_waiting(&mut self, at: usize) {
        if self.doubt.is_some() || self.waiting.get(at).is_none_or(|it| it.records.is_empty()) {
            return;
        }
        self.begin();
        let (Sink::Open(txn), Some(waiting)) = (&mut self.sink, self.waiting.get_mut(at)) else {
            return;
        };
        if let Err(doubt) = waiting.send(txn) {
            self.fail(doubt);
        }
    }

    /// What follows is of an alert in this trace, or in none; the one before it ends.
    pub fn traced(&mut self, trace: Option<AlertTrace>) {
        self.trace = trace.map(Box::new);
    }

    /// The trace of the alert that is being ruled.
    pub fn trace(&mut self) -> Option<&mut AlertTrace> {
        self.trace.as_deref_mut()
    }

    /// Sends what follows from the alert that is being ruled: it belongs to the alert's trace.
    pub fn pass_on(&mut self, topic: &str, partition: i32, key: &[u8], value: &[u8]) {
        let trace = self.trace.take();
        let (key, value) = (Some(key), Some(value));
        match &trace {
            None => self.send(topic, partition, key, value),
            Some(trace) => trace.carried().with(|headers| {
                self.send_with(topic, partition, key, value, headers);
            }),
        }
        self.trace = trace;
    }

    /// Where `topic`/`partition` of the input goes on: last ruled offset + 1. The last word counts.
    pub fn next(&mut self, topic: &str, partition: i32, offset: i64, metadata: &str) {
        self.next.insert((topic.to_owned(), partition), (offset, metadata.to_owned()));
    }

    /// For a stage that finds that it must not go on: the batch is given up and the worker
    /// recovers.
    pub fn fail(&mut self, doubt: Doubt) {
        self.doubt.get_or_insert(doubt);
    }

    pub fn doubt(&self) -> Option<&Doubt> {
        self.doubt.as_ref()
    }

    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// The next offsets said so far, in the order of topic and partition.
    pub fn next_offsets(&self) -> Vec<NextOffset> {
        self.next
            .iter()
            .map(|((topic, partition), (offset, metadata))| NextOffset {
                topic: topic.clone(),
                partition: *partition,
                offset: *offset,
                metadata: metadata.clone(),
            })
            .collect()
    }

    fn begin(&mut self) {
        self.sink = match std::mem::replace(&mut self.sink, Sink::Failed) {
            Sink::Idle(producer) => match producer.begin() {
                Ok(txn) => Sink::Open(txn),
                Err(doubt) => {
                    self.fail(doubt);
                    Sink::Failed
                }
            },
            other => other,
        };
    }

    /// The open transaction and what it must carry.
    pub(super) fn close(mut self) -> Result<Option<(Txn<'p>, NextOffsets)>, Doubt> {
        let next = NextOffsets::new(self.next_offsets());
        (0..self.waiting.len()).for_each(|at| self.send_waiting(at));
        if next.is_some() && self.doubt.is_none() {
            self.begin();
        }
        if let Some(doubt) = self.doubt {
            return Err(doubt);
        }
        match (self.sink, next) {
            (Sink::Open(txn), Some(next)) => Ok(Some((txn, next))),
            (Sink::Open(_), None) => {
                Err(Doubt::Refused("the stage sent records without a next offset".to_owned()))
            }
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::ingest::{Brokers, Embedded, LogReader, Message, Settings};

    /// A broker with three partitions of `t`, who reads them, and a producer.
    fn kafka() -> (Embedded, LogReader, Producer) {
        let embedded = Embedded::start().unwrap();
        embedded.create_topic("t", 3).unwrap();
        let properties = [("bootstrap.servers".to_owned(), embedded.bootstrap())].into();
        let settings = Settings::new(&Brokers { properties }).unwrap();
        let log = LogReader::connect(&settings, "checker").unwrap();
        let mut producer = Producer::connect(&settings, "outbox").unwrap();
        producer.init(|| false).unwrap();
        (embedded, log, producer)
    }

    fn arrive(log: &LogReader, counts: [i64; 3]) {
        let until = Instant::now() + Duration::from_secs(20);
        let now = || [0, 1, 2].map(|partition| log.high("t", partition).unwrap());
        while now() != counts && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(now(), counts);
    }

    #[test]
    fn each_record_comes_out_as_it_went_in_whatever_lies_beside_it() {
        type Parts<'p> = (Option<&'p [u8]>, Option<&'p [u8]>, &'p [(&'p str, &'p [u8])]);
        let all: [Parts<'_>; 5] = [
            (None, Some(b"no key"), &[]),
            (Some(b"no value"), None, &[]),
            (Some(b"key"), Some(b"a value"), &[("one", b"1"), ("two", b"22")]),
            (None, None, &[("three", b"3")]),
            (Some(b"a longer key"), Some(b"v"), &[]),
        ];
        let (_embedded, log, mut producer) = kafka();
        let mut out = Outbox::new(&mut producer);
        for (number, (key, value, headers)) in all.into_iter().enumerate() {
            out.send_with("t", 0, key, value, headers);
            if number == 2 {
                out.complete("t", 0);
            }
        }
        out.next("in", 0, 1, "");
        let _open = out.close().unwrap();
        arrive(&log, [5, 0, 0]);
        let mut seen = 0;
        let compare = |message: Message<'_>| {
            let headers: Vec<(&str, &[u8])> = message.headers.iter().collect();
            let (key, value, sent) = all[seen];
            assert_eq!((message.key, message.value, &*headers), (key, value, sent), "{seen}");
            seen += 1;
        };
        log.read("t", 0, 0..5, compare).unwrap();
        assert_eq!(seen, 5);
    }

    #[test]
    fn a_partition_goes_out_once_it_fills_a_request_or_is_complete_and_keeps_its_order() {
        let (_embedded, log, mut producer) = kafka();
        let mut out = Outbox::new(&mut producer);
        for number in 0..100 {
            out.send("t", 0, Some(&[number]), Some(&[b'x'; 10_000]));
        }
        out.send("t", 1, None, Some(b"small"));
        out.send("t", 2, None, Some(b"small"));
        out.complete("t", 1);
        arrive(&log, [90, 1, 0]);
        out.next("in", 0, 1, "");
        let open = out.close().unwrap();
        assert!(open.is_some());
        arrive(&log, [100, 1, 1]);
        let mut keys = Vec::new();
        log.read("t", 0, 0..100, |message| keys.extend_from_slice(message.key.unwrap())).unwrap();
        assert!(keys.iter().copied().eq(0..100));
    }

    #[test]
    fn after_the_first_failure_nothing_is_sent_and_the_failure_is_kept() {
        let mut records = Vec::new();
        let mut out = Outbox::memory(&mut records);
        out.send("t", 0, None, Some(b"one"));
        out.fail(Doubt::Unsure("first".to_owned()));
        out.fail(Doubt::Unsure("second".to_owned()));
        out.send("t", 0, None, Some(b"two"));
        assert_eq!(out.sent(), 1);
        assert_eq!(out.doubt(), Some(&Doubt::Unsure("first".to_owned())));
        assert!(out.close().is_err());
        assert_eq!(records.len(), 1);
    }

    #[test]
    fn the_last_word_on_a_partition_counts() {
        let mut records = Vec::new();
        let mut out = Outbox::memory(&mut records);
        out.next("in", 1, 5, "a");
        out.next("in", 0, 3, "b");
        out.next("in", 1, 6, "c");
        let next: Vec<(i32, i64)> =
            out.next_offsets().iter().map(|next| (next.partition, next.offset)).collect();
        assert_eq!(next, [(0, 3), (1, 6)]);
    }
}
