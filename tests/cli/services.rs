use super::server::{Mode, Server};
use super::*;

const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const ENRICHER: &str = r#"
enricher: vault
title: What the vault knows of it
owner: platform-security
provides: {live: bool}
key: nhi.id
source:
  http:
    service: probe
    key: "(?<id>.+)"
    calls: [{id: one, get: "/{id}", absent_when: [{status: 404}]}]
    facts: {live: {path: one.live}}
"#;
const PLAYBOOK: &str = r#"
playbook: exposed-key
title: A key was found where others can read it
owner: platform-security
mode: live
on: {kind: exposed_key}
controls: {nist_csf: [RS.MA-02]}
facts: {vault: {max_age: 15m}}
rules:
  - id: live
    when: [vault.live]
    on_unknown: next
    route: {queue: first, priority: critical}
  - id: otherwise
    route: {queue: people, priority: high}
"#;

/// A configuration whose only service is this, if any.
fn folder(name: &str, service: Option<&Server>) -> String {
    let services = service.map_or_else(String::new, |server| {
        let url = server.url();
        format!(
            "services: {{probe: {{url: \"{url}\", allow: [127.0.0.1], bearer: {{env: PROBE}}}}}}\n\
             cache: {{snapshot: kept}}\n"
        )
    });
    let pipelines = root().join("pipelines");
    let text = format!(
        "kafka: {{bootstrap.servers: \"127.0.0.1:1\"}}\n{services}\
         paths: {{pipelines: \"{}\"}}\n\
         fingerprint: {{id: k1, key: {{env: TIPSTAFF_FINGERPRINT_KEY}}}}\n",
        pipelines.display()
    );
    let files = [
        ("tipstaff.yaml", &*text),
        ("enrichers/vault/enricher.yaml", ENRICHER),
        ("playbooks/p.yaml", PLAYBOOK),
    ];
    configuration(name, &files)
}

fn with(arguments: &[&str], folder: &str, token: Option<&str>) -> Ran {
    let mut command = program(&[&arguments[..1], &["--config", folder], &arguments[1..]].concat());
    command.env("TIPSTAFF_FINGERPRINT_KEY", KEY).envs(token.map(|token| ("PROBE", token)));
    ran(command, b"")
}

#[test]
fn a_fact_is_asked_for_over_the_network() {
    let server = Server::start(Mode::Right("{\"live\":true}"));
    let folder = folder("asked", Some(&server));
    let ran = with(&["lookup", "vault", "a/b c"], &folder, Some("hunter2-token"));
    assert_eq!((ran.code, &*ran.err), (DONE, ""), "{}", ran.out);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!((lines[0], lines[2]), ("vault            known", "  live           true"));
    assert!(lines[1].starts_with("from             http:probe version "), "{}", ran.out);
    let head = server.heads().remove(0);
    assert!(head.starts_with("GET /a%2Fb%20c HTTP/1.1"), "{head}");
    assert!(head.to_ascii_lowercase().contains("authorization: bearer hunter2-token"), "{head}");
    server.turn(Mode::Status("401 No"));
    let ran = with(&["lookup", "--fresh", "vault", "x"], &folder, Some("hunter2-token"));
    assert_eq!(ran.code, FAILED);
    assert!(ran.out.contains("service `probe`: the answer was 401 Unauthorized"), "{}", ran.out);
    assert!(!format!("{}{}", ran.out, ran.err).contains("hunter2"));
}

/// What a process kept is what a person is shown, until it is asked for anew.
#[test]
fn a_kept_answer_is_shown_and_asked_past() {
    let server = Server::start(Mode::Right("{\"live\":true}"));
    let folder = folder("kept", Some(&server));
    let path = Path::new(&folder);
    let service = std::fs::read_to_string(path.join("tipstaff.yaml")).unwrap();
    let service = service.replace("bearer: {env: PROBE}", "bearer: {file: token}");
    std::fs::write(path.join("tipstaff.yaml"), service).unwrap();
    std::fs::write(path.join("token"), "a-token").unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (now, metrics) = (tipstaff::app::system_clock()(), tipstaff::observe::Metrics::new());
    let loaded = tipstaff::app::load(Some(path), now).unwrap();
    loaded.connect(runtime.handle(), &metrics.unwrap(), now).unwrap();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loaded.enrichers.fact("vault", "a", until).unwrap();
    let remotes = loaded.enrichers.remotes().unwrap();
    assert_eq!(remotes.save(&path.join("kept/tipstaff-1.ndjson")).unwrap(), 1);
    server.turn(Mode::Right("{\"live\":false}"));
    for (arguments, cache, live) in [
        (&["lookup", "--json", "vault", "a"][..], "hit", true),
        (&["lookup", "--json", "--fresh", "vault", "a"], "fetched", false),
        (&["lookup", "--json", "vault", "b"], "fetched", false),
    ] {
        let ran = with(arguments, &folder, None);
        let row = &ran.json()[0];
        assert_eq!((&row["cache"], &row["values"]["live"]), (&cache.into(), &live.into()));
    }
    std::fs::write(path.join("kept/tipstaff-1.ndjson"), "broken").unwrap();
    let ran = with(&["lookup", "--json", "vault", "a"], &folder, None);
    assert_eq!(ran.json()[0]["cache"], "fetched");
}

#[test]
fn alerts_are_ruled_offline_with_what_the_services_say() {
    let server = Server::start(Mode::Right("{\"live\":true}"));
    let folder = folder("decided", Some(&server));
    let example = root().join("pipelines/gitleaks/examples");
    let mut examples: Vec<_> = std::fs::read_dir(example).unwrap().flatten().collect();
    examples.sort_by_key(std::fs::DirEntry::file_name);
    let file = examples[0].path();
    let decide = |queue: &str| {
        let ran = with(&["decide", file.to_str().unwrap()], &folder, Some("a-token"));
        assert_eq!(ran.code, DONE, "{}", ran.err);
        assert!(!ran.json().is_empty() && !ran.out.contains("a-token"));
        for record in ran.json() {
            assert_eq!(record["ruling"]["fate"]["route"]["queue"], queue, "{record:#}");
        }
    };
    decide("first");
    server.turn(Mode::Right("{\"live\":false}"));
    decide("people");
    server.turn(Mode::Status("500 Broken"));
    decide("people");
}

#[test]
fn what_is_only_checked_asks_nobody_and_a_missing_secret_starts_nothing() {
    let server = Server::start(Mode::Right("{\"live\":true}"));
    let folder = folder("checked", Some(&server));
    for verb in ["check", "test"] {
        let ran = with(&[verb], &folder, None);
        assert_eq!((ran.code, &*ran.err), (DONE, ""), "{verb}: {}", ran.out);
    }
    for arguments in [&["lookup", "vault", "a"][..], &["run"]] {
        let ran = with(arguments, &folder, None);
        assert_eq!((ran.code, &*ran.out), (WRONG, ""), "{arguments:?}");
        let told = "environment variable `PROBE` cannot be read: it is not set";
        assert!(ran.problems(&folder)[0].ends_with(told), "{}", ran.err);
    }
    assert_eq!(server.requests(), 0);
}

#[test]
fn a_service_that_is_not_configured_is_unknown_and_said_so() {
    let ran = with(&["lookup", "vault", "a"], &folder("unconfigured", None), None);
    assert_eq!(ran.code, FAILED);
    assert!(ran.out.contains("no service `probe` is configured"), "{}", ran.out);
}
