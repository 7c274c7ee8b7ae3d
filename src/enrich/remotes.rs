use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};
use tokio::runtime::Handle;

use super::answer::{Answer, Changes};
use super::cache::{Cached, wall_clock};
use super::http::parts_of;
use super::remote::Remote;
use super::{Lookup, Sourced};
use crate::case::{FactState, Why, hex};
use crate::config::{EnricherConfig, HttpConfig, SourceConfig, Unlike};
use crate::observe::LookupMetrics;
use crate::service::Service;

/// What it takes to ask others over the network: the services of this deployment, and the caches in
/// front of them, which outlive the enrichers that use them.
pub struct Remotes {
    runtime: Handle,
    services: BTreeMap<String, Arc<Service>>,
    metrics: LookupMetrics,
    caches: Mutex<Vec<Arc<Cached>>>,
    /// A key was purged: what is kept in a file has to be written again.
    is_outdated: AtomicBool,
}

impl Remotes {
    pub fn new(
        runtime: Handle,
        services: impl IntoIterator<Item = Service>,
        metrics: LookupMetrics,
    ) -> Self {
        let services = services.into_iter();
        let services = services.map(|service| (service.name().to_owned(), Arc::new(service)));
        Self {
            runtime,
            services: services.collect(),
            metrics,
            caches: Mutex::default(),
            is_outdated: AtomicBool::new(false),
        }
    }

    pub fn service(&self, name: &str) -> Option<Arc<Service>> {
        self.services.get(name).cloned()
    }

    /// The cache in front of one remote source of an enricher: the one that is there, if it is of
    /// the same configuration, so that it outlives tables that are read again beside it.
    pub fn cached<R: Remote>(
        &self,
        config: &EnricherConfig,
        service: &Service,
        changes: &Changes,
        remote: R,
    ) -> Arc<Cached> {
        let version = version(&[&config.digest, service.name(), service.identity()]);
        let rows = Sourced {
            enricher: Arc::clone(&config.name),
            source: format!("http:{}", service.name()).into(),
            version,
            provides: config.provides.clone(),
        };
        let mut caches = self.caches();
        let is_same = |cached: &&Arc<Cached>| {
            let known = cached.rows();
            (&known.enricher, &known.version) == (&rows.enricher, &rows.version)
        };
        if let Some(cached) = caches.iter().find(is_same) {
            return Arc::clone(cached);
        }
        let metrics = self.metrics.cache(&config.name, service.name());
        let shared = (self.runtime.clone(), changes.clone(), metrics);
        let cached = Arc::new(Cached::new(rows, config.cache, remote, shared));
        caches.push(Arc::clone(&cached));
        cached
    }

    pub(super) fn caches(&self) -> MutexGuard<'_, Vec<Arc<Cached>>> {
        self.caches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn has_changed(&self) {
        self.is_outdated.store(true, Ordering::Release);
    }

    /// Whether something was purged since this was asked last.
    pub fn was_purged(&self) -> bool {
        self.is_outdated.swap(false, Ordering::AcqRel)
    }

    /// Brings the gauges of the caches up to date.
    pub fn observe(&self) {
        let mut sizes: BTreeMap<Arc<str>, (u64, u64)> = BTreeMap::new();
        let caches = self.caches();
        for cached in caches.iter() {
            let size = sizes.entry(Arc::clone(&cached.rows().enricher)).or_default();
            let (entries, bytes) = cached.size();
            *size = (size.0 + entries, size.1 + bytes);
        }
        for cached in caches.iter() {
            if let Some((entries, bytes)) = sizes.get(&cached.rows().enricher) {
                cached.metrics().entries.set(i64::try_from(*entries).unwrap_or(i64::MAX));
                cached.metrics().bytes.set(i64::try_from(*bytes).unwrap_or(i64::MAX));
            }
        }
    }
}

/// Each part with its length in front, so that no two configurations hash alike.
fn version(parts: &[&str]) -> Arc<str> {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hex(&hash.finalize()).chars().take(16).collect::<String>().into()
}

/// A source whose service this deployment does not have.
pub(super) struct Unconfigured {
    rows: Sourced,
    told: String,
    /// Where it says of which keys the service has nothing.
    http: Option<HttpConfig>,
}

impl Unconfigured {
    pub fn new(config: &EnricherConfig, service: &str) -> Self {
        let rows = Sourced {
            enricher: Arc::clone(&config.name),
            source: format!("http:{service}").into(),
            version: Arc::clone(&config.digest),
            provides: config.provides.clone(),
        };
        let http = match &config.source {
            SourceConfig::Http(source) if source.unlike == Unlike::Absent => Some(source.clone()),
            _ => None,
        };
        Self { rows, told: format!("no service `{service}` is configured"), http }
    }
}

impl Lookup for Unconfigured {
    fn ask(&self, keys: &[&str]) -> Vec<Answer> {
        let told = (None, Some(self.told.as_str()));
        let row = |key: &&str| match &self.http {
            Some(http) if parts_of(http, key).is_none() => {
                let absent = (FactState::Absent, Vec::new());
                self.rows.row(key, absent, Some(wall_clock()), (None, None))
            }
            _ => self.rows.unknown(key, Why::Error, told),
        };
        keys.iter().map(|key| Answer::Now(row(key))).collect()
    }
}
