use std::fs;

use crate::{files, problems};
use tipstaff::config::{Files, load};

const OWNER: &str = "\
enricher: owner
title: Who answers for it
owner: identity-platform
provides: {team: text, tier: int}
key: nhi.id
source: {table: {file: owners.csv, key: id}}
";

#[test]
fn every_mistake_of_every_file_is_told_at_once_where_it_stands() {
    let files = files(&[
        (
            "enrichers/owner/enricher.yaml",
            "enricher: owner\ntitle: t\nowner: o\nprovides: {team: txt}\nkey: nhi.idd\n\
             source: {table: {file: owners.csv, key: id}}\ntitel: x\n",
        ),
        (
            "enrichers/alert/enricher.yaml",
            "enricher: alert\ntitle: t\nprovides: {a: text}\nowner: 1\nkey: {first: [location.line]}\n\
             source: {sql: {url: x}}\n",
        ),
        ("enrichers/lost/table.csv", "a,b\n"),
        ("pipelines/gitleaks.yaml", "x: 1\n"),
        ("playbooks/mine.yml", "x: 1\n"),
        ("tipstaff.yaml", "kafka: {bootstrap.server: k:9092}\nlisten: here\n"),
    ]);
    let told = problems(&files);
    assert_eq!(
        told,
        [
            "enrichers/alert/enricher.yaml:1:11: `alert` is the name of a part of every alert, choose another",
            "enrichers/alert/enricher.yaml:4:8: `owner` must be text, not a whole number",
            "enrichers/alert/enricher.yaml:5:15: `location.line` is int; a key must be text",
            "enrichers/alert/enricher.yaml:6:9: a source must be one of table, addresses, http, topic, aws_iam",
            "enrichers/alert/enricher.yaml:6:10: unknown key `sql`; known here: combine, table, addresses, http, topic, aws_iam",
            "enrichers/lost/table.csv:1:1: `enrichers/lost` has no enricher.yaml",
            "enrichers/owner/enricher.yaml:4:18: `team` has no known type, did you mean `text`?",
            "enrichers/owner/enricher.yaml:5:6: an alert has no field `nhi.idd`, did you mean `nhi.id`?",
            "enrichers/owner/enricher.yaml:7:1: unknown key `titel`, did you mean `title`?",
            "pipelines/gitleaks.yaml:1:1: nothing reads a file of this name in this place",
            "playbooks/mine.yml:1:1: nothing reads a file of this name in this place",
            "tipstaff.yaml:1:1: `fingerprint` is missing",
            "tipstaff.yaml:1:8: `bootstrap.servers` is missing",
            "tipstaff.yaml:1:9: unknown key `bootstrap.server`, did you mean `bootstrap.servers`?",
            "tipstaff.yaml:2:9: `listen` must be an address and a port: 127.0.0.1:9464",
        ],
        "{told:#?}"
    );
}

#[test]
fn a_table_cannot_be_outside_its_enricher() {
    for file in ["../secret.csv", "/etc/passwd", "a//b.csv", ".", "a\\\\b.csv"] {
        let text = OWNER.replace("owners.csv", &format!("\"{file}\", format: csv"));
        let told = problems(&files(&[("enrichers/owner/enricher.yaml", &text)]));
        let expected = "the file must be in or under the enricher's folder";
        assert!(told.len() == 1 && told[0].ends_with(expected), "{file}: {told:?}");
    }
}

#[test]
fn a_name_is_the_folders_and_no_word_of_the_alert() {
    for name in ["nhi", "counters", "resource", "Owner", "other"] {
        let path = format!("enrichers/{name}/enricher.yaml");
        let path = if name == "other" { "enrichers/owner/enricher.yaml" } else { &path };
        let text = OWNER.replace("enricher: owner", &format!("enricher: {name}"));
        assert_eq!(problems(&files(&[(path, &text)])).len(), 1, "{name}");
    }
}

#[test]
fn a_composite_key_needs_as_many_columns() {
    let text = OWNER.replace("key: nhi.id", "key: {all: [nhi.id, credential.id]}");
    assert_eq!(
        problems(&files(&[("enrichers/owner/enricher.yaml", &text)])),
        ["enrichers/owner/enricher.yaml:6:24: the key has 2 parts, but the table 1 key columns"]
    );
}

