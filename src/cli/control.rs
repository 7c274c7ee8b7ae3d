use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::verify::{read_cluster, valid};
use super::{Config, connect, say};
use crate::app::{Failure, PATIENCE};
use crate::case::Stopped;
use crate::correlate;
use crate::text::plain;

/// Whether something stops everything automatic, by whom and since when, on each chain.
#[derive(Args)]
pub(super) struct Control {
    #[command(flatten)]
    config: Config,
    /// One JSON object for each chain
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Chain {
    partition: i32,
    stopped: Option<Stopped>,
}

impl Control {
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let loaded = self.config.load(crate::app::system_clock()())?;
        let cluster = connect(&loaded, PATIENCE)?;
        let chains = read_cluster(&cluster)?;
        let chains = chains.into_iter().map(|(partition, records)| Chain {
            partition,
            stopped: folded(&records).stopped().cloned(),
        });
        chains.map(|chain| chain.line(self.json)).all(|line| say(&line));
        Ok(ExitCode::SUCCESS)
    }
}

fn folded(records: &[(i64, Vec<u8>)]) -> correlate::Control {
    let mut control = correlate::Control::default();
    valid(records).for_each(|(_, record)| control.apply(&record));
    control
}

impl Chain {
    fn line(&self, as_json: bool) -> String {
        if as_json {
            // Our own types always serialize.
            return serde_json::to_string(self).unwrap_or_default();
        }
        let state = self.stopped.as_ref().map_or_else(|| "runs".to_owned(), ToString::to_string);
        format!("chain {:<3} {}", self.partition, plain(&state))
    }
}
