mod sink_starts;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::cluster::{Cluster, INTAKE_GROUP, TRIAGE_GROUP, check_count};
use super::setup::Failure;
use crate::audit::{Chain, Genesis, Kind, Record, chain_name};
use crate::case::Millis;
use crate::config::{EnricherConfig, Start};
use crate::ingest::{
    Admin, Created, Doubt, LogReader, NextOffset, Starts, TopicIdError, TopicSpec, Writer,
};
use crate::normalize::PARTITION_FUNCTION;
use crate::pipeline::{Expected, Identity, IntakeMetadata, Topics};
use crate::text::suggestion;

/// Largest message of a detector; anything larger the broker refuses.
const MESSAGE_BYTES_MAX: &str = "8388608";

/// Of an order, whose record stays for ever.
const ORDER_BYTES_MAX: &str = "131072";

/// Brokers that make a hundred partitions at once, on disks that are busy.
const LEADERS_MAX: Duration = Duration::from_secs(60);

/// A little more than the session of a member.
const MEMBERSHIP_MAX: Duration = Duration::from_secs(40);

/// What `topics create` makes and `topics check` compares.
pub struct Plan {
    pub detectors: Vec<String>,
    /// With their numbers of partitions.
    pub outputs: Vec<(String, i32)>,
    /// Groups of sinks, what each reads, and where it begins.
    pub sinks: Vec<(String, Vec<String>, Option<Start>)>,
    pub replication: i32,
    pub retention_ms: i64,
    pub start: Start,
    /// Detector topics that were deleted and made again, and that a person accepts as they are now.
    pub adopt: Vec<String>,
    pub instance: String,
    pub now: Millis,
}

impl Plan {
    /// Every topic with the settings that the design rests on.
    pub fn specs(&self, cluster: &Cluster) -> Vec<TopicSpec> {
        let retention = self.retention_ms.to_string();
        let spec = |name: &str, partitions: i32, config: &[(&str, &str)]| TopicSpec {
            name: name.to_owned(),
            partitions,
            replication: self.replication,
            config: config.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        };
        let count = cluster.topics.partitions;
        // The broker re-writes every batch, so it refuses what unpacks to more than the limit.
        let detector = [
            ("compression.type", "uncompressed"),
            ("max.message.bytes", MESSAGE_BYTES_MAX),
            ("message.timestamp.type", "LogAppendTime"),
            ("retention.ms", retention.as_str()),
        ];
        let alerts =
            [("message.timestamp.type", "LogAppendTime"), ("retention.ms", retention.as_str())];
        let forever = [
            ("cleanup.policy", "delete"),
            ("retention.ms", "-1"),
            ("retention.bytes", "-1"),
            ("max.message.bytes", "4194304"),
        ];
        let mut specs: Vec<TopicSpec> =
            self.detectors.iter().map(|name| spec(name, count, &detector)).collect();
        specs.push(spec(&cluster.topics.alerts, count, &alerts));
        specs.push(spec(&cluster.topics.decisions, count, &forever));
        let orders = [
            ("message.timestamp.type", "LogAppendTime"),
            ("max.message.bytes", ORDER_BYTES_MAX),
            ("retention.ms", retention.as_str()),
        ];
        specs.push(spec(&cluster.topics.orders, count, &orders));
        let control = [
            ("message.timestamp.type", "LogAppendTime"),
            ("cleanup.policy", "delete"),
            ("max.message.bytes", ORDER_BYTES_MAX),
            ("retention.ms", "-1"),
            ("retention.bytes", "-1"),
        ];
        specs.push(spec(&cluster.topics.control, 1, &control));
        specs.push(spec(&cluster.topics.policies, 1, &[("cleanup.policy", "compact")]));
        specs.push(spec(&cluster.topics.parked, 1, &[("cleanup.policy", "compact")]));
        specs.extend(self.outputs.iter().map(|(name, count)| spec(name, *count, &forever)));
        specs
    }
}

