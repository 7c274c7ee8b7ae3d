//! What a value is that may be a secret, and which part of it names the credential.

use std::borrow::Cow;

/// Shorter values are everywhere in a text.
const SECRET_LEN_MIN: usize = 6;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Nothing, or a word that stands for a value. Fingerprinting it would merge strangers
    /// (INV-11).
    Placeholder,
    /// Published by whoever gave it out: it stays, and has no fingerprint.
    Public,
    Short,
    /// Part of a secret, masked by the detector: replaced, but no identity.
    Masked,
    Secret,
}

pub(super) fn class_of(value: &str) -> Class {
    const WORDS: &[&str] = &[
        "redacted",
        "masked",
        "removed",
        "filtered",
        "sanitized",
        "null",
        "nil",
        "none",
        "undefined",
        "unknown",
        "n/a",
        "hidden_due_to_security_reasons",
        "sensitivedataremoved",
    ];
    let word = value.trim_matches(|c: char| "<>[](){}*\"'`".contains(c));
    let is_run = |c: &char| "xX.-#•●_?".contains(*c) && value.chars().all(|other| other == *c);
    let is_header = value.starts_with("-----BEGIN ") && value.lines().count() == 1;
    if word.is_empty()
        || WORDS.iter().any(|known| word.eq_ignore_ascii_case(known))
        || value.chars().next().as_ref().is_some_and(is_run)
        || (is_header && value.ends_with("-----") && value.matches("-----").count() == 2)
    {
        return Class::Placeholder;
    }
    if is_public(value) {
        return Class::Public;
    }
    if value.len() < SECRET_LEN_MIN {
        return Class::Short;
    }
    if value.ends_with("...") || value.ends_with('…') || value.contains("***") {
        return Class::Masked;
    }
    Class::Secret
}

/// Ids that vendors print beside their secrets, with at most marks around them. A longer text that
/// holds one is a secret still.
fn is_public(value: &str) -> bool {
    let id = value.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let is_stripe = ["pk_live_", "pk_test_"].iter().any(|prefix| {
        let rest = id.strip_prefix(prefix);
        rest.is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_alphanumeric()))
    });
    let is_google = id.strip_suffix(".iam.gserviceaccount.com").is_some_and(|name| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.@".contains(&byte);
        name.matches('@').count() == 1 && name.bytes().all(is_plain)
    });
    is_access_key_id(id) || is_stripe || is_google
}

/// The id of the AWS access key that a longer text is about: public, where the rest of it is not.
pub(super) fn access_key_id(text: &str) -> Option<&str> {
    text.split(|c: char| !c.is_ascii_alphanumeric()).find(|word| is_access_key_id(word))
}

/// AWS: a long-lived key's, a session's, a bearer token's or a context's.
fn is_access_key_id(id: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    id.len() == 20
        && ["AKIA", "ASIA", "ABIA", "ACCA"].iter().any(|prefix| id.starts_with(prefix))
        && id.bytes().all(is_plain)
}

/// What a secret's fingerprint is made of, so that one credential has one however it was copied.
///
/// Of a text with a private key in PEM, such as a service account's JSON: the key's base64, without
/// its lines, however they were broken. Of an AWS access key id and its secret in one value, with
/// or without a colon: the secret. Of anything else: all of it, without white space around it.
pub fn canonical(secret: &str) -> Cow<'_, str> {
    let secret = secret.trim();
    if let Some(body) = private_key(secret) {
        return Cow::Owned(body);
    }
    Cow::Borrowed(aws_secret(secret).unwrap_or(secret))
}

fn private_key(text: &str) -> Option<String> {
    // Hardly any secret is one, and this is how to see that soonest.
    if !text.contains("-----BEGIN ") {
        return None;
    }
    let body = text.split("-----BEGIN ").skip(1).find_map(|block| {
        let (label, rest) = block.split_once("-----")?;
        let is_private = label.ends_with("PRIVATE KEY") || label.ends_with("PRIVATE KEY BLOCK");
        is_private.then(|| rest.split("-----END").next().unwrap_or(rest))
    })?;
    let lines = if body.contains('\\') {
        Cow::Owned(body.replace("\\n", "\n").replace("\\r", "\n"))
    } else {
        Cow::Borrowed(body)
    };
    // `Proc-Type: 4,ENCRYPTED`, `Version: …`.
    let lines = lines.lines().filter(|line| !line.contains(':'));
    let is_base64 = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    let body: String = lines.flat_map(str::chars).filter(is_base64).collect();
    (!body.is_empty()).then_some(body)
}

