use std::collections::BTreeMap;
use std::time::Duration;

use super::{Cluster, Failure, Loaded, group, of, queues, switched_on};
use crate::app::{PATIENCE, Place, get, here, system_clock};
use crate::audit::CASES_PREFIX;
use crate::case::Millis;
use crate::config::SinkConfig;
use crate::deliver::{Case, Outcome};
use crate::ingest::{LogReader, Starts, Writer};
use crate::pipeline::Parked;
use crate::text::suggestion;

/// What a person sees of a sink.
#[derive(Debug, Default)]
pub struct SinkRow {
    pub name: String,
    pub owner: String,
    /// As the process says that runs here; nothing when none answers.
    pub state: Option<(String, String)>,
    /// Cases behind its place, up to [`COUNTED_MAX`].
    pub waiting: usize,
    pub oldest: Option<Millis>,
    pub partitions: usize,
    /// Partitions of which it has no place.
    pub without_start: usize,
    pub parked: usize,
}

/// Further ones are not counted.
pub const COUNTED_MAX: usize = 10_000;
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);

/// Every sink that is switched on.
pub fn list(loaded: &Loaded) -> Result<Vec<SinkRow>, Failure> {
    let cluster = Cluster::reach(Place::of(loaded)?, PATIENCE)?;
    let log = LogReader::connect(&cluster.settings, &cluster.group("sinks"))?;
    let parked = parked(&cluster, &log)?;
    let states = states(loaded);
    let mut rows = Vec::new();
    for sink in switched_on(loaded) {
        let mut row = place(sink, loaded, &cluster, &log)?;
        row.parked = parked.values().filter(|each| each.sink == sink.name).count();
        row.state = states.get(&sink.name).cloned();
        rows.push(row);
    }
    Ok(rows)
}

/// By sink, what it is doing, and why; empty where no process answers.
fn states(loaded: &Loaded) -> BTreeMap<String, (String, String)> {
    let answer = loaded.service().ok().and_then(|service| {
        let (status, body) = get(&format!("http://{}/sinks", here(service.listen))).ok()?;
        (status == 200).then_some(body)
    });
    let answer = answer.and_then(|body| serde_json::from_str(&body).ok());
    let answer: Vec<serde_json::Value> = answer.unwrap_or_default();
    let text = |each: &serde_json::Value, name: &str| {
        each.get(name).and_then(|value| value.as_str()).unwrap_or_default().to_owned()
    };
    let each = answer.iter();
    each.map(|each| (text(each, "sink"), (text(each, "state"), text(each, "why")))).collect()
}

fn place(
    sink: &SinkConfig,
    loaded: &Loaded,
    cluster: &Cluster,
    log: &LogReader,
) -> Result<SinkRow, Failure> {
    let mut row =
        SinkRow { name: sink.name.clone(), owner: sink.owner.clone(), ..SinkRow::default() };
    let starts = Starts::connect(&cluster.settings, &cluster.group(&group(sink)))?;
    for queue in queues(sink, loaded) {
        let topic = cluster.topics.output(&format!("{CASES_PREFIX}{queue}"));
        for partition in 0..log.partitions(&topic)?.unwrap_or(0) {
            row.partitions += 1;
            let Some((next, _)) = starts.committed(&topic, partition)? else {
                row.without_start += 1;
                continue;
            };
            let from = next.max(log.low(&topic, partition)?);
            let left = i64::try_from(COUNTED_MAX.saturating_sub(row.waiting)).unwrap_or(0);
            let end = log.stable(&topic, partition)?.min(from.saturating_add(left));
            log.read(&topic, partition, from..end, |message| {
                row.waiting += 1;
                let time = Millis(message.timestamp_ms);
                row.oldest = Some(row.oldest.map_or(time, |oldest| oldest.min(time)));
            })?;
        }
    }
    Ok(row)
}

/// What is parked now, by its place on the topic.
fn parked(
    cluster: &Cluster,
    log: &LogReader,
) -> Result<BTreeMap<String, Parked<'static>>, Failure> {
    let topic = &cluster.topics.parked;
    if log.partitions(topic)?.is_none() {
        return Err(Failure::missing(topic));
    }
    let mut found = BTreeMap::new();
    let range = log.low(topic, 0)?..log.stable(topic, 0)?;
    for stored in log.tail(topic, 0, range)? {
        let Some(key) = stored.key.and_then(|key| String::from_utf8(key).ok()) else { continue };
        let read = stored.value.and_then(|value| Parked::read(&value));
        match read {
            Some(parked) => drop(found.insert(key, parked)),
            None => drop(found.remove(&key)),
        }
    }
    Ok(found)
}

/// Delivers what is parked once more, in the order in which it was parked; false when something
/// stays. `tell` gets one line a case.
pub fn retry(
    loaded: &Loaded,
    name: &str,
    case: Option<&str>,
    tell: &mut dyn FnMut(&str),
) -> Result<bool, Failure> {
    let on = switched_on(loaded);
    let Some(config) = on.iter().find(|sink| sink.name == name) else {
        let hint = suggestion(name, on.iter().map(|sink| sink.name.as_str()));
        return Err(Failure::Usage(format!("no sink `{name}` is switched on{hint}")));
    };
    let runtime = loaded.connect_alone(system_clock()(), false)?;
    let nowhere = || Failure::Usage("no service is configured".to_owned());
    let runtime = runtime.ok_or_else(nowhere)?;
    let sink = of(config, loaded)?;
    let cluster = Cluster::reach(Place::of(loaded)?, PATIENCE)?;
    let log = LogReader::connect(&cluster.settings, &cluster.group("sinks"))?;
    let writer = Writer::connect(&cluster.settings)?;
    let is_meant =
        |parked: &Parked<'_>| parked.sink == name && case.is_none_or(|id| parked.case_id == id);
    let mut all: Vec<(String, Parked<'static>)> =
        parked(&cluster, &log)?.into_iter().filter(|(_, parked)| is_meant(parked)).collect();
    all.sort_by_key(|(_, parked)| parked.at);
    if all.is_empty() {
        tell(&format!("nothing of `{name}` is parked"));
    }
    let mut is_all = true;
    for (place, parked) in all {
        let (topic, offset) = (&parked.topic, parked.offset);
        let stored = log.tail(topic, parked.partition, offset..offset + 1)?;
        let value = stored.into_iter().next().and_then(|stored| stored.value);
        let outcome = match value.as_deref().map(Case::read) {
            Some(Ok(case)) => runtime.block_on(async {
                let mut tries = 0;
                loop {
                    let outcome = sink.deliver(&case).await;
                    tries += 1;
                    match outcome {
                        Outcome::Again { after, .. } if tries < TRIES => {
                            tokio::time::sleep(after.unwrap_or(PAUSE).min(PAUSE * 10)).await;
                        }
                        outcome => break outcome,
                    }
                }
            }),
            Some(Err(why)) => Outcome::Park { status: None, why: why.to_owned() },
            None => Outcome::Park { status: None, why: "it is not on its topic any more".into() },
        };
        let key = &parked.key;
        match outcome {
            Outcome::Delivered { link } => {
                writer.remove(&cluster.topics.parked, 0, place.as_bytes())?;
                writer.flush()?;
                tell(&format!("delivered {key} {}", link.unwrap_or_default()));
            }
            Outcome::Again { why, .. } | Outcome::Pause { why } | Outcome::Park { why, .. } => {
                is_all = false;
                tell(&format!("still parked {key}: {why}"));
            }
        }
    }
    Ok(is_all)
}
