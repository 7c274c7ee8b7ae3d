//! Against programs of others: an AWS IAM, a TAXII 2.1 server, gitleaks. The servers come from PyPI,
//! gitleaks from the Go module proxy; `.ci/run` installs them. Without one, its test says that it is
//! skipped.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may end where it fails"
)]

mod aws;
mod gitleaks;
mod server;
#[path = "../support/skipped.rs"]
mod skipped;
mod taxii;
