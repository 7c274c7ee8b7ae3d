use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::super::ALONE;
use super::super::kafka::{Kafka, skipped};
use super::super::rig::wait_until;
use super::super::settings;
use super::{PATIENCE, Process, Site, drains, findings, publish, says};

const CANDIDATE: &str = "playbook: candidate\ntitle: t\nowner: o\nmode: shadow\non: {kind: exposed_key}\nrules:\n\
    - {id: all, route: {queue: cicd-response, priority: critical}}\n";

#[test]
fn a_policy_that_changes_is_taken_up_whole_under_traffic_or_not_at_all() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let Some(kafka) = Kafka::start(&[]) else { return };
    let site = Site::new(&kafka.bootstrap(), "reload", 2);
    site.create("");
    // Long batches: what is stored is not on the chains for a while.
    let (directory, port) = site.config("r1", "batch: {max_ms: 2000}\n");
    let [playbooks, pipelines, enrichers] =
        ["playbooks", "pipelines", "enrichers"].map(|folder| site.own("r1", folder));
    edit(&playbooks.join("boundary.yaml"), "queues:\n", "queues:\n  new-queue: nobody yet\n");
    let mut process = Process::start(&directory, "intake,triage", port);
    site.wait_ready(&mut process);
    let mut traffic = Traffic { site: &site, sent: 0 };
    traffic.send();

    a_changed_file_is_in_force_without_a_restart(&mut traffic, &playbooks, &process);
    a_wrong_file_changes_nothing_and_says_so(&mut traffic, &playbooks, &process);
    shadows_are_ruled_beside_the_fate(&mut traffic, &playbooks, &process);
    what_the_cluster_lacks_is_tried_again(&mut traffic, &playbooks, &process);
    pipelines_are_changed_with_the_rest(&mut traffic, &pipelines, &process);
    what_needs_a_restart_is_refused_whole(&mut traffic, [&pipelines, &enrichers], &process);
    changed_back_it_is_newer_still(&mut traffic, &playbooks, &process);
    killed_between_storing_and_activation(&mut traffic, &playbooks, &mut process);

    site.rulings(traffic.sent, &process);
    every_ruling_is_under_its_chain_s_policy(&site);
    drains(&mut process);
    let verified = site.verb(&["verify"], "operator");
    assert_eq!(verified.code, Some(0), "{verified:?}");
}

/// Alerts that never stop coming.
struct Traffic<'s> {
    site: &'s Site,
    sent: usize,
}

impl Traffic<'_> {
    fn send(&mut self) {
        publish(&self.site.bootstrap, &findings(0, self.sent..self.sent + 20));
        self.sent += 20;
    }

    /// Until it is so.
    fn until(&mut self, what: &str, process: &Process, is_so: impl Fn() -> bool) {
        for _ in 0..120 {
            if is_so() {
                return;
            }
            self.send();
            std::thread::sleep(Duration::from_millis(500));
        }
        panic!("not {what}: {}", process.log());
    }
}

/// Generations of the policy records, by chain.
fn generations(site: &Site) -> BTreeMap<i32, Vec<i64>> {
    let mut found: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
    for (partition, _, record) in site.chains() {
        if record["kind"] == "policy" {
            let generation = record["policy"]["generation"].as_i64().unwrap();
            found.entry(partition).or_default().push(generation);
        }
    }
    found
}

fn are_on_all_chains(site: &Site, wanted: &[i64]) -> bool {
    let found = generations(site);
    found.len() == 2 && found.values().all(|each| each == wanted)
}

fn page(process: &Process, path: &str) -> String {
    process.get(path).map(|(_, page)| page).unwrap_or_default()
}

/// The value of the one line of the metrics that begins so and has all of `labels`.
fn metric(process: &Process, name: &str, labels: &[&str]) -> Option<i64> {
    let text = page(process, "/metrics");
    let line = text
        .lines()
        .find(|line| line.starts_with(name) && labels.iter().all(|label| line.contains(label)))?;
    line.rsplit(' ').next()?.parse().ok()
}