fn aws_secret(value: &str) -> Option<&str> {
    let (id, rest) = value.split_at_checked(20)?;
    let secret = rest.strip_prefix(':').unwrap_or(rest);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+/".contains(&byte);
    let is_pair = is_access_key_id(id) && secret.len() == 40 && secret.bytes().all(is_plain);
    is_pair.then_some(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_no_value() {
        for value in [
            "",
            "REDACTED",
            "[redacted]",
            "<null>",
            "****",
            "************************",
            "***REDACTED***",
            "xxxxxxxxxx",
            "-----BEGIN RSA PRIVATE KEY-----",
            "-----BEGIN PRIVATE KEY-----",
            "None",
        ] {
            assert_eq!(class_of(value), Class::Placeholder, "{value}");
        }
        for (value, class) in [
            ("abc", Class::Short),
            ("0000", Class::Short),
            ("AKIANOTREA...", Class::Masked),
            ("ghp_****************", Class::Masked),
            ("notarealsecret", Class::Secret),
            ("-----BEGIN PRIVATE KEY-----\nbm90YXJlYWxrZXk=", Class::Secret),
            ("-----BEGIN PRIVATE KEY-----bm90YXJlYWw=-----END PRIVATE KEY-----", Class::Secret),
        ] {
            assert_eq!(class_of(value), class, "{value}");
        }
    }

    #[test]
    fn ids_that_vendors_publish_are_no_secrets_and_longer_values_are() {
        for value in [
            "AKIADEPLOYKEYEXAMPLE",
            "ASIA1234567890ABCDEF",
            "\"AKIADEPLOYKEYEXAMPLE\"",
            "deployer@example-project.iam.gserviceaccount.com",
            concat!("pk_", "live_notarealnotareal"),
        ] {
            assert_eq!(class_of(value), Class::Public, "{value}");
        }
        for value in [
            "key = AKIADEPLOYKEYEXAMPLE",
            "AKIADEPLOYKEYEXAMPLES",
            "AKIAdeploykeyexample",
            "AKIADEPLOYKEYEXAMPLE:notareal",
            "a:b@x.iam.gserviceaccount.com",
            concat!("sk_", "live_notarealnotareal"),
        ] {
            assert_eq!(class_of(value), Class::Secret, "{value}");
        }
    }

    #[test]
    fn one_private_key_is_the_same_however_it_was_copied() {
        let body = "bm90YXJlYWxwcml2YXRla2V5bm90YXJlYWxwcml2YXRla2V5";
        let (first, second) = body.split_at(24);
        let pem =
            format!("-----BEGIN PRIVATE KEY-----\n{first}\n{second}\n-----END PRIVATE KEY-----");
        let headers = format!(
            "-----BEGIN RSA PRIVATE KEY-----\r\nProc-Type: 4,ENCRYPTED\r\nDEK-Info: AES-256-CBC,00\r\n\
             \r\n{first}\r\n{second}\r\n-----END RSA PRIVATE KEY-----\r\n"
        );
        let json =
            serde_json::json!({"type": "service_account", "private_key": pem, "client_id": "1"});
        let json = json.to_string();
        for text in [
            pem.clone(),
            format!("\n  {pem}\n"),
            pem.replace('\n', "\n    "),
            pem.replace('\n', "\\n"),
            pem.replace('\n', ""),
            headers,
            json.clone(),
            format!(
                "a certificate\n-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----\n{pem}"
            ),
            format!("-----BEGIN PRIVATE KEY-----\n{first}\n{second}"),
        ] {
            assert_eq!(canonical(&text), body, "{text}");
        }
        assert_eq!(canonical(&canonical(&json)), body);
    }

    #[test]
    fn a_key_id_and_its_secret_in_one_value_are_the_secret() {
        let secret = "notareal+".repeat(4) + "/abc";
        for text in [
            format!("AKIADEPLOYKEYEXAMPLE:{secret}"),
            format!(" AKIADEPLOYKEYEXAMPLE{secret}\n"),
            secret.clone(),
        ] {
            assert_eq!(canonical(&text), secret, "{text}");
        }
        let other = format!("AKIADEPLOYKEYEXAMPLE:{secret}d");
        assert_eq!(canonical(&other), other);
        assert_eq!(
            canonical("https://user:notareal@example.com"),
            "https://user:notareal@example.com"
        );
    }
}
