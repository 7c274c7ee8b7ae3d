//! A TAXII 2.1 collection on a real medallion server, fetched by the commands of the README.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::server::{Directory, Server, lookup};
use crate::skipped::skipped;

const COLLECTION: &str = "91a7b528-80eb-42ed-a74d-c6fbd5a26116";
/// Objects a page, as the server is told.
const PAGE: usize = 3;

/// The shell blocks of the threat enricher's README, in their order.
fn commands() -> Vec<String> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("enrichers/threat/README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let blocks = readme.split("```sh\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

fn run(directory: &Path, port: u16, command: &str) -> Output {
    let command = command
        .replace("https://taxii.example.com", &format!("http://127.0.0.1:{port}"))
        .replace("/etc/tipstaff/netrc", "../../netrc")
        .replace("COLLECTION", COLLECTION);
    let lists = directory.join("enrichers/threat");
    Command::new("bash").args(["-c", &command]).current_dir(lists).output().unwrap()
}

fn indicator(n: usize) -> Value {
    let at = "2026-01-01T00:00:00.000Z";
    json!({
        "type": "indicator", "spec_version": "2.1", "created": at, "modified": at, "valid_from": at,
        "id": format!("indicator--00000000-0000-4000-8000-{n:012}"),
        "pattern": format!("[ipv4-addr:value = '192.0.2.{n}']"), "pattern_type": "stix",
        "indicator_types": ["malicious-activity"],
    })
}

/// A user who may read and write, and one collection, empty.
fn start(directory: &Path) -> Option<Server> {
    let root = json!({
        "information": {"title": "a", "versions": ["application/taxii+json;version=2.1"], "max_content_length": 9_765_625},
        "status": [],
        "collections": [{
            "id": COLLECTION, "title": "addresses", "can_read": true, "can_write": true,
            "media_types": ["application/stix+json;version=2.1"], "objects": [], "manifest": [],
        }],
    });
    let data = json!({"/discovery": {"title": "a", "api_roots": ["/api1/"]}, "api1": root});
    let (data_file, config_file) = (directory.join("data.json"), directory.join("medallion.json"));
    fs::write(&data_file, data.to_string()).unwrap();
    let config = json!({
        "backend": {
            "module": "medallion.backends.memory_backend", "module_class": "MemoryBackend",
            "filename": data_file,
        },
        "users": {"reader": "hunter2"},
        "taxii": {"max_page_size": PAGE},
    });
    fs::write(&config_file, config.to_string()).unwrap();
    let config = config_file.to_str().unwrap().to_owned();
    Server::start("medallion", |port| vec!["--port".to_owned(), port.to_string(), config.clone()])
}

fn add(port: u16, numbers: std::ops::Range<usize>) {
    let mut objects: Vec<Value> = numbers.map(indicator).collect();
    objects.push(json!({
        "type": "identity", "spec_version": "2.1", "name": "x", "identity_class": "organization",
        "id": "identity--00000000-0000-4000-8000-000000000001",
        "created": "2026-01-01T00:00:00.000Z", "modified": "2026-01-01T00:00:00.000Z",
    }));
    let url = format!("http://127.0.0.1:{port}/api1/collections/{COLLECTION}/objects/");
    let request = reqwest::Client::new()
        .post(url)
        .basic_auth("reader", Some("hunter2"))
        .header("content-type", "application/taxii+json;version=2.1")
        .header("accept", "application/taxii+json;version=2.1")
        .body(json!({"objects": objects}).to_string());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let status = runtime.block_on(async { request.send().await.unwrap().status() });
    assert_eq!(status, 202);
}

#[test]
fn a_taxii_collection_is_a_list() {
    if Command::new("curl").arg("-V").output().is_err() || Command::new("jq").output().is_err() {
        skipped("the README's commands need curl and jq");
        return;
    }
    let directory = Directory::new("taxii");
    let Some(server) = start(&directory.0) else { return };
    let [one_page, all_pages] = commands().try_into().expect("two commands");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let lists = directory.0.join("enrichers/threat");
    fs::create_dir_all(&lists).unwrap();
    for entry in fs::read_dir(root.join("enrichers/threat")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, lists.join(path.file_name().unwrap())).unwrap();
    }
    for folder in ["pipelines", "playbooks"] {
        std::os::unix::fs::symlink(root.join(folder), directory.0.join(folder)).unwrap();
    }
    // Other enrichers, which the playbooks name.
    for entry in fs::read_dir(root.join("enrichers")).unwrap() {
        let path = entry.unwrap().path();
        let own = directory.0.join("enrichers").join(path.file_name().unwrap());
        if !own.exists() {
            std::os::unix::fs::symlink(path, own).unwrap();
        }
    }
    let before = fs::read_to_string(lists.join("indicators.json")).unwrap();

    fs::write(directory.0.join("netrc"), "machine 127.0.0.1 login reader password wrong\n")
        .unwrap();
    let refused = run(&directory.0, server.port, &one_page);
    assert!(!refused.status.success(), "{refused:?}");
    assert_eq!(fs::read_to_string(lists.join("indicators.json")).unwrap(), before);

    fs::write(directory.0.join("netrc"), "machine 127.0.0.1 login reader password hunter2\n")
        .unwrap();
    add(server.port, 1..3);
    let fetched = run(&directory.0, server.port, &one_page);
    assert!(fetched.status.success(), "{fetched:?}");
    let listed = |address: &str| lookup(&directory.0, &[], &["threat", address]);
    let row = listed("192.0.2.2");
    assert_eq!(row["values"]["lists"], "indicators", "{row}");
    assert_eq!(row["values"]["label"], "malicious-activity");
    assert_eq!(listed("192.0.2.7")["values"], json!({"listed": false}));

    // More than a page: the one-line command gives a part, which is refused.
    add(server.port, 3..9);
    assert!(run(&directory.0, server.port, &one_page).status.success());
    let refused = Command::new(env!("CARGO_BIN_EXE_tipstaff"))
        .args(["lookup", "threat", "192.0.2.7", "--config", directory.0.to_str().unwrap()])
        .output()
        .unwrap();
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(told.contains("indicators.json:1:1: one page of a TAXII collection"), "{told}");
    let fetched = run(&directory.0, server.port, &all_pages);
    assert!(fetched.status.success(), "{fetched:?}");
    for n in 1..9 {
        assert_eq!(listed(&format!("192.0.2.{n}"))["values"]["listed"], true, "{n}");
    }
}
