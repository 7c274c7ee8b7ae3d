//! Whether what an alert costs grows with the partitions of one worker, or with the NHIs in one
//! table. In turns, each in a process of its own, by the CPU time of its thread.

use std::process::{Command, Stdio};
use std::slice;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tipstaff::audit::Chain;
use tipstaff::case::Millis;
use tipstaff::config::{self, Files};
use tipstaff::correlate::State;
use tipstaff::enrich::Enrichers;
use tipstaff::pipeline::{Lane, Outbox, look_up};
use tipstaff::text::Source;

use crate::cpu::cpu;
use crate::load::Load;
use crate::restart::memory;
use crate::{BATCH, CHAIN, Flow, LOOKUP, PER_SECOND, Stream, read, run, terms};

const NOW: Millis = Millis(1_767_225_600_000);
const ONE_PROCESS: &str = "--growth-of";
const LANES: [u64; 3] = [1, 2, 4];
/// Of each partition.
const ALERTS: u64 = 50_000;
const ALERTS_OF_AN_NHI: u64 = 4;
/// States of one partition, and rows of tables, by which memory is measured.
const STATES: u64 = 16;
const ROWS: u64 = 1_000_000;
const KEYS: [u64; 3] = [10_000, 100_000, 1_000_000];
/// About as many NHIs, whatever the table holds: only the table differs.
const PASS: u64 = 10_000;
const PASSES: u64 = 6;
/// Has no factor in common with the numbers of keys, so that it reaches all of them.
const STRIDE: u64 = 7919;
const OWNERS: &str = "enrichers/owner/owners.csv";

/// Whether this was asked for, and is done.
pub fn is_asked(given: &[String]) -> bool {
    if let [first, what, size, share] = given
        && first == ONE_PROCESS
    {
        one(what, size.parse().unwrap(), share.parse().unwrap());
        return true;
    }
    let has = |name: &str| given.iter().position(|each| each == name);
    if has("--growth").is_none() {
        return false;
    }
    let share = if has("--short").is_some() { 4 } else { 1 };
    let rounds = has("--rounds").map_or(3, |at| given[at + 1].parse().unwrap());
    partitions(rounds, ALERTS / share);
    tables(rounds, (PASSES / share).max(1));
    true
}

fn one(what: &str, size: u64, share: u64) {
    let measured = match what {
        "partitions" => serde_json::to_string(&Partitions::measure(size, share)),
        _ => serde_json::to_string(&Table::measure(size, share)),
    };
    println!("{}", measured.unwrap());
}

/// For each size what each round measured.
fn rounds<T: for<'de> Deserialize<'de>>(
    rounds: usize,
    what: &str,
    sizes: [u64; 3],
    share: u64,
) -> [Vec<T>; 3] {
    let mut all: [Vec<T>; 3] = Default::default();
    for _ in 0..rounds {
        for (size, all) in sizes.iter().zip(&mut all) {
            let output = Command::new(std::env::current_exe().unwrap())
                .args([ONE_PROCESS, what, &size.to_string(), &share.to_string()])
                .stderr(Stdio::inherit())
                .output()
                .unwrap();
            eprint!("{what} {size}: {}", String::from_utf8_lossy(&output.stdout));
            all.push(serde_json::from_slice(&output.stdout).unwrap());
        }
    }
    all
}

/// Of one number the median, and how many times the first size's it is.
fn growth<T>(all: &[Vec<T>; 3], number: impl Fn(&T) -> f64) -> [(f64, f64); 3] {
    let median = |of: &Vec<T>| {
        let mut numbers: Vec<f64> = of.iter().map(&number).collect();
        numbers.sort_by(f64::total_cmp);
        numbers[numbers.len() / 2]
    };
    let medians = all.each_ref().map(median);
    medians.map(|each| (each, each / medians[0]))
}

/// MiB of one. So many at once that what was free before does not count.
fn mib_of<T>(copies: u64, mut one: impl FnMut() -> T) -> f64 {
    let before = memory("VmRSS:");
    let all: Vec<T> = (0..copies).map(|_| one()).collect();
    let taken = memory("VmRSS:").saturating_sub(before);
    drop(all);
    taken as f64 / copies as f64
}

#[derive(Serialize, Deserialize)]
struct Partitions {
    alert_ns: f64,
    cases: f64,
    state_mib: f64,
    resident_mib: f64,
}

impl Partitions {
    fn measure(lanes: u64, alerts_each: u64) -> Self {
        let load = Load::new(NOW, 0);
        let (alerts, nhis) = (alerts_each * lanes, alerts_each * lanes / ALERTS_OF_AN_NHI);
        let flow = Flow {
            alerts,
            identity: &|n| crate::mixed(n) % nhis,
            lanes: lanes as i32,
            per_second: PER_SECOND * lanes as i64,
        };
        let came = run(&load, &flow);
        let resident = memory("VmRSS:") as f64;
        let states = || came.lanes.iter().map(|lane| lane.state().clone());
        Self {
            alert_ns: came.ruling.as_nanos() as f64 / alerts as f64,
            cases: came.cases() as f64,
            state_mib: mib_of(STATES / lanes, || states().collect::<Vec<_>>()),
            resident_mib: resident,
        }
    }
}

