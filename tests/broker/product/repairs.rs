use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::super::conservation::read_topic;
use super::super::rig::wait_until;
use super::super::seats;
use super::super::settings;
use super::{GITLEAKS, PATIENCE, Process, Site, drains, fate};

const OWNERS: &str = "nhi_id,team,person,on_call,tier,environment,lifecycle\n";
const ROW: &str = "aws:iam:123456789012:user:ci-deployer,web,,,2,staging,active\n";

/// In front of all other rules.
const RULES: &str = "rules:
  - id: brief
    when: [location.file == \"brief.py\"]
    hold: {queue: soc-triage, priority: low, for: 2s}
  - id: nobodys
    when: [owner.team == \"nobody\"]
    on_unknown: hold
    route: {queue: soc-triage, priority: medium}
";

/// A hold says what to repair, outlives a crash, and ends once: by the repair, or by its time.
#[test]
fn a_held_alert_is_ruled_again_when_its_fact_is_repaired_or_its_time_is_over() {
    let Some((_beside, bootstrap)) = seats::shared() else { return };
    let site = Site::beside_others(&bootstrap, "repairs");
    site.create("");
    let (directory, port) = site.config("r1", "");
    let owners = site.own("r1", "enrichers").join("owner/owners.csv");
    let playbook = site.own("r1", "playbooks").join("exposed-key.yaml");
    edit(&playbook, "rules:\n", RULES);
    fs::write(&owners, format!("{OWNERS}{ROW}{}", ROW.replace("web", "billing"))).unwrap();
    let mut process = Process::start(&directory, "intake,triage", port);
    site.wait_ready(&mut process);

    site.publish(&[(GITLEAKS, 0, Some(found("a.py")))]);
    let held = site.rulings(1, &process).remove(0);
    assert_eq!(fate(&held), "hold", "{held}");
    assert_eq!(held["waits"], json!([{"enricher": "owner", "why": "conflict"}]));
    let case = cases(&site, "data-repair").remove(0);
    assert_eq!((&case["state"], &case["repair"][0]["enricher"]), (&json!("held"), &json!("owner")));
    let what = case["repair"][0]["what"].as_str().unwrap();
    assert!(what.contains("table:owners.csv") && what.contains("user:ci-deployer"), "{what}");

    let conflicts = "tipstaff_facts_total{enricher=\"owner\",state=\"conflict\"} 1";
    let is_counted = || process.get("/metrics").is_some_and(|(_, page)| page.contains(conflicts));
    assert!(wait_until(PATIENCE, is_counted), "{conflicts}");

    // The alert once more is a duplicate, whose facts no first ruling rests on.
    let alert = read_topic(&settings(&site.bootstrap), &site.topic("alerts")).remove(0);
    site.publish(&[(&site.topic("alerts"), alert.0, Some(alert.2))]);
    let duplicates = || {
        process
            .get("/metrics")
            .is_some_and(|(_, page)| page.contains("tipstaff_duplicate_alerts_total 1"))
    };
    assert!(wait_until(PATIENCE, duplicates), "{}", process.log());
    assert!(is_counted(), "{conflicts}");

    process.kill();
    process.resume();
    site.wait_ready(&mut process);
    assert_eq!(site.records("revision").len(), 0, "nothing has changed");
    fs::write(&owners, format!("{OWNERS}{ROW}")).unwrap();
    let revision = revisions(&site, &process, 1).remove(0);
    assert_eq!(revision["alert_id"], held["alert_id"]);
    assert_eq!(revision["revision"], 1);
    assert_eq!(
        (&revision["revised"]["why"], &revision["revised"]["facts"]),
        (&json!("repaired"), &json!(["owner"]))
    );
    assert_eq!(revision["cause"]["seq"], held["seq"]);
    assert_eq!(fate(&revision), "route", "{revision}");
    let queue = revision["ruling"]["fate"]["route"]["queue"].as_str().unwrap();
    let moved = cases(&site, "data-repair").pop().unwrap();
    assert_eq!((&moved["state"], &moved["revision"]), (&json!("moved"), &json!(1)));
    let released = cases(&site, queue).pop().unwrap();
    assert_eq!((&released["state"], &released["case_id"]), (&json!("new"), &case["case_id"]));

    site.publish(&[(GITLEAKS, 0, Some(found("brief.py")))]);
    let over = revisions(&site, &process, 2).pop().unwrap();
    assert_eq!(over["revised"]["why"], "hold_over");
    assert_eq!((fate(&over), &over["ruling"]["reason"]), ("route", &json!("hold_over")));
    let page = process.get("/metrics").unwrap().1;
    assert!(
        page.contains("tipstaff_revisions_total{ruling=\"route\",why=\"hold_over\"} 1"),
        "{page}"
    );
    assert!(
        page.contains("tipstaff_revisions_total{ruling=\"route\",why=\"repaired\"} 1"),
        "{page}"
    );
    drains(&mut process);
    assert_eq!(site.records("revision").len(), 2, "each once");
    let verified = site.verb(&["verify"], "r1");
    assert_eq!(verified.code, Some(0), "{verified:?}");
}

fn found(file: &str) -> Vec<u8> {
    let finding = json!([{
        "RuleID": "aws-access-token", "Description": "d", "Secret": "AKIADEPLOYKEYEXAMPLE",
        "Match": "m", "File": file, "Fingerprint": format!("c:{file}:r:1"),
    }]);
    finding.to_string().into_bytes()
}

fn edit(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    fs::write(file, text.replacen(from, to, 1)).unwrap();
}

fn cases(site: &Site, queue: &str) -> Vec<Value> {
    let cases = read_topic(&settings(&site.bootstrap), &site.topic(&format!("cases.{queue}")));
    cases.iter().map(|(.., bytes)| serde_json::from_slice(bytes).unwrap()).collect()
}

fn revisions(site: &Site, process: &Process, count: usize) -> Vec<Value> {
    let is_there = wait_until(PATIENCE, || site.records("revision").len() >= count);
    assert!(is_there, "{}", process.log());
    site.records("revision")
}
