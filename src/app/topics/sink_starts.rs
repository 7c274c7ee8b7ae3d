use super::{Failure, Plan, offset_of, start_text};
use crate::app::cluster::Cluster;
use crate::config::Start;
use crate::ingest::{Doubt, LogReader, NextOffset, Starts};

struct Places {
    starts: Starts,
    /// Partitions in which the sink has no place to go on from.
    found: Vec<(String, i32)>,
    /// Whether it has one in others.
    has_begun: bool,
}

fn without(
    group: &str,
    topics: &[String],
    cluster: &Cluster,
    log: &LogReader,
) -> Result<Places, Failure> {
    let starts = Starts::connect(&cluster.settings, group)?;
    let (mut found, mut has_begun) = (Vec::new(), false);
    for topic in topics {
        for partition in 0..log.partitions(topic)?.unwrap_or(0) {
            match starts.committed(topic, partition)? {
                Some(_) => has_begun = true,
                None => found.push((topic.clone(), partition)),
            }
        }
    }
    Ok(Places { starts, found, has_begun })
}

/// Lets each sink begin where its file says, on the topics that it has not begun to read.
pub(super) fn write(
    cluster: &Cluster,
    plan: &Plan,
    log: &LogReader,
) -> Result<Vec<String>, Failure> {
    let mut lines = Vec::new();
    for (group, topics, start) in &plan.sinks {
        let Places { starts, found, has_begun } = without(group, topics, cluster, log)?;
        let otherwise = if has_begun { Start::Earliest } else { Start::Latest };
        let start = start.unwrap_or(otherwise);
        let mut next = Vec::new();
        for (topic, partition) in found {
            let offset = offset_of(start, log, (&topic, partition))?;
            next.push(NextOffset { topic, partition, offset, metadata: String::new() });
        }
        if next.is_empty() {
            continue;
        }
        let (count, from) = (next.len(), start_text(start));
        lines.push(match starts.commit(&next) {
            Ok(()) => format!("set the start of {group} on {count} partitions to {from}"),
            Err(Doubt::Unsure(_)) => format!(
                "{group} has members, so its start on {count} partitions is not set: stop the role \
                 deliver for 30 s and run this again"
            ),
            Err(other) => return Err(other.into()),
        });
    }
    Ok(lines)
}

pub(super) fn check(
    cluster: &Cluster,
    plan: &Plan,
    log: &LogReader,
) -> Result<Vec<String>, Failure> {
    let mut differences = Vec::new();
    for (group, topics, _) in &plan.sinks {
        for (topic, partition) in without(group, topics, cluster, log)?.found {
            differences.push(format!(
                "{group} has no start on {topic}/{partition}: stop the role deliver, then \
                 `tipstaff topics create`"
            ));
        }
    }
    Ok(differences)
}
