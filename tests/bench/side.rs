//! One measured process: two workers on a topic that is already full.

use std::fs;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tipstaff::app::Cluster;
use tipstaff::ingest::{Admin, BatchLimits, Doubt, LogReader};
use tipstaff::observe::{Metrics, Traces};
use tipstaff::pipeline::{
    AlertEnds, Batch, Current, Drain, Hint, Intake, Outbox, Progress, RecoveryRules, Stage, Start,
    Topics, Triage, WorkerConfig, worker,
};

use crate::cpu::cpu;
use crate::load::{Load, PARTITIONS};
use crate::micro::{Micro, Shape, terms};

pub const THREADS: usize = 2;
pub const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What the process is measured by, between the first and the last part of the work.
#[derive(Debug, Clone, Copy, Default)]
pub struct Measured {
    pub rate: f64,
    pub cpu_s_per_million: f64,
    /// CPU time inside the stage: all but the client's own threads, the consumer and the commit.
    pub stage_ns: f64,
    pub rss_mib: f64,
    pub mean_batch: f64,
    pub commit_ms: f64,
}

#[derive(Default)]
struct Shared {
    assigned: AtomicUsize,
    messages: AtomicU64,
    busy_ns: AtomicU64,
    batches: AtomicU64,
    cpu: Mutex<Option<Window>>,
}

struct Window {
    began: Instant,
    messages: u64,
    cpu_s: f64,
}

/// Lets a stage begin once every worker has its share of the partitions.
struct Gated {
    stage: Box<dyn Stage + Send>,
    shared: Arc<Shared>,
    /// Partitions of one worker's share.
    share: usize,
    is_ready: bool,
    batch: u64,
}

impl Stage for Gated {
    fn depends_on(&self, topic: &str, partition: i32) -> Vec<(String, i32)> {
        self.stage.depends_on(topic, partition)
    }

    fn recover(&mut self, assigned: &[Hint], log: &LogReader) -> Result<Vec<Start>, Doubt> {
        let starts = self.stage.recover(assigned, log)?;
        if let Some(Start::Blocked { why, .. }) =
            starts.iter().find(|start| matches!(start, Start::Blocked { .. }))
        {
            panic!("{why}");
        }
        if assigned.len() == self.share && !self.is_ready {
            self.is_ready = true;
            self.shared.assigned.fetch_add(1, SeqCst);
        }
        Ok(starts)
    }

    fn process(&mut self, batch: &Batch<'_>, log: &LogReader, out: &mut Outbox<'_>) -> bool {
        if !self.is_ready {
            // The other worker is still to come, and with it another recovery.
            return false;
        }
        while self.shared.assigned.load(SeqCst) < THREADS {
            std::thread::sleep(Duration::from_millis(1));
        }
        let began = cpu();
        let wanted = self.stage.process(batch, log, out);
        self.shared.busy_ns.fetch_add((cpu() - began).as_nanos() as u64, SeqCst);
        self.batch = batch.messages.len() as u64;
        wanted
    }

    fn committed(&mut self) {
        self.stage.committed();
        self.shared.messages.fetch_add(self.batch, SeqCst);
        self.shared.batches.fetch_add(1, SeqCst);
    }
}

/// Records of one topic.
struct Written {
    topic: String,
    partitions: i32,
    per_message: f64,
    value: Vec<u8>,
}

/// Writes as many records of as many bytes as the real stage does, and nothing else.
struct Bare {
    outputs: Vec<Written>,
    owed: Vec<f64>,
    next: Vec<(String, i32, i64)>,
}

impl Written {
    fn new((topic, partitions): (&str, i32), per_message: f64, bytes: f64) -> Self {
        // The rest is the key.
        let value = vec![b'x'; (bytes as usize).saturating_sub(32)];
        Self { topic: topic.to_owned(), partitions, per_message, value }
    }
}

impl Bare {
    fn boxed(outputs: Vec<Written>) -> Box<dyn Stage + Send> {
        let owed = vec![0.0; outputs.len()];
        Box::new(Self { outputs, owed, next: Vec::new() })
    }
}