fn edit(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    let new = file.with_extension("new");
    fs::write(&new, text.replacen(from, to, 1)).unwrap();
    fs::rename(new, file).unwrap();
}

fn a_changed_file_is_in_force_without_a_restart(
    traffic: &mut Traffic<'_>,
    playbooks: &Path,
    process: &Process,
) {
    let site = traffic.site;
    edit(&playbooks.join("exposed-key.yaml"), "title: A key", "title: One key");
    traffic.until("on both chains", process, || are_on_all_chains(site, &[1, 2]));
    assert_eq!(metric(process, "tipstaff_policy_generation", &[]), Some(2));
    assert_eq!(metric(process, "tipstaff_policy_reloads_total", &["applied"]), Some(1));
    let policy: Value = serde_json::from_str(&page(process, "/policy")).unwrap();
    assert_eq!((&policy["generation"], &policy["refused"]), (&2.into(), &Value::Null));
    let rules = policy["rules"].as_array().unwrap();
    let hits = |rule: &&Value| rule["hits"].as_u64().unwrap();
    assert!(rules.iter().map(|rule| hits(&rule)).sum::<u64>() > 0, "{policy:#}");
    let idle = rules.iter().find(|rule| hits(rule) == 0).unwrap();
    let labels = [idle["playbook"].to_string(), idle["rule"].to_string()];
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    assert_eq!(metric(process, "tipstaff_rule_last_hit_timestamp_seconds", &labels), Some(0));
}

fn a_wrong_file_changes_nothing_and_says_so(
    traffic: &mut Traffic<'_>,
    playbooks: &Path,
    process: &Process,
) {
    let file = playbooks.join("boundary.yaml");
    let before = fs::read_to_string(&file).unwrap();
    fs::write(&file, before.replacen("owner:", "ovner:", 1)).unwrap();
    says(process, &["boundary.yaml:", "unknown key `ovner`, did you mean `owner`?"]);
    says(process, &["the policy before them stays in force"]);
    traffic.send();
    let (status, ready) = process.get("/readyz").unwrap();
    assert!(status == 200 && ready.contains("the files are refused since"), "{ready}");
    assert!(ready.contains("boundary.yaml:"), "{ready}");
    assert_eq!(metric(process, "tipstaff_policy_refused", &[]), Some(1));
    assert_eq!(metric(process, "tipstaff_policy_reloads_total", &["refused"]), Some(1));
    let status = traffic.site.verb(&["policy", "status"], "r1");
    assert_eq!(status.code, Some(1));
    assert!(status.out.contains("THE FILES ARE REFUSED"), "{status:?}");
    // By signal, at once, and again no other.
    fs::write(&file, before).unwrap();
    process.signal("-HUP");
    let is_well = || metric(process, "tipstaff_policy_refused", &[]) == Some(0);
    assert!(wait_until(PATIENCE, is_well), "{}", process.log());
    assert!(are_on_all_chains(traffic.site, &[1, 2]));
    assert_eq!(page(process, "/readyz"), "ok\n");
}

