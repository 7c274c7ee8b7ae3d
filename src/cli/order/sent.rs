use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::{connect, say};
use crate::app::{Cluster, Failure, Loaded};
use crate::audit::Record;
use crate::case::{Refusal, Statement, Subject, Verb as Order, hex};
use crate::ingest::{LogReader, Writer};
use crate::normalize::partition_of;
use crate::pipeline::{Topics, order_message};

const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What became of an order on one chain.
struct Verdict {
    what: String,
    record: String,
    is_accepted: bool,
}

/// Sends an order to the partition of its case, or to the control topic, and tells what became of
/// it on each chain that judges it.
pub(super) fn send(
    loaded: &Loaded,
    statement: &Statement,
    text: &str,
    signatures: &[String],
    wait: Duration,
) -> Result<ExitCode, Failure> {
    let cluster = connect(loaded, wait)?;
    let Topics { orders, control, decisions, partitions, .. } = &cluster.topics;
    let message = order_message(text, signatures);
    let (topic, partition, key, chains) = match &statement.subject {
        Some(Subject { nhi, .. }) => {
            let own = partition_of(nhi, *partitions);
            (orders, own, Some(nhi.as_bytes()), own..own + 1)
        }
        None => (control, 0, None, 0..*partitions),
    };
    let log = LogReader::connect(&cluster.settings, &cluster.group("order"))?;
    let from = chains.map(|chain| Ok::<_, Failure>((chain, log.stable(decisions, chain)?)));
    let from = from.collect::<Result<Vec<_>, _>>()?;
    let writer = Writer::connect(&cluster.settings)?;
    writer.send(topic, partition, key, &message)?;
    writer.flush()?;
    let digest = hex(&Sha256::digest(&message));
    let until = Instant::now() + wait;
    let (mut found, mut silent) = (Vec::new(), Vec::new());
    for (chain, from) in from {
        match awaited(&cluster, &log, (chain, from), &digest, until)? {
            Some(verdict) => found.push((chain, verdict)),
            None => silent.push(chain),
        }
    }
    tell(&found);
    if !silent.is_empty() {
        return Err(Failure::Ended(format!(
            "order {} is on {topic}/{partition}, and no record of {decisions}/{} says within {} s \
             what became of it: is triage running? It is judged once, whenever that is",
            statement.id,
            listed(&silent),
            wait.as_secs()
        )));
    }
    let is_accepted = found.iter().all(|(_, verdict)| verdict.is_accepted);
    Ok(if is_accepted { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One line for one chain; for several, one for each thing that became of it.
fn tell(found: &[(i32, Verdict)]) {
    if let [(_, Verdict { what, record, .. })] = found {
        say(&format!("{what}; {record}"));
        return;
    }
    let mut chains: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (chain, verdict) in found {
        chains.entry(&verdict.what).or_default().push(*chain);
    }
    for (what, on) in chains {
        say(&format!("{what}; on {} of {} chains: {}", on.len(), found.len(), listed(&on)));
    }
}

fn listed(chains: &[i32]) -> String {
    chains.iter().map(i32::to_string).collect::<Vec<_>>().join(", ")
}

fn awaited(
    cluster: &Cluster,
    log: &LogReader,
    (partition, mut from): (i32, i64),
    digest: &str,
    until: Instant,
) -> Result<Option<Verdict>, Failure> {
    let decisions = &cluster.topics.decisions;
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
fn told(record: &Record<'_>, digest: &str) -> Option<Verdict> {
    let order = record.order.as_ref().filter(|order| order.sha256 == digest)?;
    let what = match order.refused {
        None => {
            let statement = Statement::read(order.statement.as_deref()?).ok()?;
            let what = match (&record.told, statement.order) {
                (Some(told), _) => format!("the case is {}", told.state()),
                (None, Order::Stop) => "everything automatic is stopped".to_owned(),
                (None, Order::Resume) => "what was stopped goes on".to_owned(),
                (None, _) => "what is held is ruled again".to_owned(),
            };
            format!("accepted as {}: {what}", order.role.as_deref()?)
        }
        Some(refusal) => {
            let detail = order.detail.as_deref().unwrap_or_default();
            format!("refused ({}): {detail}", Refusal::code(refusal))
        }
    };
    let record = format!("record {} of chain {}", record.seq, record.chain);
    Some(Verdict { what, record, is_accepted: order.refused.is_none() })
}
