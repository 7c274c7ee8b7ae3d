//! Whoever can write the topic can link what is written, and make snapshots fit. What a healthy chain
//! never shows is forged in one record, with every place and hash made right again behind it: each is
//! found, and nothing else is.

use std::borrow::Cow;
use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use tipstaff::audit::{
    Cause, Folded, Gap, Hash, Input, Kind, Lost, Order, PolicyRef, Raw, Record, Signer,
    SnapshotRef, Verified, record_hash,
};
use tipstaff::case::{
    Again, Millis, OnExpiry, Refusal, Revised, Ruling, STATEMENT, Standing, Statement, Stopped,
    Subject, Suppress, Verb, Verdict, Via,
};
use tipstaff::correlate::State;

use super::chain_model::{INPUT, record, ruling, verify};

pub const CONTROL: &str = "tipstaff.control";
/// Until when the orders of this chain are good.
pub const END: Millis = Millis(1000);

type Hand = fn(&mut Record<'static>);

pub fn statement(offset: i64, order: Verb) -> Statement {
    Statement {
        statement: STATEMENT.to_owned(),
        v: 1,
        order,
        id: format!("{offset:032x}"),
        at: None,
        subject: None,
        issued_at: Millis(0),
        expires_at: END,
        by: "sam".to_owned(),
        via: None,
        to: None,
        close: None,
        except: None,
        why: Some("a drill".to_owned()),
        ends: None,
    }
}

pub fn order(offset: i64, order: Verb) -> Record<'static> {
    let order = Order {
        sha256: "".into(),
        statement: Some(statement(offset, order).to_string().into()),
        signers: vec![Signer { person: "sam".into(), key: "k".into(), signature: "s".into() }],
        role: Some("lead".into()),
        refused: None,
        detail: None,
        verified: vec![],
    };
    let received_at = Some(Millis(100 + offset));
    Record {
        input: Some(Input { topic: CONTROL.into(), partition: 0, offset, received_at }),
        next_in: BTreeMap::from([(CONTROL.into(), offset + 1)]),
        order: Some(order),
        ..record(Kind::Order)
    }
}

fn stopped(mut record: Record<'static>) -> Record<'static> {
    let stopped = Stopped { since: Millis(0), by: None, order: None, why: "a drill".to_owned() };
    record.counters.as_mut().unwrap().to_mut().stopped = Some(Box::new(stopped));
    record
}

fn revision(offset: i64) -> Record<'static> {
    let first = ruling(offset);
    let standing = Standing::of(&first.ruling.as_ref().unwrap().fate);
    Record {
        kind: Kind::Revision,
        input: None,
        next_in: BTreeMap::new(),
        revision: Some(1),
        cause: Some(Cause { seq: 2, hash: Hash::NONE }),
        revised: Some(Revised { why: Again::LateFact, facts: vec![], standing }),
        waits: vec![],
        ..first
    }
}

/// A sound chain: the numbers of its records, which the hands below name, stand in front.
fn records() -> Vec<Record<'static>> {
    let policy = Some(PolicyRef { hash: "p".into(), generation: 1, signers: vec![] });
    let duplicate = Record { alert_id: ruling(1).alert_id, ..record(Kind::Duplicate) };
    let gap = Some(Gap { from: 0, to: 0, of: Lost::Alerts });
    vec![
        /* 0 */
        Record { next_in: BTreeMap::from([(INPUT.into(), 0)]), ..record(Kind::Genesis) },
        /* 1 */ Record { policy, ..record(Kind::Policy) },
        /* 2 */ ruling(0),
        /* 3 */ ruling(1),
        /* 4, 5 */ record(Kind::Snapshot),
        /* 6 */ order(0, Verb::Stop),
        /* 7 */ stopped(ruling(2)),
        /* 8 */ order(1, Verb::Resume),
        /* 9 */ ruling(3),
        /* 10 */ revision(0),
        /* 11 */ duplicate,
        /* 12 */ Record { gap, ..record(Kind::Gap) },
        /* 13, 14 */ record(Kind::Snapshot),
        /* 15 */ ruling(4),
        /* 16 */ order(2, Verb::Resume),
    ]
}

