//! Webhooks on a real broker: who is let in, what an answer promises, and what a fault leaves.

mod callback;
pub mod client;
mod sns;

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use self::client::{
    Headers, Hook, basic, bearer, encoded, gitguardian, github, seconds, shown, standard,
};
use crate::conservation::{check, collect, read_topic, search};
use crate::deployment::{PREFIX, Process};
use crate::fire::output_names;
use crate::kafka::{Kafka, free_ports};
use crate::planted::{CANARY, forms};
use crate::product::{PATIENCE, Site, drains, fate, finding};
use crate::rig::wait_until;
use crate::{seats, settings};

const NEW: &str = "notareal-secret-of-today";
const OLD: &str = "notareal-secret-of-last-year";
const PASSWORD: &str = "tipstaff:notareal-password";
const GUARDDUTY: &[u8] = include_bytes!("../../pipelines/aws-guardduty/examples/bare.json");
const OKTA: &[u8] = include_bytes!("../../pipelines/okta-system-log/examples/event-hook.json");

/// A section of webhooks on a free port, each pipeline with its `verify`.
pub fn section(site: &Site, verify: [&str; 3], limits: &str) -> (Hook, String) {
    let directory = &site.deployment.directory;
    std::fs::write(directory.join("new"), NEW).unwrap();
    std::fs::write(directory.join("old"), OLD).unwrap();
    std::fs::write(directory.join("password"), PASSWORD).unwrap();
    std::fs::write(directory.join("encoded"), encoded(NEW)).unwrap();
    let port = free_ports(1)[0];
    let pipelines = ["gitleaks", "aws-guardduty", "okta-system-log"];
    let lines = pipelines.iter().zip(verify).map(|(name, verify)| {
        let files: &[&str] = match verify {
            "standard-webhooks" => &["encoded"],
            "basic" => &["password"],
            _ => &["new", "old"],
        };
        let files: Vec<String> = files.iter().map(|file| format!("{{file: ../{file}}}")).collect();
        format!("    {name}: {{verify: {verify}, secrets: [{}]}}\n", files.join(", "))
    });
    let lines: String = lines.collect();
    (Hook(port), format!("webhooks:\n  listen: 127.0.0.1:{port}\n{limits}  pipelines:\n{lines}"))
}

/// Rulings on alerts that came to a pipeline's webhook.
fn of_webhook(site: &Site, pipeline: &str) -> Vec<Value> {
    let topic = format!("webhook:{pipeline}");
    let rulings = site.records("ruling").into_iter();
    rulings.filter(|ruling| ruling["origin"]["topic"] == topic).collect()
}

fn alerts(site: &Site) -> Vec<Value> {
    let records = read_topic(&settings(&site.bootstrap), &site.topic("alerts"));
    records.iter().map(|(.., value)| serde_json::from_slice(value).unwrap()).collect()
}

/// How many alerts with this delivery's id are on the alerts topic.
fn written(site: &Site, id: &str) -> usize {
    let is_its = |alert: &Value| alert["origin"]["incarnation"].as_str().unwrap().starts_with(id);
    alerts(site).iter().filter(|alert| is_its(alert)).count()
}

#[test]
fn deliveries_are_verified_and_ruled_and_others_leave_nothing() {
    let Some((_beside, bootstrap)) = seats::shared() else { return };
    let site = Site::beside_others(&bootstrap, "hooked");
    site.create("");
    let header = "header, header: Authorization";
    let (hook, section_1) = section(&site, ["github", "bearer", header], "");
    let (other, section_2) = section(&site, ["standard-webhooks", "basic", "gitguardian"], "");
    let process = site.ready("p1", "intake,triage", &section_1);
    let mut second = site.ready("p2", "intake", &section_2);
    every_sender_is_let_in(&site, &hook, &other);
    what_proves_nothing_is_refused(&site, &hook, &other);
    a_repeat_is_acknowledged_and_not_written_again(&site, &hook);
    what_cannot_be_read_is_on_record(&site, &hook);
    okta_is_told_its_challenge(&hook);
    no_secret_is_kept(&site, &hook, &[&process, &second]);
    let (_, page) = process.get("/metrics").unwrap();
    for (labels, count) in [
        ("pipeline=\"gitleaks\",result=\"duplicate\"", 1),
        ("pipeline=\"gitleaks\",result=\"too_large\"", 2),
        ("pipeline=\"gitleaks\",result=\"incomplete\"", 1),
        ("pipeline=\"aws-guardduty\",result=\"unauthorized\"", 1),
    ] {
        let line = format!("tipstaff_webhook_deliveries_total{{{labels}}} {count}");
        assert!(page.contains(&line), "{line} is not in {page}");
    }
    drains(&mut second);
    what_has_begun_is_finished_in_a_drain(&site, &hook, process);
}

