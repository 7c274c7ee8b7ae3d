use std::collections::BTreeMap;

use super::cluster::Cluster;
use super::setup::Failure;
use crate::ingest::{LogReader, Writer};

/// Files of a policy, by path.
type Bundle = BTreeMap<String, String>;

/// Whether a policy may be put in force although a newer one is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Back<'h> {
    Never,
    /// When the newest is this one: whoever changed these files back had seen it.
    From(&'h str),
    Asked,
}

/// The policies topic: bundles by hash. A record's place is its generation, so that this only ever
/// rises.
struct Policies {
    log: LogReader,
    topic: String,
}

/// Stores the policy's bundle under its hash, before its first ruling, and gives its generation.
///
/// Errors: when a newer policy was stored and nobody asked to go back to this one.
pub fn activate(
    cluster: &Cluster,
    hash: &str,
    bundle: &[(String, String)],
    back: Back<'_>,
) -> Result<i64, Failure> {
    let policies = Policies::of(cluster)?;
    if let Some((mine, true)) = policies.find(hash, back)? {
        return Ok(mine);
    }
    let files: BTreeMap<&str, &str> =
        bundle.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let value = serde_json::to_vec(&files)
        .map_err(|error| Failure::Ended(format!("the policy can't be written: {error}")))?;
    let writer = Writer::connect(&cluster.settings)?;
    writer.send(&policies.topic, 0, Some(hash.as_bytes()), &value)?;
    writer.flush()?;
    // Somebody else's may be newer by now; that is for each chain to say.
    match policies.find(hash, Back::Asked)? {
        Some((mine, _)) => Ok(mine),
        None => Err(Failure::Ended("the policy was stored but can't be read back".to_owned())),
    }
}

/// For a process that rules nothing, and so leaves it to others to store its policy: the
/// generation, 0 while nobody has.
///
/// Errors: as for [`activate`].
pub(super) fn generation(cluster: &Cluster, hash: &str, back: Back<'_>) -> Result<i64, Failure> {
    let found = Policies::of(cluster)?.find(hash, back)?;
    Ok(found.map_or(0, |(mine, _)| mine))
}

/// The bundle of a policy that was once in force on this cluster, by its hash or the beginning of
/// it.
///
/// Errors: when none is stored under it, or several are.
pub fn stored_policy(cluster: &Cluster, hash: &str) -> Result<Bundle, Failure> {
    let policies = Policies::of(cluster)?;
    let mut found: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    policies.read(0, |_, key, value| {
        if key.starts_with(&hash.to_ascii_lowercase()) {
            found.insert(key.to_owned(), value.to_vec());
        }
    })?;
    let topic = &policies.topic;
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

/// Follows what any process stores, to see when a newer policy is in force.
pub(super) struct Newest {
    policies: Policies,
    read_to: i64,
}

impl Newest {
    pub fn follow(cluster: &Cluster) -> Result<Self, Failure> {
        Ok(Self { policies: Policies::of(cluster)?, read_to: 0 })
    }

    /// Hash and generation of the newest policy, if one was stored since the last look.
    pub fn look(&mut self) -> Result<Option<(String, i64)>, Failure> {
        let mut newest = None;
        self.read_to = self.policies.read(self.read_to, |generation, hash, _| {
            newest = Some((hash.to_owned(), generation));
        })?;
        Ok(newest)
    }
}

impl Policies {
    fn of(cluster: &Cluster) -> Result<Self, Failure> {
        let log = LogReader::connect(&cluster.settings, &cluster.group("policies"))?;
        Ok(Self { log, topic: cluster.topics.policies.clone() })
    }

    /// Hands every record from this offset on to `each`, with generation, hash and bundle; gives
    /// the offset to go on from.
    fn read(&self, from: i64, mut each: impl FnMut(i64, &str, &[u8])) -> Result<i64, Failure> {
        let topic = &self.topic;
        if self.log.partitions(topic)?.is_none() {
            return Err(Failure::missing(topic));
        }
        let (low, high) = (self.log.low(topic, 0)?, self.log.high(topic, 0)?);
        self.log.read(topic, 0, from.max(low)..high, |message| {
            let hash = String::from_utf8_lossy(message.key.unwrap_or_default());
            each(message.offset + 1, &hash, message.value.unwrap_or_default());
        })?;
        Ok(high)
    }

    /// The generation of a policy that is stored, and whether none is newer.
    ///
    /// Errors: when one is, and going back from it is not allowed.
    fn find(&self, hash: &str, back: Back<'_>) -> Result<Option<(i64, bool)>, Failure> {
        let (mut mine, mut newest) = (None, None);
        self.read(0, |generation, key, _| {
            if key == hash {
                mine = Some(generation);
            }
            newest = Some((generation, key.to_owned()));
        })?;
        let (Some(mine), Some((newest, active))) = (mine, newest) else { return Ok(None) };
        if mine < newest && !back.is_allowed_from(&active) {
            return Err(Failure::Ended(format!(
                "policy {hash} (generation {mine}) is older than the active policy {active} (generation {newest}): \
                 start with `--activate` to go back to it"
            )));
        }
        Ok(Some((mine, mine == newest)))
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
