//! What triage remembers between alerts: a fold over the chain's records and nothing else.
//!
//! In: records, in order. Out: whether an alert was ruled before, which case it is part of and what
//! people are told of that, what waits, what windows hold, what was spent of budgets, and whether
//! all is stopped.
//! Everything is bounded; what is dropped is dropped at snapshot records only, so that a fold from
//! genesis and one from a snapshot are equal at every record.

mod budgets;
mod accepted;
mod case;
mod cases;
mod control;
mod had;
mod orders;
mod recent;
mod silences;
mod snapshot;
mod telling;
mod state;
mod waiting;
mod windows;

pub use case::Case;
pub use cases::Cases;
pub use control::Control;
pub use had::Had;
pub use orders::Orders;
pub use silences::{Silence, Silences};
pub use state::State;
pub use telling::News;
pub use waiting::{Before, Waiting, Waits};
pub use windows::{BASELINE_STEPS, STEPS, Windows};
