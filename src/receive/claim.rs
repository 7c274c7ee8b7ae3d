use openssl::asn1::Asn1Time;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::sign::Verifier;
use openssl::x509::X509Ref;
use serde::Deserialize;

use super::sender::Headers;
use crate::case::{Millis, from_base64};
use crate::config::SnsTopic;

/// What Amazon SNS puts into a body. Whatever else is there is not signed and not read.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Fields {
    r#type: String,
    message_id: String,
    topic_arn: String,
    subject: Option<String>,
    message: String,
    timestamp: String,
    token: Option<String>,
    #[serde(rename = "SubscribeURL")]
    subscribe_url: Option<String>,
    signature_version: String,
    signature: String,
    #[serde(rename = "SigningCertURL")]
    certificate_url: String,
}

/// A body that says it is from one of the topics; nothing of it is true before it is signed.
pub(super) struct Claim<'t> {
    fields: Fields,
    topic: &'t SnsTopic,
    digest: MessageDigest,
}

/// What a topic sends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Letter {
    Notification {
        id: String,
        message: String,
    },
    /// Notifications come once this URL was asked for.
    SubscriptionConfirmation {
        topic: String,
        url: String,
    },
    UnsubscribeConfirmation {
        topic: String,
    },
}

const TYPE: &str = "x-amz-sns-message-type";
/// For so long, at most, a message is sent again, always with the time of the first.
const RETRIES_MS: i64 = 3_600_000;

impl<'t> Claim<'t> {
    /// Nothing when it would be refused whoever has signed it.
    pub(super) fn read(
        topics: &'t [SnsTopic],
        headers: &Headers<'_>,
        body: &[u8],
        (now, window_ms): (Millis, i64),
    ) -> Option<Self> {
        let fields: Fields = serde_json::from_slice(body).ok()?;
        let topic = topics.iter().find(|topic| topic.arn == fields.topic_arn)?;
        let digest = match fields.signature_version.as_str() {
            "1" => MessageDigest::sha1(),
            "2" => MessageDigest::sha256(),
            _ => return None,
        };
        let agrees = |(name, value): &(&str, &[u8])| {
            !name.eq_ignore_ascii_case(TYPE) || *value == fields.r#type.as_bytes()
        };
        let age_ms = now.since(Millis::parse(&fields.timestamp)?);
        let is_topics = |url: &String| path(url, topic).is_some();
        let is_right = headers.iter().all(agrees)
            && (-window_ms..=RETRIES_MS.saturating_add(window_ms)).contains(&age_ms)
            && fields.subscribe_url.as_ref().is_none_or(is_topics)
            && path(&fields.certificate_url, topic).is_some_and(is_of_certificate);
        is_right.then_some(Self { fields, topic, digest })
    }

    pub(super) fn certificate_url(&self) -> &str {
        &self.fields.certificate_url
    }

    /// What it says, when a certificate of Amazon SNS, valid now, has signed it.
    pub(super) fn signed_by(self, certificate: &X509Ref, now: Millis) -> Option<Letter> {
        let is_signed = is_amazons(certificate, self.topic)
            && is_valid(certificate, now).unwrap_or(false)
            && self.is_signed(certificate).unwrap_or(false);
        let Fields { r#type, message_id, topic_arn: topic, message, subscribe_url, .. } =
            Some(self.fields).filter(|_| is_signed)?;
        Some(match r#type.as_str() {
            "Notification" => Letter::Notification { id: message_id, message },
            "SubscriptionConfirmation" => {
                Letter::SubscriptionConfirmation { topic, url: subscribe_url? }
            }
            "UnsubscribeConfirmation" => Letter::UnsubscribeConfirmation { topic },
            _ => return None,
        })
    }

    fn is_signed(&self, certificate: &X509Ref) -> Result<bool, ErrorStack> {
        let (Some(text), Some(signature)) =
            (self.fields.signed_text(), from_base64(&self.fields.signature))
        else {
            return Ok(false);
        };
        let key = certificate.public_key()?;
        Verifier::new(self.digest, &key)?.verify_oneshot(&signature, text.as_bytes())
    }
}

