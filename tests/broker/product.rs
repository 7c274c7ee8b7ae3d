//! The product as its operators meet it: the real binary on a real broker, one promise at a time.

mod cases;
mod chains;
mod control;
mod input;
pub mod late;
pub mod lifecycle;
pub mod orders;
mod policy;
pub mod reload;
mod remade;
mod repairs;
mod services;
mod setup;
mod signatures;
mod silences;
mod sinks;
mod tables;
mod topic_tables;
mod tracker;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::Value;

use super::conservation::{holds, read_topic};
use super::deployment::{Deployment, PREFIX, Process, tipstaff};
use super::kafka::{Kafka, free_ports};
use super::rig::wait_until;
use super::settings;

/// Generous: the machine may be busy. Whatever waits this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Longer than a test's proxy holds a commit.
const COMMITS_END: Duration = Duration::from_secs(2);

/// Stops a broker in order, and what it would serve stands still before: of a single broker that
/// stops or is killed in the middle of a commit the markers can be lost that end its transaction,
/// which then hangs for ever (seen: complete for the coordinator, and open where its records are).
/// Transactions that nobody commits stay open, and processes go on without their broker.
pub fn stop_between_commits(kafka: &mut Kafka, processes: &[&Process]) {
    processes.iter().for_each(|process| process.freeze(true));
    std::thread::sleep(COMMITS_END);
    kafka.stop();
    processes.iter().for_each(|process| process.freeze(false));
}

/// What the topics of the shipped pipelines begin with.
const ALERTS: &str = "alerts.";
/// Those to which tests send.
const PIPELINES: [&str; 3] = ["gitleaks", "okta-system-log", "aws-guardduty"];

/// One deployment with a topic prefix of its own, so that several share a broker and its detectors.
pub struct Site {
    pub deployment: Deployment,
    pub bootstrap: String,
    pub prefix: String,
    /// What its detectors' topics begin with.
    detectors: String,
}

/// How a verb ended.
#[derive(Debug)]
pub struct Answer {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Site {
    pub fn new(bootstrap: &str, prefix: &str, partitions: i32) -> Self {
        let deployment = Deployment::new(partitions);
        let (bootstrap, prefix) = (bootstrap.to_owned(), prefix.to_owned());
        Self { deployment, bootstrap, prefix, detectors: ALERTS.to_owned() }
    }

    /// On a broker where others are, too: some of the shipped pipelines, on topics of its own, and
    /// instances that no other has.
    pub fn beside_others(bootstrap: &str, prefix: &str) -> Self {
        let mut site = Self::new(bootstrap, prefix, 2);
        site.detectors = format!("{ALERTS}{prefix}.");
        let (shipped, own) = (shipped("pipelines"), site.deployment.directory.join("pipelines"));
        for pipeline in PIPELINES {
            copy(&shipped.join(pipeline), &own.join(pipeline));
            let file = own.join(pipeline).join("pipeline.yaml");
            let text = std::fs::read_to_string(&file).unwrap();
            let topic = format!("topic: {}", site.detectors);
            std::fs::write(&file, text.replacen("topic: alerts.", &topic, 1)).unwrap();
        }
        std::fs::copy(shipped.join("aliases.csv"), own.join("aliases.csv")).unwrap();
        site
    }

    fn has_own_pipelines(&self) -> bool {
        self.detectors != ALERTS
    }

    /// A detector's topic as this site has it.
    pub fn detector(&self, topic: &str) -> String {
        match topic.strip_prefix(ALERTS) {
            Some(name) => format!("{}{name}", self.detectors),
            None => topic.to_owned(),
        }
    }

    /// Configuration of one instance on a free port, with `more` at its end.
    pub fn config(&self, instance: &str, more: &str) -> (PathBuf, u16) {
        let port = free_ports(1)[0];
        let directory = self.deployment.config(instance, &self.bootstrap, port, more);
        let replaced = format!("prefix: {},", self.prefix);
        self.edit(instance, &format!("prefix: {PREFIX},"), &replaced);
        if self.has_own_pipelines() {
            let named = format!("instance: {}-{instance}\n", self.prefix);
            self.edit(instance, &format!("instance: {instance}\n"), &named);
            self.edit(instance, &place(&shipped("pipelines")), &place(&self.folder("pipelines")));
        }
        (directory, port)
    }

