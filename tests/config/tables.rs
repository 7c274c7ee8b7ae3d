use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::files;
use tipstaff::case::{Alert, FactRow, FactState, Field, Millis, Value, Why};
use tipstaff::config::{EnricherConfig, Files, SourceConfig, load};
use tipstaff::enrich::{Answer, Enrichers, Lookup, Table};

const NOW: Millis = Millis(1_800_000_000_000);

const ENRICHER: &str = "\
enricher: rotation
title: When it was last changed
owner: vault-team
provides: {last_rotated: time, policy_days: int, overdue: bool, note: text, every: duration}
key: nhi.id
source: {table: {file: FILE, key: id, as_of: seen, columns: {note: comment}}}
";

const CSV: &str = "\
id,last_rotated,policy_days,overdue,comment,every,seen,more
a,2026-01-01T00:00:00Z,90,false,\"two, words\",90d,2026-11-01T00:00:00Z,x
b,,30,true,,,2026-11-02T00:00:00Z,
";

const YAML: &str = "\
- {id: a, last_rotated: 2026-01-01T00:00:00Z, policy_days: 90, overdue: false, comment: 'two, words', every: 90d, seen: 2026-11-01T00:00:00Z}
- id: b
  last_rotated: null
  policy_days: 30
  overdue: true
  seen: '2026-11-02T00:00:00Z'
";

const NDJSON: &str = r#"{"id":"a","last_rotated":"2026-01-01T00:00:00Z","policy_days":90,"overdue":false,"comment":"two, words","every":"90d","seen":"2026-11-01T00:00:00Z"}

{"id":"b","last_rotated":null,"policy_days":30,"overdue":true,"comment":"","seen":"2026-11-02T00:00:00Z"}
"#;

fn with_table(enricher: &str, file: &str, table: &str) -> (Vec<EnricherConfig>, Files) {
    let path = format!("enrichers/rotation/{file}");
    let enricher = enricher.replace("FILE", file);
    let files = files(&[("enrichers/rotation/enricher.yaml", &enricher), (&path, table)]);
    (load(&files).expect("no problems").enrichers, files)
}

fn enrichers(file: &str, table: &str) -> Enrichers {
    let (configs, files) = with_table(ENRICHER, file, table);
    Enrichers::new(&configs, &files, NOW).expect("a right table")
}

fn mistakes(file: &str, table: &str) -> Vec<String> {
    let (configs, files) = with_table(ENRICHER, file, table);
    let told = Enrichers::new(&configs, &files, NOW).err().expect("problems");
    told.iter().map(ToString::to_string).collect()
}

fn alert(id: &str) -> Alert<'_> {
    let mut alert = Alert::default();
    if !id.is_empty() {
        alert.set(Field::NhiId, Value::Text(id.into()));
    }
    alert
}

fn soon() -> Instant {
    Instant::now() + Duration::from_millis(500)
}

fn fact(enrichers: &Enrichers, id: &str) -> Arc<FactRow> {
    let alert = alert(id);
    let mut facts = enrichers.facts(&[(&alert, &[0])], soon());
    facts.remove(0).remove(0).expect("was wanted")
}

#[test]
fn three_formats_give_equal_rows() {
    let sources = [("t.csv", CSV), ("t.yaml", YAML), ("t.ndjson", NDJSON)];
    let tables = sources.map(|(file, text)| enrichers(file, text));
    for id in ["a", "b"] {
        let [csv, yaml, ndjson] = [0, 1, 2].map(|index| fact(&tables[index], id));
        assert_eq!(csv.state, FactState::Known);
        for other in [&yaml, &ndjson] {
            assert_eq!(
                (&csv.values, csv.as_of, csv.state),
                (&other.values, other.as_of, other.state)
            );
        }
    }
    let row = serde_json::to_string(&*fact(&tables[0], "a")).unwrap();
    assert_eq!(
        row,
        format!(
            r#"{{"enricher":"rotation","source":"table:t.csv","version":"{}","key":"a","as_of":"2026-11-01T00:00:00.000Z","state":"known","values":{{"last_rotated":"2026-01-01T00:00:00.000Z","policy_days":90,"overdue":false,"note":"two, words","every":"90d"}}}}"#,
            fact(&tables[0], "a").version
        )
    );
    assert_eq!(fact(&tables[0], "b").values[0], Value::Absent);
    assert_eq!(fact(&tables[0], "b").version.len(), 16);
}

#[test]
fn a_miss_is_absent_as_of_the_newest_row_and_no_key_is_unknown() {
    let enrichers = enrichers("t.csv", CSV);
    let miss = fact(&enrichers, "nobody");
    assert_eq!(
        (miss.state, miss.as_of),
        (FactState::Absent, Millis::parse("2026-11-02T00:00:00Z"))
    );
    let no_key = fact(&enrichers, "");
    assert_eq!((no_key.state, no_key.as_of), (FactState::Unknown(Why::NoKey), None));
    let nobody = alert("a");
    assert_eq!(enrichers.facts(&[(&nobody, &[])], soon())[0][0].as_ref().map(|_| ()), None);
}

