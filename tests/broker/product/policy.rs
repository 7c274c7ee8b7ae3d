use std::fs;

use serde_json::Value;

use super::super::conservation::read_topic;
use super::super::rig::wait_until;
use super::super::seats;
use super::super::settings;
use super::{PATIENCE, Process, Site, delete_records, drains, ends, findings, says};

#[test]
fn a_policy_and_a_gap_are_on_record() {
    let Some((_beside, bootstrap)) = seats::shared() else { return };
    let site = Site::beside_others(&bootstrap, "policy");
    site.create("");
    let process = own_playbooks(&site);
    a_changed_playbook_is_another_policy_on_record(&site, process);
    alerts_removed_before_they_were_ruled_are_a_gap(&site);
}

/// An instance with playbooks of its own, which it may change.
fn own_playbooks(site: &Site) -> Process {
    let (directory, port) = site.config("p1", "");
    site.own("p1", "playbooks");
    Process::start(&directory, "intake,triage", port)
}

/// Policy records as chain partition, hash and generation.
fn activations(site: &Site) -> Vec<(i32, String, i64)> {
    let records = site.chains().into_iter().filter(|(.., record)| record["kind"] == "policy");
    records
        .map(|(partition, _, record)| {
            let hash = record["policy"]["hash"].as_str().unwrap().to_owned();
            (partition, hash, record["policy"]["generation"].as_i64().unwrap())
        })
        .collect()
}

fn hash_of(ruling: &Value) -> &str {
    ruling["policy"]["hash"].as_str().unwrap()
}

fn a_changed_playbook_is_another_policy_on_record(site: &Site, mut process: Process) {
    site.wait_ready(&mut process);
    site.publish(&findings(0, 0..4));
    let rulings = site.rulings(4, &process);
    let first = hash_of(&rulings[0]).to_owned();
    let active = |hash: &str, generation| {
        [(0, hash.to_owned(), generation), (1, hash.to_owned(), generation)]
    };
    assert_eq!(activations(site), active(&first, 1));
    the_bundle_is_stored(site, &first, "title: A key or token");
    drains(&mut process);

    let file = site.deployment.directory.join("playbooks/exposed-key.yaml");
    let shipped = fs::read_to_string(&file).unwrap();
    let changed = shipped.replacen("title: A key or token", "title: Changed, a key or token", 1);
    assert_ne!(changed, shipped);
    fs::write(&file, changed).unwrap();
    process.resume();
    site.wait_ready(&mut process);
    site.publish(&findings(0, 4..8));
    let rulings = site.rulings(8, &process);
    let is_new = |ruling: &&Value| hash_of(ruling) != first;
    let second = hash_of(rulings.iter().find(is_new).unwrap()).to_owned();
    assert_eq!(rulings.iter().filter(|ruling| hash_of(ruling) == second).count(), 4);
    let of = |hash: &str| -> Vec<_> {
        activations(site).into_iter().filter(|(_, each, _)| each == hash).collect()
    };
    assert_eq!(of(&second), active(&second, 2));
    the_bundle_is_stored(site, &second, "title: Changed, a key or token");
    drains(&mut process);

    // Back to the first: an older policy is never taken up by a forgotten process.
    fs::write(&file, shipped).unwrap();
    process.resume();
    let (code, log) = ends(&mut process);
    assert_eq!(code, 1);
    let last = log.lines().last().unwrap();
    for part in [&first, "(generation 1)", &second, "(generation 2)", "`--activate`"] {
        assert!(last.contains(part), "{part} is not in {last}");
    }
    let mut process = activated(site, "intake,triage");
    site.publish(&findings(0, 8..12));
    let rulings = site.rulings(12, &process);
    assert_eq!(rulings.iter().filter(|ruling| hash_of(ruling) == first).count(), 8);
    assert!(of(&first).ends_with(&[(1, first.clone(), 3)]), "{:?}", activations(site));
    drains(&mut process);
}

