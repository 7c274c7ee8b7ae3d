//! Conservation under fire: the real binary, a real broker, a steady feed, and everything that can be
//! killed, restarted or made late, is.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use tipstaff::ingest::{Admin, LogReader};
use tipstaff::normalize::{FingerprintKeys, Incoming};

use super::conservation::{Collected, check, collect, holds, read_topic, search};
use super::deployment::{Deployment, KEY, PREFIX, Process, tipstaff};
use super::kafka::{Kafka, free_ports};
use super::planted::{CANARY, forms};
use super::planting::Format;
use super::product::late::{OWNER, WEB};
use super::product::{PATIENCE, copy, stop_between_commits};
use super::proxy::{Plan, Proxy};
use super::rig::wait_until;
use super::server::{Mode, Server};
use super::settings;

const PARTITIONS: i32 = 4;
const KILLS: usize = 30;
/// Where acknowledged messages are: topic, partition, offset.
type Ledger = Arc<Mutex<Vec<(String, i32, i64)>>>;

struct Acknowledged(Ledger);

impl rdkafka::ClientContext for Acknowledged {}

impl ProducerContext for Acknowledged {
    type DeliveryOpaque = ();
    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Ok(message) = result {
            let place = (message.topic().to_owned(), message.partition(), message.offset());
            self.0.lock().unwrap().push(place);
        }
    }
}

/// Shipped examples as they are and with the canary planted, and what no detector should send.
fn messages() -> Vec<(String, Option<Vec<u8>>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
    let mut found: Vec<(String, Option<Vec<u8>>)> = Vec::new();
    for (folder, topic) in
        [("gitleaks", "gitleaks"), ("okta-system-log", "okta"), ("aws-guardduty", "guardduty")]
    {
        let topic = format!("alerts.{topic}");
        let file = std::fs::read_to_string(root.join(folder).join("pipeline.yaml")).unwrap();
        let format = Format::of(&file);
        for example in std::fs::read_dir(root.join(folder).join("examples")).unwrap() {
            let text = std::fs::read(example.unwrap().path()).unwrap();
            for path in &format.redact {
                let Some(mut message) = format.read(&text) else { continue };
                // Some of its texts are types without which it is unreadable, which is wanted too.
                message.leaves().iter().step_by(2).for_each(|leaf| message.append(leaf, CANARY));
                format.plant(&mut message, path, &CANARY.into());
                found.push((topic.clone(), Some(message.body(true, false))));
            }
            found.push((topic.clone(), Some(text)));
        }
    }
    let topic = "alerts.gitleaks".to_owned();
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let bad: [&[u8]; 7] =
        [b"\0{}", b"not json ", deep.as_bytes(), &[0xff, 0xfe], b"[]", b"{\"a\":1}", b""];
    found.extend(bad.iter().map(|bad| (topic.clone(), Some(bad.to_vec()))));
    found.push((topic, None));
    found
}

fn publish(bootstrap: &str, stop: &Arc<AtomicBool>) -> (Ledger, std::thread::JoinHandle<()>) {
    let ledger = Ledger::default();
    let producer: ThreadedProducer<Acknowledged> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("enable.idempotence", "true")
        .set("message.max.bytes", "9000000")
        .set("allow.auto.create.topics", "false")
        .create_with_context(Acknowledged(Arc::clone(&ledger)))
        .unwrap();
    let stop = Arc::clone(stop);
    let thread = std::thread::spawn(move || {
        let messages = messages();
        let large = vec![b'x'; 5 * 1024 * 1024];
        let large = BaseRecord::<str, [u8]>::to("alerts.gitleaks").partition(1).payload(&large);
        producer.send(large).map_err(|(error, _)| error).unwrap();
        for (n, (topic, value)) in (0..).zip(messages.iter().cycle()) {
            if stop.load(SeqCst) {
                break;
            }
            let mut record = BaseRecord::<str, [u8]>::to(topic).partition(n % PARTITIONS);
            if let Some(value) = value {
                record = record.payload(value);
            }
            producer.send(record).map_err(|(error, _)| error).unwrap();
            std::thread::sleep(Duration::from_millis(10));
        }
        producer.flush(Duration::from_secs(60)).unwrap();
    });
    (ledger, thread)
}

