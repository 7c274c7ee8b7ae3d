//! The `tests:` of playbooks: run, compared, and what they do not reach.
//!
//! Comes in: a policy with its tests. Goes out: how each went, line by line. Must stay true: a test
//! is ruled as a real alert would be, its counters counted as triage counts them. Deliberately
//! absent: the clock and the disk; what is to be written into a file is given back as text.

mod run;
mod coverage;
mod rewrite;

pub use coverage::{Coverage, Gap, coverage};
pub use rewrite::{Change, rewrite};
pub use run::{Difference, TestOutcome, run_tests};
