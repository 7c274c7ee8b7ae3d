//! What concerns everything: `stop` and `resume` on the control topic.

use tipstaff::audit::{Lost, Record};
use tipstaff::case::{Millis, Statement, Stopped, Verb};

use crate::rig::{BOUNDARY, HOME, HOUR, NOW, Rig, for_all, gap, resuming, statement};

const NHI: &str = "aws:iam:1:user:ci";

fn rig() -> Rig {
    let limits = "suppress: {max_expires: 30d, never_severity: []}\n";
    Rig::under(&format!("{BOUNDARY}{limits}"), NHI, true)
}

/// How an alert that a rule suppresses is ruled now, and the refusal that stands in its record.
fn ruled(rig: &mut Rig) -> (String, Option<String>) {
    rig.alert(NHI, "informational");
    let record = rig.last();
    let decision = record.ruling.unwrap();
    let refused = decision.blocked.first().map(|blocked| blocked.why.to_string());
    (decision.fate.name().to_owned(), refused)
}

#[test]
fn what_is_stopped_goes_to_people_until_it_is_resumed() {
    let mut rig = rig();
    assert_eq!(ruled(&mut rig), ("suppress".to_owned(), None));
    let stop = for_all(Verb::Stop, "sam");
    assert_eq!(rig.control(&stop, &["sam"], (0, NOW)), "accepted");
    assert_eq!(rig.last().order.unwrap().role.as_deref(), Some("analyst"));
    let (fate, refused) = ruled(&mut rig);
    let says = format!("stop:order: sam stopped everything automatic at {NOW}: a drill");
    assert_eq!((fate.as_str(), refused), ("route", Some(says)));
    let order = rig.last().counters.unwrap().into_owned().stopped.unwrap().order;
    assert_eq!(order, Some(stop.id.clone()), "and the record says by which order");

    // Whoever comes next knows it from the chain alone.
    rig.restart(rig.written.len());
    assert_eq!(ruled(&mut rig).0, "route");
    assert_eq!(rig.control(&resuming(&stop, "sam"), &["sam"], (1, NOW)), "wrong_role");
    assert_eq!(ruled(&mut rig).0, "route");
    assert_eq!(rig.control(&resuming(&stop, "lee"), &["lee"], (2, NOW)), "accepted");
    assert_eq!(ruled(&mut rig).0, "suppress");
    assert_eq!(rig.control(&resuming(&stop, "lee"), &["lee"], (3, NOW)), "not_now");
    assert_eq!(rig.control(&stop, &["sam"], (4, NOW)), "used_before");
    assert_eq!(ruled(&mut rig).0, "suppress");
    rig.is_whole();
}

/// Whoever could keep a `resume` back could else end a stop that nobody knew of when it was signed.
#[test]
fn a_resume_ends_the_stop_that_it_names_and_no_other() {
    let mut rig = rig();
    let drill = for_all(Verb::Stop, "sam");
    assert_eq!(rig.control(&drill, &["sam"], (0, NOW)), "accepted");
    let incident = for_all(Verb::Stop, "dana");
    assert_eq!(rig.control(&incident, &["dana"], (1, NOW)), "accepted", "the newest is in force");
    let kept = resuming(&drill, "lee");
    assert_eq!(rig.control(&kept, &["lee"], (2, NOW)), "not_now");
    let detail = rig.detail();
    assert!(detail.contains(&incident.id) && detail.contains("dana stopped"), "{detail}");
    assert_eq!(rig.control(&for_all(Verb::Resume, "lee"), &["lee"], (3, NOW)), "not_now");
    rig.restart(rig.written.len());
    assert_eq!(rig.control(&kept, &["lee"], (4, NOW)), "used_before");
    assert_eq!(ruled(&mut rig).0, "route");
    assert_eq!(rig.control(&resuming(&incident, "lee"), &["lee"], (5, NOW)), "accepted");
    assert_eq!(ruled(&mut rig).0, "suppress");
    rig.is_whole();
}

