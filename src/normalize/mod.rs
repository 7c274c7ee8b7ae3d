//! Detectors' messages into alerts: mapping as data, secrets replaced, identity resolved.
//!
//! In comes one message as the broker holds it; out come its alerts, at least one. A message that
//! can not be read is an arrival too, with the reason and without its payload. Nothing that no
//! pipeline maps leaves here, and what leaves holds no value that stood at a redacted path, and no
//! token of a known shape (INV-6).
//! Nothing here knows the clock, the network or Kafka: the same message gives the same alerts.

mod fingerprint;
mod partition;
mod decimal;
mod times;
mod words;
mod secret;
mod address;
mod escapes;
mod bits;
mod views;
mod shapes;
mod anchors;
mod scan;
mod redact;
mod layout;
mod listed;
mod asked;
mod when;
mod capture;
mod source;
mod source_file;
mod rows;
mod alias;
mod open;
mod pipeline;
mod body;
mod explain;
mod reading;
mod mapping;
mod intake;
mod draft;

pub use draft::draft;
pub use explain::Explained;
pub use fingerprint::{FingerprintKeys, KeyError};
pub use intake::ALERTS_MAX;
pub use mapping::ALERT_BYTES_MAX;
pub use partition::{PARTITION_FUNCTION, partition_key, partition_of};
pub use pipeline::{Pipeline, WEBHOOK_ROOT};
pub use reading::{Incoming, MESSAGE_BYTES_MAX};
pub use scan::holds_secret;
pub use secret::canonical;

use std::sync::{Arc, PoisonError, RwLock};

use crate::text::{At, Problem, Problems, Source};

/// Every pipeline, and the table that says whose key is whose.
#[derive(Debug)]
pub struct Pipelines {
    list: Vec<Pipeline>,
    /// A message is read with the one that is there when it begins.
    aliases: RwLock<Option<Arc<alias::Aliases>>>,
}

/// Reads all pipeline files and the alias table.
///
/// Errors: all mistakes of all files are added to `problems`; nothing is given if there is one.
pub fn compile(
    pipelines: &[Source],
    aliases: Option<&Source>,
    problems: &mut Problems,
) -> Option<Pipelines> {
    let before = problems.len();
    let compiled: Vec<(Pipeline, At)> =
        pipelines.iter().filter_map(|source| pipeline::compile(source, problems)).collect();
    for (index, (pipeline, at)) in compiled.iter().enumerate() {
        for (earlier, _) in compiled.iter().take(index) {
            check_pair(earlier, pipeline, at, problems);
        }
    }
    let aliases = aliases.and_then(|source| alias::Aliases::compile(source, problems));
    let aliases = RwLock::new(aliases.map(Arc::new));
    let list = compiled.into_iter().map(|(pipeline, _)| pipeline).collect();
    (problems.len() == before).then_some(Pipelines { list, aliases })
}

fn check_pair(earlier: &Pipeline, later: &Pipeline, at: &At, problems: &mut Problems) {
    let file = &earlier.file;
    if earlier.name == later.name {
        problems.add(at, format!("the pipeline `{}` is already in {file}", later.name));
    }
    if earlier.topic == later.topic && (earlier.detect.is_none() || later.detect.is_none()) {
        problems.add(
            at,
            format!("{file} reads the same topic: both need `detect` to tell their messages apart"),
        );
    }
}

impl Pipelines {
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|pipeline| pipeline.name.as_str())
    }

    /// The detector topics that are read, each once.
    pub fn topics(&self) -> std::collections::BTreeSet<&str> {
        self.list.iter().map(|pipeline| pipeline.topic.as_str()).collect()
    }

    /// Reads the alias table again, whole or not at all.
    ///
    /// Errors: every row that does not fit; the old table stays.
    pub fn renew_aliases(&self, source: &Source) -> Result<(), Vec<Problem>> {
        let mut problems = Problems::default();
        let Some(aliases) = alias::Aliases::compile(source, &mut problems) else {
            return Err(problems.into_sorted());
        };
        *self.aliases.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(aliases));
        Ok(())
    }

    fn aliases(&self) -> Option<Arc<alias::Aliases>> {
        self.aliases.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn list(&self) -> &[Pipeline] {
        &self.list
    }
}
