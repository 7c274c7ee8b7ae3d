use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::{files, problems};
use tipstaff::case::{CacheState, EnricherShape, FactRow, FactState, Millis, Value, Why};
use tipstaff::config::{EnricherConfig, SourceConfig, load};
use tipstaff::enrich::{Answer, Combined, Enrichers, Flight, Lookup};
use tipstaff::text::Source;

const NOW: Millis = Millis(1_800_000_000_000);
const PATH: &str = "enrichers/owner/enricher.yaml";
const ENRICHER: &str = "\
enricher: owner
title: Who answers for it
owner: o
provides: {team: text, tier: text, on_call: text}
key: nhi.id
source:
  combine:
    - {table: {file: a.csv, key: id, as_of: seen}}
    - {table: {file: b.csv, key: id, as_of: seen, columns: {team: squad}}, gives: [on_call, team], rank: 1}
    - {table: {file: c.csv, key: id, as_of: seen}, rank: 2}
";
const DAY: i64 = 86_400_000;
const A_AT: Millis = Millis(NOW.0 - DAY);
const B_AT: Millis = Millis(NOW.0 - 2 * DAY);
const C_AT: Millis = Millis(NOW.0 - 3 * DAY);

fn soon() -> Instant {
    Instant::now() + Duration::from_millis(500)
}

fn tables() -> Enrichers {
    let a = format!("id,team,tier,on_call,seen\nall,web,1,,{A_AT}\nsame,web,1,x@y,{A_AT}\n");
    let b = format!("id,squad,on_call,seen\nall,pay,,{B_AT}\nsame,web,x@y,{B_AT}\n");
    let c = format!("id,team,tier,on_call,seen\nall,z,9,c@z,{C_AT}\nlow,web,3,,{C_AT}\n");
    let mut files = files(&[(PATH, ENRICHER)]);
    for (name, text) in [("a.csv", a), ("b.csv", b), ("c.csv", c)] {
        let path = format!("enrichers/owner/{name}");
        files.insert(&path, Source::new(path.as_str(), text), None);
    }
    let configs = load(&files).expect("no problems").enrichers;
    assert_eq!(configs[0].files().len(), 3);
    Enrichers::new(&configs, &files, NOW).expect("right tables")
}

fn detail(row: &FactRow) -> &str {
    row.detail.as_deref().unwrap_or_default()
}

fn text(text: &str) -> Value<'static> {
    Value::Text(text.to_owned().into())
}

#[test]
fn a_contradiction_makes_one_field_unknown_and_names_both_values() {
    let row = tables().fact("owner", "all", soon()).expect("an enricher");
    let conflict = Value::Unknown(Why::Conflict);
    assert_eq!(
        (row.state, &row.values),
        (FactState::Known, &vec![conflict, text("1"), text("c@z")])
    );
    assert_eq!(row.as_of, Some(C_AT), "the oldest of what it rests on");
    assert_eq!(
        detail(&row),
        "owner.team: table:a.csv says \"web\", table:b.csv says \"pay\"; \
         owner.on_call filled in by table:c.csv; table:a.csv, table:b.csv have nothing"
    );
    let shape = EnricherShape {
        name: "owner".into(),
        provides: ["team", "tier", "on_call"]
            .map(|name| (name.to_owned(), tipstaff::case::Type::Text))
            .to_vec(),
    };
    let again = FactRow::read(row.json(), &shape).expect("a row");
    assert_eq!((again.json().get(), &again.values), (row.json().get(), &row.values));
}

#[test]
fn those_who_agree_need_nobody_below_and_nobody_has_what_all_lack() {
    let tables = tables();
    let row = tables.fact("owner", "same", soon()).expect("an enricher");
    assert_eq!(row.values, [text("web"), text("1"), text("x@y")]);
    assert_eq!((row.as_of, &*row.source), (Some(B_AT), "table:a.csv+table:b.csv"));
    assert_eq!(row.detail, None);
    let low = tables.fact("owner", "low", soon()).expect("an enricher");
    assert_eq!(low.values, [text("web"), text("3"), Value::Absent]);
    assert_eq!(
        detail(&low),
        "owner.tier filled in by table:c.csv; table:a.csv has nothing; \
         owner.team filled in by table:c.csv; table:a.csv, table:b.csv have nothing"
    );
    let nobody = tables.fact("owner", "nobody", soon()).expect("an enricher");
    assert_eq!((nobody.state, nobody.as_of), (FactState::Absent, Some(C_AT)));
    assert_eq!((&*nobody.key, nobody.values.len()), ("nobody", 0));
}

/// Says the same to every key.
struct Says(FactRow);

