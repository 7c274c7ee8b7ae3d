use std::time::Duration;

use tipstaff::ingest::Admin;

use super::super::kafka::Kafka;
use super::super::rig::wait_until;
use super::super::{create_topics, seats, settings};
use super::{PATIENCE, Site, delete_topic, drains, ends, says};

const OTHER_KEY: &str = "the chain began with fingerprint key t1, but it is t2 now";

/// Lines of a check that found something.
fn differences(site: &Site, instance: &str) -> Vec<String> {
    let found = site.verb(&["topics", "check"], instance);
    assert_eq!(found.code, Some(1), "{found:?}");
    found.out.lines().map(str::to_owned).collect()
}

#[test]
fn topics_are_made_once_and_nothing_runs_on_others() {
    let _beside = seats::beside();
    let Some(kafka) = Kafka::start(&[]) else { return };
    let site = Site::new(&kafka.bootstrap(), "setup", 2);

    nothing_runs_before_its_topics(&site);
    topics_create_can_be_repeated(&site);
    another_partition_count_is_refused(&site);
    another_fingerprint_key_is_blocked(&site);
    a_missing_output_topic_is_named(&site);
    an_adopted_topic_must_be_one_of_ours(&site);
}

fn nothing_runs_before_its_topics(site: &Site) {
    for roles in ["intake,triage", "intake", "triage"] {
        let mut early = site.start("early", roles, "");
        let (code, log) = ends(&mut early);
        assert_eq!(code, 1, "{log}");
        let last = log.lines().last().unwrap_or_default();
        assert!(last.contains("does not exist: run `tipstaff topics create`"), "{log}");
    }
    let missing = differences(site, "early");
    // Three detectors, alerts, decisions, policies, dead letters, actions and at least one queue.
    assert!(missing.len() >= 9, "{missing:#?}");
    assert!(missing.iter().all(|line| line.ends_with(" is missing")), "{missing:#?}");
}

fn topics_create_can_be_repeated(site: &Site) {
    let first = site.create("");
    assert!(first.out.contains("wrote genesis of 2 chains"), "{first:?}");
    for (name, count) in [("cases.soc-triage", 1), ("dead-letters", 1), ("actions", 2)] {
        let made = format!("created topic setup.{name} ({count} partitions)");
        assert!(first.out.contains(&made), "{made}: {first:?}");
    }
    let partitions = 2 * first.out.matches("created topic alerts.").count();
    assert!(partitions > 60, "{first:?}");
    let start = format!("set the start of {partitions} detector partitions to earliest");
    assert!(first.out.contains(&start), "{first:?}");
    let second = site.verb(&["topics", "create"], "operator");
    assert_eq!(second.code, Some(0), "{second:?}");
    let is_old = |line: &str| line.starts_with("exists topic ");
    assert!(second.out.lines().all(is_old), "{second:?}");
    assert_eq!(
        second.out.lines().count() + 2,
        first.out.lines().count(),
        "the first one also says what it wrote: {first:?}"
    );
    let checked = site.verb(&["topics", "check"], "operator");
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert_eq!(checked.out.lines().count(), 1, "{checked:?}");
}

fn another_partition_count_is_refused(site: &Site) {
    delete_topic(&site.bootstrap, "setup.actions");
    let (directory, port) = site.config("wider", "");
    site.edit("wider", "partitions: 2", "partitions: 2, case_partitions: 2");
    let found = differences(site, "wider");
    let of_cases = "topic setup.cases.soc-triage has 1 partitions, not 2".to_owned();
    assert!(found.contains(&of_cases), "{found:#?}");
    site.edit("wider", "partitions: 2, case_partitions: 2", "partitions: 3");
    let found = differences(site, "wider");
    assert!(found.contains(&"topic setup.alerts has 2 partitions, not 3".to_owned()), "{found:#?}");
    assert!(found.contains(&"topic setup.decisions has 2 partitions, not 3".to_owned()));
    let created = site.verb(&["topics", "create"], "wider");
    assert_eq!(created.code, Some(1), "{created:?}");
    let known = Admin::connect(&settings(&site.bootstrap)).unwrap();
    assert_eq!(known.partitions("setup.actions"), Ok(None), "made with the wrong count");
    assert_eq!(site.verb(&["topics", "create"], "operator").code, Some(0));
    let mut wider = super::Process::start(&directory, "intake,triage", port);
    let (code, log) = ends(&mut wider);
    assert_eq!(code, 1);
    assert!(log.contains("has 2 partitions, the configuration says 3"), "{log}");
}

fn another_fingerprint_key_is_blocked(site: &Site) {
    let (directory, port) = site.config("rekeyed", "");
    site.edit("rekeyed", "id: t1", "id: t2");
    let found = differences(site, "rekeyed");
    let expected: Vec<String> =
        (0..2).map(|p| format!("chain setup.decisions/{p}: {OTHER_KEY}")).collect();
    assert_eq!(found, expected);
    let mut rekeyed = super::Process::start(&directory, "triage", port);
    says(&rekeyed, &["setup.alerts/0 is blocked", "fingerprint key t1, but it is t2 now"]);
    says(&rekeyed, &["setup.alerts/1 is blocked", "fingerprint key t1, but it is t2 now"]);
    let is_told = || {
        let (status, body) = rekeyed.get("/readyz").unwrap();
        status == 503 && body.contains("blocked partition")
    };
    assert!(wait_until(PATIENCE, is_told), "{:?}", rekeyed.get("/readyz"));
    assert_eq!(rekeyed.get("/healthz").unwrap().0, 200);
    drains(&mut rekeyed);
}

fn a_missing_output_topic_is_named(site: &Site) {
    delete_topic(&site.bootstrap, "setup.actions");
    assert_eq!(differences(site, "operator"), ["topic setup.actions is missing"]);
    let mut lame = site.start("lame", "triage", "");
    let (code, log) = ends(&mut lame);
    assert_eq!(code, 1);
    assert!(log.contains("do not exist: `setup.actions`; run `tipstaff topics create`"), "{log}");
    assert_eq!(site.verb(&["topics", "create"], "operator").code, Some(0));
    assert_eq!(site.verb(&["topics", "check"], "operator").code, Some(0));
}

fn an_adopted_topic_must_be_one_of_ours(site: &Site) {
    create_topics(&site.bootstrap, &["other"], 1);
    let refused = site.verb(&["topics", "create", "--adopt", "other"], "operator");
    assert_eq!(refused.code, Some(64), "{refused:?}");
    assert!(refused.err.contains("`--adopt other`"), "{refused:?}");
}

#[test]
fn a_process_waits_for_kafka_and_says_so() {
    let nobody = format!("127.0.0.1:{}", super::free_ports(1)[0]);
    let site = Site::new(&nobody, "waiting", 2);
    let mut process = site.start("w1", "intake,triage", "");
    says(&process, &["waiting for Kafka at", &nobody]);
    let (status, body) = process.get("/readyz").unwrap();
    assert_eq!(status, 503);
    assert!(body.contains(&format!("waiting for Kafka at {nobody}")), "{body}");
    assert_eq!(process.get("/healthz").unwrap().0, 200);
    assert_eq!(process.get("/metrics").unwrap().0, 200);
    let (code, took) = process.terminate();
    assert_eq!(code, Some(0), "{}", process.log());
    assert!(took < Duration::from_secs(2), "took {took:?}");
}
