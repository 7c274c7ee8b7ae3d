//! How long it takes from a detector's topic to a committed decision, at a given rate, beside two
//! exactly-once copy loops in a row: as one writes them, and by our own worker, which commits as soon as
//! it can. And beside a copy and a bare loop that writes as much as triage does: what is left of the time
//! when nothing is ruled. Workers, producer and reader are in one process.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use serde::Deserialize;
use tipstaff::app::Cluster;
use tipstaff::case::Origin;
use tipstaff::ingest::{BatchLimits, Doubt, LogReader};
use tipstaff::normalize::partition_of;
use tipstaff::observe::Metrics;
use tipstaff::pipeline::{
    Batch, Drain, Ended, Hint, Outbox, Progress, RecoveryRules, Stage, Start, WorkerConfig, worker,
};

use crate::load::{Load, PARTITIONS};
use crate::plain;
use crate::side::{BATCH_BYTES_MAX, bare_triage, begin, real, starts};

const PLAIN: &str = "two plain loops, a commit every 100 ms";
const COPIES: &str = "two copies by our worker";
const BARE: &str = "copy and bare triage";
const REAL: &str = "intake and triage";
pub const SIDES: [&str; 4] = [PLAIN, COPIES, BARE, REAL];

const SECONDS: u64 = 20;
/// What is sent before every worker has had its first batches is not counted.
const WARM_UP: Duration = Duration::from_secs(5);
/// Clients stay this long with one partition for messages without a key, by default.
const STICKY: Duration = Duration::from_millis(10);

/// That of a copy: where it first stood.
pub fn key(of: Option<&[u8]>, (topic, partition, offset): (&str, i32, i64)) -> Vec<u8> {
    of.map_or_else(|| format!("{topic} {partition} {offset}").into_bytes(), <[u8]>::to_vec)
}

/// Passes each record on as it is, and where it first stood as its key.
struct Copy {
    to: String,
    /// As intake does; else it stays in its partition.
    is_spread: bool,
    next: HashMap<(String, i32), i64>,
}

impl Stage for Copy {
    fn depends_on(&self, _: &str, _: i32) -> Vec<(String, i32)> {
        Vec::new()
    }

    fn recover(&mut self, assigned: &[Hint], log: &LogReader) -> Result<Vec<Start>, Doubt> {
        let next = begin(assigned, log)?;
        let starts = starts(&next);
        let place = |(topic, partition, offset)| ((topic, partition), offset);
        self.next = next.into_iter().map(place).collect();
        Ok(starts)
    }

    fn process(&mut self, batch: &Batch<'_>, _: &LogReader, out: &mut Outbox<'_>) -> bool {
        for message in batch.messages {
            let key = key(message.key, (message.topic, message.partition, message.offset));
            let partition = match self.is_spread {
                true => partition_of(&String::from_utf8_lossy(&key), PARTITIONS),
                false => message.partition,
            };
            out.send(&self.to, partition, Some(&key), message.value);
            self.next.insert((message.topic.to_owned(), message.partition), message.offset + 1);
        }
        for ((topic, partition), next) in &self.next {
            out.next(topic, *partition, *next, "");
        }
        !batch.messages.is_empty()
    }

    fn committed(&mut self) {}
}

/// Median and 99th percentile in milliseconds, and how many were counted.
pub fn run(load: &Load, cluster: &Cluster, side: &str, rate: u64) -> [f64; 3] {
    let drain = Drain::default();
    let detectors = Cluster::detector_topics(&load.loaded.checked.pipelines);
    let alerts = vec![cluster.topics.alerts.clone()];
    let metrics = Metrics::new().unwrap();
    let copy = |to: &String, is_spread: bool| -> Box<dyn Stage + Send> {
        Box::new(Copy { to: to.clone(), is_spread, next: HashMap::new() })
    };
    let real = |is_intake: bool| real(load, cluster, is_intake, &metrics);
    let (middle, end) = (&cluster.topics.alerts, &cluster.topics.decisions);
    let stages = match side {
        PLAIN => None,
        COPIES => Some((copy(middle, false), copy(end, false))),
        BARE => Some((copy(middle, true), bare_triage(load, cluster))),
        _ => Some((real(true), real(false))),
    };
    let workers = match stages {
        Some((first, second)) => [
            spawn(first, cluster, ("intake", detectors), &drain),
            spawn(second, cluster, ("triage", alerts), &drain),
        ],
        None => [
            plain::spawn(cluster, detectors, middle, &drain),
            plain::spawn(cluster, alerts, end, &drain),
        ],
    };
    let ends = ends(cluster, load);
    let stop = Arc::new(AtomicBool::new(false));
    let reader = read(cluster, side != REAL, Arc::clone(&stop));
    // Groups are joined, chains are restored.
    std::thread::sleep(Duration::from_secs(5));
    let sent = send(load, cluster, ends, rate);
    std::thread::sleep(Duration::from_secs(3));
    stop.store(true, SeqCst);
    let seen = reader.join().unwrap();
    drain.start();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    let began = sent.values().min().copied().unwrap();
    let counted: Vec<_> =
        sent.iter().filter(|(_, at)| at.duration_since(began) > WARM_UP).collect();
    let mut took: Vec<f64> = counted
        .iter()
        .filter_map(|(place, at)| Some(seen.get(place)?.duration_since(**at).as_secs_f64() * 1e3))
        .collect();
    assert!(took.len() * 100 >= counted.len() * 99, "{} of {}", took.len(), counted.len());
    took.sort_by(f64::total_cmp);
    let part = |share: f64| took[(took.len() as f64 * share) as usize];
    [part(0.5), part(0.99), took.len() as f64]
}

