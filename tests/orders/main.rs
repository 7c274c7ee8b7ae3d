//! What becomes of an order: every refusal by its name, what an accepted one does, and that a state
//! folded from the chain's bytes is the state that wrote them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

mod authority;
mod callback;
mod closings;
mod control;
mod deadlines;
mod effects;
mod exceptions;
mod model;
mod refusals;
mod rig;