#[test]
fn the_policy_hash_changes_with_every_byte_of_policy_and_with_no_table() {
    let shipped = load(&Files::shipped()).expect("shipped files").policy_hash;
    let mut bundled = 0;
    let all = Files::shipped();
    let one_example = all.paths().find(|path| path.contains("/examples/")).expect("an example");
    let paths = all.paths().filter(|path| *path == one_example || !path.contains("/examples/"));
    for path in paths {
        let mut files = Files::shipped();
        let file = files.get(path).expect("its own path").clone();
        let text = format!("{}\n", file.source.text);
        files.insert(path, tipstaff::text::Source::new(path, text), None);
        let is_table = path == "pipelines/aliases.csv"
            || path.starts_with("enrichers/") && !path.ends_with("/enricher.yaml");
        let is_example = path.contains("/examples/");
        let checked = load(&files).expect("an empty line more");
        let changed = checked.policy_hash != shipped;
        assert_eq!(changed, !is_table && !is_example, "{path}");
        bundled += usize::from(changed);
        assert_eq!(checked.bundle.iter().any(|(each, _)| each == path), changed, "{path}");
    }
    assert!(bundled > 5);
}

#[test]
fn a_directory_is_read_where_its_paths_say_and_what_cannot_be_read_is_told() {
    let root = std::env::temp_dir().join(format!("tipstaff-config-{}", std::process::id()));
    let deploy = root.join("deploy");
    fs::create_dir_all(root.join("e/owner")).unwrap();
    fs::create_dir_all(&deploy).unwrap();
    fs::write(root.join("e/owner/enricher.yaml"), OWNER).unwrap();
    fs::write(root.join("e/owner/.hidden.yml"), "x").unwrap();
    fs::write(root.join("e/owner/owners.csv"), [0xff, 0xfe]).unwrap();
    let service = "kafka: {bootstrap.servers: k:9092}\nfingerprint: {id: k1, key: {env: KEY}}\n\
                   paths: {enrichers: ../e, pipelines: ../missing, playbooks: .}\n";
    fs::write(deploy.join("tipstaff.yaml"), service).unwrap();
    let files = Files::read(&deploy);
    let told = problems(&files);
    let shown = root.display();
    assert!(
        told.contains(&format!(
            "{shown}/e/owner/owners.csv:1:1: cannot be read: it is not UTF-8 text"
        )),
        "{told:?}"
    );
    assert!(
        told.contains(&format!("{shown}/missing:1:1: cannot be read: entity not found")),
        "{told:?}"
    );
    let enricher = files.get("enrichers/owner/enricher.yaml").expect("read");
    assert!(enricher.modified.is_some());
    assert!(files.paths().all(|path| !path.contains("hidden")));
    fs::remove_dir_all(&root).unwrap();
}

#[test]
fn conditions_over_an_enricher_with_a_mistake_are_not_mistakes_too() {
    let playbook = "playbook: p\ntitle: t\nowner: o\nmode: live\non: {kind: exposed_key}\n\
                    facts: {owner: {max_age: 1d}}\nrules:\n\
                    - {id: a, when: [owner.team == \"x\", owner.tean == \"y\"], route: {queue: q, priority: hihg}}\n\
                    - {id: b, route: {queue: q, priority: low}}\n";
    let pipeline =
        "pipeline: p\ntitle: t\nowner: o\nfrom: {topic: a}\nkind: exposed_key\nmap: {nhi.idd: a}\n";
    let told = problems(&files(&[
        ("enrichers/owner/enricher.yaml", &OWNER.replace("title:", "titel:")),
        ("pipelines/p/pipeline.yaml", pipeline),
        ("playbooks/p.yaml", playbook),
    ]));
    assert_eq!(
        told,
        [
            "enrichers/owner/enricher.yaml:1:1: `title` is missing",
            "enrichers/owner/enricher.yaml:2:1: unknown key `titel`, did you mean `title`?",
            "pipelines/p/pipeline.yaml:6:7: no alert has the field `nhi.idd`, did you mean `nhi.id`?",
            "playbooks/p.yaml:8:37: `owner` provides no `owner.tean`, did you mean `owner.team`?",
            "playbooks/p.yaml:8:85: unknown priority `hihg`, did you mean `high`?",
        ]
    );
}
