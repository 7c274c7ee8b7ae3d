use std::collections::BTreeMap;

use tipstaff::case::{Closing, Judgement, Statement, Verb};
use tipstaff::correlate::State;
use tipstaff::normalize::partition_of;
use tipstaff::pipeline::order_message;

use crate::rig::{HOUR, NOW, Rig, excepting, signature, statement};

const NHI: &str = "aws:iam:1:user:ci";

fn rig() -> (Rig, String) {
    let mut rig = Rig::new(NHI, true);
    let case = rig.alert(NHI, "high");
    (rig, case)
}

/// What becomes of sam's `ack` after this change, signed by these people.
fn changed(change: impl FnOnce(&mut Statement), signers: &[&str]) -> (String, Rig) {
    let (mut rig, case) = rig();
    let mut ack = statement(&case, NHI, Verb::Ack, "sam");
    change(&mut ack);
    let verdict = rig.order(&ack, signers);
    let order = rig.last().order.unwrap();
    assert_eq!(order.refused.map_or("accepted", |refusal| refusal.code()), verdict);
    assert_eq!(order.detail.is_some(), order.refused.is_some());
    drop(order);
    rig.is_whole();
    (verdict, rig)
}

#[test]
fn accepted() {
    let (verdict, rig) = changed(|_| (), &["sam"]);
    assert_eq!(verdict, "accepted");
    let record = rig.last();
    let order = record.order.as_ref().unwrap();
    assert_eq!((&*order.signers[0].person, order.role.as_deref()), ("sam", Some("analyst")));
    assert!(order.signers[0].key.starts_with("SHA256:"), "{order:?}");
    let statement = Statement::read(order.statement.as_deref().unwrap()).unwrap();
    assert_eq!((statement.order, &*statement.by), (Verb::Ack, "sam"));
}

#[test]
fn not_a_statement() {
    let (mut rig, case) = rig();
    let text = statement(&case, NHI, Verb::Ack, "sam").to_string();
    let sign = |text: &str| order_message(text, &[signature("sam", text)]);
    let spaced = text.replacen(':', ": ", 1);
    let unknown = text.replacen("{\"statement\"", "{\"more\":1,\"statement\"", 1);
    let of_another = text.replacen("\"order\":\"ack\"", "\"order\":\"close\"", 1);
    let policy = "tipstaff policy 1\nhash 00\n".to_owned();
    let long = text.replace("key-1", &"k".repeat(9000));
    for message in [
        Vec::new(),
        b"\xff".to_vec(),
        b"{}".to_vec(),
        vec![b' '; 70_000],
        order_message(&text, &[]),
        sign(&spaced),
        sign(&unknown),
        sign(&of_another),
        sign(&policy),
        sign(&long),
    ] {
        assert_eq!(rig.message(&message), "not_a_statement", "{}", rig.detail());
        assert_eq!(rig.last().order.unwrap().statement, None);
    }
    rig.is_whole();
}

#[test]
fn bad_signature() {
    let (mut rig, case) = rig();
    let [signed, shown] = ["sam", "sam"].map(|by| statement(&case, NHI, Verb::Ack, by).to_string());
    let forged = order_message(&shown, &[signature("sam", &signed)]);
    assert_eq!(rig.message(&forged), "bad_signature");
    assert_eq!(rig.last().order.unwrap().statement, None, "nobody is proved to have signed it");
    let broken = order_message(&shown, &["no signature".to_owned()]);
    assert_eq!(rig.message(&broken), "bad_signature");
    // One good signature does not make up for a bad one.
    let both = [signature("sam", &shown), signature("dana", &signed)];
    assert_eq!(rig.message(&order_message(&shown, &both)), "bad_signature");
    rig.is_whole();
}

#[test]
fn unknown_signer() {
    assert_eq!(changed(|_| (), &["eve"]).0, "unknown_signer");
}

#[test]
fn key_not_valid_then() {
    assert_eq!(changed(|ack| ack.by = "kim".to_owned(), &["kim"]).0, "key_not_valid_then");
}

#[test]
fn signed_by_another() {
    assert_eq!(changed(|_| (), &["dana"]).0, "signed_by_another");
}

