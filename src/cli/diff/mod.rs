//! What a change of the policy would have done to recorded alerts.

mod budget;
mod json;
mod markdown;
mod sides;
mod source;
mod text;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Args;

use self::budget::Budget;
use self::sides::Sides;
use self::source::Source;
use super::verify::Chains;
use super::{Config, parse_now, say};
use crate::app::{Failure, system_clock};
use crate::policy::Policy;
use crate::replay::{Progress, Report, Stored, compare, compare_ruled};

#[derive(Args)]
pub(super) struct Diff {
    #[command(flatten)]
    config: Config,
    /// What to compare with: a directory of a configuration or of playbooks, a boundary's file,
    /// which stands for the layer of its name, or the hash of a policy that the cluster has stored
    #[arg(long, value_name = "OLD")]
    against: String,
    /// Records: a file that `verify --export` or `decide` wrote, or a topic; or native events to
    /// rule by both configurations; `-` for standard input. Without it the decisions topic
    #[arg(long, value_name = "FILE|TOPIC")]
    from: Option<String>,
    /// The time to rule native events at, RFC 3339; records are ruled at their own
    #[arg(long, value_name = "TIME")]
    now: Option<String>,
    /// Examples told of each change
    #[arg(long, value_name = "N", default_value_t = 3)]
    examples: usize,
    /// One JSON object
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// A report to put into a pull request
    #[arg(long)]
    markdown: bool,
    #[command(flatten)]
    budget: Budget,
}

/// Everything a report tells.
struct Page<'p> {
    sides: &'p Sides,
    from: &'p str,
    report: &'p Report,
    budget: &'p Budget,
    examples: usize,
}

impl Diff {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let now = parse_now(self.now.as_deref())?;
        let loaded = self.config.load(system_clock()())?;
        let mut cluster = source::Lazy::new(&loaded);
        let sides = Sides::new(&self.against, &loaded, &mut cluster)?;
        let (source, from) = Source::open(self.from.as_deref(), &mut cluster)?;
        let report = match source {
            Source::Records(chains) => {
                from_records(&sides.old.policy, &loaded.checked.policy, &chains, &from)?
            }
            Source::Events(bytes) => {
                let old = sides.load_old(&loaded, now)?;
                compare_ruled(
                    &source::ruled(&old, &bytes, now)?,
                    &source::ruled(&loaded, &bytes, now)?,
                )
            }
        };
        let lost = report.failed + report.unread;
        if report.alerts + report.unreadable + report.unpaired + lost == 0 {
            return Err(Failure::Ended(format!("there is no ruling in {from}")));
        }
        let (budget, examples) = (&self.budget, self.examples);
        let page = Page { sides: &sides, from: &from, report: &report, budget, examples };
        let text = match (self.json, self.markdown) {
            (true, _) => json::page(&page),
            (_, true) => markdown::page(&page),
            _ => text::page(&page),
        };
        let is_read = say(text.trim_end());
        let is_kept = page.budget.lines(&report).iter().all(|line| line.is_kept());
        let is_fine = is_read && is_kept && lost == 0;
        Ok(if is_fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn from_records(
    old: &Policy,
    new: &Policy,
    chains: &Chains,
    from: &str,
) -> Result<Report, Failure> {
    let records: Vec<Stored<'_>> = chains
        .iter()
        .flat_map(|(partition, chain)| {
            chain.iter().map(|(offset, bytes)| (*partition, *offset, bytes.as_slice()))
        })
        .collect();
    let progress = Progress::default();
    let ruled = std::thread::scope(|scope| {
        let work = scope.spawn(|| compare(old, new, &records, &progress));
        show_progress(&progress, || work.is_finished());
        work.join()
    });
    let ruled = ruled.map_err(|_| Failure::Ended("the comparison failed: a defect".to_owned()))?;
    ruled.map_err(|index| {
        let (partition, offset) = records.get(index).map_or((0, 0), |(p, offset, _)| (*p, *offset));
        Failure::Usage(format!(
            "{from}: partition {partition}, offset {offset}: not a record of this version"
        ))
    })
}

/// On standard error, where somebody sees it.
fn show_progress(progress: &Progress, is_over: impl Fn() -> bool) {
    if !std::io::stderr().is_terminal() {
        return;
    }
    let mut was_shown = false;
    while !is_over() {
        std::thread::sleep(Duration::from_millis(100));
        let of = progress.of.load(Ordering::Relaxed);
        if of > 0 {
            eprint!("\rruled {} of {of} alerts", progress.done.load(Ordering::Relaxed));
            was_shown = std::io::stderr().flush().is_ok();
        }
    }
    if was_shown {
        eprint!("\r{:50}\r", "");
    }
}
