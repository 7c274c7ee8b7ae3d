//! Against programs of others: an AWS IAM, a TAXII 2.1 server, a validator of JSON Schemas. They come
//! from PyPI; `.ci/run` installs them. Without them a test says that it is skipped.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may end where it fails"
)]

mod aws;
mod schemas;
mod server;
mod taxii;
#[path = "../support/yaml.rs"]
mod yaml;
