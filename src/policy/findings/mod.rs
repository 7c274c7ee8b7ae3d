//! What can be said about a policy without an alert: rules that look active and do nothing, and
//! what the boundary will always refuse.
//!
//! Must stay true: a finding is never wrong about what can't happen. `space` holds more situations
//! than there are, so that what is found in none of them is in no real one; where a search would
//! take too long, nothing is claimed.

mod code;
mod domain;
mod space;
mod rules;
mod limits;
mod names;
mod windows;

use super::Policy;
use crate::text::{At, Problem};

pub use code::{Code, Severity};
pub use rules::{Possible, possible};

/// Something about a configuration that its author should know.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    pub at: At,
    pub code: Code,
    pub message: String,
}

impl Finding {
    /// Of a mistake that keeps everything from starting.
    pub fn of(problem: &Problem) -> Self {
        Self {
            at: problem.at.clone(),
            code: Code::named(problem.code).unwrap_or(Code::Unreadable),
            message: problem.message.clone(),
        }
    }
}

/// In file order. None of them keeps a policy from being ruled by.
pub fn findings(policy: &Policy) -> Vec<Finding> {
    let mut found = Vec::new();
    for (index, playbook) in policy.playbooks().iter().enumerate() {
        found.extend(rules::findings(policy, playbook));
        found.extend(names::of_playbook(policy, index, playbook));
        found.extend(limits::of_playbook(policy, playbook));
        found.extend(windows::of_playbook(policy, playbook));
    }
    found.extend(limits::of_boundary(policy));
    found.extend(names::of_boundary(policy));
    found.sort();
    found.dedup();
    found
}