/// Makes what is missing, then writes genesis records and starting offsets where there are none.
/// Returns one line for each thing done or found.
pub fn create(cluster: &Cluster, plan: &Plan) -> Result<Vec<String>, Failure> {
    let is_adoptable =
        |topic: &String| plan.detectors.contains(topic) || *topic == cluster.topics.decisions;
    if let Some(strange) = plan.adopt.iter().find(|topic| !is_adoptable(topic)) {
        let decisions = &cluster.topics.decisions;
        let hint =
            suggestion(strange, plan.detectors.iter().chain([decisions]).map(|t| t.as_str()));
        return Err(Failure::Usage(format!(
            "`--adopt {strange}`: that is neither a detector's topic nor the decisions topic{hint}"
        )));
    }
    let admin = Admin::connect(&cluster.settings)?;
    let specs = plan.specs(cluster);
    // Before anything is made: a wrong count would be kept for ever.
    for spec in specs.iter().filter(|spec| !plan.detectors.contains(&spec.name)) {
        if let Some(found) = admin.partitions(&spec.name)? {
            check_count(&spec.name, found, spec.partitions)?;
        }
    }
    let (mut lines, mut made) = (Vec::new(), Vec::new());
    for (spec, created) in specs.iter().zip(admin.create(&specs)?) {
        let what = match created {
            Created::Made => {
                made.push(spec);
                "created"
            }
            Created::Existed => "exists",
            Created::Refused(why) => {
                return Err(Failure::Ended(format!(
                    "topic `{}` can't be created: {why}",
                    spec.name
                )));
            }
        };
        lines.push(format!("{what} topic {} ({} partitions)", spec.name, spec.partitions));
    }
    wait_for(&admin, &specs)?;
    wait_for_leaders(cluster, &made)?;
    lines.extend(begin(cluster, plan, &admin)?);
    Ok(lines)
}

