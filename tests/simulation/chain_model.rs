use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use tipstaff::audit::{
    Actor, Chain, Committed, Engine, Folded, Genesis, Hash, Head, Input, Kind, Link, Metadata,
    Order, Picked, PolicyRef, Raw, Record, Recovery, Report, Resume, SnapshotRef, Verifier,
    record_hash, resume,
};
use tipstaff::case::{
    Again, Counters, Decision, Millis, Origin, Priority, Reason, Refusal, Revised, Route, Ruling,
    Wait, Why,
};
use tipstaff::correlate::{State, Waiting};

pub const INPUT: &str = "tipstaff.alerts";
const ORDERS: &str = "tipstaff.orders";
const CHAIN: &str = "cluster/tipstaff.decisions/0/0";
/// Rulings between two snapshots: small, so that tears meet them.
const SNAPSHOT_EVERY: u64 = 7;

/// What becomes of a transaction.
#[derive(Debug, Clone)]
pub enum Outcome {
    Committed,
    /// A late commit published a prefix of the records and not the offset.
    TornCommit(usize),
    /// A late abort took the records; the offset stayed.
    TornAbort,
    Aborted,
    /// The records show up only after the next owner has written its own. Waiting for the last stable
    /// offset keeps this from happening; it is healed all the same where the tail shows it.
    Zombie,
    /// The records are there, and the group has forgotten its offsets.
    GroupExpired,
}

/// A log as read_committed shows it, the group's offset, and the worker's memory.
pub struct Model {
    pub log: BTreeMap<i64, Vec<u8>>,
    end: i64,
    committed: Committed,
    chain: Chain,
    state: State,
    settled: u64,
    pending: Vec<Record<'static>>,
    /// Records whose outputs are to be written again.
    again: Vec<Vec<u8>>,
    /// Records whose outputs are there.
    put_out: HashSet<Vec<u8>>,
    next_input: i64,
    inputs_max: i64,
    /// The same of the orders topic, of which the chain's genesis may know nothing.
    next_order: i64,
    orders_max: i64,
    zombie: Vec<(i64, Vec<u8>)>,
    window: usize,
}

pub fn record(kind: Kind) -> Record<'static> {
    let engine = Engine { version: "1".into(), build: "test".into() };
    Record::new(
        kind,
        Millis(0),
        engine,
        Actor { service: "tipstaff".into(), instance: "test".into() },
    )
}

pub fn ruling(offset: i64) -> Record<'static> {
    let origin = Origin {
        topic: "alerts.x".into(),
        incarnation: "i".into(),
        partition: 0,
        offset,
        index: 0,
        of: 1,
        sha256: "".into(),
    };
    let id = origin.alert_id();
    let fate = Ruling::Route(Route { queue: "q".into(), priority: Priority::Low, ack_by: None });
    let decision = Decision::new(fate, Reason::NoRule, "none", "none");
    let counters = Counters {
        group: Some(format!("g{}", offset % 3)),
        window_ms: 5,
        ..Counters::alone(id.clone(), Millis(0))
    };
    Record {
        alert_id: Some(id),
        input: Some(Input { topic: INPUT.into(), partition: 0, offset, received_at: None }),
        next_in: BTreeMap::from([(INPUT.into(), offset + 1)]),
        origin: Some(std::borrow::Cow::Owned(origin)),
        waits: (offset % 3 == 0)
            .then(|| Wait { enricher: "owner".into(), why: Why::Timeout })
            .into_iter()
            .collect(),
        counters: Some(Cow::Owned(counters)),
        policy: Some(PolicyRef { hash: "p".into(), generation: 1, signers: vec![] }),
        ruling: Some(std::borrow::Cow::Owned(decision)),
        ..record(Kind::Ruling)
    }
}

/// A refused one: what it does is for others to test, here it is only to be accounted for once.
fn order(offset: i64) -> Record<'static> {
    let order = Order {
        verified: Vec::new(),
        sha256: "".into(),
        statement: None,
        signers: vec![],
        role: None,
        refused: Some(Refusal::NotAStatement),
        detail: None,
    };
    Record {
        input: Some(Input { topic: ORDERS.into(), partition: 0, offset, received_at: None }),
        next_in: BTreeMap::from([(ORDERS.into(), offset + 1)]),
        order: Some(order),
        ..record(Kind::Order)
    }
}

