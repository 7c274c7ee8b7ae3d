use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::current::Active;
use super::names::{Identity, Topics};
use super::outbox::Outbox;
use super::tally::Tally;
use crate::audit::{
    Appended, Chain, Folded, Hash, Input, Kind, Metadata, Output, PolicyRef, Raw, Record,
    SnapshotRef, finding, outputs, record_hash,
};
use crate::case::{
    Again, Arrival, Body, Counters, Decision, FactRow, Facts, Id, Millis, Reason, Revised, Ruling,
    Stopped, Told, Unreadable,
};
use crate::correlate::{Before, Case as Episode, News, State, Waiting, Waits};
use crate::decide::{Inputs, decide, revise, waits};
use crate::ingest::Doubt;
use crate::normalize::partition_of;
use crate::policy::Policy;

/// Holds of one lane. LIMIT: above it the oldest ends at once, and people have it.
const HELD_MAX: usize = 1024;
/// Messages kept of alerts that wait no longer: bounds how often they are looked for.
const TEXTS_TOO_MANY: usize = 1024;

/// What every ruling of a worker is made with.
pub struct Terms {
    pub active: Arc<Active>,
    pub topics: Topics,
    pub identity: Identity,
    /// Whether each ruling is written as an OCSF finding, too.
    pub findings: bool,
}

/// One partition of alerts: its chain, its state, and how an alert becomes a record on it.
pub struct Lane {
    partition: i32,
    chain: Chain,
    /// The number of the newest record that is known to be committed with its outputs.
    settled: u64,
    state: State,
    line: Vec<u8>,
    /// The messages of alerts that wait to be ruled again.
    texts: HashMap<Id, Box<[u8]>>,
    /// Why it is not known what people ordered about everything: then nothing automatic is done.
    pub(super) unread: Option<Stopped>,
    /// Of the open transaction.
    pub(super) tally: Tally,
}

/// One message of the alerts topic, read and looked up.
pub struct Case<'c> {
    pub offset: i64,
    pub received_at: Millis,
    /// As it stands on the topic.
    pub bytes: &'c [u8],
    /// Nothing when the message is no alert of this version.
    pub arrival: Option<Arrival<'c>>,
    pub facts: Vec<Option<Arc<FactRow>>>,
}

/// What became of one message, for metrics and logs.
pub enum Fate {
    Ruled(Ruled),
    Duplicate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ruled {
    pub ruling: &'static str,
    pub reason: Reason,
}

impl Lane {
    pub fn new(partition: i32, chain: Chain, state: State) -> Self {
        Self {
            partition,
            settled: chain.head().map_or(0, |head| head.seq),
            chain,
            state,
            line: Vec::new(),
            texts: HashMap::new(),
            unread: None,
            tally: Tally::default(),
        }
    }

    /// After a recovery: behind this number outputs are still to be written again.
    pub(super) fn settled_at(self, settled: u64) -> Self {
        Self { settled, ..self }
    }

    /// The transaction is committed.
    pub(super) fn settle(&mut self) {
        self.settled = self.chain.head().map_or(0, |head| head.seq);
    }

