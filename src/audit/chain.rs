use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Hash, Record, record_hash};
use crate::case::{Millis, write_json};

/// The last record of a chain: everything that the next one needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub seq: u64,
    pub hash: Hash,
    pub at: Millis,
    pub next_in: BTreeMap<String, i64>,
}

/// A chain being written: gives each record its place and its bytes.
#[derive(Debug, Clone)]
pub struct Chain {
    name: Arc<str>,
    head: Option<Head>,
}

/// A record in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    pub seq: u64,
    pub hash: Hash,
}

impl Chain {
    pub fn new(name: impl Into<Arc<str>>, head: Option<Head>) -> Self {
        Self { name: name.into(), head }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// Writes the record's bytes into `line` (cleared first) and moves the head.
    ///
    /// A topic that `next_in` leaves out is taken over from the head. Errors: when the record can't
    /// be written as JSON, which a record made of our own types never does.
    pub fn append(
        &mut self,
        record: &mut Record<'_>,
        line: &mut Vec<u8>,
    ) -> Result<Appended, serde_json::Error> {
        let (seq, prev, floor) =
            self.head.as_ref().map_or((0, Hash::NONE, record.at), |h| (h.seq + 1, h.hash, h.at));
        let name = Arc::clone(&self.name);
        record.chain = Cow::Owned(name.as_ref().to_owned());
        record.seq = seq;
        record.prev = prev;
        record.at = record.at.max(floor);
        for (topic, next) in self.head.iter().flat_map(|head| &head.next_in) {
            if !record.next_in.contains_key(topic.as_str()) {
                record.next_in.insert(Cow::Owned(topic.clone()), *next);
            }
        }
        line.clear();
        write_json(line, record)?;
        let hash = record_hash(line);
        match &mut self.head {
            Some(head) => {
                for (topic, next) in &record.next_in {
                    match head.next_in.get_mut(topic.as_ref()) {
                        Some(known) => *known = *next,
                        None => drop(head.next_in.insert(topic.to_string(), *next)),
                    }
                }
                (head.seq, head.hash, head.at) = (seq, hash, record.at);
            }
            None => {
                let next_in = record.next_in.iter().map(|(t, n)| (t.to_string(), *n)).collect();
                self.head = Some(Head { seq, hash, at: record.at, next_in });
            }
        }
        Ok(Appended { seq, hash })
    }
}

/// What is committed beside an offset: the head that the offset belongs to, and the number of the
/// one that was known to be committed when its transaction began. `v2:<seq>:<hash16>:<settled>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    pub seq: u64,
    pub hash16: String,
    pub settled: u64,
}

impl Metadata {
    pub fn of(head: &Head, settled: u64) -> Self {
        Self { seq: head.seq, hash16: head.hash.short(), settled }
    }

    pub fn parse(text: &str) -> Option<Self> {
        let (seq, rest) = text.strip_prefix("v2:")?.split_once(':')?;
        let (hash16, settled) = rest.split_once(':')?;
        let (seq, settled) = (seq.parse().ok()?, settled.parse().ok()?);
        Some(Self { seq, hash16: hash16.to_owned(), settled })
    }
}

impl std::fmt::Display for Metadata {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "v2:{}:{}:{}", self.seq, self.hash16, self.settled)
    }
}
