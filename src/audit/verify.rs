use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;

use sha2::{Digest, Sha256};

use super::{Folded, Hash, Head, Kind, Lost, Record, record_hash};
use crate::case::{Millis, Ruling, Statement, Verb, Verdict};

/// Something a healthy chain never shows, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub offset: i64,
    pub seq: Option<u64>,
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "offset {}", self.offset)?;
        if let Some(seq) = self.seq {
            write!(f, ", record {seq}")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// What was found in one chain.
#[derive(Debug, Default)]
pub struct Report {
    pub chain: String,
    /// How many chains its genesis says that there are.
    pub partitions: Option<i32>,
    pub head: Option<Head>,
    pub records: u64,
    /// Rulings by their name.
    pub rulings: BTreeMap<&'static str, u64>,
    pub other: BTreeMap<String, u64>,
    /// Offsets that a void record on the chain names: left by a torn transaction, healed, on
    /// record.
    pub voided: u64,
    /// At most `FINDINGS_MAX`; the first is the first bad position.
    pub findings: Vec<Finding>,
}

impl Report {
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }
}

const FINDINGS_MAX: usize = 20;

/// Proves one chain from its stored bytes (INV-8). Feed every record twice, in order: first to
/// `scan`, which only learns what void records name, then to `check`.
#[derive(Debug)]
pub struct Verifier<S> {
    report: Report,
    state: S,
    /// False until a genesis or a snapshot was seen: before that the state can't be recomputed.
    has_state: bool,
    /// Of the snapshot at hand: what they should be, or what they are until it is whole.
    parts: Vec<String>,
    claimed_void: HashSet<i64>,
    skipped: BTreeSet<i64>,
    named: BTreeSet<i64>,
    alert_ids: HashSet<String>,
    revisions: HashMap<String, u32>,
    /// Of accepted orders, and until when each is good.
    orders: HashMap<String, Millis>,
    /// Hash and generation of the policy that the chain is under, once that was seen.
    policy: Option<(String, i64)>,
    /// Whether everything automatic is stopped, and by which order.
    is_stopped: bool,
    stopped_by: Option<String>,
}

impl<S: Folded> Default for Verifier<S> {
    fn default() -> Self {
        Self {
            report: Report::default(),
            state: S::default(),
            has_state: false,
            parts: Vec::new(),
            claimed_void: HashSet::new(),
            skipped: BTreeSet::new(),
            named: BTreeSet::new(),
            alert_ids: HashSet::new(),
            revisions: HashMap::new(),
            orders: HashMap::new(),
            policy: None,
            is_stopped: false,
            stopped_by: None,
        }
    }
}

impl<S: Folded> Verifier<S> {
    pub fn scan(&mut self, bytes: &[u8]) {
        if let Some(record) = Record::parse(bytes) {
            self.claimed_void.extend(record.void);
        }
    }

    pub fn check(&mut self, offset: i64, bytes: &[u8]) {
        if self.claimed_void.contains(&offset) {
            self.skipped.insert(offset);
            return;
        }
        let Some(record) = Record::parse(bytes) else {
            return self.find(offset, None, "not a record of this version".to_owned());
        };
        self.link(offset, &record);
        self.content(offset, &record);
        self.policy(offset, &record);
        self.stop(offset, &record);
        self.fold(offset, &record, record_hash(bytes));
        self.tally(&record);
        self.named.extend(record.void.iter().copied());
        self.report.records += 1;
        self.report.head = Some(Head {
            seq: record.seq,
            hash: record_hash(bytes),
            at: record.at,
            next_in: record.next_in.iter().map(|(t, n)| (t.to_string(), *n)).collect(),
        });
    }

    pub fn finish(mut self) -> Report {
        if self.report.records == 0 {
            self.find(0, None, "the chain has no record".to_owned());
        }
        let unnamed: Vec<i64> = self.skipped.difference(&self.named).copied().collect();
        for offset in unnamed {
            self.find(offset, None, "voided by a record that is not on the chain".to_owned());
        }
        self.report.voided = self.skipped.len() as u64;
        self.report
    }

    fn find(&mut self, offset: i64, seq: Option<u64>, what: String) {
        if self.report.findings.len() < FINDINGS_MAX {
            self.report.findings.push(Finding { offset, seq, what });
        }
    }