/// Every other one goes on waiting.
fn revision(waiting: &Waiting) -> Record<'static> {
    let first = ruling(waiting.offset);
    let goes_on = waiting.offset % 2 == 0 && waiting.revisions < 2;
    Record {
        input: None,
        next_in: BTreeMap::new(),
        revision: Some(waiting.revisions + 1),
        cause: Some(waiting.cause.clone()),
        revised: Some(Revised {
            why: Again::LateFact,
            facts: vec!["owner".into()],
            standing: Some(waiting.standing.clone()),
        }),
        waits: if goes_on { first.waits.clone() } else { vec![] },
        kind: Kind::Revision,
        ..first
    }
}

impl Model {
    pub fn new(window: usize) -> Self {
        let mut model = Self {
            log: BTreeMap::new(),
            end: 0,
            committed: Committed::default(),
            chain: Chain::new(CHAIN, None),
            state: State::default(),
            settled: 0,
            pending: vec![],
            again: vec![],
            put_out: HashSet::new(),
            next_input: 0,
            inputs_max: 0,
            next_order: 0,
            orders_max: 0,
            zombie: vec![],
            window,
        };
        let genesis = Genesis {
            cluster: "cluster".into(),
            topics: BTreeMap::new(),
            partitions: 1,
            partition_function: "f".into(),
            fingerprint_key: "k".into(),
            start: "earliest".into(),
        };
        let mut first = Record {
            genesis: Some(genesis),
            next_in: BTreeMap::from([(INPUT.into(), 0)]),
            ..record(Kind::Genesis)
        };
        let mut line = Vec::new();
        let appended = model.chain.append(&mut first, &mut line).unwrap();
        model.state.apply(&first, appended.hash);
        model.put(line);
        model
    }

    pub fn inputs(&self) -> i64 {
        self.inputs_max
    }

    pub fn end(&self) -> i64 {
        self.end
    }

    fn put(&mut self, bytes: Vec<u8>) {
        self.log.insert(self.end, bytes);
        self.end += 1;
    }

    fn put_all(&mut self, lines: impl Iterator<Item = Vec<u8>>) {
        lines.for_each(|line| self.put(line));
    }

    fn now(&self, written: usize) -> Millis {
        let floor = self.chain.head().map_or(Millis(0), |head| head.at);
        floor.max(Millis(self.end + i64::try_from(written).unwrap()))
    }

    fn write(&mut self, mut record: Record<'static>, lines: &mut Vec<Vec<u8>>) {
        record.at = self.now(lines.len());
        let mut line = Vec::new();
        let appended = self.chain.append(&mut record, &mut line).unwrap();
        self.state.apply(&record, appended.hash);
        lines.push(line);
    }

    fn snapshot(&mut self, lines: &mut Vec<Vec<u8>>) {
        let parts = self.state.snapshot(self.now(lines.len()));
        for (part, rest) in (0..).zip((0..u32::try_from(parts.len()).unwrap()).rev()) {
            let text: &'static str = parts[usize::try_from(part).unwrap()].clone().leak();
            let digest = <sha2::Sha256 as sha2::Digest>::digest(text.as_bytes());
            let snapshot = SnapshotRef {
                digest: Hash(digest.into()),
                state: Raw(serde_json::from_str(text).unwrap()),
                part,
                rest,
            };
            self.write(Record { snapshot: Some(snapshot), ..record(Kind::Snapshot) }, lines);
        }
    }

    /// One transaction over the next `batch` inputs, and what becomes of it.
    pub fn step(&mut self, batch: usize, outcome: Outcome) {
        self.step_with(batch, 0, outcome);
    }

