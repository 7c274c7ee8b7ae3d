use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use super::lines::{Totals, ruling_line};
use super::{is_colored, is_terminal, say, screen, verify};
use crate::app::{self, Cluster, Failure, Loaded, Options, Place, Plan, Role, system_clock};
use crate::audit::{CASES_PREFIX, Kind, Record};
use crate::case::Millis;
use crate::config::{BatchConfig, Start, WorkersConfig};
use crate::ingest::{Admin, Brokers, Doubt, Embedded, LogReader, Settings, Writer};
use crate::normalize::Incoming;
use crate::observe::{Metrics, Traces};
use crate::pipeline::{Drain, Topics};

#[derive(Args)]
pub(super) struct Demo {
    /// How many messages to publish
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=2000))]
    messages: u64,
    /// Messages a second
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=1000))]
    rate: u64,
    /// One JSON object a line instead of text
    #[arg(long)]
    json: bool,
}

const PARTITIONS: i32 = 2;
const PATIENCE: Duration = Duration::from_secs(60);
const NOT_DURABLE: &str = "The broker is embedded in this process: it keeps 5 MiB a partition, in memory only, and is gone \
                           with it. Use `tipstaff run` with Apache Kafka for anything that matters.";

/// A shipped example: which topic its detector publishes to, and its bytes.
struct Example {
    topic: String,
    value: Vec<u8>,
    /// Alerts that it becomes.
    alerts: u64,
}

impl Demo {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let clock = system_clock();
        let loaded = app::shipped(clock())?;
        crate::observe::start_logs("error", false);
        let examples = examples(&loaded)?;
        let embedded = Embedded::start()?;
        let cluster = begin(&embedded, &loaded, clock())?;
        self.tell(&format!("tipstaff demo. {NOT_DURABLE}\n\nstarting; the embedded broker's group takes about 3 s to form"));
        let options = Options {
            roles: Role::ALL.to_vec(),
            instance: "demo".to_owned(),
            workers: WorkersConfig { intake: 1, triage: 1 },
            batch: BatchConfig { max_ms: 50, max_alerts: 1000, lookup_ms: 500 },
            activate: false,
            reload: app::Reload::default(),
            clock: Arc::clone(&clock),
        };
        let keys = Arc::new(app::offline_keys()?);
        let metrics = Metrics::new().map_err(|error| Failure::Ended(error.to_string()))?;
        let shared = (Drain::default(), metrics, Traces::default());
        let running = app::start(&cluster, &loaded, keys, &options, shared)?;
        let until = Instant::now() + PATIENCE;
        while !running.is_ready() && !running.has_ended() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
        let shown = self.feed_and_show(&cluster, &examples)?;
        running.stop(Duration::from_secs(8))?;
        let is_whole = self.finish(&cluster, &shown, clock())?;
        drop(embedded);
        Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn tell(&self, text: &str) {
        if !self.json {
            say(text);
        }
    }

    /// Publishes at a steady rate and shows each ruling as it appears on the decisions topic.
    fn feed_and_show(&self, cluster: &Cluster, examples: &[Example]) -> Result<Shown, Failure> {
        let settings = cluster.settings.clone();
        let plan: Vec<(String, Vec<u8>)> = examples
            .iter()
            .cycle()
            .zip(0..self.messages)
            .map(|(example, _)| (example.topic.clone(), example.value.clone()))
            .collect();
        let expected = examples.iter().cycle().zip(0..self.messages).map(|(e, _)| e.alerts).sum();
        let pause = Duration::from_micros(1_000_000 / self.rate);
        let publisher = std::thread::spawn(move || publish(&settings, &plan, pause));
        let mut shown = Shown {
            totals: Totals::default(),
            waits_ms: Vec::new(),
            expected,
            started: Instant::now(),
        };
        let mut reader = Reader::connect(cluster)?;
        let until =
            Instant::now() + PATIENCE + pause * u32::try_from(self.messages).unwrap_or(u32::MAX);
        while shown.totals.rulings < expected && Instant::now() < until {
            reader.read(cluster, &mut |bytes| self.show(bytes, &mut shown))?;
            std::thread::sleep(Duration::from_millis(50));
        }
        if is_terminal() && !self.json {
            eprint!("\r\x1b[K");
        }
        match publisher.join() {
            Ok(result) => result?,
            Err(_) => return Err(Failure::Ended("the publisher panicked".to_owned())),
        }
        Ok(shown)
    }

