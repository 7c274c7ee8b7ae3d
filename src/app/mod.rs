//! Starting and stopping: what is connected in which order, and what a command needs of a cluster.

mod cluster;
mod facts;
mod policies;
mod run;
mod setup;
mod stored;
mod tables;
mod topic_tables;
mod topics;
mod webhooks;

pub use cluster::{Cluster, INTAKE_GROUP, Place, TRIAGE_GROUP};
pub use facts::post;
pub use policies::activate;
pub use run::{Options, Role, Running, run, start, system_clock};
pub use setup::{Failure, Loaded, load, load_files, offline_keys, shipped};
pub use stored::stored_policy;
pub use topic_tables::read_once;
pub use topics::{Plan, begin, check, create, missing_tables};
