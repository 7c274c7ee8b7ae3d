//! What a chain leaves behind, and a process that begins where another one ended.

use std::fs::File;
use std::io::{BufWriter, Seek, Write};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tipstaff::audit::{Chain, Committed, Folded, Link, Picked, Resume, resume};
use tipstaff::case::Millis;
use tipstaff::config::Files;
use tipstaff::correlate::State;
use tipstaff::observe::Metrics;
use tipstaff::pipeline::{Lane, Outbox};
use tipstaff::text::Source;

use crate::cached;
use crate::cpu::cpu;
use crate::load::{Load, loaded};
use crate::{CHAIN, Stream, cases, terms};

/// A chain from its last snapshot on, where it takes no memory: each record behind its length.
pub struct Tail {
    file: BufWriter<File>,
    pub snapshot_bytes: usize,
}

impl Tail {
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(format!("tipstaff-flood-{}", std::process::id()));
        let file = File::options().create_new(true).read(true).write(true).open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        Self { file: BufWriter::new(file), snapshot_bytes: 0 }
    }

    pub fn add(&mut self, value: &[u8]) {
        let text = std::str::from_utf8(value).unwrap();
        if text.contains("\"kind\":\"snapshot\"") {
            if !text.contains("\"part\":") {
                self.file.rewind().unwrap();
                self.file.get_ref().set_len(0).unwrap();
                self.snapshot_bytes = 0;
            }
            self.snapshot_bytes += value.len();
        }
        self.file.write_all(&value.len().to_le_bytes()).unwrap();
        self.file.write_all(value).unwrap();
    }

    /// Where another process can read it.
    fn path(&mut self) -> String {
        self.file.flush().unwrap();
        format!("/proc/{}/fd/{}", std::process::id(), self.file.get_ref().as_raw_fd())
    }

    fn links(bytes: &[u8]) -> Vec<Link<'_>> {
        let mut rest = bytes;
        let mut links = Vec::new();
        while !rest.is_empty() {
            let (length, behind) = rest.split_at(size_of::<usize>());
            let length = usize::from_le_bytes(length.try_into().unwrap());
            let (bytes, behind) = behind.split_at(length);
            links.push(Link { offset: links.len() as i64, bytes });
            rest = behind;
        }
        links
    }
}

/// What a process measures that begins where another one ended.
#[derive(Serialize, Deserialize)]
pub struct Restart {
    /// Until an alert is ruled: policy and tables are read, chains restored.
    pub first_ruling_ms: u128,
    pub restore_ms: u128,
    pub records: usize,
    /// Policy and tables.
    pub mib_before: u64,
    pub mib: u64,
    pub peak_mib: u64,
    pub mib_with_cache: u64,
    digests: String,
}

impl Restart {
    pub fn of(load: &Load, (lanes, tails): (&[Lane], &mut [Tail]), at: Millis) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--restart", &load.now.0.to_string(), &at.0.to_string()])
            .args(tails.iter_mut().map(Tail::path))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let files = load.loaded.files.iter();
        let files: Vec<(&str, &str)> =
            files.map(|(path, file)| (path, file.source.text.as_ref())).collect();
        let message = serde_json::to_string(&Stream::of(load).alert(0, 0)).unwrap();
        serde_json::to_writer(process.stdin.take().unwrap(), &(files, message)).unwrap();
        let output = process.wait_with_output().unwrap();
        let restart: Self = serde_json::from_slice(&output.stdout).unwrap();
        let states = lanes.iter().map(|lane| lane.state().clone());
        let digests: String = states.map(|mut state| digest(&mut state, at)).collect();
        assert_eq!(restart.digests, digests, "another state");
        restart
    }

    /// The other process.
    pub fn measure(now: Millis, at: Millis, paths: &[String]) -> Self {
        let (texts, message): (Vec<(String, String)>, String) =
            serde_json::from_reader(std::io::stdin().lock()).unwrap();
        let mut files = Files::default();
        for (path, text) in texts {
            files.insert(&path, Source::new(path.clone(), text), Some(now));
        }
        let began = cpu();
        let loaded = loaded(files, now);
        let (read, mib_before) = (cpu() - began, memory("VmRSS:"));
        let Restored { mut lanes, records, digests, time: restore } = Restored::of(paths, at);
        let (terms, mut sent) = (terms(&loaded), Vec::new());
        let began = cpu();
        let message = [(i64::MAX - 1, message.as_bytes())].into_iter();
        for case in cases((&terms, &loaded.enrichers), message, at) {
            lanes[0].rule(&terms, &case, at, &mut Outbox::memory(&mut sent));
        }
        let first = cpu() - began;
        Self {
            first_ruling_ms: (read + restore + first).as_millis(),
            restore_ms: restore.as_millis(),
            records,
            mib_before,
            mib: memory("VmRSS:"),
            peak_mib: memory("VmHWM:"),
            mib_with_cache: with_cache(&lanes),
            digests,
        }
    }
}

#[derive(Default)]
struct Restored {
    lanes: Vec<Lane>,
    records: usize,
    digests: String,
    time: Duration,
}

impl Restored {
    /// One after another, as a worker does it.
    fn of(paths: &[String], at: Millis) -> Self {
        let mut all = Self::default();
        for (partition, path) in (0..).zip(paths) {
            let bytes = std::fs::read(path).unwrap();
            let links = Tail::links(&bytes);
            all.records += links.len();
            let began = cpu();
            let committed = Committed::default();
            let Resume::Picked(picked) = resume::<State>(CHAIN, &links, true, &committed) else {
                panic!("there is nothing to go on from");
            };
            all.time += cpu() - began;
            drop(links);
            drop(bytes);
            let Picked { head, mut state, .. } = *picked;
            all.digests += &digest(&mut state, at);
            all.lanes.push(Lane::new(partition, Chain::new(CHAIN, Some(head)), state));
        }
        all
    }
}

/// MiB, with the facts of as many identities in a cache.
fn with_cache(lanes: &[Lane]) -> u64 {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build().unwrap();
    let (owner, metrics) = (&cached::checked(cached::WITH).enrichers[0], Metrics::new().unwrap());
    let cached = cached::cached(owner, &Arc::default(), &metrics, runtime.handle());
    cached::fill(&cached);
    assert_eq!((cached.size().0, lanes.is_empty()), (cached::NHIS as u64, false));
    memory("VmRSS:")
}

fn digest(state: &mut State, at: Millis) -> String {
    let mut hash = Sha256::new();
    state.snapshot(at).iter().for_each(|part| hash.update(part));
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// MiB.
pub fn memory(what: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}
