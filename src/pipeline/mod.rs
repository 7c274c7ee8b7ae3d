//! The stages put together: one transactional loop that serves each of them.
//!
//! In: a stage and the names of its topics. Out: why the worker ended. What must stay true: a stage
//! rules from a state that its log confirms, and every way into that state is the same recovery.
//! Deliberately absent: what a stage rules.

mod accepted;
mod closings;
mod control;
mod counted;
mod current;
mod delivery;
mod intake;
mod lane;
mod names;
mod offline;
mod orders;
mod outbox;
mod people;
mod progress;
mod recovery;
mod reopen;
mod revisit;
mod signers;
mod silences;
mod stage;
mod tally;
mod timers;
mod triage;
mod vouch;
mod webhook;
mod worker;

pub use closings::{Ask, Look, answers};
pub use current::{Active, Current};
pub use delivery::{Delivery, Now, Parked, SinkState, SinkStatus};
pub use intake::{AlertEnds, Intake, IntakeMetadata};
pub use lane::{Case, Fate, Lane, Terms};
pub use names::{Identity, Topics};
pub use offline::offline;
pub use orders::{Judge, Place, order_message};
pub use outbox::{Outbox, Sent};
pub use people::People;
pub use progress::{COMMIT_BOUNDS_MS, Phase, Progress};
pub use recovery::RecoveryRules;
pub(crate) use signers::read_small;
pub use signers::{AllowedSigners, NotSigned, check_signature};
pub use stage::{Batch, Hint, Stage, Start};
pub use triage::{Clock, Expected, Triage, look_up};
pub use vouch::VouchKey;
pub use webhook::Webhook;
pub use worker::{Drain, Ended, WorkerConfig, worker};