/// The parts of a snapshot of this state.
fn snapshot(state: &mut State, at: Millis) -> Vec<Record<'static>> {
    let parts = state.snapshot(at);
    let rests = (0..u32::try_from(parts.len()).unwrap()).rev();
    let part = |((part, rest), text): ((u32, u32), String)| Record {
        snapshot: Some(SnapshotRef { part, rest, ..told_as(text.leak()) }),
        ..record(Kind::Snapshot)
    };
    (0..).zip(rests).zip(parts).map(part).collect()
}

fn told_as(text: &'static str) -> SnapshotRef<'static> {
    let digest = Hash(Sha256::digest(text.as_bytes()).into());
    SnapshotRef { digest, state: Raw(serde_json::from_str(text).unwrap()), part: 0, rest: 0 }
}

/// The chain with this hand laid on each of its records.
pub fn forged(hand: &dyn Fn(&mut Record<'static>)) -> BTreeMap<i64, Vec<u8>> {
    let mut log = BTreeMap::new();
    let (mut state, mut head, mut next_in) = (State::default(), (0, Hash::NONE), BTreeMap::new());
    let mut write = |state: &mut State, mut record: Record<'static>| {
        // Two have the same time.
        let offset = i64::try_from(log.len()).unwrap();
        (record.seq, record.prev, record.at) = (head.0, head.1, Millis(100 + offset / 2));
        for (topic, next) in &next_in {
            record.next_in.entry(Cow::clone(topic)).or_insert(*next);
        }
        hand(&mut record);
        let bytes = serde_json::to_vec(&record).unwrap();
        head = (record.seq + 1, record_hash(&bytes));
        next_in.clone_from(&record.next_in);
        state.apply(&record, head.1);
        log.insert(offset, bytes);
        record.at
    };
    let mut at = Millis(0);
    for record in records() {
        let parts = match record.kind {
            Kind::Snapshot => snapshot(&mut state, at),
            _ => vec![record],
        };
        for part in parts {
            at = write(&mut state, part);
        }
    }
    log
}

fn found(log: &BTreeMap<i64, Vec<u8>>) -> Vec<String> {
    let findings = verify(log).findings.into_iter();
    let told = findings.map(|found| match found.seq {
        Some(seq) => format!("{seq}: {}", found.what),
        None => format!("offset {}: {}", found.offset, found.what),
    });
    told.collect()
}

/// Lays each hand on the record of its number.
fn each(hands: &[(u64, Hand, &[&str])]) {
    for (place, (number, hand, expected)) in hands.iter().enumerate() {
        let log = forged(&|record| {
            if record.seq == *number {
                hand(record);
            }
        });
        assert_eq!(found(&log), *expected, "hand {place}, on record {number}");
    }
}

fn input<'r>(record: &'r mut Record<'static>) -> &'r mut Input<'static> {
    record.input.as_mut().unwrap()
}

#[test]
fn where_no_hand_was_laid_nothing_is_found() {
    let report = verify(&forged(&|_| {}));
    assert_eq!(report.findings, []);
    assert!(report.is_sound());
    let counted = |many: &[(&str, u64)]| -> BTreeMap<String, u64> {
        many.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    };
    let rulings = report.rulings.iter().map(|(name, count)| ((*name).to_owned(), *count));
    assert_eq!(rulings.collect::<BTreeMap<_, _>>(), counted(&[("route", 5)]));
    let others = [
        ("duplicate", 1),
        ("gap", 1),
        ("genesis", 1),
        ("order", 3),
        ("policy", 1),
        ("revision", 1),
        ("snapshot", 4),
    ];
    assert_eq!((report.records, report.other), (17, counted(&others)));
}

