//! A service on this machine, a source that asks it, and a cache in front.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tipstaff::case::{FactRow, FactState, Millis, Type, Value};
use tipstaff::config::{CacheConfig, SecretFrom, ServiceConfig};
use tipstaff::enrich::{
    BoxFuture, Cached, Call, Changes, Failure, Fault, Found, Lookup, Remote, Service, Sourced,
};
use tipstaff::observe::Metrics;
use tipstaff::text::{Problems, Source};
use tokio::runtime::Runtime;

/// Asks `/<key>` for `{"live": bool}`; 404 is absence.
pub struct Asks(pub Arc<Service>);

impl Remote for Asks {
    fn fetch<'r>(&'r self, key: &'r str) -> BoxFuture<'r, Result<Found, Failure>> {
        Box::pin(async move {
            let call = Call {
                method: reqwest::Method::GET,
                path: format!("/{key}"),
                headers: Vec::new(),
                body: None,
            };
            let reply = self.0.send(call).await?;
            let failure = |fault, detail: &str| Failure {
                fault,
                detail: detail.to_owned(),
                retry_after: None,
            };
            match reply.status {
                404 => return Ok(Found::Absent),
                200 => {}
                status => return Err(failure(Fault::Status, &format!("the answer was {status}"))),
            }
            let body: serde_json::Value = serde_json::from_slice(&reply.body)
                .map_err(|_| failure(Fault::Malformed, "the answer is no JSON"))?;
            let live = body["live"].as_bool();
            let live = live.ok_or_else(|| failure(Fault::Malformed, "`live` is no flag"))?;
            Ok(Found::Known(vec![Value::Bool(live), Value::Absent]))
        })
    }
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
        Self::with(Asks(service), cache, metrics)
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
