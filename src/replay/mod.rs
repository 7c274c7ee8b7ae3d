//! Rulings made again from their records, under the policy they were made with or another one.
//!
//! Comes in: decision records as they are stored, and two policies. Goes out: what would be ruled
//! otherwise, counted and with the rules responsible. Must stay true: it is `decide` and `revise`
//! that rule, on nothing but what the record holds (INV-7); a fact that a policy wants and the
//! record does not have is unknown. Deliberately absent: files, Kafka, words on a terminal.

mod recall;
mod change;
mod report;
mod run;

pub use change::{CHANGES, Change, changes};
pub use recall::{Recalled, Recaller};
pub use report::{About, Example, Group, Report, Rested, Told};
pub use run::{Progress, Stored, compare, compare_ruled};
