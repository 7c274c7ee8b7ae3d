//! What the chain says is what was counted, what can be ruled again, and what an export proves.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tipstaff::app::load;
use tipstaff::audit::{Kind, Record};
use tipstaff::case::{
    Arrival, Body, FactRow, FactState, Millis, Ruling, Type, Value as Field, Why,
};
use tipstaff::clause::Schema;
use tipstaff::decide::{Inputs, decide};

use super::super::conservation::read_topic;
use super::super::rig::wait_until;
use super::super::settings;
use super::{PATIENCE, Process, Site, drains, fate};

pub fn metrics_count_what_the_chain_has(site: &Site, process: &Process) {
    let mut counted: BTreeMap<(String, String), u64> = BTreeMap::new();
    for ruling in site.records("ruling") {
        let reason = ruling["ruling"]["reason"].as_str().unwrap().to_owned();
        *counted.entry((fate(&ruling).to_owned(), reason)).or_default() += 1;
    }
    assert!(counted.len() >= 8, "{counted:?}");
    let (status, page) = process.get("/metrics").unwrap();
    assert_eq!(status, 200);
    let shown: Vec<&str> =
        page.lines().filter(|line| line.starts_with("tipstaff_rulings_total{")).collect();
    assert_eq!(shown.len(), counted.len(), "{shown:#?}");
    for ((ruling, reason), count) in counted {
        let line =
            format!("tipstaff_rulings_total{{reason=\"{reason}\",ruling=\"{ruling}\"}} {count}");
        assert!(shown.contains(&line.as_str()), "{line} is not in {shown:#?}");
    }
    assert_eq!(process.get("/healthz").unwrap(), (200, "ok\n".to_owned()));
    assert_eq!(process.get("/readyz").unwrap(), (200, "ok\n".to_owned()));
}

/// A fact as it stands in a record.
#[derive(Deserialize)]
struct Written {
    enricher: String,
    source: String,
    version: String,
    key: String,
    as_of: Option<Millis>,
    state: String,
    why: Option<Why>,
    #[serde(default)]
    values: BTreeMap<String, Value>,
}

impl Written {
    fn row(self, provides: &[(String, Type)]) -> FactRow {
        let state = match (self.state.as_str(), self.why) {
            ("known", None) => FactState::Known,
            ("absent", None) => FactState::Absent,
            ("unknown", Some(why)) => FactState::Unknown(why),
            (state, why) => panic!("{state} {why:?}"),
        };
        let value = |(name, of): &(String, Type)| match self.values.get(name) {
            None => Field::Absent,
            Some(Value::String(text)) => Field::read(*of, text).unwrap().into_owned(),
            Some(other) => Field::read(*of, &other.to_string()).unwrap().into_owned(),
        };
        let values = provides.iter().map(value).collect();
        let values = if state == FactState::Known { values } else { Vec::new() };
        let names = (self.enricher.into(), self.source.into(), self.version.into());
        FactRow::new(names, &self.key, self.as_of, state, (provides, values))
    }
}

fn facts(record: &Record<'_>, schema: &Schema) -> Vec<Option<Arc<FactRow>>> {
    let mut facts = vec![None; schema.enrichers.len()];
    for raw in &record.facts {
        let written: Written = serde_json::from_str(raw.0.get()).unwrap();
        let (index, shape) = schema.enricher(&written.enricher).unwrap();
        let row = written.row(&shape.provides);
        assert_eq!(row.json().get(), raw.0.get(), "a fact is not read back as it was written");
        facts[index] = Some(Arc::new(row));
    }
    facts
}

fn body(record: &Record<'_>) -> Body<'static> {
    if let Some(alert) = &record.alert {
        return Body::Alert(Box::new(alert.clone().into_owned().into_owned()));
    }
    match record.ruling.clone().map(|decision| decision.into_owned().fate) {
        Some(Ruling::DeadLetter(unreadable)) => Body::Unreadable(tipstaff::case::Unreadable {
            detail: unreadable.detail.into_owned().into(),
            fingerprint: unreadable.fingerprint.into_owned().into(),
            ..unreadable
        }),
        other => panic!("no alert and {other:?}"),
    }
}

#[derive(Deserialize)]
struct Ruled<'a> {
    #[serde(borrow)]
    ruling: &'a RawValue,
}

/// INV-7: from the record's alert, facts, counters and time, under the policy that it names.
pub fn a_ruling_can_be_made_again_from_its_record(site: &Site) {
    let directory = site.deployment.directory.join("operator");
    let loaded = load(Some(&directory), Millis(0)).unwrap();
    let policy = &loaded.checked.policy;
    let mut again = 0;
    for (.., bytes) in read_topic(&settings(&site.bootstrap), &site.topic("decisions")) {
        let record = Record::parse(&bytes).unwrap();
        // A record of somebody else on the alerts topic has no origin to rule again from.
        let Some(origin) = record.origin.clone().filter(|_| record.kind == Kind::Ruling) else {
            continue;
        };
        assert_eq!(record.policy.as_ref().unwrap().hash, policy.hash);
        let arrival = Arrival {
            alert_id: record.alert_id.clone().unwrap(),
            correlation_id: record.correlation_id.clone().unwrap(),
            origin: origin.into_owned(),
            pipeline: record.pipeline.clone().unwrap_or_default(),
            body: body(&record),
        };
        let facts = facts(&record, policy.schema());
        let counters = record.counters.clone().unwrap();
        let inputs =
            Inputs { arrival: &arrival, facts: &facts, counters: &counters, now: record.at };
        let decision = serde_json::to_string(&decide(policy, &inputs).decision).unwrap();
        let written: Ruled<'_> = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(decision, written.ruling.get());
        again += 1;
    }
    assert!(again >= 15, "only {again} rulings were made again");
}