#[test]
fn an_old_row_keeps_its_age_and_a_table_without_ages_has_the_files_or_now() {
    let enrichers = enrichers("t.csv", CSV);
    assert_eq!(fact(&enrichers, "a").as_of, Millis::parse("2026-11-01T00:00:00Z"));
    let plain = ENRICHER.replace(", as_of: seen", "");
    let (configs, mut files) = with_table(&plain, "t.csv", CSV);
    let loaded = Enrichers::new(&configs, &files, NOW).expect("a right table");
    assert_eq!(fact(&loaded, "a").as_of, Some(NOW));
    let source = files.get("enrichers/rotation/t.csv").expect("the table").source.clone();
    files.insert("enrichers/rotation/t.csv", source, Some(Millis(7)));
    let loaded = Enrichers::new(&configs, &files, NOW).expect("a right table");
    assert_eq!(fact(&loaded, "a").as_of, Some(Millis(7)));
    assert_eq!(fact(&loaded, "nobody").as_of, Some(Millis(7)));
    let some = CSV.replace("2026-11-01T00:00:00Z", "");
    let (configs, files) = with_table(ENRICHER, "t.csv", &some);
    let loaded = Enrichers::new(&configs, &files, NOW).expect("a right table");
    assert_eq!(fact(&loaded, "a").as_of, Some(NOW), "an empty cell is as old as the file");
}

#[test]
fn rows_that_contradict_are_a_conflict_and_equal_ones_are_not() {
    let again = "b,,30,true,,,2026-11-03T00:00:00Z,\n";
    let other = "a,2026-01-02T00:00:00Z,90,false,,,2026-11-01T00:00:00Z,\n";
    let first = CSV.lines().nth(1).expect("a row");
    // The first row again, after the contradiction, does not settle it.
    let enrichers = enrichers("t.csv", &format!("{CSV}{again}{other}{first}\n"));
    let conflict = fact(&enrichers, "a");
    assert_eq!((conflict.state, conflict.as_of), (FactState::Unknown(Why::Conflict), None));
    assert!(conflict.values.is_empty());
    let newest = fact(&enrichers, "b");
    assert_eq!(
        (newest.state, newest.as_of),
        (FactState::Known, Millis::parse("2026-11-03T00:00:00Z"))
    );
}

