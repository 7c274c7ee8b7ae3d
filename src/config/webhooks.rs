use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::SinkConfig;
use super::secret::{Secret, SecretFrom, fetch, secret_from};
use super::sns::SnsTopic;
use super::words::{bytes, duration, listed, number};
use crate::case::from_base64;
use crate::normalize::{MESSAGE_BYTES_MAX, Pipelines};
use crate::policy::Authority;
use crate::text::{At, Data, Fields, Node, Problems, suggestion};

/// Where deliveries over HTTP are taken, and how each sender proves who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhooksConfig {
    pub listen: SocketAddr,
    pub at: At,
    /// Of one body, as it comes over the wire.
    pub max_bytes: usize,
    /// Deliveries that are worked on at one time.
    pub in_flight: usize,
    /// Either way, where the signature covers a time.
    pub window_ms: i64,
    /// For the brokers' acknowledgement.
    pub wait_ms: i64,
    pub pipelines: Vec<WebhookConfig>,
    /// Without it nobody acknowledges through a sink.
    pub callbacks: Option<CallbacksConfig>,
}

/// What proves the sinks through which people acknowledge, and what it is passed on under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallbacksConfig {
    /// An SSH key of this service's own, without a passphrase.
    pub key: SecretFrom,
    pub at: At,
    /// By sink; any of its secrets is right.
    pub sinks: Vec<(String, At, Vec<WebhookSecret>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookConfig {
    pub pipeline: String,
    pub at: At,
    pub proof: Proof,
}

/// What a delivery has to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// Any of the secrets is right, so that one can be replaced by the next.
    Secret { verify: Verify, secrets: Vec<WebhookSecret> },
    /// Amazon SNS signs for every topic of every account, so these are those that may send.
    AwsSns(Vec<SnsTopic>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookSecret {
    pub from: SecretFrom,
    pub at: At,
}

/// How a sender proves that it has a secret; the facts of each stand in `receive::sender`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verify {
    Github,
    Gitguardian,
    /// Of its users' actions, never of alerts.
    Slack,
    StandardWebhooks,
    Bearer,
    /// `user:password`.
    Basic,
    /// The secret itself in the header of this name, in small letters.
    Header(String),
}

#[derive(Clone, Copy)]
enum Word {
    Is(&'static Verify),
    Header,
    AwsSns,
}

const WORDS: &[(&str, Word)] = &[
    ("github", Word::Is(&Verify::Github)),
    ("gitguardian", Word::Is(&Verify::Gitguardian)),
    ("standard-webhooks", Word::Is(&Verify::StandardWebhooks)),
    ("bearer", Word::Is(&Verify::Bearer)),
    ("basic", Word::Is(&Verify::Basic)),
    ("header", Word::Header),
    ("aws-sns", Word::AwsSns),
];

/// Shorter ones could be tried out over the network.
const SECRET_BYTES_MIN: usize = 16;
/// In front of the base64 of a Standard Webhooks secret.
const STANDARD_PREFIX: &str = "whsec_";

pub(super) fn webhooks(
    node: &Node,
    metrics: SocketAddr,
    problems: &mut Problems,
) -> Option<WebhooksConfig> {
    let mut fields = Fields::of(node, "`webhooks`", problems)?;
    let listen = fields.require("listen", problems);
    let listen = listen.and_then(|node| address(node, metrics, problems));
    let max_bytes = bytes(&mut fields, "max_bytes", (1024, MESSAGE_BYTES_MAX), problems);
    let in_flight = number(&mut fields, "in_flight", (1, 1024), problems);
    let window_ms = duration(&mut fields, "window", (10_000, 3_600_000), problems);
    let wait_ms = duration(&mut fields, "wait", (1000, 30_000), problems);
    let pipelines = fields.require("pipelines", problems);
    let pipelines = pipelines.and_then(|node| each(node, problems));
    let callbacks = fields.get("callbacks").map(|node| callbacks(node, problems));
    let at = fields.at.clone();
    fields.finish(problems);
    Some(WebhooksConfig {
        listen: listen?,
        at,
        max_bytes: max_bytes.unwrap_or(MESSAGE_BYTES_MAX),
        in_flight: in_flight.unwrap_or(64),
        window_ms: window_ms.unwrap_or(300_000),
        wait_ms: wait_ms.unwrap_or(4000),
        pipelines: pipelines?,
        callbacks: callbacks.flatten(),
    })
}

/// Whoever may reach the one must not reach the other.
fn address(node: &Node, metrics: SocketAddr, problems: &mut Problems) -> Option<SocketAddr> {
    let address: Option<SocketAddr> = node.text().and_then(|text| text.parse().ok());
    let Some(address) = address else {
        problems.add(&node.at, "`listen` must be an address and a port: 0.0.0.0:8443");
        return None;
    };
    if address.port() == metrics.port() {
        problems.add(&node.at, "webhooks and metrics must not share a port");
    }
    Some(address)
}

fn each(node: &Node, problems: &mut Problems) -> Option<Vec<WebhookConfig>> {
    let mut fields = Fields::of(node, "`pipelines`", problems)?;
    let mut found = Vec::new();
    for (name, node) in fields.rest() {
        match name.text() {
            Some(pipeline) => found.extend(one(pipeline, &name.at, node, problems)),
            None => problems.add(&name.at, "the name of a pipeline must be text"),
        }
    }
    Some(found)
}

fn one(pipeline: &str, at: &At, node: &Node, problems: &mut Problems) -> Option<WebhookConfig> {
    let mut fields = Fields::of(node, &format!("`{pipeline}`"), problems)?;
    let word = fields.require("verify", problems);
    let word = word.and_then(|node| listed(node, "verify", WORDS, problems));
    let is_sns = match word {
        Some(word) => matches!(word, Word::AwsSns),
        None => fields.get("topics").is_some(),
    };
    let secrets = (!is_sns).then(|| secrets(&mut fields, problems));
    for (key, belongs, help) in [
        ("header", matches!(word, Some(Word::Header)), "`header` goes with `verify: header`"),
        ("topics", is_sns, "`topics` goes with `verify: aws-sns`"),
        (
            "secrets",
            !is_sns,
            "`verify: aws-sns` has `topics` and no `secrets`: AWS signs by itself",
        ),
    ] {
        if let Some(node) = fields.get(key).filter(|_| word.is_some() && !belongs) {
            problems.add(&node.at, help);
        }
    }
    let verify = match word {
        Some(Word::Is(verify)) => Some(verify.clone()),
        Some(Word::Header) => header_name(&mut fields, problems).map(Verify::Header),
        Some(Word::AwsSns) | None => None,
    };
    let proof = match secrets {
        Some(secrets) => verify.map(|verify| Proof::Secret { verify, secrets }),
        None => Some(Proof::AwsSns(topics(&mut fields, problems))),
    };
    fields.finish(problems);
    Some(WebhookConfig { pipeline: pipeline.to_owned(), at: at.clone(), proof: proof? })
}

fn callbacks(node: &Node, problems: &mut Problems) -> Option<CallbacksConfig> {
    let mut fields = Fields::of(node, "`callbacks`", problems)?;
    let key = fields.require("key", problems);
    let key = key.and_then(|node| secret_from(node, "key", problems));
    let listed = fields.require("sinks", problems);
    let listed = listed.and_then(|node| Fields::of(node, "`sinks`", problems));
    let mut sinks = Vec::new();
    for (name, node) in listed.into_iter().flat_map(|mut listed| listed.rest()) {
        let Some(sink) = name.text() else {
            problems.add(&name.at, "the name of a sink must be text");
            continue;
        };
        let Some(mut of) = Fields::of(node, &format!("`{sink}`"), problems) else { continue };
        let secrets = secrets(&mut of, problems);
        of.finish(problems);
        sinks.push((sink.to_owned(), name.at.clone(), secrets));
    }
    let at = fields.at.clone();
    fields.finish(problems);
    Some(CallbacksConfig { key: key?, at, sinks })
}

fn secrets(fields: &mut Fields<'_>, problems: &mut Problems) -> Vec<WebhookSecret> {
    let is_secret = |node: &Node, problems: &mut Problems| {
        let from = secret_from(node, "secrets", problems)?;
        Some(WebhookSecret { from, at: node.at.clone() })
    };
    several(fields, "secrets", is_secret, problems)
}

fn topics(fields: &mut Fields<'_>, problems: &mut Problems) -> Vec<SnsTopic> {
    let is_topic = |node: &Node, problems: &mut Problems| {
        let topic = node.text().and_then(SnsTopic::parse);
        if topic.is_none() {
            let help = "`topics` lists SNS topics: arn:aws:sns:<region>:<account>:<name>";
            problems.add(&node.at, help);
        }
        topic
    };
    several(fields, "topics", is_topic, problems)
}

/// A required list that needs at least one.
fn several<T>(
    fields: &mut Fields<'_>,
    key: &'static str,
    read: impl Fn(&Node, &mut Problems) -> Option<T>,
    problems: &mut Problems,
) -> Vec<T> {
    let before = problems.len();
    fields.require(key, problems);
    let nodes = fields.list(key, problems);
    let found: Vec<T> = nodes.iter().filter_map(|node| read(node, problems)).collect();
    if found.is_empty() && problems.len() == before {
        problems.add(&fields.at, format!("`{key}` needs at least one"));
    }
    found
}

pub(super) fn header_name(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<String> {
    let Some(node) = fields.get("header") else {
        problems.add(&fields.at, "`verify: header` needs the header's name: `header`");
        return None;
    };
    let is_name = |text: &&str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        !text.is_empty() && text.len() <= 64 && text.bytes().all(allowed)
    };
    let name = match &node.data {
        Data::Text(text) => Some(text.as_str()).filter(is_name),
        _ => None,
    };
    if name.is_none() {
        problems.add(&node.at, "`header` must be a header's name: letters, digits, `-` or `_`");
    }
    name.map(str::to_ascii_lowercase)
}

/// Each with the name that the record knows it by.
pub type NamedSecrets = Vec<(String, Secret)>;

impl CallbacksConfig {
    /// Each must be a sink whose file says how its users acknowledge, and by whom.
    pub(super) fn check(
        &self,
        sinks: &[SinkConfig],
        authority: &Authority,
        problems: &mut Problems,
    ) {
        for (name, at, _) in &self.sinks {
            let sink = sinks.iter().find(|sink| sink.name == *name);
            match sink.map(|sink| sink.callback.as_ref()) {
                Some(Some(callback)) => callback.check_people(authority, problems),
                Some(None) => {
                    problems.add(at, format!("playbooks/sinks/{name}.yaml has no `callback`"));
                }
                None => {
                    let hint = suggestion(name, sinks.iter().map(|sink| &*sink.name));
                    problems.add(at, format!("there is no sink `{name}`{hint}"));
                }
            }
        }
    }

    /// What proves this sink.
    #[cfg(feature = "shell")]
    pub(super) fn secrets(
        &self,
        (sink, verify): (&str, &Verify),
        read: &dyn Fn(&SecretFrom) -> Result<String, String>,
        problems: &mut Problems,
    ) -> NamedSecrets {
        let own = self.sinks.iter().filter(|(name, ..)| name == sink);
        let mut found = Vec::new();
        for secret in own.flat_map(|(.., secrets)| secrets) {
            let Some(text) = fetch(&secret.from, &secret.at, read, problems) else { continue };
            match usable(verify, text) {
                Ok(usable) => found.push((secret.from.to_string(), usable)),
                Err(why) => problems.add(&secret.at, format!("{} {why}", secret.from)),
            }
        }
        found
    }

    /// The text of the key that what they say is passed on under.
    #[cfg(feature = "shell")]
    pub(super) fn key_text(
        &self,
        read: &dyn Fn(&SecretFrom) -> Result<String, String>,
        problems: &mut Problems,
    ) -> Option<Secret> {
        let text = fetch(&self.key, &self.at, read, problems)?;
        // The armor of such a key ends with a line's end.
        Some(Secret::new(format!("{text}\n").into_bytes()))
    }
}

impl WebhooksConfig {
    /// Every one of them must be there and say in its own file that it takes webhooks.
    pub(super) fn check_pipelines(&self, pipelines: &Pipelines, problems: &mut Problems) {
        for config in &self.pipelines {
            let name = &config.pipeline;
            match pipelines.list().iter().find(|pipeline| pipeline.name == *name) {
                Some(pipeline) if pipeline.webhook.is_some() => {}
                Some(pipeline) => {
                    let file = &pipeline.file;
                    problems.add(&config.at, format!("{file} has no `webhook` in its `from`"));
                }
                None => {
                    let hint = suggestion(name, pipelines.names());
                    problems.add(&config.at, format!("there is no pipeline `{name}`{hint}"));
                }
            }
        }
    }

    pub(super) fn secrets(
        &self,
        read: &dyn Fn(&SecretFrom) -> Result<String, String>,
        problems: &mut Problems,
    ) -> Option<BTreeMap<String, Vec<Secret>>> {
        let before = problems.len();
        let mut all = BTreeMap::new();
        for config in &self.pipelines {
            let Proof::Secret { verify, secrets } = &config.proof else { continue };
            let secrets = secrets.iter().filter_map(|secret| {
                let text = fetch(&secret.from, &secret.at, read, problems)?;
                let found = usable(verify, text);
                let told = |why| problems.add(&secret.at, format!("{} {why}", secret.from));
                found.map_err(told).ok()
            });
            all.insert(config.pipeline.clone(), secrets.collect());
        }
        (problems.len() == before).then_some(all)
    }
}

/// What bodies are signed with that are sent, in the same form as of those that come.
pub(super) fn signing_secret(text: String) -> Result<Secret, String> {
    usable(&Verify::StandardWebhooks, text)
}

/// The bytes that a check works with.
fn usable(verify: &Verify, text: String) -> Result<Secret, String> {
    let bytes = match verify {
        Verify::StandardWebhooks => {
            let text = text.strip_prefix(STANDARD_PREFIX).unwrap_or(&text);
            let help = format!("must be `{STANDARD_PREFIX}` and base64");
            from_base64(text).ok_or(help)?
        }
        Verify::Basic if !text.contains(':') => {
            return Err("must be `user:password`".to_owned());
        }
        _ => text.into_bytes(),
    };
    if bytes.len() < SECRET_BYTES_MIN {
        return Err(format!("is too short: a webhook's secret needs {SECRET_BYTES_MIN} bytes"));
    }
    Ok(Secret::new(bytes))
}
