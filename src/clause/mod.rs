//! The condition language: a small subset of CEL, three-valued, compiled once and evaluated flat.
//!
//! Comes in: one text and the `Schema` of what it may name. Goes out: a `Clause`, or problems
//! at the exact column. Must stay true: a clause is true or false only if it would be so whatever
//! the unknown values turned out to be, and absence makes nothing true (INV-4). Deliberately
//! absent: arithmetic, decimals, loops, user functions.

mod lex;
mod parse;
mod schema;
mod scope;
mod check;
mod eval;
mod condition;
mod vocabulary;

pub use check::compile;
pub use condition::Condition;
pub use eval::Clause;
pub(crate) use eval::json;
pub use schema::{Name, Schema, Slot};
pub use scope::Scope;

/// Longest condition read. LIMIT: bounds the tokens, and with them the work of one `check`.
const TEXT_BYTES_MAX: usize = 4096;
/// Deepest nesting of parentheses, calls, lists and `!`. LIMIT: bounds the parser's stack.
const DEPTH_MAX: usize = 32;
const OPS_MAX: usize = 256;
const LIST_MAX: usize = 256;

/// A mistake in one condition, `at` characters from its start.
#[derive(Debug)]
struct Mistake {
    at: usize,
    message: String,
}

impl Mistake {
    fn new(at: usize, message: impl Into<String>) -> Self {
        Self { at, message: message.into() }
    }
}
