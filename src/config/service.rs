use std::net::SocketAddr;

use super::secret::{SecretFrom, secret_from};
use super::signing::{OrdersConfig, SigningConfig, orders, signing};
use super::systems::{SystemConfig, systems};
use super::traces::{TracesConfig, traces};
use super::webhooks::{WebhooksConfig, webhooks};
use super::words::{duration, listed, number};
use crate::case::Millis;
use crate::text::{At, Data, Fields, Node, Problems, Source, read};

/// `tipstaff.yaml`: where Kafka is and how this service runs. Holds no secret, only where each is
/// kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceConfig {
    /// Properties of the Kafka client, in file order.
    pub kafka: Vec<(String, At, Property)>,
    pub topics: TopicsConfig,
    /// One of its kind: client and transaction ids are made of it.
    pub instance: String,
    pub workers: WorkersConfig,
    pub batch: BatchConfig,
    /// Metrics and health.
    pub listen: SocketAddr,
    pub webhooks: Option<WebhooksConfig>,
    /// Systems that facts are asked of.
    pub services: Vec<SystemConfig>,
    /// Where cached answers are kept over a restart; from the directory of the file.
    pub snapshot: Option<String>,
    pub fingerprint: FingerprintConfig,
    /// The key before the last rotation, while old fingerprints are still in tables.
    pub previous: Option<FingerprintConfig>,
    pub paths: Paths,
    /// Who may sign the policy, and how many must; without it signatures are not looked at.
    pub signing: Option<SigningConfig>,
    /// Without it every order is refused: no signature counts.
    pub orders: Option<OrdersConfig>,
    pub start: Start,
    /// Files of `playbooks/sinks` that are used.
    pub sinks: Vec<(String, At)>,
    /// Whether each ruling is written as an OCSF Detection Finding, too.
    pub findings: bool,
    pub log: LogConfig,
    /// Without it nothing is traced and no trace is passed on.
    pub traces: Option<TracesConfig>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Property {
    Plain(String),
    Secret(SecretFrom),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicsConfig {
    pub prefix: String,
    pub partitions: i32,
    /// Of each topic of cases, and of dead letters.
    pub case_partitions: i32,
    pub replication: i32,
    /// Of detector topics, which hold what detectors send.
    pub retention_ms: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkersConfig {
    pub intake: usize,
    pub triage: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchConfig {
    pub max_ms: u64,
    pub max_alerts: usize,
    pub lookup_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FingerprintConfig {
    pub id: String,
    pub key: SecretFrom,
    pub at: At,
}

/// From the directory of `tipstaff.yaml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    pub pipelines: String,
    pub enrichers: String,
    pub playbooks: String,
}

/// Where `topics create` writes into genesis that reading starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Earliest,
    Latest,
    Time(Millis),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogConfig {
    pub level: &'static str,
    pub json: bool,
}

const LEVELS: &[(&str, &str)] = &[
    ("error", "error"),
    ("warn", "warn"),
    ("info", "info"),
    ("debug", "debug"),
    ("trace", "trace"),
];
const LISTEN: ([u8; 4], u16) = ([127, 0, 0, 1], 9464);
const DAY_MS: i64 = 86_400_000;

impl Default for Paths {
    fn default() -> Self {
        let [pipelines, enrichers, playbooks] = ["pipelines", "enrichers", "playbooks"];
        Self {
            pipelines: pipelines.to_owned(),
            enrichers: enrichers.to_owned(),
            playbooks: playbooks.to_owned(),
        }
    }
}

impl Paths {
    /// Each folder's name in the configuration and where it is.
    pub fn each(&self) -> [(&'static str, &str); 3] {
        [
            ("enrichers", &self.enrichers),
            ("pipelines", &self.pipelines),
            ("playbooks", &self.playbooks),
        ]
    }
}

impl ServiceConfig {
    /// Errors: adds every problem of the file and returns nothing when there is one.
    pub fn read(source: &Source, problems: &mut Problems) -> Option<Self> {
        let before = problems.len();
        let node = read(source, problems)?;
        let mut fields = Fields::of(&node, "the service's file", problems)?;
        let kafka = fields.require("kafka", problems).map(|node| kafka(node, problems));
        let topics = topics(fields.get("topics"), problems);
        let instance = instance(&mut fields, problems);
        let workers = workers(fields.get("workers"), problems);
        let batch = batch(fields.get("batch"), problems);
        let listen = listen(fields.get("listen"), problems);
        let webhooks = fields.get("webhooks").map(|node| webhooks(node, listen, problems));
        let services = fields.get("services").map(|node| systems(node, problems));
        let snapshot = fields.get("cache").and_then(|node| snapshot(node, problems));
        let keys = fields.require("fingerprint", problems);
        let keys = keys.and_then(|node| fingerprint(node, problems));
        let paths = paths(fields.get("paths"), problems);
        let signing = fields.get("policy").and_then(|node| signing(node, problems));
        let orders = fields.get("orders").and_then(|node| orders(node, problems));
        let start = fields.get("start").and_then(|node| start(node, problems));
        let sinks = fields.texts("sinks", problems);
        let sinks = sinks.into_iter().map(|(name, at)| (name.to_owned(), at.clone())).collect();
        let findings = fields.bool("findings", problems).unwrap_or(false);
        let log = log(fields.get("log"), problems);
        let traces = fields.get("traces").and_then(|node| traces(node, problems));
        if let Some(callbacks) = webhooks.iter().flatten().find_map(|w| w.callbacks.as_ref())
            && orders.is_none()
        {
            problems.add(&callbacks.at, "`callbacks` go with `orders`, whose file has their key");
        }
        fields.finish(problems);
        let ((fingerprint, previous), kafka) = (keys?, kafka?);
        (problems.len() == before).then_some(Self {
            kafka,
            topics,
            instance,
            workers,
            batch,
            listen,
            webhooks: webhooks.flatten(),
            services: services.unwrap_or_default(),
            snapshot,
            fingerprint,
            previous,
            paths,
            signing,
            orders,
            start: start.unwrap_or(Start::Earliest),
            sinks,
            findings,
            log,
            traces,
        })
    }

    /// Only where the other files are, for reading them; mistakes are told by [`Self::read`].
    #[cfg(feature = "shell")]
    pub(super) fn paths_of(source: &Source) -> Paths {
        let mut unheard = Problems::default();
        let node = read(source, &mut unheard);
        let fields = node.as_ref().and_then(|node| Fields::of(node, "", &mut unheard));
        fields.map_or_else(Paths::default, |mut fields| paths(fields.get("paths"), &mut unheard))
    }
}

fn kafka(node: &Node, problems: &mut Problems) -> Vec<(String, At, Property)> {
    let mut found = Vec::new();
    let Some(mut fields) = Fields::of(node, "`kafka`", problems) else { return found };
    let name = "bootstrap.servers";
    if let Some(node) = fields.require(name, problems) {
        found.extend(property(name, node, problems));
    }
    if let Some(node) = fields.get("properties")
        && let Some(mut properties) = Fields::of(node, "`properties`", problems)
    {
        for (key, value) in properties.rest() {
            let Some(key_name) = key.text() else {
                problems.add(&key.at, "the name of a property must be text");
                continue;
            };
            if key_name == name {
                problems.add(&key.at, format!("`{name}` stands directly under `kafka`"));
            }
            found.extend(property(key_name, value, problems));
        }
    }
    fields.finish(problems);
    found
}

fn property(name: &str, node: &Node, problems: &mut Problems) -> Option<(String, At, Property)> {
    let value = match &node.data {
        Data::Map(_) => Property::Secret(secret_from(node, name, problems)?),
        _ if is_secret(name) => Property::Secret(secret_from(node, name, problems)?),
        Data::Text(text) => Property::Plain(text.clone()),
        Data::Decimal(text) => Property::Plain(text.clone()),
        Data::Int(value) => Property::Plain(value.to_string()),
        Data::Bool(value) => Property::Plain(value.to_string()),
        Data::Null | Data::List(_) => {
            problems.add(&node.at, format!("`{name}` must be one value, not {}", node.kind()));
            return None;
        }
    };
    Some((name.to_owned(), node.at.clone(), value))
}

/// Properties of librdkafka that hold secrets; by their endings, so that new ones are covered.
fn is_secret(name: &str) -> bool {
    ["password", "secret", "passphrase", "key.pem", "oauthbearer.config"]
        .iter()
        .any(|ending| name.ends_with(ending))
}

fn section<'n>(node: Option<&'n Node>, what: &str, problems: &mut Problems) -> Option<Fields<'n>> {
    node.and_then(|node| Fields::of(node, what, problems))
}

fn topics(node: Option<&Node>, problems: &mut Problems) -> TopicsConfig {
    let mut topics = TopicsConfig {
        prefix: "tipstaff".to_owned(),
        partitions: 12,
        case_partitions: 1,
        replication: 3,
        retention_ms: 7 * DAY_MS,
    };
    let Some(mut fields) = section(node, "`topics`", problems) else { return topics };
    if let Some(prefix) = topic_name(&mut fields, "prefix", problems) {
        topics.prefix = prefix;
    }
    let partitions = number(&mut fields, "partitions", (1, 1000), problems);
    topics.partitions = partitions.unwrap_or(topics.partitions);
    let of_cases = number(&mut fields, "case_partitions", (1, 1000), problems);
    topics.case_partitions = of_cases.unwrap_or(topics.case_partitions);
    let replication = number(&mut fields, "replication", (1, 9), problems);
    topics.replication = replication.unwrap_or(topics.replication);
    let retention = duration(&mut fields, "retention", (3_600_000, 365 * DAY_MS), problems);
    topics.retention_ms = retention.unwrap_or(topics.retention_ms);
    fields.finish(problems);
    topics
}

/// What Kafka allows in the name of a topic or client.
fn topic_name(
    fields: &mut Fields<'_>,
    key: &'static str,
    problems: &mut Problems,
) -> Option<String> {
    let at = fields.get(key)?.at.clone();
    let name = fields.text(key, problems)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || name.len() > 100 || !name.chars().all(allowed) {
        let help = format!("`{key}` must be 1 to 100 letters, digits, `.`, `_` or `-`");
        problems.add(&at, help);
        return None;
    }
    Some(name.to_owned())
}

fn instance(fields: &mut Fields<'_>, problems: &mut Problems) -> String {
    topic_name(fields, "instance", problems).unwrap_or_else(|| "tipstaff-1".to_owned())
}

fn workers(node: Option<&Node>, problems: &mut Problems) -> WorkersConfig {
    let mut workers = WorkersConfig { intake: 1, triage: 2 };
    let Some(mut fields) = section(node, "`workers`", problems) else { return workers };
    let intake = number(&mut fields, "intake", (1, 64), problems);
    workers.intake = intake.unwrap_or(workers.intake);
    let triage = number(&mut fields, "triage", (1, 64), problems);
    workers.triage = triage.unwrap_or(workers.triage);
    fields.finish(problems);
    workers
}

fn batch(node: Option<&Node>, problems: &mut Problems) -> BatchConfig {
    let mut batch = BatchConfig { max_ms: 100, max_alerts: 4000, lookup_ms: 500 };
    let Some(mut fields) = section(node, "`batch`", problems) else { return batch };
    let max_ms = number(&mut fields, "max_ms", (1, 2000), problems);
    batch.max_ms = max_ms.unwrap_or(batch.max_ms);
    let max_alerts = number(&mut fields, "max_alerts", (1, 100_000), problems);
    batch.max_alerts = max_alerts.unwrap_or(batch.max_alerts);
    // Batch, lookups and commit must fit into one transaction of 10 s.
    let lookup_ms = number(&mut fields, "lookup_ms", (1, 5000), problems);
    batch.lookup_ms = lookup_ms.unwrap_or(batch.lookup_ms);
    fields.finish(problems);
    batch
}

fn listen(node: Option<&Node>, problems: &mut Problems) -> SocketAddr {
    if let Some(node) = node {
        if let Some(address) = node.text().and_then(|text| text.parse().ok()) {
            return address;
        }
        problems.add(&node.at, "`listen` must be an address and a port: 127.0.0.1:9464");
    }
    SocketAddr::from(LISTEN)
}

fn snapshot(node: &Node, problems: &mut Problems) -> Option<String> {
    let mut fields = Fields::of(node, "`cache`", problems)?;
    let directory = fields.require_text("snapshot", problems).map(str::to_owned);
    fields.finish(problems);
    directory
}

fn fingerprint(
    node: &Node,
    problems: &mut Problems,
) -> Option<(FingerprintConfig, Option<FingerprintConfig>)> {
    let mut fields = Fields::of(node, "`fingerprint`", problems)?;
    let current = fingerprint_key(&mut fields, problems);
    let previous = fields.get("previous").and_then(|node| {
        let mut fields = Fields::of(node, "`previous`", problems)?;
        let key = fingerprint_key(&mut fields, problems);
        fields.finish(problems);
        key
    });
    fields.finish(problems);
    let current = current?;
    if let Some(key) = previous.as_ref().filter(|key| key.id == current.id) {
        problems.add(&key.at, format!("two keys cannot have the same id `{}`", key.id));
    }
    Some((current, previous))
}

fn fingerprint_key(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<FingerprintConfig> {
    let at = fields.at.clone();
    let id = fields.require_text("id", problems);
    let key = fields.require("key", problems);
    let key = key.and_then(|node| secret_from(node, "key", problems));
    let id = id?;
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if id.is_empty() || id.len() > 32 || !id.chars().all(allowed) {
        problems.add(&at, "`id` must be 1 to 32 small letters, digits or `-`");
    }
    Some(FingerprintConfig { id: id.to_owned(), key: key?, at })
}

fn paths(node: Option<&Node>, problems: &mut Problems) -> Paths {
    let mut paths = Paths::default();
    let Some(mut fields) = section(node, "`paths`", problems) else { return paths };
    for (key, slot) in [
        ("pipelines", &mut paths.pipelines),
        ("enrichers", &mut paths.enrichers),
        ("playbooks", &mut paths.playbooks),
    ] {
        if let Some(path) = fields.text(key, problems) {
            path.clone_into(slot);
        }
    }
    fields.finish(problems);
    paths
}

pub(super) fn start(node: &Node, problems: &mut Problems) -> Option<Start> {
    let read = match node.text().unwrap_or_default() {
        "earliest" => Some(Start::Earliest),
        "latest" => Some(Start::Latest),
        text => Millis::parse(text).map(Start::Time),
    };
    if read.is_none() {
        problems.add(&node.at, "`start` must be earliest, latest or a time in RFC 3339");
    }
    read
}

fn log(node: Option<&Node>, problems: &mut Problems) -> LogConfig {
    let mut log = LogConfig { level: "info", json: false };
    let Some(mut fields) = section(node, "`log`", problems) else { return log };
    if let Some(level) = fields.get("level").and_then(|n| listed(n, "level", LEVELS, problems)) {
        log.level = level;
    }
    let formats = [("json", true), ("text", false)];
    if let Some(json) = fields.get("format").and_then(|n| listed(n, "format", &formats, problems)) {
        log.json = json;
    }
    fields.finish(problems);
    log
}
