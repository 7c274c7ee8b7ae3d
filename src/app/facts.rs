//! Facts that are kept: over a restart, and until somebody has them purged.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::setup::Loaded;
use crate::config::EnricherConfig;
use crate::enrich::{Enrichers, Remotes, key_of_parts};
use crate::observe::Purge;
use crate::pipeline::Drain;

const SAVE_EVERY: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Where the answers of this instance are kept over a restart.
pub(super) struct Kept {
    remotes: Arc<Remotes>,
    path: PathBuf,
}

impl Kept {
    /// Nothing where `tipstaff.yaml` names no place for it.
    pub fn of(loaded: &Loaded, instance: &str) -> Option<Self> {
        let folder = loaded.checked.service.as_ref()?.snapshot.as_ref()?;
        let root = loaded.directory.as_deref().unwrap_or_else(|| Path::new("."));
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let name: String = instance.chars().map(|c| if allowed(c) { c } else { '_' }).collect();
        let path = root.join(folder).join(format!("{name}.ndjson"));
        Some(Self { remotes: Arc::clone(loaded.enrichers.remotes()?), path })
    }

    /// What is broken is told, and nothing of it is taken.
    pub fn restore(&self) {
        let path = self.path.display();
        match self.remotes.restore(&self.path) {
            Ok(answers) => info!(answers, "{answers} answers of services were kept in {path}"),
            Err(why) => warn!(reason = %why, "{path} is broken and starts anew: {why}"),
        }
    }

    /// Starts saving now and then, on a thread of its own, until the drain.
    pub fn save_until(self: &Arc<Self>, drain: &Drain) {
        let (kept, drain) = (Arc::clone(self), drain.clone());
        std::thread::spawn(move || {
            let mut saved = Instant::now();
            while !drain.is_started() {
                std::thread::sleep(LOOK_EVERY);
                if saved.elapsed() >= SAVE_EVERY || kept.remotes.was_purged() {
                    kept.save();
                    saved = Instant::now();
                }
            }
        });
    }

    pub fn save(&self) {
        if let Err(error) = self.remotes.save(&self.path) {
            let path = self.path.display();
            warn!(reason = %error, "answers of services are not kept in {path}: {error}");
        }
    }
}

/// `POST /facts/purge`.
pub(super) struct Purger {
    pub enrichers: Arc<Enrichers>,
    pub configs: Vec<EnricherConfig>,
}

impl Purge for Purger {
    fn purge(&self, enricher: &str, key: &[&str]) -> Result<(), String> {
        let config = self.configs.iter().find(|config| *config.name == *enricher);
        let config = config.ok_or_else(|| format!("there is no enricher `{enricher}`"))?;
        let key = key_of_parts(config, key)?;
        self.enrichers.forget(enricher, &key);
        info!(enricher, "a fact of `{enricher}` was purged");
        Ok(())
    }
}
