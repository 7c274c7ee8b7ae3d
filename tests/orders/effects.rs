use std::collections::BTreeMap;

use tipstaff::audit::Folded;
use tipstaff::case::{Closing, Judgement, Millis, Part, Statement, Verb, Worked};
use tipstaff::correlate::State;

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
        links: BTreeMap::new(),
    });
    close
}

fn worked_of(state: &State, case: &str) -> Worked {
    state.cases().get(case).unwrap().worked.as_deref().cloned().unwrap_or_default()
}

fn ack_by(rig: &Rig, case: &str) -> Option<Millis> {
    rig.lane.state().cases().get(case).unwrap().had.as_ref().unwrap().ack_by
}

/// What the queue was told of the case, each time with the next revision.
fn states(rig: &Rig, case: &str) -> Vec<String> {
    let own = rig
        .outputs
        .iter()
        .filter(|(topic, output)| topic == "t.cases.triage" && output["case_id"] == case);
    let own: Vec<_> = own.map(|(_, output)| output).collect();
    assert!((1..).zip(&own).all(|(revision, output)| output["case_revision"] == revision));
    own.iter().map(|output| output["state"].as_str().unwrap().to_owned()).collect()
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
    let expected = ["new", "acknowledged", "acknowledged", "risk_closed", "closed", "reopened"];
    assert_eq!(states(&rig, &case), expected);
    let (_, closed) = &rig.outputs[4];
    assert_eq!(closed["worked"]["finding_closed"]["verdict"], "true_positive");
    assert_eq!(closed["order"]["by"], "dana");
    assert_eq!(closed["order"]["close"]["evidence"][0], "https://tickets.example.com/1");
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

/// What is seen again after people closed it is open again, and has its deadline again.
#[test]
fn an_alert_reopens_its_closed_case() {
    let mut rig = Rig::new(NHI, true);
    let case = rig.alert(NHI, "high");
    assert_eq!(rig.alert(NHI, "high"), case);
    assert_eq!(states(&rig, &case), ["new"], "a repeat is counted");
    assert_eq!(rig.order(&closing(&case, Some(Part::Risk)), &["dana"]), "accepted");
    rig.alert(NHI, "high");
    assert_eq!(states(&rig, &case), ["new", "risk_closed"], "a repeat is of what is open still");
    assert_eq!(rig.order(&closing(&case, Some(Part::Finding)), &["dana"]), "accepted");
    assert_eq!(ack_by(&rig, &case), None);
    rig.now = NOW.plus(HOUR);
    assert_eq!(rig.alert(NHI, "high"), case);
    assert_eq!(states(&rig, &case), ["new", "risk_closed", "closed", "reopened"]);
    let (_, reopened) = rig.outputs.last().unwrap();
    assert_eq!(reopened["changed"], serde_json::json!(["reopened"]));
    assert_eq!(reopened["count"], 4);
    let worked = worked_of(rig.lane.state(), &case);
    assert!(!worked.is_partly_closed() && worked.reopened == 1);
    assert_eq!(ack_by(&rig, &case), Some(NOW.plus(2 * HOUR)));
    rig.is_whole();
}

/// After an acknowledgement nobody is told that the case is overdue; whoever opens a case again
/// gives people the time that they had at first.
#[test]
fn an_acknowledgement_ends_the_deadline() {
    let mut rig = Rig::new(NHI, true);
    let case = rig.alert(NHI, "high");
    assert_eq!(ack_by(&rig, &case), Some(NOW.plus(HOUR)));
    assert_eq!(rig.order(&statement(&case, NHI, Verb::Ack, "sam"), &["sam"]), "accepted");
    assert!(rig.outputs.last().unwrap().1["ack_by"].is_null());
    assert!(!rig.wait(HOUR - 1));
    let mut close = closing(&case, None);
    close.expires_at = NOW.plus(3 * HOUR);
    assert_eq!(rig.order(&close, &["dana"]), "accepted");
    assert!(!rig.wait(HOUR), "it would be overdue by now");
    let mut reopen = statement(&case, NHI, Verb::Reopen, "dana");
    reopen.expires_at = NOW.plus(3 * HOUR);
    assert_eq!(rig.order(&reopen, &["dana"]), "accepted");
    assert!(!rig.wait(HOUR - 1) && rig.wait(1) && !rig.wait(HOUR), "once");
    assert_eq!(states(&rig, &case), ["new", "acknowledged", "closed", "reopened", "reopened"]);
    assert_eq!(rig.outputs.last().unwrap().1["changed"], serde_json::json!(["overdue"]));
    rig.is_whole();
}

/// An acknowledgement is of what the case was then.
#[test]
fn what_becomes_more_urgent_is_to_be_acknowledged_again() {
    let mut rig = Rig::new(NHI, true);
    let case = rig.alert(NHI, "medium");
    assert_eq!(rig.order(&statement(&case, NHI, Verb::Ack, "sam"), &["sam"]), "accepted");
    assert_eq!(rig.order(&statement(&case, NHI, Verb::Assign, "dana"), &["dana"]), "accepted");
    rig.alert(NHI, "critical");
    assert_eq!(states(&rig, &case), ["new", "acknowledged", "acknowledged", "new"]);
    assert_eq!(ack_by(&rig, &case), Some(NOW.plus(HOUR)));
    assert_eq!(worked_of(rig.lane.state(), &case).assignee.as_deref(), Some("kim"));
    assert_eq!(rig.order(&statement(&case, NHI, Verb::Ack, "dana"), &["dana"]), "accepted");
    rig.is_whole();
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
    assert_eq!(states(&rig, &case), ["new", "excepted", "reopened"]);
    assert_eq!(rig.outputs.last().unwrap().1["changed"], serde_json::json!(["returned"]));
    assert_eq!(ack_by(&rig, &case), Some(rig.now.plus(HOUR - 1)));
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
    assert_eq!(states(&rig, &case), ["new", "excepted"]);
    let (topic, review) = rig.outputs.last().unwrap().clone();
    assert_eq!((&*topic, &review["changed"]), ("t.cases.triage", &serde_json::json!(["review"])));
    assert_eq!(review["related_cases"], serde_json::json!([&case]));
    let own = review["case_id"].as_str().unwrap();
    let mut close = closing(own, None);
    close.subject.as_mut().unwrap().credential = None;
    assert_eq!(rig.order(&close, &["dana"]), "accepted", "it is a case like any other");
    assert_eq!(states(&rig, own), ["new", "closed"]);
    let parts = rig.lane.state().clone().snapshot(rig.now);
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    assert_eq!(State::restore(&parts).unwrap().cases(), rig.lane.state().cases());
    rig.is_whole();
}
