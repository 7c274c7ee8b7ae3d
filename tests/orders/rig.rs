//! One lane in memory, a small policy, and people with keys.

use std::collections::BTreeMap;
use std::time::Instant;

use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{HashAlg, LineEnding, PrivateKey};
use tipstaff::audit::{
    Actor, Cause, Chain, Committed, Engine, Folded, Gap, Genesis, Hash, Input, Kind, Link, Lost,
    Record, Report, Resume, Verifier, resume,
};
use tipstaff::case::{
    Again, Alert, Arrival, Body, Excepting, Field, Id, Millis, Origin, STATEMENT, Standing,
    Statement, Subject, Value, Verb,
};
use tipstaff::config::{Checked, EnricherConfig, Files, load};
use tipstaff::correlate::{Before, State};
use tipstaff::enrich::Enrichers;
use tipstaff::normalize::partition_of;
use tipstaff::pipeline::{
    Active, AllowedSigners, Ask, Case, Identity, Lane, Outbox, Terms, Topics, answers, look_up,
    order_message,
};
use tipstaff::text::{Problems, Source};

pub const NOW: Millis = Millis(1_767_225_600_000);
pub const HOUR: i64 = 3_600_000;
const PARTITIONS: i32 = 4;
const CHAIN: &str = "test/t.decisions/0/0";
pub const HOME: &str = "test/t.decisions";

pub const BOUNDARY: &str = "boundary: base\nowner: o\ndefault_queue: {queue: triage, priority: low}\n\
    queues: {triage: people}\n\
    roles: {analyst: [sam, dana, kim], lead: [dana, lee]}\norders:\n  ack: [analyst, lead]\n  \
    assign: [analyst]\n  release: [lead]\n  reopen: [lead]\n  close: [lead]\n  stop: [analyst]\n  resume: [lead]\n  \
    except: {requester: [analyst], approver: [lead], max: 30d, emergency_max: 24h}\n";
const PLAYBOOK: &str = "playbook: p\ntitle: t\nowner: p\nmode: live\non: {kind: exposed_key}\n\
    group: {by: [nhi.id, credential.id], window: 30d}\nrules:\n  \
    - id: known\n    when:\n      - severity == \"informational\"\n    \
    on_unknown: next\n    \
    suppress: {reason: test_fixture, evidence: [severity], expires: 1d, on_expiry: recheck}\n  \
    - id: doubtful\n    when:\n      - severity == \"low\"\n    \
    hold: {queue: triage, priority: medium, for: 1d}\n  \
    - {id: rest, route: {queue: triage, priority: high, ack_within: 1h}}\n";

pub struct Rig {
    terms: Terms,
    people: AllowedSigners,
    pub lane: Lane,
    pub written: Vec<Vec<u8>>,
    pub outputs: Vec<(String, serde_json::Value)>,
    alerts: i64,
    orders: i64,
    pub now: Millis,
    files: Files,
    configs: Vec<EnricherConfig>,
    enrichers: Enrichers,
    arrivals: Vec<Arrival<'static>>,
    partition: i32,
}

fn key(name: &str) -> PrivateKey {
    let mut seed = [0; 32];
    seed.iter_mut().zip(name.bytes().cycle()).for_each(|(byte, of)| *byte = of);
    let pair = KeypairData::Ed25519(Ed25519Keypair::from_seed(&seed));
    PrivateKey::new(pair, name).unwrap()
}

pub fn signature(name: &str, text: &str) -> String {
    let signed = key(name).sign("tipstaff", HashAlg::Sha512, text.as_bytes()).unwrap();
    signed.to_pem(LineEnding::LF).unwrap()
}

