//! When people are to have seen a case: never later because more became known.

use tipstaff::case::{Millis, Priority, Standing, Verb};

use crate::rig::{BOUNDARY, HOUR, NOW, Rig, excepting, files, statement};

const NHI: &str = "aws:iam:1:user:ci";
const MINUTE: i64 = HOUR / 60;
const PLAYBOOK: &str = "playbook: p\ntitle: t\nowner: p\nmode: live\non: {kind: exposed_key}\n\
    group: {by: [nhi.id], window: 30d}\nrules:\n  \
    - id: quick\n    when:\n      - severity == \"low\"\n    \
    route: {queue: triage, priority: high, ack_within: 1h}\n  \
    - id: doubtful\n    when:\n      - severity == \"informational\"\n    \
    hold: {queue: repair, priority: medium, for: 1d}\n  \
    - {id: slow, route: {queue: triage, priority: medium, ack_within: 2d}}\n";

fn rig() -> Rig {
    let boundary = BOUNDARY.replace("{triage: people}", "{triage: people, repair: people}");
    Rig::of(files(&[&boundary], PLAYBOOK), NHI, true)
}

fn due(rig: &Rig, case: &str) -> Option<Millis> {
    rig.lane.state().cases().get(case).unwrap().had.as_ref().unwrap().ack_by
}

#[test]
fn a_less_urgent_alert_gives_nobody_more_time() {
    let mut rig = rig();
    let case = rig.alert(NHI, "low");
    assert_eq!(due(&rig, &case), Some(NOW.plus(HOUR)));
    rig.wait(10 * MINUTE);
    rig.alert(NHI, "medium");
    assert_eq!(due(&rig, &case), Some(NOW.plus(HOUR)), "a severity more, and two days to look");
    assert!(rig.wait(50 * MINUTE), "overdue when it was to be");
    rig.alert(NHI, "high");
    assert_eq!(due(&rig, &case), Some(rig.now.plus(HOUR)), "missed: as long as they had at first");
    rig.is_whole();
}

#[test]
fn who_acknowledged_it_has_the_first_time_again() {
    let mut rig = rig();
    let case = rig.alert(NHI, "low");
    assert_eq!(rig.order(&statement(&case, NHI, Verb::Ack, "sam"), &["sam"]), "accepted");
    rig.wait(30 * MINUTE);
    rig.alert(NHI, "medium");
    assert_eq!(due(&rig, &case), Some(rig.now.plus(HOUR)));
    rig.is_whole();
}

#[test]
fn the_end_of_an_exception_leaves_a_deadline_that_runs() {
    let mut rig = rig();
    let case = rig.alert(NHI, "low");
    let mut except = statement(&case, NHI, Verb::Except, "sam");
    except.except = Some(excepting(&["lee"], HOUR, false));
    assert_eq!(rig.order(&except, &["sam", "lee"]), "accepted");
    rig.wait(10 * MINUTE);
    rig.alert(NHI, "medium");
    let running = Some(NOW.plus(70 * MINUTE));
    assert_eq!(due(&rig, &case), running);
    assert!(rig.wait(50 * MINUTE), "it ends");
    assert_eq!(due(&rig, &case), running);
    rig.is_whole();
}

/// A late fact does not bring back a deadline that was met.
#[test]
fn what_was_acknowledged_is_no_more_due_when_it_is_ruled_again() {
    let due = Some(NOW.plus(HOUR));
    let standing = || Standing {
        is_held: false,
        queue: "triage".into(),
        priority: Priority::High,
        due,
        released: None,
    };
    for is_acked in [false, true] {
        let mut rig = rig();
        let case = rig.alert(NHI, "low");
        if is_acked {
            assert_eq!(rig.order(&statement(&case, NHI, Verb::Ack, "sam"), &["sam"]), "accepted");
        }
        rig.now = NOW.plus(5 * HOUR);
        rig.look_again(&standing());
        let left = rig.last().revised.unwrap().standing.unwrap().due;
        assert_eq!(left, due.filter(|_| !is_acked));
        assert_eq!(rig.wait(MINUTE), !is_acked, "overdue");
    }
}

/// INV-1: people have what was held, also where nothing can rule it.
#[test]
fn a_hold_whose_alert_is_gone_goes_to_people() {
    let mut rig = rig();
    let case = rig.alert(NHI, "informational");
    let states = |rig: &Rig| {
        let of = |(_, output): &(String, serde_json::Value)| output["state"].clone();
        rig.outputs.iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(states(&rig), ["held"]);
    rig.lose();
    assert_eq!(states(&rig), ["held", "new", "moved"]);
    let topics: Vec<&str> = rig.outputs.iter().map(|(topic, _)| &**topic).collect();
    assert_eq!(topics, ["t.cases.repair", "t.cases.triage", "t.cases.repair"]);
    assert_eq!(rig.last().told.unwrap().case_id, case);
    assert_eq!(rig.lane.waits().len(), 0);
    rig.is_whole();

    // They have it already, and louder.
    let mut rig = self::rig();
    rig.alert(NHI, "informational");
    rig.alert(NHI, "low");
    let before = states(&rig);
    assert_eq!(before, ["held", "new", "moved"]);
    rig.lose();
    assert_eq!(states(&rig), before);
    assert!(rig.last().told.is_none());
    rig.is_whole();
}
