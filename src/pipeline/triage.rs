use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::info;

use super::closings::{Ask, answers};
use super::control::Control;
use super::counted::Counted;
use super::current::{Active, Current};
use super::lane::{Case, Fate, Lane, Terms, follow_again};
use super::outbox::Outbox;
use super::people::People;
use super::revisit::Visits;
use super::stage::{Batch, Hint, Stage, Start};
use crate::audit::{Genesis, Input, Kind, Link, PolicyRef, Record};
use crate::case::{Arrival, Body, Millis};
use crate::correlate::State;
use crate::enrich::Enrichers;
use crate::ingest::{Doubt, LogReader, Message};
use crate::observe::{Batch as TracedBatch, Metrics, Traces, Work};

/// LIMIT: closings of one batch together wait no longer than as many lookups; what comes too late
/// is not known, and so refused.
const CLOSINGS_IN_A_BATCH: u32 = 4;

/// Tells the time; injected so that a ruling can be repeated.
pub type Clock = Arc<dyn Fn() -> Millis + Send + Sync>;

/// What the chains of this cluster were begun with; a worker that differs must not touch them.
#[derive(Debug, Clone)]
pub struct Expected {
    pub cluster: String,
    /// Topic ids by topic name, as the broker has them now.
    pub topics: BTreeMap<String, String>,
    pub partitions: i32,
    pub fingerprint_key: String,
}

/// Alerts in; rulings, cases, actions and dead letters out. One chain for each partition.
pub struct Triage {
    pub(super) terms: Terms,
    current: Current<Active>,
    has_news: bool,
    pub(super) enrichers: Arc<Enrichers>,
    pub(super) lookup: Duration,
    pub(super) expected: Expected,
    pub(super) clock: Clock,
    pub(super) metrics: Metrics,
    traces: Traces,
    pub(super) lanes: HashMap<i32, Open>,
    pub(super) visits: Visits,
    pub(super) people: People,
    pub(super) control: Control,
    pub(super) counted: Counted,
    /// Of the open transaction.
    traced: TracedBatch,
}

/// A lane and what its recovery still has to write.
pub(super) struct Open {
    pub(super) lane: Lane,
    pub(super) again: Vec<Box<[u8]>>,
    pub(super) pending: Vec<Record<'static>>,
}

impl Triage {
    pub fn new(
        terms: Terms,
        (enrichers, lookup): (Arc<Enrichers>, Duration),
        expected: Expected,
        clock: Clock,
        (metrics, traces): (Metrics, Traces),
    ) -> Self {
        Self {
            current: Current::new(Arc::clone(&terms.active)),
            terms,
            has_news: false,
            enrichers,
            lookup,
            expected,
            clock,
            metrics,
            traces,
            lanes: HashMap::new(),
            visits: Visits::default(),
            people: People::default(),
            control: Control::default(),
            counted: Counted::default(),
            traced: TracedBatch::default(),
        }
    }

    /// Takes up whatever is put there, from now on.
    pub fn following(self, current: &Current<Active>) -> Self {
        Self { current: current.clone(), ..self }
    }

    /// Takes orders of these people.
    pub fn heeding(self, people: People) -> Self {
        Self { people, ..self }
    }

    /// True when there is something newer than what was taken up.
    fn take_up(&mut self) -> bool {
        let newest = self.current.get();
        if Arc::ptr_eq(&newest, &self.terms.active) {
            return false;
        }
        self.terms.active = newest;
        self.has_news = true;
        true
    }

    /// Puts a newer policy on the record of every chain, before the first ruling under it.
    fn renew(&mut self, out: &mut Outbox<'_>) -> bool {
        if !self.take_up() {
            return false;
        }
        let mut wrote = false;
        let mut lanes = std::mem::take(&mut self.lanes);
        for (partition, open) in &mut lanes {
            match self.activation(open.lane.state(), *partition) {
                Ok(None) => {}
                Ok(Some(record)) => {
                    open.lane.write(&self.terms, record, out);
                    wrote = true;
                }
                // The recovery that follows blocks the partition, saying so.
                Err(why) => out.fail(Doubt::Unsure(why)),
            }
        }
        self.lanes = lanes;
        wrote
    }

