use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::case::{
    Alert, Because, Counters, Decision, Id, Millis, Origin, Refusal, Revised, Sighting, Told,
    Verdict, Wait, is_zero, put_hex,
};

pub const VERSION: u32 = 1;

/// SHA-256(0x00 ‖ value) of a record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// `prev` of a genesis record.
    pub const NONE: Self = Self([0; 32]);

    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0_u8; 32];
        if text.len() != 64 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    fn digits(&self) -> [u8; 64] {
        let mut text = [0; 64];
        put_hex(&self.0, &mut text);
        text
    }

    /// The first 16 digits, enough to tell branches apart.
    pub fn short(&self) -> String {
        self.to_string().chars().take(16).collect()
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.digits()).unwrap_or_default())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(std::str::from_utf8(&self.digits()).unwrap_or_default())
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("not a hash"))
    }
}

pub fn record_hash(value: &[u8]) -> Hash {
    let mut hash = Sha256::new();
    hash.update([0_u8]);
    hash.update(value);
    Hash(hash.finalize().into())
}

/// `<cluster id>/<topic>/<partition>/<epoch>`; the epoch rises when the partition count changes.
pub fn chain_name(cluster: &str, topic: &str, partition: i32) -> String {
    format!("{cluster}/{topic}/{partition}/0")
}

/// `<cluster id>/<topic>` of a chain: what all chains of one deployment have in common.
pub fn home_of(chain: &str) -> &str {
    chain.rsplitn(3, '/').nth(2).unwrap_or_default()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Genesis,
    Ruling,
    Revision,
    Duplicate,
    Gap,
    Recovery,
    Void,
    Timer,
    Order,
    Policy,
    Snapshot,
    Seal,
    Key,
    Heartbeat,
    Close,
}

/// One line of JSON on the decisions topic. Fields stand in this order; what a kind does not have
/// is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record<'a> {
    pub v: u32,
    #[serde(borrow)]
    pub chain: Cow<'a, str>,
    pub seq: u64,
    pub prev: Hash,
    pub kind: Kind,
    /// Never before the record in front of it.
    pub at: Millis,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub alert_id: Option<Id>,
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub correlation_id: Option<Cow<'a, str>>,
    /// From 1, for revisions of a first ruling.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub revision: Option<u32>,
    /// The first ruling, for its revisions.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cause: Option<Cause>,
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub revised: Option<Revised<'a>>,
    /// The record of the input topic that this one is about.
    #[serde(rename = "in", borrow, skip_serializing_if = "Option::is_none", default)]
    pub input: Option<Input<'a>>,
    /// Per input topic the offset to read next once this record is written (INV-2).
    #[serde(borrow)]
    pub next_in: BTreeMap<Cow<'a, str>, i64>,
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub origin: Option<Cow<'a, Origin<'a>>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub pipeline: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub alert: Option<Cow<'a, Alert<'a>>>,
    #[serde(borrow, skip_serializing_if = "Vec::is_empty", default)]
    pub facts: Vec<Raw<'a>>,
    /// Enrichers whose answers may still change the ruling: it is made again when they come.
    #[serde(borrow, skip_serializing_if = "Vec::is_empty", default)]
    pub waits: Vec<Wait<'a>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub counters: Option<Cow<'a, Counters>>,
    /// What the alert adds to windows.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub windows: Vec<Sighting>,
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub policy: Option<PolicyRef<'a>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub ruling: Option<Cow<'a, Decision<'a>>>,
    /// Nothing where people have this already: a repeat is only counted.
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub told: Option<Told<'a>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub genesis: Option<Genesis<'a>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub recovery: Option<Recovery<'a>>,
    /// Offsets on this topic and partition that a torn transaction left and that count for nothing.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub void: Vec<i64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub gap: Option<Gap>,
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub snapshot: Option<SnapshotRef<'a>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub timer: Option<Timer<'a>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub order: Option<Order<'a>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub seal: Option<Seal<'a>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub key: Option<Key<'a>>,
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub close: Option<Close<'a>>,
    #[serde(borrow)]
    pub engine: Engine<'a>,
    #[serde(borrow)]
    pub actor: Actor<'a>,
}

/// JSON that is copied as it stands.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Raw<'a>(#[serde(borrow)] pub &'a RawValue);

impl PartialEq for Raw<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}
impl Eq for Raw<'_> {}

/// The record that a revision or a timer follows from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    pub seq: u64,
    pub hash: Hash,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input<'a> {
    #[serde(borrow)]
    pub topic: Cow<'a, str>,
    pub partition: i32,
    pub offset: i64,
    /// Of the control topic, the broker's time: every chain judges what is there by it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub received_at: Option<Millis>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRef<'a> {
    #[serde(borrow)]
    pub hash: Cow<'a, str>,
    pub generation: i64,
    /// In policy records: who signed it, one signature for each person.
    #[serde(borrow, skip_serializing_if = "Vec::is_empty", default)]
    pub signers: Vec<Signer<'a>>,
}

/// A person who signed the statement of a policy or of an order (`ssh-keygen -Y sign -n tipstaff`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signer<'a> {
    #[serde(borrow)]
    pub person: Cow<'a, str>,
    /// The key's SHA-256 as `ssh-keygen -l` shows it.
    #[serde(borrow)]
    pub key: Cow<'a, str>,
    #[serde(borrow)]
    pub signature: Cow<'a, str>,
}

/// What must be the same for as long as the chain lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Genesis<'a> {
    #[serde(borrow)]
    pub cluster: Cow<'a, str>,
    /// Topic ids by topic: a topic that was made again is not the same.
    #[serde(borrow)]
    pub topics: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    pub partitions: i32,
    #[serde(borrow)]
    pub partition_function: Cow<'a, str>,
    #[serde(borrow)]
    pub fingerprint_key: Cow<'a, str>,
    /// `earliest`, `latest` or a time: where intake starts on detector topics.
    #[serde(borrow)]
    pub start: Cow<'a, str>,
}

