use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{Config, against, say};
use crate::app::{Failure, system_clock};
use crate::config::load;
use crate::policy::{ANY_OTHER, Change, Comparison, Need, Proof, Row, Vocabulary, compare, prove};

#[derive(Subcommand)]
pub(super) enum BoundaryVerb {
    /// List everything that any playbook could ever reach
    Prove(Prove),
}

#[derive(Args)]
pub(super) struct Prove {
    #[command(flatten)]
    config: Config,
    /// Also say what changed against another boundary: a file, which stands for the layer of its
    /// name, or a directory of a configuration or of playbooks
    #[arg(long, value_name = "FILE|DIR")]
    against: Option<PathBuf>,
    /// Exit with 1 if anything is allowed that the other boundary refuses
    #[arg(long, requires = "against")]
    no_widening: bool,
    /// One JSON object instead of tables
    #[arg(long)]
    json: bool,
}

impl BoundaryVerb {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        match self {
            Self::Prove(prove) => prove.run(),
        }
    }
}

#[derive(Serialize)]
struct Report<'r> {
    #[serde(flatten)]
    proof: &'r Proof,
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<&'r Comparison>,
}

impl Prove {
    fn run(self) -> Result<ExitCode, Failure> {
        let loaded = self.config.load(system_clock()())?;
        let policy = &*loaded.checked.policy;
        let too_large = |error| Failure::Usage(format!("{error}"));
        let proof = prove(&policy.bounds()).map_err(too_large)?;
        let changes = match &self.against {
            Some(path) => {
                let other = load(&against::files(path, &loaded)?);
                let other = other.map_err(Failure::Configuration)?.policy;
                Some(compare(&other.bounds(), &policy.bounds()).map_err(too_large)?)
            }
            None => None,
        };
        if self.json {
            let report = Report { proof: &proof, changes: changes.as_ref() };
            let text = serde_json::to_string_pretty(&report);
            say(&text.map_err(|error| Failure::Ended(error.to_string()))?);
        } else {
            tell(&proof);
            changes.as_ref().into_iter().for_each(tell_changes);
        }
        let is_wider = changes.is_some_and(|changes| !changes.widened.is_empty());
        let fails = self.no_widening && is_wider;
        Ok(if fails { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// What holds for every boundary.
const ALWAYS: &str = "\
Without a line in any file: nothing is done to an identity that the pipeline runs as, to a person, \
or to an NHI\nthat is not resolved or a target that is not named; and a suppression has its \
evidence at hand.";

fn tell(proof: &Proof) {
    let layers = proof.layers.join(", ");
    if !proof.stopped.is_empty() {
        say(&format!("stopped by {}: no rule reaches anything", proof.stopped.join(", ")));
    } else if proof.reachable.is_empty() {
        say(&format!("no rule reaches anything inside {layers}"));
    } else {
        say(&format!("What any playbook could reach inside {layers}:\n"));
        tell_rows(proof);
    }
    if !proof.pass_unknown.is_empty() {
        let names = proof.pass_unknown.join(", ");
        say(&format!("May be unknown in a rule that is passed on the way to an action: {names}."));
    }
    if !proof.open.is_empty() {
        say(
            "\nThese rest on values that cannot be listed. Each is taken as perhaps false, so the \
             table shows too much\nrather than too little:",
        );
        proof.open.iter().for_each(|each| {
            say(&format!("  {}", each.replace('\n', " ")));
        });
    }
    say(&format!("\n{ALWAYS}"));
}

fn tell_rows(proof: &Proof) {
    let rows: Vec<&Row> = proof.reachable.iter().collect();
    let mut notes: Vec<String> = Vec::new();
    let mut lines = Vec::new();
    let names: BTreeSet<&String> = rows.iter().flat_map(|row| row.at.keys()).collect();
    let mut head = vec!["action".to_owned()];
    head.extend(names.iter().map(|name| (*name).clone()));
    head.extend(["approvals".to_owned(), "and".to_owned()]);
    lines.push(head);
    for row in rows {
        let mut line = vec![row.action.clone()];
        let cell = |name: &String| cell(&row.action, name, &row.at, &proof.vocabulary);
        line.extend(names.iter().map(|name| cell(name)));
        let (approvals, needs): (Vec<&Need>, Vec<&Need>) =
            row.needs.iter().partition(|need| matches!(need, Need::Approvals { .. }));
        let approvals: Vec<String> = approvals
            .into_iter()
            .filter_map(|need| match need {
                Need::Approvals { role, count } => Some(format!("{count} {role}")),
                _ => None,
            })
            .collect();
        line.push(if approvals.is_empty() { "-".to_owned() } else { approvals.join(", ") });
        let facts =
            row.facts.iter().map(|(name, states)| format!("{name} is {}", states.join(" or ")));
        let told = facts.chain(needs.into_iter().map(ToString::to_string));
        let numbers: Vec<usize> = told.map(|note| number(&mut notes, note)).collect();
        line.push(ranges(numbers));
        lines.push(line);
    }
    tell_table(&lines);
    say("");
    for (index, note) in notes.iter().enumerate() {
        say(&format!("{:>4}  {note}", index + 1));
    }
    say("");
}

fn number(notes: &mut Vec<String>, note: String) -> usize {
    let place = notes.iter().position(|each| *each == note).unwrap_or_else(|| {
        notes.push(note);
        notes.len() - 1
    });
    place + 1
}

/// `1-4 7 9-11`
fn ranges(mut numbers: Vec<usize>) -> String {
    numbers.sort_unstable();
    let runs = numbers.chunk_by(|one, next| one + 1 == *next);
    let told = runs.map(|run| match run {
        [first, .., last] => format!("{first}-{last}"),
        run => run.iter().map(usize::to_string).collect(),
    });
    told.collect::<Vec<String>>().join(" ")
}

/// A list, or what it leaves out where it holds every text that is not listed.
fn cell(
    action: &str,
    name: &str,
    at: &BTreeMap<String, Vec<String>>,
    vocabulary: &Vocabulary,
) -> String {
    let Some(values) = at.get(name) else { return "any".to_owned() };
    if !values.iter().any(|value| value == ANY_OTHER) {
        return values.join(", ");
    }
    let all = vocabulary.get(action).and_then(|names| names.get(name));
    let without = all.into_iter().flatten().filter(|value| !values.contains(value));
    format!("any but {}", without.map(String::as_str).collect::<Vec<_>>().join(", "))
}

fn tell_table(lines: &[Vec<String>]) {
    let columns = lines.first().map_or(0, Vec::len);
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).filter_map(width).collect();
    for line in lines {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        say(cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

fn tell_changes(changes: &Comparison) {
    say("");
    for (title, rows) in [("WIDENED", &changes.widened), ("NARROWED", &changes.narrowed)] {
        if rows.is_empty() {
            say(&format!("{title}: nothing"));
            continue;
        }
        say(&format!("{title}:"));
        rows.iter().for_each(|change| {
            say(&format!("  {}", changed(change, &changes.vocabulary)));
        });
    }
    say("Conditions over values that cannot be listed are compared as they are written: one that \
         is written otherwise\ncounts as gone, and as new.");
}

fn changed(change: &Change, vocabulary: &Vocabulary) -> String {
    let places = change.at.keys();
    let places = places
        .map(|name| format!("{name}: {}", cell(&change.action, name, &change.at, vocabulary)));
    let places: Vec<String> = places.collect();
    let places =
        if places.is_empty() { String::new() } else { format!(" [{}]", places.join("; ")) };
    format!("{}: {}{places}", change.action, change.what.replace('\n', " "))
}
