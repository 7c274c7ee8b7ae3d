use crate::{files, problems};
use tipstaff::config::{SecretFrom, TracesConfig, load};
use tipstaff::text::Problems;

const LEAST: &str = "kafka: {bootstrap.servers: a:9092}\n\
                     fingerprint: {id: k1, key: {env: KEY}}\n";

fn traces(section: &str) -> Option<TracesConfig> {
    let text = format!("{LEAST}{section}");
    let loaded = load(&files(&[("tipstaff.yaml", &text)])).expect("no problems");
    loaded.service.expect("a service").traces
}

#[test]
fn without_the_section_nothing_is_traced_and_with_it_little_must_be_said() {
    assert_eq!(traces(""), None);
    let least = traces("traces: {endpoint: http://127.0.0.1:4318}\n").unwrap();
    assert_eq!(least.sample_ppm, 10_000);
    assert_eq!(least.service_name, "tipstaff");
    let full = "traces: {endpoint: \"https://c.example.com:4318/otlp/\", sample: 0.000001, \
                service_name: soc, headers: {Authorization: {env: A}, x-tenant: {file: t}}}\n";
    let full = traces(full).unwrap();
    assert_eq!(full.endpoint, "https://c.example.com:4318/otlp");
    assert_eq!((full.sample_ppm, full.service_name.as_str()), (1, "soc"));
    let names: Vec<&str> = full.headers.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, ["authorization", "x-tenant"]);
}

#[test]
fn a_share_is_exact() {
    for (text, ppm) in [
        ("0", 0),
        ("1", 1_000_000),
        ("0.0", 0),
        ("1.0", 1_000_000),
        ("0.25", 250_000),
        ("0.5", 500_000),
    ] {
        let section = format!("traces: {{endpoint: \"http://[::1]:4318\", sample: {text}}}\n");
        assert_eq!(traces(&section).unwrap().sample_ppm, ppm, "{text}");
    }
}

#[test]
fn every_mistake_is_told_with_its_place() {
    for (section, told) in [
        ("traces: {}", "`endpoint` is missing"),
        ("traces: {endpoint: 127.0.0.1:4318}", "`endpoint` must be a URL"),
        ("traces: {endpoint: \"http://u:p@a:4318\"}", "`endpoint` must be a URL"),
        ("traces: {endpoint: \"http://:4318\"}", "`endpoint` must be a URL"),
        ("traces: {endpoint: \"http://a:4318/?q\"}", "`endpoint` must be a URL"),
        ("traces: {endpoint: http://a:4318/v1/traces}", "is without `/v1/traces`"),
        ("traces: {endpoint: http://a:4318, sample: 1.1}", "`sample` must be a number"),
        ("traces: {endpoint: http://a:4318, sample: 0.0000001}", "`sample` must be a number"),
        ("traces: {endpoint: http://a:4318, sample: -1}", "`sample` must be a number"),
        ("traces: {endpoint: http://a:4318, headers: {a: b}}", "`a` is a secret"),
        ("traces: {endpoint: http://a:4318, headers: {a: {env: B}}}", "must be https://"),
        (
            "traces: {endpoint: http://127.0.0.1.example.com, headers: {a: {env: B}}}",
            "must be https://",
        ),
        ("traces: {endpoint: http://a:4318, headers: {\"a b\": {env: B}}}", "name of a header"),
        ("traces: {endpoint: http://a:4318, sampel: 1}", "sampel"),
    ] {
        let text = format!("{LEAST}{section}\n");
        let found = problems(&files(&[("tipstaff.yaml", &text)]));
        let is_told = |line: &String| line.starts_with("tipstaff.yaml:3:") && line.contains(told);
        assert!(found.iter().any(is_told), "{section}: {found:?}");
    }
}

#[test]
fn the_values_of_headers_are_secrets_and_stay_so() {
    let text =
        format!("{LEAST}traces: {{endpoint: https://a, headers: {{authorization: {{env: A}}}}}}\n");
    let service = load(&files(&[("tipstaff.yaml", &text)])).unwrap().service.unwrap();
    let resolve = |value: &str| {
        let mut problems = Problems::default();
        let read = |from: &SecretFrom| match from {
            SecretFrom::Env(name) if name == "A" => Ok(value.to_owned()),
            _ => Ok("notareal-key-notareal-key-notareal-key".to_owned()),
        };
        let secrets = service.resolve(&read, &mut problems);
        let told: Vec<_> = problems.into_sorted().iter().map(ToString::to_string).collect();
        (secrets, told.join("\n"))
    };
    let (secrets, _) = resolve("Bearer notareal-token\n");
    let secrets = secrets.unwrap();
    assert_eq!(secrets.traces["authorization"].expose_text(), Some("Bearer notareal-token"));
    assert!(!format!("{secrets:?}").contains("notareal"));
    let (secrets, told) = resolve("notareal\ntoken");
    assert!(secrets.is_none() && told.contains("can't be the value of a header"), "{told}");
    assert!(!told.contains("notareal"), "{told}");
}
