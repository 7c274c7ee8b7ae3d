//! Sinks that refuse, fail, reset and hang while alerts flow.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use super::super::ALONE;
use super::super::conservation::read_topic;
use super::super::kafka::Kafka;
use super::super::rig::wait_until;
use super::super::settings;
use super::{PATIENCE, Process, Site, drains, findings, publish, says};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Take,
    Status(u16),
    Reset,
    Hang,
}

#[derive(Default)]
struct Seen {
    /// Bodies that were taken, by their idempotency key, in order.
    taken: Vec<(String, Value)>,
    tries: usize,
    /// A case whose body has this is never taken: 422.
    refused: Option<String>,
}

/// Answers as it is told, and remembers what it took.
#[derive(Clone)]
struct Desk {
    address: std::net::SocketAddr,
    mode: Arc<Mutex<Mode>>,
    seen: Arc<Mutex<Seen>>,
}

impl Desk {
    fn start(mode: Mode) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let desk = Self {
            address: listener.local_addr().unwrap(),
            mode: Arc::new(Mutex::new(mode)),
            seen: Arc::default(),
        };
        let server = desk.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let server = server.clone();
                std::thread::spawn(move || stream.ok().and_then(|stream| server.answer(stream)));
            }
        });
        desk
    }

    fn turn(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    fn mode(&self) -> Mode {
        *self.mode.lock().unwrap()
    }

    fn answer(&self, mut stream: TcpStream) -> Option<()> {
        self.seen.lock().unwrap().tries += 1;
        let mode = self.mode();
        if mode == Mode::Reset {
            return None;
        }
        let (head, body) = request(&mut stream)?;
        let header = |name: &str| {
            let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        if mode == Mode::Hang {
            while self.mode() == Mode::Hang {
                std::thread::sleep(Duration::from_millis(20));
            }
            return None;
        }
        let mut seen = self.seen.lock().unwrap();
        let is_refused =
            seen.refused.as_ref().is_some_and(|part| String::from_utf8_lossy(&body).contains(part));
        let status = match mode {
            Mode::Status(status) => status,
            _ if is_refused => 422,
            _ => {
                let key = header("idempotency-key:")?;
                assert_eq!(header("webhook-id:").as_ref(), Some(&key));
                assert!(header("webhook-signature:")?.starts_with("v1,"));
                seen.taken.push((key, serde_json::from_slice(&body).unwrap()));
                200
            }
        };
        let echo = "the answer echoes notarealsecret and is read by nobody";
        let length = echo.len();
        let head =
            format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(format!("{head}{echo}").as_bytes()).ok()
    }

    fn keys(&self) -> BTreeSet<String> {
        self.seen.lock().unwrap().taken.iter().map(|(key, _)| key.clone()).collect()
    }

    fn taken_twice(&self) -> Vec<String> {
        let mut counted: BTreeMap<String, usize> = BTreeMap::new();
        for (key, _) in &self.seen.lock().unwrap().taken {
            *counted.entry(key.clone()).or_default() += 1;
        }
        counted.into_iter().filter(|(_, count)| *count > 1).map(|(key, _)| key).collect()
    }
}

fn request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().unwrap())
    });
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    Some((head, body))
}

const SINK: &str = "sink: NAME\nowner: soc\nservice: NAME\nqueues: all\nstart: earliest\n\
                    request: {method: POST, path: /cases, body: \"{{case}}\"}\n";
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

struct Rig {
    site: Site,
    more: String,
}

impl Rig {
    /// A deployment with these sinks switched on.
    fn new(bootstrap: &str, prefix: &str, desks: &[(&str, &Desk)]) -> Self {
        let site = Site::new(bootstrap, prefix, 2);
        fs::write(site.deployment.directory.join("hook"), SECRET).unwrap();
        let services: String = desks
            .iter()
            .map(|(name, desk)| {
                format!(
                    "  {name}: {{url: \"http://{}\", allow: [127.0.0.1], webhook_secret: {{file: ../hook}}, \
                     limits: {{timeout: 2s, breaker: {{failures: 3, open_for: 200ms}}}}}}\n",
                    desk.address
                )
            })
            .collect();
        let names: Vec<&str> = desks.iter().map(|(name, _)| *name).collect();
        let more = format!("services:\n{services}sinks: [{}]\n", names.join(", "));
        let rig = Self { site, more };
        rig.config("operator");
        for name in names {
            let file = rig.site.deployment.directory.join(format!("playbooks/sinks/{name}.yaml"));
            fs::write(file, SINK.replace("NAME", name)).unwrap();
        }
        let made = rig.site.verb(&["topics", "create"], "operator");
        assert_eq!(made.code, Some(0), "{made:?}");
        assert!(made.out.contains("set the start of "), "{made:?}");
        rig
    }

    fn config(&self, instance: &str) -> (std::path::PathBuf, u16) {
        let made = self.site.config(instance, &self.more);
        self.site.own(instance, "playbooks");
        made
    }

    fn start(&self, instance: &str) -> Process {
        let (directory, port) = self.config(instance);
        let mut process = Process::start(&directory, "intake,triage,deliver", port);
        self.site.wait_ready(&mut process);
        process
    }

    /// Of every case on every queue.
    fn keys(&self) -> BTreeSet<String> {
        let settings = settings(&self.site.bootstrap);
        let admin = tipstaff::ingest::Admin::connect(&settings).unwrap();
        let queues = ["soc-triage", "data-repair", "cicd-response", "cloud-response"];
        let topics = queues.map(|queue| self.site.topic(&format!("cases.{queue}")));
        let there = topics.iter().filter(|topic| admin.partitions(topic).unwrap().is_some());
        there
            .flat_map(|topic| read_topic(&settings, topic))
            .map(|(.., value)| {
                let case: Value = serde_json::from_slice(&value).unwrap();
                let revision = case.get("case_revision").unwrap_or(&case["record"]["seq"]);
                format!("{}/{revision}", case["case_id"].as_str().unwrap())
            })
            .collect()
    }
}

