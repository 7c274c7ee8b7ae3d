//! What triage remembers between alerts: a fold over the chain's records and nothing else.
//!
//! In: records, in order. Out: whether an origin was ruled before, how often a group was seen, and
//! what windows hold.
//! Everything is bounded; what is dropped is dropped at snapshot records only, so that a fold from
//! genesis and one from a snapshot are equal at every record.

mod budgets;
mod cases;
mod orders;
mod telling;
mod state;
mod waiting;
mod windows;

pub use cases::{Case, Cases, Had};
pub use orders::{EXCEPTIONS_MAX, Orders};
pub use state::State;
pub use telling::News;
pub use waiting::{Waiting, Waits};
pub use windows::{BASELINE_STEPS, STEPS, Windows};
