use crate::case::{Decision, Ruling};
use crate::policy::{Expect, Mode, Policy};
use crate::text::At;

use super::Inputs;
use super::ruling::decide_by;
use super::watch::Unwatched;

/// How one entry of a playbook's `tests:` went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestOutcome {
    pub playbook: String,
    pub name: String,
    pub at: At,
    /// One line for each difference; none when it passed.
    pub differences: Vec<String>,
}

impl TestOutcome {
    pub fn passed(&self) -> bool {
        self.differences.is_empty()
    }
}

/// Rules every test of every playbook as a real alert would be; shadow playbooks as if they were
/// live.
pub fn run_tests(policy: &Policy) -> Vec<TestOutcome> {
    let outcome = |test: &crate::policy::TestCase| {
        let playbook = policy.playbooks().get(test.playbook);
        let inputs = Inputs {
            arrival: &test.arrival,
            facts: &test.facts,
            counters: &test.counters,
            now: test.now,
        };
        let in_shadow = playbook.filter(|playbook| playbook.mode == Mode::Shadow);
        let decision = decide_by(policy, in_shadow, &inputs, &mut Unwatched).decision;
        let mut differences = differences(&test.expect, &decision);
        let ruled_by_another = playbook.filter(|playbook| decision.playbook != playbook.name);
        if ruled_by_another.is_some() && !differences.is_empty() {
            differences.push(format!("ruled by `{}`", decision.playbook));
        }
        TestOutcome {
            playbook: playbook.map_or_else(String::new, |playbook| playbook.name.clone()),
            name: test.name.clone(),
            at: test.at.clone(),
            differences,
        }
    };
    policy.tests().iter().map(outcome).collect()
}

fn differences(expect: &Expect, decision: &Decision<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let mut differ = |what: &str, expected: &str, got: &str| {
        if expected != got {
            found.push(format!("{what}: expected `{expected}`, got `{got}`"));
        }
    };
    let subject = match &decision.fate {
        Ruling::Route(route) => &*route.queue,
        Ruling::Hold(hold) => &*hold.queue,
        Ruling::Escalate(escalate) => &*escalate.action,
        Ruling::Suppress(_) => decision.reason.code(),
        Ruling::DeadLetter(unreadable) => unreadable.reason.code(),
    };
    differ("ruling", expect.fate, decision.fate.name());
    differ(expect.fate, &expect.subject, subject);
    if let Some(rule) = &expect.rule {
        differ("rule", rule, &decision.rule);
    }
    if let Some(reason) = expect.reason {
        differ("reason", reason.code(), decision.reason.code());
    }
    if let Some(priority) = expect.priority {
        let got = decision.fate.priority().map_or("none", |priority| priority.name());
        differ("priority", priority.name(), got);
    }
    if !found.is_empty() {
        found.extend(decision.blocked.iter().map(|blocked| format!("blocked: {}", blocked.why)));
    }
    found
}
