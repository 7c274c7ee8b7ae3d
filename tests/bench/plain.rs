//! An exactly-once copy loop as one writes it with the client alone: what comes is sent at once, and
//! committed every 100 ms, as Kafka Streams does it by default. Nothing here restarts: it joins no group.

use std::collections::HashMap;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use tipstaff::app::Cluster;
use tipstaff::pipeline::Drain;

use crate::latency::key;
use crate::load::PARTITIONS;

const COMMIT: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(30);

pub fn spawn(cluster: &Cluster, from: Vec<String>, to: &str, drain: &Drain) -> JoinHandle<()> {
    let (to, drain) = (to.to_owned(), drain.clone());
    let name = format!("plain-{to}");
    let bootstrap = cluster.settings.bootstrap();
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", &name)
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("fetch.wait.max.ms", "10")
        .create()
        .unwrap();
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("transactional.id", &name)
        .set("linger.ms", "5")
        .create()
        .unwrap();
    let mut begin = TopicPartitionList::new();
    for topic in &from {
        for partition in 0..PARTITIONS {
            begin.add_partition_offset(topic, partition, Offset::End).unwrap();
        }
    }
    consumer.assign(&begin).unwrap();
    std::thread::spawn(move || {
        producer.init_transactions(PATIENCE).unwrap();
        producer.begin_transaction().unwrap();
        let mut next: HashMap<(String, i32), Offset> = HashMap::new();
        let mut committed = Instant::now();
        while !drain.is_started() {
            if let Some(message) = consumer.poll(Duration::from_millis(5)) {
                let message = message.unwrap();
                let place = (message.topic(), message.partition(), message.offset());
                let key = key(message.key(), place);
                let record = BaseRecord::to(&to).partition(message.partition()).key(&key[..]);
                let record = record.payload(message.payload().unwrap_or_default());
                producer.send(record).map_err(|(error, _)| error).unwrap();
                next.insert((place.0.to_owned(), place.1), Offset::Offset(place.2 + 1));
            }
            if next.is_empty() || committed.elapsed() < COMMIT {
                continue;
            }
            committed = Instant::now();
            // The library's own flush looks every 100 ms whether it is done.
            while producer.in_flight_count() > 0 {
                std::thread::sleep(Duration::from_micros(500));
            }
            let offsets = TopicPartitionList::from_topic_map(&std::mem::take(&mut next)).unwrap();
            let member = consumer.group_metadata().unwrap();
            producer.send_offsets_to_transaction(&offsets, &member, PATIENCE).unwrap();
            producer.commit_transaction(PATIENCE).unwrap();
            producer.begin_transaction().unwrap();
        }
    })
}
