//! Against programs of others: an AWS IAM, a TAXII 2.1 server, gitleaks, a validator of JSON Schemas.
//! gitleaks comes from the Go module proxy, the others from PyPI; `.ci/run` installs them. Without one,
//! its test says that it is skipped.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may end where it fails"
)]

mod aws;
mod gitleaks;
#[path = "../support/ports.rs"]
mod ports;
mod schemas;
mod server;
#[path = "../support/skipped.rs"]
mod skipped;
mod taxii;
#[path = "../support/yaml.rs"]
mod yaml;
