use tipstaff::case::{Closing, Judgement, Part, Statement, Verb};

use crate::rig::{HOUR, NOW, Rig, excepting, statement};

const NHI: &str = "aws:iam:1:user:ci";

fn closing(case: &str, part: Option<Part>) -> Statement {
    let mut close = statement(case, NHI, Verb::Close, "dana");
    close.close = Some(Closing {
        verdict: Judgement::TruePositive,
        reason: "rotated_and_revoked".to_owned(),
        evidence: vec!["https://tickets.example.com/1".to_owned()],
        of: None,
        part,
    });
    close
}

fn states(rig: &Rig, case: &str) -> Vec<String> {
    let own = rig
        .outputs
        .iter()
        .filter(|(topic, output)| topic == "t.cases.triage" && output["case_id"] == case);
    own.map(|(_, output)| output["state"].as_str().unwrap().to_owned()).collect()
}

/// A case goes out with each state that people give it, and an order after another sees its effect.
#[test]
fn a_case_is_worked_by_its_orders() {
    let mut rig = Rig::new(NHI, true);
    let case = rig.alert(NHI, "high");
    let worked = |rig: &Rig| worked_of(rig.lane.state(), &case);
    assert_eq!(rig.order(&statement(&case, NHI, Verb::Ack, "sam"), &["sam"]), "accepted");
    assert_eq!(worked(&rig).acked.unwrap().by, "sam");
    assert_eq!(rig.order(&statement(&case, NHI, Verb::Assign, "dana"), &["dana"]), "accepted");
    assert_eq!(worked(&rig).assignee.as_deref(), Some("kim"));
    assert_eq!(rig.order(&closing(&case, Some(Part::Risk)), &["dana"]), "accepted");
    assert!(!worked(&rig).is_closed() && worked(&rig).is_partly_closed());
    assert_eq!(rig.order(&closing(&case, Some(Part::Risk)), &["dana"]), "not_now");
    assert_eq!(rig.order(&closing(&case, Some(Part::Finding)), &["dana"]), "accepted");
    assert!(worked(&rig).is_closed());
    assert_eq!(rig.order(&statement(&case, NHI, Verb::Assign, "sam"), &["sam"]), "not_now");
    assert_eq!(rig.order(&statement(&case, NHI, Verb::Reopen, "dana"), &["dana"]), "accepted");
    let after = worked(&rig);
    assert!(!after.is_partly_closed() && after.acked.is_none() && after.reopened == 1);
    assert_eq!(after.assignee.as_deref(), Some("kim"), "who has it keeps it");
    let expected = ["new", "acknowledged", "assigned", "risk_closed", "closed", "reopened"];
    assert_eq!(states(&rig, &case), expected);
    let (_, closed) = &rig.outputs[4];
    assert_eq!(closed["worked"]["finding_closed"]["closing"]["verdict"], "true_positive");
    assert_eq!(closed["order"]["by"], "dana");
    rig.is_whole();
}

#[test]
fn a_hold_is_released_once_and_by_name() {
    let mut rig = Rig::new(NHI, true);
    let case = rig.alert(NHI, "low");
    assert!(rig.lane.waits().holds(&case));
    let release = || statement(&case, NHI, Verb::Release, "dana");
    let first = release();
    assert_eq!(rig.order(&first, &["dana"]), "accepted");
    let seq = rig.last().seq;
    let waiting = rig.lane.waits().iter().next().unwrap();
    let released = waiting.standing.released.as_ref().unwrap();
    assert_eq!((&released.order, released.seq), (&first.id, seq));
    assert_eq!(rig.order(&release(), &["dana"]), "not_now", "it is on its way");
    assert_eq!(states(&rig, &case), ["held"], "its revision tells of the rest");
    rig.is_whole();
}

/// What is seen again after people closed it is open again, whoever closed it.
#[test]
fn an_alert_reopens_its_closed_case() {
    let mut rig = Rig::new(NHI, true);
    let case = rig.alert(NHI, "high");
    assert_eq!(rig.order(&closing(&case, None), &["dana"]), "accepted");
    let mut known = rig.lane.state().clone();
    let mut record = tipstaff::audit::Record::parse(&rig.written[1]).unwrap();
    (record.seq, record.at) = (9, NOW.plus(HOUR));
    record.alert_id = Some("another".to_owned());
    tipstaff::audit::Folded::apply(&mut known, &record, tipstaff::audit::Hash::NONE);
    let worked = &known.cases().get(&case).unwrap().worked;
    assert!(!worked.is_partly_closed() && worked.reopened == 1);
}

/// A chain that was begun before there were orders takes them up where it stands.
#[test]
fn a_chain_whose_genesis_knows_no_orders_goes_on() {
    let mut rig = Rig::new(NHI, false);
    let case = rig.alert(NHI, "high");
    assert_eq!(rig.order(&statement(&case, NHI, Verb::Ack, "sam"), &["sam"]), "accepted");
    rig.alert(NHI, "high");
    rig.is_whole();
}

#[test]
fn an_exception_ends_on_record_and_its_case_returns() {
    let mut rig = Rig::new(NHI, true);
    let case = rig.alert(NHI, "high");
    let mut except = statement(&case, NHI, Verb::Except, "sam");
    except.except = Some(excepting(&["dana"], 24 * HOUR, false));
    assert_eq!(rig.order(&except, &["sam", "dana"]), "accepted");
    let excepted = |rig: &Rig| rig.lane.state().cases().excepted();
    assert_eq!(excepted(&rig), 1);
    let mut again = statement(&case, NHI, Verb::Except, "sam");
    again.except = Some(excepting(&["dana"], 24 * HOUR, false));
    assert_eq!(rig.order(&again, &["sam", "dana"]), "not_now");
    assert!(!rig.wait(24 * HOUR - 1) && rig.wait(1) && !rig.wait(1), "once, at its end");
    assert_eq!(excepted(&rig), 0);
    assert_eq!(rig.last().timer.unwrap().what, "exception_over");
    assert_eq!(states(&rig, &case), ["new", "excepted", "returned"]);
    let worked = worked_of(rig.lane.state(), &case);
    assert!(worked.acked.is_none(), "it is to be acknowledged again");
    rig.is_whole();
}

/// One person is enough in an emergency, and somebody looks at it afterwards.
#[test]
fn an_emergency_brings_its_review() {
    let mut rig = Rig::new(NHI, true);
    let case = rig.alert(NHI, "high");
    let mut except = statement(&case, NHI, Verb::Except, "sam");
    except.except = Some(excepting(&[], HOUR, true));
    assert_eq!(rig.order(&except, &["sam"]), "accepted");
    assert_eq!(states(&rig, &case), ["new", "excepted", "review"]);
    rig.is_whole();
}
