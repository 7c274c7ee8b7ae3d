//! Tipstaff: triage for alerts about non-human identities.

pub mod text;
pub mod case;
pub mod json;
pub mod clause;
pub mod policy;
pub mod normalize;
pub mod decide;
pub mod config;
#[cfg(feature = "shell")]
pub mod enrich;
