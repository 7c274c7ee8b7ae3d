use sha2::{Digest, Sha256};

use super::signature::{is_one_of, is_signed};
use crate::case::{Millis, from_base64, from_hex, hex};
use crate::config::{Secret, Verify};

/// Names in small letters with their values, in the order in which they came.
pub type Headers<'h> = [(&'h str, &'h [u8])];

/// One pipeline's sender: how it signs, and with what.
pub struct Sender {
    verify: Verify,
    secrets: Vec<Secret>,
    /// Either way, where the signature covers a time.
    window_ms: i64,
}

/// What stands in the requests of a kind of sender, as its documentation has it.
struct Facts {
    /// Headers that prove who it is. They go no further than here.
    proof: &'static [&'static str],
    /// Names a delivery, and again when it is sent again; the first that is there.
    id: &'static [&'static str],
    /// What 401 asks for; Amazon SNS sends its password only when asked.
    challenge: Option<&'static str>,
}

/// | sender | signed with | over | time |
/// |---|---|---|---|
/// | GitHub | the secret | body | none |
/// | GitGuardian | time ‖ secret | body | `Timestamp`, seconds |
/// | Standard Webhooks | the secret, from base64 | id.time.body | `webhook-timestamp`, seconds |
/// | Slack | the secret | v0:time:body | `X-Slack-Request-Timestamp`, seconds |
///
/// GitHub gives a redelivery the id of the first. GitLab sends `Idempotency-Key`, the same in every
/// retry; EventBridge and own tools can be told to. GitGuardian and Okta name no delivery.
const fn facts(verify: &Verify) -> Facts {
    const ANY_ID: &[&str] = &["idempotency-key"];
    match verify {
        Verify::Github => Facts {
            proof: &["x-hub-signature-256", "x-hub-signature"],
            id: &["x-github-delivery"],
            challenge: None,
        },
        Verify::Gitguardian => {
            Facts { proof: &["gitguardian-signature"], id: ANY_ID, challenge: None }
        }
        Verify::Slack => Facts { proof: &["x-slack-signature"], id: &[], challenge: None },
        Verify::StandardWebhooks => {
            Facts { proof: &["webhook-signature"], id: &["webhook-id"], challenge: None }
        }
        Verify::Bearer => Facts { proof: &[], id: ANY_ID, challenge: Some("Bearer") },
        Verify::Basic => {
            Facts { proof: &[], id: ANY_ID, challenge: Some("Basic realm=\"tipstaff\"") }
        }
        Verify::Header(_) => Facts { proof: &[], id: ANY_ID, challenge: None },
    }
}

const GITHUB_SIGNATURE: &str = "x-hub-signature-256";
const GITGUARDIAN_SIGNATURE: &str = "gitguardian-signature";
const GITGUARDIAN_TIME: &str = "timestamp";
const SLACK_SIGNATURE: &str = "x-slack-signature";
const SLACK_TIME: &str = "x-slack-request-timestamp";
const STANDARD_ID: &str = "webhook-id";
const STANDARD_TIME: &str = "webhook-timestamp";
const STANDARD_SIGNATURE: &str = "webhook-signature";
/// Hold secrets whoever sends them.
const NEVER_PASSED: &[&str] = &[
    "authorization",
    "proxy-authorization",
    "cookie",
    "x-api-key",
    "x-gitlab-token",
    "x-amz-security-token",
];
/// Longer ids, and those of strange bytes, are hashed.
const ID_BYTES_MAX: usize = 128;

/// What a request that proved its sender says of itself.
#[derive(Debug, PartialEq, Eq)]
pub struct Verified {
    /// The sender's name for the delivery and its content's; nothing when the sender names none.
    pub id: Option<String>,
}

/// A delivery whose sender is known. Not `Debug`: it holds secrets.
pub struct Delivery {
    pub pipeline: String,
    /// The sender's name for it, or one that no other delivery has.
    pub id: String,
    /// Those that a pipeline may look at.
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
    pub received_at: Millis,
}

impl Sender {
    pub fn new(verify: Verify, secrets: Vec<Secret>, window_ms: i64) -> Self {
        Self { verify, secrets, window_ms }
    }

