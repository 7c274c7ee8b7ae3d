//! Starting and stopping: what is connected in which order, and what a command needs of a cluster.

mod ask;
mod callbacks;
mod cluster;
mod facts;
mod health;
mod policies;
mod policy_state;
mod reload;
mod run;
mod setup;
mod signers;
mod sinks;
mod tables;
mod topic_tables;
mod topics;
mod webhooks;

pub use ask::{get, here, post};
pub use callbacks::Callbacks;
pub use cluster::{Cluster, INTAKE_GROUP, PATIENCE, Place, TRIAGE_GROUP};
pub use policies::{Back, activate, stored_policy};
pub use reload::Reload;
pub use run::{Options, Role, Running, run, start, system_clock};
pub use setup::{Failure, InForce, Loaded, load, load_files, offline_keys, service_of, shipped};
pub use sinks::{COUNTED_MAX, SinkRow, list as list_sinks, retry as retry_sink, sink_starts};
pub use topic_tables::read_once;
pub use topics::{Plan, begin, check, create, missing_tables};