#[test]
fn a_place_that_is_not_the_next_one_is_found() {
    each(&[
        (0, |r| r.kind = Kind::Gap, &["0: the chain starts with a Gap at 0, not with its genesis"]),
        (
            0,
            |r| r.prev = Hash([1; 32]),
            &["0: the chain starts with a Genesis at 0, not with its genesis"],
        ),
        (
            0,
            |r| r.seq = 1,
            &[
                "1: the chain starts with a Genesis at 1, not with its genesis",
                "1: a second genesis",
            ],
        ),
        (7, |r| r.chain = "another".into(), &["7: belongs to chain `another`"]),
        (9, |r| r.seq = 20, &["20: record 9 should stand here"]),
        (9, |r| r.prev = Hash::NONE, &["9: does not link to record 8: one of the two was changed"]),
        (7, |r| r.at = Millis(0), &["7: time runs backwards"]),
        (
            12,
            |r| *r.next_in.get_mut(INPUT).unwrap() = 1,
            &["12: its place in `tipstaff.alerts` falls behind 4"],
        ),
        (
            12,
            |r| r.next_in.retain(|topic, _| topic != INPUT),
            &["12: its place in `tipstaff.alerts` falls behind 4"],
        ),
        (
            9,
            |r| input(r).offset = 0,
            &[
                "9: accounts for offset 0 of `tipstaff.alerts` again",
                "9: its next input offset is not the one after its own",
            ],
        ),
        (9, |r| input(r).offset = 7, &["9: its next input offset is not the one after its own"]),
        (12, |r| r.kind = Kind::Genesis, &["12: a second genesis"]),
        (
            12,
            |r| r.void = vec![12],
            &[
                "13: record 12 should stand here",
                // Cases and windows know of no gap then.
                "13: the snapshot is not the state of its chain",
                "14: the snapshot is not the state of its chain",
                "offset 12: voided by a record that is not on the chain",
            ],
        ),
    ]);
    let all = forged(&|record| {
        if record.seq > 0 {
            (record.chain, record.prev) = ("another".into(), Hash::NONE);
        }
    });
    assert_eq!(found(&all).len(), 20, "as many as are told");
    assert_eq!(verify(&BTreeMap::new()).findings[0].what, "the chain has no record");
}

#[test]
fn a_ruling_that_lacks_what_it_rests_on_or_is_no_first_one_is_found() {
    let lacks: &[&str] = &["9: a ruling without its ruling, policy, input or alert id"];
    each(&[
        (9, |r| r.ruling = None, lacks),
        (9, |r| r.policy = None, lacks),
        (9, |r| r.input = None, lacks),
        (9, |r| r.alert_id = None, lacks),
        (9, |r| (r.alert_id, r.origin) = (Some("x".into()), None), &[]),
        (9, |r| r.alert_id = Some("x".into()), &["9: its alert id is not that of its origin"]),
        (
            11,
            |r| r.alert_id = Some("x".into()),
            &["11: calls an alert a duplicate that has no ruling here"],
        ),
        (11, |r| r.alert_id = None, &["11: calls an alert a duplicate that has no ruling here"]),
        (
            7,
            |r| r.counters.as_mut().unwrap().to_mut().stopped = None,
            &["7: ruled as if nothing was stopped"],
        ),
        (
            12,
            |r| r.gap.as_mut().unwrap().of = Lost::Control,
            &["15: ruled as if nothing was stopped"],
        ),
    ]);
    let again = forged(&|record| {
        if record.seq == 9 {
            (record.alert_id, record.origin) = (ruling(1).alert_id, ruling(1).origin);
        }
    });
    let id = ruling(1).alert_id.unwrap();
    assert_eq!(found(&again), [format!("9: a second first ruling of alert {id}")]);
}

fn suppress(record: &mut Record<'static>) {
    let decision = record.ruling.as_mut().unwrap().to_mut();
    decision.fate = Ruling::Suppress(Suppress {
        evidence: vec![],
        expires_at: END,
        on_expiry: OnExpiry::Recheck,
        authorized_by: "o".into(),
    });
}

