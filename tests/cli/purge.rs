use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Child;
use std::time::{Duration, Instant};

use super::*;

const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const OWNER: &str = "enricher: owner\ntitle: T\nowner: o\nprovides: {team: text}\n\
                     key: {all: [nhi.id, nhi.kind]}\n\
                     source: {table: {file: t.csv, key: [id, kind]}}\n";

/// `tipstaff run` that waits for its broker; ended when dropped.
struct Running {
    child: Child,
    listen: SocketAddr,
    folder: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn running(name: &str) -> Running {
    let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let service = format!(
        "kafka: {{bootstrap.servers: \"127.0.0.1:1\"}}\nlisten: {listen}\n\
         fingerprint: {{id: k1, key: {{env: TIPSTAFF_FINGERPRINT_KEY}}}}\n"
    );
    let folder = configuration(
        name,
        &[
            ("tipstaff.yaml", &service),
            ("enrichers/owner/enricher.yaml", OWNER),
            ("enrichers/owner/t.csv", "id,kind,team\n"),
        ],
    );
    let mut command = program(&["run", "--config", &folder]);
    command.env("TIPSTAFF_FINGERPRINT_KEY", KEY).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().unwrap();
    let running = Running { child, listen, folder };
    let end = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(listen).is_err() {
        assert!(Instant::now() < end, "it does not listen");
        std::thread::sleep(Duration::from_millis(50));
    }
    running
}

/// The answer's first line.
fn sent(listen: SocketAddr, headers: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(listen).unwrap();
    let length = body.len();
    let request = format!(
        "POST /facts/purge HTTP/1.1\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn a_fact_is_purged_in_the_running_process() {
    let running = running("purge");
    let purge = |parts: &[&str]| {
        tipstaff(&[&["lookup", "--config", &running.folder, "--purge"], parts].concat())
    };
    let ran = purge(&["owner", "a", "b"]);
    assert_eq!((ran.code, &*ran.err), (DONE, ""));
    assert_eq!(ran.out, format!("{} keeps no answer of `owner` for a b\n", running.listen));
    let ran = purge(&["owner", "a"]);
    assert_eq!((ran.code, &*ran.out), (WRONG, ""));
    assert!(ran.err.contains("is looked up by nhi.id, nhi.kind"), "{}", ran.err);
}

#[test]
fn no_page_may_purge_and_nothing_but_a_key() {
    let running = running("no_purge");
    let listen = running.listen;
    let (json, host) = ("Content-Type: application/json\r\n", format!("Host: {listen}\r\n"));
    let right = "{\"enricher\":\"owner\",\"key\":[\"a\\u0000\",\"b\"]}";
    for (headers, body, expected) in [
        (format!("{host}{json}"), right, "HTTP/1.1 200 OK"),
        (host.clone(), right, "HTTP/1.1 403 Forbidden"),
        (format!("{host}{json}Origin: http://evil.example\r\n"), right, "HTTP/1.1 403 Forbidden"),
        (format!("Host: evil.example\r\n{json}"), right, "HTTP/1.1 403 Forbidden"),
        (format!("{host}{json}"), "{\"enricher\":\"owner\"}", "HTTP/1.1 400 Bad Request"),
        (
            format!("{host}{json}"),
            "{\"enricher\":\"other\",\"key\":[\"a\",\"b\"]}",
            "HTTP/1.1 400 Bad Request",
        ),
    ] {
        assert_eq!(sent(listen, &headers, body), expected, "{headers}{body}");
    }
}

#[test]
fn without_a_process_nothing_is_purged() {
    let ran = tipstaff(&["lookup", "--purge", "owner", "a"]);
    assert_eq!((ran.code, &*ran.out), (WRONG, ""));
    let folder = {
        let running = running("purge_gone");
        running.folder.clone()
    };
    let ran = tipstaff(&["lookup", "--config", &folder, "--purge", "owner", "a", "b"]);
    assert_eq!((ran.code, &*ran.out), (FAILED, ""));
    assert!(ran.err.contains("/facts/purge: "), "{}", ran.err);
}