    /// Nothing when the request does not prove that it comes from this sender, or not in time.
    pub fn verified(&self, headers: &Headers<'_>, body: &[u8], now: Millis) -> Option<Verified> {
        let is_right = match &self.verify {
            Verify::Github => self.is_githubs(headers, body),
            Verify::Gitguardian => self.is_gitguardians(headers, body, now),
            Verify::Slack => self.is_slacks(headers, body, now),
            Verify::StandardWebhooks => self.is_standard(headers, body, now),
            _ => self.is_admitted(headers),
        };
        is_right?.then(|| Verified { id: self.id(headers, body) })
    }

    /// Whether the request shows the secret itself; never of a sender that signs.
    pub fn is_admitted(&self, headers: &Headers<'_>) -> Option<bool> {
        let given = match &self.verify {
            Verify::Bearer => credentials(headers, "bearer")?.to_vec(),
            Verify::Basic => from_base64(text(credentials(headers, "basic")?)?)?,
            Verify::Header(name) => only(headers, name)?.to_vec(),
            Verify::Github | Verify::Gitguardian | Verify::Slack | Verify::StandardWebhooks => {
                return None;
            }
        };
        Some(is_one_of(&self.secrets, &given))
    }

    /// What a refusal asks for.
    pub fn challenge(&self) -> Option<&'static str> {
        facts(&self.verify).challenge
    }

    /// Without what proves the sender, and without other secrets.
    pub fn passed<'h>(&self, headers: &Headers<'h>) -> Vec<(&'h str, &'h [u8])> {
        let proof = facts(&self.verify).proof;
        let is_own = |name: &str| matches!(&self.verify, Verify::Header(own) if own == name);
        let may_pass =
            |name: &str| !proof.contains(&name) && !NEVER_PASSED.contains(&name) && !is_own(name);
        headers.iter().filter(|(name, _)| may_pass(name)).copied().collect()
    }

    fn is_githubs(&self, headers: &Headers<'_>, body: &[u8]) -> Option<bool> {
        let signature = only(headers, GITHUB_SIGNATURE)?.strip_prefix(b"sha256=")?;
        Some(is_signed(&self.secrets, b"", &[body], &[from_hex(text(signature)?)?]))
    }

    fn is_gitguardians(&self, headers: &Headers<'_>, body: &[u8], now: Millis) -> Option<bool> {
        let signature = only(headers, GITGUARDIAN_SIGNATURE)?.strip_prefix(b"sha256=")?;
        let time = only(headers, GITGUARDIAN_TIME)?;
        let is_signed = is_signed(&self.secrets, time, &[body], &[from_hex(text(signature)?)?]);
        Some(is_signed & self.is_in_time(time, now))
    }

    fn is_slacks(&self, headers: &Headers<'_>, body: &[u8], now: Millis) -> Option<bool> {
        let signature = only(headers, SLACK_SIGNATURE)?.strip_prefix(b"v0=")?;
        let time = only(headers, SLACK_TIME)?;
        let message = [b"v0:", time, b":", body];
        let is_signed = is_signed(&self.secrets, b"", &message, &[from_hex(text(signature)?)?]);
        Some(is_signed & self.is_in_time(time, now))
    }

    fn is_standard(&self, headers: &Headers<'_>, body: &[u8], now: Millis) -> Option<bool> {
        let (id, time) = (only(headers, STANDARD_ID)?, only(headers, STANDARD_TIME)?);
        let listed = only(headers, STANDARD_SIGNATURE)?.split(|byte| *byte == b' ');
        // LIMIT: a sender between two secrets lists two.
        let signatures =
            listed.filter_map(|one| from_base64(text(one.strip_prefix(b"v1,")?)?)).take(8);
        let message = [id, b".", time, b".", body];
        let is_signed = is_signed(&self.secrets, b"", &message, &signatures.collect::<Vec<_>>());
        Some(is_signed & self.is_in_time(time, now))
    }

    fn is_in_time(&self, seconds: &[u8], now: Millis) -> bool {
        let whole = seconds.split(|byte| *byte == b'.').next().unwrap_or_default();
        let is_number = !whole.is_empty() && whole.iter().all(u8::is_ascii_digit);
        let at = text(whole)
            .filter(|_| is_number)
            .and_then(|text| text.parse::<i64>().ok()?.checked_mul(1000));
        at.is_some_and(|at| now.0.abs_diff(at) <= self.window_ms.unsigned_abs())
    }

    /// Other content under the same name is another delivery: what is lost is worse than what is
    /// ruled twice, and most senders do not sign the name.
    fn id(&self, headers: &Headers<'_>, body: &[u8]) -> Option<String> {
        let named = facts(&self.verify).id.iter().find_map(|name| only(headers, name));
        let named = named.filter(|named| !named.is_empty())?;
        let is_plain = named.len() <= ID_BYTES_MAX && named.iter().all(u8::is_ascii_graphic);
        let plain = text(named).filter(|_| is_plain);
        let text = plain.map_or_else(|| hex(&Sha256::digest(named)), str::to_owned);
        let content: [u8; 32] = Sha256::digest(body).into();
        Some(format!("{text}/{}", hex(content.get(..8).unwrap_or_default())))
    }
}