/// A created topic takes a moment until every broker knows it.
fn wait_for(admin: &Admin, specs: &[TopicSpec]) -> Result<(), Failure> {
    for spec in specs {
        let mut tries = 0;
        while admin.partitions(&spec.name)?.is_none() {
            tries += 1;
            if tries > 100 {
                return Err(Failure::Ended(format!("topic `{}` does not show up", spec.name)));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    Ok(())
}

/// Nothing can be asked of a partition before it has one.
fn wait_for_leaders(cluster: &Cluster, made: &[&TopicSpec]) -> Result<(), Failure> {
    let log = LogReader::connect(&cluster.settings, &cluster.group("topics"))?;
    let until = Instant::now() + LEADERS_MAX;
    for spec in made {
        for partition in 0..spec.partitions {
            while let Err(doubt) = log.high(&spec.name, partition) {
                if matches!(doubt, Doubt::Refused(_)) || Instant::now() >= until {
                    return Err(doubt.into());
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }
    Ok(())
}

/// The part that an embedded broker needs too: genesis records and starting offsets.
pub fn begin(cluster: &Cluster, plan: &Plan, admin: &Admin) -> Result<Vec<String>, Failure> {
    let expected = cluster.expected(admin)?;
    let log = LogReader::connect(&cluster.settings, &cluster.group("topics"))?;
    let mut lines = write_genesis(cluster, plan, &expected, &log)?;
    lines.extend(write_starts(cluster, plan, admin, &log)?);
    lines.extend(sink_starts::write(cluster, plan, &log)?);
    Ok(lines)
}

fn start_text(start: Start) -> String {
    match start {
        Start::Earliest => "earliest".to_owned(),
        Start::Latest => "latest".to_owned(),
        Start::Time(time) => time.to_string(),
    }
}

fn write_genesis(
    cluster: &Cluster,
    plan: &Plan,
    expected: &Expected,
    log: &LogReader,
) -> Result<Vec<String>, Failure> {
    let writer = Writer::connect(&cluster.settings)?;
    let identity = Identity { instance: plan.instance.clone() };
    let ruled = Starts::connect(&cluster.settings, &cluster.group(TRIAGE_GROUP))?;
    let (mut begun, mut line) = (0, Vec::new());
    for partition in 0..cluster.topics.partitions {
        let decisions = &cluster.topics.decisions;
        if log.high(decisions, partition)? > 0 {
            continue;
        }
        let topics = expected.topics.iter().map(|(t, id)| (t.clone().into(), id.clone().into()));
        let genesis = Genesis {
            cluster: cluster.id.clone().into(),
            topics: topics.collect(),
            partitions: cluster.topics.partitions,
            partition_function: PARTITION_FUNCTION.into(),
            fingerprint_key: cluster.fingerprint_key.clone().into(),
            start: start_text(plan.start).into(),
        };
        let orders = &cluster.topics.orders;
        let next = first_alert(cluster, plan, &ruled, log, partition)?;
        // Where a chain begins anew, what it has judged before is not judged again.
        let judged = ruled.committed(orders, partition)?.map_or(0, |(offset, _)| offset);
        let first_order = judged.max(log.low(orders, partition)?);
        let mut record = Record {
            genesis: Some(genesis),
            next_in: BTreeMap::from([
                (cluster.topics.alerts.clone().into(), next),
                (orders.clone().into(), first_order),
            ]),
            ..Record::new(Kind::Genesis, plan.now, identity.engine(), identity.actor())
        };
        let mut chain = Chain::new(chain_name(&cluster.id, decisions, partition), None);
        let name = chain.name().to_owned();
        chain
            .append(&mut record, &mut line)
            .map_err(|error| Failure::Ended(format!("genesis can't be written: {error}")))?;
        writer.send(decisions, partition, Some(name.as_bytes()), &line)?;
        begun += 1;
    }
    writer.flush()?;
    Ok(if begun > 0 { vec![format!("wrote genesis of {begun} chains")] } else { Vec::new() })
}

/// Where a chain that begins now starts on the alerts topic.
///
/// Errors: alerts were ruled already, so the records about them are gone, and nobody accepted that.
fn first_alert(
    cluster: &Cluster,
    plan: &Plan,
    ruled: &Starts,
    log: &LogReader,
    partition: i32,
) -> Result<i64, Failure> {
    let Topics { alerts, decisions, .. } = &cluster.topics;
    let low = log.low(alerts, partition)?;
    match ruled.committed(alerts, partition)? {
        Some((offset, _)) if !plan.adopt.contains(decisions) => Err(Failure::Ended(format!(
            "chain {decisions}/{partition} is empty, but alerts up to offset {offset} were ruled: \
             the topic was deleted or emptied, and the records are gone. If there is no copy to bring \
             back, `topics create --adopt {decisions}` begins anew behind those alerts"
        ))),
        Some((offset, _)) => Ok(offset.max(low)),
        None => Ok(low),
    }
}

fn write_starts(
    cluster: &Cluster,
    plan: &Plan,
    admin: &Admin,
    log: &LogReader,
) -> Result<Vec<String>, Failure> {
    let starts = Starts::connect(&cluster.settings, &cluster.group(INTAKE_GROUP))?;
    let ends = (0..cluster.topics.partitions).map(|p| log.high(&cluster.topics.alerts, p));
    let ends = ends.collect::<Result<Vec<_>, _>>()?;
    let mut next = Vec::new();
    for topic in &plan.detectors {
        let incarnation = incarnation(admin, topic)?;
        let adopt = plan.adopt.contains(topic);
        for partition in 0..log.partitions(topic)?.unwrap_or(0) {
            let known = starts.committed(topic, partition)?;
            let known = known.and_then(|(_, text)| IntakeMetadata::parse(&text));
            if known.is_some_and(|known| !adopt || known.incarnation == incarnation) {
                continue;
            }
            let offset = offset_of(plan.start, log, (topic, partition))?;
            let metadata = IntakeMetadata {
                incarnation: incarnation.clone(),
                from: offset,
                ends: ends.clone(),
            };
            let metadata = metadata.to_string();
            next.push(NextOffset { topic: topic.clone(), partition, offset, metadata });
        }
    }
    if next.is_empty() {
        return Ok(Vec::new());
    }
    commit_starts(&starts, &next)?;
    let from = start_text(plan.start);
    Ok(vec![format!("set the start of {} detector partitions to {from}", next.len())])
}

fn offset_of(start: Start, log: &LogReader, (topic, partition): (&str, i32)) -> Result<i64, Doubt> {
    match start {
        Start::Earliest => log.low(topic, partition),
        Start::Latest => log.high(topic, partition),
        Start::Time(time) => match log.offset_at(topic, partition, time.0)? {
            Some(offset) => Ok(offset),
            None => log.high(topic, partition),
        },
    }
}

/// Kafka takes offsets from outside only for a group without members, and a member that stopped is
/// one until its session ends.
fn commit_starts(starts: &Starts, next: &[NextOffset]) -> Result<(), Failure> {
    let until = Instant::now() + MEMBERSHIP_MAX;
    let mut is_told = false;
    while let Err(doubt) = starts.commit(next) {
        let is_late = Instant::now() >= until;
        match doubt {
            Doubt::Unreachable(_) if !is_late => {}
            Doubt::Unsure(_) if !is_late && is_told => {}
            Doubt::Unsure(_) if !is_late => {
                is_told = true;
                tracing::warn!(
                    "intake is in its group; waiting for it to be gone, 30 s after it was stopped"
                );
            }
            Doubt::Unsure(_) => {
                return Err(Failure::Ended(format!(
                    "starting offsets can't be set while intake runs; stop it first ({doubt})"
                )));
            }
            other => return Err(other.into()),
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    Ok(())
}

/// Compares without changing anything: one line for each difference.
pub fn check(cluster: &Cluster, plan: &Plan) -> Result<Vec<String>, Failure> {
    let admin = Admin::connect(&cluster.settings)?;
    let mut differences = Vec::new();
    for spec in plan.specs(cluster) {
        match admin.partitions(&spec.name)? {
            None => differences.push(format!("topic {} is missing", spec.name)),
            Some(found) if found != spec.partitions && !plan.detectors.contains(&spec.name) => {
                let wanted = spec.partitions;
                differences
                    .push(format!("topic {} has {found} partitions, not {wanted}", spec.name));
            }
            Some(_) => {}
        }
    }
    if !differences.is_empty() {
        return Ok(differences);
    }
    let expected = cluster.expected(&admin)?;
    let log = LogReader::connect(&cluster.settings, &cluster.group("topics"))?;
    for partition in 0..cluster.topics.partitions {
        let decisions = &cluster.topics.decisions;
        let low = log.low(decisions, partition)?;
        let first =
            log.tail(decisions, partition, low..log.high(decisions, partition)?.min(low + 1))?;
        let bytes = first.first().and_then(|stored| stored.value.as_deref()).unwrap_or_default();
        match Record::parse(bytes).and_then(|record| record.genesis) {
            None => differences.push(format!("chain {decisions}/{partition} has no genesis")),
            Some(genesis) => {
                if let Err(why) = expected.check(&genesis) {
                    differences.push(format!("chain {decisions}/{partition}: {why}"));
                }
            }
        }
    }
    differences.extend(check_starts(cluster, plan, &admin)?);
    differences.extend(sink_starts::check(cluster, plan, &log)?);
    Ok(differences)
}

/// Topics that enrichers read and that do not exist, one line for each. They are not ours to make:
/// whoever fills them decides how they are kept.
pub fn missing_tables(
    cluster: &Cluster,
    enrichers: &[EnricherConfig],
) -> Result<Vec<String>, Failure> {
    let admin = Admin::connect(&cluster.settings)?;
    let mut missing = Vec::new();
    for enricher in enrichers {
        for topic in enricher.source.topics() {
            if admin.partitions(&topic.name)?.is_none() {
                let (name, at) = (&topic.name, &topic.at);
                let by = format!("enricher `{}` reads it ({at})", enricher.name);
                missing
                    .push(format!("topic {name} is missing: {by}, and whoever fills it makes it"));
            }
        }
    }
    Ok(missing)
}

/// Detector topics that intake would not read.
fn check_starts(cluster: &Cluster, plan: &Plan, admin: &Admin) -> Result<Vec<String>, Failure> {
    let starts = Starts::connect(&cluster.settings, &cluster.group(INTAKE_GROUP))?;
    let mut differences = Vec::new();
    for topic in &plan.detectors {
        let incarnation = incarnation(admin, topic)?;
        for partition in 0..admin.partitions(topic)?.unwrap_or(0) {
            let known = starts.committed(topic, partition)?;
            match known.and_then(|(_, text)| IntakeMetadata::parse(&text)) {
                Some(known) if known.incarnation == incarnation => {}
                Some(_) => differences.push(format!(
                    "topic {topic} was deleted and made again: stop intake, then `tipstaff topics create --adopt {topic}`"
                )),
                None => differences.push(format!(
                    "partition {topic}/{partition} has no start: stop intake, then `tipstaff topics create`"
                )),
            }
        }
    }
    differences.dedup();
    Ok(differences)
}

fn incarnation(admin: &Admin, topic: &str) -> Result<String, Failure> {
    match admin.topic_ids(&[topic]) {
        Ok(ids) => Ok(ids.into_iter().next().unwrap_or_default()),
        Err(TopicIdError::NotSupported) => Ok("-".to_owned()),
        Err(error) => Err(error.into()),
    }
}