    fn show(&self, bytes: &[u8], shown: &mut Shown) {
        let Some(record) = Record::parse(bytes).filter(|record| record.kind == Kind::Ruling) else {
            return;
        };
        shown.totals.add(&record);
        if let Some(alert) = &record.alert
            && let Some(received) = alert.get(crate::case::Field::ReceivedAt).time()
        {
            shown.waits_ms.push(record.at.since(received).max(0));
        }
        if self.json {
            let line = json!({
                "at": record.at, "pipeline": record.pipeline, "alert_id": record.alert_id,
                "kind": record.alert.as_ref().map(|a| a.get(crate::case::Field::Kind).borrowed()),
                "nhi": record.alert.as_ref().map(|a| a.get(crate::case::Field::NhiId).borrowed()),
                "ruling": record.ruling.as_ref().map(|d| d.fate.name()),
                "queue": record.ruling.as_ref().and_then(|d| d.fate.queue()),
                "reason": record.ruling.as_ref().map(|d| d.reason),
                "playbook": record.ruling.as_ref().map(|d| &d.playbook),
                "rule": record.ruling.as_ref().map(|d| &d.rule),
            });
            say(&line.to_string());
            return;
        }
        if is_terminal() {
            eprint!("\r\x1b[K");
        }
        if let Some(line) = ruling_line(&record, is_colored()) {
            say(&line);
        }
        if is_terminal() {
            eprint!("{} of {}", shown.totals.line(), shown.expected);
            // The total is for the eye; a terminal that is gone needs none.
            drop(std::io::stderr().flush());
        }
    }

    /// Summary, one case in full, and the proof of the chains. True when nothing is missing.
    fn finish(&self, cluster: &Cluster, shown: &Shown, now: Millis) -> Result<bool, Failure> {
        let (p50, p99) = (shown.wait(50), shown.wait(99));
        let is_whole = shown.totals.rulings == shown.expected;
        if self.json {
            let by_reason: BTreeMap<String, u64> = shown
                .totals
                .by_reason
                .iter()
                .map(|((ruling, reason), n)| (format!("{ruling}/{reason}"), *n))
                .collect();
            let summary = json!({
                "rulings": shown.totals.rulings, "expected": shown.expected, "by": by_reason,
                "wait_ms_p50": p50, "wait_ms_p99": p99,
            });
            say(&json!({ "summary": summary }).to_string());
        } else {
            say(&format!("\n{} alerts expected; {}", shown.expected, shown.totals.line()));
            for ((ruling, reason), count) in &shown.totals.by_reason {
                say(&format!("  {count:>5}  {ruling:<12} {reason}"));
            }
            let seconds = shown.started.elapsed().as_secs_f64();
            say(&format!(
                "in {seconds:.1} s; from the broker's time to the ruling: median {p50} ms, 99 % within {p99} ms\n"
            ));
        }
        if let Some(case) = find_case(cluster)? {
            say(&if self.json {
                json!({ "case": case }).to_string()
            } else {
                screen::case_text(&case, now)
            });
        }
        self.tell("");
        let chains = verify::read_cluster(cluster)?;
        let reports = chains.iter().map(|(p, records)| (*p, verify::prove(records))).collect();
        let is_sound = verify::show(&reports, self.json);
        self.tell(&format!("\n{NOT_DURABLE}"));
        if !is_whole {
            eprintln!("tipstaff: not every alert was ruled in time");
        }
        Ok(is_whole && is_sound)
    }
}

struct Shown {
    totals: Totals,
    waits_ms: Vec<i64>,
    expected: u64,
    started: Instant,
}

impl Shown {
    /// The wait in milliseconds that `percent` of the alerts did not exceed.
    fn wait(&self, percent: usize) -> i64 {
        let mut waits = self.waits_ms.clone();
        waits.sort_unstable();
        let at = (waits.len() * percent / 100).min(waits.len().saturating_sub(1));
        waits.get(at).copied().unwrap_or(0)
    }
}

/// Topics, genesis and starts on the embedded broker, which can't create topics by request.
fn begin(embedded: &Embedded, loaded: &Loaded, now: Millis) -> Result<Cluster, Failure> {
    let properties = BTreeMap::from([("bootstrap.servers".to_owned(), embedded.bootstrap())]);
    let settings = Settings::new(&Brokers { properties })
        .map_err(|error| Failure::Ended(error.to_string()))?;
    let topics = Topics::new("tipstaff", PARTITIONS);
    let keys = app::offline_keys()?;
    let key = keys.active_id().to_owned();
    let place = Place { settings, topics, fingerprint_key: key, findings: false };
    let cluster = Cluster::reach(place, PATIENCE)?;
    let plan = Plan {
        detectors: Cluster::detector_topics(&loaded.checked.pipelines),
        outputs: cluster.output_topics(&loaded.checked.policy),
        sinks: Vec::new(),
        replication: 1,
        retention_ms: -1,
        start: Start::Earliest,
        adopt: Vec::new(),
        instance: "demo".to_owned(),
        now,
    };
    for spec in plan.specs(&cluster) {
        embedded.create_topic(&spec.name, spec.partitions)?;
    }
    app::begin(&cluster, &plan, &Admin::connect(&cluster.settings)?)?;
    Ok(cluster)
}

