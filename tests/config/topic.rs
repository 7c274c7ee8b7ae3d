use std::sync::Arc;
use std::time::Instant;

use crate::{files, problems};
use tipstaff::case::{FactRow, FactState, Millis, Value, Why};
use tipstaff::config::{EnricherConfig, load};
use tipstaff::enrich::{Applied, Changes, Enrichers, Lookup, TopicTable, Update};

const NOW: Millis = Millis(1_800_000_000_000);
const PATH: &str = "enrichers/owner/enricher.yaml";
const ENRICHER: &str = "\
enricher: owner
title: Who answers for it
owner: o
provides: {team: text, tier: int, since: time}
key: nhi.id
source: {topic: {name: identity.owners, as_of: seen, columns: {team: squad}}}
";

fn config(text: &str) -> EnricherConfig {
    load(&files(&[(PATH, text)])).expect("no problems").enrichers.remove(0)
}

/// A table whose topic was read to its end, which is empty, and its changes.
fn table(text: &str) -> (TopicTable, Changes) {
    let (config, changes) = (config(text), Changes::default());
    let table = TopicTable::new(&config, config.source.topics()[0], &changes);
    table.begin("incarnation");
    table.at_end(NOW, &[0]);
    (table, changes)
}

fn put(table: &TopicTable, offset: i64, key: &str, value: &str) -> Applied {
    let (key, value) = (Some(key.as_bytes()), Some(value.as_bytes()));
    table.apply(&Update { partition: 3, offset, timestamp_ms: 5_000, key, value }, NOW)
}

fn delete(table: &TopicTable, offset: i64, key: &str) -> Applied {
    let key = Some(key.as_bytes());
    table.apply(&Update { partition: 3, offset, timestamp_ms: 5_000, key, value: None }, NOW)
}

fn ask(table: &TopicTable, key: &str) -> Arc<FactRow> {
    table.ask(&[key]).remove(0).by(Instant::now())
}

fn detail(row: &FactRow) -> &str {
    row.detail.as_deref().unwrap_or_default()
}

fn text(text: &str) -> Value<'static> {
    Value::Text(text.to_owned().into())
}

const FAILED: FactState = FactState::Unknown(Why::Error);