fn the_bundle_is_stored(site: &Site, hash: &str, part: &str) {
    let log = tipstaff::ingest::LogReader::connect(&settings(&site.bootstrap), "bundles").unwrap();
    let topic = site.topic("policies");
    let records = log.tail(&topic, 0, 0..log.stable(&topic, 0).unwrap()).unwrap();
    let found = records.iter().find(|record| record.key.as_deref() == Some(hash.as_bytes()));
    let bundle: std::collections::BTreeMap<String, String> =
        serde_json::from_slice(found.unwrap().value.as_deref().unwrap()).unwrap();
    assert!(bundle["playbooks/exposed-key.yaml"].contains(part));
    // Its name is what is in it: each path and text with its length in front.
    let mut bytes = Vec::new();
    for text in bundle.iter().flat_map(|(path, text)| [path, text]) {
        bytes.extend((text.len() as u64).to_be_bytes());
        bytes.extend(text.as_bytes());
    }
    assert_eq!(super::super::checker::hash(&bytes), hash);
}

fn activated(site: &Site, roles: &'static str) -> Process {
    let directory = site.deployment.directory.join("p1");
    let text = fs::read_to_string(directory.join("tipstaff.yaml")).unwrap();
    let port = text.split("127.0.0.1:").last().unwrap().lines().next().unwrap();
    let mut process =
        Process::start_with(&directory, roles, port.parse().unwrap(), &["--activate"], &[]);
    site.wait_ready(&mut process);
    process
}

/// Intake alone fills the alerts topic; what retention takes there before triage came is told.
fn alerts_removed_before_they_were_ruled_are_a_gap(site: &Site) {
    let mut intake = activated(site, "intake");
    site.publish(&findings(0, 100..140));
    let alerts = site.topic("alerts");
    let offsets = || -> Vec<i64> {
        let all = read_topic(&settings(&site.bootstrap), &alerts);
        all.into_iter().filter(|(p, ..)| *p == 0).map(|(_, offset, _)| offset).collect()
    };
    let is_filled = || read_topic(&settings(&site.bootstrap), &alerts).len() == 52;
    assert!(wait_until(PATIENCE, is_filled), "{}", intake.log());
    drains(&mut intake);
    let filled = offsets();
    let low = filled[filled.len() - 3];
    delete_records(&site.bootstrap, &alerts, 0, low);

    let mut process = activated(site, "triage");
    let ruled = || -> Vec<i64> {
        let of_chain = site.chains().into_iter().filter(|(partition, ..)| *partition == 0);
        of_chain.filter_map(|(.., record)| record["in"]["offset"].as_i64()).collect()
    };
    let last = filled.last().copied();
    assert!(wait_until(PATIENCE, || ruled().last().copied() == last), "{}", process.log());
    let gaps = site.records("gap");
    assert_eq!(gaps.len(), 1, "{gaps:#?}");
    assert_eq!(gaps[0]["gap"]["to"].as_i64(), Some(low), "{gaps:#?}");
    let from = gaps[0]["gap"]["from"].as_i64().unwrap();
    let (before, behind): (Vec<i64>, Vec<i64>) = ruled().into_iter().partition(|at| *at < low);
    assert_eq!(from, before.last().unwrap() + 1, "the gap begins where ruling stopped");
    assert_eq!(behind, filled[filled.len() - 3..], "what is left behind the gap is ruled");
    says(&process, &["messages were removed before they were ruled"]);
    let verified = site.verb(&["verify"], "operator");
    assert_eq!(verified.code, Some(0), "{verified:?}");
    drains(&mut process);

    let left = read_topic(&settings(&site.bootstrap), &alerts).len();
    let mut intake = activated(site, "intake");
    site.publish(&findings(0, 140..141));
    let count = || read_topic(&settings(&site.bootstrap), &alerts).len();
    assert!(wait_until(PATIENCE, || count() > left), "{}", intake.log());
    drains(&mut intake);
    assert_eq!(count(), left + 1, "intake sends nothing again that retention took");
}
