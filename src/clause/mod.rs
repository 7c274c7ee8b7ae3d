//! The condition language: a small subset of CEL, three-valued, compiled once and evaluated flat.
//!
//! Comes in: one text and the `Schema` of what it may name. Goes out: a `Clause`, or problems
//! at the exact column. Must stay true: a clause that does not ask by `unknown(…)` is true or
//! false only if it would be so whatever the unknown values turned out to be, and one that asks
//! tells whether it holds by that; absence makes nothing true but `!has(…)` (INV-4). What the
//! language has is one table, `table.rs`. Deliberately absent: arithmetic but with times, loops,
//! functions of users.

mod gaps;
mod table;
mod lex;
mod parse;
mod schema;
mod scope;
mod view;
mod operand;
mod address;
mod check;
mod call;
mod eval;
mod condition;
mod atoms;
mod reference;

pub use atoms::{Atom, Orders, Pattern, Subject, Tree};
pub use check::compile;
pub use condition::{Condition, Part};
pub use eval::Clause;
pub(crate) use eval::json;
pub use reference::reference;
pub use schema::{Name, Schema, Slot, WindowShape};
pub use scope::Scope;

/// Longest condition read. LIMIT: bounds the tokens, and with them the work of one `check`.
const TEXT_BYTES_MAX: usize = 4096;
/// Deepest nesting of parentheses, calls, lists and `!`. LIMIT: bounds the parser's stack.
const DEPTH_MAX: usize = 32;
const OPS_MAX: usize = 256;
const LIST_MAX: usize = 256;
/// Clauses of one `when`. LIMIT: with those of rules, bounds the work for one alert.
const CLAUSES_MAX: usize = 64;
/// LIMIT: with the size of one, bounds the memory of one file.
const PATTERNS_MAX: usize = 200;

/// A mistake in one condition: characters from its start, and what to say.
#[derive(Debug)]
struct Mistake {
    at: usize,
    end: usize,
    message: String,
}

impl Mistake {
    fn new(at: usize, end: usize, message: impl Into<String>) -> Self {
        Self { at, end, message: message.into() }
    }
}
