//! A stop of everything automatic, ordered by people or because nobody knows what they ordered.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::super::kafka::skipped;
use super::super::rig::wait_until;
use super::super::seats;
use super::orders::public;
use super::reload::{edit, metric};
use super::silences::{OWNERS, found};
use super::{GITLEAKS, PATIENCE, Process, Site, delete_topic, drains, fate, says};

const MAY: &str = "roles: {analyst: [sam], lead: [dana]}\norders:\n  stop: [analyst, lead]\n  \
    resume: [lead]\nstop: false\n";
const ORDERS: &str = "orders: {allowed_signers: ../people}\n";
/// In front of all other rules.
const RULE: &str = "rules:
  - id: planned
    when: [location.file == \"again.py\", owner.team == \"web\"]
    on_unknown: next
    suppress: {reason: approved_change, evidence: [owner.team], expires: 1d, on_expiry: recheck}
";

fn site(bootstrap: &str) -> (Site, Process) {
    let site = Site::beside_others(bootstrap, "control");
    site.create(ORDERS);
    let (directory, port) = site.config("o1", ORDERS);
    let playbooks = site.own("o1", "playbooks");
    edit(&playbooks.join("boundary.yaml"), "stop: false\n", MAY);
    edit(&playbooks.join("exposed-key.yaml"), "rules:\n", RULE);
    fs::write(site.own("o1", "enrichers").join("owner/owners.csv"), OWNERS).unwrap();
    let root = &site.deployment.directory;
    let people = ["sam", "dana"].map(|name| format!("{name} {}", public(root, name)));
    fs::write(root.join("people"), people.concat()).unwrap();
    let mut process = Process::start(&directory, "intake,triage", port);
    site.wait_ready(&mut process);
    (site, process)
}

/// One alert more, which is suppressed unless that is stopped; and why it is.
fn ruled(site: &Site, process: &Process) -> (String, Value) {
    let before = site.ruled();
    site.publish(&[(GITLEAKS, 0, Some(found("again.py")))]);
    let ruling = site.rulings(before + 1, process).pop().unwrap();
    (fate(&ruling).to_owned(), ruling["counters"]["stopped"].clone())
}

#[test]
fn a_stop_reaches_every_chain_and_outlives_what_is_killed() {
    if Command::new("ssh-keygen").arg("-?").output().is_err() {
        return skipped("there is no ssh-keygen");
    }
    let Some((_beside, bootstrap)) = seats::shared() else { return };
    let (site, mut process) = site(&bootstrap);
    assert_eq!(ruled(&site, &process), ("suppress".to_owned(), Value::Null));

    let why = ["--why", "the registry of fixtures is wrong"];
    let stop = site.order(&[&["stop"], &why[..]].concat(), "sam");
    let says_all = "accepted as analyst: everything automatic is stopped; on 2 of 2 chains: 0, 1\n";
    assert_eq!((stop.code, stop.out.as_str()), (Some(0), says_all), "{stop:?}");
    let (fate, stopped) = ruled(&site, &process);
    assert_eq!((fate.as_str(), &stopped["by"]), ("route", &json!("sam")));
    process.kill();
    process.resume();
    site.wait_ready(&mut process);
    assert_eq!(ruled(&site, &process).0, "route");
    assert_eq!(metric(&process, "tipstaff_stopped", &["0"]), Some(1));
    let shown = site.verb(&["control"], "o1");
    let lines: Vec<&str> = shown.out.lines().collect();
    for (number, line) in lines.iter().enumerate() {
        let begins = format!("chain {number}   sam stopped everything automatic at 20");
        assert!(line.starts_with(&begins) && line.ends_with("the registry of fixtures is wrong"));
    }
    assert_eq!(lines.len(), 2, "{shown:?}");

    let early = site.order(&["resume", "--why", "mended"], "sam");
    assert!(early.out.starts_with("refused (wrong_role): "), "{early:?}");
    assert_eq!((early.code, ruled(&site, &process).0.as_str()), (Some(1), "route"));
    let resumed = site.order(&["resume", "--why", "mended"], "dana");
    let says_all = "accepted as lead: what was stopped goes on; on 2 of 2 chains: 0, 1\n";
    assert_eq!((resumed.code, resumed.out.as_str()), (Some(0), says_all), "{resumed:?}");
    assert_eq!(ruled(&site, &process).0, "suppress");

    what_cannot_be_read_is_stopped(&site, &process);
    drains(&mut process);
    let verified = site.verb(&["verify"], "o1");
    assert_eq!(verified.code, Some(0), "{verified:?}");
}

fn what_cannot_be_read_is_stopped(site: &Site, process: &Process) {
    let topic = site.topic("control");
    delete_topic(&site.bootstrap, &topic);
    says(process, &["the control topic can't be read", "nothing automatic is done"]);
    let (fate, stopped) = ruled(site, process);
    assert_eq!(
        (fate.as_str(), &stopped["why"]),
        ("route", &json!("the control topic can't be read"))
    );

    // What it held is gone, and might have been another stop.
    let made = site.verb(&["topics", "create"], "o1");
    assert!(made.out.contains(&format!("created topic {topic} (1 partitions)")), "{made:?}");
    let is_read = || site.records("gap").len() == 2;
    assert!(wait_until(PATIENCE, is_read), "{}", process.log());
    let (fate, stopped) = ruled(site, process);
    let why = "orders 3 to 0 of the control topic were gone before they were read";
    assert_eq!((fate.as_str(), &stopped["why"]), ("route", &json!(why)));
    let resumed = site.order(&["resume", "--why", "nobody stopped it"], "dana");
    assert_eq!(resumed.code, Some(0), "{resumed:?}");
    assert_eq!(ruled(site, process).0, "suppress");
}
