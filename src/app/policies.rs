use std::collections::BTreeMap;

use super::cluster::Cluster;
use super::setup::Failure;
use crate::ingest::{LogReader, Writer};

/// Whether a policy may be put in force although a newer one is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Back<'h> {
    Never,
    /// When the newest is this one: whoever changed these files back had seen it.
    From(&'h str),
    Asked,
}

/// Stores the policy's bundle under its hash, before its first ruling, and gives its generation:
/// one more than the place of its newest record on the policies topic, so that it only ever rises.
///
/// Errors: when a newer policy was stored and nobody asked to go back to this one.
pub fn activate(
    cluster: &Cluster,
    hash: &str,
    bundle: &[(String, String)],
    back: Back<'_>,
) -> Result<i64, Failure> {
    let log = LogReader::connect(&cluster.settings, &cluster.group("policies"))?;
    let (mine, newest) = stored(&log, cluster, hash)?;
    match (mine, newest) {
        (Some(mine), Some((newest, _))) if mine == newest => return Ok(mine + 1),
        (Some(mine), Some((newest, active))) if !back.is_allowed_from(&active) => {
            return Err(Failure::Ended(format!(
                "policy {hash} (generation {}) is older than the active policy {active} (generation {}): \
                 start with `--activate` to go back to it",
                mine + 1,
                newest + 1
            )));
        }
        _ => {}
    }
    let files: BTreeMap<&str, &str> =
        bundle.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let value = serde_json::to_vec(&files)
        .map_err(|error| Failure::Ended(format!("the policy can't be written: {error}")))?;
    let writer = Writer::connect(&cluster.settings)?;
    writer.send(&cluster.topics.policies, 0, Some(hash.as_bytes()), &value)?;
    writer.flush()?;
    match stored(&log, cluster, hash)?.0 {
        Some(mine) => Ok(mine + 1),
        None => Err(Failure::Ended("the policy was stored but can't be read back".to_owned())),
    }
}

impl Back<'_> {
    fn is_allowed_from(self, active: &str) -> bool {
        match self {
            Self::Never => false,
            Self::From(known) => known == active,
            Self::Asked => true,
        }
    }
}

/// Offset and hash of a stored policy.
type Stored = (i64, String);

/// Follows what any process stores, to see when a newer policy is in force.
pub(super) struct Newest {
    log: LogReader,
    topic: String,
    read_to: i64,
}

impl Newest {
    pub fn follow(cluster: &Cluster) -> Result<Self, Failure> {
        let log = LogReader::connect(&cluster.settings, &cluster.group("policies"))?;
        Ok(Self { log, topic: cluster.topics.policies.clone(), read_to: 0 })
    }

    /// Hash and generation of the newest policy, if one was stored since the last look.
    pub fn look(&mut self) -> Result<Option<(String, i64)>, Failure> {
        let high = self.log.high(&self.topic, 0)?;
        if high <= self.read_to {
            return Ok(None);
        }
        let from = self.read_to.max(self.log.low(&self.topic, 0)?);
        let mut newest = None;
        self.log.read(&self.topic, 0, from..high, |message| {
            let key = String::from_utf8_lossy(message.key.unwrap_or_default()).into_owned();
            newest = Some((key, message.offset + 1));
        })?;
        self.read_to = high;
        Ok(newest)
    }
}

/// Offset of this policy's newest record, and the newest of all.
fn stored(
    log: &LogReader,
    cluster: &Cluster,
    hash: &str,
) -> Result<(Option<i64>, Option<Stored>), Failure> {
    let topic = &cluster.topics.policies;
    if log.partitions(topic)?.is_none() {
        return Err(Failure::Ended(format!(
            "topic `{topic}` does not exist: run `tipstaff topics create`"
        )));
    }
    let (mut mine, mut newest) = (None, None);
    log.read(topic, 0, log.low(topic, 0)?..log.high(topic, 0)?, |message| {
        let key = String::from_utf8_lossy(message.key.unwrap_or_default()).into_owned();
        if key == hash {
            mine = Some(message.offset);
        }
        newest = Some((message.offset, key));
    })?;
    Ok((mine, newest))
}
