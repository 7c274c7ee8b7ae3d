use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap, HashSet};

use super::{Folded, Hash, Head, Input, Kind, Metadata, Record, SnapshotRef, record_hash};

/// A record as it was read back from its topic.
#[derive(Debug, Clone, Copy)]
pub struct Link<'t> {
    pub offset: i64,
    pub bytes: &'t [u8],
}

/// What the group has committed for the input partitions of one number: a hint, never the
/// authority.
#[derive(Debug, Clone, Default)]
pub struct Committed {
    /// By topic. One transaction moves all of them.
    pub offsets: BTreeMap<String, i64>,
    pub metadata: Option<Metadata>,
}

#[derive(Debug)]
pub enum Resume<S> {
    Picked(Box<Picked<S>>),
    /// The tail does not reach far enough back to decide: read more and ask again.
    Longer,
    /// Nothing safe can be done; a person has to look.
    Refuse(String),
}

/// Where to go on.
#[derive(Debug)]
pub struct Picked<S> {
    pub head: Head,
    pub state: S,
    /// The number of the newest record that is known to be committed with its outputs.
    pub settled: u64,
    /// Places in the tail of records whose outputs may be lost; their outputs are written again.
    pub emit_again: Vec<usize>,
    /// Offsets that a torn transaction left and that no void record names yet.
    pub void: Vec<i64>,
    pub found: Vec<Found>,
}

/// What disagreed with the committed offsets; see [`super::Recovery`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub what: &'static str,
    /// Whose offset it was; nothing where all of them agree.
    pub topic: Option<String>,
}

/// A record's place. What else it says is read again when its turn comes: all records of a tail at
/// once would take several times its bytes.
struct Parsed<'t> {
    bytes: &'t [u8],
    hash: Hash,
    chain: Cow<'t, str>,
    seq: u64,
    prev: Hash,
    kind: Kind,
    input: Option<Input<'t>>,
    has_outputs: bool,
    void: Vec<i64>,
    snapshot: Option<SnapshotRef<'t>>,
}

impl<'t> Parsed<'t> {
    fn of(link: &Link<'t>) -> Option<Self> {
        let Record { chain, seq, prev, kind, input, told, void, snapshot, .. } =
            Record::parse(link.bytes)?;
        let has_outputs = input.is_some() || kind == Kind::Revision || told.is_some();
        let (bytes, hash) = (link.bytes, record_hash(link.bytes));
        Some(Self { bytes, hash, chain, seq, prev, kind, input, has_outputs, void, snapshot })
    }

    fn record(&self) -> Option<Record<'t>> {
        Record::parse(self.bytes)
    }

    fn is_head(&self, metadata: &Metadata) -> bool {
        self.seq == metadata.seq && self.hash.short() == metadata.hash16
    }
}

/// Decides from the log alone where a chain goes on.
///
/// `tail` is every readable record from some offset up to the high watermark, in order; `complete`
/// says that nothing is in front of it. The chain accounts for every topic that its `next_in`
/// names.
pub fn resume<S: Folded>(
    chain: &str,
    tail: &[Link<'_>],
    complete: bool,
    committed: &Committed,
) -> Resume<S> {
    let parsed: Vec<Option<Parsed<'_>>> = tail.iter().map(Parsed::of).collect();
    if let Some(why) = foreign(chain, tail, &parsed) {
        return Resume::Refuse(why);
    }
    let voided: HashSet<i64> =
        parsed.iter().flatten().flat_map(|p| p.void.iter().copied()).collect();
    let is_alive = |at: usize| tail.get(at).is_some_and(|link| !voided.contains(&link.offset));
    let branches = Branches::of(&parsed, &is_alive);
    let Some((leaf, found)) = branches.choose(&parsed, committed.metadata.as_ref()) else {
        return match (complete, committed.offsets.iter().find(|(_, offset)| **offset > 0)) {
            (false, _) => Resume::Longer,
            (true, Some((topic, offset))) => Resume::Refuse(format!(
                "offset {offset} of `{topic}` is committed, but the chain has no genesis: its records are gone"
            )),
            (true, None) => Resume::Refuse("the chain has no genesis record".to_owned()),
        };
    };
    let ancestors = branches.ancestors(leaf);
    let oldest = ancestors.last().and_then(|at| parsed.get(*at)?.as_ref()).map(|p| p.seq);
    // A head that is there hangs on a branch that begins further back.
    let is_missing = committed.metadata.as_ref().is_some_and(|metadata| {
        let is_there = parsed.iter().flatten().any(|each| each.is_head(metadata));
        !is_there && oldest.is_some_and(|oldest| oldest < metadata.seq)
    });
    if found.is_some() && !complete && !is_missing {
        return Resume::Longer;
    }
    let Some(state) = fold::<S>(&parsed, &ancestors, &branches) else {
        return Resume::Refuse("a snapshot on the chain can't be read by this version".to_owned());
    };
    let record = |at: usize| {
        let parsed = parsed.get(at)?.as_ref()?;
        Some((parsed.record()?, parsed.hash))
    };
    let Some((last, hash)) = record(leaf) else {
        return Resume::Refuse("the chain has no head".to_owned());
    };
    let next_in = last.next_in.iter().map(|(t, n)| (t.to_string(), *n)).collect();
    let head = Head { seq: last.seq, hash, at: last.at, next_in };
    let settled = settled(committed.metadata.as_ref(), found, &head);
    let emit_again = emit_again(&parsed, &ancestors, committed, (&head, settled));
    let first = ancestors.last().and_then(|first| record(*first));
    let covers = first.is_some_and(|(first, _)| covers(&first, committed, (&head, settled)));
    if !covers && !complete {
        return Resume::Longer;
    }
    let found = disagreements(committed, &head, (found, !emit_again.is_empty()));
    let live: HashSet<usize> = ancestors.iter().copied().collect();
    let void = (0..tail.len())
        .filter(|at| is_alive(*at) && !live.contains(at))
        .filter_map(|at| tail.get(at).map(|link| link.offset))
        .collect();
    Resume::Picked(Box::new(Picked { head, state, settled, emit_again, void, found }))
}

/// The first record that belongs to another chain.
fn foreign(chain: &str, tail: &[Link<'_>], parsed: &[Option<Parsed<'_>>]) -> Option<String> {
    tail.iter().zip(parsed).find_map(|(link, parsed)| {
        let other = &parsed.as_ref()?.chain;
        (other != chain)
            .then(|| format!("offset {} holds a record of chain `{other}`", link.offset))
    })
}

impl Committed {
    /// Each topic's offset that is behind or ahead of the chain.
    fn differing<'c>(&'c self, head: &Head) -> impl Iterator<Item = (&'c str, Ordering)> {
        self.offsets.iter().filter_map(|(topic, offset)| {
            let next = head.next_in.get(topic).copied().unwrap_or(0);
            Some((topic.as_str(), offset.cmp(&next))).filter(|(_, order)| order.is_ne())
        })
    }
}

