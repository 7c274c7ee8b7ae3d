//! Sinks that refuse, fail, reset and hang while alerts flow.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use super::super::conservation::read_topic;
use super::super::rig::wait_until;
use super::super::{seats, settings};
use super::reload::metric;
use super::{GITLEAKS, PATIENCE, Process, Site, drains, finding, findings, says};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Take,
    /// Takes it, and the answer is lost.
    TakeUnsaid,
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
    address: SocketAddr,
    mode: Arc<Mutex<Mode>>,
    seen: Arc<Mutex<Seen>>,
}

impl Desk {
    fn start(mode: Mode) -> Self {
        let (listener, address) = listening();
        let desk = Self { address, mode: Arc::new(Mutex::new(mode)), seen: Arc::default() };
        let server = desk.clone();
        serve(listener, move |stream| server.answer(stream));
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
                if mode == Mode::TakeUnsaid {
                    return None;
                }
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

    /// What was taken, as a receiver that drops a key it has keeps it: under one key there is one
    /// body, and no revision comes behind a later one.
    fn cases(&self) -> BTreeMap<String, Value> {
        let mut kept: BTreeMap<String, Value> = BTreeMap::new();
        let mut newest: BTreeMap<String, u64> = BTreeMap::new();
        for (key, body) in &self.seen.lock().unwrap().taken {
            if let Some(before) = kept.insert(key.clone(), body.clone()) {
                assert_eq!(&before, body, "{key} was told twice, not in the same words");
                continue;
            }
            let (case, revision) = key.split_once('/').unwrap();
            let before = newest.insert(case.to_owned(), revision.parse().unwrap());
            assert!(before < newest.get(case).copied(), "{key} comes after {before:?}");
        }
        kept
    }

    fn taken_twice(&self) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let taken = &self.seen.lock().unwrap().taken;
        taken.iter().filter(|(key, _)| !seen.insert(key)).map(|(key, _)| key.clone()).collect()
    }
}

pub fn listening() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Every connection on a thread of its own, as long as the tests run.
pub fn serve(
    listener: TcpListener,
    answer: impl Fn(TcpStream) -> Option<()> + Clone + Send + 'static,
) {
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let answer = answer.clone();
            std::thread::spawn(move || stream.ok().and_then(answer));
        }
    });
}

pub fn request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
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

