use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::{Config, report, say};
use crate::app::{Failure, Loaded, system_clock};
use crate::text::plain;
use crate::trial::{Coverage, TestOutcome, coverage, run_tests};

mod update;
mod watch;

#[derive(Args)]
pub(super) struct Test {
    #[command(flatten)]
    config: Config,
    /// Tests whose `playbook: name` contains one of these; without it all
    #[arg(value_name = "TEXT")]
    filter: Vec<String>,
    /// Say which rules, clauses and unknown facts no test reaches
    #[arg(long)]
    coverage: bool,
    /// One JSON object with all tests
    #[arg(long)]
    json: bool,
    /// Write what came out into the failed expectations, and show each change
    #[arg(long, conflicts_with_all = ["json", "watch"])]
    update: bool,
    /// Run again whenever a file changes
    #[arg(long)]
    watch: bool,
}

impl Test {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        if self.watch {
            return watch::watch(self.config.config.as_deref(), || self.once());
        }
        self.once()
    }

    /// One line for each test; a failed one shows what differs.
    fn once(&self) -> Result<ExitCode, Failure> {
        let loaded = self.config.load(system_clock()())?;
        let outcomes = self.outcomes(&loaded)?;
        if self.update {
            return update::update(&loaded, &outcomes);
        }
        let failed = outcomes.iter().filter(|outcome| !outcome.passed()).count();
        let covered = if self.coverage { coverage(&loaded.checked.policy) } else { Vec::new() };
        if self.json {
            say(&object(&outcomes, &covered).to_string());
        } else {
            outcomes.iter().for_each(tell);
            covered.iter().for_each(tell_coverage);
            say(&format!("{} passed, {failed} failed", outcomes.len() - failed));
        }
        Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn outcomes(&self, loaded: &Loaded) -> Result<Vec<TestOutcome>, Failure> {
        let is_wanted = |playbook: &str, name: &str| {
            let title = format!("{playbook}: {name}");
            self.filter.is_empty() || self.filter.iter().any(|part| title.contains(part.as_str()))
        };
        let outcomes = run_tests(&loaded.checked.policy, is_wanted);
        if outcomes.is_empty() && !self.filter.is_empty() {
            let filter = self.filter.join("`, `");
            return Err(Failure::Usage(format!("no test has `{filter}` in its name")));
        }
        Ok(outcomes)
    }
}

fn tell(outcome: &TestOutcome) {
    if outcome.passed() {
        say(&format!("ok      {}: {}", outcome.playbook, outcome.name));
        return;
    }
    say(&format!("FAILED  {}: {} ({})", outcome.playbook, outcome.name, outcome.at));
    for difference in &outcome.differences {
        say(&format!("        {difference}"));
    }
    for note in &outcome.notes {
        say(&format!("        {note}"));
    }
}

fn tell_coverage(covered: &Coverage) {
    let of = |(reached, all): (usize, usize), what: &str| format!("{reached} of {all} {what}");
    say(&format!(
        "coverage of {}: {}, {}, {}",
        covered.playbook,
        of(covered.rules, "rules"),
        of(covered.clauses, "outcomes of clauses"),
        of(covered.unknowns, "rules unknown")
    ));
    for gap in &covered.gaps {
        say(&format!("        {}: {} (rule `{}`)", gap.at, plain(&gap.message), gap.rule));
    }
}

fn object(outcomes: &[TestOutcome], covered: &[Coverage]) -> serde_json::Value {
    let tests: Vec<serde_json::Value> = outcomes.iter().map(test_object).collect();
    let failed = outcomes.iter().filter(|outcome| !outcome.passed()).count();
    let mut object = json!({
        "v": 1,
        "passed": outcomes.len() - failed,
        "failed": failed,
        "tests": tests,
    });
    if let (Some(fields), false) = (object.as_object_mut(), covered.is_empty()) {
        let covered: Vec<serde_json::Value> = covered.iter().map(coverage_object).collect();
        fields.insert("coverage".to_owned(), covered.into());
    }
    object
}

fn test_object(outcome: &TestOutcome) -> serde_json::Value {
    let differences = outcome.differences.iter().map(|each| {
        json!({
            "alert": each.step,
            "what": each.what,
            "expected": each.expected,
            "got": each.got,
            "line": each.written.key_at.line,
            "column": each.written.key_at.column,
        })
    });
    json!({
        "playbook": outcome.playbook,
        "name": outcome.name,
        "file": &*outcome.at.path,
        "line": outcome.at.line,
        "column": outcome.at.column,
        "passed": outcome.passed(),
        "differences": differences.collect::<Vec<_>>(),
        "notes": outcome.notes,
    })
}

fn coverage_object(covered: &Coverage) -> serde_json::Value {
    let of = |(reached, all): (usize, usize)| json!({"reached": reached, "all": all});
    let gaps = covered.gaps.iter().map(|gap| {
        json!({
            "of": gap.of,
            "rule": gap.rule,
            "file": &*gap.at.path,
            "line": gap.at.line,
            "column": gap.at.column,
            "message": gap.message,
        })
    });
    json!({
        "playbook": covered.playbook,
        "rules": of(covered.rules),
        "clauses": of(covered.clauses),
        "unknowns": of(covered.unknowns),
        "gaps": gaps.collect::<Vec<_>>(),
    })
}

/// A failure is told, and watching goes on.
fn tell_failure(failure: &Failure) {
    report(failure);
}
