#![expect(clippy::indexing_slicing, reason = "a JSON value that is not there reads as null")]

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::Value;

use super::{Config, put, say, screen::plain};
use crate::app::{self, Failure, system_clock};

#[derive(Subcommand)]
pub(super) enum PolicyVerb {
    /// Print what people sign: the policy's hash and each of its files
    Bundle(Config),
    /// Ask the process that runs here which policy it has and what each rule did
    Status(Config),
}

impl PolicyVerb {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        match self {
            Self::Bundle(config) => {
                let statement = config.load(system_clock()())?.checked.statement();
                let is_written = put(&statement);
                Ok(if is_written { ExitCode::SUCCESS } else { ExitCode::FAILURE })
            }
            Self::Status(config) => status(&config),
        }
    }
}

/// Exit code 1 when the files are refused or something newer is in force elsewhere.
fn status(config: &Config) -> Result<ExitCode, Failure> {
    let service = app::service_of(config.config.as_deref())?;
    let url = format!("http://{}/policy", app::here(service.listen));
    let (status, body) = app::get(&url)?;
    let answer: Value = serde_json::from_str(&body)
        .map_err(|_| Failure::Ended(format!("{url} answers {status} and no policy")))?;
    for line in lines(&answer) {
        say(&line);
    }
    let is_well = answer["refused"].is_null() && answer["newer"].is_null();
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn lines(answer: &Value) -> Vec<String> {
    let list = |name: &str| answer[name].as_array().map_or(&[][..], Vec::as_slice);
    let since = match &answer["activated_at"] {
        Value::Null => "not in force yet: the process waits for Kafka".to_owned(),
        since => format!("in force here since {}", plain(since)),
    };
    let (hash, generation) = (plain(&answer["hash"]), &answer["generation"]);
    let mut lines = vec![format!("policy {hash}, generation {generation}, {since}")];
    for signer in list("signers") {
        lines.push(format!(
            "signed by {} with {}",
            plain(&signer["person"]),
            plain(&signer["key"])
        ));
    }
    if !answer["refused"].is_null() {
        lines.push(format!("THE FILES ARE REFUSED since {}:", plain(&answer["refused"]["since"])));
        let problems = answer["refused"]["problems"].as_array().map_or(&[][..], Vec::as_slice);
        lines.extend(problems.iter().map(|problem| format!("  {}", plain(problem))));
    }
    if !answer["newer"].is_null() {
        let newer = &answer["newer"];
        let (hash, generation) = (plain(&newer["hash"]), &newer["generation"]);
        lines.push(format!("ANOTHER PROCESS HAS A NEWER ONE: {hash}, generation {generation}"));
    }
    if answer["needs_restart"] == true {
        lines.push("tipstaff.yaml has changed: restart to use it".to_owned());
    }
    lines.push(String::new());
    lines.push(format!("{:>10}  {:<24}  rule", "hits", "last"));
    for rule in list("rules") {
        let last = match &rule["last_hit"] {
            Value::Null => "never since it began",
            last => last.as_str().unwrap_or_default(),
        };
        let mode = rule["mode"].as_str().filter(|mode| *mode != "live");
        let mode = mode.map_or_else(String::new, |mode| format!(" ({mode})"));
        let (playbook, id) = (plain(&rule["playbook"]), plain(&rule["rule"]));
        lines.push(format!("{:>10}  {last:<24}  {playbook}/{id}{mode}", rule["hits"].to_string()));
    }
    if !list("shadows").is_empty() {
        lines.push(String::new());
        lines.push(format!("{:>10}  shadow beside the fate", "rulings"));
    }
    for row in list("shadows") {
        let count = row["count"].to_string();
        let (playbook, live) = (plain(&row["playbook"]), plain(&row["live"]));
        let (shadow, differs) = (plain(&row["shadow"]), plain(&row["differs"]));
        let told = match differs.as_str() {
            "no" => "the same".to_owned(),
            "fate" => format!("{shadow} where it was {live}"),
            other => format!("{shadow}, another {other}"),
        };
        lines.push(format!("{count:>10}  {playbook}: {told}"));
    }
    lines
}