/// Against itself as the cluster has stored it, from the topic and from the export.
fn the_policy_changes_nothing_that_it_ruled(site: &Site, export: &str) {
    let ruling = site.records("ruling").remove(0);
    let hash = ruling["policy"]["hash"].as_str().unwrap();
    let start = ["diff", "--json", "--max-changed", "0", "--max-unrecorded", "0", "--against"];
    let mut told = Vec::new();
    for more in [&[hash][..], &[&hash[..12], "--from", export]] {
        let compared = site.verb(&[&start[..], more].concat(), "operator");
        assert_eq!(compared.code, Some(0), "{compared:?}");
        let mut page: Value = serde_json::from_str(&compared.out).unwrap();
        assert_eq!(
            (&page["old"]["policy"], &page["other_rule"]),
            (&page["new"]["policy"], &0.into())
        );
        page["from"].take();
        page["old"]["name"].take();
        told.push(page);
    }
    assert_eq!(told[0], told[1]);
    let read = site.records("ruling").iter().filter(|ruling| ruling["alert"].is_object()).count();
    assert!(read > 5, "{read} rulings of alerts that could be read");
    assert_eq!(told[0]["alerts"], read, "{told:#?}");
    let compared = site.verb(&["diff", "--against", "0123456789abcdef"], "operator");
    assert_eq!(compared.code, Some(64), "{compared:?}");
}

pub fn an_export_proves_what_the_cluster_proves(site: &Site) {
    let on_cluster = site.verb(&["verify"], "operator");
    assert_eq!(on_cluster.code, Some(0), "{on_cluster:?}");
    let file = site.deployment.directory.join("export.tsv");
    let name = file.to_str().unwrap();
    let exported = site.verb(&["verify", "--export", name], "operator");
    assert_eq!((exported.code, &exported.out), (Some(0), &on_cluster.out));
    let offline = |name: &str| {
        let output = super::tipstaff(&["verify", name]);
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(offline(name), (Some(0), on_cluster.out));
    the_policy_changes_nothing_that_it_ruled(site, name);

    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let at = lines.iter().position(|line| line.contains("\"fate\":{\"route\"")).unwrap();
    let record: Value = serde_json::from_str(lines[at].splitn(3, '\t').nth(2).unwrap()).unwrap();
    let edited = site.deployment.directory.join("edited.tsv");
    let mut changed: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    changed[at] = changed[at].replacen("\"priority\":\"", "\"priority\":\"x", 1);
    assert_ne!(changed[at], lines[at]);
    std::fs::write(&edited, changed.join("\n")).unwrap();
    let (code, out) = offline(edited.to_str().unwrap());
    assert_eq!(code, Some(1), "{out}");
    let first = out.lines().find(|line| line.starts_with(' ')).unwrap();
    let offset = lines[at].split('\t').nth(1).unwrap();
    assert!(first.contains(&format!("offset {offset}")), "{record} {out}");

    let mut dropped = lines.clone();
    dropped.remove(at);
    std::fs::write(&edited, dropped.join("\n")).unwrap();
    let (code, out) = offline(edited.to_str().unwrap());
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains(&format!("record {} should stand here", record["seq"])), "{out}");
}

/// INV-7 again: another deployment reads the same detectors with other batches and threads.
pub fn batches_and_threads_change_no_ruling(one: &Site) {
    let two = Site::new(&one.bootstrap, "second", 2);
    let large = "workers: {intake: 2, triage: 2}\nbatch: {max_ms: 500, max_alerts: 1000}\n";
    two.create(large);
    let mut process = two.ready("q1", "intake,triage", large);
    let of_detectors = |site: &Site| -> BTreeMap<String, Value> {
        let rulings = site.records("ruling").into_iter();
        let rulings = rulings.filter(|ruling| ruling["origin"].is_object());
        rulings
            .map(|ruling| {
                let id = ruling["alert_id"].as_str().unwrap().to_owned();
                let parts = ["alert", "facts", "ruling", "pipeline", "correlation_id", "origin"];
                (id, parts.iter().map(|part| without_times(&ruling[*part])).collect())
            })
            .collect()
    };
    let wanted = of_detectors(one);
    assert!(wanted.len() >= 15);
    assert!(wait_until(PATIENCE, || of_detectors(&two).len() >= wanted.len()), "{}", process.log());
    assert_eq!(of_detectors(&two), wanted);
    drains(&mut process);
}

/// Deadlines are counted from the time of the ruling.
fn without_times(value: &Value) -> Value {
    match value {
        Value::String(text) if Millis::parse(text).is_some() => Value::from("a time"),
        Value::Array(items) => items.iter().map(without_times).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), without_times(value))).collect()
        }
        other => other.clone(),
    }
}
