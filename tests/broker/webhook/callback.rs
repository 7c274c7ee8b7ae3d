//! A sink's users acknowledge cases over HTTP, by the real program on a real broker.

use std::fs;
use std::process::Command;

use serde_json::Value;

use super::client::{Headers, Hook, Reply, seconds, slack};
use crate::deployment::Process;
use crate::kafka::{free_ports, skipped};
use crate::product::orders::{key, public, refused};
use crate::product::reload::edit;
use crate::product::{PATIENCE, Site, drains, findings};
use crate::rig::wait_until;
use crate::seats;

const NEW: &str = "notareal-slack-secret-of-today";
const OLD: &str = "notareal-slack-secret-of-last-year";
const ORDERS: &str = "orders: {allowed_signers: ../people}\n";
const MAY: &str = "roles: {analyst: [sam], receiver: [tipstaff-receive]}\n\
    orders: {ack: [analyst], callback: [receiver]}\nstop: false\n";
const CALLBACK: &str = "callback:\n  verify: slack\n  form: payload\n  \
    when: {\"actions[0].action_id\": acknowledge}\n  case: actions[0].value\n  user: user.id\n  \
    people: {U012ABC: sam}\n";

/// Two processes that take callbacks; the first of them rules.
fn site(bootstrap: &str) -> (Site, [Hook; 2], [Process; 2]) {
    let site = Site::beside_others(bootstrap, "calledback");
    site.create(ORDERS);
    let root = &site.deployment.directory;
    fs::write(root.join("new"), NEW).unwrap();
    fs::write(root.join("old"), OLD).unwrap();
    let people = [("sam", "sam"), ("tipstaff-receive", "receiver")];
    let people = people.map(|(person, name)| format!("{person} {}", public(root, name)));
    fs::write(root.join("people"), people.concat()).unwrap();
    let ports = free_ports(2);
    let mut configs = Vec::new();
    for (instance, port) in ["o1", "o2"].into_iter().zip(&ports) {
        let more = format!(
            "{ORDERS}webhooks:\n  listen: 127.0.0.1:{port}\n  pipelines: {{}}\n  callbacks:\n    \
             key: {{file: {}}}\n    \
             sinks: {{slack: {{secrets: [{{file: ../new}}, {{file: ../old}}]}}}}\n",
            key(root, "receiver").display()
        );
        configs.push(site.config(instance, &more));
        site.own(instance, "playbooks");
    }
    let playbooks = root.join("playbooks");
    edit(&playbooks.join("boundary.yaml"), "stop: false\n", MAY);
    let sink = playbooks.join("sinks/slack.yaml");
    let text = fs::read_to_string(&sink).unwrap();
    fs::write(&sink, text + CALLBACK).unwrap();
    let starts = configs.iter().zip(["intake,triage", "intake"]);
    let mut processes = starts.map(|((directory, port), roles)| {
        let mut process = Process::start(directory, roles, *port);
        site.wait_ready(&mut process);
        process
    });
    let processes = [processes.next().unwrap(), processes.next().unwrap()];
    (site, [Hook(ports[0]), Hook(ports[1])], processes)
}

/// A button that was pressed.
fn pressed(action: &str, reference: &str, user: &str) -> Vec<u8> {
    let said = serde_json::json!({
        "type": "block_actions", "user": {"id": user},
        "actions": [{"action_id": action, "value": reference}],
    });
    let percent = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    let said: String = said.to_string().bytes().map(percent).collect();
    format!("payload={said}").into_bytes()
}

/// The order that this answer promises, once it is judged for the so many-th time.
fn judged(site: &Site, reply: &Reply, times: usize) -> Value {
    assert_eq!(reply.status, 200, "{reply:?}");
    let id = reply.body["order"].as_str().unwrap();
    let orders = || {
        let records = site.records("order").into_iter();
        records.filter(|record| record["order"].to_string().contains(id)).collect::<Vec<_>>()
    };
    assert!(wait_until(PATIENCE, || orders().len() >= times), "no record of order {id}");
    orders().pop().unwrap()
}

fn reference(ruling: &Value, nhi: Option<&str>) -> String {
    let case = ruling["counters"]["case_id"].as_str().unwrap();
    format!("{case}/1/{}", nhi.or(ruling["alert"]["nhi"]["id"].as_str()).unwrap())
}

