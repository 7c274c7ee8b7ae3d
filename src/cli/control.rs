use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::verify::{read_cluster, valid};
use super::{Config, connect, say};
use crate::app::{Cluster, Failure, PATIENCE};
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
        let chains = stopped(&cluster)?.into_iter();
        let chains = chains.map(|(partition, stopped)| Chain { partition, stopped });
        chains.map(|chain| chain.line(self.json)).all(|line| say(&line));
        Ok(ExitCode::SUCCESS)
    }
}

/// What stops each chain.
pub(super) fn stopped(cluster: &Cluster) -> Result<Vec<(i32, Option<Stopped>)>, Failure> {
    let chains = read_cluster(cluster)?.into_iter();
    let stopped = |records: Vec<_>| folded(&records).stopped().cloned();
    Ok(chains.map(|(partition, records)| (partition, stopped(records))).collect())
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
