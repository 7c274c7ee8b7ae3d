//! How fast triage and intake are, beside a bare loop that consumes and produces the same records and
//! bytes exactly once and does nothing else. On a real broker, in turns, each in its own process.
//!
//! `cargo bench --bench triage -- [--alerts N] [--rounds N] [--micro] [--max-alerts N] [--latency RATE]`
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a measurement that cannot go on has failed"
)]

mod cpu;
#[path = "../support/kafka.rs"]
mod kafka;
mod latency;
mod load;
mod micro;
mod plain;
mod side;

use std::collections::BTreeMap;
use std::process::Command;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;

use load::{Load, PARTITIONS};
use micro::{Micro, Shape};
use side::{Measured, THREADS, Told};
use tipstaff::app::{Cluster, Place, Plan, create};
use tipstaff::config::Start;
use tipstaff::ingest::{Admin, Brokers, Settings, TopicSpec, Writer};
use tipstaff::normalize::{partition_key, partition_of};
use tipstaff::pipeline::{Drain, Topics};

const ALERTS_TOPIC: &str = "bench.alerts";
/// Rules in front of each playbook's own, so that the longest has thirty.
const MORE_RULES: usize = 22;
const SIDES: [(&str, usize); 6] = [
    ("bare", 0),
    ("triage", 0),
    ("bare", MORE_RULES),
    ("triage", MORE_RULES),
    ("bare-intake", 0),
    ("intake", 0),
];

struct Arguments {
    alerts: u64,
    rounds: usize,
    max_alerts: usize,
    micro: bool,
    only: Option<String>,
}

fn main() {
    let given: Vec<String> = std::env::args().skip(1).collect();
    if given.first().is_some_and(|first| first == "--child") {
        return child(&given[1..]);
    }
    let value = |name: &str| {
        let at = given.iter().position(|argument| argument == name)?;
        given.get(at + 1).cloned()
    };
    let number = |name: &str, default: u64| {
        value(name).map_or(default, |text| text.parse().expect("a number"))
    };
    let arguments = Arguments {
        alerts: number("--alerts", 200_000),
        rounds: number("--rounds", 3) as usize,
        max_alerts: number("--max-alerts", default_max_alerts()) as usize,
        micro: given.iter().any(|argument| argument == "--micro"),
        only: value("--only"),
    };
    let load = Load::new(micro::now(), 0);
    if let Some(rate) = value("--latency") {
        return wait(&load, rate.parse().expect("a number"), &arguments);
    }
    let micro = Micro::new(&load);
    if value("--only").is_none() {
        micro.print();
    }
    if !arguments.micro {
        compare(&load, &arguments, micro.shape);
    }
}

fn default_max_alerts() -> u64 {
    let text = "kafka: {bootstrap.servers: x}\nfingerprint: {id: a, key: {env: X}}\n";
    let mut problems = tipstaff::text::Problems::default();
    let source = tipstaff::text::Source::new("tipstaff.yaml", text);
    let service = tipstaff::config::ServiceConfig::read(&source, &mut problems).unwrap();
    service.batch.max_alerts as u64
}

fn cluster(bootstrap: &str, prefix: &str, alerts: Option<&str>) -> Cluster {
    let properties = BTreeMap::from([("bootstrap.servers".to_owned(), bootstrap.to_owned())]);
    let settings = Settings::new(&Brokers { properties }).unwrap();
    let mut topics = Topics::new(prefix, PARTITIONS);
    if let Some(alerts) = alerts {
        topics.alerts = alerts.to_owned();
    }
    let fingerprint_key = "bench".to_owned();
    let place = Place { settings, topics, fingerprint_key, findings: false };
    Cluster::wait(place, &Drain::default()).unwrap()
}

fn compare(load: &Load, arguments: &Arguments, shape: Shape) {
    let Some(kafka) = kafka::Kafka::start(&[]) else { return };
    let long_load = Load::new(load.now, MORE_RULES);
    let long_shape = Micro::new(&long_load).shape;
    let bootstrap = kafka.bootstrap();
    fill(load, &bootstrap, arguments.alerts);
    let mut all: Vec<Vec<Measured>> = vec![Vec::new(); SIDES.len()];
    for round in 0..arguments.rounds {
        for (number, (side, more_rules)) in SIDES.iter().enumerate() {
            if arguments.only.as_ref().is_some_and(|only| !only.split(',').any(|o| o == *side)) {
                continue;
            }
            if arguments.only.is_some() && *more_rules > 0 {
                continue;
            }
            let shape = if *more_rules > 0 { long_shape } else { shape };
            let measured =
                start(load, &bootstrap, (side, *more_rules), (round, number), arguments, shape);
            eprintln!("{side} +{more_rules} rules: {measured:.0?}");
            all[number].push(measured);
        }
    }
    print(&all, shape, long_shape);
}

