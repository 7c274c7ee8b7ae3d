//! Where the time of one alert goes, on one thread and without a broker.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tipstaff::audit::{Appended, Chain, Record, finding, outputs, record_hash};
use tipstaff::case::{Arrival, Counters, Id, Millis, write_json};
use tipstaff::correlate::State;
use tipstaff::decide::{Inputs, decide};
use tipstaff::normalize::{partition_key, partition_of};
use tipstaff::pipeline::{Active, Case, Identity, Lane, Outbox, Sent, Terms, Topics, look_up};

use crate::load::{Load, PARTITIONS};

const ALERTS: u64 = 20_000;
const BATCH: usize = 4000;
const ROUNDS: usize = 7;

/// What one alert is and becomes, on average.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shape {
    /// Bytes of key and value.
    pub message_bytes: f64,
    pub alert_bytes: f64,
    pub alerts_per_message: f64,
    pub decision_bytes: f64,
    /// Cases, actions and dead letters for one alert, and the bytes of one of them.
    pub others: f64,
    pub other_bytes: f64,
}

pub fn terms(load: &Load, topics: Topics) -> Terms {
    Terms {
        active: Active::unsigned(&load.loaded.checked.policy, 1),
        topics,
        identity: Identity { instance: "bench".to_owned() },
        findings: false,
    }
}

pub struct Micro<'l> {
    load: &'l Load,
    terms: Terms,
    lines: Vec<Vec<u8>>,
    pub shape: Shape,
}

impl<'l> Micro<'l> {
    pub fn new(load: &'l Load) -> Self {
        let mut message_bytes = 0;
        let mut lines = Vec::new();
        let mut keys = 0;
        for n in 0..ALERTS {
            message_bytes += load.events.get(n).value.len();
            for arrival in load.arrivals(n) {
                keys += partition_key(&arrival).len();
                lines.push(serde_json::to_vec(&arrival).unwrap());
            }
        }
        let alerts = lines.len() as f64;
        let alert_bytes = (lines.iter().map(Vec::len).sum::<usize>() + keys) as f64 / alerts;
        let mut micro = Self {
            load,
            terms: terms(load, Topics::new("bench", PARTITIONS)),
            lines,
            shape: Shape::default(),
        };
        let sent = micro.rule_all();
        let bytes = |is_decision: bool| {
            let of = sent.iter().filter(|s| (s.topic == "bench.decisions") == is_decision);
            let sizes = of
                .map(|s| s.key.as_ref().map_or(0, Vec::len) + s.value.as_ref().map_or(0, Vec::len));
            let sizes: Vec<usize> = sizes.collect();
            (sizes.len() as f64, sizes.iter().sum::<usize>() as f64)
        };
        let ((_, decisions), (count, others)) = (bytes(true), bytes(false));
        micro.shape = Shape {
            message_bytes: message_bytes as f64 / ALERTS as f64,
            alert_bytes,
            alerts_per_message: alerts / ALERTS as f64,
            decision_bytes: decisions / alerts,
            others: count / alerts,
            other_bytes: others / count,
        };
        micro
    }

    /// Each topic that is written to: records for one alert, and the bytes of one of them. Of the
    /// second half of the alerts, when most cases are open.
    pub fn outputs(&self) -> BTreeMap<String, (f64, f64)> {
        let (sent, half) = (self.rule_all(), self.lines.len() / 2);
        let is_decision = |sent: &Sent| sent.topic == "bench.decisions";
        let ruled = sent.iter().filter(|sent| is_decision(sent)).count();
        let mut before = 0;
        let first = sent.iter().position(|sent| {
            before += usize::from(is_decision(sent));
            before > half
        });
        per_alert(&sent[first.unwrap()..], ruled - half, &|sent| sent.topic.clone())
    }

