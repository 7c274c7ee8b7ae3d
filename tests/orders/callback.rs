//! An `ack` that a sink's user asked for: who may vouch for it, and that it is nothing else.

use tipstaff::case::{Closing, Judgement, Statement, Verb, Via};

use crate::rig::{BOUNDARY, HOUR, NOW, Rig, policy, statement};

const NHI: &str = "aws:iam:1:user:ci";

fn boundary() -> String {
    BOUNDARY
        .replace("lead: [dana, lee]}", "lead: [dana, lee], receiver: [hook]}")
        .replace("  release:", "  callback: [receiver]\n  release:")
}

fn via() -> Option<Box<Via>> {
    let [sink, user, secret] = ["slack", "U012ABC", "environment variable `S`"].map(str::to_owned);
    Some(Box::new(Via { sink, user, secret, revision: 1 }))
}

/// What becomes of sam's `ack` through a sink after this change, signed by these.
fn changed(change: impl FnOnce(&mut Statement), signers: &[&str]) -> (String, Rig, String) {
    let mut rig = Rig::under(&boundary(), NHI, true);
    let case = rig.alert(NHI, "high");
    let mut ack = statement(&case, NHI, Verb::Ack, "sam");
    ack.via = via();
    change(&mut ack);
    let verdict = rig.order(&ack, signers);
    rig.is_whole();
    (verdict, rig, case)
}

#[test]
fn it_is_accepted_and_says_who_asked_and_who_vouched() {
    let (verdict, rig, case) = changed(|_| (), &["hook"]);
    assert_eq!(verdict, "accepted", "{}", rig.detail());
    let record = rig.last();
    let order = record.order.as_ref().unwrap();
    assert_eq!((&*order.signers[0].person, order.role.as_deref()), ("hook", Some("analyst")));
    let worked = record.told.as_ref().unwrap().worked.as_deref().unwrap();
    let acked = worked.acked.as_ref().unwrap();
    assert_eq!((&*acked.by, acked.via.clone()), ("sam", via()));
    assert_eq!(rig.lane.state().cases().get(&case).unwrap().worked.as_deref(), Some(worked));
    let (_, told) = rig.outputs.last().unwrap();
    assert_eq!((&told["state"], &told["ack_by"]), (&"acknowledged".into(), &().into()));
    assert_eq!(told["order"]["via"]["user"], "U012ABC");
    assert_eq!(told["nhi"], NHI, "a callback to this one is possible, too");
}

#[test]
fn it_is_single_use_and_ends() {
    let (_, mut rig, case) = changed(|_| (), &["hook"]);
    let mut ack = statement(&case, NHI, Verb::Ack, "sam");
    ack.via = via();
    rig.alert(NHI, "critical");
    assert_eq!(rig.order(&ack, &["hook"]), "accepted", "a severity that rose has a deadline again");
    assert_eq!(rig.order(&ack, &["hook"]), "used_before");
    let late = |ack: &mut Statement| (ack.issued_at, ack.expires_at) = (NOW.plus(-1), NOW);
    assert_eq!(changed(late, &["hook"]).0, "expired");
}

/// What a sink calls by the same name long afterwards is another order, and no tampering.
#[test]
fn a_name_that_comes_again_after_its_end_is_another_order() {
    let named = |order: &mut Statement| order.id = format!("{:032x}", u64::MAX);
    let (_, mut rig, case) = changed(named, &["hook"]);
    rig.wait(2 * HOUR);
    rig.alert(NHI, "critical");
    let mut again = statement(&case, NHI, Verb::Ack, "sam");
    named(&mut again);
    again.via = via();
    (again.issued_at, again.expires_at) = (rig.now, rig.now.plus(HOUR));
    assert_eq!(rig.order(&again, &["hook"]), "accepted");
    rig.is_whole();
}

#[test]
fn nobody_else_vouches() {
    for signers in [&["dana"][..], &["sam"], &["dana", "lee"]] {
        assert_eq!(changed(|_| (), signers).0, "wrong_role", "{signers:?}");
    }
    let mut rig = Rig::new(NHI, true);
    let mut ack = statement(&rig.alert(NHI, "high"), NHI, Verb::Ack, "sam");
    ack.via = via();
    assert_eq!(rig.order(&ack, &["hook"]), "wrong_role", "the boundary names no receiver");
}

#[test]
fn who_vouches_orders_nothing() {
    let own = |ack: &mut Statement| (ack.via, ack.by) = (None, "hook".to_owned());
    assert_eq!(changed(own, &["hook"]).0, "wrong_role");
    assert_eq!(changed(|ack| ack.via = None, &["hook"]).0, "signed_by_another");
    assert_eq!(changed(|ack| ack.by = "hook".to_owned(), &["hook"]).0, "wrong_role");
    assert_eq!(changed(|ack| ack.by = "eve".to_owned(), &["hook"]).0, "wrong_role");
    let both = boundary().replace("receiver: [hook]", "receiver: [hook, sam]");
    let problems = policy(&[&both]).err().unwrap_or_default().join("\n");
    let wanted = "`sam` vouches for others, and so may order nothing itself";
    assert!(problems.contains(wanted), "{problems}");
}

#[test]
fn nothing_but_an_ack_comes_through_a_sink() {
    let close = |closing: &mut Statement| {
        closing.order = Verb::Close;
        closing.close = Some(Closing {
            verdict: Judgement::Benign,
            reason: "known".to_owned(),
            evidence: Vec::new(),
            of: None,
            part: None,
            links: Default::default(),
        });
    };
    assert_eq!(changed(close, &["hook"]).0, "not_a_statement");
    for verb in [Verb::Release, Verb::Reopen] {
        assert_eq!(changed(|order| order.order = verb, &["hook"]).0, "not_a_statement");
    }
    let assign = |order: &mut Statement| {
        (order.order, order.to) = (Verb::Assign, Some("kim".to_owned()));
    };
    assert_eq!(changed(assign, &["hook"]).0, "not_a_statement");
}

#[test]
fn it_is_bound_to_the_case_and_its_partition() {
    let strange = |ack: &mut Statement| ack.subject.as_mut().unwrap().case_id = "0".repeat(32);
    assert_eq!(changed(strange, &["hook"]).0, "no_such_case");
    let partition = tipstaff::normalize::partition_of(NHI, 4);
    let other = |of: &dyn Fn(i32) -> bool| {
        let mut names = (0..).map(|n| format!("other-{n}"));
        names.find(|name| of(tipstaff::normalize::partition_of(name, 4))).unwrap()
    };
    let foreign = other(&|found| found != partition);
    let beside = other(&|found| found == partition);
    assert_eq!(
        changed(|ack| ack.subject.as_mut().unwrap().nhi = foreign, &["hook"]).0,
        "wrong_partition"
    );
    assert_eq!(
        changed(|ack| ack.subject.as_mut().unwrap().nhi = beside, &["hook"]).0,
        "wrong_subject"
    );
}