fn spawn(
    stage: Box<dyn Stage + Send>,
    cluster: &Cluster,
    (role, topics): (&str, Vec<String>),
    drain: &Drain,
) -> JoinHandle<()> {
    let config = WorkerConfig {
        settings: cluster.settings.clone(),
        group: cluster.group(role),
        name: format!("{role}-{}", cluster.topics.alerts),
        topics,
        limits: BatchLimits {
            time: Duration::from_millis(100),
            messages: 4096,
            bytes: BATCH_BYTES_MAX,
        },
        rules: RecoveryRules::ALL,
        progress: Arc::new(Progress::default()),
    };
    let drain = drain.clone();
    std::thread::spawn(move || assert_eq!(worker(Boxed(stage), config, drain), Ended::Drained))
}

struct Boxed(Box<dyn Stage + Send>);

impl Stage for Boxed {
    fn depends_on(&self, topic: &str, partition: i32) -> Vec<(String, i32)> {
        self.0.depends_on(topic, partition)
    }
    fn recover(&mut self, assigned: &[Hint], log: &LogReader) -> Result<Vec<Start>, Doubt> {
        self.0.recover(assigned, log)
    }
    fn process(&mut self, batch: &Batch<'_>, log: &LogReader, out: &mut Outbox<'_>) -> bool {
        self.0.process(batch, log, out)
    }
    fn committed(&mut self) {
        self.0.committed();
    }
}

/// A message's place on its detector's topic.
type Place = (String, i32, i64);
type Ends = HashMap<(String, i32), i64>;

fn ends(cluster: &Cluster, load: &Load) -> Ends {
    let log = LogReader::connect(&cluster.settings, "bench").unwrap();
    let mut ends = Ends::new();
    for topic in Cluster::detector_topics(&load.loaded.checked.pipelines) {
        for partition in 0..PARTITIONS {
            let end = log.high(&topic, partition).unwrap();
            ends.insert((topic.clone(), partition), end);
        }
    }
    ends
}

/// One producer, so that a topic's messages stand in the order in which they were sent.
fn send(load: &Load, cluster: &Cluster, mut ends: Ends, rate: u64) -> HashMap<Place, Instant> {
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", cluster.settings.bootstrap())
        .set("enable.idempotence", "true")
        .set("linger.ms", "5")
        .create()
        .unwrap();
    let events: Vec<_> = (0..rate * SECONDS).map(|n| load.events.get(n)).collect();
    let mut sent = HashMap::with_capacity(events.len());
    let began = Instant::now();
    for (n, event) in events.iter().enumerate() {
        let due = began + Duration::from_secs_f64(n as f64 / rate as f64);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let batch = due.duration_since(began).as_millis() / STICKY.as_millis();
        let partition = (batch % PARTITIONS as u128) as i32;
        let end = ends.get_mut(&(event.topic.to_owned(), partition)).unwrap();
        // What is late by then waits, too.
        sent.insert((event.topic.to_owned(), partition, *end), due);
        *end += 1;
        let record = BaseRecord::<str, str>::to(event.topic).partition(partition);
        producer.send(record.payload(&event.value)).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(Duration::from_secs(10)).unwrap();
    sent
}

/// When each message's record was seen committed.
fn read(
    cluster: &Cluster,
    is_copy: bool,
    stop: Arc<AtomicBool>,
) -> JoinHandle<HashMap<Place, Instant>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", cluster.settings.bootstrap())
        .set("group.id", "bench-reader")
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "10")
        .create()
        .unwrap();
    let mut from = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        let topic = &cluster.topics.decisions;
        from.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&from).unwrap();
    std::thread::spawn(move || {
        let mut seen = HashMap::new();
        while !stop.load(SeqCst) {
            let Some(message) = consumer.poll(Duration::from_millis(50)) else { continue };
            let (message, now) = (message.unwrap(), Instant::now());
            let place = match is_copy {
                true => copied(message.key().unwrap_or_default()),
                false => ruled(message.payload().unwrap_or_default()),
            };
            seen.extend(place.map(|place| (place, now)));
        }
        seen
    })
}

/// All that is read of a record: the reader has the same two cores.
#[derive(Deserialize)]
struct Ruled<'r> {
    #[serde(borrow)]
    origin: Option<Origin<'r>>,
}

fn ruled(bytes: &[u8]) -> Option<Place> {
    let origin = serde_json::from_slice::<Ruled<'_>>(bytes).ok()?.origin?;
    Some((origin.topic.to_string(), origin.partition, origin.offset))
}

fn copied(key: &[u8]) -> Option<Place> {
    let mut parts = std::str::from_utf8(key).ok()?.split(' ');
    let topic = parts.next()?.to_owned();
    Some((topic, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}
