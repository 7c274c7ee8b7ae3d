use std::fmt;

use crate::case::{Because, Body, Counters, Decision, Ruling, Sighting, Spans, Tri, WindowId};
use crate::clause::Scope;
use crate::correlate::State;
use crate::decide::{Inputs, Unwatched, Watch, watched};
use crate::policy::{
    Expect, Expected, Mode, NONE, Playbook, Policy, Step, TestCase, Turn, verdicts,
};
use crate::text::At;

/// How one entry of a playbook's `tests:` went.
#[derive(Debug, Clone)]
pub struct TestOutcome {
    pub playbook: String,
    pub name: String,
    pub at: At,
    /// None when it passed.
    pub differences: Vec<Difference>,
    /// For people: why it came out as it did.
    pub notes: Vec<String>,
}

/// One line of an expectation that was not met.
#[derive(Debug, Clone)]
pub struct Difference {
    /// Which of the test's `alerts`.
    pub step: Option<usize>,
    pub what: &'static str,
    pub expected: String,
    pub got: String,
    /// What must stand in the file for it to be met: a key and a value. Without a value there is
    /// nothing to compare.
    pub written: Expected,
    pub mended: Option<(&'static str, String)>,
}

impl TestOutcome {
    pub fn passed(&self) -> bool {
        self.differences.is_empty()
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(step) = self.step {
            write!(f, "alert {step}: ")?;
        }
        write!(f, "{}: expected `{}`, got `{}`", self.what, self.expected, self.got)
    }
}

/// Rules every test that is wanted as a real alert would be, by the playbook whose test it is: one
/// in shadow or canary mode as if it were live, and no canary in the place of a live one.
pub fn run_tests(policy: &Policy, wanted: impl Fn(&str, &str) -> bool) -> Vec<TestOutcome> {
    let outcome = |test: &TestCase| {
        let playbook = policy.playbooks().get(test.playbook)?;
        wanted(&playbook.name, &test.name).then(|| one(policy, playbook, test))
    };
    policy.tests().iter().filter_map(outcome).collect()
}

fn one(policy: &Policy, playbook: &Playbook, test: &TestCase) -> TestOutcome {
    let mut outcome = TestOutcome {
        playbook: playbook.name.clone(),
        name: test.name.clone(),
        at: test.at.clone(),
        differences: Vec::new(),
        notes: Vec::new(),
    };
    for_each_ruling(policy, test, &mut Unwatched, |step, turn, inputs, decision| {
        let Some(expect) = turn.expect else { return };
        let found = differences(step, expect, decision);
        if !found.is_empty() {
            notes(playbook, expect, inputs, decision, &mut outcome.notes);
        }
        outcome.differences.extend(found);
    });
    outcome
}

/// Rules the alerts of a test in turn, each with what those before it have counted.
pub(super) fn for_each_ruling(
    policy: &Policy,
    test: &TestCase,
    watch: &mut impl for<'p> Watch<'p>,
    mut see: impl FnMut(&Step, &Turn<'_>, &Inputs<'_>, &Decision<'_>),
) {
    let mut state = State::default();
    for step in &test.steps {
        for turn in step.turns(policy.schema()) {
            let by = by(policy, test, &turn);
            let mut counters = step.counters.clone().unwrap_or_else(|| counted(by, &turn, &state));
            let sightings = windowed(policy, by, &turn, &state, &mut counters);
            forget(&step.forgotten, &mut counters);
            let (arrival, facts) = (&turn.arrival, &turn.facts);
            let inputs = Inputs { arrival, facts, counters: &counters, now: turn.now };
            let decision = watched(policy, by, &inputs, watch).decision;
            see(step, &turn, &inputs, &decision);
            let alert = turn.arrival.body.alert();
            state.count(&counters, alert, turn.now);
            alert.into_iter().for_each(|alert| state.spend(alert, &decision, turn.now));
            state.see(&sightings);
        }
    }
}

/// A live playbook takes only the alerts that reach it.
fn by<'p>(policy: &'p Policy, test: &TestCase, turn: &Turn<'_>) -> Option<&'p Playbook> {
    let playbook = policy.playbooks().get(test.playbook)?;
    match (&turn.arrival.body, playbook.mode) {
        (Body::Alert(alert), Mode::Live) => policy.without_canary(alert),
        (Body::Alert(_), Mode::Canary | Mode::Shadow) => Some(playbook),
        (Body::Unreadable(_), _) => None,
    }
}

/// What the alert adds to windows.
fn windowed(
    policy: &Policy,
    by: Option<&Playbook>,
    turn: &Turn<'_>,
    state: &State,
    counters: &mut Counters,
) -> Vec<Sighting> {
    let alert = turn.arrival.body.alert();
    let looks = alert.map(|alert| policy.looks(alert, turn.now, by)).unwrap_or_default();
    let (readings, sightings) = state.windows().look(looks);
    counters.windows = readings;
    sightings
}

fn forget(forgotten: &[(WindowId, Spans)], counters: &mut Counters) {
    for reading in &mut counters.windows {
        let spans = forgotten.iter().find(|(window, _)| *window == reading.window);
        if let Some(((_, spans), seen)) = spans.zip(reading.seen.as_mut()) {
            seen.forget(spans);
        }
    }
}

fn counted(by: Option<&Playbook>, turn: &Turn<'_>, state: &State) -> Counters {
    let alert = turn.arrival.body.alert();
    let grouping = alert.and_then(|alert| by?.grouping(alert));
    state.counters(&turn.arrival.alert_id, alert, grouping, turn.now)
}

fn differences(step: &Step, expect: &Expect, decision: &Decision<'_>) -> Vec<Difference> {
    let mut found = Vec::new();
    let fate = decision.fate.name();
    let subject = match &decision.fate {
        Ruling::Route(route) => route.queue.to_string(),
        Ruling::Hold(hold) => hold.queue.to_string(),
        Ruling::Escalate(escalate) => escalate.action.to_string(),
        Ruling::Suppress(_) => decision.reason.code().to_owned(),
        Ruling::DeadLetter(unreadable) => unreadable.reason.code().to_owned(),
    };
    let number = step.number;
    let mended = Some((fate, subject.clone()));
    let mut differ = |what, expected: &str, got: String, written: &Expected, mended| {
        if expected != got {
            let (expected, written) = (expected.to_owned(), written.clone());
            found.push(Difference { step: number, what, expected, got, written, mended });
        }
    };
    let written = &expect.fate;
    if written.what == fate {
        differ(fate, &written.value, subject, written, mended);
    } else {
        let expected = format!("{} {}", written.what, written.value);
        differ("ruling", &expected, format!("{fate} {subject}"), written, mended);
    }
    for written in &expect.rest {
        let got = got(written.what, decision);
        let mended = got.as_ref().map(|got| (written.what, got.clone()));
        differ(
            written.what,
            &written.value,
            got.unwrap_or_else(|| NONE.to_owned()),
            written,
            mended,
        );
    }
    found
}

/// Nothing where there is nothing of the sort in such a ruling.
fn got(what: &str, decision: &Decision<'_>) -> Option<String> {
    let queue = match &decision.fate {
        Ruling::Route(route) => Some(&route.queue),
        Ruling::Hold(hold) => Some(&hold.queue),
        Ruling::Escalate(escalate) => Some(&escalate.queue),
        Ruling::Suppress(_) | Ruling::DeadLetter(_) => None,
    };
    match what {
        "rule" => Some(decision.rule.to_string()),
        "reason" => Some(decision.reason.code().to_owned()),
        "priority" => decision.fate.priority().map(|priority| priority.name().to_owned()),
        "queue" => queue.map(ToString::to_string),
        "blocked" => {
            let blocked: Vec<&str> = decision.blocked.iter().map(|each| &*each.action).collect();
            Some(if blocked.is_empty() { NONE.to_owned() } else { blocked.join(", ") })
        }
        _ => {
            let refused = decision.boundary.iter().filter(|verdict| !verdict.allows);
            let refused: Vec<(&str, ())> = refused.map(|verdict| (&*verdict.id, ())).collect();
            Some(verdicts(&refused))
        }
    }
}

fn notes(
    playbook: &Playbook,
    expect: &Expect,
    inputs: &Inputs<'_>,
    decision: &Decision<'_>,
    notes: &mut Vec<String>,
) {
    if decision.playbook != playbook.name {
        notes.push(format!("ruled by `{}`", decision.playbook));
    }
    let wanted =
        expect.rest.iter().find(|line| line.what == "rule" && line.value != *decision.rule);
    if let (Some(wanted), Body::Alert(alert)) = (wanted, &inputs.arrival.body) {
        let scope = Scope {
            alert,
            facts: inputs.facts,
            counters: Some(inputs.counters),
            now: inputs.now,
            max_age_ms: &playbook.max_age_ms,
        };
        notes.extend(why_not(playbook, &wanted.value, &scope));
    }
    notes.extend(decision.blocked.iter().map(|blocked| format!("blocked: {}", blocked.why)));
}

/// What kept a rule from ruling.
fn why_not(playbook: &Playbook, id: &str, scope: &Scope<'_>) -> Option<String> {
    let rule = playbook.rules.iter().find(|rule| rule.id == id)?;
    let (found, first) = rule.when.eval_with_first(scope);
    let verdict = match found {
        Tri::True => {
            return Some(format!("`{id}` is true, and it was not its turn, or it was refused"));
        }
        Tri::False => "false",
        Tri::Unknown => "unknown",
    };
    let because = first?.because(found, scope);
    Some(format!("`{id}` is {verdict}: {}", told(&because)))
}

fn told(because: &Because<'_>) -> String {
    let seen: Vec<String> =
        because.seen.iter().map(|seen| format!("{} = {}", seen.name, seen.value)).collect();
    format!("`{}` with {}", because.clause, seen.join(", "))
}
