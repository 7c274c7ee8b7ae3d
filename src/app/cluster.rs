use std::collections::BTreeMap;
use std::time::Duration;

use tracing::warn;

use super::setup::Failure;
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
}

impl Cluster {
    /// Waits for the brokers, saying so, until they answer or a drain starts.
    pub fn wait(
        settings: Settings,
        topics: Topics,
        fingerprint_key: String,
        drain: &Drain,
    ) -> Result<Self, Failure> {
        let mut pause = Duration::from_millis(500);
        loop {
            let admin = Admin::connect(&settings)?;
            if let Some(id) = admin.cluster_id() {
                return Ok(Self { settings, id, topics, fingerprint_key });
            }
            let brokers = settings.bootstrap();
            warn!(brokers, "waiting for Kafka at {brokers}: no broker answers");
            if drain.is_started() {
                return Err(Failure::Ended("stopped before a broker answered".to_owned()));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_secs(5));
        }
    }

    pub fn group(&self, name: &str) -> String {
        self.topics.output(name)
    }

    /// Every topic that rulings under this policy can write to.
    pub fn output_topics(&self, policy: &Policy) -> Vec<String> {
        let queues = policy.queues();
        let cases = queues.iter().map(|queue| format!("{}{queue}", crate::audit::CASES_PREFIX));
        let fixed = [crate::audit::ACTIONS.to_owned(), crate::audit::DEAD_LETTERS.to_owned()];
        cases.chain(fixed).map(|name| self.topics.output(&name)).collect()
    }

    pub fn detector_topics(pipelines: &Pipelines) -> Vec<String> {
        pipelines.topics().into_iter().map(str::to_owned).collect()
    }

    /// What genesis says and what must still hold: the cluster's and the two topics' ids.
    pub fn expected(&self, admin: &Admin) -> Result<Expected, Failure> {
        let names = [self.topics.alerts.as_str(), self.topics.decisions.as_str()];
        let ids = match admin.topic_ids(&names) {
            Ok(ids) => ids,
            Err(TopicIdError::NotSupported) => vec!["-".to_owned(); names.len()],
            Err(TopicIdError::Missing(topic)) => {
                return Err(Failure::Ended(format!(
                    "topic `{topic}` does not exist: run `tipstaff topics create`"
                )));
            }
            Err(TopicIdError::Failed(doubt)) => return Err(Failure::Kafka(doubt)),
        };
        let topics: BTreeMap<String, String> =
            names.map(str::to_owned).into_iter().zip(ids).collect();
        for topic in topics.keys() {
            let found = admin.partitions(topic)?;
            if found != Some(self.topics.partitions) {
                let found = found.map_or("none".to_owned(), |found| found.to_string());
                return Err(Failure::Ended(format!(
                    "topic `{topic}` has {found} partition(s), the configuration says {}",
                    self.topics.partitions
                )));
            }
        }
        Ok(Expected {
            cluster: self.id.clone(),
            topics,
            partitions: self.topics.partitions,
            fingerprint_key: self.fingerprint_key.clone(),
        })
    }
}

impl From<TopicIdError> for Failure {
    fn from(error: TopicIdError) -> Self {
        match error {
            TopicIdError::Failed(doubt) => Self::Kafka(doubt),
            other => Self::Kafka(Doubt::Refused(other.to_string())),
        }
    }
}