fn partitions(count: usize, alerts_each: u64) {
    let all: [Vec<Partitions>; 3] = rounds(count, "partitions", LANES, alerts_each);
    let alert = growth(&all, |each| each.alert_ns);
    let (cases, state) = (growth(&all, |each| each.cases), growth(&all, |each| each.state_mib));
    let resident = growth(&all, |each| each.resident_mib);
    println!(
        "\n| partitions in one worker | alerts | CPU ns an alert | of one | cases | state, MiB | of one's | resident, MiB |"
    );
    println!("|{}", " ---: |".repeat(8));
    for (at, lanes) in LANES.iter().enumerate() {
        let ((alert, of_alert), (state, of_state)) = (alert[at], state[at]);
        println!(
            "| {lanes} | {} | {alert:.0} | {of_alert:.2} | {:.0} | {state:.0} | {of_state:.2} | {:.0} |",
            lanes * alerts_each,
            cases[at].0,
            resident[at].0,
        );
    }
}

#[derive(Serialize, Deserialize)]
struct Table {
    text_mib: f64,
    read_ms: f64,
    mib: f64,
    lookup_ns: f64,
    alert_ns: f64,
}

impl Table {
    /// Taken up as a table is that has changed while the process runs.
    fn measure(keys: u64, passes: u64) -> Self {
        let text = owners(keys);
        let text_mib = text.len() as f64 / f64::from(1 << 20);
        let mut files = Files::shipped();
        files.insert(OWNERS, Source::new(OWNERS, text), Some(NOW));
        let checked = config::load(&files).unwrap();
        let owner = checked.enrichers.iter().find(|each| &*each.name == "owner").unwrap();
        let (copies, mut read) = (ROWS / keys, Duration::ZERO);
        let mib = mib_of(copies, || {
            let began = cpu();
            let one = Enrichers::new(slice::from_ref(owner), &files, NOW).unwrap();
            read += cpu() - began;
            one
        });
        let load = Load::new(NOW, 0);
        load.loaded.enrichers.renew(owner, &files, NOW).unwrap();
        let (mut lookup, mut alert) = (Duration::ZERO, Duration::ZERO);
        let stream = Stream::of(&load);
        for pass in 0..passes {
            let (looked_up, whole) = self::pass(&load, &stream, (pass, keys));
            lookup += looked_up;
            alert += whole;
        }
        let each = |time: Duration| time.as_nanos() as f64 / (passes * PASS) as f64;
        Self {
            text_mib,
            read_ms: read.as_secs_f64() * 1e3 / copies as f64,
            mib,
            lookup_ns: each(lookup),
            alert_ns: each(alert),
        }
    }
}

fn owners(keys: u64) -> String {
    let head = "nhi_id,team,person,on_call,tier,environment,lifecycle\n".to_owned();
    let row = |n: u64| {
        let (team, tier) = (n % 90, n % 4);
        format!(
            "flood:service-{n:06},team-{team},Ada Example,team-{team}-oncall,{tier},staging,active\n"
        )
    };
    std::iter::once(head).chain((0..keys).map(row)).collect()
}

/// Time of the lookups, and all of it.
fn pass(load: &Load, stream: &Stream<'_>, (pass, keys): (u64, u64)) -> (Duration, Duration) {
    let terms = terms(&load.loaded);
    let mut lane = Lane::new(0, Chain::new(CHAIN, None), State::default());
    let (mut lookup, mut whole) = (Duration::ZERO, Duration::ZERO);
    for from in (0..PASS).step_by(BATCH as usize) {
        let message = |n: u64| {
            let alert = stream.alert(n, (pass * PASS + n) * STRIDE % keys);
            (n as i64, serde_json::to_vec(&alert).unwrap())
        };
        let messages: Vec<(i64, Vec<u8>)> = (from..from + BATCH).map(message).collect();
        let mut sent = Vec::new();
        let mut out = Outbox::memory(&mut sent);
        let began = cpu();
        let each = messages.iter().map(|(offset, bytes)| (*offset, bytes.as_slice()));
        let mut cases = read(each, NOW);
        let asked = cpu();
        look_up(&terms, &load.loaded.enrichers, &mut cases, Instant::now() + LOOKUP);
        lookup += cpu() - asked;
        for case in &cases {
            lane.rule(&terms, case, NOW, &mut out);
        }
        whole += cpu() - began;
    }
    (lookup, whole)
}

fn tables(count: usize, passes: u64) {
    let all: [Vec<Table>; 3] = rounds(count, "table", KEYS, passes);
    let (read, mib) = (growth(&all, |each| each.read_ms), growth(&all, |each| each.mib));
    let lookup = growth(&all, |each| each.lookup_ns);
    let alert = growth(&all, |each| each.alert_ns);
    println!(
        "\n| NHIs in the table of owners | file, MiB | read in, CPU ms | µs a row | memory, MiB | bytes a row | lookups, CPU ns an alert | of the smallest | CPU ns an alert | of the smallest's |"
    );
    println!("|{}", " ---: |".repeat(10));
    for (at, keys) in KEYS.iter().enumerate() {
        let ((lookup, of_lookup), (alert, of_alert)) = (lookup[at], alert[at]);
        let ((read, _), (mib, _)) = (read[at], mib[at]);
        println!(
            "| {keys} | {:.1} | {read:.0} | {:.2} | {mib:.0} | {:.0} | {lookup:.0} | {of_lookup:.2} | {alert:.0} | {of_alert:.2} |",
            all[at][0].text_mib,
            read * 1e3 / *keys as f64,
            mib * f64::from(1 << 20) / *keys as f64,
        );
    }
}