impl Lookup for Says {
    fn ask(&self, keys: &[&str]) -> Vec<Answer> {
        keys.iter().map(|_| Answer::Now(Arc::new(self.0.clone()))).collect()
    }
}

fn config(second: &str) -> EnricherConfig {
    let text = format!(
        "enricher: owner\ntitle: t\nowner: o\nprovides: {{team: text, tier: text}}\nkey: nhi.id\n\
         source:\n  combine:\n    - {{table: {{file: a.csv, key: id}}{second}}}\n    \
         - {{table: {{file: b.csv, key: id}}, rank: 2}}\n"
    );
    load(&files(&[(PATH, &text)])).expect("no problems").enrichers.remove(0)
}

fn says(name: &str, state: FactState, values: &[Value<'static>]) -> FactRow {
    let provides =
        ["team", "tier"].map(|name| (name.to_owned(), tipstaff::case::Type::Text)).to_vec();
    let as_of = (!matches!(state, FactState::Unknown(_))).then_some(NOW);
    let names = ("owner".into(), name.into(), "1".into());
    FactRow::new(names, "k", as_of, state, (&provides, values.to_vec()))
}

fn combined(config: &EnricherConfig, parts: [Option<FactRow>; 2]) -> Arc<FactRow> {
    let SourceConfig::Combine(source) = &config.source else { panic!("combined") };
    let parts = parts.map(|row| row.map(|row| -> Arc<dyn Lookup> { Arc::new(Says(row)) }));
    let combined = Combined::new(config, source, parts.into());
    combined.ask(&["k"]).remove(0).by(soon())
}

const KNOWN: FactState = FactState::Known;
const ABSENT: FactState = FactState::Absent;
const FAILED: FactState = FactState::Unknown(Why::Error);

/// INV-4, by trying all states against all.
#[test]
fn a_lower_source_never_hides_that_a_higher_one_is_unknown() {
    let both = || vec![text("a"), text("b")];
    let half = || vec![text("a"), Value::Absent];
    let doubt = || vec![text("a"), Value::Unknown(Why::Conflict)];
    let rows =
        [(KNOWN, both()), (KNOWN, half()), (KNOWN, doubt()), (ABSENT, vec![]), (FAILED, vec![])];
    for (upper, upper_values) in &rows {
        for (lower, lower_values) in &rows {
            let parts = [(upper, upper_values, "up"), (lower, lower_values, "low")];
            let parts = parts.map(|(state, values, name)| Some(says(name, *state, values)));
            let row = combined(&config(""), parts);
            let get = |state: &FactState, values: &[Value<'static>], index: usize| match state {
                FactState::Unknown(why) => Value::Unknown(*why),
                FactState::Absent => Value::Absent,
                FactState::Known => values[index].clone(),
            };
            for index in 0..2 {
                let upper = get(upper, upper_values, index);
                let lower = get(lower, lower_values, index);
                let expected = if upper == Value::Absent { lower } else { upper };
                assert_eq!(get(&row.state, &row.values, index), expected, "{}", row.json());
            }
            assert_eq!(row.as_of.is_none(), matches!(row.state, FactState::Unknown(_)));
        }
    }
}

#[test]
fn a_failure_is_told_with_its_own_words() {
    let failed = || says("http:catalog", FAILED, &[]).told(None, Some("it answered 503"));
    let known = || says("table:b", KNOWN, &[text("a"), Value::Absent]);
    let row = combined(&config(""), [Some(failed()), Some(known())]);
    assert_eq!((row.state, detail(&row)), (FAILED, "http:catalog: it answered 503"));
    assert_eq!(&*row.source, "http:catalog");

    // Asked to, the lower one may give what it has; what it has not stays unknown.
    let row = combined(&config(", when_unknown: fill_in"), [Some(failed()), Some(known())]);
    assert_eq!((row.state, &row.values[..]), (KNOWN, &[text("a"), Value::Unknown(Why::Error)][..]));
    assert_eq!(detail(&row), "http:catalog is passed over: it answered 503");
}

#[test]
fn a_part_that_is_not_configured_says_nothing() {
    let known = says("low", KNOWN, &[text("a"), text("b")]).told(Some(CacheState::Stale), None);
    let row = combined(&config(""), [None, Some(known.clone())]);
    assert_eq!((row.state, &row.values, &row.detail), (KNOWN, &known.values, &None));
    assert_eq!(row.cache, Some(CacheState::Stale));
    let none = combined(&config(""), [None, None]);
    assert_eq!((none.state, detail(&none)), (FAILED, "none of its sources is configured"));
    assert_eq!(&*none.key, "k");

    // What only it gives is not absent: nobody was asked.
    let row = combined(&config(", gives: [tier]"), [None, Some(known)]);
    assert_eq!(row.values[1], text("b"));
    let text = ENRICHER
        .replace("rank: 1", "rank: 3")
        .replace("as_of: seen}}", "as_of: seen}, gives: [tier, on_call]}");
    let config = load(&files(&[(PATH, &text)])).expect("no problems").enrichers.remove(0);
    let SourceConfig::Combine(source) = &config.source else { panic!("combined") };
    let table = Arc::new(Says(says("a", KNOWN, &[Value::Absent, Value::Absent])));
    let combined = Combined::new(&config, source, vec![Some(table), None, None]);
    let row = combined.ask(&["k"]).remove(0).by(soon());
    assert_eq!(row.values[0], Value::Unknown(Why::Error));
    assert_eq!(detail(&row), "owner.team: no source that is configured gives it");
}

/// Breaks off before the first key.
struct Silent;

impl Lookup for Silent {
    fn ask(&self, _: &[&str]) -> Vec<Answer> {
        Vec::new()
    }
}

/// Never lands.
struct Late;

impl Lookup for Late {
    fn ask(&self, keys: &[&str]) -> Vec<Answer> {
        let late = says("late", FactState::Unknown(Why::Timeout), &[]);
        let flight = Arc::new(Flight::new(Arc::new(late)));
        keys.iter().map(|_| Answer::Later(Arc::clone(&flight))).collect()
    }
}

#[test]
fn a_part_that_is_late_or_breaks_off_is_unknown_in_its_own_place() {
    let config = config("");
    let SourceConfig::Combine(source) = &config.source else { panic!("combined") };
    let known = || Arc::new(Says(says("low", KNOWN, &[text("a"), Value::Absent])));
    for (first, second, expected) in [
        (Arc::new(Silent) as Arc<dyn Lookup>, known() as Arc<dyn Lookup>, FAILED),
        (Arc::new(Late), known(), FactState::Unknown(Why::Timeout)),
    ] {
        let combined = Combined::new(&config, source, vec![Some(first), Some(second)]);
        assert_eq!(combined.ask(&["k"]).remove(0).by(soon()).state, expected);
    }
    let combined = Combined::new(&config, source, vec![Some(known()), Some(Arc::new(Late))]);
    let row = combined.ask(&["k"]).remove(0).by(Instant::now() + Duration::from_millis(20));
    assert_eq!(row.values, [text("a"), Value::Unknown(Why::Timeout)]);
}

#[test]
fn long_values_are_cut() {
    let conflict = config(", rank: 2");
    let long = "x".repeat(500);
    let parts =
        [text(&long), text("other")].map(|value| Some(says("s", KNOWN, &[value, text("t")])));
    let row = combined(&conflict, parts);
    assert_eq!(row.values[0], Value::Unknown(Why::Conflict));
    assert!(detail(&row).len() < 120, "{}", detail(&row));
}

#[test]
fn what_cannot_be_combined_is_told_with_its_place() {
    for (from, to, expected) in [
        (", rank: 2", ", rank: 0", "10:58: `rank` must be from 1 to 9"),
        (
            "gives: [on_call, team]",
            "gives: [on_call, time]",
            "`time` is not in `provides`, did you mean",
        ),
        ("gives: [on_call, team]", "gives: []", "`gives` must name at least one field"),
        ("gives: [on_call, team]", "gives: [team, team]", "`team` stands twice"),
        (", gives: [on_call, team]", ", give: [team]", "unknown key `give`, did you mean `gives`?"),
        (", rank: 2", ", when_unknown: maybe", "`when_unknown` must be one of unknown, fill_in"),
        ("key: nhi.id", "key: {all: [nhi.id, credential.id]}", "but the table 1 key columns"),
        (
            "{table: {file: c.csv, key: id, as_of: seen}, rank: 2}",
            "{rank: 2}",
            "a source must be one of",
        ),
    ] {
        assert!(ENRICHER.contains(from), "{from}");
        let told = problems(&files(&[(PATH, &ENRICHER.replace(from, to))]));
        assert!(told.iter().any(|told| told.contains(expected)), "{expected}: {told:?}");
    }
    let one = ENRICHER.lines().take(8).collect::<Vec<_>>().join("\n");
    let one = one.replace("as_of: seen}", "as_of: seen}, gives: [team, tier]");
    let told = problems(&files(&[(PATH, &one)]));
    let expected = ["`combine` must have 2 to 8 sources", "no source of `combine` gives `on_call`"];
    assert!(expected.iter().all(|e| told.iter().any(|told| told.contains(e))), "{told:?}");
}
