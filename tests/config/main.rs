//! Configurations and tables as their users write them, right and wrong.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may end where it fails"
)]

mod addresses;
mod asked;
mod combine;
mod examples;
mod files;
mod probes;
mod schemas;
mod service;
mod services;
mod shipped;
mod sinks;
mod tables;
mod traces;
mod topic;
mod webhooks;
#[path = "../support/yaml.rs"]
mod yaml;

use tipstaff::config::{Checked, Files, load};
use tipstaff::text::Source;

const BOUNDARY: &str = "boundary: b\nowner: o\ndefault_queue: {queue: q, priority: low}\n";

/// Files of a configuration from paths and texts, and a boundary, which every configuration needs.
fn files(texts: &[(&str, &str)]) -> Files {
    let mut files = Files::default();
    let path = "playbooks/boundary.yaml";
    files.insert(path, Source::new(path, BOUNDARY), None);
    for (path, text) in texts {
        files.insert(path, Source::new(*path, *text), None);
    }
    files
}

fn problems(files: &Files) -> Vec<String> {
    load(files)
        .map(|_: Checked| ())
        .expect_err("problems")
        .iter()
        .map(ToString::to_string)
        .collect()
}