#[test]
fn wrong_role() {
    let (mut rig, case) = rig();
    let mut close = statement(&case, NHI, Verb::Close, "sam");
    close.close = Some(Closing {
        verdict: Judgement::Benign,
        reason: "known_test".to_owned(),
        evidence: Vec::new(),
        of: None,
        part: None,
        links: BTreeMap::new(),
    });
    assert_eq!(rig.order(&close, &["sam"]), "wrong_role");
    // Not because somebody who may has signed it, too.
    assert_eq!(rig.order(&close, &["sam", "dana"]), "wrong_role");
    rig.is_whole();
}

#[test]
fn nothing_stated_means_that_nobody_may() {
    let boundary = "boundary: base\nowner: o\ndefault_queue: {queue: triage, priority: low}\n\
        queues: {triage: people}\n";
    let mut rig = Rig::under(boundary, NHI, true);
    let case = rig.alert(NHI, "high");
    for verb in [Verb::Ack, Verb::Assign, Verb::Reopen] {
        assert_eq!(rig.order(&statement(&case, NHI, verb, "dana"), &["dana"]), "wrong_role");
    }
}

#[test]
fn expired() {
    let past = |ack: &mut Statement| {
        (ack.issued_at, ack.expires_at) = (NOW.plus(-2 * HOUR), NOW);
    };
    assert_eq!(changed(past, &["sam"]).0, "expired");
}

#[test]
fn not_yet_valid() {
    let early = |ack: &mut Statement| {
        (ack.issued_at, ack.expires_at) = (NOW.plus(HOUR), NOW.plus(2 * HOUR));
    };
    assert_eq!(changed(early, &["sam"]).0, "not_yet_valid");
    let a_clock_that_is_ahead = |ack: &mut Statement| ack.issued_at = NOW.plus(60_000);
    assert_eq!(changed(a_clock_that_is_ahead, &["sam"]).0, "accepted");
}

#[test]
fn valid_too_long() {
    let long = |ack: &mut Statement| ack.expires_at = NOW.plus(25 * HOUR);
    assert_eq!(changed(long, &["sam"]).0, "valid_too_long");
}

#[test]
fn used_before() {
    let (mut rig, case) = rig();
    let assign = statement(&case, NHI, Verb::Assign, "sam");
    assert_eq!(rig.order(&assign, &["sam"]), "accepted");
    assert_eq!(rig.order(&assign, &["sam"]), "used_before");
    // What is forgotten is what would be refused as expired.
    rig.now = NOW.plus(HOUR);
    let mut state = rig.lane.state().clone();
    tipstaff::audit::Folded::snapshot(&mut state, rig.now);
    let knows = |state: &State| state.orders().was_used(&assign.id, NOW);
    assert!(!knows(&state) && knows(rig.lane.state()));
    assert_eq!(rig.order(&assign, &["sam"]), "expired");
    rig.is_whole();
}

/// A refused order is not used: when what it lacked is there, it can be sent again.
#[test]
fn used_before_counts_accepted_orders_alone() {
    let (mut rig, case) = rig();
    let mut except = statement(&case, NHI, Verb::Except, "sam");
    except.except = Some(excepting(&["dana"], 24 * HOUR, false));
    assert_eq!(rig.order(&except, &["sam"]), "needs_approver");
    assert_eq!(rig.order(&except, &["sam", "dana"]), "accepted");
}

#[test]
fn wrong_partition() {
    let other =
        (0..).map(|n| format!("nhi-{n}")).find(|nhi| partition_of(nhi, 4) != partition_of(NHI, 4));
    let foreign = |ack: &mut Statement| ack.subject.as_mut().unwrap().nhi = other.unwrap();
    assert_eq!(changed(foreign, &["sam"]).0, "wrong_partition");
}

#[test]
fn no_such_case() {
    let strange = |ack: &mut Statement| ack.subject.as_mut().unwrap().case_id = "0".repeat(32);
    assert_eq!(changed(strange, &["sam"]).0, "no_such_case");
}