/// Of one wave.
const ALERTS: usize = 16;
const TOLD: usize = 8;
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
        let site = Site::beside_others(bootstrap, prefix);
        fs::write(site.deployment.directory.join("hook"), SECRET).unwrap();
        let services: String = desks
            .iter()
            .map(|(name, desk)| {
                format!(
                    "  {name}: {{url: \"http://{}\", allow: [127.0.0.1], \
                     webhook_secret: {{file: ../hook}}, \
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

    /// Six cases of one alert, and one of ten, of which people are told twice.
    fn publish(&self, wave: usize) {
        let first = wave * ALERTS;
        let mut alerts = findings(0, first..first + 3);
        alerts.extend(findings(1, first + 3..first + 6));
        alerts.extend((0..10).map(|_| (GITLEAKS, 0, Some(finding(first + 6)))));
        self.site.publish(&alerts);
    }

    /// Of every case on every queue, by its key.
    fn cases(&self) -> BTreeMap<String, Value> {
        let settings = settings(&self.site.bootstrap);
        let queues = ["soc-triage", "data-repair", "cicd-response", "cloud-response"];
        let topics = queues.map(|queue| self.site.topic(&format!("cases.{queue}")));
        let cases = topics.iter().flat_map(|topic| read_topic(&settings, topic));
        cases
            .map(|(.., value)| {
                let case: Value = serde_json::from_slice(&value).unwrap();
                let key =
                    format!("{}/{}", case["case_id"].as_str().unwrap(), case["case_revision"]);
                (key, case)
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

/// All that was told until this wave is delivered, as it is on the topics.
fn is_whole(rig: &Rig, desk: &Desk, waves: usize, process: &Process) {
    let there = || rig.cases().len() >= waves * TOLD && desk.keys().len() >= waves * TOLD;
    let came = wait_until(PATIENCE, there);
    let (told, taken) = (rig.cases(), desk.cases());
    let lost: Vec<&String> = told.keys().filter(|key| !taken.contains_key(*key)).collect();
    assert!(came && lost.is_empty(), "lost: {lost:?}\n{}", process.log());
    assert_eq!(told.len(), waves * TOLD);
    assert!(told == taken, "told otherwise than on the topic");
}

/// Its cases would wait on its topic until somebody wonders.
fn a_queue_that_no_sink_reads_is_refused(rig: &Rig, process: &Process) {
    let file = rig.site.deployment.directory.join("playbooks/boundary.yaml");
    let before = fs::read_to_string(&file).unwrap();
    let after = before
        .replace("repair_queue: data-repair", "repair_queue: new-queue")
        .replace("queues:\n", "queues:\n  new-queue: nobody yet\n");
    fs::write(&file, after).unwrap();
    let why = "queue `new-queue` is new, and it reads every queue: restart to read it";
    says(process, &["sinks/desk.yaml:1:1", why]);
    fs::write(&file, before).unwrap();
}

#[test]
fn sinks_every_case_is_delivered_whatever_the_receiver_does() {
    let Some((_beside, bootstrap)) = seats::shared() else { return };
    let (desk, dead) = (Desk::start(Mode::Take), Desk::start(Mode::Hang));
    let rig = Rig::new(&bootstrap, "sinks", &[("desk", &desk), ("dead", &dead)]);
    let mut process = rig.start("s1");
    rig.publish(0);
    is_whole(&rig, &desk, 1, &process);
    a_queue_that_no_sink_reads_is_refused(&rig, &process);
    let first = desk.keys();
    let mut waves = 1;
    for (mode, state, class) in [
        (Mode::Status(500), "retrying", "server"),
        (Mode::Reset, "retrying", "connect"),
        (Mode::Status(429), "retrying", "limited"),
        (Mode::Hang, "retrying", "timeout"),
        (Mode::Status(401), "paused", "refused"),
    ] {
        let before = desk.keys();
        desk.turn(mode);
        rig.publish(waves);
        waves += 1;
        // Whoever hangs does not hang triage.
        rig.site.rulings(waves * ALERTS, &process);
        is(&process, "desk", state);
        assert_eq!(desk.keys(), before, "{mode:?}");
        let (status, ready) = process.get("/readyz").unwrap();
        assert_eq!((status, ready.contains("sink desk is paused")), (200, state == "paused"));
        let retried = metric(&process, "tipstaff_sink_retries_total", &["\"desk\"", class]);
        assert!(retried > Some(0), "{mode:?}: {retried:?}");
        desk.turn(Mode::Take);
        is(&process, "desk", "delivering");
        is_whole(&rig, &desk, waves, &process);
    }
    assert!(desk.taken_twice().is_empty(), "nothing was lost on the way back yet");
    numbers_are_true(&process, waves * TOLD);

    desk.turn(Mode::TakeUnsaid);
    rig.publish(waves);
    waves += 1;
    is(&process, "desk", "retrying");
    assert!(wait_until(PATIENCE, || !desk.taken_twice().is_empty()), "{}", process.log());
    desk.turn(Mode::Take);
    is_whole(&rig, &desk, waves, &process);

    killed_while_alerts_flow(&rig, &desk, waves, &mut process);
    assert!(desk.taken_twice().is_disjoint(&first), "what was committed is not told again");
    assert!(dead.seen.lock().unwrap().tries > 0 && dead.keys().is_empty());
    drains(&mut process);
    assert!(!process.log().contains("notarealsecret"), "an answer is never told");
}

fn numbers_are_true(process: &Process, told: usize) {
    let number = |name: &str, labels: &[&str]| metric(process, name, labels).unwrap();
    let cases = |result| number("tipstaff_sink_cases_total", &["\"desk\"", result]);
    assert_eq!(cases("delivered"), i64::try_from(told).unwrap());
    assert_eq!((cases("parked"), cases("void")), (0, 0));
    let oldest = |sink| number("tipstaff_sink_oldest_undelivered_seconds", &[sink]);
    assert_eq!(oldest("\"desk\""), 0);
    assert!(oldest("\"dead\"") > 0);
}

/// Killed once with everything still to be told, and once in the middle of telling it.
fn killed_while_alerts_flow(rig: &Rig, desk: &Desk, mut waves: usize, process: &mut Process) {
    desk.turn(Mode::Status(503));
    rig.publish(waves);
    is(process, "desk", "retrying");
    process.kill();
    rig.publish(waves + 1);
    waves += 2;
    let before = desk.keys().len();
    desk.turn(Mode::Take);
    process.resume();
    std::thread::scope(|scope| {
        let flow = scope.spawn(|| (waves..waves + 4).for_each(|wave| rig.publish(wave)));
        let some = wait_until(PATIENCE, || desk.keys().len() > before);
        process.kill();
        assert!(some, "{}", process.log());
        flow.join().unwrap();
    });
    process.resume();
    waves += 4;
    is_whole(rig, desk, waves, process);
    rig.site.rulings(waves * ALERTS, process);
}

#[test]
fn sinks_a_case_that_is_refused_is_parked_and_delivered_again_on_demand() {
    let Some((_beside, bootstrap)) = seats::shared() else { return };
    let desk = Desk::start(Mode::Take);
    desk.seen.lock().unwrap().refused = Some("c:a:2\"".to_owned());
    let rig = Rig::new(&bootstrap, "parked", &[("desk", &desk)]);
    let mut process = rig.start("s1");
    rig.site.publish(&findings(0, 0..5));
    rig.site.rulings(5, &process);
    assert!(wait_until(PATIENCE, || desk.keys().len() == 4), "{}", process.log());
    says(&process, &["is parked", "422"]);
    let parked = read_topic(&settings(&bootstrap), &rig.site.topic("parked"));
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
    assert_eq!((desk.keys().len(), desk.taken_twice()), (5, BTreeSet::new()));
    let again = rig.site.verb(&["sinks", "retry", "desk"], "s1");
    assert_eq!(again.out.trim(), "nothing of `desk` is parked", "{again:?}");
    drains(&mut process);
}
