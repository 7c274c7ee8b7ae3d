use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use super::super::rig::wait_until;
use super::super::seats;
use super::super::server::{Mode, Server};
use super::{GITLEAKS, PATIENCE, Process, Site, drains, says};

const KEY: &str = "aws:iam:123456789012:user:ci-deployer";
const SOURCE: &str = r#"source:
  http:
    service: catalog
    key: "(?<id>.+)"
    calls: [{id: one, get: "/{id}", absent_when: [{status: 404}]}]
    facts:
      team: {path: one.team}
      person: {path: one.person, optional: true}
      on_call: {path: one.on_call, optional: true}
      tier: {path: one.tier, optional: true}
      environment: {path: one.environment, optional: true}
      lifecycle: {path: one.lifecycle, optional: true}
"#;

/// Of the owner of the identity that the alerts are about.
fn owner(site: &Site, process: &Process, count: usize) -> Value {
    let finding = json!([{
        "RuleID": "aws-access-token", "Description": "d", "Secret": "AKIADEPLOYKEYEXAMPLE",
        "Match": "m", "File": format!("{count}.py"), "Fingerprint": format!("c:{count}.py:r:1"),
    }]);
    site.publish(&[(GITLEAKS, 0, Some(finding.to_string().into_bytes()))]);
    let file = format!("{count}.py");
    let rulings = site.rulings(count, process);
    let ruling = rulings.iter().find(|each| each["alert"]["location"]["file"] == file).unwrap();
    assert_eq!(ruling["alert"]["nhi"]["id"], KEY);
    let facts = ruling["facts"].as_array().unwrap();
    facts.iter().find(|fact| fact["enricher"] == "owner").unwrap().clone()
}

#[test]
fn answers_of_a_service_are_kept_over_a_restart_and_purged_on_demand() {
    let Some((_beside, bootstrap)) = seats::shared() else { return };
    let server = Server::start(Mode::Right("{\"team\":\"first\"}"));
    let site = Site::beside_others(&bootstrap, "services");
    site.create("");
    let more = format!(
        "services: {{catalog: {{url: \"{}\", allow: [127.0.0.1]}}}}\ncache: {{snapshot: kept}}\n",
        server.url()
    );
    let (directory, port) = site.config("s1", &more);
    let file = site.own("s1", "enrichers").join("owner/enricher.yaml");
    let text = fs::read_to_string(&file).unwrap();
    let (head, _) = text.split_once("source:").unwrap();
    fs::write(&file, format!("{head}{SOURCE}")).unwrap();
    let playbook = site.own("s1", "playbooks").join("exposed-key.yaml");
    let mut process = Process::start(&directory, "intake,triage", port);
    site.wait_ready(&mut process);

    let first = owner(&site, &process, 1);
    assert_eq!((&first["state"], &first["source"]), (&json!("known"), &json!("http:catalog")));
    assert_eq!((&first["cache"], &first["values"]["team"]), (&json!("fetched"), &json!("first")));
    let second = owner(&site, &process, 2);
    assert_eq!((&second["cache"], &second["as_of"]), (&json!("hit"), &first["as_of"]));
    assert_eq!(server.requests(), 1);

    server.turn(Mode::Right("{\"team\":\"second\"}"));
    let purged = site.verb(&["lookup", "--purge", "owner", KEY], "s1");
    assert_eq!(purged.code, Some(0), "{purged:?}");
    let third = owner(&site, &process, 3);
    assert_eq!((&third["cache"], &third["values"]["team"]), (&json!("fetched"), &json!("second")));
    let counted = "tipstaff_lookup_keys_total{answer=\"began\",enricher=\"owner\"} 2";
    let has = || process.get("/metrics").is_some_and(|(_, page)| page.contains(counted));
    assert!(wait_until(PATIENCE, has), "{counted}");

    // What a policy that is taken up asks of a fact's age, the cache goes by from then on.
    let rules = fs::read_to_string(&playbook).unwrap();
    let in_force = |text: &str, generation: &str| {
        fs::write(&playbook, text).unwrap();
        let counted = format!("tipstaff_policy_generation {generation}");
        let has = || process.get("/metrics").is_some_and(|(_, page)| page.contains(&counted));
        assert!(wait_until(PATIENCE, has), "{counted}");
    };
    in_force(&rules.replace("owner: {max_age: 7d}", "owner: {max_age: 1s}"), "2");
    let fourth = owner(&site, &process, 4);
    assert_eq!((&fourth["cache"], server.requests()), (&json!("fetched"), 3), "{fourth}");
    in_force(&rules, "3");
    drains(&mut process);

    let kept = directory.join("kept/services-s1.ndjson");
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    server.turn(Mode::Status("503 Down"));
    process.resume();
    site.wait_ready(&mut process);
    says(&process, &["1 answers of services were kept in"]);
    let fifth = owner(&site, &process, 5);
    assert_eq!((&fifth["cache"], &fifth["as_of"]), (&json!("hit"), &fourth["as_of"]));
    assert_eq!(server.requests(), 3);

    let purged = site.verb(&["lookup", "--purge", "owner", KEY], "s1");
    assert_eq!(purged.code, Some(0), "{purged:?}");
    let sixth = owner(&site, &process, 6);
    assert_eq!((&sixth["state"], &sixth["why"]), (&json!("unknown"), &json!("error")));
    assert!(sixth["detail"].as_str().unwrap().contains("503 Service Unavailable"), "{sixth}");
    drains(&mut process);
}
