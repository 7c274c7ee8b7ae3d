//! Keeps topics that are held as tables as the brokers have them: read to their ends before the
//! first ruling, and followed from then on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::cluster::{Cluster, Place};
use super::run::system_clock;
use super::setup::{Failure, Loaded};
use crate::config::EnricherConfig;
use crate::enrich::{Applied, Enrichers, TopicTable, Update};
use crate::ingest::{Admin, Doubt, LogReader, TopicIdError};
use crate::observe::Metrics;
use crate::pipeline::Drain;

const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Between two looks at whether it still is the same topic.
const CHECK_EVERY: Duration = Duration::from_secs(5);
/// A start waits this long for a topic that gives nothing new, and then rules without it.
const PATIENCE: Duration = Duration::from_secs(60);
/// A person does not wait longer.
const ONCE_MAX: Duration = Duration::from_secs(30);
/// Refused records that are told one by one before only their number is.
const TOLD_MAX: u64 = 20;

/// One topic, and how far it was read.
struct Follower {
    table: Arc<TopicTable>,
    log: LogReader,
    admin: Admin,
    incarnation: String,
    /// By partition: the offset to go on from.
    next: Vec<i64>,
    checked: Instant,
    refused: u64,
    metrics: Metrics,
    /// What was told last of why it cannot be read.
    told: Option<String>,
}

/// Why a look did not come to its end.
enum Stopped {
    Kafka(Doubt),
    /// The topic does not exist.
    Missing,
    /// Not the topic that was read, or not all of it: it is read again from its beginning.
    Changed,
}

impl From<Doubt> for Stopped {
    fn from(doubt: Doubt) -> Self {
        Self::Kafka(doubt)
    }
}

/// Reads every topic to the end that it had at the start. Without one, and when it does not come
/// to its end, its facts are unknown; that does not stop the others.
pub(super) fn fill(
    cluster: &Cluster,
    enrichers: &Enrichers,
    (metrics, drain): (&Metrics, &Drain),
) -> Result<Followed, Failure> {
    let mut all = Vec::new();
    for table in enrichers.topics() {
        let mut follower = Follower::new(cluster, table, metrics)?;
        follower.fill(drain);
        all.push(follower);
    }
    Ok(Followed(all))
}

/// Reads the topics of one enricher to their ends, for a person who asks for one fact.
pub fn read_once(loaded: &Loaded, enricher: &EnricherConfig) -> Result<(), Failure> {
    let topics = loaded.enrichers.topics();
    let mut tables = topics.into_iter().filter(|table| *table.enricher() == *enricher.name);
    let metrics = Metrics::new().map_err(|error| Failure::Ended(error.to_string()))?;
    let Some(first) = tables.next() else { return Ok(()) };
    let drain = Drain::default();
    let ends = drain.clone();
    std::thread::spawn(move || {
        std::thread::sleep(ONCE_MAX);
        ends.start();
    });
    let cluster = Cluster::wait(Place::of(loaded)?, &drain)?;
    for table in std::iter::once(first).chain(tables) {
        Follower::new(&cluster, table, &metrics)?.fill(&drain);
    }
    Ok(())
}

/// Topics that were read to their ends and that somebody is to go on with.
pub(super) struct Followed(Vec<Follower>);

impl Followed {
    /// Each on a thread of its own, until the drain.
    pub fn follow(self, drain: &Drain) {
        for mut follower in self.0 {
            let drain = drain.clone();
            std::thread::spawn(move || {
                while !drain.is_started() {
                    std::thread::sleep(LOOK_EVERY);
                    // What stops a look is told; the next one may go better.
                    drop(follower.look());
                }
            });
        }
    }
}

impl Follower {
    fn new(cluster: &Cluster, table: Arc<TopicTable>, metrics: &Metrics) -> Result<Self, Doubt> {
        let admin = Admin::connect(&cluster.settings)?;
        let log = LogReader::connect(&cluster.settings, &cluster.group("tables"))?;
        let (incarnation, checked) = (String::new(), Instant::now());
        let (next, metrics) = (Vec::new(), metrics.clone());
        Ok(Self { table, log, admin, incarnation, next, checked, refused: 0, metrics, told: None })
    }