fn people() -> AllowedSigners {
    let line = |name: &str, options: &str| {
        format!("{name} {options}{}\n", key(name).public_key().to_openssh().unwrap())
    };
    let text = ["sam", "dana", "lee", "hook"].map(|name| line(name, "")).concat()
        + &line("kim", "valid-before=\"20200101\" ");
    let mut problems = Problems::default();
    let people = AllowedSigners::read(&Source::new("people", text), &mut problems);
    assert!(problems.is_empty(), "{problems:?}");
    people
}

fn genesis(topics: &Topics, knows_orders: bool) -> Record<'static> {
    let engine = Engine { version: "1".into(), build: "test".into() };
    let actor = Actor { service: "tipstaff".into(), instance: "test".into() };
    let mut next_in = BTreeMap::from([(topics.alerts.clone().into(), 0)]);
    if knows_orders {
        next_in.insert(topics.orders.clone().into(), 0);
    }
    let genesis = Genesis {
        cluster: "test".into(),
        topics: BTreeMap::new(),
        partitions: PARTITIONS,
        partition_function: "f".into(),
        fingerprint_key: "k".into(),
        start: "earliest".into(),
    };
    Record {
        genesis: Some(genesis),
        next_in,
        ..Record::new(Kind::Genesis, Millis(0), engine, actor)
    }
}

/// What these layers are, or what is wrong with them.
pub fn policy(layers: &[&str]) -> Result<Checked, Vec<String>> {
    checked(&files(layers, PLAYBOOK))
}