#[test]
fn wrong_subject() {
    let (mut rig, case) = rig();
    let other = (0..)
        .map(|n| format!("nhi-{n}"))
        .find(|nhi| partition_of(nhi, 4) == partition_of(NHI, 4))
        .unwrap();
    assert_eq!(rig.order(&statement(&case, &other, Verb::Ack, "sam"), &["sam"]), "wrong_subject");
    let mut of_another_key = statement(&case, NHI, Verb::Ack, "sam");
    of_another_key.subject.as_mut().unwrap().credential = Some("key-2".to_owned());
    assert_eq!(rig.order(&of_another_key, &["sam"]), "wrong_subject");
    let mut unbound = statement(&case, NHI, Verb::Except, "sam");
    unbound.except = Some(excepting(&["dana"], HOUR, false));
    unbound.subject.as_mut().unwrap().credential = None;
    assert_eq!(rig.order(&unbound, &["sam", "dana"]), "wrong_subject");
}

#[test]
fn not_now() {
    let (mut rig, case) = rig();
    for verb in [Verb::Release, Verb::Reopen] {
        assert_eq!(rig.order(&statement(&case, NHI, verb, "dana"), &["dana"]), "not_now");
    }
    let ack = |by: &str| statement(&case, NHI, Verb::Ack, by);
    assert_eq!(rig.order(&ack("sam"), &["sam"]), "accepted");
    assert_eq!(rig.order(&ack("dana"), &["dana"]), "not_now");
    assert!(rig.detail().starts_with("sam acknowledged it at "), "{}", rig.detail());
}

/// What becomes of an exception that sam asks for.
fn excepted(approvers: &[&str], lasts_ms: i64, emergency: bool, signers: &[&str]) -> String {
    let (mut rig, case) = rig();
    let mut except = statement(&case, NHI, Verb::Except, "sam");
    except.except = Some(excepting(approvers, lasts_ms, emergency));
    let verdict = rig.order(&except, signers);
    rig.is_whole();
    verdict
}

/// Whatever is signed is kept for ever; a token in it would be, too.
#[test]
fn holds_secret() {
    let (mut rig, case) = rig();
    let mut except = statement(&case, NHI, Verb::Except, "sam");
    let token = format!("ghp_{}", "a1B2c3D4e5".repeat(4).get(..36).unwrap());
    let mut excepting = excepting(&["dana"], HOUR, false);
    excepting.rationale = format!("it is {token}, and nobody may turn it off");
    except.except = Some(excepting);
    assert_eq!(rig.order(&except, &["sam", "dana"]), "holds_secret");
    let record = String::from_utf8(rig.written.last().unwrap().clone()).unwrap();
    assert!(!record.contains(&token) && !record.contains("nobody may turn it off"), "{record}");
    rig.is_whole();
}

#[test]
fn needs_approver() {
    assert_eq!(excepted(&[], HOUR, false, &["sam"]), "needs_approver");
    assert_eq!(excepted(&["dana"], HOUR, false, &["sam"]), "needs_approver");
    assert_eq!(excepted(&["dana", "lee"], HOUR, false, &["sam", "dana"]), "needs_approver");
    assert_eq!(excepted(&["dana"], HOUR, false, &["sam", "dana"]), "accepted");
    // Who approves is in the role for it.
    let (mut rig, case) = rig();
    let mut except = statement(&case, NHI, Verb::Except, "dana");
    except.except = Some(excepting(&["sam"], HOUR, false));
    assert_eq!(rig.order(&except, &["dana", "sam"]), "wrong_role");
}

#[test]
fn self_approval() {
    let (mut rig, case) = rig();
    let mut except = statement(&case, NHI, Verb::Except, "dana");
    except.except = Some(excepting(&["dana"], HOUR, false));
    assert_eq!(rig.order(&except, &["dana"]), "self_approval");
    assert_eq!(rig.order(&except, &["dana", "dana"]), "self_approval");
}

#[test]
fn over_cap() {
    let day = 24 * HOUR;
    assert_eq!(excepted(&["dana"], 31 * day, false, &["sam", "dana"]), "over_cap");
    assert_eq!(excepted(&["dana"], 30 * day, false, &["sam", "dana"]), "accepted");
    assert_eq!(excepted(&[], day + 1, true, &["sam"]), "over_cap");
    assert_eq!(excepted(&[], day, true, &["sam"]), "accepted");
}
