use serde_json::{Value, json};

use super::*;

const REGISTRY: &str = "enricher: registry\ntitle: t\nowner: o\nprovides: {fixture: bool}\nkey: credential.id\n\
    source: {table: {file: t.csv, key: id, as_of: seen}}\n";
const OWNER: &str = "enricher: owner\ntitle: t\nowner: o\nprovides: {team: text, environment: text}\nkey: nhi.id\n\
    source: {table: {file: t.csv, key: id, as_of: seen}}\n";
const VAULT: &str = "enricher: vault\ntitle: t\nowner: o\nprovides: {state: text}\nkey: credential.id\n\
    source: {table: {file: t.csv, key: id, as_of: seen}}\n";

const BOUNDARY: &str = "\
boundary: base
owner: governance
default_queue: {queue: soc, priority: medium}
context: {environment: owner.environment}
facts: {owner: {max_age: 7d}}
allow:
  - {id: development, actions: [disable-key], environments: [development]}
deny:
  - {id: night, of: escalate, when: [severity == \"low\"], why: not for little}
suppress: {max_expires: 30d, never_severity: [critical]}
";

const ACTION: &str = "action: disable-key\ntitle: Disable it\nundo: enable-key\n";

const OLD: &str = "\
playbook: keys
title: A key was found
owner: platform
mode: live
on: {kind: exposed_key}
facts:
  registry: {max_age: 30d}
  owner: {max_age: 7d}
rules:
  - id: fixture
    when:
      - registry.fixture == true
      - credential.validity == \"invalid\"
    on_unknown: next
    suppress: {reason: test_fixture, evidence: [registry.fixture], expires: 30d, on_expiry: recheck}
  - id: live
    when:
      - any:
          - credential.validity == \"valid\"
          - severity == \"critical\"
    on_unknown: route
    escalate: {action: disable-key, rollback: enable-key, expires: 24h, queue: cloud, priority: critical}
  - id: owned
    when: [has(owner.team)]
    on_unknown: next
    route: {queue: owners, priority: medium}
  - id: otherwise
    route: {queue: soc, priority: high, ack_within: 1h}
tests:
  - name: a plain one
    now: 2026-01-01T00:00:00Z
    alert: {nhi.id: x}
    expect: {route: soc, rule: otherwise}
";

/// As a colleague would propose it: a fixture need not be tried, a live key must be in the vault, a
/// stray one is disabled, and what is stale waits.
fn proposed() -> String {
    let rules = "  - id: stray
    when: [severity == \"informational\"]
    on_unknown: route
    escalate: {action: disable-key, rollback: enable-key, expires: 24h, queue: cloud, priority: high}
  - id: stale
    when: [nhi.id == \"svc:h\"]
    hold: {queue: repair, priority: high, for: 1h}
  - id: owned
";
    OLD.replace("  - id: owned\n", rules)
        .replace("      - credential.validity == \"invalid\"\n", "")
        .replace(
            "  owner: {max_age: 7d}\nrules",
            "  owner: {max_age: 7d}\n  vault: {max_age: 7d}\nrules",
        )
        .replace(
            "          - severity == \"critical\"\n",
            "          - severity == \"critical\"\n      - vault.state == \"active\"\n",
        )
        .replace("{queue: owners, priority: medium}", "{queue: owners, priority: low}")
}

fn alert(id: &str, validity: &str, severity: &str) -> Value {
    json!({"kind": "exposed_key", "detector": "scanner", "severity": severity, "title": "t",
           "nhi": {"id": format!("svc:{id}"), "kind": "service_account"},
           "credential": {"id": format!("k-{id}"), "validity": validity}})
}

struct Bench {
    folder: PathBuf,
}

impl Bench {
    fn new(name: &str) -> Self {
        let pipeline = root().join("pipelines/tipstaff/pipeline.yaml");
        let pipeline = std::fs::read_to_string(pipeline).unwrap();
        let keys =
            "id,fixture,seen\nk-a,true,2026-03-01T00:00:00Z\nk-b,true,2026-03-01T00:00:00Z\n";
        let owners = "id,team,environment,seen\nsvc:c,web,development,2026-03-01T00:00:00Z\n\
                      svc:g,web,development,2026-03-01T00:00:00Z\n\
                      svc:d,web,development,2026-03-01T00:00:00Z\nsvc:e,pay,production,2026-03-01T00:00:00Z\n";
        let vault = "id,state,seen\nk-c,active,2026-03-01T00:00:00Z\n";
        for (side, playbook) in [("old", OLD), ("new", &*proposed())] {
            configuration(
                &format!("{name}/{side}"),
                &[
                    ("pipelines/tipstaff/pipeline.yaml", &*pipeline),
                    ("enrichers/registry/enricher.yaml", REGISTRY),
                    ("enrichers/registry/t.csv", keys),
                    ("enrichers/owner/enricher.yaml", OWNER),
                    ("enrichers/owner/t.csv", owners),
                    ("enrichers/vault/enricher.yaml", VAULT),
                    ("enrichers/vault/t.csv", vault),
                    ("playbooks/boundary.yaml", BOUNDARY),
                    ("playbooks/actions/disable-key.yaml", ACTION),
                    ("playbooks/keys.yaml", playbook),
                ],
            );
        }
        let bench = Self { folder: Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli").join(name) };
        let mut hostile = alert("a", "unverified", "high");
        hostile["nhi"]["id"] = "svc:a|`<b>\u{1b}[31m".into();
        let alerts = [
            hostile,
            alert("b", "invalid", "high"),
            alert("c", "valid", "high"),
            alert("d", "unverified", "medium"),
            alert("e", "valid", "high"),
            alert("f", "unverified", "high"),
            alert("g", "unverified", "informational"),
            alert("h", "unverified", "high"),
            json!({"kind": "exposed_key"}),
        ];
        let lines: Vec<String> = alerts.iter().map(Value::to_string).collect();
        std::fs::write(bench.folder.join("events.ndjson"), lines.join("\n") + "\n").unwrap();
        let ran = bench.run(&["decide", "--config", "old", "--now", NOW, "events.ndjson"]);
        assert_eq!(ran.code, DONE, "{}", ran.err);
        std::fs::write(bench.folder.join("records.ndjson"), &ran.out).unwrap();
        bench
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = program(arguments);
        command.current_dir(&self.folder);
        ran(command, b"")
    }

    fn diff(&self, more: &[&str]) -> Ran {
        let start = ["diff", "--config", "new", "--against", "old", "--from", "records.ndjson"];
        self.run(&[&start, more].concat())
    }

    /// Hashes are replaced: any edit of a shipped pipeline is another one.
    fn golden(&self, name: &str, ran: &Ran) {
        let mut text = ran.out.clone();
        for side in ["old", "new"] {
            let ruled = self.run(&["decide", "--config", side, "--now", NOW, "events.ndjson"]);
            let hash = ruled.json()[0]["policy"]["hash"].as_str().unwrap().to_owned();
            text = text.replace(&hash, &format!("<hash of {side}>"));
            text = text.replace(&hash[..16], &format!("<hash of {side}>"));
        }
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("snapshots");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(name, text));
    }
}

#[test]
fn what_would_change_is_told_as_text_as_json_and_for_a_pull_request() {
    let bench = Bench::new("diff_golden");
    let budget = ["--max-new-suppressions", "0", "--max-changed", "9"];
    for (name, more) in
        [("diff", &[][..]), ("diff-json", &["--json"]), ("diff-markdown", &["--markdown"])]
    {
        let ran = bench.diff(&[&budget[..], more].concat());
        assert_eq!((ran.code, &*ran.err), (FAILED, ""), "over the budget");
        bench.golden(name, &ran);
    }
}

#[test]
fn what_is_within_its_budget_is_no_failure() {
    let bench = Bench::new("diff_budget");
    let told: Value = bench.diff(&["--json"]).json().remove(0);
    for code in ["new_suppression", "new_containment", "lost_escalation", "new_hold"] {
        assert_eq!(told["counts"][code], 1, "{code}");
    }
    for (limit, at_most) in [
        ("--max-new-suppressions", told["counts"]["new_suppression"].as_u64()),
        ("--max-new-containments", told["counts"]["new_containment"].as_u64()),
        ("--max-lost-escalations", told["counts"]["lost_escalation"].as_u64()),
        ("--max-new-holds", told["counts"]["new_hold"].as_u64()),
        ("--max-lowered-priorities", told["counts"]["lowered_priority"].as_u64()),
        ("--max-changed", told["changed"].as_u64()),
        ("--max-unrecorded", told["unrecorded"]["new"]["rulings"].as_u64()),
    ] {
        let at_most = at_most.unwrap();
        let ran = bench.diff(&[limit, &at_most.to_string()]);
        assert_eq!(ran.code, DONE, "{limit} {at_most}: {}", ran.out);
        if let Some(less) = at_most.checked_sub(1) {
            let ran = bench.diff(&[limit, &less.to_string()]);
            assert_eq!(ran.code, FAILED, "{limit} {less}: {}", ran.out);
            assert!(ran.out.contains("\n  OVER  "), "{}", ran.out);
        }
    }
}

#[test]
fn a_policy_differs_in_nothing_from_itself_however_it_is_named() {
    let bench = Bench::new("diff_itself");
    for against in ["old", "old/playbooks"] {
        for from in ["records.ndjson", "events.ndjson"] {
            let arguments = [
                "diff",
                "--config",
                "old",
                "--against",
                against,
                "--from",
                from,
                "--json",
                "--now",
                NOW,
                "--max-changed",
                "0",
            ];
            let ran = bench.run(&arguments);
            assert_eq!(ran.code, DONE, "{}{}", ran.out, ran.err);
            let told = ran.json().remove(0);
            assert_eq!(
                (&told["alerts"], &told["changed"], &told["other_rule"]),
                (&8.into(), &0.into(), &0.into())
            );
        }
    }
}

/// Each configuration reads and looks up the events itself: nothing is unknown but what is.
#[test]
fn native_events_are_looked_up_by_both_sides() {
    let bench = Bench::new("diff_events");
    let arguments = [
        "diff",
        "--config",
        "new",
        "--against",
        "old/playbooks",
        "--from",
        "events.ndjson",
        "--json",
        "--now",
        NOW,
    ];
    let told = bench.run(&arguments).json().remove(0);
    assert_eq!(told["unrecorded"]["new"]["rulings"], 0);
    assert_eq!(told["counts"]["new_suppression"], 1);
    assert_eq!(told["counts"]["lost_escalation"], 0, "the vault says that it is active");
}

#[test]
fn an_export_is_read_as_verify_reads_it() {
    let bench = Bench::new("diff_export");
    let records = std::fs::read_to_string(bench.folder.join("records.ndjson")).unwrap();
    let lines: Vec<String> = (0..)
        .zip(records.lines())
        .map(|(at, line): (u32, _)| format!("{}\t{at}\t{line}", at % 2))
        .collect();
    std::fs::write(bench.folder.join("export.tsv"), lines.join("\n") + "\n").unwrap();
    let start = ["diff", "--config", "new", "--against", "old", "--json", "--from"];
    let exported = bench.run(&[&start[..], &["export.tsv"]].concat()).json().remove(0);
    let plain = bench.diff(&["--json"]).json().remove(0);
    assert_eq!(exported["counts"], plain["counts"]);
    assert_eq!((&exported["alerts"], &exported["unreadable"]), (&8.into(), &1.into()));
}

/// A batch that the new pipeline takes for one alert: it can't be read, and its second is gone.
#[test]
fn events_that_one_side_reads_otherwise_are_counted_in_the_budget() {
    let bench = Bench::new("diff_unpaired");
    let path = bench.folder.join("new/pipelines/tipstaff/pipeline.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let each = "each: [\"alerts[*]\", \"$[*]\"]";
    assert!(text.contains(each));
    std::fs::write(path, text.replace(each, "each: [\"$[*]\"]")).unwrap();
    let batch =
        json!({"alerts": [alert("f", "unverified", "high"), alert("k", "invalid", "high")]});
    let lines = format!("{batch}\n{}\n", alert("f", "unverified", "high"));
    std::fs::write(bench.folder.join("batch.ndjson"), lines).unwrap();
    let run = |new: &str, old: &str, more: &[&str]| {
        let start = ["diff", "--config", new, "--against", old, "--from", "batch.ndjson"];
        bench.run(&[&start, &["--now", NOW][..], more].concat())
    };
    let told = run("new", "old", &["--json"]).json().remove(0);
    assert_eq!((&told["alerts"], &told["changed"]), (&2.into(), &1.into()));
    assert_eq!((&told["unpaired"], &told["unreadable"]), (&1.into(), &0.into()));
    assert_eq!(
        (&told["counts"]["new_dead_letter"], &told["counts"]["other_deadline"]),
        (&1.into(), &0.into())
    );
    let back = run("old", "new", &["--json"]).json().remove(0);
    assert_eq!((&back["counts"]["lost_dead_letter"], &back["unpaired"]), (&1.into(), &1.into()));
    for (limit, at_most, code) in [
        ("--max-changed", "1", FAILED),
        ("--max-changed", "2", DONE),
        ("--max-new-dead-letters", "0", FAILED),
        ("--max-new-dead-letters", "1", DONE),
    ] {
        assert_eq!(run("new", "old", &[limit, at_most]).code, code, "{limit} {at_most}");
    }
    let page = run("new", "old", &["--markdown"]).out;
    assert!(page.contains("\n### new dead letters: 1\n"), "{page}");
    assert!(page.contains("alerts that one of the two configurations alone makes: 1\n"), "{page}");
}

#[test]
fn alerts_of_another_policy_or_another_group_are_counted() {
    let bench = Bench::new("diff_regrouped");
    let path = bench.folder.join("new/playbooks/keys.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let group = "group: {by: [nhi.id], window: 1h}\nrules:";
    std::fs::write(&path, text.replacen("rules:", group, 1)).unwrap();
    let told = bench.diff(&["--json"]).json().remove(0);
    assert_eq!(told["regrouped"], json!({"old": 0, "new": 8}));
    assert_eq!(told["foreign"], 0);
    let page = bench.diff(&[]).out;
    assert!(page.contains("alerts that the new policy groups otherwise"), "{page}");
    // Neither of the two ruled them.
    let playbook = bench.folder.join("old/playbooks/keys.yaml");
    std::fs::write(playbook, OLD.replace("priority: medium}\n  - id", "priority: low}\n  - id"))
        .unwrap();
    let told = bench.diff(&["--json"]).json().remove(0);
    assert_eq!((&told["foreign"], &told["alerts"]), (&8.into(), &8.into()));
    let page = bench.diff(&[]).out;
    assert!(page.contains("alerts ruled by neither policy then"), "{page}");
}

/// Whole as far as anybody looks at first, and no further.
#[test]
fn records_that_are_not_whole_are_counted_and_said() {
    let bench = Bench::new("diff_cut");
    let records = std::fs::read_to_string(bench.folder.join("records.ndjson")).unwrap();
    let (first, rest) = records.split_once('\n').unwrap();
    let cut = rest.replacen("\"counters\":{", "\"counter\":{", 1);
    std::fs::write(bench.folder.join("records.ndjson"), format!("{first}\n{cut}")).unwrap();
    let ran = bench.diff(&["--json"]);
    let told = ran.json().remove(0);
    assert_eq!(
        (&told["alerts"], &told["unread"], &told["failed"]),
        (&7.into(), &1.into(), &0.into())
    );
    assert_eq!(ran.code, FAILED, "what is left out may be what changes");
    let page = bench.diff(&[]).out;
    assert!(page.contains("alerts left out because a record of theirs is not whole"), "{page}");
    let ran = bench.run(&["decide", "--config", "old", "--explain", "--json", "records.ndjson"]);
    assert_eq!((ran.code, ran.json().len()), (FAILED, 8));
    let told = "1 of 9 records can't be read, or hold no alert to rule: left out";
    assert!(ran.err.contains(told), "{}", ran.err);
}

/// One in canary mode for one identity, and one in shadow.
#[test]
fn playbooks_beside_the_one_that_rules_are_explained() {
    let bench = Bench::new("explain_beside");
    let write = |name: &str, mode: &str| {
        let (text, _) = OLD.split_once("tests:").unwrap();
        let text = text.replace("mode: live", mode).replace("queue: owners", "queue: web");
        let path = bench.folder.join(format!("old/playbooks/{name}.yaml"));
        std::fs::write(path, text.replace("playbook: keys", &format!("playbook: {name}"))).unwrap();
    };
    write("next", "mode: canary\ncanary: {nhis: [svc:d]}");
    write("idea", "mode: shadow");
    let events = ["decide", "--config", "old", "--now", NOW, "events.ndjson"];
    let ids = bench.run(&events).json();
    for (name, place) in [("explain-canary", 3), ("explain-shadow", 6)] {
        let id = ids[place]["alert_id"].as_str().unwrap();
        let ran = bench.run(&[&events[..], &["--explain", "--alert", id]].concat());
        assert_eq!((ran.code, &*ran.err), (DONE, ""), "{}", ran.out);
        bench.golden(name, &ran);
        let ran = bench.run(&[&events[..], &["--explain", "--json", "--alert", id]].concat());
        let told = ran.json().remove(0);
        let playbooks = told["playbooks"].as_array().unwrap().iter();
        let roles: Vec<_> = playbooks
            .map(|each| {
                (each["playbook"].clone(), each["role"].clone(), each.get("would").is_some())
            })
            .collect();
        let of = |name: &str, role: &str| (name.into(), role.into(), role == "shadow");
        let (keys, next) = if place == 3 { ("shadow", "rules") } else { ("rules", "shadow") };
        assert_eq!(roles, [of("idea", "shadow"), of("keys", keys), of("next", next)]);
    }
}

#[test]
fn what_can_not_be_compared_is_told() {
    let bench = Bench::new("diff_wrong");
    std::fs::write(bench.folder.join("cut.tsv"), "0\t1\t{\"v\":1}\n").unwrap();
    std::fs::write(bench.folder.join("empty"), "").unwrap();
    for (against, from, code, told) in [
        (
            "nowhere",
            "records.ndjson",
            WRONG,
            "`--against nowhere` is no file, no directory and no hash",
        ),
        ("old", "nothing.tsv", WRONG, "nothing.tsv: there is no such file, and no cluster"),
        ("old", "cut.tsv", WRONG, "cut.tsv: partition 0, offset 1: not a record of this version"),
        ("0123456789abcdef", "records.ndjson", WRONG, "this needs a broker"),
        ("old", "empty", FAILED, "there is no ruling in empty"),
    ] {
        let ran = bench.run(&["diff", "--config", "new", "--against", against, "--from", from]);
        assert_eq!((ran.code, &*ran.out), (code, ""), "{against} {from}: {}", ran.err);
        assert!(ran.err.contains(told), "{}", ran.err);
    }
    let ran = bench.run(&["diff", "--config", "new", "--against", "old"]);
    assert!(ran.code == WRONG && ran.err.contains("this needs a broker"), "{}", ran.err);
}

#[test]
fn an_alerts_way_through_the_rules_is_explained() {
    let bench = Bench::new("explain_golden");
    let ids: Vec<String> = std::fs::read_to_string(bench.folder.join("records.ndjson"))
        .unwrap()
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["alert_id"].as_str().unwrap().to_owned()
        })
        .collect();
    for (name, config, file, id) in [
        ("explain-suppressed", "old", "events.ndjson", 1),
        ("explain-escalated", "old", "events.ndjson", 2),
        ("explain-routed", "old", "events.ndjson", 0),
        ("explain-refused", "old", "records.ndjson", 4),
        ("explain-not-recorded", "new", "records.ndjson", 2),
    ] {
        let ran = bench.run(&[
            "decide",
            "--config",
            config,
            "--now",
            NOW,
            "--explain",
            "--alert",
            &ids[id],
            file,
        ]);
        assert_eq!((ran.code, &*ran.err), (DONE, ""), "{}", ran.out);
        assert!(ran.out.lines().all(|line| line.chars().count() <= 100), "{}", ran.out);
        assert!(!ran.out.contains('\x1b'), "plain without a terminal");
        bench.golden(name, &ran);
    }
    let ran = bench.run(&["decide", "--config", "old", "--explain", "--json", "records.ndjson"]);
    let records = std::fs::read_to_string(bench.folder.join("records.ndjson")).unwrap();
    for (told, record) in ran.json().iter().zip(records.lines()) {
        let record: Value = serde_json::from_str(record).unwrap();
        assert_eq!((&told["ruling"], &told["alert_id"]), (&record["ruling"], &record["alert_id"]));
        assert!(told.get("recorded").is_none(), "under the same policy it is ruled as it was");
    }
    assert_eq!(ran.json().len(), 9);
    let ran =
        bench.run(&["decide", "--config", "old", "--explain", "--alert", "zz", "records.ndjson"]);
    assert_eq!((ran.code, &*ran.out), (FAILED, ""));
    assert!(ran.err.contains("there is no ruling about an alert zz"), "{}", ran.err);
}