    /// The first look reads up to an end that is settled; one behind an open transaction is waited
    /// for.
    fn fill(&mut self, drain: &Drain) {
        let mut until = Instant::now() + PATIENCE;
        let mut wanted: Option<Vec<i64>> = None;
        while !drain.is_started() && Instant::now() < until {
            let before = self.next.clone();
            match self.look() {
                Err(Stopped::Missing) => return,
                Err(Stopped::Changed) => wanted = None,
                Err(Stopped::Kafka(_)) => {}
                Ok(()) => {
                    if wanted.is_none() {
                        wanted = self.ends().ok();
                    }
                    let reached =
                        |wanted: &Vec<i64>| self.next.iter().zip(wanted).all(|(n, w)| n >= w);
                    if wanted.as_ref().is_some_and(reached) {
                        let (topic, keys) = (self.table.topic(), self.table.len());
                        info!(topic, keys, "topic `{topic}` is read as a table: {keys} keys");
                        return;
                    }
                }
            }
            if self.next != before {
                until = Instant::now() + PATIENCE;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let topic = self.table.topic();
        warn!(
            topic,
            "topic `{topic}` is not read to its end yet; its facts are unknown until it is"
        );
    }

    fn ends(&self) -> Result<Vec<i64>, Doubt> {
        let partitions = 0..i32::try_from(self.next.len()).unwrap_or(i32::MAX);
        partitions.map(|partition| self.log.high(self.table.topic(), partition)).collect()
    }

    /// Reads what is new, and says so to the table.
    fn look(&mut self) -> Result<(), Stopped> {
        let looked = self.read();
        let told = match &looked {
            Ok(()) => None,
            Err(Stopped::Missing) => {
                Some("it does not exist; whoever fills it makes it".to_owned())
            }
            Err(Stopped::Changed) => {
                self.next.clear();
                Some("it was made again or lost records; it is read from its beginning".to_owned())
            }
            Err(Stopped::Kafka(doubt)) => Some(doubt.to_string()),
        };
        if let Some(why) = &told {
            self.table.failed(why);
        }
        if told != self.told {
            let (topic, enricher) = (self.table.topic(), self.table.enricher());
            match &told {
                Some(why) => {
                    warn!(topic, enricher, "topic `{topic}` of enricher `{enricher}`: {why}");
                }
                None => info!(topic, enricher, "topic `{topic}` of enricher `{enricher}` is read"),
            }
            self.told = told;
        }
        looked
    }

    fn read(&mut self) -> Result<(), Stopped> {
        let now = system_clock()();
        if self.next.is_empty() || self.checked.elapsed() >= CHECK_EVERY {
            self.check()?;
        }
        let topic = self.table.topic().to_owned();
        for partition in 0..self.next.len() {
            let number = i32::try_from(partition).unwrap_or(i32::MAX);
            let (low, end) = (self.log.low(&topic, number)?, self.log.stable(&topic, number)?);
            let Some(next) = self.next.get(partition).copied() else { break };
            let from = next.max(0);
            // -1: nothing was read of it yet, so nothing that retention took is missed.
            if next >= 0 && (low > next || end < next) {
                return Err(Stopped::Changed);
            }
            let from = from.max(low);
            let mut updates = Vec::new();
            self.log.read(&topic, number, from..end, |message| {
                let update = Update {
                    partition: number,
                    offset: message.offset,
                    timestamp_ms: message.timestamp_ms,
                    key: message.key,
                    value: message.value,
                };
                updates.push(self.table.apply(&update, now));
            })?;
            updates.into_iter().for_each(|applied| self.tell(applied));
            if let Some(next) = self.next.get_mut(partition) {
                *next = end.max(from);
            }
        }
        self.table.at_end(now, &self.next);
        self.metrics.topics.at_end(self.table.enricher(), now);
        Ok(())
    }

    /// Whether it is the topic that was read, and how many partitions it has.
    fn check(&mut self) -> Result<(), Stopped> {
        let topic = self.table.topic();
        let Some(partitions) = self.log.partitions(topic)? else { return Err(Stopped::Missing) };
        let incarnation = match self.admin.topic_ids(&[topic]) {
            Ok(ids) => ids.into_iter().next().unwrap_or_default(),
            Err(TopicIdError::NotSupported) => "-".to_owned(),
            Err(TopicIdError::Missing(_)) => return Err(Stopped::Missing),
            Err(TopicIdError::Failed(doubt)) => return Err(doubt.into()),
        };
        let count = usize::try_from(partitions).unwrap_or(0);
        if self.next.is_empty() {
            self.table.begin(&incarnation);
            self.incarnation = incarnation;
        } else if incarnation != self.incarnation || count < self.next.len() {
            return Err(Stopped::Changed);
        }
        self.next.resize(count, -1);
        self.checked = Instant::now();
        Ok(())
    }

    fn tell(&mut self, applied: Applied) {
        let result = match applied {
            Applied::Read => "read",
            Applied::Deleted => "deleted",
            Applied::Refused(why) => {
                self.refused += 1;
                let enricher = self.table.enricher();
                if self.refused <= TOLD_MAX {
                    warn!(enricher, "enricher `{enricher}` cannot use a record: {why}");
                } else if self.refused == TOLD_MAX + 1 {
                    warn!(enricher, "enricher `{enricher}`: further records like this are counted");
                }
                "refused"
            }
        };
        self.metrics.topics.record(self.table.enricher(), result);
    }
}
