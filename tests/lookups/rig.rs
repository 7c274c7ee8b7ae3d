//! A service on this machine, a source that asks it, and a cache in front.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tipstaff::case::{FactRow, FactState, Millis, Type};
use tipstaff::config::{
    CacheConfig, EnricherConfig, Files, SecretFrom, ServiceConfig, SourceConfig, load,
};
use tipstaff::enrich::{Cached, Changes, HttpSource, Lookup, Remote, Sourced};
use tipstaff::observe::Metrics;
use tipstaff::service::Service;
use tipstaff::text::{Problems, Source};
use tokio::runtime::Runtime;

/// Asks `/<key>` for `{"live": …}`; 404 is absence.
pub const ENRICHER: &str = r#"
enricher: vault
title: What the vault knows of it
owner: platform-security
provides: {live: bool, used_at: time}
key: nhi.id
source:
  http:
    service: probe
    key: "(?<id>.+)"
    calls: [{id: one, get: "/{id}", absent_when: [{status: 404}]}]
    facts: {live: {path: one.live}, used_at: {path: one.used_at, optional: true}}
"#;

/// Of one enricher, as its file says.
pub fn config(text: &str) -> EnricherConfig {
    let mut files = Files::default();
    for (path, text) in [
        ("enrichers/vault/enricher.yaml", text),
        (
            "playbooks/boundary.yaml",
            "boundary: b\nowner: o\ndefault_queue: {queue: q, priority: low}\n",
        ),
    ] {
        files.insert(path, Source::new(path, text), None);
    }
    load(&files).unwrap_or_else(|problems| panic!("{problems:?}")).enrichers.remove(0)
}

pub fn source(config: &EnricherConfig, service: Arc<Service>) -> HttpSource {
    let SourceConfig::Http(source) = &config.source else { panic!("{config:?}") };
    HttpSource::new(source.clone(), &config.provides, service)
}

pub const QUICK: CacheConfig = CacheConfig {
    hit_ms: 300,
    absent_ms: 300,
    failure_ms: 200,
    stale_ms: 600,
    max_bytes: 1024 * 1024,
};

pub struct Rig {
    pub runtime: Runtime,
    pub cached: Arc<Cached>,
    pub changes: Changes,
    pub metrics: Metrics,
}

/// `services: {probe: {…}}` as it stands in a file.
pub fn read_services(text: &str) -> ServiceConfig {
    let text = format!(
        "kafka: {{bootstrap.servers: k:1}}\nfingerprint: {{id: k, key: {{env: K}}}}\n\
         services:\n  probe: {{{text}}}\n"
    );
    let mut problems = Problems::default();
    let read = ServiceConfig::read(&Source::new("tipstaff.yaml", text), &mut problems);
    let told: Vec<String> = problems.into_sorted().iter().map(ToString::to_string).collect();
    read.unwrap_or_else(|| panic!("{told:?}"))
}

/// Its secrets are where they are kept and `hunter2`.
pub fn service(text: &str, metrics: &Metrics) -> Service {
    let read = read_services(text);
    let kept = |from: &SecretFrom| Ok(format!("{from:?}-hunter2").replace(['"', '(', ')'], ""));
    let secrets = read.resolve_services(&kept, &mut Problems::default()).remove("probe").unwrap();
    Service::new(&read.services[0], secrets, &metrics.lookups).unwrap()
}

impl Rig {
    /// `text` is what stands in the service's braces.
    pub fn new(text: &str, cache: CacheConfig) -> Self {
        let metrics = Metrics::new().unwrap();
        let service = Arc::new(service(text, &metrics));
        Self::with(source(&config(ENRICHER), service), cache, metrics)
    }

    pub fn with(remote: impl Remote, cache: CacheConfig, metrics: Metrics) -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().unwrap();
        let changes = Changes::default();
        let rows = Sourced {
            enricher: "vault".into(),
            source: "http:probe".into(),
            version: "1".into(),
            provides: vec![("live".to_owned(), Type::Bool), ("used_at".to_owned(), Type::Time)],
        };
        let own = metrics.lookups.cache("vault", "probe");
        let shared = (runtime.handle().clone(), changes.clone(), own);
        let cached = Arc::new(Cached::new(rows, cache, remote, shared));
        Self { runtime, cached, changes, metrics }
    }

    /// The row that is there after at most so many milliseconds.
    pub fn ask_for(&self, key: &str, milliseconds: u64) -> Arc<FactRow> {
        let deadline = Instant::now() + Duration::from_millis(milliseconds);
        self.cached.ask(&[key])[0].by(deadline)
    }

    pub fn ask(&self, key: &str) -> Arc<FactRow> {
        self.ask_for(key, 5000)
    }

    /// A metric's value by its line's beginning.
    pub fn metric(&self, line: &str) -> u64 {
        let text = self.metrics.text();
        let found = text.lines().find(|each| each.starts_with(line));
        let value = found.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        value.map_or(0, |value| value as u64)
    }
}

pub fn state(row: &FactRow) -> String {
    let state = match row.state {
        FactState::Unknown(why) => format!("unknown({})", why.code()),
        other => other.code().to_owned(),
    };
    let cache = row.cache.map_or(String::new(), |cache| format!(" {}", cache.code()));
    format!("{state}{cache}")
}

pub fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Millis(i64::try_from(since.as_millis()).unwrap())
}

pub fn pause(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}

/// Looks again until it is so.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < end, "{what} did not come about");
        pause(5);
    }
}