    /// A chain goes from one policy to the next on record, and never back to an older generation.
    pub(super) fn activation(
        &self,
        state: &State,
        partition: i32,
    ) -> Result<Option<Record<'static>>, String> {
        let Active { policy, generation, signers } = &*self.terms.active;
        let (hash, generation) = (&policy.hash, *generation);
        match state.policy() {
            Some((known, stored)) if known == hash && stored >= generation => return Ok(None),
            Some((known, newer)) if newer > generation => {
                return Err(format!(
                    "the chain is under policy {known} of generation {newer}; this worker has the older generation {generation}"
                ));
            }
            _ => {}
        }
        info!(partition, policy = %hash, generation, "policy is active on the chain");
        let (hash, signers) = (Cow::Owned(hash.clone()), signers.clone());
        let policy = PolicyRef { hash, generation, signers };
        Ok(Some(Record { policy: Some(policy), ..self.blank(Kind::Policy) }))
    }

    pub(super) fn check_genesis(&self, first: Option<&Link<'_>>) -> Result<(), String> {
        let record = first.and_then(|link| Record::parse(link.bytes));
        let Some(genesis) = record.and_then(|record| record.genesis) else {
            return Err("the chain has no genesis record: run `tipstaff topics create`".to_owned());
        };
        self.expected.check(&genesis)
    }

    pub(super) fn blank(&self, kind: Kind) -> Record<'static> {
        let actor = crate::audit::Actor {
            service: self.terms.identity.actor().service.into_owned().into(),
            instance: self.terms.identity.instance.clone().into(),
        };
        Record::new(kind, (self.clock)(), self.terms.identity.engine(), actor)
    }

    fn obey(&mut self, orders: &[Message<'_>], now: Millis, out: &mut Outbox<'_>) {
        if orders.is_empty() {
            return;
        }
        let people = self.people.now();
        let until = Instant::now() + self.lookup * CLOSINGS_IN_A_BATCH;
        let look = |asks: &[Ask<'_>]| {
            let deadline = until.min(Instant::now() + self.lookup);
            answers(&self.enrichers, asks, ((self.clock)(), deadline))
        };
        for message in orders {
            let Some(open) = self.lanes.get_mut(&message.partition) else {
                let place = format!("{}/{}", message.topic, message.partition);
                return out
                    .fail(Doubt::Unsure(format!("an order of {place}, which is not assigned")));
            };
            let (partition, offset) = (message.partition, message.offset);
            let input = Input { topic: message.topic.into(), partition, offset, received_at: None };
            let message = (input, message.value.unwrap_or_default());
            self.counted.orders.push(open.lane.order(
                &self.terms,
                (people, &look),
                message,
                (now, out),
            ));
        }
    }

    fn write_pending(&mut self, out: &mut Outbox<'_>) -> bool {
        let mut wrote = false;
        for open in self.lanes.values_mut() {
            for stored in open.again.drain(..) {
                follow_again(&self.terms, &stored, out);
                wrote = true;
            }
            for record in open.pending.drain(..) {
                open.lane.write(&self.terms, record, out);
                wrote = true;
            }
        }
        wrote
    }
}

impl Expected {
    pub fn check(&self, genesis: &Genesis<'_>) -> Result<(), String> {
        let differs = |what: &str, then: &str, now: &str| {
            Err(format!("the chain began with {what} {then}, but it is {now} now"))
        };
        if genesis.cluster != self.cluster {
            return differs("cluster", &genesis.cluster, &self.cluster);
        }
        if genesis.partitions != self.partitions {
            let (then, now) = (genesis.partitions.to_string(), self.partitions.to_string());
            return differs("a partition count of", &then, &now);
        }
        if genesis.fingerprint_key != self.fingerprint_key {
            return differs("fingerprint key", &genesis.fingerprint_key, &self.fingerprint_key);
        }
        if genesis.partition_function != crate::normalize::PARTITION_FUNCTION {
            return differs(
                "partition function",
                &genesis.partition_function,
                crate::normalize::PARTITION_FUNCTION,
            );
        }
        for (topic, then) in &genesis.topics {
            match self.topics.get(topic.as_ref()) {
                Some(now) if now == then => {}
                now => {
                    let now = now.map_or("missing", String::as_str);
                    return differs(&format!("id of topic `{topic}`"), then, now);
                }
            }
        }
        Ok(())
    }
}

impl Stage for Triage {
    fn depends_on(&self, _: &str, partition: i32) -> Vec<(String, i32)> {
        vec![(self.terms.topics.decisions.clone(), partition)]
    }

    fn recover(&mut self, assigned: &[Hint], log: &LogReader) -> Result<Vec<Start>, Doubt> {
        self.forget_lanes();
        self.lanes.clear();
        self.take_up();
        self.has_news = false;
        self.control = Control::default();
        self.counted = Counted::default();
        std::mem::take(&mut self.traced).not_committed();
        let mut starts = Vec::with_capacity(assigned.len());
        let mut partitions: Vec<i32> = assigned.iter().map(|hint| hint.partition).collect();
        partitions.sort_unstable();
        partitions.dedup();
        for partition in partitions {
            let hints: Vec<&Hint> = assigned.iter().filter(|h| h.partition == partition).collect();
            // While workers of an older version, which know no orders, share the group.
            let opened = if hints.iter().any(|hint| hint.topic == self.terms.topics.alerts) {
                self.open((partition, &hints), log)?
            } else {
                Err("the alerts of this partition are another worker's".to_owned())
            };
            match opened {
                Err(why) => starts.extend(hints.iter().map(|hint| Start::Blocked {
                    topic: hint.topic.clone(),
                    partition,
                    why: why.clone(),
                })),
                Ok((open, at)) => {
                    self.lanes.insert(partition, open);
                    let at = at.into_iter();
                    starts.extend(at.map(|(topic, offset)| Start::At { topic, partition, offset }));
                }
            }
        }
        Ok(starts)
    }

