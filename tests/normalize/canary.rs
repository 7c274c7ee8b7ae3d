use serde_json::Value;
use tipstaff::case::Field;

use super::planted::{CANARY, PLANTED, forms, plant};
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