/// The same people order on staging.
#[test]
fn what_concerns_everything_is_good_on_one_deployment() {
    let mut rig = rig();
    let stop =
        |at: Option<&str>| Statement { at: at.map(str::to_owned), ..for_all(Verb::Stop, "sam") };
    for (offset, at) in (0..).zip([None, Some("staging/t.decisions"), Some("")]) {
        let found = rig.control(&stop(at), &["sam"], (offset, NOW));
        assert_eq!(found, if at == Some("") { "not_a_statement" } else { "wrong_partition" });
    }
    let case = rig.alert(NHI, "high");
    let ack = statement(&case, NHI, Verb::Ack, "sam");
    let there = Some("staging/t.decisions".to_owned());
    let theirs = Statement { at: there, ..ack.clone() };
    assert_eq!(rig.order(&theirs, &["sam"]), "wrong_partition");
    let ours = Statement { at: Some(HOME.to_owned()), ..ack };
    assert_eq!(rig.order(&ours, &["sam"]), "accepted");
    assert_eq!(ruled(&mut rig).0, "suppress");
    rig.is_whole();
}

/// A newer program may have accepted a stop in words that this one does not know.
#[test]
fn an_accepted_order_that_cannot_be_read_stops() {
    let mut rig = rig();
    assert_eq!(rig.control(&for_all(Verb::Stop, "sam"), &["sam"], (0, NOW)), "accepted");
    let mut record = rig.last();
    let order = record.order.as_mut().unwrap();
    let newer = order.statement.take().unwrap().replace("\"v\":1", "\"v\":2");
    order.statement = Some(newer.into());
    let mut control = tipstaff::correlate::Control::default();
    control.apply(&record);
    let why = control.stopped().map(|stopped| stopped.why.clone());
    assert!(why.is_some_and(|why| why.contains("words that are not known here")));
    record.order.as_mut().unwrap().refused = Some(tipstaff::case::Refusal::NotNow);
    let mut control = tipstaff::correlate::Control::default();
    control.apply(&record);
    assert_eq!(control.stopped(), None, "what was refused has no effect");
}

/// Its end would suppress it again.
#[test]
fn what_was_suppressed_before_is_ruled_again_as_stopped() {
    let mut rig = rig();
    assert_eq!(ruled(&mut rig).0, "suppress");
    assert_eq!(rig.control(&for_all(Verb::Stop, "sam"), &["sam"], (0, NOW)), "accepted");
    rig.wait(25 * HOUR);
    assert_eq!(rig.recheck(), 1);
    let record = rig.last();
    assert_eq!(record.ruling.as_ref().unwrap().fate.name(), "route");
    assert!(record.counters.as_ref().unwrap().stopped.is_some());
    drop(record);
    rig.is_whole();
}

#[test]
fn what_was_suppressed_before_is_ruled_again_by_what_is_known_of_its_case_then() {
    let mut rig = rig();
    assert_eq!(ruled(&mut rig).0, "suppress");
    let is_partial = |rig: &Rig| rig.last().counters.as_ref().unwrap().is_partial;
    assert!(!is_partial(&rig));
    let mut lost = gap(rig.now, (0, 1), "t.alerts");
    lost.gap.as_mut().unwrap().of = Lost::Alerts;
    rig.plant(&lost);
    rig.wait(25 * HOUR);
    assert_eq!(rig.recheck(), 1);
    assert!(is_partial(&rig), "alerts of it may be among those that are lost");
}

#[test]
fn each_topic_takes_its_own_orders_alone() {
    let mut rig = rig();
    let case = rig.alert(NHI, "high");
    let ack = statement(&case, NHI, Verb::Ack, "sam");
    assert_eq!(rig.control(&ack, &["sam"], (0, NOW)), "wrong_partition");
    let stop = for_all(Verb::Stop, "sam");
    assert_eq!(rig.order(&stop, &["sam"]), "wrong_partition");
    assert_eq!(ruled(&mut rig).0, "suppress");
    assert_eq!(rig.order(&ack, &["sam"]), "accepted");
    assert_eq!(rig.control(&stop, &["sam"], (1, NOW)), "accepted", "nothing of it was used");
    rig.is_whole();
}

