//! YAML text in, nodes that know their line and column out; problems are collected, never thrown.
//!
//! Every file a user writes goes through here, so that all mistakes of all files are told at once.

mod node;
mod fields;
mod plain;
mod excerpt;
mod problems;
mod written;

pub use fields::{Fields, suggestion};
pub use node::{Data, Node, read};
pub use plain::plain;
pub use problems::{At, Problem, Problems, Source};
pub use written::Written;