impl Fields {
    /// Names and values in the order of the names, each on a line. Nothing when a value that should
    /// be one line is several: other fields could be made out of the same text.
    fn signed_text(&self) -> Option<String> {
        let rest = [
            ("MessageId", Some(&self.message_id)),
            ("Subject", self.subject.as_ref()),
            ("SubscribeURL", self.subscribe_url.as_ref()),
            ("Timestamp", Some(&self.timestamp)),
            ("Token", self.token.as_ref()),
            ("TopicArn", Some(&self.topic_arn)),
            ("Type", Some(&self.r#type)),
        ];
        let mut text = format!("Message\n{}\n", self.message);
        for (name, value) in rest {
            let Some(value) = value else { continue };
            if value.contains('\n') {
                return None;
            }
            text.push_str(&format!("{name}\n{value}\n"));
        }
        Some(text)
    }
}

/// What follows the host of the topic's own region. As text, so that no parser can be talked into a
/// user, a port or another host.
fn path<'u>(url: &'u str, topic: &SnsTopic) -> Option<&'u str> {
    url.strip_prefix(&format!("https://sns.{}.{}/", topic.region, topic.domain))
}

fn is_of_certificate(path: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    path.ends_with(".pem") && path.bytes().all(is_plain)
}

fn is_valid(certificate: &X509Ref, now: Millis) -> Result<bool, ErrorStack> {
    let now = Asn1Time::from_unix(now.0.div_euclid(1000))?;
    Ok(certificate.not_before() <= now && certificate.not_after() >= now)
}

