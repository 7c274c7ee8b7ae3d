use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::super::rig::wait_until;
use super::super::seats;
use super::{GITLEAKS, PATIENCE, Process, Site, drains, says};

const OWNER: &str = "nhi_id,team,person,on_call,tier,environment,lifecycle\n";

#[test]
fn a_table_that_changes_is_used_from_then_on_and_a_wrong_one_never() {
    let Some((_beside, bootstrap)) = seats::shared() else { return };
    let site = Site::beside_others(&bootstrap, "tables");
    site.create("");
    let (directory, port) = site.config("t1", "");
    let owners = site.own("t1", "enrichers").join("owner/owners.csv");
    let aliases = site.own("t1", "pipelines").join("aliases.csv");
    let mut process = Process::start(&directory, "intake,triage", port);
    site.wait_ready(&mut process);

    let first = ruled(&site, &process, 1);
    assert_eq!(first["alert"]["nhi"]["id"], "aws:iam:123456789012:user:ci-deployer");
    assert_eq!(owner(&first)["values"]["team"], "web-platform");

    replace(&owners, &format!("{OWNER}a,b\n"));
    says(&process, &["owners.csv:2:1", "the row has 2 cells, the header 7"]);
    counted(&process, "table=\"owner\",result=\"refused\"");
    let second = ruled(&site, &process, 2);
    assert_eq!(owner(&second)["version"], owner(&first)["version"]);

    let row = "aws:iam:123456789012:user:ci-deployer,new-team,,,2,staging,active\n";
    replace(&owners, &format!("{OWNER}{row}"));
    counted(&process, "table=\"owner\",result=\"read\"");
    let third = ruled(&site, &process, 3);
    assert_eq!(owner(&third)["values"]["team"], "new-team");
    assert_ne!(owner(&third)["version"], owner(&first)["version"]);

    let text = fs::read_to_string(&aliases).unwrap();
    replace(&aliases, &text.replace("user:ci-deployer", "user:renamed"));
    counted(&process, "table=\"aliases\",result=\"read\"");
    let fourth = ruled(&site, &process, 4);
    assert_eq!(fourth["alert"]["nhi"]["id"], "aws:iam:123456789012:user:renamed");
    assert_ne!(fourth["alert"]["nhi"]["known_by"], first["alert"]["nhi"]["known_by"]);
    assert_eq!(owner(&fourth)["state"], "absent");

    assert_eq!(fourth["policy"], first["policy"], "tables are data, not policy");
    drains(&mut process);
}

/// Publishes one more finding of the same key and returns its ruling.
fn ruled(site: &Site, process: &Process, count: usize) -> Value {
    let finding = json!([{
        "RuleID": "aws-access-token", "Description": "d", "Secret": "AKIADEPLOYKEYEXAMPLE",
        "Match": "m", "File": format!("{count}.py"), "Fingerprint": format!("c:{count}.py:r:1"),
    }]);
    site.publish(&[(GITLEAKS, 0, Some(finding.to_string().into_bytes()))]);
    let rulings = site.rulings(count, process);
    let file = format!("{count}.py");
    rulings.into_iter().find(|ruling| ruling["alert"]["location"]["file"] == file).unwrap()
}

fn owner(ruling: &Value) -> &Value {
    let facts = ruling["facts"].as_array().unwrap();
    facts.iter().find(|fact| fact["enricher"] == "owner").unwrap()
}

/// As an editor or a download does it: at once, under another name first.
fn replace(file: &Path, text: &str) {
    let new = file.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, file).unwrap();
}

fn counted(process: &Process, labels: &str) {
    let is_it = |line: &str| {
        line.starts_with("tipstaff_table_reads_total{")
            && labels.split(',').all(|label| line.contains(label))
    };
    let has = || process.get("/metrics").is_some_and(|(_, page)| page.lines().any(is_it));
    assert!(wait_until(PATIENCE, has), "{labels} is not counted: {}", process.log());
}