impl Stage for Bare {
    fn depends_on(&self, _: &str, _: i32) -> Vec<(String, i32)> {
        Vec::new()
    }

    fn recover(&mut self, assigned: &[Hint], log: &LogReader) -> Result<Vec<Start>, Doubt> {
        self.next = begin(assigned, log)?;
        Ok(starts(&self.next))
    }

    fn process(&mut self, batch: &Batch<'_>, _: &LogReader, out: &mut Outbox<'_>) -> bool {
        for message in batch.messages {
            let key = message.key.unwrap_or(b"no key of its own");
            for (written, owed) in self.outputs.iter().zip(&mut self.owed) {
                *owed += written.per_message;
                while *owed >= 1.0 {
                    *owed -= 1.0;
                    let partition = message.partition % written.partitions;
                    out.send(&written.topic, partition, Some(key), Some(&written.value));
                }
            }
            let place = (message.topic, message.partition);
            match self.next.iter_mut().find(|(topic, p, _)| (topic.as_str(), *p) == place) {
                Some((.., next)) => *next = message.offset + 1,
                None => return false,
            }
        }
        for (topic, partition, next) in &self.next {
            out.next(topic, *partition, *next, "");
        }
        !batch.messages.is_empty()
    }

    fn committed(&mut self) {}
}

/// Where what was committed last ends, or the topic begins.
pub fn begin(assigned: &[Hint], log: &LogReader) -> Result<Vec<(String, i32, i64)>, Doubt> {
    let next = |hint: &Hint| {
        let (topic, partition) = (hint.topic.clone(), hint.partition);
        let offset = hint.committed.map_or_else(|| log.low(&topic, partition), Ok)?;
        Ok((topic, partition, offset))
    };
    assigned.iter().map(next).collect()
}

pub fn starts(next: &[(String, i32, i64)]) -> Vec<Start> {
    let start = |(topic, partition, offset): &(String, i32, i64)| Start::At {
        topic: topic.clone(),
        partition: *partition,
        offset: *offset,
    };
    next.iter().map(start).collect()
}

/// What a measured process is told on its command line.
pub struct Told {
    pub side: String,
    pub prefix: String,
    pub alerts_topic: String,
    pub messages: u64,
    pub max_alerts: usize,
    pub shape: Shape,
}

pub fn run(load: &Load, cluster: &Cluster, told: &Told) -> Measured {
    let shared = Arc::new(Shared::default());
    let drain = Drain::default();
    let is_intake = told.side.ends_with("intake");
    let topics: Vec<String> = if is_intake {
        Cluster::detector_topics(&load.loaded.checked.pipelines)
    } else {
        vec![told.alerts_topic.clone()]
    };
    let mut threads = Vec::new();
    let mut progress = Vec::new();
    let metrics = Metrics::new().unwrap();
    for number in 0..THREADS {
        let stage = stage(load, cluster, told, &metrics);
        let gated = Gated {
            stage,
            shared: Arc::clone(&shared),
            share: topics.len() * PARTITIONS as usize / THREADS,
            is_ready: false,
            batch: 0,
        };
        let own = Arc::new(Progress::default());
        let config = WorkerConfig {
            settings: cluster.settings.clone(),
            group: format!("{}.{}", told.prefix, if is_intake { "intake" } else { "triage" }),
            name: format!("{}-{number}", told.prefix),
            topics: topics.clone(),
            limits: BatchLimits {
                time: Duration::from_millis(100),
                messages: told.max_alerts,
                bytes: BATCH_BYTES_MAX,
            },
            rules: RecoveryRules::ALL,
            progress: Arc::clone(&own),
        };
        progress.push(own);
        let drain = drain.clone();
        threads.push(std::thread::spawn(move || worker(gated, config, drain)));
    }
    let mut measured = watch(&shared, told.messages, || threads.iter().any(|t| t.is_finished()));
    let commits: u64 = progress.iter().map(|p| p.commits.load(SeqCst)).sum();
    let commit_us: u64 = progress.iter().map(|p| p.commit_time_us.load(SeqCst)).sum();
    measured.commit_ms = commit_us as f64 / 1000.0 / commits.max(1) as f64;
    drain.start();
    threads.into_iter().for_each(|thread| drop(thread.join()));
    measured
}

