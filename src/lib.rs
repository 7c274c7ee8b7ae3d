//! Tipstaff: triage for alerts about non-human identities.

pub mod text;
pub mod json;
pub mod case;
pub mod clause;
pub mod policy;
pub mod normalize;
pub mod audit;
pub mod correlate;
pub mod decide;
pub mod config;
#[cfg(feature = "shell")]
pub mod observe;
#[cfg(feature = "shell")]
pub mod enrich;
#[cfg(feature = "shell")]
pub mod ingest;
#[cfg(feature = "shell")]
pub mod pipeline;
#[cfg(feature = "shell")]
pub mod app;
#[cfg(feature = "shell")]
pub mod cli;
