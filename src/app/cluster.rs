use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tracing::warn;

use super::setup::{Failure, Loaded};
use crate::audit::{ACTIONS, CASES_PREFIX, DEAD_LETTERS, FINDINGS};
use crate::ingest::{Admin, Doubt, Settings, TopicIdError};
use crate::normalize::Pipelines;
use crate::pipeline::{Drain, Expected, Topics};
use crate::policy::Policy;

/// Consumer groups, without the prefix.
pub const INTAKE_GROUP: &str = "intake";
pub const TRIAGE_GROUP: &str = "triage";

/// A cluster that answered, and the names of our topics on it.
pub struct Cluster {
    pub settings: Settings,
    pub id: String,
    pub topics: Topics,
    pub fingerprint_key: String,
    /// Whether rulings are written as OCSF findings, too.
    pub findings: bool,
}

/// Where a cluster should be, and what ours is called on it.
pub struct Place {
    pub settings: Settings,
    pub topics: Topics,
    pub fingerprint_key: String,
    /// Whether rulings are written as OCSF findings, too.
    pub findings: bool,
}

impl Place {
    pub fn of(loaded: &Loaded) -> Result<Self, Failure> {
        let service = loaded.service()?;
        let settings = loaded.settings(&loaded.secrets()?)?;
        let mut topics = Topics::new(&service.topics.prefix, service.topics.partitions);
        topics.case_partitions = service.topics.case_partitions;
        let fingerprint_key = service.fingerprint.id.clone();
        Ok(Self { settings, topics, fingerprint_key, findings: service.findings })
    }
}

/// Between two lines about brokers that do not answer.
const TELL_EVERY: Duration = Duration::from_secs(5);
const ASK_WAIT: Duration = Duration::from_millis(500);
/// How long somebody at a screen waits for brokers where no time is said.
pub const PATIENCE: Duration = Duration::from_secs(30);

impl Cluster {
    /// Waits for the brokers, saying so, until they answer or a drain starts.
    pub fn wait(place: Place, drain: &Drain) -> Result<Self, Failure> {
        let stopped = || "stopped before a broker answered".to_owned();
        Self::answering(place, || drain.is_started().then(stopped))
    }

    /// For a verb that does one thing: they answer in time, or it ends.
    pub fn reach(place: Place, patience: Duration) -> Result<Self, Failure> {
        let until = Instant::now() + patience;
        let silent = format!("no broker answers at {}", place.settings.bootstrap());
        Self::answering(place, || (Instant::now() >= until).then(|| silent.clone()))
    }

    fn answering(place: Place, ended: impl Fn() -> Option<String>) -> Result<Self, Failure> {
        let Place { settings, topics, fingerprint_key, findings } = place;
        let admin = Admin::connect(&settings)?;
        let mut told: Option<Instant> = None;
        loop {
            if let Some(id) = admin.cluster_id(ASK_WAIT) {
                return Ok(Self { settings, id, topics, fingerprint_key, findings });
            }
            if let Some(why) = ended() {
                return Err(Failure::Ended(why));
            }
            if told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
                let brokers = settings.bootstrap();
                warn!(brokers, "waiting for Kafka at {brokers}: no broker answers");
                told = Some(Instant::now());
            }
        }
    }

    /// By which its chains, and orders about all of them, are told from another deployment's.
    pub fn home(&self) -> String {
        format!("{}/{}", self.id, self.topics.decisions)
    }

    pub fn group(&self, name: &str) -> String {
        self.topics.output(name)
    }

    /// Every topic that rulings under this policy can write to, with its number of partitions.
    pub fn output_topics(&self, policy: &Policy) -> Vec<(String, i32)> {
        let queues = policy.queues();
        let cases = queues.iter().map(|queue| format!("{CASES_PREFIX}{queue}"));
        let findings = self.findings.then_some(FINDINGS);
        let fixed = [ACTIONS, DEAD_LETTERS].into_iter().chain(findings).map(str::to_owned);
        let count = |name: &str| self.topics.output_partitions(name);
        cases.chain(fixed).map(|name| (self.topics.output(&name), count(&name))).collect()
    }

    pub fn detector_topics(pipelines: &Pipelines) -> Vec<String> {
        pipelines.topics().into_iter().map(str::to_owned).collect()
    }

    /// Errors: the topics that rulings under this policy go to and that do not exist, all at once.
    pub fn check_outputs(&self, admin: &Admin, policy: &Policy) -> Result<(), Failure> {
        let mut missing = Vec::new();
        for (topic, wanted) in self.output_topics(policy) {
            match admin.partitions(&topic)? {
                None => missing.push(format!("`{topic}`")),
                Some(found) => check_count(&topic, found, wanted)?,
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        Err(Failure::Ended(format!(
            "rulings go to topics that do not exist: {}; run `tipstaff topics create`",
            missing.join(", ")
        )))
    }

    /// Errors: there is none, or more than one, of what every worker reads before it rules.
    pub fn check_control(&self, admin: &Admin) -> Result<(), Failure> {
        let control = &self.topics.control;
        match admin.partitions(control)? {
            None => Err(Failure::missing(control)),
            Some(1) => Ok(()),
            Some(found) => Err(Failure::Ended(format!(
                "topic `{control}` has {found} partitions, and orders in it have no order: it has one"
            ))),
        }
    }

    /// A detector without a topic does not stop the others.
    pub fn check_detectors(&self, admin: &Admin, pipelines: &Pipelines) -> Result<(), Failure> {
        for topic in Self::detector_topics(pipelines) {
            if admin.partitions(&topic)?.is_none() {
                warn!(
                    topic,
                    "topic `{topic}` does not exist, nothing is read from it: run `tipstaff topics create`"
                );
            }
        }
        Ok(())
    }

    /// What genesis says and what must still hold: the cluster's and the topics' ids.
    pub fn expected(&self, admin: &Admin) -> Result<Expected, Failure> {
        let Topics { alerts, decisions, orders, .. } = &self.topics;
        let names = [alerts.as_str(), decisions.as_str(), orders.as_str()];
        let ids = match admin.topic_ids(&names) {
            Ok(ids) => ids,
            Err(TopicIdError::NotSupported) => vec!["-".to_owned(); names.len()],
            Err(TopicIdError::Missing(topic)) => {
                return Err(Failure::missing(&topic));
            }
            Err(TopicIdError::Failed(doubt)) => return Err(Failure::Kafka(doubt)),
        };
        let topics: BTreeMap<String, String> =
            names.map(str::to_owned).into_iter().zip(ids).collect();
        for topic in topics.keys() {
            check_count(topic, admin.partitions(topic)?.unwrap_or(0), self.topics.partitions)?;
        }
        Ok(Expected {
            cluster: self.id.clone(),
            topics,
            partitions: self.topics.partitions,
            fingerprint_key: self.fingerprint_key.clone(),
        })
    }
}

pub(super) fn check_count(topic: &str, found: i32, wanted: i32) -> Result<(), Failure> {
    if found == wanted {
        return Ok(());
    }
    Err(Failure::Ended(format!(
        "topic `{topic}` has {found} partitions, the configuration says {wanted}: \
         correct `topics.partitions`, which can't change once chains have begun, or \
         `topics.case_partitions`"
    )))
}

impl From<TopicIdError> for Failure {
    fn from(error: TopicIdError) -> Self {
        match error {
            TopicIdError::Failed(doubt) => Self::Kafka(doubt),
            other => Self::Kafka(Doubt::Refused(other.to_string())),
        }
    }
}