/// Time from a detector's topic to a committed decision.
fn wait(load: &Load, rate: u64, arguments: &Arguments) {
    let Some(kafka) = kafka::Kafka::start(&[]) else { return };
    let bootstrap = kafka.bootstrap();
    fill(load, &bootstrap, 0);
    let sides = latency::SIDES;
    let mut all: [Vec<[f64; 3]>; 4] = Default::default();
    for round in 0..arguments.rounds {
        for (number, side) in sides.iter().enumerate() {
            let prefix = format!("wait{round}-{number}");
            let (cluster, plan) = begin(load, &bootstrap, &prefix, None);
            let output = Command::new(std::env::current_exe().unwrap())
                .args(["--child", side, &bootstrap, &prefix, &rate.to_string()])
                .arg(load.now.0.to_string())
                .stderr(std::process::Stdio::inherit())
                .output()
                .unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(output.status.success(), "{side} failed: {text}");
            forget(&cluster, &plan);
            let [p50, p99, count] = numbers(text.lines().last().unwrap());
            eprintln!("{side}: p50 {p50:.1} ms, p99 {p99:.1} ms of {count}");
            all[number].push([p50, p99, count]);
        }
    }
    println!(
        "\n| at {rate} messages a second | p50, ms | of two loops | of two copies | p99, ms |"
    );
    println!("| --- | ---: | ---: | ---: | ---: |");
    for (side, own) in sides.iter().zip(&all) {
        let of = |at: usize| show(spread(own.iter().map(|each| each[at]).collect()), 1);
        let ratio = |others: &[[f64; 3]]| {
            let ratios = own.iter().zip(others).map(|(own, other)| own[0] / other[0]);
            show(spread(ratios.collect()), 2)
        };
        println!("| {side} | {} | {} | {} | {} |", of(0), ratio(&all[0]), ratio(&all[1]), of(1));
    }
}

/// Every message on its detector's topic, and its alerts on the alerts topic.
fn fill(load: &Load, bootstrap: &str, messages: u64) {
    let cluster = cluster(bootstrap, "fill", Some(ALERTS_TOPIC));
    let mut names = Cluster::detector_topics(&load.loaded.checked.pipelines);
    names.push(ALERTS_TOPIC.to_owned());
    let specs = names.into_iter().map(|name| TopicSpec {
        name,
        partitions: PARTITIONS,
        replication: 1,
        config: vec![("message.timestamp.type".to_owned(), "LogAppendTime".to_owned())],
    });
    Admin::connect(&cluster.settings).unwrap().create(&specs.collect::<Vec<_>>()).unwrap();
    let writer = Writer::connect(&cluster.settings).unwrap();
    for n in 0..messages {
        let event = load.events.get(n);
        let partition = (n % PARTITIONS as u64) as i32;
        writer.send(event.topic, partition, None, event.value.as_bytes()).unwrap();
        for arrival in load.arrivals(n) {
            let key = partition_key(&arrival);
            let line = serde_json::to_vec(&arrival).unwrap();
            let partition = partition_of(key, PARTITIONS);
            writer.send(ALERTS_TOPIC, partition, Some(key.as_bytes()), &line).unwrap();
        }
    }
    writer.flush().unwrap();
}

fn start(
    load: &Load,
    bootstrap: &str,
    (side, more_rules): (&str, usize),
    (round, number): (usize, usize),
    arguments: &Arguments,
    shape: Shape,
) -> Measured {
    let prefix = format!("run{round}-{number}");
    let alerts = (!side.ends_with("intake")).then_some(ALERTS_TOPIC);
    let (cluster, plan) = begin(load, bootstrap, &prefix, alerts);
    let alerts = cluster.topics.alerts.as_str();
    let Shape { message_bytes: m, alert_bytes: a, alerts_per_message: n, .. } = shape;
    let Shape { decision_bytes: d, others: o, other_bytes: b, .. } = shape;
    let output = Command::new(std::env::current_exe().unwrap())
        .arg("--child")
        .args([side, bootstrap, &prefix, alerts])
        .arg(arguments.alerts.to_string())
        .arg(arguments.max_alerts.to_string())
        .arg(more_rules.to_string())
        .arg(format!("{m},{a},{n},{d},{o},{b}"))
        .arg(load.now.0.to_string())
        .stderr(std::process::Stdio::inherit())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{side} failed: {text}");
    forget(&cluster, &plan);
    let line = text.lines().last().unwrap();
    let [rate, cpu_s_per_million, stage_ns, rss_mib, mean_batch, commit_ms] = numbers(line);
    Measured { rate, cpu_s_per_million, stage_ns, rss_mib, mean_batch, commit_ms }
}

/// Topics and chains of its own, on the alerts that are there or on new ones from the detectors'.
fn begin(load: &Load, bootstrap: &str, prefix: &str, alerts: Option<&str>) -> (Cluster, Plan) {
    let cluster = cluster(bootstrap, prefix, alerts);
    let detectors = Cluster::detector_topics(&load.loaded.checked.pipelines);
    let plan = Plan {
        detectors: if alerts.is_none() { detectors } else { Vec::new() },
        outputs: cluster.output_topics(&load.loaded.checked.policy),
        sinks: Vec::new(),
        replication: 1,
        retention_ms: 86_400_000,
        start: if prefix.starts_with("wait") { Start::Latest } else { Start::Earliest },
        adopt: Vec::new(),
        instance: "bench".to_owned(),
        now: load.now,
    };
    create(&cluster, &plan).unwrap();
    (cluster, plan)
}

