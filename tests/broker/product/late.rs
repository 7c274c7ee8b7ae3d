use std::fs;

use serde_json::{Value, json};

use super::super::rig::wait_until;
use super::super::seats;
use super::super::server::{Mode, Server};
use super::{GITLEAKS, PATIENCE, Process, Site, drains, fate, says};

/// Owners from a service, in the place of the shipped table.
pub const OWNER: &str = "\
enricher: owner
title: Who answers for an identity
owner: identity-platform
provides: {team: text, person: text, on_call: text, tier: text, environment: text, lifecycle: text}
key: nhi.id
source:
  http:
    service: catalog
    key: '(?<nhi>.+)'
    calls: [{id: owner, get: '/owners/{nhi}', absent_when: [{status: 404}]}]
    facts:
      team: {path: owner.team}
      person: {path: owner.person, optional: true}
      on_call: {path: owner.on_call, optional: true}
      tier: {path: owner.tier}
      environment: {path: owner.environment}
      lifecycle: {path: owner.lifecycle, optional: true}
";
pub const WEB: &str = r#"{"team": "web", "tier": "2", "environment": "staging"}"#;
const PAY: &str = r#"{"team": "pay", "tier": "1", "environment": "production"}"#;
const NHI: &str = "aws:iam:123456789012:user:ci-deployer";

/// A system that is slow after a start: alerts are ruled in time without it, and once more with it.
#[test]
fn what_answers_late_makes_one_revision_of_each_alert_and_one_call_for_all() {
    let Some((_beside, bootstrap)) = seats::shared() else { return };
    let server = Server::start(Mode::Slow(1_900, WEB));
    let site = Site::beside_others(&bootstrap, "late");
    site.create("");
    let services = format!(
        "services:\n  catalog: {{url: \"{}\", allow: [127.0.0.0/8], limits: {{timeout: 5s}}}}\n",
        server.url()
    );
    let (directory, port) = site.config("l1", &services);
    let enrichers = site.own("l1", "enrichers");
    fs::write(enrichers.join("owner/enricher.yaml"), OWNER).unwrap();
    let mut process = Process::start(&directory, "intake,triage", port);
    site.wait_ready(&mut process);

    let alerts: Vec<_> = (0..50).map(|n| (GITLEAKS, 0, Some(found(n)))).collect();
    site.publish(&alerts);
    let rulings = site.rulings(50, &process);
    assert!(rulings.iter().any(|ruling| owner(ruling)["why"] == "timeout"), "{}", rulings[0]);
    let late: Vec<&Value> =
        rulings.iter().filter(|ruling| owner(ruling)["why"] == "timeout").collect();
    assert!(late.iter().all(|ruling| fate(ruling) == "route"
        && ruling["waits"] == json!([{"enricher": "owner", "why": "timeout"}])));

    let is_there = wait_until(PATIENCE, || site.records("revision").len() >= late.len());
    assert!(is_there, "{}", process.log());
    let revisions = site.records("revision");
    assert_eq!(revisions.len(), late.len(), "one of each");
    for revision in &revisions {
        assert_eq!(revision["revised"]["why"], "late_fact");
        assert_eq!(owner(revision)["values"]["team"], "web");
        assert!(owner(revision)["cache"].is_string() && owner(revision)["as_of"].is_string());
        assert_eq!(revision.get("waits"), None);
    }
    assert_eq!(server.requests(), 1, "one call for all: {:?}", server.heads());
    assert!(
        server.heads()[0].starts_with("GET /owners/aws%3Aiam%3A123456789012%3Auser%3Aci-deployer ")
    );

    // A purge makes the running process ask again.
    server.turn(Mode::Right(PAY));
    let purged = site.verb(&["lookup", "owner", NHI, "--purge"], "l1");
    assert_eq!(purged.code, Some(0), "{purged:?}");
    site.publish(&[(GITLEAKS, 0, Some(found(50)))]);
    let last = by_file(site.rulings(51, &process), 50);
    assert_eq!(
        (&owner(&last)["values"]["team"], &owner(&last)["cache"]),
        (&json!("pay"), &json!("fetched"))
    );

    // What fails leads to people, and is told in the case; the stream goes on.
    server.turn(Mode::Status("500 Broken"));
    let other = site.verb(&["lookup", "owner", NHI, "--purge"], "l1");
    assert_eq!(other.code, Some(0));
    site.publish(&[(GITLEAKS, 0, Some(found(51)))]);
    let failed = by_file(site.rulings(52, &process), 51);
    assert_eq!((&owner(&failed)["state"], fate(&failed)), (&json!("unknown"), "route"));
    let page = process.get("/metrics").unwrap().1;
    assert!(page.contains("tipstaff_lookup_failures_total{"), "{page}");
    drains(&mut process);
    let verified = site.verb(&["verify"], "l1");
    assert_eq!(verified.code, Some(0), "{verified:?}");
    says(&process, &["drained"]);
}

fn found(n: usize) -> Vec<u8> {
    let finding = json!([{
        "RuleID": "aws-access-token", "Description": "d", "Secret": "AKIADEPLOYKEYEXAMPLE",
        "Match": "m", "File": format!("{n}.py"), "Fingerprint": format!("c:{n}.py:r:1"),
    }]);
    finding.to_string().into_bytes()
}

fn by_file(rulings: Vec<Value>, n: usize) -> Value {
    let file = format!("{n}.py");
    rulings.into_iter().find(|ruling| ruling["alert"]["location"]["file"] == file).unwrap()
}

fn owner(ruling: &Value) -> &Value {
    let facts = ruling["facts"].as_array().unwrap();
    facts.iter().find(|fact| fact["enricher"] == "owner").unwrap()
}
