use std::collections::BTreeMap;

use serde_json::{Value, json};
use tipstaff::case::FactRow;

use crate::fake::Fake;
use crate::recording::{Lookup, Recording, path};
use crate::site::{ServiceFile, Site, state};

/// Every lookup beside an enricher makes the calls that it names, no other, and gives its fact.
fn replayed(enricher: &str) {
    let recording = Recording::read(enricher);
    let fakes: BTreeMap<&str, Fake> =
        recording.services.iter().map(|(name, shown)| (&**name, Fake::start(shown))).collect();
    let service = |(name, shown): (&'_ String, &'_ crate::recording::Shown)| {
        (name.clone(), fakes[&**name].url.clone(), shown.config.clone(), shown.secret.clone())
    };
    let services: Vec<_> = recording.services.iter().map(service).collect();
    let files: Vec<ServiceFile<'_>> = services
        .iter()
        .map(|(name, url, config, secret)| ServiceFile { name, url, config, secret })
        .collect();
    let site = Site::new(&files, &[]);
    let mut wrong = Vec::new();
    for lookup in &recording.lookups {
        for (name, fake) in &fakes {
            let calls = recording.calls_of(lookup);
            fake.expect(calls.into_iter().filter(|call| call.service == *name).collect());
        }
        let key: Vec<&str> = lookup.key.iter().map(String::as_str).collect();
        let row = site.fact(enricher, &key);
        let mut told: Vec<String> = fakes.values().flat_map(Fake::left).collect();
        told.extend(differs(lookup, &row));
        wrong.extend(told.iter().map(|told| format!("{}: {told}", lookup.name)));
    }
    assert!(wrong.is_empty(), "{enricher}: {wrong:#?}");
}

fn differs(lookup: &Lookup, row: &FactRow) -> Option<String> {
    let read: Value = serde_json::from_str(row.json().get()).unwrap();
    let given = read.get("values").cloned().unwrap_or(Value::Null);
    let detail = row.detail.as_deref().unwrap_or_default();
    let is_told = lookup.told.as_deref().is_none_or(|told| detail.contains(told));
    let is_right = state(row) == lookup.fact && given == lookup.values && is_told;
    (!is_right).then(|| json!({"fact": state(row), "values": given, "told": detail}).to_string())
}

#[test]
fn vault() {
    replayed("vault");
}

#[test]
fn rotation() {
    replayed("rotation");
}

#[test]
fn repository() {
    replayed("repository");
}

#[test]
fn codeowners() {
    replayed("codeowners");
}

#[test]
fn owner() {
    replayed("owner");
}

#[test]
fn identity() {
    replayed("identity");
}

#[test]
fn every_shipped_enricher_that_asks_over_the_network_has_its_replies() {
    let checked = tipstaff::config::load(&tipstaff::config::Files::shipped()).expect("no problems");
    let asks = checked.enrichers.iter().filter(|config| config.source.is_remote());
    for config in asks.filter(|config| *config.name != *"aws_iam") {
        assert!(path(&config.name).exists(), "{}", config.name);
    }
}

/// Without a service what is left of an enricher is its table.
#[test]
fn what_no_service_is_configured_for_is_left_out() {
    let site = Site::new(&[], &[]);
    for (enricher, key) in [
        ("vault", "AKIADEPLOYKEYEXAMPLE"),
        ("rotation", "okta:0oaexamplehrsync"),
        ("repository", "acme/billing"),
        ("owner", "okta:0oaexamplehrsync"),
    ] {
        let row = site.fact(enricher, &[key]);
        assert_eq!((&*state(&row), &row.detail, row.cache), ("known", &None, None), "{enricher}");
        assert!(row.source.starts_with("table:"), "{enricher}: {}", row.source);
        assert_eq!(state(&site.fact(enricher, &["nobody"])), "absent", "{enricher}");
    }
    let row = site.fact("identity", &["okta:0oaexamplehrsync"]);
    assert_eq!(state(&row), "unknown(error)");
    let row = site.fact("codeowners", &["acme/billing", "a.py"]);
    assert_eq!(row.detail.as_deref(), Some("no service `github` is configured"));
}

/// Those of one rank share the keys among them: what the one that is there does not know is not
/// absent for it.
#[test]
fn nobody_asked_is_no_absence_beside_a_service_that_is_configured() {
    let file = |name, config| ServiceFile { name, url: "http://127.0.0.1:9", config, secret: "s" };
    let okta = file("okta", "headers: {Authorization: {file: okta}}");
    let kubernetes = file("kubernetes", "bearer: {file: kubernetes}");
    let (app, account) = ("okta:0oaexamplehrsync", "k8s:-:serviceaccount:shop:web");
    for (there, missing, key) in [(okta, "kubernetes", account), (kubernetes, "okta", app)] {
        let site = Site::new(&[there], &[]);
        let row = site.fact("identity", &[key]);
        let told = row.detail.as_deref().unwrap_or_default();
        assert!(told.contains(&format!("no service `{missing}` is configured")), "{row:?}");
        let status: serde_json::Value = serde_json::from_str(row.json().get()).unwrap();
        assert_eq!(status["values"]["status"], serde_json::json!({"unknown": "error"}), "{row:?}");
        assert_eq!(state(&site.fact("identity", &["aws:iam:1:user:a"])), "absent");
    }
}