#[test]
fn a_revision_of_nothing_out_of_turn_or_against_people_is_found() {
    let lacks: &[&str] = &["10: a revision without its ruling, alert id or cause"];
    each(&[
        (10, |r| r.ruling = None, lacks),
        (10, |r| r.revised = None, lacks),
        (10, |r| r.cause = None, lacks),
        (10, |r| r.alert_id = None, lacks),
        (10, |r| r.alert_id = Some("x".into()), &["10: revises an alert that has no ruling here"]),
        (10, suppress, &["10: a revision suppresses"]),
        (
            10,
            |r| {
                r.revised.as_mut().unwrap().standing = None;
                suppress(r);
            },
            &[],
        ),
    ]);
    let second = forged(&|record| {
        if record.seq == 10 {
            record.revision = Some(2);
        }
    });
    let id = ruling(0).alert_id.unwrap();
    assert_eq!(found(&second), [format!("10: revision 1 of alert {id} should stand here")]);
}

fn content<'r>(record: &'r mut Record<'static>) -> &'r mut Order<'static> {
    record.order.as_mut().unwrap()
}

/// Another statement in the place of the last one, signed by the same person.
fn states(record: &mut Record<'static>, change: fn(&mut Statement)) {
    let mut statement = statement(2, Verb::Resume);
    change(&mut statement);
    content(record).statement = Some(statement.to_string().into());
}

/// As [`states`], in the place of the `resume` in front of it.
fn resumes(record: &mut Record<'static>, change: fn(&mut Statement)) {
    let mut statement = statement(1, Verb::Resume);
    change(&mut statement);
    content(record).statement = Some(statement.to_string().into());
}

fn of_a_case(statement: &mut Statement, order: Verb) {
    let (case_id, nhi) = ("c".to_owned(), "n".to_owned());
    statement.subject = Some(Subject { case_id, nhi, credential: None });
    (statement.order, statement.why) = (order, None);
}

fn excepts(record: &mut Record<'static>) {
    states(record, |statement| {
        of_a_case(statement, Verb::Except);
        let except = r#"{"rationale":"r","compensating_control":"c","approvers":["dana","sam"],
            "until":"2030-01-01T00:00:00Z","emergency":false}"#;
        statement.except = Some(serde_json::from_str(except).unwrap());
    });
}

fn via(record: &mut Record<'static>) {
    states(record, |statement| {
        of_a_case(statement, Verb::Ack);
        let (sink, user, secret) = ("s".to_owned(), "u".to_owned(), "k".to_owned());
        statement.via = Some(Box::new(Via { sink, user, secret, revision: 1 }));
    });
}

#[test]
fn an_order_that_is_nobody_s_or_has_an_effect_that_it_may_not_have_is_found() {
    let no_statement: &[&str] = &["16: an accepted order without its statement"];
    let unsigned = "16: accepted, and sam has not signed it";
    let unapproved = |who: &str| format!("16: accepted, and {who} has not approved it");
    let untold = "16: what is told is not of the case that it orders";
    each(&[
        (16, |r| r.order = None, &["16: an order without its content or input"]),
        (16, |r| r.input = None, &["16: an order without its content or input"]),
        (
            16,
            |r| content(r).refused = Some(Refusal::Expired),
            &["16: a refused order has an effect"],
        ),
        (16, |r| (content(r).refused, content(r).role) = (Some(Refusal::Expired), None), &[]),
        (16, |r| content(r).statement = None, no_statement),
        (16, |r| content(r).statement = Some("{}".into()), no_statement),
        (16, |r| content(r).signers.clear(), &[unsigned]),
        (16, |r| content(r).signers[0].person = "kim".into(), &[unsigned]),
        (
            16,
            |r| {
                via(r);
                content(r).signers[0].person = "hook".into();
            },
            &[untold],
        ),
        (
            16,
            |r| {
                via(r);
                content(r).signers.clear();
            },
            &[unsigned, untold],
        ),
        (
            16,
            |r| {
                let (playbook, requirement) = ("p".into(), "rotated".into());
                let (why, because, facts) = (None, vec![], vec![]);
                let verdict = Verdict::Unknown;
                let open = Verified { playbook, requirement, verdict, why, because, facts };
                let met = Verified { verdict: Verdict::True, ..open.clone() };
                content(r).verified = vec![met, open];
            },
            &["16: accepted, and requirement `rotated` was not met"],
        ),
        (16, |r| states(r, |statement| of_a_case(statement, Verb::Reopen)), &[untold]),
        (16, |r| states(r, |statement| of_a_case(statement, Verb::Release)), &[]),
        // Who asks for it has signed it.
        (16, excepts, &[&*unapproved("dana"), &unapproved("sam"), untold]),
    ]);
}

