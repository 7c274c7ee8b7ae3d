use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::case::Millis;
use crate::config::{Checked, Files, ResolvedSecrets, ServiceConfig, load as check};
use crate::enrich::Enrichers;
use crate::ingest::{Brokers, Doubt, Settings};
use crate::normalize::FingerprintKeys;
use crate::text::Problem;

/// Why a command ended without doing its work.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Exit code 64: nothing was started.
    #[error("{} problem(s) in the configuration", .0.len())]
    Configuration(Vec<Problem>),
    /// Exit code 64: the command line or the configuration asks for something that can't be.
    #[error("{0}")]
    Usage(String),
    /// Exit code 1.
    #[error(transparent)]
    Kafka(#[from] Doubt),
    /// Exit code 1.
    #[error("{0}")]
    Ended(String),
}

/// A configuration that was read and checked as a whole.
pub struct Loaded {
    pub directory: Option<PathBuf>,
    pub files: Files,
    pub checked: Checked,
    pub enrichers: Arc<Enrichers>,
}

/// Reads everything under `directory`; without one, the files shipped inside the program.
pub fn load(directory: Option<&Path>, now: Millis) -> Result<Loaded, Failure> {
    let files = directory.map_or_else(Files::shipped, Files::read);
    let checked = check(&files).map_err(Failure::Configuration)?;
    let enrichers =
        Enrichers::new(&checked.enrichers, &files, now).map_err(Failure::Configuration)?;
    let directory = directory.map(Path::to_path_buf);
    Ok(Loaded { directory, files, checked, enrichers: Arc::new(enrichers) })
}

/// The shipped files, with the tables as fresh as `now`.
pub fn shipped(now: Millis) -> Result<Loaded, Failure> {
    load(None, now)
}

impl Loaded {
    pub fn service(&self) -> Result<&ServiceConfig, Failure> {
        self.checked.service.as_ref().ok_or_else(|| {
            Failure::Usage(
                "this needs a broker: give `--config DIR` with a tipstaff.yaml".to_owned(),
            )
        })
    }

    pub fn secrets(&self) -> Result<ResolvedSecrets, Failure> {
        let directory = self.directory.as_deref().unwrap_or_else(|| Path::new("."));
        self.service()?.secrets(directory).map_err(Failure::Configuration)
    }

    /// Client settings; a property that may not be set is a problem at its place in the file.
    pub fn settings(&self, secrets: &ResolvedSecrets) -> Result<Settings, Failure> {
        let mut properties = BTreeMap::new();
        for (name, value) in &secrets.kafka {
            let text = value
                .expose_text()
                .ok_or_else(|| Failure::Usage(format!("`{name}` is not text")))?;
            properties.insert(name.clone(), text.to_owned());
        }
        Settings::new(&Brokers { properties }).map_err(|error| self.refused(&error.to_string()))
    }

    fn refused(&self, message: &str) -> Failure {
        let place = self.checked.service.as_ref().and_then(|service| {
            service.kafka.iter().find(|(name, ..)| message.contains(&format!("`{name}`")))
        });
        match place {
            Some((_, at, _)) => Failure::Configuration(vec![Problem {
                at: at.clone(),
                message: message.to_owned(),
            }]),
            None => Failure::Usage(message.to_owned()),
        }
    }

    /// Fingerprint keys of the configuration; without one, keys that only serve offline work.
    pub fn keys(&self) -> Result<FingerprintKeys, Failure> {
        match &self.checked.service {
            None => offline_keys(),
            Some(_) => Ok(self.secrets()?.fingerprints),
        }
    }
}

/// Fingerprints made with these are equal on every machine and protect nothing; the shipped tables
/// of examples are filled with them.
pub fn offline_keys() -> Result<FingerprintKeys, Failure> {
    FingerprintKeys::new(("examples", b"examples-only-not-a-real-key"), None)
        .map_err(|error| Failure::Usage(error.to_string()))
}