    /// The same, and the next `orders`.
    pub fn step_with(&mut self, batch: usize, orders: usize, outcome: Outcome) {
        let mut lines = Vec::new();
        let again = std::mem::take(&mut self.again);
        for record in std::mem::take(&mut self.pending) {
            self.write(record, &mut lines);
        }
        let oldest = self.state.waits().iter().next().cloned();
        if let Some(waiting) = oldest {
            self.write(revision(&waiting), &mut lines);
        }
        for _ in 0..batch {
            self.write(ruling(self.next_input), &mut lines);
            self.next_input += 1;
            if self.state.records_since_snapshot() >= SNAPSHOT_EVERY {
                self.snapshot(&mut lines);
            }
        }
        for _ in 0..orders {
            self.write(order(self.next_order), &mut lines);
            self.next_order += 1;
        }
        self.inputs_max = self.inputs_max.max(self.next_input);
        self.orders_max = self.orders_max.max(self.next_order);
        let head = self.chain.head().unwrap().clone();
        let metadata = Some(Metadata::of(&head, self.settled));
        let moved = Committed { offsets: head.next_in.clone(), metadata };
        // Where nothing is committed, nothing says what was lost: the head decides.
        let is_whole = matches!(outcome, Outcome::Committed | Outcome::GroupExpired);
        if is_whole || self.committed.metadata.is_none() {
            self.put_out.extend(again.into_iter().chain(lines.iter().cloned()));
        }
        match outcome {
            Outcome::Committed => {
                self.put_all(lines.into_iter());
                self.committed = moved;
                self.settled = head.seq;
                let zombie = std::mem::take(&mut self.zombie);
                if let Some((first, _)) = zombie.first() {
                    let back = self.end - first;
                    self.log.extend(zombie);
                    self.recover(back);
                }
                return;
            }
            Outcome::TornCommit(prefix) => {
                self.put_all(lines.into_iter().take(prefix));
                self.end += 1;
            }
            Outcome::TornAbort => {
                self.end += i64::try_from(lines.len()).unwrap();
                self.committed = moved;
            }
            Outcome::Aborted => self.end += i64::try_from(lines.len()).unwrap(),
            Outcome::Zombie => {
                for line in lines {
                    self.zombie.push((self.end, line));
                    self.end += 1;
                }
            }
            Outcome::GroupExpired => {
                self.put_all(lines.into_iter());
                self.committed = Committed::default();
            }
        }
        self.recover(i64::try_from(self.window).unwrap());
    }

    /// Rules what is left, lets late records show up, and their void record be written.
    pub fn settle(&mut self) {
        let left = usize::try_from(self.inputs_max - self.next_input).unwrap();
        let orders = usize::try_from(self.orders_max - self.next_order).unwrap();
        self.step_with(left.max(2), orders, Outcome::Committed);
        self.step(1, Outcome::Committed);
    }