/// Ids of the alerts that the acknowledged messages become, by the mapping engine alone.
fn expected(bootstrap: &str, ledger: &Ledger) -> BTreeSet<String> {
    let loaded = tipstaff::app::load(None, tipstaff::case::Millis(0)).unwrap();
    let keys = FingerprintKeys::new(("t1", KEY.as_bytes()), None).unwrap();
    let admin = Admin::connect(&settings(bootstrap)).unwrap();
    let acknowledged: BTreeSet<(String, i32, i64)> =
        ledger.lock().unwrap().iter().cloned().collect();
    let mut found = BTreeSet::new();
    for topic in ["alerts.gitleaks", "alerts.okta", "alerts.guardduty"] {
        let incarnation = admin.topic_ids(&[topic]).unwrap().remove(0);
        let log = LogReader::connect(&settings(bootstrap), "ledger").unwrap();
        for partition in 0..PARTITIONS {
            let range = log.low(topic, partition).unwrap()..log.stable(topic, partition).unwrap();
            log.read(topic, partition, range, |message| {
                assert!(acknowledged.contains(&(topic.to_owned(), partition, message.offset)));
                let incoming = Incoming {
                    topic,
                    incarnation: &incarnation,
                    partition,
                    offset: message.offset,
                    headers: &[],
                    value: message.value,
                    received_at: tipstaff::case::Millis(message.timestamp_ms),
                };
                for arrival in loaded.checked.pipelines.read(&incoming, None, &keys) {
                    found.insert(arrival.alert_id);
                }
            })
            .unwrap();
        }
    }
    found
}

fn is_open(bootstrap: &str, topic: &str) -> bool {
    let log = LogReader::connect(&settings(bootstrap), "open").unwrap();
    (0..PARTITIONS).any(|p| {
        let high = log.high(topic, p).unwrap_or(0);
        log.stable(topic, p).is_ok_and(|stable| stable < high)
    })
}

fn random(seed: &mut u64, below: u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) % below
}

pub fn under_fire() {
    let proxies = [Proxy::bind(), Proxy::bind()];
    let Some(mut kafka) = Kafka::start(&[proxies[0].port(), proxies[1].port()]) else { return };
    for (proxy, upstream) in proxies.iter().zip(kafka.proxied()) {
        proxy.forward(*upstream);
    }
    let direct = kafka.bootstrap();
    let deployment = Deployment::new(PARTITIONS);
    let ports = free_ports(4);
    let operator = deployment.config("operator", &direct, ports[3], "");
    let created = tipstaff(&["topics", "create", "--config", operator.to_str().unwrap()]);
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));

    // Owners always come too late, so that alerts are ruled again all the time.
    let owners = Server::start(Mode::Slow(300, WEB));
    let enrichers = deployment.directory.join("enrichers");
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("enrichers"), &enrichers);
    let owner = format!("{OWNER}cache: {{hit: 1s, stale: 0s, failure: 200ms}}\n");
    std::fs::write(enrichers.join("owner/enricher.yaml"), owner).unwrap();
    let workers = format!(
        "workers: {{intake: 1, triage: 1}}\nbatch: {{max_ms: 50, max_alerts: 200, lookup_ms: 50}}\n\
         services: {{catalog: {{url: \"{}\", allow: [127.0.0.0/8]}}}}\n",
        owners.url()
    );
    let start = |name: &str, proxy: &Proxy, roles, port| {
        let config = deployment.config(name, &proxy.bootstrap(), port, &workers);
        let file = config.join("tipstaff.yaml");
        let text = std::fs::read_to_string(&file).unwrap();
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("enrichers");
        let own = text.replace(&shipped.display().to_string(), &enrichers.display().to_string());
        std::fs::write(&file, own).unwrap();
        Process::start(&config, roles, port)
    };
    let mut processes = [
        start("i1", &proxies[0], "intake", ports[0]),
        start("t1", &proxies[1], "triage", ports[1]),
        start("t2", &proxies[1], "triage", ports[2]),
    ];
    let stop = Arc::new(AtomicBool::new(false));
    let (ledger, feed) = publish(&direct, &stop);
    let seed_start = super::kafka::chance();
    eprintln!("seed {seed_start}");
    let mut seed = seed_start;
    let (mut open, mut hit_intake) = (0, 0);
    for round in 0..KILLS {
        let victim = if round % 3 == 0 { 0 } else { 1 + round % 2 };
        let ready = wait_until(PATIENCE, || processes[victim].is_ready());
        assert!(
            ready,
            "{} is not ready in round {round}: {}",
            processes[victim].name,
            processes[victim].log()
        );
        let proxy = &proxies[usize::from(victim > 0)];
        std::thread::sleep(Duration::from_millis(random(&mut seed, 500)));
        if random(&mut seed, 10) < 8 {
            let delay = Duration::from_millis(100 + random(&mut seed, 1500));
            let cut = random(&mut seed, 2) == 0;
            proxy.plan(Plan { next: 1, delay, cut, ..Plan::default() });
            wait_until(Duration::from_secs(3), || proxy.waiting() > 0);
            std::thread::sleep(Duration::from_millis(random(&mut seed, 50)));
        }
        processes[victim].kill();
        hit_intake += usize::from(victim == 0);
        let output = if victim == 0 { "alerts" } else { "decisions" };
        open += usize::from(is_open(&direct, &format!("{PREFIX}.{output}")));
        processes[victim].resume();
        match round {
            10 | 20 => {
                stop_between_commits(&mut kafka, &processes.each_ref());
                kafka.resume();
            }
            // Late and cut, and nobody killed.
            5 | 15 | 25 => {
                for proxy in &proxies {
                    let delay = Duration::from_millis(300 + random(&mut seed, 900));
                    proxy.plan(Plan { next: 2, delay, cut: true, ..Plan::default() });
                }
            }
            _ => {}
        }
    }
    stop.store(true, SeqCst);
    feed.join().unwrap();

    let expected = expected(&direct, &ledger);
    let ruled = || {
        let records = read_topic(&settings(&direct), &format!("{PREFIX}.decisions"));
        records.iter().filter(|(_, _, value)| holds(value, b"\"kind\":\"ruling\"")).count()
    };
    let began = Instant::now();
    let all = wait_until(Duration::from_secs(120), || ruled() >= expected.len());
    let caught_up = began.elapsed();
    std::thread::sleep(Duration::from_secs(1));
    let metrics: Vec<String> =
        processes.iter().filter_map(|p| Some(p.get("/metrics")?.1)).collect();
    for process in &mut processes {
        let (code, took) = process.terminate();
        assert_eq!(code, Some(0), "{}: {}", process.name, process.log());
        assert!(took < Duration::from_secs(10), "{} took {took:?} to drain", process.name);
    }
    let mut collected = collect(&settings(&direct), PREFIX, &output_names(&direct, PREFIX));
    collected.expected = expected;
    let verdict = check(&collected);
    eprintln!(
        "{} messages, {} alerts, {} revisions; {KILLS} kills ({hit_intake} of intake), {open} found a transaction open, \
         {} commits held; {} recovery records, {} duplicates, {} void records, {} void outputs; caught up in {caught_up:.1?}",
        ledger.lock().unwrap().len(),
        verdict.rulings,
        verdict.revisions,
        proxies[0].held() + proxies[1].held(),
        verdict.recoveries,
        verdict.duplicates,
        verdict.voided,
        verdict.void_outputs,
    );
    assert!(all && verdict.problems.is_empty(), "seed {seed_start}: {:#?}", verdict.problems);
    assert!(open >= 15, "only {open} kills found an open transaction");
    assert!(hit_intake >= 5);
    assert!(verdict.revisions >= 50, "only {} rulings were made again", verdict.revisions);
    // Triage would catch them; intake must not make them.
    assert_eq!(verdict.duplicates, 0, "intake wrote alerts twice");
    let verified = tipstaff(&["verify", "--config", operator.to_str().unwrap()]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));

    let needles: Vec<Vec<u8>> = forms().into_iter().map(String::into_bytes).collect();
    assert_eq!(search(&collected, &needles), Vec::<String>::new(), "the canary left intake");
    for (what, text) in processes
        .iter()
        .map(|p| ("log", p.log()))
        .chain(metrics.into_iter().map(|m| ("metrics", m)))
    {
        let bytes = text.as_bytes();
        let is_held = needles.iter().any(|needle| holds(bytes, needle));
        assert!(!is_held, "the canary is in a {what}");
    }
    let fingerprints = collected.alerts.iter().filter(|alert| holds(alert, b"fp:t1:"));
    assert!(fingerprints.count() > 100, "the canary was never read");
    plant_faults(&collected);
}

