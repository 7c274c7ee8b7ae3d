//! Tokens are known by their shape, wherever they stand.

use proptest::prelude::*;
use tipstaff::case::Field;

use super::made_up::{Token, private_key, tokens};
use super::planted::{base64, percent};
use super::*;

const FILE: &str = "pipeline: p\ntitle: t\nowner: o\nfrom: {topic: x}\nkind: exposed_key\n\
    redact: [s]\nmap:\n  location.file: a\n  title: s\n";

/// What becomes of a text that stands at a path which nobody redacts.
fn cleaned(text: &str, keys: &FingerprintKeys) -> String {
    let mut problems = Problems::default();
    let pipelines = tipstaff::normalize::compile(&[Source::new("p", FILE)], None, &mut problems);
    let message = serde_json::json!({ "a": text }).to_string();
    let arrivals = pipelines.unwrap().read(&incoming("x", message.as_bytes()), None, keys);
    alert(&arrivals[0]).unwrap().text(Field::File).unwrap_or_default().to_owned()
}

fn label(secret: &str, keys: &FingerprintKeys) -> String {
    keys.fingerprint(tipstaff::normalize::canonical(secret).as_bytes())
}

#[test]
fn ids_and_words_stay() {
    let keys = keys();
    let digest = "n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=";
    for text in [
        "3c1d5e7f9a0b2c4d6e8f00112233445566778899",
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        digest,
        &format!("sha256:{digest}"),
        "1a2b3c4d-5e6f-4a1b-8c2d-3e4f5a6b7c8d",
        "1a2b3c4d-5e6f-4a1b-8c2d-3e4f5a6b7c8d/1a2b3c4d-5e6f-4a1b-8c2d-3e4f5a6b7c8d",
        "system:serviceaccount:billing-production:task-runner-7d9f8b6c5d-x2x4q",
        "disk-cache-controller-manager-token-x2x4q",
        "arn:aws:iam::123456789012:user/ci-deployer",
        "arn:aws:secretsmanager:eu-west-1:123456789012:secret:production/database-AbC123",
        "arn:aws:sts::123456789012:assumed-role/deploy/i-0abcd1234efgh5678",
        "AKIADEPLOYKEYEXAMPLE",
        "access_key=AKIADEPLOYKEYEXAMPLE",
        "AROAEXAMPLEROLEID12345:session-name",
        "deployer@example-project.iam.gserviceaccount.com",
        "00b4e2example7f1a2b3c4d5e6f70819",
        "00uexamplebackup",
        "UnauthorizedAccess:IAMUser/InstanceCredentialExfiltration.OutsideAWS",
        "user.authentication.auth_via_mfa",
        "https://git.example.com/acme/billing/blob/3c1d5e7f9a0b2c4d6e8f00112233445566778899/a.py#L12",
        "https://example.com:8443/a?b=c&d=user@example.com",
        "services/billing/src/main/java/com/example/billing/settings",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0",
        "aws-cli/2.9.1 Python/3.9.11 md/Botocore#1.29.7 cfg/retry-mode#standard",
        "Detected a Generic API Key, potentially exposing access to various services.",
        "basic authentication was refused, bearer authentication as well",
        "password=REDACTED token=${DEPLOY_TOKEN} secret=<your secret> passwd=************",
        "token=hmac-sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "token: expired, secret: not found, password: required",
        "-----BEGIN RSA PRIVATE KEY-----",
        "-----BEGIN CERTIFICATE-----\nMIIBnotarealcertificate\n-----END CERTIFICATE-----",
        "fp:k1:359c5829cc33611375f25b935ed43a44",
        "password=fp:k1:359c5829cc33611375f25b935ed43a44, twilio fp:k1:359c5829cc33611375f25b935ed43a44",
        "C:\\Users\\billing\\AppData 100%",
    ] {
        assert_eq!(cleaned(text, &keys), text);
    }
}

#[test]
fn what_is_only_part_of_a_secret_goes_without_a_fingerprint() {
    let keys = keys();
    assert_eq!(cleaned("ftp://a:b0b@example.com", &keys), "ftp://a:redacted@example.com");
    assert_eq!(cleaned("password=hun***r2", &keys), "password=redacted");
}

#[test]
fn the_same_token_has_one_fingerprint_by_path_and_by_shape() {
    let (pipelines, keys) = (shipped(), keys());
    for token in tokens().into_iter().filter(|token| token.text == token.secret) {
        let finding = serde_json::json!([{"RuleID": "r", "Secret": token.secret, "File": "f"}]);
        let text = finding.to_string();
        let arrivals = pipelines.read(&incoming("alerts.gitleaks", text.as_bytes()), None, &keys);
        let by_path = alert(&arrivals[0]).unwrap().text(Field::CredentialFingerprint).unwrap();
        assert_eq!(cleaned(&format!("in {}", token.text), &keys), format!("in {by_path}"));
    }
}

