use std::process::ExitCode;

use clap::Subcommand;

use super::screen::age_text;
use super::{Config, say};
use crate::app::{self, COUNTED_MAX, Failure, SinkRow, system_clock};
use crate::case::Millis;
use crate::text::plain;

#[derive(Subcommand)]
pub(super) enum SinksVerb {
    /// What each sink is doing, how many cases wait for it, and how many are parked
    List(Config),
    /// Deliver parked cases of a sink once more
    Retry {
        #[command(flatten)]
        config: Config,
        /// Which sink
        name: String,
        /// Only the revisions of this case
        #[arg(long, value_name = "ID")]
        case: Option<String>,
    },
}

impl SinksVerb {
    /// Exit code 1 when a sink is paused or has no place to begin, or when something stays parked.
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let now = system_clock()();
        let is_well = match self {
            Self::List(config) => {
                let rows = app::list_sinks(&config.load(now)?)?;
                lines(&rows, now).iter().for_each(|line| {
                    say(line);
                });
                rows.iter().all(is_well)
            }
            Self::Retry { config, name, case } => {
                let loaded = config.load(now)?;
                app::retry_sink(&loaded, &name, case.as_deref(), &mut |line| {
                    say(line);
                })?
            }
        };
        Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn is_well(row: &SinkRow) -> bool {
    let is_paused = row.state.as_ref().is_some_and(|(state, _)| state == "paused");
    !is_paused && row.without_start == 0
}

fn lines(rows: &[SinkRow], now: Millis) -> Vec<String> {
    if rows.is_empty() {
        return vec!["no sink is switched on: `sinks` in tipstaff.yaml names them".to_owned()];
    }
    let mut lines = vec![format!(
        "{:<16} {:<12} {:>8} {:>8} {:>7}  owner",
        "sink", "state", "waiting", "oldest", "parked"
    )];
    for row in rows {
        let more = if row.waiting >= COUNTED_MAX { "+" } else { "" };
        let oldest = row.oldest.map_or_else(|| "-".to_owned(), |at| age_text(now.since(at)));
        let (state, why) = row.state.as_ref().map_or(("not running", ""), |(s, w)| (&**s, &**w));
        lines.push(format!(
            "{:<16} {state:<12} {:>8} {oldest:>8} {:>7}  {}",
            row.name,
            format!("{}{more}", row.waiting),
            row.parked,
            plain(&row.owner)
        ));
        if !why.is_empty() {
            lines.push(format!("  {}", plain(why)));
        }
        if row.without_start > 0 {
            lines.push(format!(
                "  {} of {} partitions have no place to begin at: `tipstaff topics create`",
                row.without_start, row.partitions
            ));
        }
    }
    lines
}
