//! The ruling: a pure function of alert, facts, counters, policy and now (INV-7).
//!
//! Comes in: one arrival and what was looked up for it. Goes out: one decision with everything it
//! rests on, and a permit if something may be contained. Must stay true: what is unknown leads to
//! people (INV-4), and the boundary has the last word (INV-5). Deliberately absent: time, files,
//! Kafka.

mod walk;
mod watch;
mod boundary;
mod ruling;
mod revise;
mod explain;
mod needs;

use crate::case::{Arrival, Counters, Decision, Facts, Millis};

pub use boundary::Permit;
pub use explain::{Asked, Considered, Explanation, Looked, Role, Tested, Tried, explain, rests_on};
pub use needs::{Need, Stronger};
pub use revise::{revise, unknown, waits};
pub use ruling::decide;
pub(crate) use ruling::watched;
pub(crate) use walk::Walk;
pub(crate) use watch::{Unwatched, Watch};

/// Everything a ruling may see.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'p> {
    pub arrival: &'p Arrival<'p>,
    /// One place for each enricher of the policy's schema.
    pub facts: &'p Facts,
    pub counters: &'p Counters,
    pub now: Millis,
}

#[derive(Debug)]
pub struct Decided<'p> {
    pub decision: Decision<'p>,
    /// There exactly when the fate is an escalation.
    pub permit: Option<Permit>,
}
