use serde_json::Value;
use tipstaff::case::Field;

use super::planted::{CANARY, PLANTED, base64, forms, plant};
use super::*;

#[test]
fn a_planted_secret_leaves_in_no_form() {
    let (pipelines, keys) = (shipped(), keys());
    let mut planted = 0;
    for Example { detector, topic, name, bytes } in examples() {
        for (_, path) in PLANTED.iter().filter(|(of, _)| *of == detector.as_str()) {
            for form in forms() {
                let mut document: Value = serde_json::from_slice(&bytes).unwrap();
                plant(&mut document, &detector, path, &form);
                let text = serde_json::to_vec(&document).unwrap();
                let arrivals = pipelines.read(&incoming(&topic, &text), None, &keys);
                let output = serde_json::to_string(&arrivals).unwrap();
                for shape in forms() {
                    assert!(
                        !output.contains(shape.trim()),
                        "{detector}/{name}: {shape} in {output}"
                    );
                }
                planted += usize::from(output.contains("fp:examples:"));
            }
        }
    }
    assert!(planted > 100, "the canary must have been seen, and was {planted} times");
}

#[test]
fn a_token_leaves_from_no_text_of_any_example() {
    let (pipelines, keys) = (shipped(), keys());
    let token = format!("{}_{}", "ghp", "n0tArea1".repeat(5));
    let blob = base64(format!("a key {token}").as_bytes());
    let label = keys.fingerprint(token.as_bytes());
    let mut seen = 0;
    for Example { detector, topic, name, bytes } in examples() {
        let Ok(document) = serde_json::from_slice::<Value>(&bytes) else { continue };
        for place in texts(&document) {
            let mut document = document.clone();
            let text = document.pointer_mut(&place).unwrap();
            *text = format!("{} {token} {blob}", text.as_str().unwrap()).into();
            let message = serde_json::to_vec(&document).unwrap();
            let arrivals = pipelines.read(&incoming(&topic, &message), None, &keys);
            let output = serde_json::to_string(&arrivals).unwrap();
            let is_hidden = !output.contains(&token) && !output.contains(&blob);
            assert!(is_hidden, "{detector}/{name}: {place} in {output}");
            seen += usize::from(output.contains(&label));
        }
    }
    assert!(seen > 300, "the token must have been read, and was {seen} times");
}

/// JSON pointers to every text in a document.
fn texts(value: &Value) -> Vec<String> {
    let under = |key: &str, value: &Value| {
        let key = key.replace('~', "~0").replace('/', "~1");
        texts(value).into_iter().map(|rest| format!("/{key}{rest}")).collect::<Vec<_>>()
    };
    match value {
        Value::String(_) => vec![String::new()],
        Value::Array(items) => (0..)
            .zip(items)
            .flat_map(|(at, item): (usize, _)| under(&at.to_string(), item))
            .collect(),
        Value::Object(map) => map.iter().flat_map(|(key, value)| under(key, value)).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn the_same_secret_has_the_same_fingerprint_in_every_writing() {
    let (pipelines, keys) = (shipped(), keys());
    let expected = keys.fingerprint(CANARY.trim().as_bytes());
    for secret in [CANARY.to_owned(), format!("\n  {CANARY}\n")] {
        let finding = serde_json::json!([{"RuleID": "r", "Secret": secret, "Match": "m"}]);
        let text = finding.to_string();
        let arrivals = pipelines.read(&incoming("alerts.gitleaks", text.as_bytes()), None, &keys);
        let alert = alert(&arrivals[0]).unwrap();
        assert_eq!(alert.text(Field::CredentialFingerprint), Some(expected.as_str()));
        assert_eq!(alert.text(Field::NhiId), Some(expected.as_str()));
        assert_eq!(alert.text(Field::NhiKnownBy), Some("fingerprint"));
    }
}
