use std::time::{Duration, Instant};

use crate::{files, problems};
use tipstaff::case::{FactRow, FactState, Millis, Value, Why};
use tipstaff::config::{Files, load};
use tipstaff::enrich::Enrichers;
use tipstaff::text::Source;

const NOW: Millis = Millis(1_800_000_000_000);
/// A day and two days before.
const PLAIN_AT: Millis = Millis(NOW.0 - 86_400_000);
const CSV_AT: Millis = Millis(NOW.0 - 172_800_000);

const ENRICHER: &str = "\
enricher: threat
title: On a list
owner: o
provides: {label: text, listed: bool, lists: text, network: text, valid_until: time}
key: source.ip
source:
  addresses:
    lists:
      - {name: plain, file: a.txt, label: p}
      - {name: table, file: b.csv, column: net, label_column: what}
      - {name: stix, file: c.json}
";
const PLAIN: &str = "# a list\n\n192.0.2.1\n198.51.100.9/24 ; SBL1\n2001:db8::/32 # v6\n";
const CSV: &str = "what,net\nwide,198.51.0.0/16\n,198.51.100.128/25\nself,192.0.2.1/32\n";
const STIX: &str = r#"{"type":"bundle","id":"b","objects":[
 {"type":"indicator","pattern":"[ipv4-addr:value = '203.0.113.1']","valid_until":"2030-01-01T00:00:00Z","indicator_types":["bad"]},
 {"type":"indicator","pattern":"[ipv4-addr:value = '203.0.113.2']","valid_until":"2020-01-01T00:00:00Z"},
 {"type":"indicator","pattern":"[ipv4-addr:value = '203.0.113.3']","revoked":true},
 {"type":"indicator","pattern":"[ipv4-addr:value = '203.0.113.4' AND file:size = 1]"},
 {"type":"indicator","pattern":"203.0.113.5","pattern_type":"snort"},
 {"type":"indicator","pattern":"[ipv4-addr:value = '203.0.113.6']","valid_from":"2030-01-01T00:00:00Z"},
 {"type":"ipv4-addr","value":"203.0.113.7"}]}"#;

fn with(plain: &str, csv: &str, stix: &str) -> Files {
    let mut files = files(&[("enrichers/threat/enricher.yaml", ENRICHER)]);
    for (path, text, at) in [
        ("enrichers/threat/a.txt", plain, Some(PLAIN_AT)),
        ("enrichers/threat/b.csv", csv, Some(CSV_AT)),
        ("enrichers/threat/c.json", stix, None),
    ] {
        files.insert(path, Source::new(path, text), at);
    }
    files
}

fn read(files: &Files) -> Enrichers {
    let configs = load(files).expect("no problems").enrichers;
    Enrichers::new(&configs, files, NOW).expect("right lists")
}

fn row(enrichers: &Enrichers, key: &str) -> std::sync::Arc<FactRow> {
    let soon = Instant::now() + Duration::from_secs(1);
    enrichers.fact("threat", key, soon).expect("an enricher")
}

fn told(row: &FactRow) -> String {
    let cell = |value: &Value<'_>| match value {
        Value::Text(text) => text.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Time(time) => time.to_string(),
        _ => "-".to_owned(),
    };
    row.values.iter().map(cell).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_narrowest_network_says_what_an_address_is_and_all_lists_are_named() {
    let enrichers = read(&with(PLAIN, CSV, STIX));
    for (key, expected, as_of) in [
        ("192.0.2.1", "p true plain,table 192.0.2.1/32 -", CSV_AT),
        ("198.51.100.200", "- true plain,table 198.51.100.128/25 -", CSV_AT),
        ("198.51.100.1", "p true plain,table 198.51.100.0/24 -", CSV_AT),
        ("198.51.1.1", "wide true table 198.51.0.0/16 -", CSV_AT),
        ("2001:db8:1::1", "p true plain 2001:db8::/32 -", PLAIN_AT),
        ("::ffff:192.0.2.1", "p true plain,table 192.0.2.1/32 -", CSV_AT),
        ("203.0.113.1", "bad true stix 203.0.113.1/32 2030-01-01T00:00:00.000Z", NOW),
    ] {
        let row = row(&enrichers, key);
        assert_eq!((told(&row).as_str(), row.as_of), (expected, Some(as_of)), "{key}");
        assert_eq!((&*row.key, &*row.source), (key, "lists:3"));
    }
}

