use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::{Config, report, say};
use crate::app::{Callbacks, Failure, Loaded, system_clock};
use crate::policy::{Finding, Severity, findings};
use crate::text::plain;

#[derive(Args)]
pub(super) struct Check {
    #[command(flatten)]
    config: Config,
    /// One JSON object with all findings, for CI
    #[arg(long)]
    json: bool,
    /// Exit with 1 for these and what is worse
    #[arg(long, value_enum, value_name = "SEVERITY")]
    deny: Option<Deny>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Deny {
    Warnings,
    Notes,
}

impl Deny {
    fn least(self) -> Severity {
        match self {
            Self::Warnings => Severity::Warning,
            Self::Notes => Severity::Note,
        }
    }
}

impl Check {
    /// Every problem of every file, or what was found in order and what can be said about it.
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let loaded = match self.config.load(system_clock()()) {
            Ok(loaded) => loaded,
            Err(Failure::Configuration(problems)) if self.json => {
                let found: Vec<Finding> = problems.iter().map(Finding::of).collect();
                say(&object(None, &found).to_string());
                return Ok(ExitCode::from(64));
            }
            Err(failure @ Failure::Configuration(_)) => return Ok(report(&failure)),
            Err(failure) => return Err(failure),
        };
        let mut found = findings(&loaded.checked.policy);
        found.extend(Callbacks::of(&loaded).missing);
        if self.json {
            say(&object(Some(&loaded), &found).to_string());
        } else {
            for finding in &found {
                say(&line(finding));
            }
            say(&summary(&loaded, &found));
        }
        let least = self.deny.map(Deny::least);
        let is_denied = found.iter().any(|finding| Some(finding.code.severity()) >= least);
        Ok(if least.is_some() && is_denied { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

fn line(finding: &Finding) -> String {
    let code = finding.code;
    let (severity, message) = (code.severity().name(), plain(&finding.message));
    format!("{}: {severity} {}: {message}", finding.at, code.id())
}

fn count(found: &[Finding], severity: Severity) -> usize {
    found.iter().filter(|finding| finding.code.severity() == severity).count()
}

fn summary(loaded: &Loaded, found: &[Finding]) -> String {
    let checked = &loaded.checked;
    let found = match (count(found, Severity::Warning), count(found, Severity::Note)) {
        (0, 0) => String::new(),
        (warnings, notes) => {
            format!(
                "; {warnings} warning(s), {notes} note(s): each code is explained in playbooks/FINDINGS.md"
            )
        }
    };
    format!(
        "ok: {} pipelines, {} enrichers, {} playbooks, {} boundary layers; policy {}{found}",
        checked.pipelines.list().len(),
        checked.enrichers.len(),
        checked.policy.playbooks().len(),
        checked.policy.boundary().layers.len(),
        checked.policy.hash
    )
}

/// The policy's hash is missing where there is an error: there is no policy then.
fn object(loaded: Option<&Loaded>, found: &[Finding]) -> serde_json::Value {
    let one = |finding: &Finding| {
        json!({
            "code": finding.code.id(),
            "severity": finding.code.severity().name(),
            "file": &*finding.at.path,
            "line": finding.at.line,
            "column": finding.at.column,
            "message": finding.message,
            "about": finding.code.about(),
            "page": finding.code.page(),
        })
    };
    json!({
        "v": 1,
        "policy": loaded.map(|loaded| loaded.checked.policy.hash.as_str()),
        "errors": count(found, Severity::Error),
        "warnings": count(found, Severity::Warning),
        "notes": count(found, Severity::Note),
        "findings": found.iter().map(one).collect::<Vec<_>>(),
    })
}
