//! The policy language and the ruling, attacked: an oracle, second readings, and properties over
//! generated policies.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;
mod choices;
mod explained;
mod expressions;
mod oracle;
mod kleene;
mod generated;
mod unknowns;
mod second_reading;
mod bounds;
mod language;
mod problems;
mod named;
mod grouped;
mod revisions;
mod replayed;
mod proved;
mod proof;
mod reached;
mod limits;
mod findings;
mod claims;
mod windows;
