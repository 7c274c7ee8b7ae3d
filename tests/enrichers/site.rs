use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tipstaff::app::{Loaded, load, system_clock};
use tipstaff::case::{FactRow, FactState};
use tipstaff::observe::Metrics;
use tokio::runtime::Runtime;

/// The shipped files, with services.
pub struct Site {
    directory: PathBuf,
    loaded: Loaded,
    _runtime: Runtime,
}

pub struct ServiceFile<'s> {
    pub name: &'s str,
    pub url: &'s str,
    /// What else stands in its braces.
    pub config: &'s str,
    pub secret: &'s str,
}

/// A process has several.
static SITES: AtomicUsize = AtomicUsize::new(0);

impl Site {
    /// `tables` are written over the shipped ones, by path from the root.
    pub fn new(services: &[ServiceFile<'_>], tables: &[(&str, &str)]) -> Self {
        let number = SITES.fetch_add(1, Ordering::Relaxed);
        let name = format!("tipstaff-enrichers-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        copy(&root.join("enrichers"), &directory.join("enrichers"));
        for (path, text) in tables {
            std::fs::write(directory.join(path), text).unwrap();
        }
        let root = root.display();
        let mut text = format!(
            "kafka: {{bootstrap.servers: 127.0.0.1:9}}\n\
             fingerprint: {{id: t1, key: {{env: TIPSTAFF_FINGERPRINT_KEY}}}}\n\
             paths: {{pipelines: {root}/pipelines, playbooks: {root}/playbooks}}\n"
        );
        for (index, service) in services.iter().enumerate() {
            let ServiceFile { name, url, config, secret } = service;
            text.push_str(if index == 0 { "services:\n" } else { "" });
            text.push_str(&format!(
                "  {name}: {{url: \"{url}\", allow: [127.0.0.1, \"::1\"], {config}, \
                 limits: {{timeout: 10s, retries: 0, breaker: {{failures: 99}}}}}}\n"
            ));
            std::fs::write(directory.join(name), secret).unwrap();
        }
        std::fs::write(directory.join("tipstaff.yaml"), text).unwrap();
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().unwrap();
        let now = system_clock()();
        let loaded = load(Some(&directory), now).unwrap_or_else(|failure| panic!("{failure}"));
        let metrics = Metrics::new().unwrap();
        loaded
            .connect(runtime.handle(), &metrics, now)
            .unwrap_or_else(|failure| panic!("{failure}"));
        Self { directory, loaded, _runtime: runtime }
    }

    /// Asked for anew, whatever was kept.
    pub fn fact(&self, enricher: &str, key: &[&str]) -> Arc<FactRow> {
        let key = tipstaff::enrich::joined(key);
        assert!(self.loaded.enrichers.forget(enricher, &key));
        let until = Instant::now() + Duration::from_secs(20);
        self.loaded.enrichers.fact(enricher, &key, until).unwrap()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.directory).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

pub fn state(row: &FactRow) -> String {
    match row.state {
        FactState::Unknown(why) => format!("unknown({})", why.code()),
        other => other.code().to_owned(),
    }
}
