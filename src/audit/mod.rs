//! The record chain: what a record is, how records hang together, what follows from one, and how a
//! chain is picked up again or proved. Pure: bytes in, bytes and findings out.
//!
//! A record's bytes are its identity: its hash is SHA-256(0x00 ‖ value), at once the next record's
//! `prev` and the RFC 6962 leaf. Nothing is ever re-serialized to check it (INV-8).

mod record;
mod chain;
mod outputs;
mod repair;
mod detection;
mod ocsf;
mod resume;
mod together;
mod verify;

pub use chain::{Appended, Chain, Head, Metadata};
pub use outputs::{ACTIONS, CASES_PREFIX, DEAD_LETTERS, FINDINGS, Output, finding, nhi, outputs};
pub use record::{
    Actor, Cause, Close, Engine, Gap, Genesis, Hash, Input, Key, Kind, Lost, Order, PolicyRef, Raw,
    Record, Recovery, Seal, Signer, SnapshotRef, Timer, VERSION, Verified, chain_name, home_of,
    record_hash,
};
pub use resume::{Committed, Found, Link, Picked, Resume, resume};
pub use together::prove_together;
pub use verify::{Finding, Report, Verifier};

use crate::case::Millis;

/// State that is a fold over the chain's records and nothing else.
pub trait Folded: Default {
    /// Called for each record in order, snapshots included.
    fn apply(&mut self, record: &Record<'_>, hash: Hash);
    /// Drops what is over, then writes the state: called when a snapshot is made. One record for
    /// each part.
    fn snapshot(&mut self, at: Millis) -> Vec<String>;
    /// Errors: nothing when these are not the parts of a snapshot of this version.
    fn restore(parts: &[&str]) -> Option<Self>;
}