/// Written after a start whose committed offset and chain disagreed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery<'a> {
    /// `offset_behind`, `offset_ahead` or `committed_head_missing`.
    #[serde(borrow)]
    pub found: Cow<'a, str>,
    /// The input topic of these offsets; left out for alerts.
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub topic: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub committed: Option<i64>,
    pub next_in: i64,
    /// Records whose outputs were written again.
    pub emitted_again: u64,
}

/// Input that retention removed before it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gap {
    pub from: i64,
    pub to: i64,
    #[serde(skip_serializing_if = "Lost::is_alerts", default)]
    pub of: Lost,
}

/// What may have been in a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lost {
    #[default]
    Alerts,
    /// What people order about cases: no alert is lost.
    Orders,
    /// What people order about everything: it may be stopped.
    Control,
}

impl Lost {
    fn is_alerts(&self) -> bool {
        *self == Self::Alerts
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRef<'a> {
    /// SHA-256 of `state`'s text.
    pub digest: Hash,
    /// The state after the record in front of this one, or in front of the first part.
    #[serde(borrow)]
    pub state: Raw<'a>,
    /// From 0.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub part: u32,
    /// How many parts are still to come; only with the last one it is whole.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub rest: u32,
}

/// Something whose time came, or that cannot wait any longer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timer<'a> {
    pub due: Millis,
    /// `alert_gone` or `rule_failed`: an alert that waited cannot be ruled again. `ack_due`: nobody
    /// acknowledged a case in time. `suppression_over`: what was suppressed is told of.
    /// `exception_over`: what people accepted for a time has come to its end.
    #[serde(borrow)]
    pub what: Cow<'a, str>,
}

/// A message of the orders or the control topic, accepted or refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order<'a> {
    /// SHA-256 of the message, whatever it holds.
    #[serde(borrow)]
    pub sha256: Cow<'a, str>,
    /// The statement's bytes as they were signed; left out where nobody is proved to have signed
    /// them.
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub statement: Option<Cow<'a, str>>,
    /// Whose signatures over it are good, one of each person.
    #[serde(borrow, skip_serializing_if = "Vec::is_empty", default)]
    pub signers: Vec<Signer<'a>>,
    /// By which role of the boundary it was accepted.
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub role: Option<Cow<'a, str>>,
    /// Why it was refused; nothing when it was accepted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub refused: Option<Refusal>,
    /// The same in words of ours.
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub detail: Option<Cow<'a, str>>,
    /// What the case's playbooks ask for before people close it.
    #[serde(borrow, skip_serializing_if = "Vec::is_empty", default)]
    pub verified: Vec<Verified<'a>>,
}

/// One requirement of a closing, and whether it was met when the order came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verified<'a> {
    #[serde(borrow)]
    pub playbook: Cow<'a, str>,
    #[serde(borrow)]
    pub requirement: Cow<'a, str>,
    pub verdict: Verdict,
    /// `not_linked` or `own_credential`: why nothing was looked up for it.
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub why: Option<Cow<'a, str>>,
    #[serde(borrow, skip_serializing_if = "Vec::is_empty", default)]
    pub because: Vec<Because<'a>>,
    /// The facts that it saw, by their places in the record's `facts`.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub facts: Vec<usize>,
}

/// A signature over the records of one transaction. Laid out; nothing writes it yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal<'a> {
    pub from_seq: u64,
    pub to_seq: u64,
    #[serde(borrow)]
    pub key: Cow<'a, str>,
    #[serde(borrow)]
    pub signature: Cow<'a, str>,
}

/// A signing key that is valid from here on. Laid out; nothing writes it yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key<'a> {
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    #[serde(borrow)]
    pub public: Cow<'a, str>,
    /// Signatures of the key before it and of itself.
    #[serde(borrow)]
    pub signatures: Vec<Cow<'a, str>>,
}

/// The end of a chain that goes on under another name. Laid out; nothing writes it yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Close<'a> {
    #[serde(borrow)]
    pub why: Cow<'a, str>,
    #[serde(borrow)]
    pub next_chain: Cow<'a, str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Engine<'a> {
    #[serde(borrow)]
    pub version: Cow<'a, str>,
    #[serde(borrow)]
    pub build: Cow<'a, str>,
}

/// The identity that wrote the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor<'a> {
    #[serde(borrow)]
    pub service: Cow<'a, str>,
    #[serde(borrow)]
    pub instance: Cow<'a, str>,
}

impl<'a> Record<'a> {
    /// A record with what every kind has; the caller adds what its kind needs.
    pub fn new(kind: Kind, at: Millis, engine: Engine<'a>, actor: Actor<'a>) -> Self {
        Self {
            v: VERSION,
            chain: Cow::Borrowed(""),
            seq: 0,
            prev: Hash::NONE,
            kind,
            at,
            alert_id: None,
            correlation_id: None,
            revision: None,
            cause: None,
            revised: None,
            input: None,
            next_in: BTreeMap::new(),
            origin: None,
            pipeline: None,
            alert: None,
            facts: Vec::new(),
            waits: Vec::new(),
            counters: None,
            windows: Vec::new(),
            policy: None,
            ruling: None,
            told: None,
            genesis: None,
            recovery: None,
            void: Vec::new(),
            gap: None,
            snapshot: None,
            timer: None,
            order: None,
            seal: None,
            key: None,
            close: None,
            engine,
            actor,
        }
    }

    /// Errors: nothing when the bytes are no record of this version.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        serde_json::from_str(text).ok().filter(|record: &Self| record.v == VERSION)
    }
}