    pub fn tail(&self, from: i64) -> Vec<Link<'_>> {
        self.log.range(from..).map(|(offset, bytes)| Link { offset: *offset, bytes }).collect()
    }

    fn recover(&mut self, mut back: i64) {
        let picked = loop {
            let from = (self.end - back).max(0);
            match resume::<State>(CHAIN, &self.tail(from), from == 0, &self.committed) {
                Resume::Picked(picked) => break picked,
                Resume::Longer => back *= 4,
                Resume::Refuse(why) => panic!("refused: {why}"),
            }
        };
        self.emitted_again(&picked);
        let tail = self.tail((self.end - back).max(0));
        let again = picked.emit_again.iter().map(|at| tail[*at].bytes.to_vec()).collect();
        self.again = again;
        self.settled = picked.settled;
        self.next_input = picked.head.next_in[INPUT];
        self.next_order = picked.head.next_in.get(ORDERS).copied().unwrap_or(0);
        if !picked.void.is_empty() {
            self.pending.push(Record { void: picked.void, ..record(Kind::Void) });
        }
        for found in picked.found {
            let topic = found.topic.as_deref().unwrap_or(INPUT);
            let recovery = Recovery {
                found: found.what.into(),
                topic: found.topic.clone().map(Into::into),
                committed: self.committed.offsets.get(topic).copied(),
                next_in: picked.head.next_in.get(topic).copied().unwrap_or(0),
                emitted_again: picked.emit_again.len() as u64,
            };
            self.pending.push(Record { recovery: Some(recovery), ..record(Kind::Recovery) });
        }
        self.chain = Chain::new(CHAIN, Some(Head { ..picked.head }));
        self.state = picked.state;
    }

    /// Offsets of the records on the chain.
    pub fn live(&self) -> Vec<i64> {
        let voided: Vec<i64> =
            self.log.values().filter_map(|b| Record::parse(b)).flat_map(|r| r.void).collect();
        self.log.keys().copied().filter(|offset| !voided.contains(offset)).collect()
    }

    /// Offsets of the records on the chain that have outputs which are nowhere.
    pub fn missing(&self) -> Vec<i64> {
        let is_missing = |offset: &i64| {
            let kind = Record::parse(&self.log[offset]).unwrap().kind;
            let has_outputs = matches!(kind, Kind::Ruling | Kind::Revision | Kind::Order);
            has_outputs && !self.put_out.contains(&self.log[offset])
        };
        self.live().into_iter().filter(is_missing).collect()
    }

    pub fn orders(&self) -> i64 {
        self.orders_max
    }

    /// Input offsets of the records of this kind, in the order of the chain.
    fn accounted(&self, kind: Kind) -> Vec<i64> {
        let inputs = |offset: &i64| {
            let record = Record::parse(&self.log[offset]).unwrap();
            (record.kind == kind).then(|| record.input.unwrap().offset)
        };
        self.live().iter().filter_map(inputs).collect()
    }

    pub fn ruled(&self) -> Vec<i64> {
        self.accounted(Kind::Ruling)
    }

    pub fn ordered(&self) -> Vec<i64> {
        self.accounted(Kind::Order)
    }

    /// What is written again is what is on the chain and was not committed, of every topic.
    fn emitted_again(&self, picked: &Picked<State>) {
        let Some(head) = &self.committed.metadata else { return };
        // An aborted transaction may have been committed as the head: its number says nothing then.
        let is_head = |bytes: &Vec<u8>| {
            let record = Record::parse(bytes).unwrap();
            record.seq == head.seq && record_hash(bytes).short() == head.hash16
        };
        let is_on_chain = self.log.values().any(is_head);
        if picked.found.iter().any(|found| found.what != "offset_behind") {
            return;
        }
        let missing = self.log.values().filter_map(|bytes| {
            let record = Record::parse(bytes)?;
            let has_outputs = matches!(record.kind, Kind::Ruling | Kind::Revision | Kind::Order);
            let is_behind = !is_on_chain || record.seq > head.seq;
            (has_outputs && is_behind && record.seq <= picked.head.seq).then_some(())
        });
        assert!(picked.emit_again.len() <= missing.count(), "more than was not committed");
    }

    pub fn verify(&self) -> Report {
        verify(&self.log)
    }
}

/// A chain of rulings and policy records: each is a policy's hash and, for its record, a generation.
pub fn policies(steps: &[(&'static str, Option<i64>)]) -> Report {
    let mut chain = Chain::new(CHAIN, None);
    let (mut log, mut line) = (BTreeMap::new(), Vec::new());
    let mut write = |at: i64, mut made: Record<'static>| {
        chain.append(&mut made, &mut line).unwrap();
        log.insert(at, line.clone());
    };
    write(0, Record { next_in: BTreeMap::from([(INPUT.into(), 0)]), ..record(Kind::Genesis) });
    let mut alerts = 0;
    for (at, (hash, generation)) in (1..).zip(steps) {
        let policy =
            |generation| Some(PolicyRef { hash: (*hash).into(), generation, signers: vec![] });
        let made = match generation {
            Some(generation) => Record { policy: policy(*generation), ..record(Kind::Policy) },
            None => {
                alerts += 1;
                Record { policy: policy(1), ..ruling(alerts - 1) }
            }
        };
        write(at, made);
    }
    verify(&log)
}

pub fn verify(log: &BTreeMap<i64, Vec<u8>>) -> Report {
    let mut verifier = Verifier::<State>::default();
    log.values().for_each(|bytes| verifier.scan(bytes));
    log.iter().for_each(|(offset, bytes)| verifier.check(*offset, bytes));
    verifier.finish()
}
