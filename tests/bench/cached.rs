//! A cache in front of a source that takes 20 ms, and facts of 100,000 NHIs in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tipstaff::app::system_clock;
use tipstaff::case::{FactState, Value};
use tipstaff::config::{CacheConfig, Checked, EnricherConfig, Files, load};
use tipstaff::enrich::{BoxFuture, Cached, Changes, Found, Lookup, Remote, Sourced};
use tipstaff::observe::Metrics;
use tipstaff::service::Failure;
use tipstaff::text::Source;
use tokio::sync::Semaphore;

pub const NHIS: usize = 100_000;
pub const AT_ONCE: usize = 256;

/// Answers after 20 ms, so many at once.
struct Slow {
    calls: Arc<AtomicU64>,
    turns: Semaphore,
}

impl Remote for Slow {
    fn fetch<'r>(&'r self, key: &'r str) -> BoxFuture<'r, Result<Found, Failure>> {
        Box::pin(async move {
            let _turn = self.turns.acquire().await;
            self.calls.fetch_add(1, Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
            let text = |text: String| Value::Text(text.into());
            Ok(Found::Known(vec![
                text("platform-security".to_owned()),
                text("1".to_owned()),
                text(format!("{key}@example.com")),
                Value::Time(system_clock()()),
                Value::Bool(false),
            ]))
        })
    }
}

const ENRICHER: &str = "enricher: owner\ntitle: T\nowner: o\n\
    provides: {team: text, tier: text, on_call: text, since: time, is_critical: bool}\n\
    key: nhi.id\nsource: {table: {file: t.csv, key: id}}\n";

pub const WITH: &str = "facts: {owner: {max_age: 1h}}\n\
    rules:\n  - id: first\n    when: ['owner.tier == \"0\"']\n    on_unknown: next\n\
    \x20   route: {queue: first, priority: critical}\n  - id: otherwise\n\
    \x20   route: {queue: people, priority: high}\n";

pub fn checked(rules: &str) -> Checked {
    let playbook = format!(
        "playbook: p\ntitle: T\nowner: o\nmode: live\non: {{kind: exposed_key}}\n\
         controls: {{nist_csf: [RS.MA-02]}}\n{rules}"
    );
    let boundary = "boundary: b\nowner: o\ndefault_queue: {queue: q, priority: low}\n";
    let mut files = Files::default();
    for (path, text) in [
        ("playbooks/p.yaml", playbook.as_str()),
        ("playbooks/boundary.yaml", boundary),
        ("enrichers/owner/enricher.yaml", ENRICHER),
        ("enrichers/owner/t.csv", "id,team,tier,on_call,since,is_critical\n"),
    ] {
        files.insert(path, Source::new(path, text), None);
    }
    load(&files).unwrap_or_else(|problems| panic!("{problems:?}"))
}

pub fn cached(
    owner: &EnricherConfig,
    calls: &Arc<AtomicU64>,
    metrics: &Metrics,
    runtime: &tokio::runtime::Handle,
) -> Arc<Cached> {
    let rows = Sourced {
        enricher: Arc::clone(&owner.name),
        source: "http:catalog".into(),
        version: "0123456789abcdef".into(),
        provides: owner.provides.clone(),
    };
    let config = CacheConfig { max_bytes: 1 << 30, ..CacheConfig::default() };
    let remote = Slow { calls: Arc::clone(calls), turns: Semaphore::new(AT_ONCE) };
    let shared = (runtime.clone(), Changes::default(), metrics.lookups.cache("owner", "catalog"));
    Arc::new(Cached::new(rows, config, remote, shared))
}

pub fn nhi(number: usize) -> String {
    format!("aws:111122223333:role/service-{number:06}")
}

pub fn fill(cached: &Cached) {
    let keys: Vec<String> = (0..NHIS).map(nhi).collect();
    for part in keys.chunks(5000) {
        let part: Vec<&str> = part.iter().map(String::as_str).collect();
        let until = Instant::now() + Duration::from_secs(60);
        for answer in cached.ask(&part) {
            assert_eq!(answer.by(until).state, FactState::Known);
        }
    }
}
