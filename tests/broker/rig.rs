//! A lane of topics, a worker on it and a feed into it.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Once};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use tipstaff::ingest::{BatchLimits, LogReader};
use tipstaff::pipeline::{Drain, Ended, Progress, RecoveryRules, WorkerConfig, worker};

use crate::checker::{Report, check};
use crate::toy::Toy;
use crate::{create_topics, settings};

pub const PARTITIONS: i32 = 2;
static LOGS: Once = Once::new();

pub fn create_lane(bootstrap: &str, lane: &str) {
    let topics = ["in", "chain", "out"].map(|name| format!("{lane}.{name}"));
    create_topics(bootstrap, &topics.each_ref().map(String::as_str), PARTITIONS);
}

pub struct Running {
    pub thread: JoinHandle<Ended>,
    pub drain: Drain,
    pub progress: Arc<Progress>,
}

/// Runs the toy stage as the worker `name` of this lane.
pub fn start(bootstrap: &str, lane: &str, name: &str, rules: RecoveryRules) -> Running {
    LOGS.call_once(|| {
        let filter = tracing_subscriber::EnvFilter::from_env("TIPSTAFF_TEST_LOG");
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    });
    let (drain, progress) = (Drain::default(), Arc::new(Progress::default()));
    let toy = Toy::new(lane, rules.read_log, Duration::from_millis(1));
    let config = WorkerConfig {
        settings: settings(bootstrap),
        group: lane.to_owned(),
        name: format!("{lane}-toy-{name}"),
        topics: vec![toy.input.clone()],
        limits: BatchLimits { time: Duration::from_millis(50), ..BatchLimits::default() },
        rules,
        progress: Arc::clone(&progress),
    };
    let draining = drain.clone();
    let thread = std::thread::spawn(move || worker(toy, config, draining));
    Running { thread, drain, progress }
}

/// A steady feed until told to stop; every record it counted is acknowledged.
pub struct Feed {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Feed {
    pub fn start(bootstrap: &str, lane: &str) -> Feed {
        let stop = Arc::new(AtomicBool::new(false));
        let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("enable.idempotence", "true")
            .create()
            .unwrap();
        let (topic, stopped) = (format!("{lane}.in"), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut n = 0;
            while !stopped.load(SeqCst) {
                let payload = format!("{topic} {n}");
                let record = BaseRecord::<str, str>::to(&topic).partition(n % PARTITIONS);
                producer.send(record.payload(&payload)).map_err(|(error, _)| error).unwrap();
                n += 1;
                std::thread::sleep(Duration::from_micros(2500));
            }
            producer.flush(Duration::from_secs(30)).unwrap();
        });
        Feed { stop, thread }
    }

    pub fn stop(self) {
        self.stop.store(true, SeqCst);
        self.thread.join().unwrap();
    }
}

pub fn wait_until(limit: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    while began.elapsed() < limit {
        let asked = Instant::now();
        if is_so() {
            return true;
        }
        // Longer than it takes to ask: some questions read whole topics.
        let pause = asked.elapsed() * 2;
        std::thread::sleep(pause.clamp(Duration::from_millis(50), Duration::from_secs(1)));
    }
    false
}

pub fn report(direct: &str, lane: &str) -> Report {
    let log = LogReader::connect(&settings(direct), &format!("{lane}.checker")).unwrap();
    let topic = |name: &str| format!("{lane}.{name}");
    check(&log, &topic("in"), &topic("chain"), &topic("out"), PARTITIONS).unwrap()
}