fn what_has_begun_is_finished_in_a_drain(site: &Site, hook: &Hook, mut process: Process) {
    let body = finding(8);
    let begun = hook.begin("gitleaks", &github(NEW, "begun", &body), &body);
    std::thread::sleep(Duration::from_millis(300));
    let draining = std::thread::spawn(move || drains(&mut process));
    let is_closed = || std::net::TcpStream::connect(("127.0.0.1", hook.0)).is_err();
    assert!(wait_until(PATIENCE, is_closed), "it still listens");
    let reply = begun.finish().expect("an answer");
    assert_eq!((reply.status, &reply.body["alerts"]), (202, &1.into()), "{reply:?}");
    draining.join().unwrap();
    assert_eq!(written(site, "begun/"), 1);
}

fn every_sender_is_let_in(site: &Site, hook: &Hook, other: &Hook) {
    let (one, two, three) = (finding(1), finding(2), finding(3));
    let now = seconds(0);
    let deliveries: [(&Hook, &str, Headers, &[u8]); 7] = [
        (hook, "gitleaks", github(NEW, "delivery-1", &one), &one),
        (hook, "gitleaks", github(OLD, "delivery-2", &two), &two),
        (hook, "aws-guardduty", bearer(OLD), GUARDDUTY),
        (hook, "okta-system-log", shown("Authorization", NEW), OKTA),
        (other, "gitleaks", standard(NEW, "msg_example3", &now, &three), &three),
        (other, "aws-guardduty", basic(PASSWORD), GUARDDUTY),
        (other, "okta-system-log", gitguardian(NEW, &now, OKTA), OKTA),
    ];
    let mut wanted = 0;
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(&finding(10)).unwrap();
    let packed = packed.finish().unwrap();
    let mut headers = github(NEW, "packed", &packed);
    headers.extend(shown("Content-Encoding", "gzip"));
    let deliveries: Vec<_> =
        deliveries.into_iter().chain([(hook, "gitleaks", headers, &packed[..])]).collect();
    for (hook, pipeline, headers, body) in deliveries {
        let reply = hook.post(pipeline, &headers, body);
        assert_eq!((reply.status, &reply.body["unreadable"]), (202, &0.into()), "{reply:?}");
        assert_eq!(reply.body["correlation_id"].as_str().unwrap().len(), 32);
        wanted += reply.body["alerts"].as_u64().unwrap();
    }
    let wanted = usize::try_from(wanted).unwrap();
    assert!(wait_until(PATIENCE, || site.ruled() >= wanted), "not everything is ruled");
    assert_eq!(of_webhook(site, "gitleaks").len(), 4);
    // The same bytes twice from senders that name no delivery: each counts.
    assert_eq!(of_webhook(site, "aws-guardduty").len(), 2);
    assert_eq!(of_webhook(site, "okta-system-log").len(), wanted - 6);
    let incarnations: Vec<String> = of_webhook(site, "gitleaks")
        .iter()
        .map(|ruling| ruling["origin"]["incarnation"].as_str().unwrap().to_owned())
        .collect();
    for id in ["delivery-1/", "delivery-2/", "msg_example3/"] {
        assert!(incarnations.iter().any(|each| each.starts_with(id)), "{id}: {incarnations:?}");
    }
}

