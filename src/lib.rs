//! Tipstaff: triage for alerts about non-human identities.

pub mod text;
pub mod case;
pub mod json;
pub mod normalize;
