use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::super::rig::wait_until;
use super::super::seats;
use super::super::settings;
use super::{GITLEAKS, PATIENCE, Process, Site, drains, findings, says};

const CANDIDATE: &str = "playbook: candidate\ntitle: t\nowner: o\nmode: shadow\non: {kind: exposed_key}\nrules:\n\
    - {id: asks, on_unknown: route, when: ['detector == \"gitleaks\"'], escalate: {action: disable-key, \
    rollback: enable-key, expires: 1h, queue: cicd-response, priority: critical}}\n\
    - {id: all, route: {queue: cicd-response, priority: critical}}\n";

#[test]
fn a_policy_that_changes_is_taken_up_whole_under_traffic_or_not_at_all() {
    let Some((_beside, bootstrap)) = seats::shared() else { return };
    let site = Site::beside_others(&bootstrap, "reload");
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
    a_shadow_that_goes_leaves_nothing(&mut traffic, &playbooks, &process);

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
        self.site.publish(&findings(0, self.sent..self.sent + 20));
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

pub fn are_on_all_chains(site: &Site, wanted: &[i64]) -> bool {
    let found = generations(site);
    found.len() == 2 && found.values().all(|each| each == wanted)
}

fn page(process: &Process, path: &str) -> String {
    process.get(path).map(|(_, page)| page).unwrap_or_default()
}

/// The value of the one line of the metrics that begins so and has all of `labels`.
pub fn metric(process: &Process, name: &str, labels: &[&str]) -> Option<i64> {
    let text = page(process, "/metrics");
    let line = text
        .lines()
        .find(|line| line.starts_with(name) && labels.iter().all(|label| line.contains(label)))?;
    line.rsplit(' ').next()?.parse().ok()
}

pub fn edit(file: &Path, from: &str, to: &str) {
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
    // Wrong in another way, but since then.
    let since = || {
        serde_json::from_str::<Value>(&page(process, "/policy")).unwrap()["refused"]["since"]
            .clone()
    };
    let first = since();
    fs::write(&file, before.replacen("owner:", "oowner:", 1)).unwrap();
    says(process, &["boundary.yaml:", "unknown key `oowner`"]);
    assert!(first.is_string() && since() == first, "{first} {}", since());
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
        let rules = (&shadow["rule"], &shadow["blocked"]["rule"]);
        assert_eq!(rules, (&"all".into(), &"asks".into()), "{ruling:#}");
        assert_ne!(ruling["ruling"]["fate"]["route"]["priority"], "critical", "never the fate");
    }
    let counted = || metric(process, name, &labels).unwrap_or(0);
    let expected = i64::try_from(shadowed.len()).unwrap();
    assert!(wait_until(PATIENCE, || counted() == expected), "{} of {expected}", counted());
    // What the boundary would refuse counts for the rule that asked.
    let hits = |rule| metric(process, "tipstaff_rule_hits_total", &[labels[0], rule]);
    assert_eq!((hits("rule=\"asks\""), hits("rule=\"all\"")), (Some(counted()), Some(0)));
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
    says(process, &["the files have changed and can't be put in force"]);
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
    let topic = format!("topic: {}", site.detector(GITLEAKS));
    for (file, from, to, why) in [
        (
            enrichers.join("owner/enricher.yaml"),
            "title: Who",
            "title: Whoever",
            "owner/enricher.yaml:1:1: has changed, and enrichers are set up at a start: restart to use it",
        ),
        (
            pipelines.join("gitleaks/pipeline.yaml"),
            topic.as_str(),
            "topic: alerts.elsewhere",
            "topic `alerts.elsewhere` is to be read: restart to change what is read",
        ),
    ] {
        edit(&file, from, to);
        says(process, &[file.to_str().unwrap(), why]);
        let told = process.log().lines().filter(|line| line.contains(why)).count();
        assert_eq!(told, 1, "{}", process.log());
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

fn a_shadow_that_goes_leaves_nothing(
    traffic: &mut Traffic<'_>,
    playbooks: &Path,
    process: &Process,
) {
    let has_any = || page(process, "/metrics").contains("playbook=\"candidate\"");
    let compared =
        || metric(process, "tipstaff_shadow_rulings_total", &["playbook=\"candidate\""]).is_some();
    traffic.until("compared", process, compared);
    fs::remove_file(playbooks.join("candidate.yaml")).unwrap();
    traffic.until("without it", process, || !has_any());
    traffic.send();
    traffic.site.rulings(traffic.sent, process);
    assert!(!has_any() && !page(process, "/policy").contains("candidate"));
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

/// Two processes with different files: the newest generation rules the chains it is on, and the other
/// says so, is blocked there, and goes on as soon as its files follow.
#[test]
fn of_two_processes_the_newer_policy_wins_and_the_other_says_so() {
    let Some((_beside, bootstrap)) = seats::shared() else { return };
    let site = Site::beside_others(&bootstrap, "two");
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
    site.publish(&findings(0, 0..20));
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
