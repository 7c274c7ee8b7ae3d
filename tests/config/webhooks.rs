use crate::{files, problems};
use tipstaff::config::{Files, Proof, SecretFrom, Verify, WebhookSecret, WebhooksConfig, load};
use tipstaff::text::Problems;

const PIPELINE: &str =
    "title: t\nowner: o\nkind: exposed_key\nmap: {title: a}\ndetect: [{path: a, exists: true}]\n";
const SERVICE: &str =
    "kafka: {bootstrap.servers: k:9092}\nfingerprint: {id: k1, key: {env: KEY}}\n";

/// A configuration with two pipelines, of which one takes webhooks.
fn with(webhooks: &str) -> Files {
    let one = format!("pipeline: one\nfrom: {{topic: x, webhook: /v1/alerts/one}}\n{PIPELINE}");
    let two = format!("pipeline: two\nfrom: {{topic: x}}\n{PIPELINE}");
    files(&[
        ("tipstaff.yaml", &format!("{SERVICE}webhooks:\n{webhooks}")),
        ("pipelines/one/pipeline.yaml", &one),
        ("pipelines/two/pipeline.yaml", &two),
    ])
}

fn config(webhooks: &str) -> WebhooksConfig {
    load(&with(webhooks)).expect("no problems").service.expect("a service").webhooks.expect("some")
}

fn shared(config: &WebhooksConfig) -> (&Verify, &[WebhookSecret]) {
    match &config.pipelines[0].proof {
        Proof::Secret { verify, secrets } => (verify, secrets),
        Proof::AwsSns(topics) => panic!("{topics:?}"),
    }
}

/// The bytes of the secrets, or what is wrong with them.
fn secrets(verify: &str, texts: [&str; 2]) -> Result<Vec<Vec<u8>>, Vec<String>> {
    let webhooks = format!(
        "  listen: 127.0.0.1:1\n  pipelines:\n    one: {{verify: {verify}, secrets: [{{env: A}}, {{file: b}}]}}\n"
    );
    let service = load(&with(&webhooks)).expect("no problems").service.expect("a service");
    let mut problems = Problems::default();
    let read = |from: &SecretFrom| {
        Ok(match from {
            SecretFrom::Env(name) if name == "A" => texts[0].to_owned(),
            SecretFrom::Env(_) => "a key of more than thirty-two bytes".to_owned(),
            SecretFrom::File(_) => format!("{}\n", texts[1]),
        })
    };
    let resolved = service.resolve(&read, &mut problems);
    let told: Vec<String> = problems.into_sorted().iter().map(ToString::to_string).collect();
    let resolved = resolved.ok_or(told)?;
    Ok(resolved.webhooks["one"].iter().map(|secret| secret.expose().to_vec()).collect())
}

#[test]
fn what_is_not_said_has_a_default() {
    let least = config(
        "  listen: 0.0.0.0:8443\n  pipelines: {one: {verify: github, secrets: [{env: A}]}}\n",
    );
    assert_eq!((least.max_bytes, least.in_flight), (1_048_576, 64));
    assert_eq!((least.window_ms, least.wait_ms), (300_000, 4000));
    assert_eq!(shared(&least).0, &Verify::Github);
    let most = config(
        "  listen: 0.0.0.0:8443\n  max_bytes: 64KiB\n  in_flight: 2\n  window: 1m\n  wait: 2s\n  \
         pipelines: {one: {verify: header, header: X-Gitlab-Token, secrets: [{env: A}, {env: B}]}}\n",
    );
    assert_eq!((most.max_bytes, most.in_flight), (65_536, 2));
    assert_eq!((most.window_ms, most.wait_ms), (60_000, 2000));
    let (verify, secrets) = shared(&most);
    assert_eq!((verify, secrets.len()), (&Verify::Header("x-gitlab-token".to_owned()), 2));
}

#[test]
fn every_mistake_is_told_at_its_place() {
    let text = "  listen: 127.0.0.1:9464
  max_bytes: 2MiB
  in_flight: 0
  window: 2h
  pipelines:
    one: {verify: githab, secrets: [notareal-in-the-file]}
    two: {verify: bearer, header: X, secrets: []}
    onne: {verify: header, secrets: [{env: A}], secret: x}
    3: {}
    four: {verify: header, header: 'a b', secrets: [{env: A}]}
";
    assert_eq!(
        problems(&with(text)),
        [
            "tipstaff.yaml:4:11: webhooks and metrics must not share a port",
            "tipstaff.yaml:5:14: `max_bytes` must be from 1024 to 1048576 bytes, as in 512KiB or 1MiB",
            "tipstaff.yaml:6:14: `in_flight` must be from 1 to 1024",
            "tipstaff.yaml:7:11: `window` must be a duration from 10s to 1h",
            "tipstaff.yaml:9:19: `verify` must be one of github, gitguardian, standard-webhooks, bearer, basic, header, aws-sns, did you mean `github`?",
            "tipstaff.yaml:9:37: `secrets` is a secret: write `{env: NAME}` or `{file: path}`",
            "tipstaff.yaml:10:10: `secrets` needs at least one",
            "tipstaff.yaml:10:35: `header` goes with `verify: header`",
            "tipstaff.yaml:11:11: `verify: header` needs the header's name: `header`",
            "tipstaff.yaml:11:49: unknown key `secret`, did you mean `secrets`?",
            "tipstaff.yaml:12:5: the name of a pipeline must be text",
            "tipstaff.yaml:13:36: `header` must be a header's name: letters, digits, `-` or `_`",
        ]
    );
}

