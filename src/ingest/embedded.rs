use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use super::error::Doubt;

/// librdkafka's mock cluster inside this process: the same client code and no install.
///
/// It keeps 5 MiB a partition, hides no aborted record and forgets offsets that a transaction
/// commits: it serves a demonstration, and nothing is claimed from it.
pub struct Embedded {
    cluster: MockCluster<'static, DefaultProducerContext>,
}

impl Embedded {
    pub fn start() -> Result<Self, Doubt> {
        let cluster = MockCluster::new(1).map_err(|error| Doubt::of("embedded broker", &error))?;
        Ok(Self { cluster })
    }

    pub fn bootstrap(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    pub fn create_topic(&self, topic: &str, partitions: i32) -> Result<(), Doubt> {
        let made = self.cluster.create_topic(topic, partitions, 1);
        made.map_err(|error| Doubt::of("embedded broker", &error))
    }
}