    /// Place in the chain: name, number, link, time, input offsets.
    fn link(&mut self, offset: i64, record: &Record<'_>) {
        let seq = Some(record.seq);
        let Some(head) = self.report.head.clone() else {
            self.report.chain = record.chain.to_string();
            self.report.partitions = record.genesis.as_ref().map(|genesis| genesis.partitions);
            if record.kind != Kind::Genesis || record.seq != 0 || record.prev != Hash::NONE {
                let what = format!(
                    "the chain starts with a {:?} at {}, not with its genesis",
                    record.kind, record.seq
                );
                self.find(offset, seq, what);
            }
            return;
        };
        let chain = self.report.chain.clone();
        if record.chain != chain {
            self.find(offset, seq, format!("belongs to chain `{}`", record.chain));
        }
        if record.seq != head.seq + 1 {
            self.find(offset, seq, format!("record {} should stand here", head.seq + 1));
        } else if record.prev != head.hash {
            self.find(
                offset,
                seq,
                format!("does not link to record {}: one of the two was changed", head.seq),
            );
        }
        if record.at < head.at {
            self.find(offset, seq, "time runs backwards".to_owned());
        }
        // What is gone of the control topic stops everything, wherever that topic goes on.
        let anew = record.gap.filter(|gap| gap.of == Lost::Control).map(|gap| (gap.from, gap.to));
        for (topic, known) in &head.next_in {
            let next = record.next_in.get(topic.as_str()).copied();
            let is_anew = next.is_some_and(|next| anew == Some((*known, next)));
            if !is_anew && next.is_none_or(|next| next < *known) {
                self.find(offset, seq, format!("its place in `{topic}` falls behind {known}"));
            }
        }
        if let Some(input) = &record.input {
            let known = head.next_in.get(input.topic.as_ref()).copied().unwrap_or(0);
            if input.offset < known {
                let what =
                    format!("accounts for offset {} of `{}` again", input.offset, input.topic);
                self.find(offset, seq, what);
            }
            if record.next_in.get(&input.topic).copied() != Some(input.offset + 1) {
                self.find(
                    offset,
                    seq,
                    "its next input offset is not the one after its own".to_owned(),
                );
            }
        }
    }

    /// What a record of its kind must have, and one first ruling for each alert (INV-1, INV-2).
    fn content(&mut self, offset: i64, record: &Record<'_>) {
        let seq = Some(record.seq);
        match record.kind {
            Kind::Ruling => {
                let whole = record.ruling.is_some()
                    && record.policy.is_some()
                    && record.input.is_some()
                    && record.alert_id.is_some();
                if !whole {
                    self.find(
                        offset,
                        seq,
                        "a ruling without its ruling, policy, input or alert id".to_owned(),
                    );
                }
                if let Some(id) = &record.alert_id
                    && !self.alert_ids.insert(id.clone())
                {
                    self.find(offset, seq, format!("a second first ruling of alert {id}"));
                }
                if let (Some(origin), Some(id)) = (&record.origin, &record.alert_id)
                    && origin.alert_id() != *id
                {
                    self.find(offset, seq, "its alert id is not that of its origin".to_owned());
                }
            }
            Kind::Revision => self.revision(offset, record),
            Kind::Order => self.order(offset, record),
            Kind::Genesis if record.seq != 0 => {
                self.find(offset, seq, "a second genesis".to_owned());
            }
            Kind::Duplicate
                if !record.alert_id.as_ref().is_some_and(|id| self.alert_ids.contains(id)) =>
            {
                let what = "calls an alert a duplicate that has no ruling here".to_owned();
                self.find(offset, seq, what);
            }
            _ => {}
        }
    }

    /// One message, accepted once and signed by who orders it, or refused and without effect.
    fn order(&mut self, offset: i64, record: &Record<'_>) {
        let seq = Some(record.seq);
        let Some(order) = record.order.as_ref().filter(|_| record.input.is_some()) else {
            return self.find(offset, seq, "an order without its content or input".to_owned());
        };
        if order.refused.is_some() {
            if record.told.is_some() || order.role.is_some() {
                self.find(offset, seq, "a refused order has an effect".to_owned());
            }
            return;
        }
        let Some(statement) = order.statement.as_deref().and_then(|t| Statement::read(t).ok())
        else {
            return self.find(offset, seq, "an accepted order without its statement".to_owned());
        };
        let is_signed = match &statement.via {
            None => order.signers.iter().any(|signer| signer.person == statement.by),
            // Who may vouch is the boundary's to say.
            Some(_) => !order.signers.is_empty(),
        };
        if !is_signed {
            let what = format!("accepted, and {} has not signed it", statement.by);
            self.find(offset, seq, what);
        }
        let approvers = statement.except.iter().flat_map(|except| &except.approvers);
        for approver in approvers {
            let has_signed = order.signers.iter().any(|signer| signer.person == *approver);
            if !has_signed || *approver == statement.by {
                let what = format!("accepted, and {approver} has not approved it");
                self.find(offset, seq, what);
            }
        }
        if let Some(open) = order.verified.iter().find(|each| each.verdict != Verdict::True) {
            let what = format!("accepted, and requirement `{}` was not met", open.requirement);
            self.find(offset, seq, what);
        }
        let told = record.told.as_ref().map(|told| &told.case_id);
        let subject = statement.subject.as_ref().filter(|_| statement.order != Verb::Release);
        let changes = subject.map(|subject| &subject.case_id);
        if told != changes {
            self.find(offset, seq, "what is told is not of the case that it orders".to_owned());
        }
        let at = record.input.as_ref().and_then(|input| input.received_at).unwrap_or(record.at);
        if at >= statement.expires_at {
            self.find(offset, seq, "accepted after its end".to_owned());
        }
        let home = super::home_of(&record.chain);
        if statement.at.as_deref().is_some_and(|at| at != home) {
            self.find(offset, seq, "accepted, and it is for another deployment".to_owned());
        }
        if statement.order.concerns_everything() {
            self.is_stopped = statement.order == Verb::Stop;
            let before =
                self.stopped_by.take_if(|by| statement.ends.as_ref().is_some_and(|it| it != by));
            if before.is_some() {
                self.find(offset, seq, "accepted, and it ends another stop".to_owned());
            }
            self.stopped_by = Some(statement.id.clone()).filter(|_| self.is_stopped);
        }
        let first = self.orders.insert(statement.id.clone(), statement.expires_at);
        if first.is_some_and(|expires_at| at < expires_at) {
            self.find(offset, seq, format!("order {} is accepted a second time", statement.id));
        }
    }

