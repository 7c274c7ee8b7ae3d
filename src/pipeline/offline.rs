use std::sync::Arc;
use std::time::{Duration, Instant};

use super::current::Active;
use super::lane::{Case, Lane, Terms};
use super::names::{Identity, Topics};
use super::outbox::Outbox;
use super::triage::look_up;
use crate::audit::{Chain, Kind, Record};
use crate::case::{Arrival, Millis};
use crate::correlate::State;
use crate::enrich::Enrichers;
use crate::policy::Policy;

/// Longer than any table needs: nobody waits behind it.
const LOOKUP: Duration = Duration::from_secs(5);

/// Rules arrivals on a chain in memory, by the very code that the workers run. One record for each,
/// as it would stand on the decisions topic.
pub fn offline(
    policy: &Arc<Policy>,
    enrichers: &Enrichers,
    arrivals: Vec<Arrival<'static>>,
    now: Millis,
) -> Vec<Vec<u8>> {
    let terms = Terms {
        active: Active::unsigned(policy, 0),
        topics: Topics::new("offline", 1),
        identity: Identity { instance: "offline".to_owned() },
        findings: false,
    };
    let mut cases: Vec<Case<'_>> = (0..)
        .zip(arrivals)
        .map(|(offset, arrival)| Case {
            offset,
            received_at: now,
            bytes: &[],
            arrival: Some(arrival),
            facts: Vec::new(),
        })
        .collect();
    look_up(&terms, enrichers, &mut cases, Instant::now() + LOOKUP);
    let mut lane = Lane::new(0, Chain::new("offline", None), State::default());
    let mut sent = Vec::new();
    let mut out = Outbox::memory(&mut sent);
    for case in &cases {
        lane.rule(&terms, case, now, &mut out);
    }
    drop(out);
    let decisions = sent.into_iter().filter(|sent| sent.topic == terms.topics.decisions);
    decisions
        .filter_map(|sent| sent.value)
        .filter(|bytes| Record::parse(bytes).is_some_and(|record| record.kind == Kind::Ruling))
        .collect()
}