    /// Where an input topic goes on; nothing where none of it was read.
    pub(super) fn next_in(&self, topic: &str) -> Option<i64> {
        self.chain.head()?.next_in.get(topic).copied()
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    pub fn waits(&self) -> &Waits {
        self.state.waits()
    }

    /// Holds that there is no room for, oldest first.
    pub fn surplus(&self) -> Vec<Waiting> {
        self.waits().held_above(HELD_MAX).cloned().collect()
    }

    /// The message of an alert that waits.
    pub fn text(&self, alert_id: &str) -> Option<&[u8]> {
        self.texts.get(alert_id).map(|text| &**text)
    }

    /// After a recovery: what the state alone does not hold.
    pub fn keep_text(&mut self, alert_id: Id, bytes: &[u8]) {
        self.texts.insert(alert_id, bytes.into());
    }

    /// Never before the record in front.
    pub(super) fn time(&self, now: Millis) -> Millis {
        self.chain.head().map_or(now, |head| head.at.max(now))
    }

    pub(super) fn chain_name(&self) -> &str {
        self.chain.name()
    }

    pub(super) fn partition(&self) -> i32 {
        self.partition
    }

    /// Topics, offsets and the metadata to commit with each.
    pub fn positions(&self) -> impl Iterator<Item = (&str, i64, String)> {
        self.chain.head().into_iter().flat_map(|head| {
            let metadata = Metadata::of(head, self.settled).to_string();
            head.next_in.iter().map(move |(topic, next)| (topic.as_str(), *next, metadata.clone()))
        })
    }

    /// Rules one message: exactly one record, and what follows from it, in the open transaction.
    pub fn rule(
        &mut self,
        terms: &Terms,
        case: &Case<'_>,
        now: Millis,
        out: &mut Outbox<'_>,
    ) -> Fate {
        let now = self.time(now);
        let topic = Cow::Borrowed(terms.topics.alerts.as_str());
        let next_in = BTreeMap::from([(topic.clone(), case.offset + 1)]);
        let input =
            Input { topic, partition: self.partition, offset: case.offset, received_at: None };
        let (engine, actor) = (terms.identity.engine(), terms.identity.actor());
        let lost;
        let arrival = match &case.arrival {
            Some(arrival) => arrival,
            None => {
                lost = not_an_arrival(&terms.topics, self.partition, case.offset);
                &lost
            }
        };
        let mut record = Record {
            alert_id: Some(arrival.alert_id.clone()),
            correlation_id: Some(Cow::Borrowed(&arrival.correlation_id)),
            origin: case.arrival.as_ref().map(|arrival| Cow::Borrowed(&arrival.origin)),
            input: Some(input),
            next_in,
            ..Record::new(Kind::Ruling, now, engine, actor)
        };
        if self.state.was_ruled(&arrival.alert_id) {
            record.kind = Kind::Duplicate;
            if let Some(trace) = out.trace() {
                trace.duplicate();
            }
            self.write(terms, record, out);
            return Fate::Duplicate;
        }
        let alert = arrival.body.alert();
        let group = alert.and_then(|alert| terms.policy().group(alert));
        let mut counters = self.state.counters(&arrival.alert_id, alert, group, now);
        counters.stopped = self.stopped().cloned().map(Box::new);
        let looks = alert.map(|alert| terms.policy().looks(alert, now, None)).unwrap_or_default();
        (counters.windows, record.windows) = self.state.windows().look(looks);
        self.tally.late(&record.windows);
        let facts = self.facts(terms.policy(), case, now);
        let decision = ruled(terms, arrival, &facts, &counters, now);
        self.tally.ruled(alert, &decision, now);
        self.tally.compared(&decision, now);
        let fate = Ruled { ruling: decision.fate.name(), reason: decision.reason };
        if let Some(trace) = out.trace() {
            trace.ruled(&decision);
        }
        record.pipeline = (!arrival.pipeline.is_empty()).then(|| Cow::Borrowed(&*arrival.pipeline));
        record.alert = alert.map(Cow::Borrowed);
        record.facts = facts.iter().flatten().map(|row| Raw(row.json())).collect();
        record.waits = waits(terms.policy(), &facts, &decision, now);
        record.counters = Some(Cow::Borrowed(&counters));
        record.told = self.told(terms.policy(), arrival, &counters, (&decision, now));
        record.policy = Some(terms.policy_ref(&self.state));
        record.ruling = Some(Cow::Borrowed(&decision));
        self.write(terms, record, out);
        if self.state.waits().get(&arrival.alert_id).is_some() {
            self.keep_text(arrival.alert_id.clone(), case.bytes);
        }
        self.forget_texts();
        self.snapshot_if_due(terms, now, out);
        Fate::Ruled(fate)
    }

    pub(super) fn snapshot_if_due(&mut self, terms: &Terms, now: Millis, out: &mut Outbox<'_>) {
        if self.state.is_snapshot_due() {
            self.snapshot(terms, now, out);
        }
    }

    /// What people are told because of a first ruling.
    fn told(
        &self,
        policy: &Policy,
        arrival: &Arrival<'_>,
        counters: &Counters,
        (decision, now): (&Decision<'_>, Millis),
    ) -> Option<Told<'static>> {
        let alert = arrival.body.alert()?;
        let (alert_id, break_out) = (&arrival.alert_id, policy.break_out(alert));
        let revised = None;
        let news = News { alert_id, alert, counters, decision, break_out, revised, now };
        self.state.cases().told(&news)
    }

    /// Rules again: one record more about the same alert, under the same case.
    pub fn revise(
        &mut self,
        terms: &Terms,
        before: Before<'_>,
        case: &Case<'_>,
        (why, changed): (Again, &[&str]),
        (now, out): (Millis, &mut Outbox<'_>),
    ) -> Option<Ruled> {
        let now = self.time(now);
        let arrival = case.arrival.as_ref()?;
        let episode = self.state.cases().get(&before.counters.case_id);
        let mut standing = before.standing.cloned();
        if let Some(met) = standing.as_mut().filter(|it| !it.is_held)
            && episode.is_some_and(Episode::is_acked)
        {
            met.due = None;
        }
        let facts = changed.iter().map(|name| Cow::Borrowed(*name)).collect();
        let revised = Revised { why, facts, standing };
        let stopped = self.stopped().cloned().map(Box::new);
        // A suppression ends by what is known now.
        let is_partial = before.counters.is_partial
            || (before.standing.is_none() && episode.is_some_and(|case| case.is_partial));
        let counters = &Counters { stopped, is_partial, ..before.counters.clone() };
        let facts = self.facts(terms.policy(), case, now);
        let inputs = Inputs { arrival, facts: &facts, counters, now };
        let ruled = catch_unwind(AssertUnwindSafe(|| revise(terms.policy(), &inputs, &revised)));
        let decision = ruled.ok()?;
        let alert = arrival.body.alert()?;
        self.tally.ruled(Some(alert), &decision, now);
        let (engine, actor) = (terms.identity.engine(), terms.identity.actor());
        let news = News {
            alert_id: &arrival.alert_id,
            alert,
            counters,
            decision: &decision,
            break_out: None,
            revised: Some(&revised),
            now,
        };
        let record = Record {
            told: self.state.cases().told(&news),
            alert_id: Some(arrival.alert_id.clone()),
            correlation_id: Some(Cow::Borrowed(&arrival.correlation_id)),
            revision: Some(before.revisions + 1),
            cause: Some(before.cause.clone()),
            revised: Some(revised.clone()),
            origin: Some(Cow::Borrowed(&arrival.origin)),
            pipeline: Some(Cow::Borrowed(&*arrival.pipeline)),
            alert: Some(Cow::Borrowed(alert)),
            facts: facts.iter().flatten().map(|row| Raw(row.json())).collect(),
            // What was suppressed has had its time: it is ruled again once.
            waits: match before.standing {
                Some(_) => waits(terms.policy(), &facts, &decision, now),
                None => Vec::new(),
            },
            counters: Some(Cow::Borrowed(counters)),
            policy: Some(terms.policy_ref(&self.state)),
            ruling: Some(Cow::Borrowed(&decision)),
            ..Record::new(Kind::Revision, now, engine, actor)
        };
        self.write(terms, record, out);
        self.forget_texts();
        Some(Ruled { ruling: decision.fate.name(), reason: decision.reason })
    }

    /// What the state gave up is forgotten here, too.
    fn forget_texts(&mut self) {
        let waits = self.state.waits();
        if self.texts.len() < waits.len() + TEXTS_TOO_MANY {
            return;
        }
        self.texts.retain(|alert_id, _| waits.get(alert_id).is_some());
    }

    /// Puts a record at the end of the chain and sends it with its outputs.
    pub fn write(&mut self, terms: &Terms, mut record: Record<'_>, out: &mut Outbox<'_>) {
        let appended = match self.chain.append(&mut record, &mut self.line) {
            Ok(appended) => appended,
            Err(error) => {
                return out.fail(Doubt::Refused(format!("a record can't be written: {error}")));
            }
        };
        let key = record.alert_id.as_deref().unwrap_or(self.chain.name());
        out.send(&terms.topics.decisions, self.partition, Some(key.as_bytes()), Some(&self.line));
        self.state.apply(&record, appended.hash);
        self.tally.told(&record);
        follow(terms, &record, appended, out);
    }

    fn snapshot(&mut self, terms: &Terms, now: Millis, out: &mut Outbox<'_>) {
        let at = self.time(now);
        let before = self.state.sizes();
        let parts = self.state.snapshot(at);
        self.tally.dropped(before, self.state.sizes());
        let rest = (0..u32::try_from(parts.len()).unwrap_or(u32::MAX)).rev();
        for ((part, rest), text) in (0..).zip(rest).zip(&parts) {
            let digest = Hash(Sha256::digest(text.as_bytes()).into());
            let Ok(state) = serde_json::from_str(text) else {
                return out.fail(Doubt::Refused("the state can't be written".to_owned()));
            };
            let snapshot = SnapshotRef { digest, state: Raw(state), part, rest };
            let (engine, actor) = (terms.identity.engine(), terms.identity.actor());
            let blank = Record::new(Kind::Snapshot, at, engine, actor);
            self.write(terms, Record { snapshot: Some(snapshot), ..blank }, out);
        }
    }
}

/// Sends what follows from a record.
fn follow(terms: &Terms, record: &Record<'_>, appended: Appended, out: &mut Outbox<'_>) {
    let mut send = |output: Output| {
        let topic = terms.topics.output(&output.topic);
        let partition = partition_of(&output.key, terms.topics.output_partitions(&output.topic));
        out.pass_on(&topic, partition, output.key.as_bytes(), &output.value);
    };
    outputs(record, appended, &mut send);
    if terms.findings {
        finding(record, appended).into_iter().for_each(send);
    }
}

/// The same for a record that is on its chain already.
pub(super) fn follow_again(terms: &Terms, stored: &[u8], out: &mut Outbox<'_>) {
    let Some(record) = Record::parse(stored) else { return };
    let appended = Appended { seq: record.seq, hash: record_hash(stored) };
    follow(terms, &record, appended, out);
}

impl Terms {
    pub fn policy(&self) -> &Policy {
        &self.active.policy
    }

    /// INVARIANT (INV-7): a ruling names the policy that its chain is under.
    pub(super) fn policy_ref(&self, state: &State) -> PolicyRef<'_> {
        let hash = &self.policy().hash;
        debug_assert!(
            state.policy().is_none_or(|(active, _)| active == hash),
            "INV-7: a ruling under a policy that its chain is not under"
        );
        // The same policy may have been stored again by another process, under a newer generation.
        let generation =
            state.policy().map_or(self.active.generation, |(_, generation)| generation);
        PolicyRef { hash: Cow::Borrowed(hash), generation, signers: Vec::new() }
    }
}

/// The pure ruling; a panic inside it is one dead letter, not a stopped partition.
fn ruled<'r>(
    terms: &'r Terms,
    arrival: &'r Arrival<'r>,
    facts: &'r Facts,
    counters: &'r Counters,
    now: Millis,
) -> Decision<'r> {
    let inputs = Inputs { arrival, facts, counters, now };
    match catch_unwind(AssertUnwindSafe(|| decide(terms.policy(), &inputs))) {
        Ok(decided) => decided.decision,
        Err(_) => {
            let reason = Reason::RuleFailed;
            let letter = Unreadable {
                reason,
                detail: "the ruling panicked".into(),
                size: 0,
                fingerprint: "".into(),
                line: None,
                column: None,
            };
            Decision::new(Ruling::DeadLetter(letter), reason, "none", "none")
        }
    }
}

/// Stands for a record of the alerts topic that is none of ours. It has no origin but its own
/// place.
fn not_an_arrival(topics: &Topics, partition: i32, offset: i64) -> Arrival<'static> {
    let place = format!("{}/{partition}/{offset}", topics.alerts);
    let alert_id = crate::case::id_of("bad_alert", &[place.as_bytes()]);
    Arrival {
        correlation_id: Cow::Owned(alert_id.clone()),
        alert_id,
        origin: crate::case::Origin {
            topic: Cow::Owned(topics.alerts.clone()),
            incarnation: "-".into(),
            partition,
            offset,
            index: 0,
            of: 1,
            sha256: "".into(),
        },
        pipeline: "".into(),
        body: Body::Unreadable(Unreadable {
            reason: Reason::BadAlert,
            detail: "not written by intake of this version".into(),
            size: 0,
            fingerprint: "".into(),
            line: None,
            column: None,
        }),
    }
}