    fn cases(&self) -> Vec<Case<'_>> {
        let case = |(offset, _): (i64, &Vec<u8>)| Case {
            bytes: &[],
            offset,
            received_at: self.load.now,
            arrival: None,
            facts: Vec::new(),
        };
        (0..).zip(&self.lines).map(case).collect()
    }

    fn read(&self) -> Vec<Case<'_>> {
        let mut cases = self.cases();
        for (case, line) in cases.iter_mut().zip(&self.lines) {
            case.arrival = Arrival::parse(line);
        }
        cases
    }

    fn looked_up(&self) -> Vec<Case<'_>> {
        let mut cases = self.read();
        self.look_up(&mut cases);
        cases
    }

    fn look_up(&self, cases: &mut [Case<'_>]) {
        let until = Instant::now() + Duration::from_secs(60);
        for batch in cases.chunks_mut(BATCH) {
            look_up(&self.terms, &self.load.loaded.enrichers, batch, until);
        }
    }

    fn lane(&self) -> Lane {
        Lane::new(0, Chain::new("bench/bench.decisions/0/0", None), State::default())
    }

    fn rule_all(&self) -> Vec<Sent> {
        let cases = self.looked_up();
        let mut sent = Vec::new();
        let mut out = Outbox::memory(&mut sent);
        let mut lane = self.lane();
        for case in &cases {
            lane.rule(&self.terms, case, self.load.now, &mut out);
        }
        drop(out);
        sent
    }

    /// Prints nanoseconds per alert, the median of some rounds.
    pub fn print(&self) {
        let count = self.lines.len();
        let timed = |work: &mut dyn FnMut() -> Duration| {
            let mut times: Vec<Duration> = (0..ROUNDS).map(|_| work()).collect();
            times.sort();
            times[ROUNDS / 2].as_nanos() as f64 / count as f64
        };
        let (now, policy) = (self.load.now, self.terms.policy());
        let map = timed(&mut || self.time_map());
        let write = timed(&mut || self.time_write());
        let parse = timed(&mut || {
            let began = Instant::now();
            for line in &self.lines {
                drop(black_box(Arrival::parse(line).unwrap()));
            }
            began.elapsed()
        });
        let lookup = timed(&mut || {
            let mut cases = self.read();
            let began = Instant::now();
            self.look_up(&mut cases);
            black_box(cases.len());
            began.elapsed()
        });
        let cases = self.looked_up();
        let counters = Counters {
            group: Some("x".to_owned()),
            window_ms: 1000,
            ..Counters::alone(Id::default(), now)
        };
        let decided = timed(&mut || {
            let began = Instant::now();
            for case in &cases {
                let arrival = case.arrival.as_ref().unwrap();
                let inputs = Inputs { arrival, facts: &case.facts, counters: &counters, now };
                black_box(decide(policy, &inputs));
            }
            began.elapsed()
        });
        let whole = timed(&mut || self.time_rule(&cases));
        drop(cases);
        let [record, chained, plain, out, place, found] = self.record_costs(&timed);
        let rest = whole - decided - chained - out - place;
        println!("\nOne thread, no broker, ns per alert (median of {ROUNDS} rounds):\n");
        println!("| intake | ns | | triage | ns |\n| --- | ---: | --- | --- | ---: |");
        println!("| message to alert | {map:.0} | | read the alert | {parse:.0} |");
        println!("| write the alert | {write:.0} | | look up facts | {lookup:.0} |");
        println!("| | | | decide | {decided:.0} |");
        println!("| | | | write the record | {record:.0} |");
        println!("| | | | number, link and hash it | {:.0} |", chained - record);
        println!("| | | | write cases, actions | {out:.0} |");
        println!("| | | | their partitions | {place:.0} |");
        println!("| | | | counters, memory | {rest:.0} |");
        let (intake, all) = (map + write, parse + lookup + whole);
        println!("| **all** | **{intake:.0}** | | **all** | **{all:.0}** |");
        println!("| | | | with `findings: true`, one of them more | {found:.0} |");
        println!("| | | | plain SHA-256 of the same records | {plain:.0} |");
        println!("\n| record | for one alert | bytes of one |\n| --- | ---: | ---: |");
        for (kind, (count, bytes)) in self.kinds() {
            println!("| {kind} | {count:.4} | {bytes:.0} |");
        }
    }

    /// Of each kind of record, how many come of one alert and the bytes of one.
    fn kinds(&self) -> BTreeMap<String, (f64, f64)> {
        let kind = |sent: &Sent| {
            let record = sent.value.as_deref().and_then(Record::parse);
            let kind = record.map(|record| format!("decision: {:?}", record.kind));
            kind.unwrap_or_else(|| sent.topic.clone())
        };
        per_alert(&self.rule_all(), self.lines.len(), &kind)
    }

    fn time_map(&self) -> Duration {
        let events: Vec<_> = (0..ALERTS).map(|n| self.load.events.get(n)).collect();
        let pipelines = &self.load.loaded.checked.pipelines;
        let began = Instant::now();
        for (offset, event) in (0..).zip(&events) {
            let incoming = tipstaff::normalize::Incoming {
                topic: event.topic,
                incarnation: "bench",
                partition: 0,
                offset,
                headers: &[],
                value: Some(event.value.as_bytes()),
                received_at: self.load.now,
            };
            black_box(pipelines.read(&incoming, None, &self.load.keys));
        }
        began.elapsed()
    }

    fn time_write(&self) -> Duration {
        let arrivals: Vec<_> = (0..ALERTS).flat_map(|n| self.load.arrivals(n)).collect();
        let mut line = Vec::new();
        let began = Instant::now();
        for arrival in &arrivals {
            line.clear();
            write_json(&mut line, arrival).unwrap();
            black_box(partition_of(partition_key(arrival), PARTITIONS));
        }
        began.elapsed()
    }

    fn time_rule(&self, cases: &[Case<'_>]) -> Duration {
        let mut lane = self.lane();
        let mut time = Duration::ZERO;
        for batch in cases.chunks(1000) {
            // Without the copies that keeping what is sent takes: the real outbox makes its own.
            let mut sent = Vec::with_capacity(4096);
            let mut out = Outbox::memory(&mut sent);
            let began = Instant::now();
            for case in batch {
                lane.rule(&self.terms, case, self.load.now, &mut out);
            }
            time += began.elapsed();
        }
        let copies = self.copies();
        time.saturating_sub(copies)
    }

    /// What the in-memory outbox alone costs.
    fn copies(&self) -> Duration {
        let value = vec![b' '; self.shape.decision_bytes as usize];
        let other = vec![b' '; self.shape.other_bytes as usize];
        let mut time = Duration::ZERO;
        for _ in 0..self.lines.len() / 1000 {
            let mut sent = Vec::with_capacity(4096);
            let mut out = Outbox::memory(&mut sent);
            let began = Instant::now();
            for _ in 0..1000 {
                out.send("bench.decisions", 0, Some(b"0123456789abcdef"), Some(&value));
                out.send("bench.cases", 0, Some(b"0123456789abcdef"), Some(&other));
            }
            time += began.elapsed();
        }
        time
    }

    /// Writing a record, writing it at the end of a chain, plain SHA-256 of its bytes, writing its
    /// outputs, finding their partitions, and writing its finding.
    fn record_costs(&self, timed: &dyn Fn(&mut dyn FnMut() -> Duration) -> f64) -> [f64; 6] {
        let sent = self.rule_all();
        let stored = sent.iter().filter(|sent| sent.topic == "bench.decisions");
        let stored: Vec<&[u8]> = stored.filter_map(|sent| sent.value.as_deref()).collect();
        let records: Vec<Record<'_>> = stored.iter().filter_map(|b| Record::parse(b)).collect();
        let mut line = Vec::new();
        let write = timed(&mut || {
            let began = Instant::now();
            for record in &records {
                line.clear();
                write_json(&mut line, record).unwrap();
            }
            began.elapsed()
        });
        let chained = timed(&mut || {
            let mut chain = Chain::new("bench/bench.decisions/0/0", None);
            let mut records = records.clone();
            let began = Instant::now();
            for record in &mut records {
                black_box(chain.append(record, &mut line).unwrap());
            }
            began.elapsed()
        });
        let plain = timed(&mut || {
            let began = Instant::now();
            for bytes in &stored {
                black_box(Sha256::digest(bytes));
            }
            began.elapsed()
        });
        let appended = Appended { seq: 1_000_000, hash: record_hash(b"x") };
        let out = timed(&mut || {
            let began = Instant::now();
            for record in &records {
                outputs(record, appended, &mut |output| drop(black_box(output)));
            }
            began.elapsed()
        });
        let place = timed(&mut || {
            let others = sent.iter().filter(|sent| sent.topic != "bench.decisions");
            let keys: Vec<&str> = others
                .map(|sent| std::str::from_utf8(sent.key.as_deref().unwrap()).unwrap())
                .collect();
            let began = Instant::now();
            for key in &keys {
                black_box(partition_of(key, PARTITIONS));
            }
            began.elapsed()
        });
        let found = timed(&mut || {
            let began = Instant::now();
            for record in &records {
                drop(black_box(finding(record, appended)));
            }
            began.elapsed()
        });
        [write, chained, plain, out, place, found]
    }
}

/// By name, how many come of one alert and the bytes of one.
fn per_alert(
    all: &[Sent],
    alerts: usize,
    name: &dyn Fn(&Sent) -> String,
) -> BTreeMap<String, (f64, f64)> {
    let mut named: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for sent in all {
        let (count, bytes) = named.entry(name(sent)).or_default();
        *count += 1.0;
        *bytes +=
            [&sent.key, &sent.value].into_iter().flatten().map(Vec::len).sum::<usize>() as f64;
    }
    named.values_mut().for_each(|of| *of = (of.0 / alerts as f64, of.1 / of.0));
    named
}

pub fn now() -> Millis {
    tipstaff::app::system_clock()()
}
