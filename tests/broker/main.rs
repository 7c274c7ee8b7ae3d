//! Against a real broker: what happens to exactly-once when the end of a transaction comes late.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

#[path = "../support/checker.rs"]
mod checker;
#[path = "../support/conservation.rs"]
mod conservation;
#[path = "../support/deployment.rs"]
mod deployment;
#[path = "../support/kafka.rs"]
mod kafka;
#[path = "../support/canary.rs"]
mod planted;
#[path = "../support/planting.rs"]
mod planting;
#[path = "../lookups/server.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod server;
#[path = "../support/proxy.rs"]
mod proxy;

mod alone;
mod fire;
mod latency;
mod life;
mod product;
mod rig;
mod seats;
mod tear;
mod toy;
mod traces;
mod webhook;

use std::collections::BTreeMap;

use tipstaff::ingest::{Admin, Brokers, Created, Settings, TopicSpec};

pub fn settings(bootstrap: &str) -> Settings {
    let mut properties = BTreeMap::new();
    properties.insert("bootstrap.servers".to_owned(), bootstrap.to_owned());
    Settings::new(&Brokers { properties }).unwrap()
}

pub fn create_topics(bootstrap: &str, names: &[&str], partitions: i32) {
    let topics: Vec<TopicSpec> = names
        .iter()
        .map(|name| TopicSpec {
            name: (*name).to_owned(),
            partitions,
            replication: 1,
            config: Vec::new(),
        })
        .collect();
    let made = Admin::connect(&settings(bootstrap)).unwrap().create(&topics).unwrap();
    assert!(made.iter().all(|made| *made == Created::Made), "{made:?}");
}