fn what_proves_nothing_is_refused(site: &Site, hook: &Hook, other: &Hook) {
    let before = alerts(site).len();
    let body = finding(4);
    let refused = |reply: client::Reply| {
        assert_eq!(reply.status, 401, "{reply:?}");
        assert_eq!(reply.body, serde_json::json!({"error": "unauthorized"}));
        reply.head
    };
    refused(hook.post("gitleaks", &github("notareal-other-secret", "d", &body), &body));
    refused(hook.post("gitleaks", &github(NEW, "d", &finding(5)), &body));
    refused(hook.post("gitleaks", &Headers::new(), &body));
    let head = refused(hook.post("aws-guardduty", &basic(NEW), GUARDDUTY));
    assert!(head.contains("www-authenticate: bearer"), "{head}");
    let old = seconds(-301);
    refused(other.post("gitleaks", &standard(NEW, "m", &old, &body), &body));
    refused(other.post("okta-system-log", &gitguardian(NEW, &seconds(302), OKTA), OKTA));
    let large = vec![b' '; 1024 * 1024 + 1];
    let headers = github(NEW, "d", &large);
    assert_eq!(hook.post("gitleaks", &headers, &large).status, 413);
    assert_eq!(hook.post_in_chunks("gitleaks", &headers, &large).status, 413);
    let cut = hook.begin("gitleaks", &github(NEW, "d", &body), &body).give_up();
    assert!(cut.is_none_or(|reply| reply.status == 408));
    for unknown in ["no-such-pipeline", "", "gitleaks/x", "..%2Fgitleaks"] {
        assert_eq!(hook.post(unknown, &github(NEW, "d", &body), &body).status, 404, "{unknown}");
    }
    assert_eq!(alerts(site).len(), before);
}

fn a_repeat_is_acknowledged_and_not_written_again(site: &Site, hook: &Hook) {
    let body = finding(1);
    let reply = hook.post("gitleaks", &github(NEW, "delivery-1", &body), &body);
    assert_eq!((reply.status, reply.body), (202, serde_json::json!({"duplicate": true})));
    assert_eq!(written(site, "delivery-1/"), 1);
    // The name is not signed: under it may stand another alert, and none is lost.
    let body = finding(6);
    let reply = hook.post("gitleaks", &github(NEW, "delivery-1", &body), &body);
    assert_eq!((reply.status, &reply.body["alerts"]), (202, &1.into()));
}

fn what_cannot_be_read_is_on_record(site: &Site, hook: &Hook) {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)).into_bytes();
    for (id, body) in [("broken", &b"{\"Secret\":"[..]), ("deep", &deep), ("empty", b"")] {
        let reply = hook.post("gitleaks", &github(NEW, id, body), body);
        assert_eq!((reply.status, &reply.body["unreadable"]), (202, &1.into()), "{reply:?}");
    }
    let dead = |ruling: &Value| fate(ruling) == "dead_letter";
    let is_there =
        || of_webhook(site, "gitleaks").iter().filter(|ruling| dead(ruling)).count() == 3;
    assert!(wait_until(PATIENCE, is_there), "{:#?}", of_webhook(site, "gitleaks"));
}

fn okta_is_told_its_challenge(hook: &Hook) {
    let asks = |secret: &str| {
        let challenge = ("X-Okta-Verification-Challenge".to_owned(), "me\"_\\1".to_owned());
        [shown("Authorization", secret), vec![challenge]].concat()
    };
    let reply = hook.get("okta-system-log", &asks(NEW));
    assert_eq!(reply.body, serde_json::json!({"verification": "me\"_\\1"}), "{reply:?}");
    assert!(reply.head.contains("content-type: application/json"), "{reply:?}");
    assert_eq!(hook.get("okta-system-log", &asks("notareal")).status, 401);
    assert_eq!(hook.get("gitleaks", &asks(NEW)).status, 401);
    assert_eq!(hook.get("okta-system-log", &shown("Authorization", NEW)).status, 404);
}

/// In a body that is mapped, one that is not, one that is refused, and in a header.
fn no_secret_is_kept(site: &Site, hook: &Hook, processes: &[&Process]) {
    let mut report: Value = serde_json::from_slice(&finding(7)).unwrap();
    report[0]["Secret"] = CANARY.into();
    report[0]["Match"] = format!("key = {CANARY}").into();
    let report = serde_json::to_vec(&report).unwrap();
    let broken = &report[..report.len() - 1];
    let mut headers = github(NEW, "canary-1", &report);
    headers.extend(shown("Cookie", "notareal+canary/value"));
    assert_eq!(hook.post("gitleaks", &headers, &report).body["alerts"], 1);
    let reply = hook.post("gitleaks", &github(NEW, "canary-2", broken), broken);
    assert_eq!(reply.body["unreadable"], 1);
    assert_eq!(hook.post("gitleaks", &github(OLD, "canary-3", b""), &report).status, 401);
    wait_until(PATIENCE, || {
        let ids: Vec<Value> = of_webhook(site, "gitleaks");
        ids.iter().filter(|r| r["origin"]["incarnation"].to_string().contains("canary")).count()
            == 2
    });
    let outputs = output_names(&site.bootstrap, &site.prefix);
    let mut collected = collect(&settings(&site.bootstrap), &site.prefix, &outputs);
    let mut needles = forms();
    needles.push("notareal+canary/value".to_owned());
    needles.extend([NEW, OLD, PASSWORD].map(str::to_owned));
    let bytes: Vec<Vec<u8>> = needles.iter().map(|needle| needle.clone().into_bytes()).collect();
    assert_eq!(search(&collected, &bytes), Vec::<String>::new());
    for process in processes {
        let log = process.log();
        assert!(!needles.iter().any(|needle| log.contains(needle)), "{}", process.name);
    }
    collected.expected =
        alerts(site).iter().map(|alert| alert["alert_id"].as_str().unwrap().to_owned()).collect();
    let verdict = check(&collected);
    assert!(verdict.problems.is_empty() && verdict.rulings > 10, "{verdict:#?}");
}