    fn process(&mut self, batch: &Batch<'_>, log: &LogReader, out: &mut Outbox<'_>) -> bool {
        // Before the transaction begins: it may take its time.
        let news = self.listen(log);
        let mut wrote = self.write_pending(out);
        wrote |= self.renew(out);
        wrote |= self.heed(news, out);
        wrote |= self.revisit(log, out);
        if batch.messages.is_empty() && !wrote {
            return false;
        }
        let orders = &self.terms.topics.orders;
        let (orders, mut alerts): (Vec<_>, Vec<_>) =
            batch.messages.iter().copied().partition(|message| message.topic == orders);
        alerts.sort_by_key(|message| message.partition);
        let batch = &Batch { messages: &alerts };
        let started = Instant::now();
        let headers = batch.messages.iter().map(|message| message.headers.iter());
        self.traced = self.traces.batch(Work::Triage, &self.terms.topics.alerts, headers);
        let mut cases = read_batch(batch);
        let within = self.traced.enter();
        look_up(&self.terms, &self.enrichers, &mut cases, started + self.lookup);
        drop(within);
        self.metrics.lookup_seconds.observe(started.elapsed().as_secs_f64());
        self.traced.looked_up(started.elapsed());
        let now = (self.clock)();
        let mut before = None;
        for (place, (message, case)) in batch.messages.iter().zip(&cases).enumerate() {
            if let Some(whole) = before.replace(message.partition)
                && whole != message.partition
            {
                out.complete(&self.terms.topics.decisions, whole);
            }
            let Some(open) = self.lanes.get_mut(&message.partition) else {
                let place = format!("{}/{}", message.topic, message.partition);
                out.fail(Doubt::Unsure(format!("a message of {place}, which is not assigned")));
                return false;
            };
            let at = (message.topic, message.partition, message.offset);
            out.traced(self.traced.alert(place, at));
            match open.lane.rule(&self.terms, case, now, out) {
                Fate::Duplicate => self.counted.duplicates += 1,
                Fate::Ruled(ruled) => {
                    self.counted.add(ruled);
                    self.counted.saw(self.terms.policy(), case, now);
                }
            }
            let waited = now.since(case.received_at).max(0);
            self.counted.ages_seconds.push(waited as f64 / 1000.0);
        }
        out.traced(None);
        self.obey(&orders, now, out);
        for (partition, open) in &self.lanes {
            // Nobody commits where the control topic goes on: each chain has its own place in it.
            let control = self.terms.topics.control.as_str();
            for (topic, offset, metadata) in open.lane.positions().filter(|at| at.0 != control) {
                out.next(topic, *partition, offset, &metadata);
            }
        }
        true
    }

    fn has_news(&mut self) -> bool {
        std::mem::take(&mut self.has_news)
    }

    fn committed(&mut self) {
        self.tell_lanes();
        for open in self.lanes.values_mut() {
            open.lane.settle();
            open.lane.tally.tell(&self.metrics);
        }
        drop(std::mem::take(&mut self.traced));
        self.counted.tell(self.terms.policy(), &self.metrics);
    }
}

fn read_batch<'b>(batch: &Batch<'b>) -> Vec<Case<'b>> {
    let read = |message: &crate::ingest::Message<'b>| Case {
        offset: message.offset,
        received_at: Millis(message.timestamp_ms),
        bytes: message.value.unwrap_or_default(),
        arrival: message.value.and_then(Arrival::parse),
        facts: Vec::new(),
    };
    batch.messages.iter().map(read).collect()
}

/// Looks up every fact that the batch's playbooks ask for, each distinct key once.
pub fn look_up(terms: &Terms, enrichers: &Enrichers, cases: &mut [Case<'_>], deadline: Instant) {
    let mut asking = Vec::with_capacity(cases.len());
    let mut wanted = Vec::with_capacity(cases.len());
    for (place, case) in cases.iter().enumerate() {
        if let Some(Arrival { body: Body::Alert(alert), .. }) = &case.arrival {
            asking.push(place);
            wanted.push((alert.as_ref(), terms.policy().wanted(alert)));
        }
    }
    let found = enrichers.facts(&wanted, deadline);
    drop(wanted);
    for (place, facts) in asking.into_iter().zip(found) {
        if let Some(case) = cases.get_mut(place) {
            case.facts = facts;
        }
    }
}
