//! Every shipped example through the whole pipeline: its alerts, the facts and the rulings, as they
//! stand in the decision records. A new example is a new snapshot, which `INSTA_UPDATE=always` writes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod again;
mod ocsf;
mod schema;
mod snapshots;
mod split;

use std::sync::LazyLock;

use tipstaff::app::{Loaded, load, offline_keys};
use tipstaff::case::Millis;
use tipstaff::normalize::Incoming;
use tipstaff::pipeline::offline;

fn now() -> Millis {
    Millis::parse("2026-03-02T09:30:00Z").unwrap()
}

fn shipped() -> &'static Loaded {
    static SHIPPED: LazyLock<Loaded> =
        LazyLock::new(|| load(None, now()).unwrap_or_else(|failure| panic!("{failure}")));
    &SHIPPED
}

/// `<detector>--<file name without its ending>`, and the decision records of the file.
fn ruled() -> Vec<(String, Vec<Vec<u8>>)> {
    static RULED: LazyLock<Vec<(String, Vec<Vec<u8>>)>> = LazyLock::new(|| rule(shipped()));
    RULED.clone()
}

fn rule(loaded: &Loaded) -> Vec<(String, Vec<Vec<u8>>)> {
    let mut all = Vec::new();
    for pipeline in loaded.checked.pipelines.list() {
        let folder = format!("pipelines/{}/examples/", pipeline.name);
        let keys = offline_keys().unwrap();
        for (path, file) in loaded.files.iter() {
            let Some(name) = path.strip_prefix(&folder) else { continue };
            let incoming = Incoming {
                topic: &pipeline.topic,
                incarnation: "example-incarnation",
                partition: 0,
                offset: 7,
                headers: &[],
                value: Some(file.source.text.as_bytes()),
                received_at: now(),
            };
            let arrivals = loaded.checked.pipelines.read(&incoming, None, &keys);
            let count = arrivals.len();
            let records = offline(&loaded.checked.policy, &loaded.enrichers, arrivals, now());
            assert!(count > 0 && records.len() == count, "{path}: one fate for each (INV-1)");
            let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
            all.push((format!("{}--{stem}", pipeline.name), records));
        }
    }
    assert!(all.len() > 30, "{}", all.len());
    all
}