#[test]
fn a_case_is_acknowledged_by_a_sinks_authenticated_callback() {
    if Command::new("ssh-keygen").arg("-?").output().is_err() {
        return skipped("there is no ssh-keygen");
    }
    let Some((_beside, bootstrap)) = seats::shared() else { return };
    let (site, hooks, [mut ruling, mut beside]) = site(&bootstrap);
    site.publish(&findings(0, 0..4));
    let rulings = site.rulings(4, &ruling);
    what_proves_nothing_is_refused(&site, &hooks[0], &rulings[0]);

    let body = pressed("acknowledge", &reference(&rulings[0], None), "U012ABC");
    let headers = slack(NEW, &seconds(0), &body);
    let record = judged(&site, &hooks[0].call_back("slack", &headers, &body), 1);
    assert_eq!(refused(&record), "accepted", "{record:#}");
    let acked = &record["told"]["worked"]["acked"];
    assert_eq!((&acked["by"], &acked["via"]["user"]), (&"sam".into(), &"U012ABC".into()));
    assert_eq!(record["order"]["signers"][0]["person"], "tipstaff-receive");
    let case = rulings[0]["counters"]["case_id"].as_str().unwrap();
    let shown = site.verb(&["cases", "show", case], "o1");
    let line = "acknowledged    by sam through sink slack, there U012ABC, ";
    assert!(shown.out.contains(line), "{shown:?}");
    assert!(shown.out.contains("a person acknowledged it (sam through slack)"), "{shown:?}");

    // Shown again, to the same process and to another one.
    assert_eq!(hooks[0].call_back("slack", &headers, &body).status, 409);
    let record = judged(&site, &hooks[1].call_back("slack", &headers, &body), 2);
    assert_eq!(refused(&record), "used_before");

    let body = pressed("acknowledge", &reference(&rulings[1], None), "U012ABC");
    let by_old = slack(OLD, &seconds(0), &body);
    let record = judged(&site, &hooks[1].call_back("slack", &by_old, &body), 1);
    assert_eq!(refused(&record), "accepted", "either secret is right while one replaces the other");
    let named = record["told"]["worked"]["acked"]["via"]["secret"].as_str().unwrap();
    assert!(named.contains("../old"), "{named}");

    let body = pressed("acknowledge", &reference(&rulings[2], Some("somebody-else")), "U012ABC");
    let headers = slack(NEW, &seconds(0), &body);
    let record = judged(&site, &hooks[0].call_back("slack", &headers, &body), 1);
    assert!(["no_such_case", "wrong_subject"].contains(&refused(&record)), "{record:#}");

    let (_, page) = ruling.get("/metrics").unwrap();
    for (result, count) in [("ordered", 2), ("used_before", 1), ("unauthorized", 3)] {
        let labels = format!("sink=\"slack\",result=\"{result}\"");
        let labels = [labels, format!("result=\"{result}\",sink=\"slack\"")];
        let is_there = labels
            .iter()
            .any(|labels| page.contains(&format!("tipstaff_callbacks_total{{{labels}}} {count}")));
        assert!(is_there, "{result}: {page}");
    }
    drains(&mut beside);
    drains(&mut ruling);
    let verified = site.verb(&["verify"], "o1");
    assert_eq!(verified.code, Some(0), "{verified:?}");
}

fn what_proves_nothing_is_refused(site: &Site, hook: &Hook, ruling: &Value) {
    let case = reference(ruling, None);
    let body = pressed("acknowledge", &case, "U012ABC");
    let status = |headers: &Headers, body: &[u8]| hook.call_back("slack", headers, body).status;
    let signed = |body: &[u8]| slack(NEW, &seconds(0), body);
    assert_eq!(status(&slack("notareal-other-secret", &seconds(0), &body), &body), 401);
    assert_eq!(status(&slack(NEW, &seconds(-302), &body), &body), 401);
    assert_eq!(status(&Headers::new(), &body), 401);
    let other = pressed("acknowledge", &case, "U999");
    assert_eq!(status(&signed(&other), &other), 403);
    for wrong in [&b"payload=%7B"[..], b"payload", &pressed("acknowledge", "nothing", "U012ABC")] {
        assert_eq!(status(&signed(wrong), wrong), 400, "{}", String::from_utf8_lossy(wrong));
    }
    let close = pressed("close", &case, "U012ABC");
    let reply = hook.call_back("slack", &signed(&close), &close);
    assert_eq!((reply.status, reply.body), (200, serde_json::json!({"order": null})));
    for unknown in ["jira", "webhook", "x"] {
        assert_eq!(hook.call_back(unknown, &signed(&body), &body).status, 404, "{unknown}");
    }
    assert_eq!(site.records("order").len(), 0);
}
