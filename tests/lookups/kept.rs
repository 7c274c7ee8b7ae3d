//! What a process kept serves the next one, and nothing else does.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tipstaff::enrich::{Cached, Changes, Lookup, Remotes};
use tipstaff::observe::Metrics;
use tokio::runtime::Runtime;

use crate::rig::{ENRICHER, config, pause, service, source, state};
use crate::server::{Mode, Server};

/// One process: its services, and one cache.
struct Process {
    runtime: Runtime,
    remotes: Remotes,
    cached: Arc<Cached>,
}

fn process(server: &Server, text: &str, lives: (i64, i64)) -> Process {
    let text_of = format!("url: \"{}\", allow: [127.0.0.1]", server.url());
    process_of(&text_of, text, lives)
}

fn process_of(text_of: &str, text: &str, lives: (i64, i64)) -> Process {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build().unwrap();
    let metrics = Metrics::new().unwrap();
    let asked = service(text_of, &metrics);
    let remotes = Remotes::new(runtime.handle().clone(), [asked], metrics.lookups.clone());
    let asked = remotes.service("probe").unwrap();
    let mut config = config(text);
    (config.cache.hit_ms, config.cache.stale_ms) = lives;
    let remote = source(&config, Arc::clone(&asked));
    let cached = remotes.cached(&config, &asked, &Changes::default(), remote);
    Process { runtime, remotes, cached }
}

impl Process {
    fn ask(&self, key: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(5);
        state(&self.cached.ask(&[key])[0].by(deadline))
    }
}

fn file(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("kept").join(name);
    drop(fs::remove_dir_all(&folder));
    folder.join("tipstaff-1.ndjson")
}

const LONG: (i64, i64) = (60_000, 60_000);

#[test]
fn the_next_process_begins_with_what_the_last_one_kept() {
    let server = Server::start(Mode::Right("{\"live\":true}"));
    let (path, first) = (file("next"), process(&server, ENRICHER, LONG));
    for key in ["a", "b\u{1f}c\"", "d"] {
        let key = key.replace(['\u{1f}', '"'], "-");
        assert_eq!(first.ask(&key), "known fetched");
    }
    server.turn(Mode::Status("404 Not Found"));
    assert_eq!(first.ask("gone"), "absent fetched");
    server.turn(Mode::Status("500 Broken"));
    assert_eq!(first.ask("failed"), "unknown(error) fetched");
    assert_eq!(first.remotes.restore(&path), Ok(0), "no file is no answer");
    assert_eq!(first.remotes.save(&path).unwrap(), 4);
    assert_eq!(first.remotes.save(&path).unwrap(), 4, "again, over the old one");
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no part is left");
    drop(first);
    let next = process(&server, ENRICHER, LONG);
    let before = server.requests();
    assert_eq!(next.remotes.restore(&path), Ok(4));
    for (key, expected) in [("a", "known hit"), ("d", "known hit"), ("gone", "absent hit")] {
        assert_eq!(next.ask(key), expected);
    }
    assert_eq!(server.requests(), before);
    assert_eq!(next.ask("failed"), "unknown(error) fetched", "failures are not kept");
}

#[test]
fn another_configuration_and_what_is_past_its_bound_are_left_out() {
    let server = Server::start(Mode::Right("{\"live\":true}"));
    let (path, first) = (file("other"), process(&server, ENRICHER, LONG));
    first.ask("a");
    first.remotes.save(&path).unwrap();
    let changed = ENRICHER.replace("title: What", "title: All that");
    assert_eq!(process(&server, &changed, LONG).remotes.restore(&path), Ok(0));
    let moved = Server::start(Mode::Right("{\"live\":true}"));
    assert_eq!(process(&moved, ENRICHER, LONG).remotes.restore(&path), Ok(0));
    let other = format!(
        "url: \"{}\", allow: [127.0.0.1], headers: {{X-Vault-Namespace: other}}",
        server.url()
    );
    assert_eq!(process_of(&other, ENRICHER, LONG).remotes.restore(&path), Ok(0), "asked as other");
    pause(150);
    // The file says longer than this configuration allows.
    let short = process(&server, ENRICHER, (50, 50));
    assert_eq!(short.remotes.restore(&path), Ok(0));
    let stale = process(&server, ENRICHER, (50, 60_000));
    assert_eq!(stale.remotes.restore(&path), Ok(1));
    assert_eq!(stale.ask("a"), "known stale");
}

#[test]
fn a_process_s_own_answer_is_not_replaced() {
    let server = Server::start(Mode::Right("{\"live\":true}"));
    let (path, first) = (file("own"), process(&server, ENRICHER, LONG));
    first.ask("a");
    first.remotes.save(&path).unwrap();
    server.turn(Mode::Right("{\"live\":false}"));
    let next = process(&server, ENRICHER, LONG);
    next.ask("a");
    assert_eq!(next.remotes.restore(&path), Ok(0));
}

#[test]
fn of_a_broken_file_nothing_is_taken() {
    let server = Server::start(Mode::Right("{\"live\":true}"));
    let (path, first) = (file("broken"), process(&server, ENRICHER, LONG));
    first.ask("a");
    first.ask("b");
    first.remotes.save(&path).unwrap();
    let whole = fs::read_to_string(&path).unwrap();
    let cut = whole.lines().take(2).collect::<Vec<_>>().join("\n");
    let future = whole.replace("\"as_of\":\"20", "\"as_of\":\"21");
    for (text, told) in [
        ("".to_owned(), "its first line is not that of a snapshot"),
        (whole.replace("\"v\":1", "\"v\":2"), "its first line is not that of a snapshot"),
        (cut, "it has 1 answers of 2"),
        (whole[..whole.len() - 9].to_owned(), "line 3 is not what was written"),
        (whole.replace("\"live\":true", "\"live\":7"), "line 2 is not what was written"),
        (whole.replace("\"ends\"", "\"end\""), "line 2 is not what was written"),
    ] {
        fs::write(&path, text).unwrap();
        let next = process(&server, ENRICHER, LONG);
        assert_eq!(next.remotes.restore(&path), Err(told.to_owned()));
        assert_eq!(next.cached.size().0, 0);
    }
    fs::write(&path, future).unwrap();
    let next = process(&server, ENRICHER, LONG);
    assert_eq!(next.remotes.restore(&path), Ok(0), "an answer from the future is none");
    drop(next.runtime);
}