#[test]
fn a_cell_that_does_not_fit_is_told_by_line_and_column() {
    let csv = "id,last_rotated,policy_days,overdue,comment,every,seen\r\n\
               a,,x,false,\"line\r\nbreak, and \"\"quote\"\"\",5,2026-11-01T00:00:00Z\r\n\
               \r\n,,1,,,,2026-11-01T00:00:00Z\r\nb,,1,yes,,,yesterday\r\nc,,1\r\n";
    assert_eq!(
        mistakes("t.csv", csv),
        [
            "enrichers/rotation/t.csv:2:4: `policy_days` must be a whole number",
            "enrichers/rotation/t.csv:3:23: `every` must be a duration: 90s, 15m, 6h or 30d",
            "enrichers/rotation/t.csv:5:1: the row has no key: `id` is empty",
            "enrichers/rotation/t.csv:6:6: `overdue` must be true or false",
            "enrichers/rotation/t.csv:6:12: `as_of` must be a time in RFC 3339: 2026-01-31T12:00:00Z",
            "enrichers/rotation/t.csv:7:1: the row has 3 cells, the header 7",
        ]
    );
    assert_eq!(
        mistakes(
            "t.yaml",
            &YAML
                .replace("overdue: true", "overdue: [true]")
                .replace("policy_days: 90", "policy_days: 9.0")
        ),
        [
            "enrichers/rotation/t.yaml:1:60: `policy_days` must be a whole number",
            "enrichers/rotation/t.yaml:5:12: a cell must be one value, not a list",
        ]
    );
    let ndjson = NDJSON.replace(r#""policy_days":90"#, r#""policy_days":9e1"#);
    assert_eq!(
        mistakes("t.ndjson", &format!("{ndjson}[]\n{{\"id\":\"c\",\"seen\":{{}},\"id\":\"d\"}}\n")),
        [
            "enrichers/rotation/t.ndjson:1:63: `policy_days` must be a whole number",
            "enrichers/rotation/t.ndjson:4:1: not a JSON object on one line",
            "enrichers/rotation/t.ndjson:5:24: not a JSON object on one line",
        ]
    );
}

#[test]
fn a_column_that_is_not_there_is_a_mistake_and_not_an_absence() {
    let missing = CSV.replacen("policy_days", "policy_day", 1);
    assert_eq!(
        mistakes("t.csv", &missing),
        [
            "enrichers/rotation/t.csv:1:1: the table has no column `policy_days`, did you mean `policy_day`?"
        ]
    );
    for (file, text) in [("t.yaml", YAML), ("t.ndjson", NDJSON)] {
        let missing = text.replace("policy_days", "policy_day");
        let told = mistakes(file, &missing);
        let expected = format!(
            "enrichers/rotation/{file}:1:1: no row of the table has `policy_days`, did you mean `policy_day`?"
        );
        assert_eq!(told, [expected]);
    }
    let (configs, files) = with_table(ENRICHER, "other.csv", CSV);
    let mut configs = configs;
    let SourceConfig::Table(table) = &mut configs[0].source else { panic!("a table") };
    table.file = "enrichers/rotation/no.csv".to_owned();
    assert!(Enrichers::new(&configs, &files, NOW).is_err());
}

#[test]
fn mistakes_of_one_table_have_a_limit() {
    let rows: String = (0..5000).map(|n| format!("k{n},,x,,,,2026-11-01T00:00:00Z,\n")).collect();
    let header = CSV.lines().next().expect("a header");
    assert!(mistakes("t.csv", &format!("{header}\n{rows}")).len() < 30);
}

/// Counts what it is asked.
struct Counting(Arc<Mutex<Vec<Vec<String>>>>, Table);

impl Lookup for Counting {
    fn ask(&self, keys: &[&str]) -> Vec<Answer> {
        self.0.lock().unwrap().push(keys.iter().map(ToString::to_string).collect());
        let mut answers = self.1.ask(keys);
        // A source that breaks off gives fewer answers than keys.
        answers.truncate(keys.iter().take_while(|key| **key != "broken").count());
        answers
    }
}

fn counting(key: &str, table: &str) -> (Enrichers, Arc<Mutex<Vec<Vec<String>>>>) {
    let text = "enricher: rotation\ntitle: t\nowner: o\nprovides: {note: text}\nkey: KEY\n\
                source: {table: {file: FILE, key: COLUMNS}}\n";
    let columns = if key.contains("all") { "[id, more]" } else { "id" };
    let text = text.replace("KEY", key).replace("COLUMNS", columns);
    let (mut configs, files) = with_table(&text, "t.csv", table);
    let mut problems = Default::default();
    let SourceConfig::Table(source) = &configs[0].source else { panic!("a table") };
    let table = Table::read(&configs[0], source, &files, NOW, &mut problems).expect("right");
    let asked = Arc::new(Mutex::new(Vec::new()));
    let source: Box<dyn Lookup> = Box::new(Counting(asked.clone(), table));
    (Enrichers::with([(configs.remove(0), source)]), asked)
}

#[test]
fn each_distinct_key_is_asked_once_per_batch() {
    let (enrichers, asked) = counting("nhi.id", "id,note\na,x\nb,y\n");
    let alerts: Vec<Alert<'_>> = ["b", "a", "", "b", "c", "a", "broken"].map(alert).into();
    let mut batch: Vec<(&Alert<'_>, &[usize])> =
        alerts.iter().map(|alert| (alert, &[0_usize][..])).collect();
    batch.push((&alerts[0], &[]));
    let facts = enrichers.facts(&batch, soon());
    assert_eq!(*asked.lock().unwrap(), [["b", "a", "c", "broken"]]);
    let states: Vec<Option<FactState>> =
        facts.iter().map(|row| row[0].as_ref().map(|fact| fact.state)).collect();
    use FactState::{Absent, Known, Unknown};
    let expected = [Known, Known, Unknown(Why::NoKey), Known, Absent, Known, Unknown(Why::Error)];
    assert_eq!(states[..7], expected.map(Some));
    assert_eq!(states[7], None);
    assert_eq!(
        facts[0][0].as_ref().map(|fact| fact.values.clone()),
        Some(vec![Value::Text("y".into())])
    );
    enrichers.facts(&[(&alerts[2], &[0])], soon());
    assert_eq!(asked.lock().unwrap().len(), 1, "nothing is asked without a key");
}

#[test]
fn composite_and_first_keys() {
    let mut both = alert("a");
    both.set(Field::CredentialId, Value::Text("k1".into()));
    let mut forged = alert("a\u{1f}k1");
    forged.set(Field::CredentialId, Value::Text("x".into()));
    let one = alert("a");

    let (enrichers, asked) = counting("{all: [nhi.id, credential.id]}", "id,more,note\na,k1,x\n");
    let facts =
        enrichers.facts(&[(&both, &[0]), (&forged, &[0]), (&one, &[0]), (&both, &[0])], soon());
    let states: Vec<FactState> = facts.iter().flatten().flatten().map(|fact| fact.state).collect();
    let no_key = FactState::Unknown(Why::NoKey);
    assert_eq!(states, [FactState::Known, no_key, no_key, FactState::Known]);
    assert_eq!(*asked.lock().unwrap(), [["a\u{1f}k1"]]);

    let (enrichers, asked) = counting("{first: [credential.id, nhi.id]}", "id,note\nk1,x\na,y\n");
    enrichers.facts(&[(&both, &[0]), (&one, &[0])], soon());
    assert_eq!(*asked.lock().unwrap(), [["k1", "a"]]);
}

#[test]
fn a_hundred_thousand_rows_are_read_and_found() {
    let mut table = String::from("id,note\n");
    (0..100_000).for_each(|n| table.push_str(&format!("key-{n},note {n}\n")));
    let (enrichers, _) = counting("nhi.id", &table);
    assert_eq!(fact(&enrichers, "key-99999").values, [Value::Text("note 99999".into())]);
}