/// The value of a header that is there exactly once: of two, nobody knows which one is meant.
fn only<'h>(headers: &Headers<'h>, name: &str) -> Option<&'h [u8]> {
    let mut found = headers.iter().filter(|(each, _)| each.eq_ignore_ascii_case(name));
    let first = found.next().map(|(_, value)| *value);
    first.filter(|_| found.next().is_none())
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

fn credentials<'h>(headers: &Headers<'h>, scheme: &str) -> Option<&'h [u8]> {
    let value = only(headers, "authorization")?;
    let (given, rest) = value.split_at_checked(scheme.len())?;
    let is_scheme = given.eq_ignore_ascii_case(scheme.as_bytes());
    rest.strip_prefix(b" ").filter(|_| is_scheme).map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{"action":"created","note":"é \" +/="}"#;
    const SECRET: &[u8] = b"notareal-webhook-secret-1";
    /// 1767225600 s.
    const NOW: Millis = Millis(1_767_225_600_000);
    // As `openssl dgst -sha256 -hmac` gives them.
    const GITHUB: &str = "a7b69cab9d5c97dfd6dcdbf9c9fb140c8d5ca9dbcdf0ceb1bf59426ce336eeff";
    const GITGUARDIAN: &str = "857b682790c6d2c478467bbfc48b63e37dcc12c716ff39d227214983a9a418a0";
    const STANDARD_KEY: &[u8] = b"notareal-standard-webhooks-key-1";
    const STANDARD: &str = "Wc2XTPAw5tVEQQNdpCLPBCy2iQCv+nYqNpi85ohXP9g=";
    /// First bytes of the body's SHA-256.
    const CONTENT: &str = "dc377aeb0ec1e065";

    fn sender(verify: Verify, secret: &[u8]) -> Sender {
        let other = Secret::new(*b"notareal-another-secret");
        Sender::new(verify, vec![other, Secret::new(secret)], 300_000)
    }

    fn ask(sender: &Sender, headers: &[(&str, &str)], body: &str, now: Millis) -> Option<Verified> {
        let headers: Vec<(&str, &[u8])> =
            headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        sender.verified(&headers, body.as_bytes(), now)
    }

    fn id(text: &str) -> Option<Verified> {
        Some(Verified { id: Some(format!("{text}/{CONTENT}")) })
    }

    #[test]
    fn githubs_signature_is_of_the_bytes_of_the_body() {
        let github = sender(Verify::Github, SECRET);
        let signature = format!("sha256={GITHUB}");
        let signed = [("x-hub-signature-256", signature.as_str()), ("x-github-delivery", "d-1")];
        assert_eq!(ask(&github, &signed, BODY, NOW), id("d-1"));
        assert_eq!(ask(&github, &signed[..1], BODY, NOW), Some(Verified { id: None }));
        assert_eq!(ask(&github, &signed, &BODY.replace("created", "Created"), NOW), None);
        assert_eq!(ask(&sender(Verify::Github, b"notareal"), &signed, BODY, NOW), None);
        let upper = format!("sha256={}", GITHUB.to_uppercase());
        assert!(ask(&github, &[("x-hub-signature-256", &upper)], BODY, NOW).is_some());
        let cut = &signature[..signature.len() - 2];
        let twice = [signed[0], signed[0]];
        let sha1 = [("x-hub-signature", signature.as_str())];
        for wrong in [&[("x-hub-signature-256", cut)][..], &twice, &sha1, &[]] {
            assert_eq!(ask(&github, wrong, BODY, NOW), None, "{wrong:?}");
        }
        for wrong in ["", "sha256=", "sha256=zz", GITHUB, "sha1=00", "sha256=é"] {
            assert_eq!(ask(&github, &[("x-hub-signature-256", wrong)], BODY, NOW), None, "{wrong}");
        }
    }

    #[test]
    fn gitguardians_key_begins_with_the_time() {
        let gitguardian = sender(Verify::Gitguardian, SECRET);
        let signature = format!("sha256={GITGUARDIAN}");
        let at = |time| [("gitguardian-signature", signature.as_str()), ("timestamp", time)];
        assert_eq!(ask(&gitguardian, &at("1767225600"), BODY, NOW), Some(Verified { id: None }));
        assert_eq!(ask(&gitguardian, &at("1767225601"), BODY, NOW), None);
        assert_eq!(ask(&gitguardian, &at("1767225600")[..1], BODY, NOW), None);
    }

    #[test]
    fn what_is_signed_with_a_time_is_taken_only_near_it() {
        let standard = sender(Verify::StandardWebhooks, STANDARD_KEY);
        let several = format!("v1a,AAAA v1,AAAA v1,{STANDARD} v2,");
        let headers = [
            ("webhook-id", "msg_example1"),
            ("webhook-timestamp", "1767225600"),
            ("webhook-signature", several.as_str()),
        ];
        for (offset, is_taken) in
            [(0, true), (300_000, true), (-300_000, true), (300_001, false), (-300_001, false)]
        {
            let taken = ask(&standard, &headers, BODY, Millis(NOW.0 + offset));
            assert_eq!(taken, id("msg_example1").filter(|_| is_taken), "{offset}");
        }
        for (index, value) in [(0, "msg_example2"), (1, "-1"), (1, "1e9"), (1, ""), (2, "v1,")] {
            let mut wrong = headers;
            wrong[index].1 = value;
            assert_eq!(ask(&standard, &wrong, BODY, NOW), None, "{value}");
        }
        let v2 = format!("v2,{STANDARD}");
        let mut other_version = headers;
        other_version[2].1 = &v2;
        assert_eq!(ask(&standard, &other_version, BODY, NOW), None);
    }

    #[test]
    fn a_secret_that_is_shown_must_be_one_of_ours() {
        let password = b"tipstaff:notareal-password-1";
        let header = Verify::Header("x-example-token".to_owned());
        let shown = |name: &'static str, value: &'static str| (name, value);
        for (verify, secret, right, wrong) in [
            (
                Verify::Bearer,
                SECRET,
                shown("authorization", "bearer notareal-webhook-secret-1"),
                ["notareal-webhook-secret-1", "Bearer notareal-webhook-secret", "Basic bm90", ""],
            ),
            (
                Verify::Basic,
                password,
                shown("authorization", "Basic dGlwc3RhZmY6bm90YXJlYWwtcGFzc3dvcmQtMQ=="),
                ["Basic dGlwc3RhZmY6bm90", "Basic !", "Basic", "dGlwc3RhZmY6bm90YXJlYWwt"],
            ),
            (
                header,
                SECRET,
                shown("x-example-token", "notareal-webhook-secret-1"),
                ["notareal-webhook-secret-2", "notareal-webhook-secret-11", "", "Bearer"],
            ),
        ] {
            let sender = sender(verify, secret);
            assert_eq!(ask(&sender, &[right], BODY, NOW), Some(Verified { id: None }));
            assert_eq!(ask(&sender, &[right, ("idempotency-key", "k")], BODY, NOW), id("k"));
            assert_eq!(ask(&sender, &[("x-other", right.1)], BODY, NOW), None);
            for wrong in wrong {
                assert_eq!(ask(&sender, &[(right.0, wrong)], BODY, NOW), None, "{wrong}");
            }
            let headers = [(right.0, right.1.as_bytes()), ("x-event", b"kept"), ("cookie", b"no")];
            assert_eq!(sender.passed(&headers), [("x-event", &b"kept"[..])]);
        }
    }

    #[test]
    fn an_id_is_plain_and_bounded_and_other_content_is_another_delivery() {
        let bearer = sender(Verify::Bearer, SECRET);
        let auth = ("authorization", "Bearer notareal-webhook-secret-1");
        let named = |name: &str, body| ask(&bearer, &[auth, ("idempotency-key", name)], body, NOW);
        let spaces = "4a00294e471e31a752432c6aa1a1edc5ddc59478c5bea3b4b428b0daf0c2d870";
        assert_eq!(named("an id with spaces", BODY), id(spaces));
        assert_eq!(named(&"x".repeat(128), BODY), id(&"x".repeat(128)));
        let long = named(&"x".repeat(129), BODY).unwrap().id.unwrap();
        assert_eq!(long.len(), 64 + 1 + CONTENT.len());
        assert_eq!(named("", BODY), Some(Verified { id: None }));
        assert_ne!(named("k", "{}"), named("k", BODY));
    }
}
