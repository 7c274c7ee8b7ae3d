//! Regular expressions of which is asked whether they are found in a text, as conditions of
//! playbooks and of pipelines do: compiled once, and asked of every alert. And how bytes are
//! compared several at once, for whoever reads texts.

mod same;
mod sixteen;
mod sequence;
mod expression;

pub use expression::Expression;
pub(crate) use same::{after, before, is_same};
pub(crate) use sixteen::{find, holds};