/// Posts at the same time; the statuses in order of size.
fn at_once(port: u16, ids: &[&'static str]) -> Vec<u16> {
    let threads: Vec<_> = ids
        .iter()
        .map(|id| {
            let id = *id;
            std::thread::spawn(move || {
                let body = finding(id.len());
                let reply = Hook(port).post("gitleaks", &github(NEW, id, &body), &body);
                let asks_again = reply.head.contains("retry-after: ");
                assert_eq!(asks_again, matches!(reply.status, 429 | 503), "{reply:?}");
                reply.status
            })
        })
        .collect();
    let mut statuses: Vec<u16> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    statuses.sort_unstable();
    statuses
}

fn rulings_of(site: &Site, id: &str) -> usize {
    let is_its =
        |r: &Value| r["origin"]["incarnation"].as_str().unwrap_or_default().starts_with(id);
    of_webhook(site, "gitleaks").iter().filter(|ruling| is_its(ruling)).count()
}

#[test]
fn an_answer_claims_nothing_that_the_brokers_do_not_have() {
    let _beside = seats::beside();
    let Some(mut kafka) = Kafka::start(&[]) else { return };
    let site = Site::new(&kafka.bootstrap(), PREFIX, 2);
    site.create("");
    let (hook, more) =
        section(&site, ["github", "bearer", "basic"], "  in_flight: 2\n  wait: 2s\n");
    let mut process = site.ready("p1", "intake,triage", &more);
    assert_eq!(at_once(hook.0, &["warm/"]), [202]);

    // A broker that is there and says nothing.
    kafka.freeze(true);
    let ids = ["held/1", "held/22", "held/333", "held/4444"];
    assert_eq!(at_once(hook.0, &ids), [429, 429, 503, 503]);
    kafka.freeze(false);
    let is_taken = |ids: &'static [&'static str]| {
        wait_until(PATIENCE, || ids.iter().all(|id| at_once(hook.0, &[id]) == [202]))
    };
    assert!(is_taken(&["held/1", "held/22", "held/333", "held/4444"]), "{}", process.log());

    // Killed between the brokers' having it and its answer.
    kafka.freeze(true);
    let port = hook.0;
    let body = finding(9);
    let headers = github(NEW, "killed", &body);
    let (again, sent) = (headers.clone(), body.clone());
    let waiting = std::thread::spawn(move || Hook(port).try_post("gitleaks", &headers, &sent));
    std::thread::sleep(Duration::from_millis(700));
    process.kill();
    assert!(waiting.join().unwrap().is_none(), "it was answered");
    kafka.freeze(false);
    let is_written = wait_until(PATIENCE, || written(&site, "killed") == 1);
    assert!(is_written, "what was sent never came to the log");
    process.resume();
    site.wait_ready(&mut process);
    let reply = hook.post("gitleaks", &again, &body);
    assert_eq!((reply.status, &reply.body["alerts"]), (202, &1.into()), "{reply:?}");
    assert_eq!(written(&site, "killed"), 2);

    // No broker at all.
    kafka.stop();
    assert_eq!(at_once(hook.0, &["away"]), [503]);
    kafka.resume();
    assert!(is_taken(&["away"]), "{}", process.log());
    let all = ["warm", "held/1", "held/22", "held/333", "held/4444", "killed", "away"];
    wait_until(PATIENCE, || all.iter().all(|id| rulings_of(&site, id) == 1));
    for id in all {
        assert_eq!(rulings_of(&site, id), 1, "{id}");
    }
    assert!(!site.records("duplicate").is_empty(), "the repeat is not on record");
    drains(&mut process);
}
