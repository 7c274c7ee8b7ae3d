use std::process::ExitCode;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::{connect, say};
use crate::app::{Cluster, Failure, Loaded};
use crate::audit::Record;
use crate::case::{Refusal, Statement, hex};
use crate::ingest::{LogReader, Writer};
use crate::normalize::partition_of;
use crate::pipeline::{Drain, order_message};

const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Sends an order to the partition of its case, and tells what became of it.
pub(super) fn send(
    loaded: &Loaded,
    statement: &Statement,
    text: &str,
    signatures: &[String],
    wait: Duration,
) -> Result<ExitCode, Failure> {
    let cluster = connect(loaded, &Drain::default())?;
    let message = order_message(text, signatures);
    let nhi = &statement.subject.nhi;
    let partition = partition_of(nhi, cluster.topics.partitions);
    let log = LogReader::connect(&cluster.settings, &cluster.group("order"))?;
    let from = log.stable(&cluster.topics.decisions, partition)?;
    let writer = Writer::connect(&cluster.settings)?;
    writer.send(&cluster.topics.orders, partition, Some(nhi.as_bytes()), &message)?;
    writer.flush()?;
    let digest = hex(&Sha256::digest(&message));
    match awaited(&cluster, &log, (partition, from), &digest, wait)? {
        Some((line, code)) => {
            say(&line);
            Ok(code)
        }
        None => Err(Failure::Ended(format!(
            "order {} is on {}/{partition}, and no record says within {} s what became of it: \
             is triage running? It is judged once, whenever that is",
            statement.id,
            cluster.topics.orders,
            wait.as_secs()
        ))),
    }
}

fn awaited(
    cluster: &Cluster,
    log: &LogReader,
    (partition, mut from): (i32, i64),
    digest: &str,
    wait: Duration,
) -> Result<Option<(String, ExitCode)>, Failure> {
    let decisions = &cluster.topics.decisions;
    let until = Instant::now() + wait;
    loop {
        let end = log.stable(decisions, partition)?;
        let mut found = None;
        log.read(decisions, partition, from..end, |message| {
            let record = message.value.and_then(Record::parse);
            found = found.take().or_else(|| told(&record?, digest));
        })?;
        if found.is_some() || Instant::now() >= until {
            return Ok(found);
        }
        from = end;
        std::thread::sleep(LOOK_EVERY);
    }
}

/// What the order's own record says.
fn told(record: &Record<'_>, digest: &str) -> Option<(String, ExitCode)> {
    let order = record.order.as_ref().filter(|order| order.sha256 == digest)?;
    let place = format!("record {} of chain {}", record.seq, record.chain);
    Some(match order.refused {
        None => {
            let role = order.role.as_deref()?;
            let what = match &record.told {
                Some(told) => format!("the case is {}", told.state()),
                None => "what is held is ruled again".to_owned(),
            };
            (format!("accepted as {role}: {what}; {place}"), ExitCode::SUCCESS)
        }
        Some(refusal) => {
            let detail = order.detail.as_deref().unwrap_or_default();
            let code = Refusal::code(refusal);
            (format!("refused ({code}): {detail}; {place}"), ExitCode::FAILURE)
        }
    })
}
