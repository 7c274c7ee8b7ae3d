use std::fs;

use serde_json::{Value, json};

use super::super::conservation::read_topic;
use super::super::rig::wait_until;
use super::super::seats;
use super::super::settings;
use super::reload::{edit, metric};
use super::{GITLEAKS, PATIENCE, Process, Site, drains, fate};

pub const OWNERS: &str = "nhi_id,team,person,on_call,tier,environment,lifecycle\n\
    aws:iam:123456789012:user:ci-deployer,web,,,2,staging,active\n";

/// In front of all other rules.
const RULES: &str = "rules:
  - id: planned
    when: [location.file == \"again.py\", owner.team == \"web\"]
    on_unknown: next
    suppress: {reason: approved_change, evidence: [owner.team], expires: 20s, on_expiry: recheck}
  - id: noted
    when: [location.file == \"told.py\", has(owner.team)]
    on_unknown: next
    suppress: {reason: approved_change, evidence: [owner.team], expires: 3s, on_expiry: release_summary}
";

/// What was suppressed comes to its end once, whatever is killed in between: ruled again with what is
/// true by then, or told of.
#[test]
fn what_was_suppressed_is_ruled_again_or_told_of_when_its_time_is_over() {
    let Some((_beside, bootstrap)) = seats::shared() else { return };
    let site = Site::beside_others(&bootstrap, "silences");
    site.create("");
    let (directory, port) = site.config("s1", "");
    let owners = site.own("s1", "enrichers").join("owner/owners.csv");
    let playbook = site.own("s1", "playbooks").join("exposed-key.yaml");
    edit(&playbook, "rules:\n", RULES);
    fs::write(&owners, OWNERS).unwrap();
    let mut process = Process::start(&directory, "intake,triage", port);
    site.wait_ready(&mut process);

    site.publish(&[(GITLEAKS, 0, Some(found("again.py")))]);
    site.rulings(1, &process);
    site.publish(&[(GITLEAKS, 0, Some(found("again.py")))]);
    let rulings = site.rulings(2, &process);
    assert!(rulings.iter().all(|ruling| fate(ruling) == "suppress"), "{rulings:?}");
    process.kill();
    fs::write(&owners, OWNERS.replace("web", "billing")).unwrap();
    process.resume();
    site.wait_ready(&mut process);
    let revised = || site.records("revision").len() == 1;
    assert!(wait_until(PATIENCE, revised), "{}", process.log());
    let again = site.records("revision").remove(0);
    assert_eq!(again["revised"], json!({"why": "suppression_over"}));
    assert_eq!((&again["alert_id"], fate(&again)), (&rulings[1]["alert_id"], "route"), "{again}");
    let until = rulings[0]["ruling"]["fate"]["suppress"]["expires_at"].as_str().unwrap();
    assert!(again["at"].as_str().unwrap() >= until, "{again}");
    let told = &again["told"];
    assert_eq!(told["changed"], json!(["opened", "suppression_over"]));
    assert_eq!((&told["count"], &told["revision"]), (&json!(2), &json!(1)));
    let queue = told["queue"].as_str().unwrap().to_owned();
    let case = cases(&site, &queue).remove(0);
    assert_eq!(case["facts"][0]["values"]["team"], "billing", "with the facts of then: {case}");

    site.publish(&[(GITLEAKS, 0, Some(found("told.py")))]);
    let is_told = || cases(&site, &queue).len() == 2;
    assert!(wait_until(PATIENCE, is_told), "{}", process.log());
    let notice = cases(&site, &queue).remove(1);
    assert_eq!(notice["changed"], json!(["suppression_over"]));
    assert_eq!(
        (&notice["case_id"], &notice["case_revision"], &notice["count"]),
        (&case["case_id"], &json!(2), &json!(1))
    );
    assert_eq!(metric(&process, "tipstaff_cases_told_total", &["suppression_over"]), Some(2));
    drains(&mut process);
    assert_eq!((site.records("revision").len(), site.records("timer").len()), (1, 1), "each once");
    let verified = site.verb(&["verify"], "s1");
    assert_eq!(verified.code, Some(0), "{verified:?}");
    let shown = site.verb(&["suppressions", "--all"], "s1");
    assert!(shown.out.contains("then release_summary"), "{shown:?}");
    let shown = site.verb(&["suppressions", "--all", "--json"], "s1");
    let ends = format!("\"expires_at\":\"{until}\"");
    assert!(shown.out.contains(&ends), "with the first of the case's alerts: {shown:?}");
}

/// One value in another file is another alert of the same case.
pub fn found(file: &str) -> Vec<u8> {
    let finding = json!([{
        "RuleID": "aws-access-token", "Description": "d", "Secret": "AKIADEPLOYKEYEXAMPLE",
        "Match": "m", "File": file, "Fingerprint": format!("c:{file}:r:1"),
    }]);
    finding.to_string().into_bytes()
}

fn cases(site: &Site, queue: &str) -> Vec<Value> {
    let cases = read_topic(&settings(&site.bootstrap), &site.topic(&format!("cases.{queue}")));
    cases.iter().map(|(.., bytes)| serde_json::from_slice(bytes).unwrap()).collect()
}