    /// Nothing is ruled as if what people stopped went on.
    fn stop(&mut self, offset: i64, record: &Record<'_>) {
        self.is_stopped |= record.gap.is_some_and(|gap| gap.of == Lost::Control);
        let Some(counters) = record.counters.as_ref().filter(|_| record.ruling.is_some()) else {
            return;
        };
        if self.is_stopped && counters.stopped.is_none() {
            let what = "ruled as if nothing was stopped".to_owned();
            self.find(offset, Some(record.seq), what);
        }
    }

    /// Generations rise, and every ruling names the policy that its chain is under (INV-7).
    fn policy(&mut self, offset: i64, record: &Record<'_>) {
        let Some(named) = &record.policy else { return };
        let active = self.policy.as_ref();
        if record.kind == Kind::Policy {
            let newer = active.map(|(_, known)| *known).filter(|known| *known >= named.generation);
            self.policy = Some((named.hash.to_string(), named.generation));
            if let Some(known) = newer {
                let found = named.generation;
                let what =
                    format!("a policy of generation {found} behind one of generation {known}");
                self.find(offset, Some(record.seq), what);
            }
        } else if let Some((hash, _)) = active.filter(|(hash, _)| *hash != named.hash) {
            let what = format!("ruled under policy {}, and the chain is under {hash}", named.hash);
            self.find(offset, Some(record.seq), what);
        }
    }

    /// One more of an alert that has its ruling, with one cause, and never a suppression of what
    /// people have (INV-1, INV-4).
    fn revision(&mut self, offset: i64, record: &Record<'_>) {
        let whole = record.ruling.is_some() && record.revised.is_some() && record.cause.is_some();
        let Some(id) = record.alert_id.as_ref().filter(|_| whole) else {
            let what = "a revision without its ruling, alert id or cause".to_owned();
            return self.find(offset, Some(record.seq), what);
        };
        if !self.alert_ids.contains(id) {
            let what = "revises an alert that has no ruling here".to_owned();
            self.find(offset, Some(record.seq), what);
        }
        let number = self.revisions.entry(id.clone()).or_default();
        *number += 1;
        if record.revision != Some(*number) {
            let what = format!("revision {number} of alert {id} should stand here");
            self.find(offset, Some(record.seq), what);
        }
        let is_suppressed =
            |decision: &crate::case::Decision<'_>| matches!(decision.fate, Ruling::Suppress(_));
        let has_people = record.revised.as_ref().is_some_and(|it| it.standing.is_some());
        if has_people && record.ruling.as_deref().is_some_and(is_suppressed) {
            self.find(offset, Some(record.seq), "a revision suppresses".to_owned());
        }
    }

    /// A snapshot must be what the fold of the records in front of it gives.
    fn fold(&mut self, offset: i64, record: &Record<'_>, hash: Hash) {
        if let Some(snapshot) = &record.snapshot {
            let text = snapshot.state.0.get();
            if Hash(Sha256::digest(text.as_bytes()).into()) != snapshot.digest {
                self.find(
                    offset,
                    Some(record.seq),
                    "the snapshot is not what its digest says".to_owned(),
                );
            }
            let part = snapshot.part as usize;
            if part == 0 {
                self.parts = match self.has_state {
                    true => self.state.snapshot(record.at),
                    false => Vec::new(),
                };
            }
            if self.has_state {
                let is_last = part + 1 == self.parts.len();
                if self.parts.get(part).is_none_or(|expected| expected != text)
                    || (snapshot.rest == 0) != is_last
                {
                    self.find(
                        offset,
                        Some(record.seq),
                        "the snapshot is not the state of its chain".to_owned(),
                    );
                }
            } else if part == self.parts.len() {
                self.parts.push(text.to_owned());
                let parts: Vec<&str> = self.parts.iter().map(String::as_str).collect();
                let whole = (snapshot.rest == 0).then(|| S::restore(&parts)).flatten();
                if let Some(state) = whole {
                    self.state = state;
                    self.has_state = true;
                }
            }
        }
        self.has_state |= record.kind == Kind::Genesis;
        self.state.apply(record, hash);
    }

    fn tally(&mut self, record: &Record<'_>) {
        match (&record.ruling, record.kind) {
            (Some(decision), Kind::Ruling) => {
                *self.report.rulings.entry(decision.fate.name()).or_default() += 1;
            }
            (_, kind) => {
                *self.report.other.entry(format!("{kind:?}").to_lowercase()).or_default() += 1;
            }
        }
    }
}
