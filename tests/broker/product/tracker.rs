//! A tracker in which each case is one issue, found again by what it is labelled with.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::super::rig::wait_until;
use super::super::seats;
use super::reload::metric;
use super::sinks::{listening, request, serve};
use super::{GITLEAKS, PATIENCE, Process, Site, drains, finding};

const SINK: &str = "sink: desk\nowner: soc\nservice: desk\nqueues: all\nstart: earliest\n\
    find: {method: GET, path: /search, query: {label: '{{case.id}}'}, found: 'issues[0].key'}\n\
    request: {method: POST, path: /issues, body: {case: '{{case.id}}'}}\n\
    update: {method: POST, path: '/issues/{{delivery.found}}/notes', body: {key: '{{delivery.key}}'}}\n";

/// The case and the notes.
type Issue = (String, Vec<Value>);

#[derive(Clone)]
struct Tracker {
    address: SocketAddr,
    /// A proxy answers searches in its place, with a page and 200.
    is_hidden: Arc<AtomicBool>,
    searches: Arc<AtomicUsize>,
    /// In the order in which they were made.
    issues: Arc<Mutex<Vec<Issue>>>,
}

impl Tracker {
    fn start() -> Self {
        let (listener, address) = listening();
        let tracker = Self {
            address,
            is_hidden: Arc::new(AtomicBool::new(true)),
            searches: Arc::default(),
            issues: Arc::default(),
        };
        let server = tracker.clone();
        serve(listener, move |stream| server.answer(stream));
        tracker
    }

    fn answer(&self, mut stream: TcpStream) -> Option<()> {
        let (head, body) = request(&mut stream)?;
        let path = head.split(' ').nth(1)?.to_owned();
        let mut issues = self.issues.lock().unwrap();
        let answer = if let Some(case) = path.strip_prefix("/search?label=") {
            self.searches.fetch_add(1, SeqCst);
            let found = issues.iter().position(|(of, _)| of == case);
            let keys: Vec<Value> =
                found.iter().map(|at| json!({ "key": at.to_string() })).collect();
            json!({ "issues": keys }).to_string()
        } else {
            let body: Value = serde_json::from_slice(&body).ok()?;
            match path.strip_prefix("/issues/").and_then(|rest| rest.strip_suffix("/notes")) {
                Some(at) => issues[at.parse::<usize>().unwrap()].1.push(body["key"].clone()),
                None => issues.push((body["case"].as_str()?.to_owned(), Vec::new())),
            }
            "{}".to_owned()
        };
        let is_page = path.starts_with("/search") && self.is_hidden.load(SeqCst);
        let answer = if is_page { "<html>sign in</html>".to_owned() } else { answer };
        let kind = if is_page { "" } else { "Content-Type: application/json\r\n" };
        let head = format!("HTTP/1.1 200 X\r\nConnection: close\r\n{kind}");
        let length = answer.len();
        stream.write_all(format!("{head}Content-Length: {length}\r\n\r\n{answer}").as_bytes()).ok()
    }
}

#[test]
fn a_case_is_made_once_and_what_a_search_does_not_say_is_not_nothing() {
    let Some((_beside, bootstrap)) = seats::shared() else { return };
    let tracker = Tracker::start();
    let site = Site::beside_others(&bootstrap, "tracker");
    let more = format!(
        "services:\n  desk: {{url: \"http://{}\", allow: [127.0.0.1]}}\nsinks: [desk]\n",
        tracker.address
    );
    let config = |instance: &str| {
        let made = site.config(instance, &more);
        site.own(instance, "playbooks");
        fs::write(site.deployment.directory.join("playbooks/sinks/desk.yaml"), SINK).unwrap();
        made
    };
    config("operator");
    let made = site.verb(&["topics", "create"], "operator");
    assert_eq!(made.code, Some(0), "{made:?}");
    let (directory, port) = config("t1");
    let mut process = Process::start(&directory, "intake,triage,deliver", port);
    site.wait_ready(&mut process);
    // One case, told at its first alert and at its tenth.
    site.publish(&(0..10).map(|_| (GITLEAKS, 0, Some(finding(1)))).collect::<Vec<_>>());
    site.rulings(10, &process);
    let searched = || tracker.searches.load(SeqCst) > 2;
    assert!(wait_until(PATIENCE, searched), "{}", process.log());
    assert_eq!(*tracker.issues.lock().unwrap(), [], "{}", process.log());
    let retried = metric(&process, "tipstaff_sink_retries_total", &["\"desk\"", "content_type"]);
    assert!(retried > Some(0), "{retried:?}");
    tracker.is_hidden.store(false, SeqCst);
    let noted =
        || tracker.issues.lock().unwrap().iter().map(|(_, notes)| notes.len()).sum::<usize>();
    assert!(wait_until(PATIENCE, || noted() == 1), "{}", process.log());
    let issues: BTreeMap<_, _> = tracker.issues.lock().unwrap().iter().cloned().collect();
    assert_eq!((issues.len(), tracker.issues.lock().unwrap().len()), (1, 1));
    drains(&mut process);
}
