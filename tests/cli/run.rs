use std::io::ErrorKind;
use std::net::TcpListener;
use std::time::Duration;

use super::*;

const VERBS: &[&[&str]] = &[&["run"], &["topics", "create"], &["topics", "check"], &["verify"]];
const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// A broker that nobody may call.
struct Broker(TcpListener);

impl Broker {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    fn service(&self, rest: &str) -> String {
        format!("kafka:\n  bootstrap.servers: {}\n{rest}", self.0.local_addr().unwrap())
    }

    fn assert_was_not_called(&self) {
        let error = self.0.accept().map(drop).expect_err("nothing may be connected");
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    }
}

fn with(verb: &[&str], folder: &str, key: Option<&str>) -> Ran {
    let mut command = program(&[verb, &["--config", folder]].concat());
    command.envs(key.map(|key| ("TIPSTAFF_FINGERPRINT_KEY", key)));
    ran(command, b"")
}

#[test]
fn what_needs_a_broker_is_not_started_without_a_service() {
    for verb in &VERBS[..3] {
        let ran = tipstaff(verb);
        assert_eq!((ran.code, &*ran.out), (WRONG, ""), "{verb:?}");
        assert_eq!(
            ran.err,
            "tipstaff: this needs a broker: give `--config DIR` with a tipstaff.yaml\n"
        );
    }
}

#[test]
fn a_wrong_configuration_is_told_whole_and_nothing_is_connected() {
    let broker = Broker::new();
    let service = broker.service(
        "  propertees: {}\nfingerprint: {id: k1, key: {env: TIPSTAFF_FINGERPRINT_KEY}}\nworkers: {triage: some}\n",
    );
    let playbook = "playbook: a\ntitle: A\nowner: o\nmode: life\non: {kind: exposed_key}\nrules:\n  - id: r\n    route: {queue: q, priority: low}\n";
    let files = [("tipstaff.yaml", &*service), ("playbooks/a.yaml", playbook)];
    let folder = configuration("wrong_service", &files);
    for verb in VERBS {
        let ran = with(verb, &folder, Some(KEY));
        assert_eq!((ran.code, &*ran.out), (WRONG, ""), "{verb:?}");
        let problems = ran.problems(&folder);
        assert_eq!(problems.len(), 3, "{}", ran.err);
        for (problem, expected) in problems.iter().zip([
            "playbooks/a.yaml:4:7: unknown mode `life`, did you mean `live`?",
            "tipstaff.yaml:3:3: unknown key `propertees`, did you mean `properties`?",
            "tipstaff.yaml:5:19: `triage` must be a whole number",
        ]) {
            assert!(problem.starts_with(expected), "{}", ran.err);
        }
    }
    broker.assert_was_not_called();
}

#[test]
fn a_protected_property_is_refused_at_its_place() {
    let broker = Broker::new();
    let service = broker.service(
        "  properties:\n    client.id: a\n    enable.idempotence: false\nfingerprint: {id: k1, key: {env: TIPSTAFF_FINGERPRINT_KEY}}\n",
    );
    let folder = configuration("protected", &[("tipstaff.yaml", &service)]);
    for verb in VERBS {
        let ran = with(verb, &folder, Some(KEY));
        assert_eq!((ran.code, &*ran.out), (WRONG, ""), "{verb:?}");
        let problems = ran.problems(&folder);
        let why =
            "`enable.idempotence` cannot be set: exactly-once processing depends on its value";
        assert!(problems[0].starts_with("tipstaff.yaml:5:"), "{}", ran.err);
        assert!(problems.len() == 1 && problems[0].ends_with(why), "{}", ran.err);
    }
    broker.assert_was_not_called();
}

#[test]
fn a_secret_that_is_missing_or_short_is_told_by_its_name_and_never_shown() {
    let broker = Broker::new();
    let service = broker.service("fingerprint: {id: k1, key: {env: TIPSTAFF_FINGERPRINT_KEY}}\n");
    let folder = configuration("secrets", &[("tipstaff.yaml", &service)]);
    let named = "tipstaff.yaml:3:14: environment variable `TIPSTAFF_FINGERPRINT_KEY` cannot be read: it is not set";
    let short = "tipstaff.yaml:3:14: the key in environment variable `TIPSTAFF_FINGERPRINT_KEY` is too short: it needs 32 bytes, or 64 hexadecimal digits";
    for verb in VERBS {
        let ran = with(verb, &folder, None);
        assert_eq!((ran.code, &*ran.out), (WRONG, ""), "{verb:?}");
        assert_eq!(ran.problems(&folder), [named]);
        let ran = with(verb, &folder, Some("notreal-short-key"));
        assert_eq!((ran.code, &*ran.out), (WRONG, ""), "{verb:?}");
        assert_eq!(ran.problems(&folder), [short]);
    }
    broker.assert_was_not_called();
}

#[test]
fn an_order_that_no_broker_hears_ends_in_time_and_says_so() {
    let broker = Broker::new();
    let service = broker.service("fingerprint: {id: k1, key: {env: TIPSTAFF_FINGERPRINT_KEY}}\n");
    let folder = configuration("unheard", &[("tipstaff.yaml", &service)]);
    let case = "0".repeat(32);
    let ack = ["order", "ack", &case, "--nhi", "n", "--by", "sam", "--print"];
    let made = with(&ack, &folder, Some(KEY));
    let statement = format!("{folder}/ack.json");
    std::fs::write(&statement, &made.out).unwrap();
    let send = ["order", "send", "--statement", &statement, "--signature", &statement];
    let find = ["order", "ack", &case, "--by", "sam", "--print"];
    let stop = ["order", "stop", "--why", "w", "--by", "sam", "--print"];
    for verb in [&send[..], &find, &stop] {
        let ran = with(&[verb, &["--wait", "1s"]].concat(), &folder, Some(KEY));
        assert_eq!((ran.code, &*ran.out), (FAILED, ""), "{}", ran.err);
        let address = broker.0.local_addr().unwrap();
        let silent = format!("tipstaff: no broker answers at {address}\n");
        assert!(ran.err.contains("waiting for Kafka at"), "{}", ran.err);
        assert!(ran.err.ends_with(&silent), "{}", ran.err);
    }
    let part = with(&["order", "ack", "5f0c3a", "--by", "sam", "--print"], &folder, Some(KEY));
    assert_eq!(part.code, WRONG);
    assert!(part.err.contains("a case's id has 32 hexadecimal digits"), "{}", part.err);
}

/// The broker of these tests is one that is called, when there is nothing against it.
#[test]
fn a_right_configuration_calls_its_broker() {
    let broker = Broker::new();
    let service = broker.service(
        "fingerprint: {id: k1, key: {env: TIPSTAFF_FINGERPRINT_KEY}}\nlisten: 127.0.0.1:0\n",
    );
    let folder = configuration("right", &[("tipstaff.yaml", &service)]);
    let mut command = program(&["run", "--config", &folder]);
    command.env("TIPSTAFF_FINGERPRINT_KEY", KEY).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    broker.0.set_nonblocking(false).unwrap();
    let (sender, called) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(broker.0.accept().is_ok()));
    let called = called.recv_timeout(Duration::from_secs(30));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(called, Ok(true));
}
