//! Sources of the kind `http`, as files write them.

use crate::{files, problems};
use tipstaff::config::{HttpFact, SourceConfig, Test, load};
use tipstaff::enrich::Enrichers;

const PATH: &str = "enrichers/e/enricher.yaml";
const TABLE: &str = "enrichers/e/t.csv";
const ROWS: &str = "id,mount,path\na,kv,x\n";

fn enricher(facts: &str) -> String {
    format!(
        "enricher: e\ntitle: T\nowner: o\nprovides: {{late: bool, state: text, digest: text}}\nkey: nhi.id\n\
         source:\n  http:\n    service: s\n    \
         via: {{table: {{file: t.csv, key: id}}, gives: [mount, path]}}\n    \
         key: ['(?<mount>.+)', '(?<path>.+)']\n    \
         calls: [{{id: one, get: \"/{{mount}}/{{path}}\"}}]\n    facts:\n{facts}"
    )
}

const FACTS: &str = "      late: {path: one.at, older_than: one.every}\n      \
                     state: [{path: one.v, is_not: \"{path}\", give: a}, {path: one.at, past: true, give: b}]\n      \
                     digest: {digest: [one.a, \"one.b[*].c\"]}\n";

#[test]
fn a_source_may_be_asked_by_what_a_table_says() {
    let all = files(&[(PATH, &enricher(FACTS)), (TABLE, ROWS)]);
    let config = load(&all).expect("no problems").enrichers.remove(0);
    assert_eq!(config.files(), [TABLE]);
    let SourceConfig::Http(source) = &config.source else { panic!("{config:?}") };
    assert_eq!(source.via.as_ref().expect("a table").gives, ["mount", "path"]);
    let [HttpFact::Older { .. }, HttpFact::Cases(cases), HttpFact::Digest(places)] =
        source.facts.as_slice()
    else {
        panic!("{source:?}")
    };
    let tests: Vec<_> = cases.iter().map(|case| &case.test.as_ref().expect("a test").1).collect();
    assert!(matches!(tests.as_slice(), [Test::IsNot(_), Test::Past(true)]));
    assert_eq!(places.len(), 2);
}

/// The table is read whether the service is configured or not.
#[test]
fn a_mistake_in_that_table_is_told_at_its_place() {
    let now = tipstaff::case::Millis(0);
    let text = enricher(FACTS);
    let alone = files(&[(PATH, &text), (TABLE, "id,mount\na,kv\n")]);
    let alone_combined = text.replace(
        "source:\n  http:",
        "source:\n  combine:\n  - table: {file: u.csv, key: id}\n  - http:",
    );
    let combined = alone_combined.replace("\n    ", "\n      ");
    let more = "id,late,state,digest\n";
    let combined =
        files(&[(PATH, &combined), (TABLE, "id,mount\na,kv\n"), ("enrichers/e/u.csv", more)]);
    for files in [alone, combined] {
        let configs = load(&files).expect("no problems").enrichers;
        let Err(told) = Enrichers::new(&configs, &files, now) else { panic!("a mistake") };
        let told: Vec<String> = told.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["enrichers/e/t.csv:1:1: the table has no column `path`"]);
    }
}

#[test]
fn each_mistake_is_told_at_its_place() {
    let right = enricher(FACTS);
    for (from, to, expected) in [
        ("gives: [mount, path]", "gives: []", "9:51: `gives` must name at least one field"),
        ("gives: [mount, path]", "give: [mount]", "9:10: `gives` is missing"),
        (
            "file: t.csv",
            "file: ../t.csv",
            "9:25: the file must be in or under the enricher's folder",
        ),
        (
            "gives: [mount, path]",
            "gives: [mount]",
            "8:5: `via` gives 1 fields, but `key` of `http` has 2 patterns",
        ),
        (
            "key: id}, gives",
            "key: [id, more]}, gives",
            "9:25: the key has 1 parts, but the table 2 key columns",
        ),
        ("older_than: one.every", "older_than: two.every", "no call is called `two`"),
        ("late: {path", "digest: {path", "13:15: the field is text, which that does not give"),
        ("is_not: \"{path}\"", "is_not: \"{pat}\"", "no part of the key is named `pat`"),
        ("past: true", "past: true, is: x", "a case has a `path` and one of"),
        ("past: true", "past: soon", "must be true or false"),
        ("\"one.b[*].c\"", "\"one.b[*\"", "lacks a `]`"),
    ] {
        let wrong = right.replacen(from, to, 1);
        assert_ne!(wrong, right, "{from}");
        let told = problems(&files(&[(PATH, &wrong), (TABLE, ROWS)]));
        assert!(told.iter().any(|line| line.contains(expected)), "{to}: {told:#?}");
    }
}
