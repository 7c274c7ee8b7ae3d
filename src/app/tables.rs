//! Keeps tables as their files are, without stopping the stream.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::run::system_clock;
use super::setup::Loaded;
use crate::config::{EnricherConfig, File, Files, Stamp, stamp};
use crate::enrich::Enrichers;
use crate::normalize::Pipelines;
use crate::observe::Metrics;
use crate::pipeline::{Current, Drain};
use crate::text::Problem;

/// A file is read when two looks in a row found it the same, so that none is read half written.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const ALIASES: &str = "pipelines/aliases.csv";

/// What can be read again.
enum Table {
    Enricher(Box<EnricherConfig>),
    Aliases,
}

struct Watched {
    table: Table,
    files: Vec<String>,
    /// As the files were when they were read last, rightly or not.
    read: Vec<Stamp>,
    /// As they were at the last look.
    seen: Vec<Stamp>,
    /// The pipelines that the aliases were read into: newer ones came with a table that may be old.
    into: Option<Arc<Pipelines>>,
}

struct Watch {
    files: Files,
    enrichers: Arc<Enrichers>,
    pipelines: Current<Pipelines>,
    metrics: Metrics,
}

/// Starts looking, on a thread of its own, until the drain. The files inside the program never
/// change.
pub(super) fn watch(loaded: &Loaded, metrics: &Metrics, drain: &Drain) {
    if loaded.directory.is_none() {
        return;
    }
    let watch = Watch {
        files: loaded.files.clone(),
        enrichers: Arc::clone(&loaded.enrichers),
        pipelines: loaded.in_force.pipelines.clone(),
        metrics: metrics.clone(),
    };
    let enrichers = loaded.checked.enrichers.iter();
    let enrichers = enrichers.map(|config| {
        let files = config.files().into_iter().map(str::to_owned).collect();
        (Table::Enricher(Box::new(config.clone())), files)
    });
    let aliases = watch.files.get(ALIASES).map(|_| (Table::Aliases, vec![ALIASES.to_owned()]));
    let mut all: Vec<Watched> = enrichers.chain(aliases).map(|each| watch.watched(each)).collect();
    let drain = drain.clone();
    std::thread::spawn(move || {
        while !drain.is_started() {
            std::thread::sleep(LOOK_EVERY);
            all.iter_mut().for_each(|watched| watch.look(watched));
        }
    });
}

impl Watch {
    /// What was loaded at the start is taken to be what is there now; what changed in between is
    /// found by its time.
    fn watched(&self, (table, files): (Table, Vec<String>)) -> Watched {
        let read: Vec<Stamp> =
            files.iter().map(|name| self.files.get(name).and_then(File::stamp)).collect();
        let into = matches!(table, Table::Aliases).then(|| self.pipelines.get());
        Watched { table, files, seen: read.clone(), read, into }
    }

    fn stamp(&self, name: &str) -> Stamp {
        stamp(Path::new(&*self.files.get(name)?.source.path))
    }

    fn look(&self, watched: &mut Watched) {
        let now: Vec<Stamp> = watched.files.iter().map(|name| self.stamp(name)).collect();
        let has_settled = now == watched.seen;
        watched.seen = now;
        let pipelines = self.pipelines.get();
        let is_into = |into: &Arc<Pipelines>| Arc::ptr_eq(into, &pipelines);
        let is_read = watched.seen == watched.read && watched.into.as_ref().is_none_or(is_into);
        if !has_settled || is_read {
            return;
        }
        watched.into = watched.into.take().map(|_| pipelines);
        watched.read.clone_from(&watched.seen);
        let names: Vec<&str> = watched.files.iter().map(String::as_str).collect();
        let files = self.files.again(&names);
        let (name, renewed) = match &watched.table {
            Table::Enricher(config) => {
                let renewed = self.enrichers.renew(config, &files, system_clock()());
                (&*config.name, renewed)
            }
            Table::Aliases => ("aliases", self.renew_aliases(&files)),
        };
        self.tell(name, renewed);
    }

    fn renew_aliases(&self, files: &Files) -> Result<(), Vec<Problem>> {
        let file = files.get(ALIASES);
        file.map_or_else(
            || Err(Vec::new()),
            |file| self.pipelines.get().renew_aliases(&file.source),
        )
    }

    fn tell(&self, name: &str, renewed: Result<(), Vec<Problem>>) {
        let result = if renewed.is_ok() { "read" } else { "refused" };
        self.metrics.table_reads.with_label_values(&[name, result]).inc();
        match renewed {
            Ok(()) => info!(table = name, "table `{name}` was read again"),
            Err(problems) => {
                warn!(
                    table = name,
                    "table `{name}` has changed and is not right; the one before is used"
                );
                for problem in problems {
                    warn!(table = name, "{problem}");
                }
            }
        }
    }
}
