use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::{Handle, Runtime};
use tracing::info;

use super::facts::Kept;
use crate::case::Millis;
use crate::config::{Checked, Files, ResolvedSecrets, SERVICE_FILE, ServiceConfig, load as check};
use crate::enrich::{Enrichers, Remotes};
use crate::ingest::{Brokers, Doubt, Settings};
use crate::normalize::{FingerprintKeys, Pipelines};
use crate::observe::Metrics;
use crate::pipeline::{Active, Current};
use crate::service::Service;
use crate::text::{Problem, Problems};

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

impl Failure {
    pub(crate) fn missing(topic: &str) -> Self {
        Self::Ended(format!("topic `{topic}` does not exist: run `tipstaff topics create`"))
    }
}

/// A configuration that was read and checked as a whole.
pub struct Loaded {
    pub directory: Option<PathBuf>,
    pub files: Files,
    pub checked: Checked,
    pub enrichers: Arc<Enrichers>,
    pub in_force: InForce,
}

/// What a process works by: at first what it was started with, later what was read again.
#[derive(Clone)]
pub struct InForce {
    pub policy: Current<Active>,
    pub pipelines: Current<Pipelines>,
}

impl InForce {
    pub fn new(checked: &Checked) -> Self {
        let policy = Current::new(Active::unsigned(&checked.policy, 0));
        Self { policy, pipelines: Current::new(Arc::clone(&checked.pipelines)) }
    }
}

/// Reads everything under `directory`; without one, the files shipped inside the program.
pub fn load(directory: Option<&Path>, now: Millis) -> Result<Loaded, Failure> {
    load_files(directory.map_or_else(Files::shipped, Files::read), directory, now)
}

/// The same of files that were read already; secrets are looked for in `directory`.
pub fn load_files(files: Files, directory: Option<&Path>, now: Millis) -> Result<Loaded, Failure> {
    let checked = check(&files).map_err(Failure::Configuration)?;
    let enrichers =
        Enrichers::new(&checked.enrichers, &files, now).map_err(Failure::Configuration)?;
    let directory = directory.map(Path::to_path_buf);
    let in_force = InForce::new(&checked);
    Ok(Loaded { directory, files, checked, enrichers: Arc::new(enrichers), in_force })
}

/// The service's own file alone, whatever is wrong with the others.
pub fn service_of(directory: Option<&Path>) -> Result<ServiceConfig, Failure> {
    let files = directory.map_or_else(Files::shipped, Files::read);
    let file = files.get(SERVICE_FILE).ok_or_else(no_service)?;
    let mut problems = Problems::default();
    let service = ServiceConfig::read(&file.source, &mut problems);
    service.ok_or_else(|| Failure::Configuration(problems.into_sorted()))
}

fn no_service() -> Failure {
    Failure::Usage("this needs a broker: give `--config DIR` with a tipstaff.yaml".to_owned())
}

/// The shipped files, with the tables as fresh as `now`.
pub fn shipped(now: Millis) -> Result<Loaded, Failure> {
    load(None, now)
}

impl Loaded {
    pub fn service(&self) -> Result<&ServiceConfig, Failure> {
        self.checked.service.as_ref().ok_or_else(no_service)
    }

    pub fn secrets(&self) -> Result<ResolvedSecrets, Failure> {
        let directory = self.directory.as_deref().unwrap_or_else(|| Path::new("."));
        self.service()?.secrets(directory).map_err(Failure::Configuration)
    }

    /// Lets the enrichers ask the services that `tipstaff.yaml` names; until then they ask nobody.
    pub fn connect(&self, runtime: &Handle, metrics: &Metrics, now: Millis) -> Result<(), Failure> {
        let (files, checked) = (&self.files, &self.checked);
        let systems = checked.service.as_ref().map(|service| service.services.as_slice());
        let directory = self.directory.as_deref().unwrap_or_else(|| Path::new("."));
        let secrets = checked.service.as_ref().map(|service| service.service_secrets(directory));
        let mut secrets = secrets.transpose().map_err(Failure::Configuration)?.unwrap_or_default();
        let (mut services, mut problems) = (Vec::new(), Problems::default());
        for system in systems.unwrap_or_default() {
            let Some(secrets) = secrets.remove(&system.name) else { continue };
            match Service::new(system, secrets, &metrics.lookups) {
                Ok(service) => services.push(service),
                Err(why) => problems.add(&system.at, why),
            }
        }
        if !problems.is_empty() {
            return Err(Failure::Configuration(problems.into_sorted()));
        }
        for enricher in &checked.enrichers {
            let is_missing = |name: &&str| !services.iter().any(|s| s.name() == *name);
            for service in enricher.services().into_iter().filter(is_missing) {
                let name = &*enricher.name;
                info!(
                    enricher = name,
                    service, "no service `{service}` is configured: `{name}` does without it"
                );
            }
        }
        let remotes = Remotes::new(runtime.clone(), services, metrics.lookups.clone());
        let connected = self.enrichers.connect(&checked.enrichers, files, now, Arc::new(remotes));
        connected.map_err(Failure::Configuration)?;
        self.enrichers.rule_within(checked.policy.least_ages_ms());
        Ok(())
    }

    /// The same for a command that runs no workers, with what a process that ran here has kept, if
    /// that is wanted. What is on its way ends with what is returned.
    pub fn connect_alone(&self, now: Millis, takes_kept: bool) -> Result<Option<Runtime>, Failure> {
        let service = self.checked.service.as_ref();
        let Some(service) = service.filter(|service| !service.services.is_empty()) else {
            return Ok(None);
        };
        let runtime = runtime()?;
        let metrics = Metrics::new().map_err(|error| Failure::Ended(error.to_string()))?;
        self.connect(runtime.handle(), &metrics, now)?;
        if let Some(kept) = Kept::of(self, &service.instance).filter(|_| takes_kept) {
            kept.restore();
        }
        Ok(Some(runtime))
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
            Some((_, at, _)) => Failure::Configuration(vec![Problem::new(at.clone(), message)]),
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

/// For what waits for others: services, webhooks, metrics.
pub(super) fn runtime() -> Result<Runtime, Failure> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build();
    runtime.map_err(|error| Failure::Ended(format!("no runtime: {error}")))
}

/// Fingerprints made with these are equal on every machine and protect nothing; the shipped tables
/// of examples are filled with them.
pub fn offline_keys() -> Result<FingerprintKeys, Failure> {
    FingerprintKeys::new(("examples", b"examples-only-not-a-real-key"), None)
        .map_err(|error| Failure::Usage(error.to_string()))
}
