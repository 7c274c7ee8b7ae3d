//! The stages put together: one transactional loop that serves each of them.
//!
//! In: a stage and the names of its topics. Out: why the worker ended. What must stay true: a stage
//! rules from a state that its log confirms, and every way into that state is the same recovery.
//! Deliberately absent: what a stage rules.

mod outbox;
mod progress;
mod recovery;
mod stage;
mod worker;

pub use outbox::{Outbox, Sent};
pub use progress::{COMMIT_BOUNDS_MS, Phase, Progress};
pub use recovery::RecoveryRules;
pub use stage::{Batch, Hint, Stage, Start};
pub use worker::{Drain, Ended, WorkerConfig, worker};