#[test]
fn no_list_holding_it_is_known_and_as_old_as_the_oldest_list() {
    let enrichers = read(&with(PLAIN, CSV, STIX));
    for key in ["192.0.2.2", "203.0.113.2", "203.0.113.3", "203.0.113.4", "203.0.113.5"]
        .into_iter()
        .chain(["203.0.113.6", "203.0.113.7", "2001:db9::", "::1"])
    {
        let row = row(&enrichers, key);
        assert_eq!((row.state, row.as_of), (FactState::Known, Some(CSV_AT)), "{key}");
        assert_eq!(told(&row), "- false - - -", "{key}");
    }
    let row = row(&enrichers, "no address");
    assert_eq!((row.state, row.as_of), (FactState::Unknown(Why::Error), None));
}

#[test]
fn what_is_no_network_is_told_with_its_place() {
    let files =
        with("192.0.2.1\nfoo\n192.0.2.0/33\n", "what,net\nx,\ny,1.2.3\n", "{\"objects\": 1}");
    let configs = load(&files).expect("no problems").enrichers;
    let told = Enrichers::new(&configs, &files, NOW).err().expect("problems");
    let told: Vec<String> = told.iter().map(ToString::to_string).collect();
    let no_network = "no address and no network like 192.0.2.0/24";
    assert_eq!(
        told,
        [
            format!("enrichers/threat/a.txt:2:1: {no_network}"),
            format!("enrichers/threat/a.txt:3:1: {no_network}"),
            format!("enrichers/threat/b.csv:2:3: {no_network}"),
            format!("enrichers/threat/b.csv:3:3: {no_network}"),
            "enrichers/threat/c.json:1:13: no STIX 2.1 bundle: `objects` with a `type` each"
                .to_owned(),
        ]
    );
    let page = STIX.replacen('{', "{\"more\":true,\"next\":\"n\",", 1);
    let told = Enrichers::new(&configs, &with(PLAIN, CSV, &page), NOW).err().expect("problems");
    let told = told[0].to_string();
    assert!(told.starts_with("enrichers/threat/c.json:1:1: one page of a TAXII"), "{told}");
    let many = with(&"x\n".repeat(5000), CSV, STIX);
    assert!(Enrichers::new(&configs, &many, NOW).err().expect("problems").len() < 30);
}

#[test]
fn a_file_that_asks_for_what_lists_do_not_have_is_told() {
    for (from, to, expected) in [
        ("label: text, listed", "label: int, listed", "`label` of a list of addresses is text"),
        ("lists: text", "listing: text", "does not provide `listing`"),
        (", column: net", "", "a CSV list needs the `column` of its addresses"),
        ("file: a.txt", "file: a.txt, column: x", "only CSV has columns"),
        ("file: c.json", "file: ../c.json", "must be in or under the enricher's folder"),
        ("file: c.json", "file: c.xml", "must end in .txt, .csv or .json"),
        ("name: stix", "name: plain", "another list is called `plain`"),
        ("key: source.ip", "key: {all: [source.ip, nhi.id]}", "the key has 2 parts"),
    ] {
        let path = "enrichers/threat/enricher.yaml";
        let mut files = with(PLAIN, CSV, STIX);
        assert!(ENRICHER.contains(from), "{from}");
        files.insert(path, Source::new(path, ENRICHER.replace(from, to)), None);
        let told = problems(&files);
        assert!(told.iter().any(|told| told.contains(expected)), "{expected}: {told:?}");
    }
}

#[test]
fn a_list_is_read_again_whole_or_not_at_all() {
    let enrichers = read(&with(PLAIN, CSV, STIX));
    let config = &load(&with(PLAIN, CSV, STIX)).expect("no problems").enrichers[0];
    let before = row(&enrichers, "192.0.2.9");
    let broken = with("192.0.2.9\nnonsense\n", CSV, STIX);
    assert_eq!(enrichers.renew(config, &broken, NOW).unwrap_err().len(), 1);
    assert_eq!(row(&enrichers, "192.0.2.9").json().get(), before.json().get());
    enrichers.renew(config, &with("192.0.2.9\n", CSV, STIX), NOW).expect("right lists");
    let after = row(&enrichers, "192.0.2.9");
    assert_eq!(told(&after), "p true plain 192.0.2.9/32 -");
    assert!(before.version != after.version);
    assert_eq!(told(&row(&enrichers, "198.51.100.1")), "wide true table 198.51.0.0/16 -");
}
