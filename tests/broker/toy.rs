//! The smallest stage that has everything a tear can hurt: a chain and outputs that name its records.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tipstaff::ingest::{Doubt, LogReader};
use tipstaff::pipeline::{Batch, Hint, Outbox, Stage, Start};

use crate::checker::{GENESIS, Kind, Link, all, hash};

#[derive(Debug, Clone, PartialEq, Eq)]
struct Head {
    seq: u64,
    hash: String,
    next_in: i64,
}

impl Head {
    fn genesis() -> Head {
        Head { seq: 0, hash: GENESIS.to_owned(), next_in: 0 }
    }

    fn metadata(&self) -> String {
        format!("v1:{}:{}", self.seq, &self.hash[..self.hash.len().min(16)])
    }
}

/// What a recovery still has to write.
#[derive(Default)]
struct Owed {
    voids: Vec<i64>,
    is_torn: bool,
    outputs: Vec<String>,
}

pub struct Toy {
    pub input: String,
    pub chain: String,
    pub out: String,
    pub read_log: bool,
    /// How long one message takes, so that transactions stay open long enough to be torn.
    pub work: Duration,
    settled: BTreeMap<i32, Head>,
    heads: BTreeMap<i32, Head>,
    owed: BTreeMap<i32, Owed>,
}

impl Toy {
    pub fn new(lane: &str, read_log: bool, work: Duration) -> Toy {
        Toy {
            input: format!("{lane}.in"),
            chain: format!("{lane}.chain"),
            out: format!("{lane}.out"),
            read_log,
            work,
            settled: BTreeMap::new(),
            heads: BTreeMap::new(),
            owed: BTreeMap::new(),
        }
    }

    fn append(&mut self, partition: i32, mut link: Link, out: &mut Outbox<'_>) -> String {
        let head = self.heads.entry(partition).or_insert_with(Head::genesis);
        link.seq = head.seq + 1;
        link.prev = head.hash.clone();
        let value = serde_json::to_vec(&link).unwrap();
        out.send(&self.chain, partition, None, Some(&value));
        *head = Head { seq: link.seq, hash: hash(&value), next_in: link.next_in };
        head.hash.clone()
    }

    fn naive(&mut self, hint: &Hint, log: &LogReader) -> Result<i64, Doubt> {
        let head = match self.settled.get(&hint.partition) {
            Some(head) => head.clone(),
            None => {
                let stable = log.stable(&self.chain, hint.partition)?;
                let records = log.tail(&self.chain, hint.partition, 0..stable)?;
                records.last().map_or_else(Head::genesis, |last| {
                    let value = last.value.as_deref().unwrap();
                    let link: Link = serde_json::from_slice(value).unwrap();
                    Head { seq: link.seq, hash: hash(value), next_in: link.next_in }
                })
            }
        };
        self.heads.insert(hint.partition, head);
        Ok(hint.committed.unwrap_or(0))
    }

    fn restore(&mut self, hint: &Hint, log: &LogReader) -> Result<i64, Doubt> {
        let records: Vec<(i64, String, Link)> = all(log, &self.chain, hint.partition)?
            .into_iter()
            .map(|record| {
                let value = record.value.unwrap();
                (record.offset, hash(&value), serde_json::from_slice(&value).unwrap())
            })
            .collect();
        let branch = branch(&records, &hint.metadata);
        let kept: BTreeSet<i64> = branch.iter().map(|at| records[*at].0).collect();
        let voided: BTreeSet<i64> =
            branch.iter().flat_map(|at| records[*at].2.voids.iter().copied()).collect();
        let head = branch.last().map_or_else(Head::genesis, |at| {
            let (_, hash, link) = &records[*at];
            Head { seq: link.seq, hash: hash.clone(), next_in: link.next_in }
        });
        let committed = hint.committed.unwrap_or(0);
        let lost = branch.iter().map(|at| &records[*at]).filter(|(_, _, link)| {
            link.input.is_some_and(|input| committed <= input && input < head.next_in)
        });
        let owed = Owed {
            voids: records
                .iter()
                .map(|(offset, _, _)| *offset)
                .filter(|offset| !kept.contains(offset) && !voided.contains(offset))
                .collect(),
            is_torn: committed != head.next_in,
            outputs: lost.map(|(_, hash, _)| hash.clone()).collect(),
        };
        self.owed.insert(hint.partition, owed);
        let next = head.next_in;
        self.heads.insert(hint.partition, head);
        Ok(next)
    }

