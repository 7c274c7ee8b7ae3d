//! What triage remembers between alerts: a fold over the chain's records and nothing else.
//!
//! In: records, in order. Out: whether an origin was ruled before, and how often a group was seen.
//! Everything is bounded; what is dropped is dropped at snapshot records only, so that a fold from
//! genesis and one from a snapshot are equal at every record.

mod orders;
mod state;
mod waiting;

pub use orders::{EXCEPTIONS_MAX, Orders};
pub use state::State;
pub use waiting::{Waiting, Waits};