#[test]
fn an_order_out_of_its_time_is_found() {
    let late: &[&str] = &["16: accepted after its end"];
    each(&[
        (16, |r| input(r).received_at = Some(END), late),
        (16, |r| input(r).received_at = Some(END.plus(-1)), &[]),
        (
            16,
            |r| {
                input(r).received_at = None;
                states(r, |statement| statement.expires_at = Millis(100));
            },
            late,
        ),
        (
            16,
            |r| states(r, |it| it.id = statement(1, Verb::Resume).id),
            &["16: order 00000000000000000000000000000001 is accepted a second time"],
        ),
        (
            16,
            |r| {
                input(r).received_at = Some(END);
                states(r, |it| {
                    (it.id, it.expires_at) = (statement(1, Verb::Resume).id, END.plus(1));
                });
            },
            &[],
        ),
        (8, |r| resumes(r, |it| it.ends = Some(statement(0, Verb::Stop).id)), &[]),
        (
            8,
            |r| resumes(r, |it| it.ends = Some("f".repeat(32))),
            &["8: accepted, and it ends another stop"],
        ),
        (
            8,
            |r| resumes(r, |it| it.at = Some("staging/decisions".to_owned())),
            &["8: accepted, and it is for another deployment"],
        ),
        // Without its input a `resume` is none.
        (
            8,
            |r| r.input = None,
            &[
                "8: an order without its content or input",
                "9: ruled as if nothing was stopped",
                "10: ruled as if nothing was stopped",
                "15: ruled as if nothing was stopped",
            ],
        ),
    ]);
}

#[test]
fn a_snapshot_that_its_chain_does_not_give_is_found() {
    let other: Hand = |r| {
        let of = r.snapshot.clone().unwrap();
        let text = of.state.0.get().replacen(',', ", ", 1);
        r.snapshot = Some(SnapshotRef { part: of.part, rest: of.rest, ..told_as(text.leak()) });
    };
    fn of<'r>(record: &'r mut Record<'static>) -> &'r mut SnapshotRef<'static> {
        record.snapshot.as_mut().unwrap()
    }
    let of_13 = "13: the snapshot is not the state of its chain";
    let of_14 = "14: the snapshot is not the state of its chain";
    each(&[
        (13, |r| of(r).digest = Hash::NONE, &["13: the snapshot is not what its digest says"]),
        (13, other, &[of_13]),
        (14, other, &[of_14]),
        (13, |r| of(r).rest = 0, &[of_13]),
        (14, |r| of(r).rest = 1, &[of_14]),
        (14, |r| of(r).part = 7, &[of_14]),
    ]);
    // What stood in front of a snapshot is gone: from there on it is proved all the same.
    let mut log = forged(&|record| {
        if record.seq == 13 {
            other(record);
        }
    });
    let expected = [
        "4: the chain starts with a Snapshot at 4, not with its genesis",
        "10: revises an alert that has no ruling here",
        "11: calls an alert a duplicate that has no ruling here",
        of_13,
    ];
    assert_eq!(found(&log.split_off(&4)), expected);
}
