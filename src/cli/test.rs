use std::process::ExitCode;

use super::{Config, say};
use crate::app::{Failure, system_clock};
use crate::decide::run_tests;

/// One line for each test of the playbooks; a failed one shows what differs.
pub(super) fn test(config: &Config) -> Result<ExitCode, Failure> {
    let loaded = config.load(system_clock()())?;
    let outcomes = run_tests(&loaded.checked.policy);
    let mut failed = 0;
    for outcome in &outcomes {
        if outcome.passed() {
            say(&format!("ok      {}: {}", outcome.playbook, outcome.name));
            continue;
        }
        failed += 1;
        say(&format!("FAILED  {}: {} ({})", outcome.playbook, outcome.name, outcome.at));
        for difference in &outcome.differences {
            say(&format!("        {difference}"));
        }
    }
    say(&format!("{} passed, {failed} failed", outcomes.len() - failed));
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
