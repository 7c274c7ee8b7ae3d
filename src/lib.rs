//! Tipstaff: triage for alerts about non-human identities.

pub mod text;
pub mod case;
pub mod clause;
pub mod policy;
pub mod decide;
