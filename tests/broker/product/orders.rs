//! Orders of people, signed by the real `ssh-keygen`, against a real broker.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tipstaff::case::{Millis, STATEMENT, Statement, Subject, Verb};
use tipstaff::normalize::partition_of;
use tipstaff::pipeline::order_message;

use super::super::conservation::read_topic;
use super::super::kafka::{chance, skipped};
use super::super::rig::wait_until;
use super::super::{seats, settings};
use super::reload::edit;
use super::{Answer, PATIENCE, Process, Site, drains, fate, findings};

const PARTITIONS: i32 = 2;
const MAY: &str = "roles: {analyst: [sam, dana, kim], lead: [dana]}\norders:\n  ack: [analyst]\n  \
    assign: [analyst]\n  release: [lead]\n  reopen: [lead]\n  close: [lead]\n  \
    except: {requester: [analyst], approver: [lead], max: 30d, emergency_max: 24h}\nstop: false\n";
const DENIED: &[u8] =
    include_bytes!("../../../pipelines/okta-system-log/examples/service-app-token-denied.json");
const ORDERS: &str = "orders: {allowed_signers: ../people}\n";

/// Two partitions and people with keys: sam and dana may order, eve is nobody, kim's key is over.
fn site(bootstrap: &str, prefix: &str) -> (Site, Process) {
    let site = Site::beside_others(bootstrap, prefix);
    site.create(ORDERS);
    let (directory, port) = site.config("o1", ORDERS);
    let playbooks = site.own("o1", "playbooks");
    edit(&playbooks.join("boundary.yaml"), "stop: false\n", MAY);
    let root = &site.deployment.directory;
    let of = |name: &str, options: &str| {
        let public = public(root, name);
        format!("{name} {options}{public}")
    };
    public(root, "eve");
    let people = [of("sam", ""), of("dana", ""), of("kim", "valid-before=\"20200101\" ")].concat();
    fs::write(root.join("people"), people).unwrap();
    let mut process = Process::start(&directory, "intake,triage", port);
    site.wait_ready(&mut process);
    (site, process)
}

pub fn key(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.key"))
}

pub fn public(directory: &Path, name: &str) -> String {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"])
        .arg(key(directory, name))
        .status()
        .unwrap();
    assert!(made.success());
    fs::read_to_string(directory.join(format!("{name}.key.pub"))).unwrap()
}