    /// Changes an instance's service file.
    pub fn edit(&self, instance: &str, from: &str, to: &str) {
        let file = self.deployment.directory.join(instance).join("tipstaff.yaml");
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "`{from}` is not in {text}");
        std::fs::write(&file, text.replace(from, to)).unwrap();
    }

    /// Gives an instance one of the three folders as its own, which it may change.
    pub fn own(&self, instance: &str, folder: &str) -> PathBuf {
        let (shipped, own) = (shipped(folder), self.folder(folder));
        if folder != "pipelines" || !self.has_own_pipelines() {
            copy(&shipped, &own);
            self.edit(instance, &place(&shipped), &place(&own));
        }
        own
    }

    fn folder(&self, folder: &str) -> PathBuf {
        self.deployment.directory.join(folder)
    }

    /// Runs a verb on the configuration `instance`, made before.
    pub fn verb(&self, verb: &[&str], instance: &str) -> Answer {
        let directory = self.deployment.directory.join(instance);
        let mut arguments = verb.to_vec();
        arguments.extend(["--config", directory.to_str().unwrap()]);
        let output = tipstaff(&arguments);
        Answer {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// An operator's configuration, and the topics it asks for.
    pub fn create(&self, more: &str) -> Answer {
        self.config("operator", more);
        let made = self.verb(&["topics", "create"], "operator");
        assert_eq!(made.code, Some(0), "{made:?}");
        made
    }

    pub fn start(&self, instance: &str, roles: &'static str, more: &str) -> Process {
        let (directory, port) = self.config(instance, more);
        Process::start(&directory, roles, port)
    }

    /// The same, once it says that it is ready.
    pub fn ready(&self, instance: &str, roles: &'static str, more: &str) -> Process {
        let mut process = self.start(instance, roles, more);
        self.wait_ready(&mut process);
        process
    }

    pub fn wait_ready(&self, process: &mut Process) {
        let is_ready = wait_until(PATIENCE, || process.is_ready());
        assert!(is_ready, "{} is not ready: {}", process.name, process.log());
    }

    /// Publishes in order and waits until all of it is acknowledged.
    pub fn publish(&self, messages: &[(&str, i32, Option<Vec<u8>>)]) {
        let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
            .set("bootstrap.servers", &self.bootstrap)
            .set("enable.idempotence", "true")
            .set("message.max.bytes", "9000000")
            .set("allow.auto.create.topics", "false")
            .create()
            .unwrap();
        for (topic, partition, value) in messages {
            let topic = self.detector(topic);
            let mut record = BaseRecord::<str, [u8]>::to(&topic).partition(*partition);
            if let Some(value) = value {
                record = record.payload(value);
            }
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(PATIENCE).unwrap();
    }

    pub fn topic(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    /// Every settled record of every chain, in the order of partition and offset.
    pub fn chains(&self) -> Vec<(i32, i64, Value)> {
        let records = read_topic(&settings(&self.bootstrap), &self.topic("decisions"));
        records
            .into_iter()
            .map(|(partition, offset, bytes)| {
                (partition, offset, serde_json::from_slice(&bytes).unwrap())
            })
            .collect()
    }

    pub fn records(&self, kind: &str) -> Vec<Value> {
        let records = self.chains().into_iter().map(|(.., record)| record);
        records.filter(|record| record["kind"] == kind).collect()
    }

    /// How many rulings there are; cheap enough to be asked again and again.
    pub fn ruled(&self) -> usize {
        let records = read_topic(&settings(&self.bootstrap), &self.topic("decisions"));
        let is_ruling = |value: &[u8]| holds(value, b"\"kind\":\"ruling\"");
        records.iter().filter(|(.., value)| is_ruling(value)).count()
    }

    /// Waits for this many rulings and returns them.
    pub fn rulings(&self, count: usize, process: &Process) -> Vec<Value> {
        wait_until(PATIENCE, || self.ruled() >= count);
        let found = self.records("ruling");
        assert_eq!(found.len(), count, "{}", process.log());
        found
    }
}

fn shipped(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)
}

/// As a path stands in a service file.
fn place(folder: &Path) -> String {
    format!("{}: {}", folder.file_name().unwrap().to_string_lossy(), folder.display())
}

pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() { copy(&path, &to) } else { std::fs::copy(&path, &to).map(drop).unwrap() }
    }
}

/// Waits until the process ends by itself; exit code and log.
pub fn ends(process: &mut Process) -> (i32, String) {
    let mut code = None;
    wait_until(PATIENCE, || {
        code = process.ended();
        code.is_some()
    });
    (code.unwrap_or_else(|| panic!("it goes on: {}", process.log())), process.log())
}

/// Waits until the log has a line with all of `words`.
pub fn says(process: &Process, words: &[&str]) {
    let has = || process.log().lines().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(wait_until(PATIENCE, has), "no line with {words:?} in {}", process.log());
}

pub fn drains(process: &mut Process) {
    let (code, took) = process.terminate();
    assert_eq!(code, Some(0), "{}", process.log());
    assert!(took < Duration::from_secs(10), "took {took:?}");
}

/// A report of gitleaks with one finding, told apart by `n`.
pub fn finding(n: usize) -> Vec<u8> {
    let finding = serde_json::json!([{
        "RuleID": "generic-api-key", "Description": format!("finding {n}"),
        "Secret": format!("notarealsecret-{n:08}"), "Match": "key", "File": "a.py",
        "StartLine": 1, "Commit": "c", "Author": "x", "Email": "x@example.com",
        "Date": "2026-01-01T00:00:00Z", "Message": "m", "Tags": [],
        "Fingerprint": format!("c:a:{n}"),
    }]);
    serde_json::to_vec(&finding).unwrap()
}

pub const GITLEAKS: &str = "alerts.gitleaks";

pub fn findings(
    partition: i32,
    numbers: std::ops::Range<usize>,
) -> Vec<(&'static str, i32, Option<Vec<u8>>)> {
    numbers.map(|n| (GITLEAKS, partition, Some(finding(n)))).collect()
}

/// `route`, `suppress`, `escalate`, `hold` or `dead_letter`.
pub fn fate(ruling: &Value) -> &str {
    ruling["ruling"]["fate"].as_object().unwrap().keys().next().unwrap()
}

/// How often each alert of these rulings has a first ruling.
pub fn by_origin(rulings: &[Value]) -> BTreeMap<(String, i64, i64), usize> {
    let mut counted = BTreeMap::new();
    for ruling in rulings {
        let origin = &ruling["origin"];
        let topic = origin["topic"].as_str().unwrap_or_default().to_owned();
        let place =
            (topic, origin["partition"].as_i64().unwrap(), origin["offset"].as_i64().unwrap());
        *counted.entry(place).or_default() += 1;
    }
    counted
}

fn admin(bootstrap: &str) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", bootstrap).create().unwrap()
}

fn wait_for<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// As an operator with the Kafka tools would.
pub fn delete_topic(bootstrap: &str, topic: &str) {
    let (admin, options) = (admin(bootstrap), AdminOptions::new());
    let deleted = wait_for(admin.delete_topics(&[topic], &options)).unwrap();
    assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
    let known = tipstaff::ingest::Admin::connect(&settings(bootstrap)).unwrap();
    assert!(wait_until(PATIENCE, || known.partitions(topic).unwrap().is_none()), "{topic} stays");
}

/// As retention would.
pub fn delete_records(bootstrap: &str, topic: &str, partition: i32, before: i64) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(before)).unwrap();
    let (admin, options) = (admin(bootstrap), AdminOptions::new());
    let deleted = wait_for(admin.delete_records(&list, &options)).unwrap();
    let element = deleted.find_partition(topic, partition).unwrap();
    element.error().unwrap();
    let log = tipstaff::ingest::LogReader::connect(&settings(bootstrap), "retention").unwrap();
    assert_eq!(log.low(topic, partition), Ok(before));
}