pub fn checked(files: &Files) -> Result<Checked, Vec<String>> {
    load(files).map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

/// These layers and this playbook.
pub fn files(layers: &[&str], playbook: &str) -> Files {
    let mut files = Files::default();
    for (number, layer) in layers.iter().enumerate() {
        let name = if number == 0 { "boundary.yaml" } else { "boundary.more.yaml" };
        files.insert(&format!("playbooks/{name}"), Source::new(name, *layer), None);
    }
    files.insert("playbooks/p.yaml", Source::new("p.yaml", playbook), None);
    files
}

impl Rig {
    /// A lane of the partition that the NHI `nhi` is of.
    pub fn new(nhi: &str, knows_orders: bool) -> Self {
        Self::under(BOUNDARY, nhi, knows_orders)
    }

    pub fn under(boundary: &str, nhi: &str, knows_orders: bool) -> Self {
        Self::of(files(&[boundary], PLAYBOOK), nhi, knows_orders)
    }

    pub fn of(files: Files, nhi: &str, knows_orders: bool) -> Self {
        let checked = checked(&files).map_err(|problems| format!("{problems:#?}")).unwrap();
        let terms = Terms {
            active: Active::unsigned(&checked.policy, 1),
            topics: Topics::new("t", PARTITIONS),
            identity: Identity { instance: "test".to_owned() },
            findings: false,
        };
        let (mut chain, mut state) = (Chain::new(CHAIN, None), State::default());
        let (mut first, mut line) = (genesis(&terms.topics, knows_orders), Vec::new());
        let appended = chain.append(&mut first, &mut line).unwrap();
        state.apply(&first, appended.hash);
        let partition = partition_of(nhi, PARTITIONS);
        Self {
            terms,
            people: people(),
            lane: Lane::new(partition, chain, state),
            written: vec![line],
            outputs: Vec::new(),
            alerts: 0,
            orders: 0,
            now: NOW,
            enrichers: Enrichers::new(&checked.enrichers, &files, NOW).unwrap(),
            configs: checked.enrichers,
            arrivals: Vec::new(),
            files,
            partition,
        }
    }

    /// Rules one alert about `nhi`; returns its case.
    pub fn alert(&mut self, nhi: &str, severity: &str) -> Id {
        self.alert_of(nhi, severity, (Field::CredentialId, "key-1"))
    }

    pub fn alert_of(&mut self, nhi: &str, severity: &str, credential: (Field, &str)) -> Id {
        let mut alert = Alert::default();
        for (field, value) in [
            (Field::Kind, "exposed_key"),
            (Field::Detector, "test"),
            (Field::NhiId, nhi),
            credential,
            (Field::Severity, severity),
        ] {
            alert.set(field, Value::Text(value.to_owned().into()));
        }
        alert.set(Field::ReceivedAt, Value::Time(self.now));
        let origin = Origin {
            topic: "d".into(),
            incarnation: "i".into(),
            partition: 0,
            offset: self.alerts,
            index: 0,
            of: 1,
            sha256: "".into(),
        };
        let arrival = Arrival {
            alert_id: origin.alert_id(),
            correlation_id: "c".into(),
            origin,
            pipeline: "p".into(),
            body: Body::Alert(Box::new(alert)),
        };
        self.arrivals.push(arrival.clone());
        let case = self.looked_up(self.alerts, arrival);
        self.alerts += 1;
        self.write(|lane, terms, _, now, out| {
            lane.rule(terms, &case, now, out);
        });
        self.last().counters.unwrap().into_owned().case_id
    }

    fn looked_up(&self, offset: i64, arrival: Arrival<'static>) -> Case<'static> {
        let (received_at, arrival) = (self.now, Some(arrival));
        let mut cases = [Case { offset, received_at, bytes: b"{}", arrival, facts: Vec::new() }];
        look_up(&self.terms, &self.enrichers, &mut cases, Instant::now());
        let [case] = cases;
        case
    }

    /// Rules again what was suppressed until now; how many that was.
    pub fn recheck(&mut self) -> usize {
        let over: Vec<_> = self.lane.state().silences().over(self.now).cloned().collect();
        for silence in &over {
            let mut arrivals = self.arrivals.iter();
            let arrival = arrivals.find(|arrival| arrival.alert_id == silence.alert_id).unwrap();
            let case = self.looked_up(silence.offset, arrival.clone());
            self.write(|lane, terms, _, now, out| {
                let why = (Again::SuppressionOver, [].as_slice());
                lane.revise(terms, silence.before(), &case, why, (now, out)).unwrap();
            });
        }
        over.len()
    }

    /// Rules the last alert again, of which people have this.
    pub fn look_again(&mut self, standing: &Standing) {
        let arrival = self.arrivals.last().unwrap().clone();
        let case = self.looked_up(self.alerts - 1, arrival);
        let records = self.written.iter().rev().filter_map(|bytes| Record::parse(bytes));
        let counters = records.filter_map(|record| record.counters).next().unwrap().into_owned();
        let standing = Some(standing);
        let cause = Cause { seq: 1, hash: Hash::NONE };
        let before = Before { standing, counters: &counters, cause: &cause, revisions: 0 };
        self.write(|lane, terms, _, now, out| {
            let why = (Again::LateFact, [].as_slice());
            lane.revise(terms, before, &case, why, (now, out)).unwrap();
        });
    }

    /// The alert that waits is gone from its topic.
    pub fn lose(&mut self) {
        let waiting = self.lane.waits().iter().next().unwrap().clone();
        self.write(|lane, terms, _, now, out| {
            lane.give_up(terms, &waiting, "alert_gone", (now, out));
        });
    }

    /// What a message of the orders topic becomes: `accepted`, or why not.
    pub fn message(&mut self, message: &[u8]) -> String {
        let offset = self.orders;
        self.orders += 1;
        let (topic, partition) = (self.terms.topics.orders.clone().into(), self.partition);
        let verdict = self.judged(message, Input { topic, partition, offset, received_at: None });
        let mut records = self.written.iter().rev().filter_map(|bytes| Record::parse(bytes));
        let record = records.find(|record| record.kind == Kind::Order).unwrap();
        assert_eq!(record.input.unwrap().offset, offset);
        assert_eq!(record.next_in["t.orders"], offset + 1);
        assert_eq!(record.next_in["t.alerts"], self.alerts);
        verdict
    }

    /// The same of the control topic, where a statement of these people arrived then.
    pub fn control(
        &mut self,
        statement: &Statement,
        signers: &[&str],
        (offset, at): (i64, Millis),
    ) -> String {
        let (topic, received_at) = (self.terms.topics.control.clone().into(), Some(at));
        let input = Input { topic, partition: 0, offset, received_at };
        self.judged(&message(statement, signers), input)
    }

    /// What was on the control topic between these offsets is gone.
    pub fn miss(&mut self, from: i64, to: i64) {
        self.plant(&gap(self.now, (from, to), "t.control"));
    }

    /// Puts a record on the chain as somebody would who can write there.
    pub fn plant(&mut self, record: &Record<'_>) {
        self.write(|lane, terms, _, _, out| lane.write(terms, record.clone(), out));
    }

    fn judged(&mut self, message: &[u8], input: Input<'static>) -> String {
        let mut verdict = "";
        self.write_with(|(lane, terms, people), enrichers, (now, out)| {
            let look = |asks: &[Ask<'_>]| answers(enrichers, asks, (now, Instant::now()));
            verdict = lane.order(terms, (people, &look), (input, message), (now, out));
        });
        verdict.to_owned()
    }

    /// Time passes: deadlines, and what was accepted for a time, may be over.
    pub fn wait(&mut self, ms: i64) -> bool {
        self.now = self.now.plus(ms);
        let mut wrote = false;
        self.write(|lane, terms, _, now, out| {
            wrote = lane.end_exceptions(terms, (now, &mut *out));
            wrote |= lane.tell_overdue(terms, now, out);
        });
        wrote
    }

    /// The same of a statement that these people sign.
    pub fn order(&mut self, statement: &Statement, signers: &[&str]) -> String {
        self.message(&message(statement, signers))
    }

    /// What a file beside an enricher says from now on.
    pub fn put(&mut self, path: &str, text: &str) {
        self.files.insert(path, Source::new(path, text), None);
        for config in &self.configs {
            self.enrichers.renew(config, &self.files, self.now).unwrap();
        }
    }

    /// The same with these lines more.
    pub fn add(&mut self, path: &str, lines: &str) {
        let before = &self.files.get(path).unwrap().source.text;
        self.put(path, &format!("{}\n{lines}", before.trim_end()));
    }

    fn write(
        &mut self,
        write: impl FnOnce(&mut Lane, &Terms, &AllowedSigners, Millis, &mut Outbox<'_>),
    ) {
        self.write_with(|(lane, terms, people), _, (now, out)| {
            write(lane, terms, people, now, out)
        });
    }

    fn write_with(
        &mut self,
        write: impl FnOnce((&mut Lane, &Terms, &AllowedSigners), &Enrichers, (Millis, &mut Outbox<'_>)),
    ) {
        let mut sent = Vec::new();
        let mut out = Outbox::memory(&mut sent);
        let parts = (&mut self.lane, &self.terms, &self.people);
        write(parts, &self.enrichers, (self.now, &mut out));
        drop(out);
        for sent in sent {
            let value = sent.value.unwrap();
            if sent.topic == self.terms.topics.decisions {
                assert_eq!(sent.partition, self.partition);
                self.written.push(value);
            } else {
                self.outputs.push((sent.topic, serde_json::from_slice(&value).unwrap()));
            }
        }
    }

    pub fn last(&self) -> Record<'_> {
        Record::parse(self.written.last().unwrap()).unwrap()
    }

    pub fn detail(&self) -> String {
        self.last().order.unwrap().detail.unwrap_or_default().into_owned()
    }

    /// Whoever comes next, where nothing behind the first so many records was committed.
    pub fn restart(&mut self, committed: usize) {
        self.written.truncate(committed);
        let Resume::Picked(picked) =
            resume::<State>(CHAIN, &self.links(), true, &Committed::default())
        else {
            panic!("the chain is not picked up");
        };
        let next = |topic: &str| picked.head.next_in.get(topic).copied().unwrap_or(0);
        (self.alerts, self.orders) = (next("t.alerts"), next("t.orders"));
        let chain = Chain::new(CHAIN, Some(picked.head.clone()));
        self.lane = Lane::new(self.partition, chain, picked.state);
    }

    fn links(&self) -> Vec<Link<'_>> {
        (0..).zip(&self.written).map(|(offset, bytes)| Link { offset, bytes }).collect()
    }

    /// INV-7, INV-8: the chain verifies, and its fold is the state that wrote it.
    pub fn is_whole(&self) {
        match resume::<State>(CHAIN, &self.links(), true, &Committed::default()) {
            Resume::Picked(picked) => assert_eq!(picked.state, *self.lane.state()),
            other => panic!("{other:?}"),
        }
        let mut state = self.lane.state().clone();
        let text = state.snapshot(self.now);
        let parts: Vec<&str> = text.iter().map(String::as_str).collect();
        assert_eq!(State::restore(&parts).unwrap().snapshot(self.now), text);
        let report = self.verified();
        assert!(report.is_sound(), "{:?}", report.findings);
    }

    pub fn verified(&self) -> Report {
        let mut verifier = Verifier::<State>::default();
        self.written.iter().for_each(|bytes| verifier.scan(bytes));
        (0..).zip(&self.written).for_each(|(offset, bytes)| verifier.check(offset, bytes));
        verifier.finish()
    }
}

/// The control topic goes on at `to`, and so, it says, does this topic.
pub fn gap(at: Millis, (from, to): (i64, i64), topic: &'static str) -> Record<'static> {
    let engine = Engine { version: "1".into(), build: "test".into() };
    let actor = Actor { service: "tipstaff".into(), instance: "test".into() };
    Record {
        gap: Some(Gap { from, to, of: Lost::Control }),
        next_in: BTreeMap::from([(topic.into(), to)]),
        ..Record::new(Kind::Gap, at, engine, actor)
    }
}

/// A statement as these people sign it.
pub fn message(statement: &Statement, signers: &[&str]) -> Vec<u8> {
    let text = statement.to_string();
    let signatures: Vec<String> = signers.iter().map(|name| signature(name, &text)).collect();
    order_message(&text, &signatures)
}

/// What `by` would order now about everything.
pub fn for_all(order: Verb, by: &str) -> Statement {
    let why = Some("a drill".to_owned());
    let at = Some(HOME.to_owned());
    Statement { at, subject: None, why, ..statement("-", "-", order, by) }
}

/// What `by` would order now to end this stop.
pub fn resuming(stop: &Statement, by: &str) -> Statement {
    Statement { ends: Some(stop.id.clone()), ..for_all(Verb::Resume, by) }
}

/// What `by` would order now about a case of `nhi`.
pub fn statement(case: &str, nhi: &str, order: Verb, by: &str) -> Statement {
    static NUMBER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    Statement {
        statement: STATEMENT.to_owned(),
        v: 1,
        order,
        id: format!("{number:032x}"),
        at: None,
        subject: Some(Subject {
            case_id: case.to_owned(),
            nhi: nhi.to_owned(),
            credential: Some("key-1".to_owned()),
        }),
        issued_at: NOW,
        expires_at: NOW.plus(HOUR),
        by: by.to_owned(),
        via: None,
        to: (order == Verb::Assign).then(|| "kim".to_owned()),
        close: None,
        except: None,
        why: None,
        ends: None,
    }
}

pub fn excepting(approvers: &[&str], lasts_ms: i64, emergency: bool) -> Excepting {
    Excepting {
        rationale: "the vendor has no other way until spring".to_owned(),
        compensating_control: "allowed from one address alone".to_owned(),
        approvers: approvers.iter().map(|name| (*name).to_owned()).collect(),
        until: Some(NOW.plus(lasts_ms)),
        review_at: None,
        emergency,
    }
}
