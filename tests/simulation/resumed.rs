//! Where a chain goes on, as its tail and what is committed say it: on the sound chain of `forged`, in
//! which records 4 and 5 are a snapshot, and 13 and 14.

use std::collections::BTreeMap;

use tipstaff::audit::{Committed, Found, Hash, Link, Metadata, Picked, Record, Resume, resume};
use tipstaff::correlate::State;

use super::chain_model::INPUT;
use super::forged::{CONTROL, forged};

fn chain() -> BTreeMap<i64, Vec<u8>> {
    forged(&|_| {})
}

/// Read from this offset on.
fn resumed(from: i64, committed: &Committed) -> Resume<State> {
    let log = chain();
    let tail: Vec<Link<'_>> =
        log.range(from..).map(|(offset, bytes)| Link { offset: *offset, bytes }).collect();
    resume("", &tail, from == 0, committed)
}

fn picked(from: i64, committed: &Committed) -> Option<Picked<State>> {
    match resumed(from, committed) {
        Resume::Picked(picked) => Some(*picked),
        Resume::Longer => None,
        Resume::Refuse(why) => panic!("{why}"),
    }
}

/// Numbers of the records whose outputs are written again, and what was found.
fn again(from: i64, committed: &Committed) -> Option<(Vec<i64>, Vec<Found>)> {
    let picked = picked(from, committed)?;
    let place = |at: usize| from + i64::try_from(at).unwrap();
    Some((picked.emit_again.into_iter().map(place).collect(), picked.found))
}

fn at(inputs: i64, controls: i64, metadata: Option<Metadata>) -> Committed {
    let offsets = [(INPUT, inputs), (CONTROL, controls)];
    let offsets = offsets.map(|(topic, offset)| (topic.to_owned(), offset));
    Committed { offsets: BTreeMap::from(offsets), metadata }
}

/// The head that record `seq` is.
fn head(seq: u64, settled: u64) -> Option<Metadata> {
    let hash16 = tipstaff::audit::record_hash(&chain()[&i64::try_from(seq).unwrap()]).short();
    Some(Metadata { seq, hash16, settled })
}

/// One that an abort took.
fn lost(seq: u64, settled: u64) -> Option<Metadata> {
    Some(Metadata { seq, hash16: Hash([7; 32]).short(), settled })
}

fn found(what: &'static str, topic: Option<&str>) -> Found {
    Found { what, topic: topic.map(str::to_owned) }
}

#[test]
fn a_whole_snapshot_is_enough_to_go_on_from() {
    let all = picked(0, &Committed::default()).unwrap();
    assert_eq!((all.head.seq, all.settled, &*all.void, &*all.found), (16, 16, &[][..], &[][..]));
    for (from, is_enough) in [(4, true), (5, true), (13, true), (14, false), (15, false)] {
        let picked = picked(from, &Committed::default());
        assert_eq!(picked.is_some(), is_enough, "from {from}");
        if let Some(picked) = picked {
            assert_eq!((picked.head, picked.state), (all.head.clone(), all.state.clone()));
        }
    }
}

#[test]
fn what_is_not_committed_is_written_again_and_said() {
    assert_eq!(again(13, &at(5, 3, head(16, 15))), Some((vec![], vec![])));
    let behind = |topic| found("offset_behind", Some(topic));
    assert_eq!(again(13, &at(5, 2, head(15, 14))), Some((vec![16], vec![behind(CONTROL)])));
    assert_eq!(again(0, &at(3, 3, None)), Some((vec![9, 15], vec![behind(INPUT)])));
    let ahead = found("offset_ahead", Some(INPUT));
    assert_eq!(again(13, &at(6, 3, head(16, 15))), Some((vec![], vec![ahead])));
}

/// The first record that is read may be the first one that is not committed.
#[test]
fn a_tail_reaches_back_to_what_is_not_committed() {
    for (from, inputs, is_enough) in [(3, 1, true), (3, 0, false), (4, 2, true), (4, 1, false)] {
        let picked = picked(from, &at(inputs, 3, None));
        assert_eq!(picked.is_some(), is_enough, "from {from}, {inputs} committed");
    }
}

/// What its transaction wrote is gone with it, and what was settled before says how far back.
#[test]
fn a_head_that_an_abort_took_is_seen_where_the_tail_reaches_behind_it() {
    let said = |what| vec![found(what, None)];
    assert_eq!(again(13, &at(5, 3, lost(17, 16))), Some((vec![], said("committed_head_missing"))));
    let late = Some((vec![15, 16], said("offset_behind")));
    assert_eq!(again(13, &at(5, 3, lost(14, 12))), late);
    assert_eq!(again(13, &at(5, 3, lost(13, 12))), None, "perhaps it is of another branch");
    assert_eq!(again(13, &at(5, 3, lost(12, 12))), None);
    assert_eq!(again(13, &at(5, 3, lost(14, 11))), None, "record 12 may have outputs");
    assert_eq!(again(0, &at(5, 3, lost(14, 12))), late);
}

#[test]
fn what_is_refused_says_what_is_gone() {
    let refused = |committed: &Committed| match resume::<State>("", &[], true, committed) {
        Resume::Refuse(why) => why,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(&at(0, 0, None)), "the chain has no genesis record");
    let gone = "offset 1 of `tipstaff.alerts` is committed, but the chain has no genesis: its \
                records are gone";
    assert_eq!(refused(&at(1, 0, None)), gone);
    let log = chain();
    let tail = Record::parse(&log[&2]).map(|_| Link { offset: 2, bytes: &log[&2] }).unwrap();
    let other = resume::<State>("c", &[tail], true, &Committed::default());
    assert!(matches!(other, Resume::Refuse(why) if why == "offset 2 holds a record of chain ``"));
}

#[test]
fn what_is_committed_beside_an_offset_is_read_as_it_was_written() {
    let metadata = Metadata { seq: 7, hash16: "0123456789abcdef".into(), settled: 5 };
    let text = metadata.to_string();
    assert_eq!(text, "v2:7:0123456789abcdef:5");
    assert_eq!(Metadata::parse(&text), Some(metadata));
    for other in ["v1:7:0123456789abcdef:5", "v2:7:0123456789abcdef", "v2:x:0123456789abcdef:5"] {
        assert_eq!(Metadata::parse(other), None);
    }
}
