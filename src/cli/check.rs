use std::process::ExitCode;

use super::{Config, say};
use crate::app::{Failure, system_clock};
use crate::decide::run_tests;

/// Every problem of every file, or what was found in order.
pub(super) fn check(config: &Config) -> Result<ExitCode, Failure> {
    let loaded = config.load(system_clock()())?;
    let checked = &loaded.checked;
    say(&format!(
        "ok: {} pipelines, {} enrichers, {} playbooks, {} boundary layers; policy {}",
        checked.pipelines.list().len(),
        checked.enrichers.len(),
        checked.policy.playbook_count(),
        checked.policy.layer_count(),
        checked.policy.hash
    ));
    Ok(ExitCode::SUCCESS)
}

/// One line for each test of the playbooks; a failed one shows what differs.
pub(super) fn test(config: &Config) -> Result<ExitCode, Failure> {
    let loaded = config.load(system_clock()())?;
    let outcomes = run_tests(&loaded.checked.policy);
    let mut failed = 0;
    for outcome in &outcomes {
        match &outcome.difference {
            None => say(&format!("ok      {}: {}", outcome.playbook, outcome.name)),
            Some(difference) => {
                failed += 1;
                say(&format!(
                    "FAILED  {}: {} ({})\n{difference}",
                    outcome.playbook, outcome.name, outcome.at
                ))
            }
        };
    }
    say(&format!("{} passed, {failed} failed", outcomes.len() - failed));
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