#[test]
fn the_last_record_of_a_key_is_its_row_and_a_tombstone_ends_it() {
    let (table, changes) = table(ENRICHER);
    let before = changes.count();
    assert_eq!(put(&table, 7, "a", r#"{"squad":"web","tier":1,"other":[1]}"#), Applied::Read);
    assert_eq!(changes.count(), before + 1);
    let row = ask(&table, "a");
    assert_eq!(row.values, [text("web"), Value::Int(1), Value::Absent]);
    assert_eq!((&*row.source, row.as_of), ("topic:identity.owners", Some(Millis(5_000))));
    assert_eq!((&*row.version, row.state), ("incarnat/3@7", FactState::Known));

    let newer = r#"{"squad":"pay","tier":"2","since":"2026-01-01T00:00:00Z","seen":"2026-02-01T00:00:00Z"}"#;
    assert_eq!(put(&table, 9, "a", newer), Applied::Read);
    let row = ask(&table, "a");
    let since = Value::Time(Millis::parse("2026-01-01T00:00:00Z").unwrap());
    assert_eq!(row.values, [text("pay"), Value::Int(2), since]);
    assert_eq!(row.as_of, Millis::parse("2026-02-01T00:00:00Z"));

    assert_eq!(delete(&table, 10, "a"), Applied::Deleted);
    assert_eq!((ask(&table, "a").state, table.len()), (FactState::Absent, 0));
}

#[test]
fn an_absence_is_as_old_as_the_last_look_at_the_end() {
    let (table, _) = table(ENRICHER);
    let first = ask(&table, "nobody");
    assert_eq!((first.state, first.as_of), (FactState::Absent, Some(NOW)));
    table.at_end(Millis(NOW.0 + 1_000), &[0]);
    let second = ask(&table, "nobody");
    assert_eq!((second.as_of, &second.version), (Some(Millis(NOW.0 + 1_000)), &first.version));
    table.at_end(Millis(NOW.0 + 2_000), &[1]);
    assert_ne!(ask(&table, "nobody").version, first.version);
    // A look that fails leaves the absence to grow old.
    table.failed("no broker answers");
    assert_eq!(ask(&table, "nobody").as_of, Some(Millis(NOW.0 + 2_000)));
}

#[test]
fn before_it_was_read_to_its_end_nothing_is_known() {
    let config = config(ENRICHER);
    let table = TopicTable::new(&config, config.source.topics()[0], &Changes::default());
    let told = |why: &str| format!("topic identity.owners was not read to its end: {why}");
    assert_eq!(detail(&ask(&table, "a")), told("it is read by `tipstaff run` alone"));
    table.begin("x");
    put(&table, 1, "a", r#"{"squad":"web"}"#);
    for key in ["a", "b"] {
        let row = ask(&table, key);
        assert_eq!((row.state, detail(&row)), (FAILED, told("it is being read").as_str()));
    }
    table.failed("no broker answers");
    assert_eq!(detail(&ask(&table, "a")), told("no broker answers"));
    table.at_end(NOW, &[2]);
    assert_eq!(ask(&table, "a").state, FactState::Known);
    // Made again: what was is not what is.
    table.begin("y");
    assert_eq!((ask(&table, "a").state, table.len()), (FAILED, 0));
}

#[test]
fn a_record_that_does_not_fit_makes_its_key_unknown_and_never_the_value_before() {
    let place = "identity.owners/3@8";
    for (value, why) in [
        (r#"{"squad":"x","tier":"secret"}"#, "`tier` must be a whole number"),
        (r#"{"squad":{"a":1}}"#, "`squad` must be one value"),
        (r#"{"seen":"yesterday"}"#, "`as_of` must be a time in RFC 3339: 2026-01-31T12:00:00Z"),
        ("[1]", "the value is no JSON object"),
        ("", "the value is no JSON object"),
        (r#"{"squad":1,"squad":2}"#, "the value is no JSON object"),
    ] {
        let (table, _) = table(ENRICHER);
        put(&table, 7, "a", r#"{"squad":"web"}"#);
        let told = format!("{place}: {why}");
        assert_eq!(put(&table, 8, "a", value), Applied::Refused(told.clone()));
        let row = ask(&table, "a");
        assert_eq!((row.state, detail(&row), row.as_of), (FAILED, told.as_str(), None));
        assert_eq!(ask(&table, "b").state, FactState::Absent, "its key is known");
        put(&table, 9, "a", r#"{"squad":"web"}"#);
        assert_eq!(ask(&table, "a").state, FactState::Known);
    }
}

#[test]
fn the_records_time_is_not_believed_when_it_is_to_come() {
    let (table, _) = table(ENRICHER);
    let (key, value) = (Some(&b"a"[..]), Some(&br#"{"squad":"web"}"#[..]));
    let timestamp_ms = NOW.0 + 86_400_000;
    table.apply(&Update { partition: 0, offset: 1, timestamp_ms, key, value }, NOW);
    assert_eq!(ask(&table, "a").as_of, Some(NOW));
}

const BY_FIELDS: &str = "\
enricher: owner
title: Who answers for it
owner: o
provides: {team: text}
key: {all: [nhi.id, credential.id]}
source: {topic: {name: t, key: [id, credential]}}
";

#[test]
fn a_key_of_fields_moves_with_the_value() {
    let (table, _) = table(BY_FIELDS);
    put(&table, 1, "r1", r#"{"id":"a","credential":"k","team":"web"}"#);
    assert_eq!(ask(&table, "a\u{1f}k").values, [text("web")]);
    put(&table, 2, "r1", r#"{"id":"b","credential":"k","team":"web"}"#);
    assert_eq!(ask(&table, "a\u{1f}k").state, FactState::Absent);
    assert_eq!(ask(&table, "b\u{1f}k").values, [text("web")]);
    delete(&table, 3, "r1");
    assert_eq!(ask(&table, "b\u{1f}k").state, FactState::Absent);
}

#[test]
fn records_about_the_same_key_must_agree() {
    let (table, _) = table(BY_FIELDS);
    put(&table, 1, "r1", r#"{"id":"a","credential":"k","team":"web"}"#);
    put(&table, 2, "r2", r#"{"id":"a","credential":"k","team":"web"}"#);
    assert_eq!(ask(&table, "a\u{1f}k").values, [text("web")]);
    put(&table, 3, "r2", r#"{"id":"a","credential":"k","team":"pay"}"#);
    let row = ask(&table, "a\u{1f}k");
    assert_eq!(row.state, FactState::Unknown(Why::Conflict));
    assert_eq!(detail(&row), "its records contradict each other: incarnat/3@1, incarnat/3@3");
    delete(&table, 4, "r1");
    assert_eq!(ask(&table, "a\u{1f}k").values, [text("pay")]);
}

#[test]
fn while_it_cannot_be_told_what_a_record_is_about_no_key_is_absent() {
    for (key, value) in [
        (Some(&b"r9"[..]), r#"{"id":"a","team":"x"}"#),
        (Some(&b"r9"[..]), "nonsense"),
        (None, "nonsense"),
    ] {
        let (table, _) = table(BY_FIELDS);
        put(&table, 1, "r1", r#"{"id":"a","credential":"k","team":"web"}"#);
        let value = Some(value.as_bytes());
        let lost = Update { partition: 0, offset: 2, timestamp_ms: 0, key, value };
        assert!(matches!(table.apply(&lost, NOW), Applied::Refused(_)));
        let row = ask(&table, "other");
        assert_eq!(row.state, FAILED);
        let expected = "it may be in a record that cannot be read: t/0@2: ";
        assert!(detail(&row).starts_with(expected), "{}", detail(&row));
        assert_eq!(ask(&table, "a\u{1f}k").state, FactState::Known);
        if key.is_some() {
            delete(&table, 3, "r9");
            assert_eq!(ask(&table, "other").state, FactState::Absent);
        }
    }
    // What the record was about before is unknown with it.
    let (table, _) = table(BY_FIELDS);
    put(&table, 1, "r1", r#"{"id":"a","credential":"k","team":"web"}"#);
    put(&table, 2, "r1", "nonsense");
    assert_eq!(ask(&table, "a\u{1f}k").state, FAILED);
    assert_eq!(ask(&table, "other").state, FAILED);
}

#[test]
fn a_topic_outlives_the_files_that_are_read_again_beside_it() {
    let enricher = "\
enricher: owner
title: t
owner: o
provides: {team: text}
key: nhi.id
source:
  combine:
    - {topic: {name: t}}
    - {table: {file: a.csv, key: id}, rank: 2}
";
    let table = |rows: &str| {
        let path = "enrichers/owner/a.csv";
        files(&[(PATH, enricher), (path, &format!("id,team\n{rows}\n"))])
    };
    let first = table("a,web");
    let configs = load(&first).expect("no problems").enrichers;
    let enrichers = Enrichers::new(&configs, &first, NOW).expect("right files");
    let [topic] = enrichers.topics().try_into().ok().expect("one topic");
    topic.begin("x");
    put(&topic, 1, "b", r#"{"team":"pay"}"#);
    topic.at_end(NOW, &[2]);
    enrichers.renew(&configs[0], &table("a,new"), NOW).expect("right files");
    let fact = |key: &str| enrichers.fact("owner", key, Instant::now()).expect("an enricher");
    assert_eq!(fact("b").values, [text("pay")]);
    assert_eq!(fact("a").values, [text("new")]);
    assert_eq!(detail(&fact("a")), "owner.team filled in by table:a.csv; topic:t has nothing");
}

#[test]
fn what_is_no_topic_is_told_with_its_place() {
    for (from, to, expected) in [
        ("name: identity.owners", "name: 'no topic'", "6:24: a topic's name is made of letters"),
        ("name: identity.owners, ", "", "`name` is missing"),
        ("as_of: seen", "key: []", "`key` must name at least one field"),
        ("as_of: seen", "key: [a, b]", "the key has 1 parts, but the topic's records 2"),
        ("key: nhi.id", "key: {all: [nhi.id, credential.id]}", "the key has 2 parts"),
        ("as_of: seen", "asof: seen", "unknown key `asof`, did you mean `as_of`?"),
        ("{team: squad}", "{taem: squad}", "`taem` is not in `provides`, did you mean"),
    ] {
        assert!(ENRICHER.contains(from), "{from}");
        let told = problems(&files(&[(PATH, &ENRICHER.replace(from, to))]));
        assert!(told.iter().any(|told| told.contains(expected)), "{expected}: {told:?}");
    }
}