fn shadows_are_ruled_beside_the_fate(
    traffic: &mut Traffic<'_>,
    playbooks: &Path,
    process: &Process,
) {
    let site = traffic.site;
    fs::write(playbooks.join("candidate.yaml"), CANDIDATE).unwrap();
    traffic.until("in shadow", process, || are_on_all_chains(site, &[1, 2, 3]));
    let labels =
        ["playbook=\"candidate\"", "live=\"route\"", "shadow=\"route\"", "differs=\"priority\""];
    let name = "tipstaff_shadow_rulings_total";
    traffic.until("compared", process, || metric(process, name, &labels).is_some());
    site.rulings(traffic.sent, process);
    let rulings = site.records("ruling");
    let shadowed: Vec<&Value> =
        rulings.iter().filter(|ruling| ruling["ruling"]["shadow"].is_array()).collect();
    for ruling in &shadowed {
        let shadow = &ruling["ruling"]["shadow"][0];
        assert_eq!(
            (&shadow["playbook"], &shadow["priority"], &shadow["differs"]),
            (&"candidate".into(), &"critical".into(), &"priority".into()),
            "{ruling:#}"
        );
        assert_ne!(ruling["ruling"]["fate"]["route"]["priority"], "critical", "never the fate");
    }
    let counted = || metric(process, name, &labels).unwrap_or(0);
    let expected = i64::try_from(shadowed.len()).unwrap();
    assert!(wait_until(PATIENCE, || counted() == expected), "{} of {expected}", counted());
    assert_eq!(metric(process, "tipstaff_rule_hits_total", &labels[..1]), Some(counted()));
}

/// A queue without a topic: in force once the topic is there.
fn what_the_cluster_lacks_is_tried_again(
    traffic: &mut Traffic<'_>,
    playbooks: &Path,
    process: &Process,
) {
    let site = traffic.site;
    let file = playbooks.join("candidate.yaml");
    edit(&file, "queue: cicd-response", "queue: new-queue");
    says(process, &["cases.new-queue", "run `tipstaff topics create`"]);
    traffic.send();
    assert!(are_on_all_chains(site, &[1, 2, 3]));
    let place = site.deployment.directory.join("playbooks");
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("playbooks");
    let path = |path: &Path| format!("playbooks: {}", path.display());
    site.edit("operator", &path(&shipped), &path(&place));
    let made = site.verb(&["topics", "create"], "operator");
    assert_eq!(made.code, Some(0), "{made:?}");
    traffic.until("tried again", process, || are_on_all_chains(site, &[1, 2, 3, 4]));
}

fn pipelines_are_changed_with_the_rest(
    traffic: &mut Traffic<'_>,
    pipelines: &Path,
    process: &Process,
) {
    let site = traffic.site;
    let file = pipelines.join("gitleaks/pipeline.yaml");
    edit(&file, "title: {first: [Description, rule]}", "title: {const: changed}");
    traffic.until("on both chains", process, || are_on_all_chains(site, &[1, 2, 3, 4, 5]));
    traffic.until("mapped by it", process, || {
        let rulings = site.records("ruling");
        rulings.iter().any(|ruling| ruling["alert"]["title"] == "changed")
    });
}

fn what_needs_a_restart_is_refused_whole(
    traffic: &mut Traffic<'_>,
    [pipelines, enrichers]: [&Path; 2],
    process: &Process,
) {
    let site = traffic.site;
    let is_refused = |wanted| {
        wait_until(PATIENCE, || metric(process, "tipstaff_policy_refused", &[]) == Some(wanted))
    };
    for (file, from, to, why) in [
        (
            enrichers.join("owner/enricher.yaml"),
            "title: Who",
            "title: Whoever",
            "enrichers are set up at a start: restart to use it",
        ),
        (
            pipelines.join("gitleaks/pipeline.yaml"),
            "topic: alerts.gitleaks",
            "topic: alerts.elsewhere",
            "restart to change what is read",
        ),
    ] {
        edit(&file, from, to);
        says(process, &[why]);
        traffic.send();
        edit(&file, to, from);
        assert!(is_refused(0), "{}", process.log());
    }
    assert!(are_on_all_chains(site, &[1, 2, 3, 4, 5]));
    // The service's file is read at a start, and says so.
    site.edit("r1", "max_ms: 2000", "max_ms: 2001");
    says(process, &["tipstaff.yaml has changed", "restart to use it"]);
    site.edit("r1", "max_ms: 2001", "max_ms: 2000");
}

