use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use tipstaff::ingest::BatchLimits;
use tipstaff::pipeline::{COMMIT_BOUNDS_MS, Drain, Progress, RecoveryRules, WorkerConfig, worker};

use crate::kafka::Kafka;
use crate::toy::Toy;
use crate::{create_topics, settings};

/// The safe wrapper's flush waits in slices of 100 ms, and every commit with it. And a batch that
/// may take a second does not, where a commit takes less.
pub fn commits_and_batches() {
    let Some(kafka) = Kafka::start(&[]) else { return };
    let bootstrap = kafka.bootstrap();
    create_topics(&bootstrap, &["idle.in", "idle.chain", "idle.out"], 2);
    let (drain, progress) = (Drain::default(), Arc::new(Progress::default()));
    let config = WorkerConfig {
        settings: settings(&bootstrap),
        group: "idle".to_owned(),
        name: "idle-toy-0".to_owned(),
        topics: vec!["idle.in".to_owned()],
        limits: BatchLimits { time: Duration::from_secs(1), ..BatchLimits::default() },
        rules: RecoveryRules::ALL,
        progress: Arc::clone(&progress),
    };
    let draining = drain.clone();
    let thread = std::thread::spawn(move || {
        worker(Toy::new("idle", true, Duration::ZERO), config, draining)
    });
    let producer: ThreadedProducer<DefaultProducerContext> =
        ClientConfig::new().set("bootstrap.servers", &bootstrap).create().unwrap();
    for n in 0..400 {
        let payload = n.to_string();
        let record = BaseRecord::<str, str>::to("idle.in").partition(n % 2).payload(&payload);
        producer.send(record).map_err(|(error, _)| error).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    producer.flush(Duration::from_secs(10)).unwrap();
    drain.start();
    thread.join().unwrap();

    let commits = progress.commits.load(SeqCst);
    let fast: u64 = progress
        .commit_buckets
        .iter()
        .zip(COMMIT_BOUNDS_MS)
        .filter(|(_, bound)| *bound <= 50)
        .map(|(count, _)| count.load(SeqCst))
        .sum();
    assert!(commits >= 40, "only {commits} commits in 8 s");
    assert!(fast * 2 > commits, "of {commits} commits only {fast} took 50 ms or less");
}