/// The shipped examples, detectors mixed, each with the number of alerts that it becomes.
fn examples(loaded: &Loaded) -> Result<Vec<Example>, Failure> {
    let keys = app::offline_keys()?;
    let mut by_detector: Vec<Vec<Example>> = Vec::new();
    for pipeline in loaded.checked.pipelines.list() {
        let topic = pipeline.topic.as_str();
        let folder = format!("pipelines/{}/examples/", pipeline.name);
        let mut found = Vec::new();
        for (_, file) in loaded.files.iter().filter(|(path, _)| path.starts_with(&folder)) {
            let value = file.source.text.clone().into_bytes();
            let incoming = Incoming {
                topic,
                incarnation: "-",
                partition: 0,
                offset: 0,
                headers: &[],
                value: Some(&value),
                received_at: Millis(0),
            };
            let alerts = loaded.checked.pipelines.read(&incoming, None, &keys).len() as u64;
            found.push(Example { topic: topic.to_owned(), value, alerts });
        }
        by_detector.push(found);
    }
    let longest = by_detector.iter().map(Vec::len).max().unwrap_or(0);
    let mut sources: Vec<_> = by_detector.into_iter().map(Vec::into_iter).collect();
    let mut mixed = Vec::new();
    for _ in 0..longest {
        mixed.extend(sources.iter_mut().filter_map(Iterator::next));
    }
    if mixed.is_empty() {
        return Err(Failure::Ended("no example is shipped".to_owned()));
    }
    Ok(mixed)
}

fn publish(settings: &Settings, plan: &[(String, Vec<u8>)], pause: Duration) -> Result<(), Doubt> {
    let writer = Writer::connect(settings)?;
    let mut next = Instant::now();
    for (number, (topic, value)) in plan.iter().enumerate() {
        let key = (number % 16).to_string();
        writer.send(topic, -1, Some(key.as_bytes()), value)?;
        next += pause;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    writer.flush()
}

/// Follows the decisions topic.
struct Reader {
    log: LogReader,
    next: Vec<i64>,
}

impl Reader {
    fn connect(cluster: &Cluster) -> Result<Self, Failure> {
        let log = LogReader::connect(&cluster.settings, &cluster.group("demo"))?;
        let partitions = usize::try_from(cluster.topics.partitions).unwrap_or(0);
        Ok(Self { log, next: vec![0; partitions] })
    }

    fn read(&mut self, cluster: &Cluster, each: &mut dyn FnMut(&[u8])) -> Result<(), Failure> {
        for (partition, next) in (0..).zip(&mut self.next) {
            let topic = &cluster.topics.decisions;
            let end = self.log.stable(topic, partition)?;
            self.log.read(topic, partition, *next..end, |message| {
                each(message.value.unwrap_or_default());
            })?;
            *next = end;
        }
        Ok(())
    }
}

/// The case to show: an escalated one if there is one, else any.
fn find_case(cluster: &Cluster) -> Result<Option<serde_json::Value>, Failure> {
    let log = LogReader::connect(&cluster.settings, &cluster.group("demo"))?;
    let mut best: Option<serde_json::Value> = None;
    let mut queues = std::collections::BTreeSet::new();
    let chains = verify::read_cluster(cluster)?;
    for (_, bytes) in chains.values().flatten() {
        if let Some(decision) = Record::parse(bytes).and_then(|record| record.ruling) {
            queues.extend(decision.fate.queue().map(str::to_owned));
        }
    }
    for queue in queues {
        let topic = cluster.topics.output(&format!("{CASES_PREFIX}{queue}"));
        log.read_settled(&topic, |_, message| {
            let case =
                serde_json::from_slice::<serde_json::Value>(message.value.unwrap_or_default());
            if let Ok(case) = case
                && (best.is_none()
                    || case.get("escalation").is_some_and(serde_json::Value::is_object))
            {
                best = Some(case);
            }
        })?;
    }
    Ok(best)
}