/// Deletes what a run wrote: the next one must not wait for the disk on its account.
fn forget(cluster: &Cluster, plan: &Plan) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", cluster.settings.bootstrap())
        .create()
        .unwrap();
    let mut names: Vec<String> = plan.outputs.iter().map(|(name, _)| name.clone()).collect();
    names.push(cluster.topics.decisions.clone());
    if cluster.topics.alerts != ALERTS_TOPIC {
        names.push(cluster.topics.alerts.clone());
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(admin.delete_topics(&names, &AdminOptions::new())).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(3));
}

fn numbers<const N: usize>(text: &str) -> [f64; N] {
    let numbers: Vec<f64> = text.split(',').map(|number| number.parse().unwrap()).collect();
    numbers.try_into().unwrap()
}

fn child(told: &[String]) {
    if let [side, bootstrap, prefix, rate, now] = told {
        let load = Load::new(tipstaff::case::Millis(now.parse().unwrap()), 0);
        let cluster = cluster(bootstrap, prefix, None);
        let [p50, p99, count] = latency::run(&load, &cluster, side, rate.parse().unwrap());
        return println!("{p50},{p99},{count}");
    }
    let [side, bootstrap, prefix, alerts, messages, max_alerts, more_rules, shape, now] = told
    else {
        panic!("not for people");
    };
    let now = tipstaff::case::Millis(now.parse().unwrap());
    let [message_bytes, alert_bytes, alerts_per_message, decision_bytes, others, other_bytes] =
        numbers(shape);
    let shape = Shape {
        message_bytes,
        alert_bytes,
        alerts_per_message,
        decision_bytes,
        others,
        other_bytes,
    };
    let load = Load::new(now, more_rules.parse().unwrap());
    let cluster = cluster(bootstrap, prefix, Some(alerts));
    let told = Told {
        side: side.clone(),
        prefix: prefix.clone(),
        alerts_topic: alerts.clone(),
        messages: messages.parse().unwrap(),
        max_alerts: max_alerts.parse().unwrap(),
        shape,
    };
    let Measured { rate, cpu_s_per_million, stage_ns, rss_mib, mean_batch, commit_ms } =
        side::run(&load, &cluster, &told);
    println!("{rate},{cpu_s_per_million},{stage_ns},{rss_mib},{mean_batch},{commit_ms}");
}

fn print(all: &[Vec<Measured>], shape: Shape, long_shape: Shape) {
    println!("\n{THREADS} threads, {PARTITIONS} partitions, exactly once; median (min to max):\n");
    println!(
        "| what | a second | of bare | CPU-s per million | of bare's CPU | CPU ns in the stage | peak MiB | batch | commit, ms |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for (number, (side, more_rules)) in SIDES.iter().enumerate() {
        let (own, bare) = (&all[number], &all[number / 2 * 2]);
        if own.is_empty() || bare.is_empty() {
            continue;
        }
        let of = |read: fn(&Measured) -> f64| spread(own.iter().map(read).collect());
        let ratio = |read: fn(&Measured) -> f64| {
            spread(own.iter().zip(bare).map(|(own, bare)| read(own) / read(bare)).collect())
        };
        let (rate, cpu) = (of(|m| m.rate / 1000.0), of(|m| m.cpu_s_per_million));
        let (rates, cpus) = (ratio(|m| m.rate), ratio(|m| m.cpu_s_per_million));
        let name = if *more_rules > 0 { format!("{side}, 30 rules") } else { (*side).to_owned() };
        println!(
            "| {name} | {}k | {} | {} | {} | {:.0} | {:.0} | {:.0} | {:.0} |",
            show(rate, 0),
            show(rates, 2),
            show(cpu, 1),
            show(cpus, 2),
            of(|m| m.stage_ns).1,
            of(|m| m.rss_mib).2,
            of(|m| m.mean_batch).1,
            of(|m| m.commit_ms).1,
        );
    }
    for (name, shape) in [("shipped playbooks", shape), ("30 rules", long_shape)] {
        println!(
            "\n{name}: message {:.0} B, {:.2} alerts each; alert {:.0} B in; decision {:.0} B and {:.2} \
             other records of {:.0} B out",
            shape.message_bytes,
            shape.alerts_per_message,
            shape.alert_bytes,
            shape.decision_bytes,
            shape.others,
            shape.other_bytes,
        );
    }
}

/// Least, median and greatest.
fn spread(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[0], values[values.len() / 2], values[values.len() - 1])
}

fn show((least, median, greatest): (f64, f64, f64), digits: usize) -> String {
    format!("{median:.digits$} ({least:.digits$} to {greatest:.digits$})")
}