/// Amazon's certificates share one name, but China, GovCloud and the regions that an account must
/// opt in to have their own.
fn is_amazons(certificate: &X509Ref, topic: &SnsTopic) -> bool {
    let SnsTopic { region, domain, .. } = topic;
    let known = [
        "sns.amazonaws.com".to_owned(),
        format!("sns-{}.{domain}", region.replace("us-gov-east", "us-gov-west")),
        format!("sns-signing.{region}.{domain}"),
    ];
    let is_known = |name: &[u8]| known.iter().any(|known| known.as_bytes() == name);
    let subject = certificate.subject_name();
    let alternatives = certificate.subject_alt_names();
    let mut common = subject.entries_by_nid(Nid::COMMONNAME);
    let mut others = alternatives.iter().flatten().filter_map(|name| name.dnsname());
    common.any(|name| is_known(name.data().as_slice())) || others.any(|n| is_known(n.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use openssl::base64::encode_block;
    use openssl::pkey::{PKey, Private};
    use openssl::rsa::Rsa;
    use openssl::sign::Signer;
    use openssl::x509::extension::SubjectAlternativeName;
    use openssl::x509::{X509, X509NameBuilder};
    use serde_json::{Value, json};

    use super::*;

    /// 2026-01-01T00:00:00Z.
    const NOW: Millis = Millis(1_767_225_600_000);
    const DAY_S: i64 = 86_400;
    const WINDOW_MS: i64 = 300_000;
    const ARN: &str = "arn:aws:sns:eu-west-1:111122223333:guardduty";
    const HOST: &str = "https://sns.eu-west-1.amazonaws.com";
    static KEY: LazyLock<PKey<Private>> =
        LazyLock::new(|| PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap());

    static TOPICS: LazyLock<Vec<SnsTopic>> = LazyLock::new(|| {
        [("other", "eu-west-1"), ("guardduty", "eu-west-1"), ("guardduty", "ap-east-1")]
            .map(|(name, region)| SnsTopic {
                arn: format!("arn:aws:sns:{region}:111122223333:{name}"),
                region: region.to_owned(),
                domain: "amazonaws.com",
            })
            .to_vec()
    });

    /// Valid for a day around now, but for so many days later.
    fn certificate(common: &str, alternative: &str, later: i64) -> X509 {
        let mut name = X509NameBuilder::new().unwrap();
        name.append_entry_by_nid(Nid::COMMONNAME, common).unwrap();
        let day = |n: i64| Asn1Time::from_unix(NOW.0 / 1000 + (later + n) * DAY_S).unwrap();
        let mut builder = X509::builder().unwrap();
        builder.set_version(2).unwrap();
        builder.set_subject_name(&name.build()).unwrap();
        builder.set_not_before(&day(-1)).unwrap();
        builder.set_not_after(&day(1)).unwrap();
        builder.set_pubkey(&KEY).unwrap();
        if !alternative.is_empty() {
            let mut names = SubjectAlternativeName::new();
            let extension = names.dns(alternative).build(&builder.x509v3_context(None, None));
            builder.append_extension(extension.unwrap()).unwrap();
        }
        builder.sign(&KEY, MessageDigest::sha256()).unwrap();
        builder.build()
    }

    fn amazons() -> X509 {
        certificate("sns.amazonaws.com", "sns.amazonaws.com", 0)
    }

    fn sign(text: &str, version: &str) -> String {
        let digest = if version == "1" { MessageDigest::sha1() } else { MessageDigest::sha256() };
        let mut signer = Signer::new(digest, &KEY).unwrap();
        encode_block(&signer.sign_oneshot_to_vec(text.as_bytes()).unwrap())
    }

    /// As AWS documents what is signed of a notification.
    fn notification(version: &str) -> Value {
        let text = format!(
            "Message\n{{\"id\":\"é\\n\"}}\nMessageId\n22b80b92\nSubject\nMy First Message\n\
             Timestamp\n2026-01-01T00:00:00.000Z\nTopicArn\n{ARN}\nType\nNotification\n"
        );
        json!({
            "Type": "Notification", "MessageId": "22b80b92", "TopicArn": ARN,
            "Subject": "My First Message", "Message": "{\"id\":\"é\\n\"}",
            "Timestamp": "2026-01-01T00:00:00.000Z", "SignatureVersion": version,
            "Signature": sign(&text, version),
            "SigningCertURL": format!("{HOST}/SimpleNotificationService-f3ecfb72.pem"),
            "UnsubscribeURL": format!("{HOST}/?Action=Unsubscribe"),
        })
    }

    /// As AWS documents what is signed of the start and the end of a subscription.
    fn confirmation(kind: &str) -> Value {
        let url = format!("{HOST}/?Action=ConfirmSubscription&TopicArn={ARN}&Token=2336");
        let text = format!(
            "Message\nYou have chosen\nto\nMessageId\n165545c9\nSubscribeURL\n{url}\nTimestamp\n\
             2026-01-01T00:00:00.000Z\nToken\n2336\nTopicArn\n{ARN}\nType\n{kind}\n"
        );
        json!({
            "Type": kind, "MessageId": "165545c9", "Token": "2336", "TopicArn": ARN,
            "Message": "You have chosen\nto", "SubscribeURL": url,
            "Timestamp": "2026-01-01T00:00:00.000Z", "SignatureVersion": "2",
            "Signature": sign(&text, "2"), "SigningCertURL": format!("{HOST}/a.pem"),
        })
    }

    fn read(body: &Value, now: Millis) -> Option<Claim<'static>> {
        Claim::read(&TOPICS, &[], body.to_string().as_bytes(), (now, WINDOW_MS))
    }

    fn letter(body: &Value) -> Option<Letter> {
        read(body, NOW)?.signed_by(&amazons(), NOW)
    }

    fn with(mut body: Value, key: &str, value: &str) -> Value {
        body[key] = value.into();
        body
    }

    #[test]
    fn what_amazon_signed_is_taken_in_either_version() {
        for version in ["1", "2"] {
            let body = notification(version);
            assert_eq!(read(&body, NOW).unwrap().certificate_url(), body["SigningCertURL"]);
            let (id, message) = ("22b80b92".to_owned(), "{\"id\":\"é\\n\"}".to_owned());
            assert_eq!(letter(&body), Some(Letter::Notification { id, message }));
        }
        let (kind, topic) = ("SubscriptionConfirmation", ARN.to_owned());
        let url = format!("{HOST}/?Action=ConfirmSubscription&TopicArn={ARN}&Token=2336");
        let wanted = Letter::SubscriptionConfirmation { topic: topic.clone(), url };
        assert_eq!(letter(&confirmation(kind)), Some(wanted));
        let wanted = Letter::UnsubscribeConfirmation { topic };
        assert_eq!(letter(&confirmation("UnsubscribeConfirmation")), Some(wanted));
    }

    #[test]
    fn whatever_is_changed_or_missing_is_refused() {
        for (key, other) in [
            ("Type", "SubscriptionConfirmation"),
            ("Type", "Other"),
            ("MessageId", "22b80b93"),
            ("TopicArn", "arn:aws:sns:eu-west-1:111122223333:other"),
            ("TopicArn", "arn:aws:sns:eu-west-1:444455556666:guardduty"),
            ("Subject", "My Second Message"),
            ("Message", "{}"),
            ("Timestamp", "2026-01-01T00:00:01.000Z"),
            ("Timestamp", "yesterday"),
            ("Token", "2336"),
            ("SignatureVersion", "1"),
            ("SignatureVersion", "3"),
            ("Signature", "!"),
            ("Signature", ""),
        ] {
            assert_eq!(letter(&with(notification("2"), key, other)), None, "{key} {other}");
        }
        for key in notification("2").as_object().unwrap().keys() {
            let mut body = notification("2");
            body.as_object_mut().unwrap().remove(key);
            assert_eq!(letter(&body).is_some(), key == "UnsubscribeURL", "{key}");
        }
        for key in ["Token", "SubscribeURL"] {
            let mut body = confirmation("SubscriptionConfirmation");
            body.as_object_mut().unwrap().remove(key);
            assert_eq!(letter(&body), None, "{key}");
        }
        for url in ["https://evil.example/", "http://sns.eu-west-1.amazonaws.com/"] {
            let body = with(confirmation("SubscriptionConfirmation"), "SubscribeURL", url);
            assert!(read(&body, NOW).is_none(), "{url}");
        }
    }

    #[test]
    fn a_field_is_read_once_and_as_it_is_signed() {
        let claim = |body: &str| Claim::read(&TOPICS, &[], body.as_bytes(), (NOW, 0)).is_some();
        let body = notification("2").to_string();
        assert!(claim(&body));
        for (key, value) in [("Message", "x"), ("TopicArn", ARN), ("\\u0054ype", "Notification")] {
            assert!(!claim(&body.replacen('{', &format!("{{\"{key}\":\"{value}\","), 1)), "{key}");
        }
        for wrong in ["", "{}", "[]", "null", "{\"id\":1}", &body[1..], &format!("{body}{{}}")] {
            assert!(!claim(wrong), "{wrong}");
        }
        // The same text is signed: a message that looks like a message and its id.
        let text = format!(
            "Message\n{{\"id\":\"é\\n\"}}\nMessageId\n22b80b92\nSubject\nMy\nMessageId\n1\n\
             Timestamp\n2026-01-01T00:00:00.000Z\nTopicArn\n{ARN}\nType\nNotification\n"
        );
        let signed = with(notification("2"), "Signature", &sign(&text, "2"));
        assert_eq!(letter(&with(signed, "Subject", "My\nMessageId\n1")), None);
    }

    #[test]
    fn a_certificate_is_asked_for_only_at_the_topics_own_host() {
        let url = |url: &str| read(&with(notification("2"), "SigningCertURL", url), NOW);
        assert!(url("https://sns.eu-west-1.amazonaws.com/a/b_1-2.pem").is_some());
        for wrong in [
            "https://sns.eu-west-1.amazonaws.com.evil.example/x.pem",
            "https://sns.eu-west-1.amazonaws.com.cn/x.pem",
            "https://sns.us-east-1.amazonaws.com/x.pem",
            "https://sns.ap-east-1.amazonaws.com/x.pem",
            "https://sns.amazonaws.com/x.pem",
            "https://evil.example/sns.eu-west-1.amazonaws.com/x.pem",
            "https://evil.example#sns.eu-west-1.amazonaws.com/x.pem",
            "https://s3.eu-west-1.amazonaws.com/x.pem",
            "https://SNS.eu-west-1.amazonaws.com/x.pem",
            "https://user@sns.eu-west-1.amazonaws.com/x.pem",
            "https://sns.eu-west-1.amazonaws.com@evil.example/x.pem",
            "https://sns.eu-west-1.amazonaws.com:443/x.pem",
            "https://sns.eu-west-1.amazonaws.com:pw@evil.example/x.pem",
            "https://sns.eu-west-1.amazonaws.com\\@evil.example/x.pem",
            "http://sns.eu-west-1.amazonaws.com/x.pem",
            "//sns.eu-west-1.amazonaws.com/x.pem",
            " https://sns.eu-west-1.amazonaws.com/x.pem",
            "https://sns.eu-west-1.amazonaws.com/x",
            "https://sns.eu-west-1.amazonaws.com/?Action=x&y=.pem",
            "https://sns.eu-west-1.amazonaws.com/x#.pem",
            "https://sns.eu-west-1.amazonaws.com/x%2f.pem",
            "file:///etc/x.pem",
            "",
        ] {
            assert!(url(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn the_certificate_is_valid_and_of_amazon_sns_in_that_region() {
        let taken = |certificate: &X509, now: Millis| {
            let claim = read(&notification("2"), NOW).unwrap();
            claim.signed_by(certificate, now).is_some()
        };
        for (name, other, is_taken) in [
            ("sns.amazonaws.com", "", true),
            ("x", "sns.amazonaws.com", true),
            ("sns-signing.eu-west-1.amazonaws.com", "", true),
            ("sns-signing.ap-east-1.amazonaws.com", "", false),
            ("sns.evil.example", "sns.amazonaws.com.evil.example", false),
            ("*.amazonaws.com", "*.amazonaws.com", false),
        ] {
            assert_eq!(taken(&certificate(name, other, 0), NOW), is_taken, "{name} {other}");
        }
        for (later, is_taken) in [(-2, false), (-1, true), (1, true), (2, false)] {
            let dated = certificate("sns.amazonaws.com", "", later);
            assert_eq!(taken(&dated, NOW), is_taken, "{later}");
        }
        let region = |region: &str, domain, name| {
            let topic = SnsTopic { arn: String::new(), region: region.to_owned(), domain };
            is_amazons(&certificate(name, "", 0), &topic)
        };
        let china = "sns-cn-north-1.amazonaws.com.cn";
        assert!(region("cn-north-1", "amazonaws.com.cn", china));
        assert!(!region("cn-northwest-1", "amazonaws.com.cn", china));
        assert!(region("us-gov-east-1", "amazonaws.com", "sns-us-gov-west-1.amazonaws.com"));
        let stranger = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        let mut other = X509::builder().unwrap();
        other.set_subject_name(amazons().subject_name()).unwrap();
        other.set_not_before(amazons().not_before()).unwrap();
        other.set_not_after(amazons().not_after()).unwrap();
        other.set_pubkey(&stranger).unwrap();
        assert!(!taken(&other.build(), NOW), "another key");
    }

    #[test]
    fn a_retry_is_taken_for_an_hour() {
        let hour = RETRIES_MS;
        for (offset, is_taken) in [
            (0, true),
            (-WINDOW_MS, true),
            (-WINDOW_MS - 1, false),
            (hour + WINDOW_MS, true),
            (hour + WINDOW_MS + 1, false),
        ] {
            let claim = read(&notification("2"), Millis(NOW.0 + offset));
            assert_eq!(claim.is_some(), is_taken, "{offset}");
        }
    }

    #[test]
    fn a_header_says_nothing_else_than_the_body() {
        let body = notification("2").to_string();
        let claim =
            |headers: &Headers<'_>| Claim::read(&TOPICS, headers, body.as_bytes(), (NOW, 0));
        assert!(claim(&[("x-amz-sns-message-type", b"Notification"), ("a", b"b")]).is_some());
        assert!(claim(&[("X-Amz-Sns-Message-Type", b"SubscriptionConfirmation")]).is_none());
        let both: [(&str, &[u8]); 2] = [(TYPE, b"Notification"), (TYPE, b"")];
        assert!(claim(&both).is_none());
    }
}
