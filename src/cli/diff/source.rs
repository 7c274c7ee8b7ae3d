use std::path::Path;

use crate::app::{Cluster, Failure, Loaded, PATIENCE};
use crate::case::Millis;
use crate::cli::decide::arrivals;
use crate::cli::verify::{Chains, read_topic, records};
use crate::cli::{connect, read_input};
use crate::pipeline::offline;

/// What is ruled.
pub(super) enum Source {
    Records(Chains),
    Events(Vec<u8>),
}

/// The cluster of a configuration, connected to when somebody needs it.
pub(super) struct Lazy<'l> {
    loaded: &'l Loaded,
    cluster: Option<Cluster>,
}

impl<'l> Lazy<'l> {
    pub fn new(loaded: &'l Loaded) -> Self {
        Self { loaded, cluster: None }
    }

    pub fn get(&mut self) -> Result<&Cluster, Failure> {
        let cluster = match self.cluster.take() {
            Some(cluster) => cluster,
            None => connect(self.loaded, PATIENCE)?,
        };
        Ok(self.cluster.insert(cluster))
    }
}

impl Source {
    /// And what it is called.
    pub fn open(from: Option<&str>, cluster: &mut Lazy<'_>) -> Result<(Self, String), Failure> {
        let file = from.filter(|from| *from == "-" || Path::new(from).exists());
        if let Some(file) = file {
            return Ok((Self::read(file)?, file.to_owned()));
        }
        if let (Some(from), Err(_)) = (from, cluster.loaded.service()) {
            let message =
                format!("{from}: there is no such file, and no cluster to read a topic of");
            return Err(Failure::Usage(message));
        }
        let cluster = cluster.get()?;
        let topic = from.unwrap_or(&cluster.topics.decisions);
        Ok((Self::Records(read_topic(cluster, topic)?), format!("topic {topic}")))
    }

    fn read(file: &str) -> Result<Self, Failure> {
        let bytes = read_input(Path::new(file))?;
        Ok(match records(file, &bytes)? {
            Some(chains) => Self::Records(chains),
            None => Self::Events(bytes),
        })
    }
}

/// The events as one configuration reads, looks up and rules them.
pub(super) fn ruled(loaded: &Loaded, bytes: &[u8], now: Millis) -> Result<Vec<Vec<u8>>, Failure> {
    let keys = loaded.keys()?;
    let _services = loaded.connect_alone(now, true)?;
    let arrivals = arrivals(loaded, bytes, None, now, &keys);
    Ok(offline(&loaded.checked.policy, &loaded.enrichers, arrivals, now))
}
