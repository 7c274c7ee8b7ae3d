use serde_json::{Value, json};

use super::super::rig::wait_until;
use super::super::seats;
use super::reload::{edit, metric};
use super::{GITLEAKS, PATIENCE, Site, drains, finding};

const QUEUE: &str = "queues:\n  former: o\n";

/// Thirty findings of one key are one case of which people are told twice; nobody takes it up, and
/// they are told a third time, once, whatever is killed in between.
#[test]
fn repeats_are_counted_and_a_deadline_that_passes_is_told_of_once() {
    let Some((_beside, bootstrap)) = seats::shared() else { return };
    let site = Site::beside_others(&bootstrap, "cases");
    site.config("operator", "");
    let none = site.verb(&["cases", "list"], "operator");
    assert!(none.code == Some(1) && none.err.contains(" does not exist: run"), "{none:?}");
    site.create("");
    let (directory, port) = site.config("c1", "");
    let playbook = site.own("c1", "playbooks").join("exposed-key.yaml");
    edit(
        &playbook,
        "rules:\n",
        "rules:\n  - id: soon\n    when: [location.file == \"a.py\"]\n    \
        route: {queue: former, priority: medium, ack_within: 20s}\n",
    );
    edit(&playbook.with_file_name("boundary.yaml"), "queues:\n", QUEUE);
    let made = site.verb(&["topics", "create"], "c1");
    assert_eq!(made.code, Some(0), "{made:?}");
    let mut process = super::Process::start(&directory, "intake,triage", port);
    site.wait_ready(&mut process);
    let same: Vec<_> = (0..30).map(|_| (GITLEAKS, 0, Some(finding(7)))).collect();
    site.publish(&same);
    let rulings = site.rulings(30, &process);
    let told: Vec<&Value> = rulings.iter().map(|ruling| &ruling["told"]["changed"]).collect();
    let told: Vec<&&Value> = told.iter().filter(|changed| !changed.is_null()).collect();
    assert_eq!(told, [&&json!(["opened"]), &&json!(["count"])], "{rulings:?}");
    let told = || metric(&process, "tipstaff_cases_told_total", &["opened"]) == Some(1);
    assert!(wait_until(PATIENCE, told), "{}", process.log());
    process.kill();
    process.resume();
    let overdue = || site.records("timer").len() == 1;
    assert!(wait_until(PATIENCE, overdue), "{}", process.log());

    let listed = site.verb(&["cases", "list", "--json"], "c1");
    let rows: Vec<Value> =
        listed.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 1, "{listed:?}");
    let case = &rows[0];
    assert_eq!((&case["count"], &case["case_revision"]), (&json!(30), &json!(3)));
    assert_eq!((&case["priority"], &case["queue"]), (&json!("high"), &json!("former")));
    assert_eq!(case["alert"]["location"]["file"], "a.py", "what a notice leaves out is as it was");
    let id = case["case_id"].as_str().unwrap();
    let shown = site.verb(&["cases", "show", &id[..12]], "c1");
    assert!(shown.out.contains("nobody acknowledged it in time"), "{shown:?}");
    assert!(shown.out.contains("ten times"), "{shown:?}");
    let told = shown.out.lines().rfind(|line| line.ends_with("nobody acknowledged it in time"));
    let told_at = told.unwrap().split_whitespace().nth(1);
    assert!(told_at > case["last_seen"].as_str(), "when people were told: {shown:?}");
    let none = site.verb(&["cases", "show", "nothing"], "c1");
    assert!(none.code == Some(1) && none.err.contains("there is no case `nothing`"), "{none:?}");
    let others = site.verb(&["cases", "list", "--priority", "critical"], "c1");
    assert_eq!(others.out, "no case\n");
    assert_eq!(site.records("timer").len(), 1, "once");

    site.publish(&[(GITLEAKS, 0, Some(b"[]".to_vec())), (GITLEAKS, 0, Some(b"[]".to_vec()))]);
    site.rulings(32, &process);
    let shown = site.verb(&["suppressions", "--json"], "c1");
    let rows: Vec<Value> =
        shown.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&rows[0]["reason"], &rows[0]["hits"]), (&json!("not_an_alert"), &json!(2)));
    assert_eq!((&rows[0]["state"], &rows[0]["nhi"]), (&json!("in_force"), &json!("-")), "{rows:?}");
    assert!(
        rows[1..].iter().any(|row| row["never_hit"] == "exposed-key/known-test-fixture"),
        "{rows:?}"
    );
    let over = site.verb(&["suppressions", "--now", "2100-01-01T00:00:00Z"], "c1");
    assert!(over.out.starts_with("nothing is suppressed\n"), "{over:?}");
    drains(&mut process);
    let verified = site.verb(&["verify"], "operator");
    assert_eq!(verified.code, Some(0), "{verified:?}");

    edit(&playbook, "queue: former", "queue: soc-triage");
    let listed = site.verb(&["cases", "list"], "c1");
    assert!(listed.out.contains(id), "its queue is named no more: {listed:?}");
}