/// Whoever changes a file back had the newest policy in front of him.
fn changed_back_it_is_newer_still(traffic: &mut Traffic<'_>, playbooks: &Path, process: &Process) {
    let site = traffic.site;
    edit(&playbooks.join("candidate.yaml"), "queue: new-queue", "queue: cicd-response");
    traffic.until("back", process, || are_on_all_chains(site, &[1, 2, 3, 4, 5, 6]));
}

fn killed_between_storing_and_activation(
    traffic: &mut Traffic<'_>,
    playbooks: &Path,
    process: &mut Process,
) {
    let site = traffic.site;
    let log = tipstaff::ingest::LogReader::connect(&settings(&site.bootstrap), "stored").unwrap();
    let end = || log.high(&site.topic("policies"), 0).unwrap();
    let before = end();
    edit(&playbooks.join("exposed-key.yaml"), "title: One key", "title: Two keys");
    traffic.send();
    let began = Instant::now();
    while end() == before {
        std::thread::sleep(Duration::from_millis(2));
        assert!(began.elapsed() < PATIENCE, "not stored: {}", process.log());
    }
    process.kill();
    let chains = generations(site);
    let is_between = chains.values().any(|each| !each.contains(&7));
    assert!(is_between, "killed too late to prove anything: {chains:?}");
    traffic.send();
    process.resume();
    site.wait_ready(process);
    traffic.send();
    traffic.until("activated after the kill", process, || {
        are_on_all_chains(site, &[1, 2, 3, 4, 5, 6, 7])
    });
}

fn every_ruling_is_under_its_chain_s_policy(site: &Site) {
    let mut active: BTreeMap<i32, Value> = BTreeMap::new();
    let mut rulings: BTreeMap<String, usize> = BTreeMap::new();
    for (partition, offset, record) in site.chains() {
        match record["kind"].as_str().unwrap() {
            "policy" => drop(active.insert(partition, record["policy"].clone())),
            "ruling" | "revision" => {
                assert_eq!(record["policy"], active[&partition], "{partition}/{offset}");
                *rulings.entry(record["policy"]["generation"].to_string()).or_default() += 1;
            }
            _ => {}
        }
    }
    assert!(rulings.len() >= 5, "rulings under too few policies: {rulings:?}");
}

/// Two files of signatures: the policy is refused until both people have signed it.
#[test]
fn a_policy_without_its_signatures_is_not_taken_up() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if Command::new("ssh-keygen").arg("-?").output().is_err() {
        return skipped("there is no ssh-keygen");
    }
    let Some(kafka) = Kafka::start(&[]) else { return };
    let site = Site::new(&kafka.bootstrap(), "signed", 2);
    site.create("");
    let (directory, port) = site.config("s1", "policy: {allowed_signers: people, required: 2}\n");
    let playbooks = site.own("s1", "playbooks");
    let people: String = ["dana", "sam"].map(|name| public(&directory, name)).concat();
    fs::write(directory.join("people"), people).unwrap();
    sign(&site, &directory, "dana");
    sign(&site, &directory, "sam");
    let mut process = Process::start(&directory, "intake,triage", port);
    site.wait_ready(&mut process);
    edit(&playbooks.join("exposed-key.yaml"), "title: A key", "title: One key");
    says(&process, &["must be signed by 2 of the allowed signers, and is by nobody"]);
    says(&process, &["dana.sig:1:1: does not count: it is by dana, and not over this policy"]);
    sign(&site, &directory, "dana");
    says(&process, &["must be signed by 2 of the allowed signers, and is by dana"]);
    assert!(are_on_all_chains(&site, &[1]));
    sign(&site, &directory, "sam");
    assert!(wait_until(PATIENCE, || are_on_all_chains(&site, &[1, 2])), "{}", process.log());
    for record in site.records("policy") {
        let signers = record["policy"]["signers"].as_array().unwrap();
        let people: Vec<&str> =
            signers.iter().map(|signer| signer["person"].as_str().unwrap()).collect();
        assert_eq!(people, ["dana", "sam"]);
        assert!(signers[0]["signature"].as_str().unwrap().contains("SSH SIGNATURE"));
    }
    // Changed back, signatures and all: only a person at the start may go back.
    edit(&playbooks.join("exposed-key.yaml"), "title: One key", "title: A key");
    sign(&site, &directory, "dana");
    sign(&site, &directory, "sam");
    says(&process, &["is older than the active policy", "--activate"]);
    assert!(are_on_all_chains(&site, &[1, 2]));
    drains(&mut process);
}

