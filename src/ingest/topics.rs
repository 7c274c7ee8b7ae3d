use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::error::RDKafkaErrorCode;

use super::binding;
use super::client::Logged;
use super::error::Doubt;
use super::settings::Settings;

const CALL_WAIT: Duration = Duration::from_secs(15);

/// Of a question that is asked between two transactions.
const CHECK_WAIT: Duration = Duration::from_secs(3);

/// A topic as it should be made.
#[derive(Debug, Clone)]
pub struct TopicSpec {
    pub name: String,
    pub partitions: i32,
    /// -1 takes the brokers' own default.
    pub replication: i32,
    pub config: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    Made,
    Existed,
    Refused(String),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicIdError {
    /// Use "-": such a cluster cannot tell a topic from its successor of the same name.
    #[error("this cluster gives topics no ids")]
    NotSupported,
    #[error("topic `{0}` does not exist")]
    Missing(String),
    #[error(transparent)]
    Failed(#[from] Doubt),
}

/// Creates and describes topics.
pub struct Admin {
    inner: AdminClient<Logged>,
}

impl Admin {
    pub fn connect(settings: &Settings) -> Result<Admin, Doubt> {
        let inner = settings
            .admin()
            .create_with_context(Logged("admin"))
            .map_err(|error| Doubt::of("admin", &error))?;
        Ok(Admin { inner })
    }

    /// The result for each topic in the order given; nothing is changed about one that exists.
    pub fn create(&self, topics: &[TopicSpec]) -> Result<Vec<Created>, Doubt> {
        let new: Vec<NewTopic<'_>> = topics
            .iter()
            .map(|topic| {
                let replication = TopicReplication::Fixed(topic.replication);
                let new = NewTopic::new(&topic.name, topic.partitions, replication);
                topic.config.iter().fold(new, |new, (name, value)| new.set(name, value))
            })
            .collect();
        let options =
            AdminOptions::new().request_timeout(Some(CALL_WAIT)).operation_timeout(Some(CALL_WAIT));
        let results =
            wait(self.inner.create_topics(&new, &options)).map_err(|error| match &error {
                rdkafka::error::KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut) => {
                    Doubt::Unreachable(format!("create topics: {error}"))
                }
                _ => Doubt::of("create topics", &error),
            })?;
        Ok(results
            .into_iter()
            .map(|result| match result {
                Ok(_) => Created::Made,
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => Created::Existed,
                Err((_, code)) => Created::Refused(code.to_string()),
            })
            .collect())
    }

    /// `None` when the topic does not exist.
    pub fn partitions(&self, topic: &str) -> Result<Option<i32>, Doubt> {
        let metadata = self
            .inner
            .inner()
            .fetch_metadata(Some(topic), CALL_WAIT)
            .map_err(|error| Doubt::of("metadata", &error))?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let Some(found) = found.filter(|found| found.error().is_none()) else { return Ok(None) };
        Ok(i32::try_from(found.partitions().len()).ok().filter(|count| *count > 0))
    }

    /// `None` when no broker answers within `wait`.
    pub fn cluster_id(&self, wait: Duration) -> Option<String> {
        self.inner.inner().fetch_cluster_id(wait)
    }

    /// The first of these topics that is not the one with this id any more. What was received
    /// before the question is of the topic with this id when the answer is none.
    pub fn other_topic<'t>(&self, known: &[(&'t str, &str)]) -> Result<Option<&'t str>, Doubt> {
        let topics: Vec<&str> = known.iter().map(|(topic, _)| *topic).collect();
        let found = binding::topic_ids(self.inner.inner(), &topics, CHECK_WAIT)
            .map_err(|code| Doubt::of("topic ids", &rdkafka::error::KafkaError::Global(code)))?;
        let mut found = found.into_iter();
        let mut pairs = known.iter().map(|(topic, id)| (*topic, *id, found.next().flatten()));
        Ok(pairs.find(|(_, id, found)| found.as_deref() != Some(*id)).map(|(topic, ..)| topic))
    }

    /// The incarnation of each topic: another id after it was deleted and made again.
    pub fn topic_ids(&self, topics: &[&str]) -> Result<Vec<String>, TopicIdError> {
        // Its metadata has ids, but the request for them is never answered.
        if self.cluster_id(CALL_WAIT).is_some_and(|id| id.starts_with("mockCluster")) {
            return Err(TopicIdError::NotSupported);
        }
        for topic in topics {
            // The client makes up an answer for a missing topic on some clusters.
            if self.partitions(topic)?.is_none() {
                return Err(TopicIdError::Missing((*topic).to_owned()));
            }
        }
        let ids = match binding::topic_ids(self.inner.inner(), topics, CALL_WAIT) {
            Ok(ids) => ids,
            Err(RDKafkaErrorCode::UnsupportedFeature | RDKafkaErrorCode::UnsupportedVersion) => {
                return Err(TopicIdError::NotSupported);
            }
            Err(code) => {
                let error = rdkafka::error::KafkaError::Global(code);
                return Err(Doubt::of("topic ids", &error).into());
            }
        };
        let ids: Option<Vec<String>> = ids.into_iter().collect();
        ids.filter(|ids| ids.len() == topics.len()).ok_or(TopicIdError::NotSupported)
    }
}

/// Blocks this thread until the client's own thread has the answer; works inside and outside a
/// runtime.
fn wait<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
