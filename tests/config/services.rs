use crate::{files, problems};
use tipstaff::config::{Login, SecretFrom, ServiceConfig, Shown, load};
use tipstaff::text::Problems;

const BASE: &str =
    "kafka: {bootstrap.servers: k:9092}\nfingerprint: {id: k1, key: {env: K}}\nservices:\n";

fn service(text: &str) -> ServiceConfig {
    let text = format!("{BASE}{text}");
    load(&files(&[("tipstaff.yaml", &text)])).expect("no problems").service.expect("a service")
}

/// Of each, the line without the file's name.
fn told(text: &str) -> Vec<String> {
    let told = problems(&files(&[("tipstaff.yaml", &format!("{BASE}{text}"))]));
    told.iter().map(|line| line.trim_start_matches("tipstaff.yaml:").to_owned()).collect()
}

const FULL: &str = "  \
  vault:
    url: https://vault.example.com:8200/base/
    headers: {X-Vault-Token: {env: VAULT_TOKEN}, X-Vault-Namespace: team-a}
    allow: [10.0.0.0/8, \"fd00::1\"]
    ca: ca.pem
    limits:
      timeout: 1500ms
      concurrency: 4
      rate: 600/m
      retries: 0
      breaker: {failures: 3, open_for: 10s}
      max_bytes: 64KiB
  iam:
    url: https://iam.amazonaws.com
    aws: {region: us-east-1, service: iam, access_key_id: {env: A}, secret_access_key: {env: B}}
  table: {url: \"http://127.0.0.1:8080\", allow: [127.0.0.1], basic: {user: u, password: {env: P}}}
cache: {snapshot: kept}
";

#[test]
fn everything_can_be_set_and_little_must_be() {
    let service = service(FULL);
    let [vault, iam, table] = service.services.as_slice() else { panic!("three") };
    assert_eq!(vault.url, "https://vault.example.com:8200/base");
    assert_eq!((vault.reach.listed.len(), vault.reach.only_listed), (2, false));
    assert_eq!(vault.sent.headers[1].1, Shown::Plain("team-a".to_owned()));
    let limits = vault.limits;
    assert_eq!((limits.timeout_ms, limits.concurrency, limits.retries), (1500, 4, 0));
    assert_eq!((limits.rate, limits.max_bytes), (Some((600, 60_000)), 65_536));
    assert_eq!((limits.breaker.failures, limits.breaker.open_for_ms), (3, 10_000));
    let Login::Aws(keys) = &iam.sent.login else { panic!("{iam:?}") };
    assert_eq!(
        (&*keys.region, &*keys.service, keys.session_token.is_some()),
        ("us-east-1", "iam", false)
    );
    assert!(table.reach.only_listed && iam.limits.rate.is_none());
    assert_eq!(service.snapshot.as_deref(), Some("kept"));
}

#[test]
fn secrets_are_fetched_and_one_that_is_missing_or_no_header_is_named() {
    let service = service(FULL);
    let resolve = |missing: &str, text: &str| {
        let mut problems = Problems::default();
        let read = |from: &SecretFrom| match from {
            SecretFrom::Env(name) if name == missing => Err("it is not set".to_owned()),
            _ => Ok(text.to_owned()),
        };
        let secrets = service.resolve_services(&read, &mut problems);
        assert!(!format!("{secrets:?}").contains("hunter2"));
        let told: Vec<_> = problems.into_sorted().iter().map(ToString::to_string).collect();
        (secrets.len(), told)
    };
    assert_eq!(resolve("", "hunter2\n"), (3, vec![]));
    let (count, told) = resolve("B", "hunter2");
    assert_eq!(count, 2);
    assert_eq!(told.len(), 1);
    assert!(
        told[0].ends_with("environment variable `B` cannot be read: it is not set"),
        "{told:?}"
    );
    let (_, told) = resolve("", "hunter2\nX-Other: 1");
    assert!(told[0].ends_with("must be one line of plain ASCII"), "{told:?}");
    assert!(!told.iter().any(|line| line.contains("hunter2")), "{told:?}");
}

#[test]
fn each_mistake_is_told_at_its_place() {
    for (text, expected) in [
        ("  a: {}\n", "4:6: `url` is missing"),
        (
            "  A: {url: \"https://x.example\"}\n",
            "4:3: a service's name must be small letters, digits, `-` or `_`",
        ),
        (
            "  a: {url: \"https://x.example\", timeout: 1s}\n",
            "4:33: unknown key `timeout`; known here: allow, url, headers, bearer, basic, aws, webhook_secret, ca, limits",
        ),
        (
            "  a: {url: \"https://x.example\", bearre: {env: T}}\n",
            "4:33: unknown key `bearre`, did you mean `bearer`?",
        ),
        (
            "  a: {url: \"https://x.example\", bearer: hunter2}\n",
            "4:41: `bearer` is a secret: write `{env: NAME}` or `{file: path}`",
        ),
        (
            "  a: {url: \"https://x.example\", headers: {X-Token: hunter2}}\n",
            "4:52: `X-Token` is a secret: write `{env: NAME}` or `{file: path}`",
        ),
        (
            "  a: {url: \"https://x.example\", headers: {\"X T\": a}}\n",
            "4:43: a header's name must be letters, digits, `-` or `_`",
        ),
        (
            "  a: {url: \"https://x.example\", bearer: {env: A}, basic: {user: u, password: {env: B}}}\n",
            "4:6: a service has one of bearer, basic, aws, webhook_secret",
        ),
        (
            "  a: {url: \"https://x.example\", allow: [ten]}\n",
            "4:41: `allow` lists addresses and networks like 10.0.0.0/8",
        ),
        (
            "  a: {url: \"https://x.example\", limits: {rate: 5}}\n",
            "4:48: `rate` must be a number of requests like 50/s, 600/m or 5000/h",
        ),
        (
            "  a: {url: \"https://x.example\", limits: {timeout: 5h}}\n",
            "4:51: `timeout` must be a duration from 1ms to 30s",
        ),
        (
            "  a: {url: \"https://127.0.0.1\"}\n",
            "4:12: the address is not a public one and `allow` does not list it",
        ),
        (
            "  a: {url: \"https://[::ffff:10.0.0.1]:80\"}\n",
            "4:12: the address is not a public one and `allow` does not list it",
        ),
        (
            "  a: {url: \"http://x.example\"}\n",
            "4:12: http:// is only for addresses that `allow` lists: what is sent can be read on the way",
        ),
        (
            "  a: {url: \"http://8.8.8.8\", allow: [10.0.0.0/8]}\n",
            "4:12: the address is not a public one and `allow` does not list it",
        ),
        ("  a: {url: ftp://x}\n", "4:12: `url` must begin with https:// (or http://)"),
    ] {
        assert_eq!(told(text), [expected], "{text}");
    }
}

/// Anything that two readers could take for two different places.
#[test]
fn a_url_is_a_plain_one() {
    for url in [
        "https://",
        "https:///x",
        "https://user@x.example",
        "https://u:p@x.example",
        "https://x.example?a=b",
        "https://x.example#a",
        "https://x.example/../b",
        "https://x.example/%2e",
        "https://2130706433",
        "https://0x7f000001",
        "https://127.1",
        "https://0177.0.0.1",
        "https://x.example:0",
        "https://x.example:99999",
        "https://x.example\\\\@127.0.0.1",
        "https://.example",
        "https://x..example",
        "https://[::1",
        "https://::1",
        "https://x y",
        "https://1.2.3.4.5",
    ] {
        let told = told(&format!("  a: {{url: \"{url}\"}}\n"));
        let expected = ["4:12: `url` must be like https://vault.example.com:8200/prefix"];
        assert!(told == expected || told[0].contains("must begin with"), "{url}: {told:?}");
    }
}

#[test]
fn a_cache_is_for_what_is_asked_over_the_network() {
    let enricher = "enricher: e\ntitle: T\nowner: o\nprovides: {a: text}\nkey: nhi.id\n\
                    source: {table: {file: t.csv, key: id}}\ncache: {hit: 5m, hits: 1}\n";
    let files = files(&[("enrichers/e/enricher.yaml", enricher), ("enrichers/e/t.csv", "id,a\n")]);
    assert_eq!(
        problems(&files),
        [
            "enrichers/e/enricher.yaml:7:8: `cache` goes with a source that is asked over the network",
            "enrichers/e/enricher.yaml:7:18: unknown key `hits`, did you mean `hit`?",
        ]
    );
}
