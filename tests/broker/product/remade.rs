//! Topics that somebody deleted and made again: none is taken for another of the same name.

use tipstaff::ingest::Admin;

use super::super::rig::wait_until;
use super::super::{create_topics, seats, settings};
use super::{
    GITLEAKS, PATIENCE, Process, Site, by_origin, delete_topic, drains, ends, findings, says,
};

const OKTA: &str = "alerts.okta";
const FAILED_SIGN_IN: &[u8] =
    include_bytes!("../../../pipelines/okta-system-log/examples/sign-in-failed.json");

#[test]
fn a_topic_that_was_made_again_is_not_read_until_somebody_says_so() {
    let Some((_beside, bootstrap)) = seats::shared() else { return };
    let site = Site::beside_others(&bootstrap, "remade");
    site.create("");
    let gitleaks = site.detector(GITLEAKS);
    let mut process = site.ready("p1", "intake,triage", "");
    a_detector_topic_made_again_is_blocked_alone(&site, &process);
    // Starts are set once intake is gone from its group; until then the command waits.
    std::thread::scope(|scope| {
        let adopting =
            scope.spawn(|| site.verb(&["topics", "create", "--adopt", &gitleaks], "operator"));
        site.publish(&[sign_in(1)]);
        site.rulings(8, &process);
        assert!(!adopting.is_finished(), "starts were set under a running intake");
        drains(&mut process);
        let adopted = adopting.join().unwrap();
        assert_eq!(adopted.code, Some(0), "{adopted:?}");
        assert!(adopted.out.contains("set the start of 2 detector partitions"), "{adopted:?}");
    });
    a_decisions_topic_made_again_is_never_begun_by_chance(&site);
    what_was_adopted_runs_again(&site);
}

fn sign_in(partition: i32) -> (&'static str, i32, Option<Vec<u8>>) {
    (OKTA, partition, Some(FAILED_SIGN_IN.to_vec()))
}

/// While intake runs: it sees only the new topic, in which its next offset is there, too.
fn a_detector_topic_made_again_is_blocked_alone(site: &Site, process: &Process) {
    site.publish(&findings(0, 0..5));
    site.rulings(5, process);
    process.freeze(true);
    let (gitleaks, okta) = (site.detector(GITLEAKS), site.detector(OKTA));
    delete_topic(&site.bootstrap, &gitleaks);
    create_topics(&site.bootstrap, &[&gitleaks], 2);
    site.publish(&findings(0, 100..120));
    process.freeze(false);
    site.publish(&[sign_in(0)]);
    // The other detector goes on, and nothing of the new topic is taken for the old one.
    let rulings = site.rulings(6, process);
    assert_eq!(
        rulings.iter().filter(|ruling| ruling["origin"]["topic"] == okta.as_str()).count(),
        1
    );
    for partition in 0..2 {
        let command = format!("run `tipstaff topics create --adopt {gitleaks}`");
        says(process, &[&format!("partition {gitleaks}/{partition} is blocked"), &command]);
    }
    let is_told = || process.get("/readyz").is_some_and(|(status, _)| status == 503);
    assert!(wait_until(PATIENCE, is_told), "ready with blocked partitions");
    site.publish(&[sign_in(1)]);
    site.rulings(7, process);
    let checked = site.verb(&["topics", "check"], "operator");
    assert_eq!(checked.code, Some(1), "{checked:?}");
    assert!(checked.out.contains(&gitleaks), "{checked:?}");
}

fn a_decisions_topic_made_again_is_never_begun_by_chance(site: &Site) {
    let decisions = site.topic("decisions");
    delete_topic(&site.bootstrap, &decisions);
    let mut process = site.start("p1", "triage", "");
    let (code, log) = ends(&mut process);
    assert_eq!(code, 1);
    assert!(log.contains("topic `remade.decisions` does not exist"), "{log}");

    create_topics(&site.bootstrap, &[&decisions], 2);
    let mut process = site.start("p1", "triage", "");
    says(&process, &["remade.alerts/0 is blocked", "the chain has no genesis record"]);
    says(&process, &["remade.alerts/1 is blocked", "the chain has no genesis record"]);
    drains(&mut process);
    let refused = site.verb(&["topics", "create"], "operator");
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("the records are gone"), "{refused:?}");
    assert!(refused.err.contains("--adopt remade.decisions"), "{refused:?}");
    assert!(site.chains().is_empty(), "a refused create wrote genesis");
}

/// The chains begin behind what was ruled: no alert gets a second first ruling.
fn what_was_adopted_runs_again(site: &Site) {
    let decisions = site.topic("decisions");
    let adopted = site.verb(&["topics", "create", "--adopt", &decisions], "operator");
    assert_eq!(adopted.code, Some(0), "{adopted:?}");
    assert_eq!(site.verb(&["topics", "check"], "operator").code, Some(0));
    site.publish(&[sign_in(0)]);
    let mut process = site.ready("p1", "intake,triage", "");
    let rulings = site.rulings(21, &process);
    let okta = site.detector(OKTA);
    let of_okta = by_origin(&rulings).into_keys().filter(|(topic, ..)| *topic == okta);
    assert_eq!(of_okta.collect::<Vec<_>>(), [(okta.clone(), 0, 1)]);
    let new = incarnation(site, &site.detector(GITLEAKS));
    let of_new = rulings.iter().filter(|ruling| ruling["origin"]["incarnation"] == new.as_str());
    assert_eq!(of_new.count(), 20, "the new topic is read from its beginning");
    let found = site.records("recovery");
    assert!(found.iter().all(|r| r["recovery"]["found"] == "committed_head_missing"), "{found:#?}");
    assert_eq!(found.len(), 2, "each chain tells that its records are gone");
    let verified = site.verb(&["verify"], "operator");
    assert_eq!(verified.code, Some(0), "{verified:?}");
    drains(&mut process);
}

fn incarnation(site: &Site, topic: &str) -> String {
    Admin::connect(&settings(&site.bootstrap)).unwrap().topic_ids(&[topic]).unwrap().remove(0)
}
