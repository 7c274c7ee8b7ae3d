//! Lookups over the network when the network, or who is asked, goes wrong.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test may end where it fails"
)]

#[path = "../policy/support.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod support;

mod cache;
mod faults;
mod kept;
mod property;
mod rig;
mod server;
mod service;
mod tls;
