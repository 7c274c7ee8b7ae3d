use std::time::Duration;

use super::super::kafka::Kafka;
use super::super::rig::wait_until;
use super::{PATIENCE, Process, Site, by_origin, drains, findings, says, stop_between_commits};

/// Many transactions, so that one is open when something happens.
const SMALL: &str = "batch: {max_ms: 5, max_alerts: 20}\n";
/// Between a signal and the end of the process, whatever hangs.
const GRACE: Duration = Duration::from_secs(10);

pub fn broker_lost_and_drains() {
    let Some(mut kafka) = Kafka::start(&[]) else { return };
    let site = Site::new(&kafka.bootstrap(), "life", 2);
    site.create("");
    kafka.stop();
    let mut process = site.start("p1", "intake,triage", SMALL);
    it_waits_for_the_broker(&site, &process);
    kafka.resume();
    site.wait_ready(&mut process);
    site.publish(&findings(0, 0..10));
    site.rulings(10, &process);
    it_goes_on_when_the_broker_is_back(&site, &mut kafka, &mut process);
    of_two_with_one_name_one_ends(&site, &mut process);
    it_drains_while_it_is_busy(&site, &mut process);
    it_ends_without_a_broker(&site, &mut kafka, &mut process);
}

fn it_waits_for_the_broker(site: &Site, process: &Process) {
    says(process, &["waiting for Kafka at", &site.bootstrap]);
    assert_eq!(process.get("/readyz").unwrap().0, 503);
    assert_eq!(process.get("/healthz").unwrap().0, 200);
}

/// It goes while it is being written to; everything acknowledged is ruled once.
fn it_goes_on_when_the_broker_is_back(site: &Site, kafka: &mut Kafka, process: &mut Process) {
    site.publish(&findings(1, 10..300));
    stop_between_commits(kafka, &[process]);
    let is_told = || process.get("/readyz").is_some_and(|(status, _)| status == 503);
    assert!(wait_until(PATIENCE, is_told), "ready without a broker: {}", process.log());
    assert_eq!(process.get("/healthz").unwrap().0, 200);
    kafka.resume();
    site.publish(&findings(0, 300..310));
    let rulings = site.rulings(310, process);
    assert!(by_origin(&rulings).values().all(|count| *count == 1));
    site.wait_ready(process);
}

fn of_two_with_one_name_one_ends(site: &Site, first: &mut Process) {
    let (directory, port) = site.config("twin", "");
    site.edit("twin", "instance: twin", "instance: p1");
    let mut second = Process::start(&directory, "intake,triage", port);
    let one_ends = || {
        [&mut *first, &mut second].into_iter().any(|process| match process.ended() {
            Some(code) => {
                assert_eq!(code, 1, "{}", process.log());
                let log = process.log();
                assert!(log.contains("another worker runs under the name `p1-"), "{log}");
                assert!(log.contains("give each its own `--instance`"), "{log}");
                true
            }
            None => false,
        })
    };
    assert!(wait_until(PATIENCE, one_ends), "two of one name go on: {}", second.log());
    let goes_on = if first.runs() { &*first } else { &second };
    site.publish(&findings(0, 310..320));
    site.rulings(320, goes_on);
    if !first.runs() {
        drains(&mut second);
        first.resume();
    }
    site.wait_ready(first);
}

fn it_drains_while_it_is_busy(site: &Site, process: &mut Process) {
    site.publish(&findings(1, 320..6320));
    assert!(wait_until(PATIENCE, || site.ruled() > 320));
    let (code, took) = process.terminate();
    assert_eq!(code, Some(0), "{}", process.log());
    assert!(took < GRACE, "took {took:?}");
    let done = site.ruled();
    assert!(done < 6320, "it was not busy when it was told to end");
    process.resume();
    let rulings = site.rulings(6320, process);
    assert!(by_origin(&rulings).values().all(|count| *count == 1));
}

/// Once while the broker takes requests and answers none, once while it is gone.
fn it_ends_without_a_broker(site: &Site, kafka: &mut Kafka, process: &mut Process) {
    site.publish(&findings(0, 6320..7320));
    assert!(wait_until(PATIENCE, || site.ruled() > 6320));
    kafka.freeze(true);
    ends_in_time(process);
    kafka.freeze(false);
    process.resume();
    let rulings = site.rulings(7320, process);
    assert!(by_origin(&rulings).values().all(|count| *count == 1));
    let verified = site.verb(&["verify"], "operator");
    assert_eq!(verified.code, Some(0), "{verified:?}");

    site.publish(&findings(0, 7320..8320));
    assert!(wait_until(PATIENCE, || site.ruled() > 7320));
    kafka.kill();
    ends_in_time(process);
}

fn ends_in_time(process: &mut Process) {
    let (code, took) = process.terminate();
    let log = process.log();
    assert!(took < GRACE, "took {took:?}: {log}");
    match code {
        Some(0) => {}
        Some(1) => assert!(log.contains("is done at the next start"), "{log}"),
        other => panic!("{other:?}: {log}"),
    }
}
