//! Tipstaff: triage for alerts about non-human identities.

pub mod text;
pub mod case;
pub mod audit;
pub mod correlate;
#[cfg(feature = "shell")]
pub mod ingest;
#[cfg(feature = "shell")]
pub mod pipeline;