fn disagreements(
    committed: &Committed,
    head: &Head,
    (found, emits_again): (Option<&'static str>, bool),
) -> Vec<Found> {
    let of_topics = committed.differing(head).map(|(topic, order)| Found {
        what: if order.is_lt() { "offset_behind" } else { "offset_ahead" },
        topic: Some(topic.to_owned()),
    });
    let of_topics: Vec<Found> = of_topics.collect();
    if !of_topics.is_empty() {
        return of_topics;
    }
    // Only what moves no offset.
    let what = if emits_again { Some("offset_behind") } else { found };
    what.map(|what| Found { what, topic: None }).into_iter().collect()
}

/// A head that an abort took was committed by a transaction whose outputs are gone with it, those
/// that it wrote again too: what is known is what was before it. Where nothing is known, the head
/// decides.
fn settled(metadata: Option<&Metadata>, found: Option<&'static str>, head: &Head) -> u64 {
    let Some(metadata) = metadata else { return head.seq };
    if found.is_some() { metadata.settled } else { metadata.seq }
}

/// Whether every record whose outputs may be lost stands behind `first`, or is it.
fn covers(first: &Record<'_>, committed: &Committed, (head, settled): (&Head, u64)) -> bool {
    let reaches = |topic: &str| {
        let own = first.input.as_ref().filter(|input| input.topic == topic);
        let next = first.next_in.get(topic).copied().unwrap_or(0);
        let start = own.map_or(next, |input| input.offset);
        committed.offsets.get(topic).is_some_and(|offset| start <= *offset)
    };
    let mut behind = committed.differing(head).filter(|(_, order)| order.is_lt());
    let reaches_all = first.seq <= settled + 1 && behind.all(|(topic, _)| reaches(topic));
    first.kind == Kind::Genesis || reaches_all
}

/// Records whose input offset the group has not committed, and those that have outputs and stand
/// after what is settled, oldest first.
fn emit_again(
    parsed: &[Option<Parsed<'_>>],
    ancestors: &[usize],
    committed: &Committed,
    (head, settled): (&Head, u64),
) -> Vec<usize> {
    let is_behind = |topic: &str, offset: i64| {
        let mut behind = committed.differing(head).filter(|(_, order)| order.is_lt());
        behind.any(|(name, _)| name == topic)
            && committed.offsets.get(topic).is_some_and(|committed| offset >= *committed)
    };
    let behind = |at: &usize| {
        let Some(Some(each)) = parsed.get(*at) else { return false };
        (each.has_outputs && each.seq > settled)
            || each.input.as_ref().is_some_and(|input| is_behind(&input.topic, input.offset))
    };
    ancestors.iter().rev().copied().filter(behind).collect()
}

/// The state after the newest of `ancestors` (newest first): from the nearest snapshot, or from
/// genesis.
fn fold<S: Folded>(
    parsed: &[Option<Parsed<'_>>],
    ancestors: &[usize],
    branches: &Branches,
) -> Option<S> {
    let link = |at: usize| parsed.get(at).and_then(Option::as_ref);
    let anchor = ancestors.iter().position(|at| branches.is_start.get(*at) == Some(&true))?;
    let (newer, from_anchor) = ancestors.split_at(anchor);
    let first = link(*from_anchor.first()?)?;
    let mut state = match &first.snapshot {
        Some(last) => {
            let parts = from_anchor.get(..=last.part as usize)?.iter().rev();
            let text = |at: &usize| Some(link(*at)?.snapshot.as_ref()?.state.0.get());
            S::restore(&parts.map(text).collect::<Option<Vec<_>>>()?)?
        }
        None => {
            let mut state = S::default();
            state.apply(&first.record()?, first.hash);
            state
        }
    };
    for at in newer.iter().rev() {
        let link = link(*at)?;
        state.apply(&link.record()?, link.hash);
    }
    Some(state)
}

/// The tree that records make by their `prev`: one branch in a healthy log, more after a tear.
struct Branches {
    parent: Vec<Option<usize>>,
    /// A fold can start from it: a genesis, or the last part of a snapshot whose parts are all
    /// there.
    is_start: Vec<bool>,
    /// Reaches back, inside the tail, to a record that a fold can start from.
    is_anchored: Vec<bool>,
    has_child: Vec<bool>,
}

impl Branches {
    fn of(parsed: &[Option<Parsed<'_>>], is_alive: &dyn Fn(usize) -> bool) -> Self {
        let mut by_hash: HashMap<Hash, usize> = HashMap::new();
        let mut parent = vec![None; parsed.len()];
        let mut is_start = vec![false; parsed.len()];
        let mut is_anchored = vec![false; parsed.len()];
        let mut has_child = vec![false; parsed.len()];
        for (at, link) in parsed.iter().enumerate() {
            let Some(link) = link.as_ref().filter(|_| is_alive(at)) else { continue };
            let above = by_hash.get(&link.prev).copied().filter(
                |above| matches!(parsed.get(*above), Some(Some(p)) if p.seq + 1 == link.seq),
            );
            set(&mut parent, at, above);
            let starts = link.kind == Kind::Genesis || ends_snapshot(parsed, &parent, at);
            let anchored = starts
                || above.is_some_and(|above| is_anchored.get(above).copied().unwrap_or(false));
            set(&mut is_start, at, starts);
            set(&mut is_anchored, at, anchored);
            if let Some(above) = above {
                set(&mut has_child, above, true);
            }
            by_hash.insert(link.hash, at);
        }
        Self { parent, is_start, is_anchored, has_child }
    }

    /// The newest record of the live branch: the branch of the committed head, else the longest; of
    /// two equally long ones the first in the log.
    fn choose(
        &self,
        parsed: &[Option<Parsed<'_>>],
        committed: Option<&Metadata>,
    ) -> Option<(usize, Option<&'static str>)> {
        let leaves = || {
            (0..parsed.len()).filter(|at| {
                self.is_anchored.get(*at) == Some(&true) && self.has_child.get(*at) == Some(&false)
            })
        };
        let seq = |at: usize| parsed.get(at).and_then(Option::as_ref).map_or(0, |p| p.seq);
        let longest = |leaves: &mut dyn Iterator<Item = usize>| {
            leaves.max_by_key(|at| (seq(*at), std::cmp::Reverse(*at)))
        };
        let Some(metadata) = committed else {
            return longest(&mut leaves()).map(|leaf| (leaf, None));
        };
        let is_committed = |at: usize| {
            parsed.get(at).and_then(Option::as_ref).is_some_and(|each| each.is_head(metadata))
        };
        let mut holding =
            leaves().filter(|leaf| self.ancestors(*leaf).into_iter().any(is_committed));
        match longest(&mut holding) {
            Some(leaf) => Some((leaf, None)),
            None => longest(&mut leaves()).map(|leaf| (leaf, Some("committed_head_missing"))),
        }
    }

    /// `leaf` and what is above it inside the tail, newest first.
    fn ancestors(&self, leaf: usize) -> Vec<usize> {
        std::iter::successors(Some(leaf), |at| self.parent.get(*at).copied().flatten()).collect()
    }
}

/// Whether this is the last part of a snapshot, and all parts in front of it are there.
fn ends_snapshot(parsed: &[Option<Parsed<'_>>], parent: &[Option<usize>], last: usize) -> bool {
    let of = |at: usize| parsed.get(at)?.as_ref()?.snapshot.as_ref();
    let Some(mut part) = of(last).filter(|snapshot| snapshot.rest == 0).map(|it| it.part) else {
        return false;
    };
    let mut at = last;
    while part > 0 {
        let above = parent.get(at).copied().flatten();
        let Some(above) = above.filter(|above| of(*above).is_some_and(|it| it.part + 1 == part))
        else {
            return false;
        };
        (at, part) = (above, part - 1);
    }
    true
}

fn set<T>(list: &mut [T], at: usize, value: T) {
    if let Some(slot) = list.get_mut(at) {
        *slot = value;
    }
}