    fn pay(&mut self, out: &mut Outbox<'_>) {
        for (partition, owed) in std::mem::take(&mut self.owed) {
            let next_in = self.heads[&partition].next_in;
            let link = |kind, voids| Link {
                kind,
                seq: 0,
                prev: String::new(),
                input: None,
                next_in,
                payload: String::new(),
                voids,
            };
            if owed.voids.is_empty() && !owed.is_torn {
                continue;
            }
            if !owed.voids.is_empty() {
                self.append(partition, link(Kind::Void, owed.voids), out);
            }
            if owed.is_torn {
                self.append(partition, link(Kind::Recovery, Vec::new()), out);
            }
            for output in owed.outputs {
                out.send(&self.out, partition, None, Some(output.as_bytes()));
            }
            self.say_next(partition, out);
        }
    }

    fn say_next(&self, partition: i32, out: &mut Outbox<'_>) {
        let head = &self.heads[&partition];
        out.next(&self.input, partition, head.next_in, &head.metadata());
    }
}

/// The records of the branch to keep, oldest first: the longest of those that hold the committed
/// record, else the longest.
fn branch(records: &[(i64, String, Link)], metadata: &str) -> Vec<usize> {
    struct Node {
        parent: Option<usize>,
        rank: (bool, u64),
    }
    let voided: BTreeSet<i64> =
        records.iter().flat_map(|(_, _, link)| link.voids.iter().copied()).collect();
    let mut nodes: BTreeMap<usize, Node> = BTreeMap::new();
    let mut by_hash: BTreeMap<&str, usize> = BTreeMap::new();
    let mut best: Option<usize> = None;
    for (at, (offset, hash, link)) in records.iter().enumerate() {
        let parent = by_hash.get(link.prev.as_str()).copied();
        let is_first = link.prev == GENESIS;
        if voided.contains(offset) || (parent.is_none() && !is_first) {
            continue;
        }
        let is_committed = metadata == format!("v1:{}:{}", link.seq, &hash[..16]);
        let holds = is_committed || parent.is_some_and(|parent| nodes[&parent].rank.0);
        nodes.insert(at, Node { parent, rank: (holds, link.seq) });
        if best.is_none_or(|best| nodes[&at].rank > nodes[&best].rank) {
            best = Some(at);
        }
        by_hash.entry(hash).or_insert(at);
    }
    let mut path = Vec::new();
    while let Some(at) = best {
        path.push(at);
        best = nodes[&at].parent;
    }
    path.reverse();
    path
}

impl Stage for Toy {
    fn depends_on(&self, _: &str, partition: i32) -> Vec<(String, i32)> {
        vec![(self.chain.clone(), partition)]
    }

    fn recover(&mut self, assigned: &[Hint], log: &LogReader) -> Result<Vec<Start>, Doubt> {
        self.owed.clear();
        self.heads.clear();
        assigned
            .iter()
            .map(|hint| {
                let offset = match self.read_log {
                    true => self.restore(hint, log)?,
                    false => self.naive(hint, log)?,
                };
                let topic = hint.topic.clone();
                Ok(Start::At { topic, partition: hint.partition, offset })
            })
            .collect()
    }

    fn process(&mut self, batch: &Batch<'_>, _: &LogReader, out: &mut Outbox<'_>) -> bool {
        self.pay(out);
        for message in batch.messages {
            std::thread::sleep(self.work);
            let link = Link {
                kind: Kind::Ruling,
                seq: 0,
                prev: String::new(),
                input: Some(message.offset),
                next_in: message.offset + 1,
                payload: hash(message.value.unwrap_or_default()),
                voids: Vec::new(),
            };
            let own = self.append(message.partition, link, out);
            out.send(&self.out, message.partition, None, Some(own.as_bytes()));
            self.say_next(message.partition, out);
        }
        out.sent() > 0
    }

    fn committed(&mut self) {
        self.settled = self.heads.clone();
    }
}