fn stage(load: &Load, cluster: &Cluster, told: &Told, metrics: &Metrics) -> Box<dyn Stage + Send> {
    let shape = &told.shape;
    let Topics { alerts, decisions, case_partitions, .. } = &cluster.topics;
    match told.side.as_str() {
        "bare" => {
            let cases = cluster.topics.output("cases.cloud-response");
            Bare::boxed(vec![
                Written::new((decisions, PARTITIONS), 1.0, shape.decision_bytes),
                Written::new((&cases, *case_partitions), shape.others, shape.other_bytes),
            ])
        }
        "bare-intake" => {
            let (count, bytes) = (shape.alerts_per_message, shape.alert_bytes);
            Bare::boxed(vec![Written::new((alerts, PARTITIONS), count, bytes)])
        }
        side => real(load, cluster, side == "intake", metrics),
    }
}

/// Writes to every topic that triage writes to, on average as many records of as many bytes to each.
pub fn bare_triage(load: &Load, cluster: &Cluster) -> Box<dyn Stage + Send> {
    let outputs = Micro::new(load).outputs().into_iter().map(|(topic, (per_message, bytes))| {
        let (_, name) = topic.split_once('.').unwrap();
        let count = cluster.topics.output_partitions(name);
        Written::new((&cluster.topics.output(name), count), per_message, bytes)
    });
    Bare::boxed(outputs.collect())
}

/// Intake, or else triage.
pub fn real(
    load: &Load,
    cluster: &Cluster,
    is_intake: bool,
    metrics: &Metrics,
) -> Box<dyn Stage + Send> {
    let admin = Admin::connect(&cluster.settings).unwrap();
    if is_intake {
        let pipelines = Current::new(Arc::clone(&load.loaded.checked.pipelines));
        return Box::new(Intake::new(
            (pipelines, Arc::clone(&load.keys)),
            cluster.topics.clone(),
            (admin, AlertEnds::new(PARTITIONS)),
            (metrics.clone(), Traces::default()),
        ));
    }
    Box::new(Triage::new(
        terms(load, cluster.topics.clone()),
        (Arc::clone(&load.loaded.enrichers), Duration::from_millis(500)),
        cluster.expected(&admin).unwrap(),
        tipstaff::app::system_clock(),
        (metrics.clone(), Traces::default()),
    ))
}

/// Between 5 % and 90 % of the messages: without the first batches and without the time in which only
/// one worker still has something to do.
fn watch(shared: &Shared, messages: u64, has_ended: impl Fn() -> bool) -> Measured {
    let began = Instant::now();
    let (first, last) = (messages / 20, messages * 9 / 10);
    loop {
        let done = shared.messages.load(SeqCst);
        let mut window = shared.cpu.lock().unwrap();
        if window.is_none() && done >= first {
            shared.busy_ns.store(0, SeqCst);
            shared.batches.store(0, SeqCst);
            *window = Some(Window { began: Instant::now(), messages: done, cpu_s: cpu_s() });
        }
        if let Some(window) = &*window
            && done >= last
        {
            let count = (done - window.messages) as f64;
            return Measured {
                rate: count / window.began.elapsed().as_secs_f64(),
                cpu_s_per_million: (cpu_s() - window.cpu_s) / count * 1e6,
                stage_ns: shared.busy_ns.load(SeqCst) as f64 / count,
                rss_mib: peak_rss_mib(),
                mean_batch: count / shared.batches.load(SeqCst).max(1) as f64,
                commit_ms: 0.0,
            };
        }
        drop(window);
        assert!(!has_ended(), "a worker ended");
        assert!(began.elapsed() < Duration::from_secs(300), "stuck at {done} of {messages}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Of all threads of this process, in user and system mode.
fn cpu_s() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks: Vec<f64> = fields.split(' ').skip(11).take(2).map(|t| t.parse().unwrap()).collect();
    (ticks[0] + ticks[1]) / 100.0
}

fn peak_rss_mib() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}