fn status(process: &Process, sink: &str) -> Option<Value> {
    let (_, body) = process.get("/sinks")?;
    let all: Value = serde_json::from_str(&body).ok()?;
    all.as_array()?.iter().find(|each| each["sink"] == sink).cloned()
}

fn is(process: &Process, sink: &str, state: &str) {
    let is_it = || status(process, sink).is_some_and(|each| each["state"] == state);
    let came = wait_until(PATIENCE, is_it);
    assert!(came, "{sink} is not {state}: {:?}\n{}", status(process, sink), process.log());
}

#[test]
fn sinks_every_case_is_delivered_whatever_the_receiver_does() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let Some(kafka) = Kafka::start(&[]) else { return };
    let (desk, dead) = (Desk::start(Mode::Take), Desk::start(Mode::Hang));
    let rig = Rig::new(&kafka.bootstrap(), "sinks", &[("desk", &desk), ("dead", &dead)]);
    let mut process = rig.start("s1");
    let sent = Cell::new(0);
    let wave = |process: &Process| {
        for partition in 0..2 {
            publish(&kafka.bootstrap(), &findings(partition, sent.get()..sent.get() + 3));
            sent.set(sent.get() + 3);
        }
        // Whoever hangs does not hang triage.
        rig.site.rulings(sent.get(), process);
    };

    wave(&process);
    assert!(wait_until(PATIENCE, || desk.keys().len() >= 6), "{}", process.log());
    for (mode, state) in [
        (Mode::Status(500), "retrying"),
        (Mode::Reset, "retrying"),
        (Mode::Status(429), "retrying"),
        (Mode::Hang, "retrying"),
        (Mode::Status(401), "paused"),
    ] {
        let before = desk.keys();
        desk.turn(mode);
        wave(&process);
        is(&process, "desk", state);
        assert_eq!(desk.keys(), before, "{mode:?}");
        let (status, ready) = process.get("/readyz").unwrap();
        assert_eq!((status, ready.contains("sink desk is paused")), (200, state == "paused"));
        desk.turn(Mode::Take);
        is(&process, "desk", "delivering");
        let is_all = || desk.keys().is_superset(&rig.keys());
        assert!(wait_until(PATIENCE, is_all), "{mode:?}: {}", process.log());
    }
    assert_eq!(desk.taken_twice(), Vec::<String>::new(), "nobody was killed yet");

    desk.turn(Mode::Status(503));
    wave(&process);
    is(&process, "desk", "retrying");
    process.kill();
    desk.turn(Mode::Take);
    process.resume();
    rig.site.wait_ready(&mut process);
    wave(&process);
    let is_all = || desk.keys() == rig.keys();
    assert!(wait_until(PATIENCE, is_all), "{}", process.log());
    assert_eq!(rig.keys().len(), sent.get());
    // One partition of one queue has one on its way.
    assert!(desk.taken_twice().len() <= 2, "{:?}", desk.taken_twice());
    assert!(dead.seen.lock().unwrap().tries > 0 && dead.keys().is_empty());
    let (_, metrics) = process.get("/metrics").unwrap();
    let dead_age = "tipstaff_sink_oldest_undelivered_seconds{sink=\"dead\"}";
    let age = metrics.lines().find_map(|line| line.strip_prefix(dead_age)).unwrap();
    assert!(age.trim().parse::<i64>().unwrap() > 0, "{metrics}");
    drains(&mut process);
    assert!(!process.log().contains("notarealsecret"), "an answer is never told");
}

#[test]
fn sinks_a_case_that_is_refused_is_parked_and_delivered_again_on_demand() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let Some(kafka) = Kafka::start(&[]) else { return };
    let desk = Desk::start(Mode::Take);
    desk.seen.lock().unwrap().refused = Some("c:a:2\"".to_owned());
    let rig = Rig::new(&kafka.bootstrap(), "parked", &[("desk", &desk)]);
    let mut process = rig.start("s1");
    publish(&kafka.bootstrap(), &findings(0, 0..5));
    rig.site.rulings(5, &process);
    assert!(wait_until(PATIENCE, || desk.keys().len() == 4), "{}", process.log());
    says(&process, &["is parked", "422"]);
    let parked = read_topic(&settings(&kafka.bootstrap()), &rig.site.topic("parked"));
    let parked: Value = serde_json::from_slice(&parked[0].2).unwrap();
    assert_eq!((&parked["sink"], &parked["status"]), (&"desk".into(), &422.into()), "{parked}");
    assert!(!parked.to_string().contains("notarealsecret"));

    let listed = rig.site.verb(&["sinks", "list"], "s1");
    assert_eq!(listed.code, Some(0), "{listed:?}");
    let row: Vec<&str> = listed.out.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row, ["desk", "delivering", "0", "-", "1", "soc"], "{listed:?}");
    let again = rig.site.verb(&["sinks", "retry", "desk"], "s1");
    assert!(again.code == Some(1) && again.out.contains("still parked"), "{again:?}");
    desk.seen.lock().unwrap().refused = None;
    let again = rig.site.verb(&["sinks", "retry", "desk"], "s1");
    assert!(again.code == Some(0) && again.out.contains("delivered"), "{again:?}");
    assert_eq!((desk.keys().len(), desk.taken_twice()), (5, vec![]));
    let again = rig.site.verb(&["sinks", "retry", "desk"], "s1");
    assert_eq!(again.out.trim(), "nothing of `desk` is parked", "{again:?}");
    drains(&mut process);
}
