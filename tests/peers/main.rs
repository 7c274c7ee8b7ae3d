//! Against servers of others, started and stopped here: an AWS IAM, a TAXII 2.1 server. They come
//! from PyPI; `.ci/run` installs them. Without them a test says that it is skipped.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may end where it fails"
)]

mod aws;
mod server;
#[path = "../support/skipped.rs"]
mod skipped;
mod taxii;