fn key(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.key"))
}

fn public(directory: &Path, name: &str) -> String {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"])
        .arg(key(directory, name))
        .status()
        .unwrap();
    assert!(made.success());
    let public = fs::read_to_string(directory.join(format!("{name}.key.pub"))).unwrap();
    format!("{name} {public}")
}

fn sign(site: &Site, directory: &Path, name: &str) {
    let statement = site.verb(&["policy", "bundle"], "s1");
    assert_eq!(statement.code, Some(0), "{statement:?}");
    let file = directory.join(name);
    let signature = directory.join(format!("{name}.sig"));
    fs::write(&file, statement.out).unwrap();
    fs::remove_file(&signature).ok();
    let key = key(directory, name);
    let made = Command::new("ssh-keygen")
        .args(["-q", "-Y", "sign", "-n", "tipstaff", "-f"])
        .args([&key, &file])
        .status()
        .unwrap();
    assert!(made.success());
    fs::create_dir_all(directory.join("signatures")).unwrap();
    fs::rename(signature, directory.join("signatures").join(format!("{name}.sig"))).unwrap();
}

/// Two processes with different files: the newest generation rules the chains it is on, and the other
/// says so, is blocked there, and goes on as soon as its files follow.
#[test]
fn of_two_processes_the_newer_policy_wins_and_the_other_says_so() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let Some(kafka) = Kafka::start(&[]) else { return };
    let site = Site::new(&kafka.bootstrap(), "two", 2);
    site.create("");
    let (directory, port) = site.config("old", "workers: {triage: 1}\n");
    let file = site.own("old", "playbooks").join("exposed-key.yaml");
    edit(&file, "title: A key", "title: One key");
    let mut old = Process::start(&directory, "intake,triage", port);
    site.wait_ready(&mut old);
    let mut new = site.ready("new", "triage", "workers: {triage: 1}\n");
    let shared = || {
        let found = generations(&site);
        found.values().filter(|each| each.last() == Some(&2)).count()
    };
    assert!(wait_until(PATIENCE, || shared() == 1), "{:?} {}", generations(&site), new.log());
    says(&old, &["another process has put policy", "of generation 2 in force"]);
    let noted = || page(&old, "/readyz").contains("another process has policy");
    assert!(wait_until(PATIENCE, noted), "{}", page(&old, "/readyz"));

    drains(&mut new);
    says(&old, &["is blocked: the chain is under policy", "has the older generation 1"]);
    assert_eq!(old.get("/readyz").unwrap().0, 503);
    edit(&file, "title: One key", "title: A key");
    let is_well = || old.get("/readyz").is_some_and(|(_, text)| text == "ok\n");
    // Long before a blocked partition would be tried again by itself.
    assert!(wait_until(Duration::from_secs(20), is_well), "{}", old.log());
    assert!(wait_until(PATIENCE, || shared() == 2), "{:?}", generations(&site));
    publish(&site.bootstrap, &findings(0, 0..20));
    site.rulings(20, &old);
    let generations_of = |kind: &str| -> Vec<i64> {
        let records = site.records(kind).into_iter();
        records.map(|record| record["policy"]["generation"].as_i64().unwrap()).collect()
    };
    assert!(generations_of("ruling").iter().all(|generation| *generation == 2));
    drains(&mut old);
    let verified = site.verb(&["verify"], "operator");
    assert_eq!(verified.code, Some(0), "{verified:?}");
}