#[test]
fn sns_has_topics_in_place_of_secrets() {
    let arn = "arn:aws:sns:eu-west-1:111122223333:guardduty";
    let webhooks = |one: &str| format!("  listen: 127.0.0.1:1\n  pipelines:\n    one: {one}\n");
    let right = config(&webhooks(&format!("{{verify: aws-sns, topics: ['{arn}']}}")));
    let Proof::AwsSns(topics) = &right.pipelines[0].proof else { panic!("{right:?}") };
    assert_eq!(topics.iter().map(|topic| topic.arn.as_str()).collect::<Vec<_>>(), [arn]);
    for (wrong, told) in [
        (
            "{verify: aws-sqs, topics: ['arn:aws:sns:eu-west-1:111122223333:a']}",
            "19: `verify` must be one of github, gitguardian, standard-webhooks, bearer, basic, header, aws-sns, did you mean `aws-sns`?",
        ),
        ("{verify: aws-sns}", "10: `topics` is missing"),
        ("{verify: aws-sns, topics: []}", "10: `topics` needs at least one"),
        ("{verify: aws-sns, topics: x}", "36: `topics` must be a list, not text"),
        (
            "{verify: aws-sns, topics: ['arn:aws:sqs:eu-west-1:111122223333:a']}",
            "37: `topics` lists SNS topics: arn:aws:sns:<region>:<account>:<name>",
        ),
        (
            "{verify: aws-sns, topics: ['arn:aws:sns:eu-west-1:111122223333:a'], secrets: [{env: A}]}",
            "87: `verify: aws-sns` has `topics` and no `secrets`: AWS signs by itself",
        ),
        (
            "{verify: aws-sns, topics: ['arn:aws:sns:eu-west-1:111122223333:a'], header: X}",
            "86: `header` goes with `verify: header`",
        ),
        (
            "{verify: github, secrets: [{env: A}], topics: [a]}",
            "56: `topics` goes with `verify: aws-sns`",
        ),
    ] {
        assert_eq!(problems(&with(&webhooks(wrong))), [format!("tipstaff.yaml:6:{told}")]);
    }
}

#[test]
fn a_webhook_needs_a_pipeline_that_takes_one() {
    let text = "  listen: 127.0.0.1:1
  pipelines:
    two: {verify: github, secrets: [{env: A}]}
    onne: {verify: github, secrets: [{env: A}]}
";
    assert_eq!(
        problems(&with(text)),
        [
            "tipstaff.yaml:6:5: pipelines/two/pipeline.yaml has no `webhook` in its `from`",
            "tipstaff.yaml:7:5: there is no pipeline `onne`, did you mean `one`?",
        ]
    );
}

#[test]
fn secrets_are_read_as_their_sender_makes_them() {
    let (one, two) = ("notareal-secret-one", "notareal-secret-two");
    let plain = Ok(vec![one.as_bytes().to_vec(), two.as_bytes().to_vec()]);
    for verify in ["github", "gitguardian", "bearer", "header, header: X-Token"] {
        assert_eq!(secrets(verify, [one, two]), plain, "{verify}");
    }
    // `printf notareal-secret-one | base64`, with and without what stands in front.
    let encoded = "bm90YXJlYWwtc2VjcmV0LW9uZQ==";
    let found = secrets("standard-webhooks", [&format!("whsec_{encoded}"), encoded]);
    assert_eq!(found, Ok(vec![one.as_bytes().to_vec(); 2]));
    assert_eq!(
        secrets("standard-webhooks", ["whsec_!", "AAAA"]),
        Err(vec![
            "tipstaff.yaml:6:48: environment variable `A` must be `whsec_` and base64".to_owned(),
            "tipstaff.yaml:6:58: file `b` is too short: a webhook's secret needs 16 bytes"
                .to_owned(),
        ])
    );
    assert_eq!(
        secrets("basic", [one, "tipstaff:notareal-password"]),
        Err(vec![
            "tipstaff.yaml:6:36: environment variable `A` must be `user:password`".to_owned()
        ])
    );
}