#[test]
fn one_private_key_has_one_fingerprint_in_every_copy() {
    let keys = keys();
    let pem = private_key("PRIVATE", false);
    let expected = label(&pem, &keys);
    let json = serde_json::json!({"type": "service_account", "private_key": pem}).to_string();
    assert_eq!(cleaned(&pem.replace('\n', "\n  "), &keys), expected);
    assert_eq!(cleaned(&pem.replace('\n', "\\n"), &keys), expected);
    assert_eq!(cleaned(&base64(json.as_bytes()), &keys), expected);
    assert!(cleaned(&json, &keys).contains(&format!(r#""private_key":"{expected}""#)));
}

#[test]
fn a_public_id_at_a_redacted_path_stays_and_the_next_path_identifies() {
    let keys = keys();
    let file = "pipeline: p\ntitle: t\nowner: o\nfrom: {topic: x}\nkind: exposed_key\n\
        redact: [Raw, RawV2, Match]\nfingerprint: [Raw, RawV2]\n\
        map:\n  credential.id: Raw\n  title: Match\n  location.file: file\n";
    let mut problems = Problems::default();
    let pipelines = tipstaff::normalize::compile(&[Source::new("p", file)], None, &mut problems);
    let pipelines = pipelines.unwrap();
    let (id, secret) = ("AKIADEPLOYKEYEXAMPLE", "n0t+a/rea1".repeat(4));
    let fingerprint = keys.fingerprint(secret.as_bytes());
    for joined in [format!("{id}:{secret}"), format!("{id}{secret}")] {
        let matched = format!("key {id} leaked");
        let message = serde_json::json!({
            "Raw": id, "RawV2": joined, "Match": matched, "file": format!("{secret}.txt")
        });
        let message = message.to_string();
        let arrivals = pipelines.read(&incoming("x", message.as_bytes()), None, &keys);
        let alert = alert(&arrivals[0]).unwrap();
        assert_eq!(alert.text(Field::CredentialId), Some(id));
        assert_eq!(alert.text(Field::CredentialFingerprint), Some(fingerprint.as_str()));
        assert_eq!(alert.text(Field::File), Some(format!("{fingerprint}.txt").as_str()));
        let hidden = keys.fingerprint(matched.as_bytes());
        assert_eq!(alert.text(Field::Title), Some(format!("{id} {hidden}").as_str()));
    }
    let alone = format!(r#"{{"Raw": "{id}"}}"#);
    let arrivals = pipelines.read(&incoming("x", alone.as_bytes()), None, &keys);
    let alert = alert(&arrivals[0]).unwrap();
    assert_eq!(alert.text(Field::CredentialFingerprint), None);
    assert_eq!(alert.text(Field::NhiId), Some(format!("credential:{id}").as_str()));
}

/// One writing of a text, by its number.
fn written(text: &str, form: usize) -> String {
    let json = |text: &str| serde_json::to_string(text).unwrap().trim_matches('"').to_owned();
    match form {
        0 => text.to_owned(),
        1 => json(text),
        2 => text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect(),
        3 => percent(text.as_bytes(), false),
        4 => text.bytes().map(|byte| format!("%{byte:02x}")).collect(),
        5 => percent(json(text).as_bytes(), true),
        6 => base64(text.as_bytes()),
        7 => base64(text.as_bytes()).replace('+', "-").replace('/', "_").replace('=', ""),
        _ => base64(json(text).as_bytes()),
    }
}

fn planted(token: &Token, around: (&str, &str), form: usize) -> String {
    let (before, behind) = around;
    // Base64 is looked into when it is long.
    let filler = if form > 5 { "and a few more words " } else { "" };
    let (open, close) = if token.is_distinct { ("", "") } else { (" ", " ") };
    let text = written(&format!("{filler}{open}{}{close}", token.text), form);
    // `%` would make its first characters into another one.
    let gap = if before.trim_end_matches(|c: char| c.is_ascii_hexdigit()).ends_with('%') {
        " "
    } else {
        ""
    };
    format!("{before}{gap}{text}{behind}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]
    #[test]
    fn no_token_stays_in_any_writing(
        which in any::<prop::sample::Index>(),
        form in 0..9_usize,
        before in "[a-z0-9 :=é%/.,-]{0,12}",
        behind in "[a-z0-9 :=é%/.,-]{0,12}",
    ) {
        let (keys, tokens) = (keys(), tokens());
        let token = which.get(&tokens);
        let text = planted(token, (&before, &behind), form);
        let clean = cleaned(&text, &keys);
        for form in 0..9 {
            let secret = written(&token.secret, form);
            prop_assert!(!clean.contains(&secret), "{text}\nbecame {clean}\nwith {secret}");
        }
        let is_seen = clean.contains("fp:examples:") || clean.contains("redacted");
        prop_assert!(is_seen, "{text}\nbecame {clean}");
        prop_assert_eq!(cleaned(&clean, &keys), clean);
    }

    #[test]
    fn cleaning_twice_is_cleaning_once(
        parts in prop::collection::vec((any::<prop::sample::Index>(), 0..9_usize, "\\PC{0,8}"), 0..4),
    ) {
        let (keys, tokens) = (keys(), tokens());
        let part = |(which, form, text): &(prop::sample::Index, usize, String)| {
            planted(which.get(&tokens), (text, ""), *form)
        };
        let clean = cleaned(&parts.iter().map(part).collect::<String>(), &keys);
        prop_assert_eq!(cleaned(&clean, &keys), clean);
    }
}
