//! The shipped enrichers through the real client: against the replies that stand beside them, which
//! a strict server gives, and against real servers where the environment names one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may end where it fails"
)]

mod fake;
mod real;
mod recording;
mod replay;
mod site;
#[path = "../support/skipped.rs"]
mod skipped;