fn signature(directory: &Path, name: &str, text: &str) -> String {
    let mut child = Command::new("ssh-keygen")
        .args(["-q", "-Y", "sign", "-n", "tipstaff", "-f"])
        .arg(key(directory, name))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

fn now() -> Millis {
    tipstaff::app::system_clock()()
}

/// What `by` would sign about a case.
fn statement(case: &Value, order: Verb, by: &str) -> Statement {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let subject = Subject {
        case_id: text(&case["counters"]["case_id"]),
        nhi: text(&case["alert"]["nhi"]["id"]),
        credential: None,
    };
    Statement {
        statement: STATEMENT.to_owned(),
        v: 1,
        order,
        id: format!("{:016x}{:016x}", chance(), chance()),
        at: None,
        subject: Some(subject),
        issued_at: now(),
        expires_at: now().plus(3_600_000),
        by: by.to_owned(),
        via: None,
        to: (order == Verb::Assign).then(|| by.to_owned()),
        close: None,
        except: None,
        why: None,
        ends: None,
    }
}

impl Site {
    /// Sends these bytes as an order and waits for their record.
    fn judged(&self, partition: i32, message: &[u8]) -> Value {
        let topic = self.topic("orders");
        let before = self.records("order").len();
        self.publish(&[(&topic, partition, Some(message.to_vec()))]);
        assert!(wait_until(PATIENCE, || self.records("order").len() > before), "no record");
        let records = self.chains();
        let mut orders =
            records.iter().filter(|(p, _, record)| *p == partition && record["kind"] == "order");
        orders.next_back().unwrap().2.clone()
    }

    /// What becomes of a statement that these people sign.
    fn ordered(&self, statement: &Statement, signers: &[&str]) -> Value {
        let text = statement.to_string();
        let signed = |name: &&str| signature(&self.deployment.directory, name, &text);
        let signatures: Vec<String> = signers.iter().map(signed).collect();
        let partition = partition_of(&statement.subject.as_ref().unwrap().nhi, PARTITIONS);
        self.judged(partition, &order_message(&text, &signatures))
    }

    pub fn order(&self, arguments: &[&str], by: &str) -> Answer {
        let key = key(&self.deployment.directory, by);
        let mut all = vec!["order"];
        all.extend(arguments);
        all.extend(["--key", key.to_str().unwrap()]);
        self.verb(&all, "o1")
    }
}

pub fn refused(record: &Value) -> &str {
    record["order"]["refused"].as_str().unwrap_or("accepted")
}

#[test]
fn orders_are_accepted_once_and_refused_on_record() {
    if Command::new("ssh-keygen").arg("-?").output().is_err() {
        return skipped("there is no ssh-keygen");
    }
    let Some((_beside, bootstrap)) = seats::shared() else { return };
    let (site, mut process) = site(&bootstrap, "orders");
    site.publish(&findings(0, 0..6));
    let rulings = site.rulings(6, &process);

    what_the_command_sends_is_on_record(&site, &rulings[0]);
    what_is_not_right_is_refused(&site, &rulings[1]);
    what_was_sent_already_is_refused(&site, &rulings[2]);
    a_case_of_two_credentials_is_ordered_about(&site, &process);

    drains(&mut process);
    let verified = site.verb(&["verify"], "o1");
    assert_eq!(verified.code, Some(0), "{verified:?}");
}

fn what_the_command_sends_is_on_record(site: &Site, ruling: &Value) {
    let case = ruling["counters"]["case_id"].as_str().unwrap();
    let acked = site.order(&["ack", case], "sam");
    assert_eq!(acked.code, Some(0), "{acked:?}");
    assert!(acked.out.starts_with("accepted as analyst: the case is acknowledged; record "));
    let orders = site.records("order");
    assert_eq!(orders.len(), 1);
    let order = &orders[0]["order"];
    assert_eq!(order["signers"][0]["person"], "sam");
    assert_eq!(orders[0]["told"]["worked"]["acked"]["by"], "sam");
    let again = site.order(&["ack", case], "dana");
    assert_eq!(again.code, Some(1), "{again:?}");
    assert!(again.out.starts_with("refused (not_now): sam acknowledged it at "), "{again:?}");
    let unproved = ["close", case, "--verdict", "true_positive", "--reason", "rotated"];
    let unproved = [&unproved[..], &["--link", "new_credential=AKIADEPLOYKEYEXAMPLE"]].concat();
    let open = site.order(&unproved, "dana");
    let says =
        "refused (not_verified): `old-credential-dead` of playbook exposed-key is not known: ";
    assert!(open.out.starts_with(says), "{open:?}");
    let orders = site.records("order");
    let verified = orders.last().unwrap()["order"]["verified"].as_array().unwrap();
    let found: Vec<_> = verified.iter().map(|each| (&each["verdict"], &each["why"])).collect();
    assert_eq!(found[2], (&"false".into(), &"not_linked".into()), "{found:?}");
    let closing = ["close", case, "--verdict", "benign", "--reason", "known_test"];
    let denied = site.order(&closing, "sam");
    assert!(denied.out.starts_with("refused (wrong_role): "), "{denied:?}");
    let closed = site.order(&closing, "dana");
    assert!(closed.out.starts_with("accepted as lead: the case is closed"), "{closed:?}");
    let queue = ruling["ruling"]["fate"][fate(ruling)]["queue"].as_str().unwrap();
    let states = || {
        let cases = read_topic(&settings(&site.bootstrap), &site.topic(&format!("cases.{queue}")));
        let cases = cases.iter().map(|(.., bytes)| serde_json::from_slice::<Value>(bytes).unwrap());
        let own = cases.filter(|each| each["case_id"] == case);
        own.map(|each| each["state"].as_str().unwrap().to_owned()).skip(1).collect::<Vec<_>>()
    };
    assert_eq!(states(), ["acknowledged", "closed"]);
    let opened = site.order(&["reopen", case], "dana");
    assert_eq!(opened.code, Some(0), "{opened:?}");
    let given = site.order(&["assign", case, "--to", "sam"], "dana");
    assert_eq!(given.code, Some(0), "{given:?}");
    assert_eq!(states(), ["acknowledged", "closed", "reopened", "acknowledged"]);
    let shown = site.verb(&["cases", "show", case], "o1");
    assert!(shown.out.contains("acknowledged    by dana, "), "{shown:?}");
    assert!(shown.out.contains("assigned to     sam\n"), "{shown:?}");
    assert!(shown.out.contains("a person closed it, or one part of it (dana)"), "{shown:?}");
    let listed = site.verb(&["cases", "list", "--state", "acknowledged"], "o1");
    assert!(listed.out.lines().count() == 1 && listed.out.contains(case), "{listed:?}");
    assert_eq!(fate(ruling), "route");
    let nothing = site.order(&["release", case], "dana");
    assert!(nothing.out.starts_with("refused (not_now): nothing of the case is held"));
}

fn what_is_not_right_is_refused(site: &Site, ruling: &Value) {
    let ack = |by: &str| statement(ruling, Verb::Ack, by);
    let nhi = ruling["alert"]["nhi"]["id"].as_str().unwrap();
    let (own, foreign) = (partition_of(nhi, PARTITIONS), 1 - partition_of(nhi, PARTITIONS));
    let root = &site.deployment.directory;

    assert_eq!(refused(&site.judged(own, b"{}")), "not_a_statement");
    assert_eq!(refused(&site.judged(own, b"\xff")), "not_a_statement");
    assert_eq!(refused(&site.ordered(&ack("sam"), &["eve"])), "unknown_signer");
    assert_eq!(refused(&site.ordered(&ack("kim"), &["kim"])), "key_not_valid_then");
    assert_eq!(refused(&site.ordered(&ack("sam"), &["dana"])), "signed_by_another");
    let (signed, shown) = (ack("sam").to_string(), ack("sam").to_string());
    let forged = order_message(&shown, &[signature(root, "sam", &signed)]);
    let record = site.judged(own, &forged);
    assert_eq!(refused(&record), "bad_signature");
    assert_eq!(record["order"]["statement"], Value::Null, "nobody is proved to have signed it");
    let mut old = ack("sam");
    (old.issued_at, old.expires_at) = (now().plus(-7_200_000), now().plus(-1000));
    assert_eq!(refused(&site.ordered(&old, &["sam"])), "expired");
    let mut early = ack("sam");
    (early.issued_at, early.expires_at) = (now().plus(3_600_000), now().plus(7_200_000));
    assert_eq!(refused(&site.ordered(&early, &["sam"])), "not_yet_valid");
    let mut long = ack("sam");
    long.expires_at = now().plus(48 * 3_600_000);
    assert_eq!(refused(&site.ordered(&long, &["sam"])), "valid_too_long");
    let mut strange = ack("sam");
    strange.subject.as_mut().unwrap().case_id = "00000000000000000000000000000000".to_owned();
    assert_eq!(refused(&site.ordered(&strange, &["sam"])), "no_such_case");
    let text = ack("sam").to_string();
    let elsewhere = order_message(&text, &[signature(root, "sam", &text)]);
    assert_eq!(refused(&site.judged(foreign, &elsewhere)), "wrong_partition");
    assert_eq!(refused(&site.judged(own, &elsewhere)), "accepted", "and there nothing was used");
}

fn what_was_sent_already_is_refused(site: &Site, ruling: &Value) {
    let text = statement(ruling, Verb::Assign, "sam").to_string();
    let root = &site.deployment.directory;
    let message = order_message(&text, &[signature(root, "sam", &text)]);
    let partition = partition_of(ruling["alert"]["nhi"]["id"].as_str().unwrap(), PARTITIONS);
    assert_eq!(refused(&site.judged(partition, &message)), "accepted");
    assert_eq!(refused(&site.judged(partition, &message)), "used_before");
}

fn a_case_of_two_credentials_is_ordered_about(site: &Site, process: &Process) {
    for credential in ["key-one", "key-two"] {
        let mut event: Value = serde_json::from_slice(DENIED).unwrap();
        event["actor"]["id"] = "svc-a".into();
        event["client"]["id"] = credential.into();
        site.publish(&[("alerts.okta", 0, Some(event.to_string().into_bytes()))]);
    }
    let rulings = site.rulings(8, process);
    let mut of_both = rulings.iter().filter(|ruling| ruling["alert"]["nhi"]["id"] == "okta:svc-a");
    let case = of_both.next().unwrap()["counters"]["case_id"].as_str().unwrap();
    assert_eq!(of_both.next().unwrap()["counters"]["case_id"], case);
    let acked = site.order(&["ack", case], "sam");
    assert_eq!(acked.code, Some(0), "{acked:?}");
    let risk = ["--rationale", "r", "--compensating-control", "c", "--emergency", "--for", "1h"];
    let excepted = site.order(&[&["except", case], &risk[..]].concat(), "sam");
    assert_eq!(excepted.code, Some(0), "{excepted:?}");
}

/// INV-2: neither lost nor done twice, whatever is killed between.
#[test]
fn orders_have_one_record_each_however_often_triage_is_killed() {
    if Command::new("ssh-keygen").arg("-?").output().is_err() {
        return skipped("there is no ssh-keygen");
    }
    let Some((_beside, bootstrap)) = seats::shared() else { return };
    let (site, mut process) = site(&bootstrap, "killed");
    site.publish(&findings(0, 0..8));
    let rulings = site.rulings(8, &process);
    let root = &site.deployment.directory;
    let topic = site.topic("orders");
    let messages: Vec<(i32, Vec<u8>)> = (0..60)
        .map(|n: usize| {
            let statement = statement(&rulings[n % rulings.len()], Verb::Assign, "sam");
            let text = statement.to_string();
            let message = order_message(&text, &[signature(root, "sam", &text)]);
            (partition_of(&statement.subject.as_ref().unwrap().nhi, PARTITIONS), message)
        })
        .collect();
    for (round, some) in messages.chunks(12).enumerate() {
        for (partition, message) in some {
            site.publish(&[(&topic, *partition, Some(message.clone()))]);
        }
        site.publish(&findings(0, 8 + round * 20..28 + round * 20));
        std::thread::sleep(Duration::from_millis(37 * (1 + round as u64)));
        process.kill();
        process.resume();
    }
    site.wait_ready(&mut process);
    site.rulings(108, &process);
    let count = || site.records("order").len();
    assert!(wait_until(PATIENCE, || count() >= messages.len()), "{}", process.log());
    let orders = site.records("order");
    let mut digests: Vec<&str> =
        orders.iter().map(|record| record["order"]["sha256"].as_str().unwrap()).collect();
    assert!(orders.iter().all(|record| refused(record) == "accepted"), "{orders:#?}");
    digests.sort_unstable();
    digests.dedup();
    assert_eq!((orders.len(), digests.len()), (messages.len(), messages.len()));
    drains(&mut process);
    let verified = site.verb(&["verify"], "o1");
    assert_eq!(verified.code, Some(0), "{verified:?}");
}
