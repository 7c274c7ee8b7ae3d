use crate::{files, problems};
use tipstaff::case::Millis;
use tipstaff::config::{SecretFrom, ServiceConfig, Start, load};
use tipstaff::normalize::FingerprintKeys;
use tipstaff::text::Problems;

const FULL: &str = "\
kafka:
  bootstrap.servers: a:9092,b:9092
  properties:
    security.protocol: sasl_ssl
    sasl.username: {env: KAFKA_USER}
    sasl.password: {env: KAFKA_PASSWORD}
    socket.keepalive.enable: true
    statistics.interval.ms: 1000
topics: {prefix: soc, partitions: 6, replication: 1, retention: 3d, case_partitions: 2}
instance: soc-a
workers: {intake: 2, triage: 4}
batch: {max_ms: 50, max_alerts: 10, lookup_ms: 20}
listen: 0.0.0.0:9000
fingerprint: {id: k2, key: {file: keys/k2}, previous: {id: k1, key: {env: OLD_KEY}}}
paths: {pipelines: ../p}
start: 2026-01-01T00:00:00Z
log: {level: debug, format: json}
findings: true
";

fn service(text: &str) -> ServiceConfig {
    load(&files(&[("tipstaff.yaml", text)])).expect("no problems").service.expect("a service")
}

/// A fingerprint made with the keys that were resolved.
fn resolve(service: &ServiceConfig, key: &str) -> Result<String, Vec<String>> {
    let mut problems = Problems::default();
    let read = |from: &SecretFrom| match from {
        SecretFrom::Env(name) if name == "MISSING" => Err("it is not set".to_owned()),
        SecretFrom::Env(_) => Ok("hunter2-hunter2-hunter2-hunter2-".to_owned()),
        SecretFrom::File(_) => Ok(key.to_owned()),
    };
    let secrets = service.resolve(&read, &mut problems);
    let told: Vec<_> = problems.into_sorted().iter().map(ToString::to_string).collect();
    let secrets = secrets.ok_or(told)?;
    let shown = format!("{secrets:?} {service:?}");
    assert!(!shown.contains("hunter2") && !shown.contains(key.trim()), "{shown}");
    assert_eq!(
        secrets.kafka["sasl.password"].expose_text(),
        Some("hunter2-hunter2-hunter2-hunter2-")
    );
    assert_eq!(secrets.kafka["statistics.interval.ms"].expose(), b"1000");
    Ok(secrets.fingerprints.fingerprint(b"a secret"))
}

#[test]
fn everything_can_be_set_and_little_must_be() {
    let full = service(FULL);
    assert_eq!((full.topics.partitions, full.topics.retention_ms), (6, 259_200_000));
    assert_eq!(full.topics.case_partitions, 2);
    assert_eq!((full.workers.triage, full.batch.lookup_ms), (4, 20));
    assert_eq!(full.start, Start::Time(Millis(1_767_225_600_000)));
    assert_eq!((full.log.level, full.log.json, full.findings), ("debug", true, true));
    let least =
        service("kafka: {bootstrap.servers: k:9092}\nfingerprint: {id: k1, key: {env: K}}\n");
    assert_eq!((least.instance.as_str(), least.topics.partitions), ("tipstaff-1", 12));
    assert_eq!(least.topics.case_partitions, 1);
    assert_eq!(least.listen.to_string(), "127.0.0.1:9464");
    assert_eq!((least.start, least.findings), (Start::Earliest, false));
}

#[test]
fn a_secret_in_the_file_is_refused_and_never_quoted() {
    let text = "\
kafka:
  bootstrap.servers: k:9092
  properties:
    sasl.password: hunter2
    ssl.key.password: 12345678
    ssl.key.pem: [hunter2]
    sasl.oauthbearer.client.secret: {env: A, file: hunter2}
fingerprint: {id: k1, key: hunter2hunter2}
";
    let told = problems(&files(&[("tipstaff.yaml", text)]));
    assert_eq!(
        told,
        [
            "tipstaff.yaml:4:20: `sasl.password` is a secret: write `{env: NAME}` or `{file: path}`",
            "tipstaff.yaml:5:23: `ssl.key.password` is a secret: write `{env: NAME}` or `{file: path}`",
            "tipstaff.yaml:6:18: `ssl.key.pem` is a secret: write `{env: NAME}` or `{file: path}`",
            "tipstaff.yaml:7:37: `sasl.oauthbearer.client.secret` needs either `env` or `file`",
            "tipstaff.yaml:8:28: `key` is a secret: write `{env: NAME}` or `{file: path}`",
        ]
    );
}

#[test]
fn limits_are_told_with_their_range() {
    let text = FULL.replace("partitions: 6", "partitions: 0").replace("max_ms: 50", "max_ms: 5000");
    let text = text.replace("level: debug", "level: debgu").replace("id: k1", "id: k2");
    assert_eq!(
        problems(&files(&[("tipstaff.yaml", &text)])),
        [
            "tipstaff.yaml:9:35: `partitions` must be from 1 to 1000",
            "tipstaff.yaml:12:17: `max_ms` must be from 1 to 2000",
            "tipstaff.yaml:14:55: two keys cannot have the same id `k2`",
            "tipstaff.yaml:17:14: `level` must be one of error, warn, info, debug, trace, did you mean `debug`?",
        ]
    );
}

#[test]
fn keys_are_long_enough_or_refused() {
    let full = service(FULL);
    let with = |key: &[u8]| {
        let keys = FingerprintKeys::new(("k2", key), None).expect("a right key");
        Ok(keys.fingerprint(b"a secret"))
    };
    assert_eq!(resolve(&full, &"ab".repeat(32)), with(&[0xab; 32]));
    let text = "a key of more than thirty-two bytes";
    assert_eq!(resolve(&full, &format!("{text}\n")), with(text.as_bytes()));
    for short in ["short", &"ab".repeat(16), &"ab".repeat(31)] {
        let told = resolve(&full, short).expect_err("too short");
        let expected = "tipstaff.yaml:14:14: the key in file `keys/k2` is too short: \
                        it needs 32 bytes, or 64 hexadecimal digits";
        assert_eq!(told, [expected]);
    }
}

#[test]
fn a_secret_that_is_missing_is_named() {
    let missing = FULL.replace("KAFKA_PASSWORD", "MISSING").replace("OLD_KEY", "MISSING");
    let told = resolve(&service(&missing), &"ab".repeat(32)).expect_err("missing");
    assert_eq!(
        told,
        [
            "tipstaff.yaml:6:20: environment variable `MISSING` cannot be read: it is not set",
            "tipstaff.yaml:14:55: environment variable `MISSING` cannot be read: it is not set",
        ]
    );
}
