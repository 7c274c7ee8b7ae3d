use std::collections::BTreeMap;

use super::cluster::Cluster;
use super::setup::Failure;
use crate::ingest::LogReader;

/// Files of a policy, by path.
type Bundle = BTreeMap<String, String>;

/// The bundle of a policy that was once in force on this cluster, by its hash or the beginning of
/// it.
///
/// Errors: when none is stored under it, or several are.
pub fn stored_policy(cluster: &Cluster, hash: &str) -> Result<Bundle, Failure> {
    let topic = &cluster.topics.policies;
    let log = LogReader::connect(&cluster.settings, &cluster.group("policies"))?;
    if log.partitions(topic)?.is_none() {
        return Err(Failure::Ended(format!(
            "topic `{topic}` does not exist: run `tipstaff topics create`"
        )));
    }
    let mut found: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    log.read(topic, 0, log.low(topic, 0)?..log.high(topic, 0)?, |message| {
        let key = String::from_utf8_lossy(message.key.unwrap_or_default()).into_owned();
        if key.starts_with(&hash.to_ascii_lowercase()) {
            found.insert(key, message.value.unwrap_or_default().to_vec());
        }
    })?;
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (Some((hash, value)), None) => serde_json::from_slice(&value).map_err(|_| {
            Failure::Ended(format!("policy {hash} on `{topic}` is no bundle of files"))
        }),
        (None, _) => Err(Failure::Usage(format!("no policy {hash} is stored on `{topic}`"))),
        (Some(_), Some(_)) => {
            Err(Failure::Usage(format!("several policies on `{topic}` begin with {hash}")))
        }
    }
}