type Fault = fn(&mut Collected);

/// The checker must see one lost alert, one lost ruling, one double, one edit and one lost output.
fn plant_faults(sound: &Collected) {
    let faults: [(&str, Fault); 6] = [
        ("a lost message", |c| c.expected.extend(["0".repeat(32)])),
        ("a lost alert", |c| drop(c.alerts.pop())),
        ("a lost ruling", |c| {
            let chain = c.chains.values_mut().next().unwrap();
            chain.remove(chain.len() / 2);
        }),
        ("a doubled ruling", |c| {
            let chain = c.chains.values_mut().next().unwrap();
            let (last, copy) = (chain.last().unwrap().0, chain[chain.len() / 2].1.clone());
            chain.push((last + 1, copy));
        }),
        ("an edit", |c| {
            let chain = c.chains.values_mut().next().unwrap();
            let middle = chain.len() / 2;
            let at = chain[middle].1.len() / 2;
            chain[middle].1[at] ^= 1;
        }),
        ("a lost output", |c| {
            let values = c.outputs.values_mut().find(|values| !values.is_empty()).unwrap();
            let lost = values.pop().unwrap();
            values.retain(|value| *value != lost);
        }),
    ];
    for (what, fault) in faults {
        let mut broken = sound.clone();
        fault(&mut broken);
        assert!(!check(&broken).problems.is_empty(), "the checker does not see {what}");
    }
}

pub fn output_names(bootstrap: &str, prefix: &str) -> Vec<String> {
    let loaded = tipstaff::app::load(None, tipstaff::case::Millis(0)).unwrap();
    let log = LogReader::connect(&settings(bootstrap), "names").unwrap();
    let queues = loaded.checked.policy.queues();
    let names = queues.iter().map(|queue| format!("cases.{queue}"));
    let names: Vec<String> =
        names.chain(["actions", "dead-letters", "findings"].map(str::to_owned)).collect();
    for name in &names {
        assert!(
            log.partitions(&format!("{prefix}.{name}")).unwrap().is_some(),
            "{name} is missing"
        );
    }
    names
}