/// One chain reads it at once and another days later: both say the same of it.
#[test]
fn the_time_of_an_order_is_that_of_its_arrival() {
    for late in [0, 50 * HOUR] {
        let mut rig = rig();
        rig.wait(late);
        let mut stop = for_all(Verb::Stop, "sam");
        let arrived = |ms| NOW.plus(ms);
        assert_eq!(rig.control(&stop, &["sam"], (0, arrived(HOUR))), "expired");
        assert_eq!(rig.control(&stop, &["sam"], (1, arrived(HOUR - 1))), "accepted");
        let resume = resuming(&stop, "lee");
        assert_eq!(rig.control(&resume, &["lee"], (2, arrived(HOUR - 1))), "accepted");
        assert_eq!(rig.control(&stop, &["sam"], (3, arrived(HOUR - 1))), "used_before");
        stop.id = "f".repeat(32);
        stop.expires_at = NOW.plus(2 * HOUR);
        assert_eq!(rig.control(&stop, &["sam"], (4, arrived(HOUR))), "accepted");
        assert_eq!(rig.control(&resume, &["lee"], (5, arrived(HOUR - 1))), "used_before");
        assert_eq!(ruled(&mut rig).0, "route");
        rig.is_whole();
    }
}

#[test]
fn what_cannot_be_read_may_be_a_stop() {
    let mut rig = rig();
    let why = "the control topic can't be read".to_owned();
    let unread = Stopped { since: Millis(NOW.0 - 1), by: None, order: None, why };
    rig.lane.unread(Some(unread.clone()));
    let (fate, refused) = ruled(&mut rig);
    assert_eq!((fate.as_str(), refused), ("route", Some(format!("stop:order: {unread}"))));
    rig.lane.unread(None);
    assert_eq!(ruled(&mut rig).0, "suppress");

    // What is gone for ever stays stopped until people say otherwise.
    rig.miss(0, 4);
    let (fate, refused) = ruled(&mut rig);
    assert_eq!(fate, "route");
    assert!(refused.unwrap().contains("orders 0 to 4 of the control topic were gone"));
    rig.restart(rig.written.len());
    assert_eq!(ruled(&mut rig).0, "route");
    // Somebody may take it on themselves.
    let stop = for_all(Verb::Stop, "sam");
    assert_eq!(rig.control(&stop, &["sam"], (4, NOW)), "accepted");
    rig.miss(5, 3);
    assert_eq!(rig.control(&resuming(&stop, "lee"), &["lee"], (3, NOW)), "accepted");
    assert_eq!(ruled(&mut rig).0, "suppress");
    rig.is_whole();
}

/// INV-8: who can write to the chain can neither rule as if nothing was stopped nor go back in the
/// alerts by a gap of another topic.
#[test]
fn what_ignores_a_stop_is_found() {
    let mut rig = rig();
    assert_eq!(ruled(&mut rig).0, "suppress");
    let before = rig.written.last().unwrap().clone();
    assert_eq!(rig.control(&for_all(Verb::Stop, "sam"), &["sam"], (0, NOW)), "accepted");
    rig.is_whole();
    let found = |rig: &Rig, what: &str| {
        rig.verified().findings.iter().any(|finding| finding.what.contains(what))
    };
    let ruling = Record::parse(&before).unwrap();
    rig.plant(&ruling);
    assert!(found(&rig, "ruled as if nothing was stopped"));

    rig.restart(3);
    rig.plant(&gap(rig.now, (1, 0), "t.control"));
    rig.is_whole();
    rig.plant(&gap(rig.now, (0, 0), "t.alerts"));
    assert!(found(&rig, "its place in `t.alerts` falls behind 1"));
}
