use std::borrow::Cow;
use std::cell::OnceCell;
use std::ops::Range;

use super::FingerprintKeys;
use super::views::{Filter, Shapes, Views};
use crate::json::Raw;

/// Shorter values are everywhere in a text: only the field itself is dropped.
const SEARCHED_LEN_MIN: usize = 6;
/// LIMIT: searching for more values than this would let one message hold a worker up.
const VALUES_MAX: usize = 32;

/// What a value at a redacted path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Nothing, or a word that stands for a value. Fingerprinting it would merge strangers
    /// (INV-11).
    Placeholder,
    Short,
    /// Part of a secret, masked by the detector: replaced, but no identity.
    Masked,
    Secret,
}

/// The secrets of one alert, and what to put in their place.
pub(super) struct Redactor<'a, 'k> {
    secrets: Vec<Secret>,
    dropped: Vec<Raw<'a>>,
    keys: &'k FingerprintKeys,
    filter: Filter,
}

struct Secret {
    value: String,
    class: Class,
    label: OnceCell<String>,
    shapes: OnceCell<Shapes>,
}

/// More values to redact than are searched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooManySecrets;

impl<'a, 'k> Redactor<'a, 'k> {
    pub(super) fn new(keys: &'k FingerprintKeys) -> Self {
        Self { secrets: Vec::new(), dropped: Vec::new(), keys, filter: Filter::default() }
    }

    /// Every string and number in the value is a secret.
    pub(super) fn add(&mut self, raw: Raw<'a>) -> Result<(), TooManySecrets> {
        raw.each_scalar(&mut |raw| {
            let text = raw.scalar().unwrap_or_default();
            let value = text.trim();
            match class_of(value) {
                Class::Placeholder => {}
                Class::Short => self.dropped.push(raw),
                class => {
                    if !self.secrets.iter().any(|secret| secret.value == value) {
                        self.filter.add(value);
                        let (label, shapes) = (OnceCell::new(), OnceCell::new());
                        self.secrets.push(Secret { value: value.to_owned(), class, label, shapes });
                    }
                }
            }
        });
        if self.secrets.len() + self.dropped.len() > VALUES_MAX {
            return Err(TooManySecrets);
        }
        Ok(())
    }

    pub(super) fn is_dropped(&self, raw: &Raw<'_>) -> bool {
        self.dropped.iter().any(|dropped| dropped.is_same_place(raw))
    }

    /// The text with every secret in it replaced.
    pub(super) fn clean<'t>(&self, text: Cow<'t, str>) -> Cow<'t, str> {
        if self.secrets.is_empty() || !self.filter.may_hold(&text) {
            return text;
        }
        let views = Views::of(&text);
        let mut hits: Vec<(Range<usize>, &Secret)> = Vec::new();
        for secret in &self.secrets {
            hits.extend(views.find(secret.shapes()).into_iter().map(|range| (range, secret)));
        }
        if hits.is_empty() {
            return text;
        }
        hits.sort_by_key(|(range, _)| (range.start, usize::MAX - range.end));
        Cow::Owned(self.replaced(&text, &hits))
    }

    /// Overlapping finds are one: it takes the label of the one that starts first.
    fn replaced(&self, text: &str, hits: &[(Range<usize>, &Secret)]) -> String {
        let mut out = String::with_capacity(text.len());
        let mut done = 0;
        for (range, secret) in hits {
            if range.start >= done {
                out.push_str(text.get(done..range.start).unwrap_or_default());
                out.push_str(secret.label(self.keys));
            }
            done = done.max(range.end);
        }
        out.push_str(text.get(done..).unwrap_or_default());
        out
    }
}

impl Secret {
    fn shapes(&self) -> &Shapes {
        self.shapes.get_or_init(|| Shapes::of(&self.value))
    }

    fn label(&self, keys: &FingerprintKeys) -> &str {
        self.label.get_or_init(|| match self.class {
            Class::Secret => keys.fingerprint(self.value.as_bytes()),
            _ => "redacted".to_owned(),
        })
    }
}

/// The text whose fingerprint identifies the credential, when the value is a whole secret.
pub(super) fn whole_secret<'a>(raw: &Raw<'a>) -> Option<Cow<'a, str>> {
    let text = raw.scalar()?;
    let value = text.trim();
    if class_of(value) != Class::Secret {
        return None;
    }
    Some(if value.len() == text.len() { text } else { Cow::Owned(value.to_owned()) })
}

fn class_of(value: &str) -> Class {
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
    if value.len() < SEARCHED_LEN_MIN {
        return Class::Short;
    }
    if value.ends_with("...") || value.ends_with('…') || value.contains("***") {
        return Class::Masked;
    }
    Class::Secret
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json::Kind;

    fn keys() -> FingerprintKeys {
        FingerprintKeys::new(("k1", b"notarealkey-notarealkey"), None).unwrap()
    }

    fn raw(text: &str) -> Raw<'_> {
        Raw { kind: Kind::Text { is_escaped: false }, text, at: 0 }
    }

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
            "HIDDEN_DUE_TO_SECURITY_REASONS",
            "<sensitiveDataRemoved>",
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
    fn secrets_are_replaced_wherever_they_occur() {
        let keys = keys();
        let mut redactor = Redactor::new(&keys);
        for value in ["notareal+secret\n", "key = notareal+secret", "abc", "partofit..."] {
            redactor.add(raw(value)).unwrap();
        }
        let label = keys.fingerprint(b"notareal+secret");
        let longer = keys.fingerprint(b"key = notareal+secret");
        for (text, expected) in [
            ("a notareal+secret b", format!("a {label} b")),
            ("notareal%2Bsecretnotareal+secret", format!("{label}{label}")),
            ("the key = notareal+secret;", format!("the {longer};")),
            ("abc stays, partofit... goes", "abc stays, redacted goes".to_owned()),
            ("nothing here to hide", "nothing here to hide".to_owned()),
        ] {
            assert_eq!(redactor.clean(Cow::Borrowed(text)), expected, "{text}");
        }
        assert!(redactor.dropped.len() == 1 && redactor.is_dropped(&redactor.dropped[0]));
    }

    #[test]
    fn only_whole_secrets_identify_a_credential() {
        assert_eq!(whole_secret(&raw(" notarealsecret\n")).as_deref(), Some("notarealsecret"));
        for none in ["REDACTED", "abc", "AKIANOT..."] {
            assert_eq!(whole_secret(&raw(none)), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn no_secret_stays(secret in "[a-zé+/=\"\\n %]{1,12}", before in "[a-z%\\\\é]{0,5}") {
            prop_assume!(class_of(secret.trim()) == Class::Secret);
            let keys = keys();
            let mut redactor = Redactor::new(&keys);
            redactor.add(raw(&secret)).unwrap();
            let json = serde_json::to_string(&secret).unwrap();
            for text in [format!("{before}{secret}{before}"), format!("{before}{json}"), json] {
                let clean = redactor.clean(Cow::Borrowed(&text));
                prop_assert!(!clean.contains(secret.trim()), "{clean}");
                prop_assert!(clean.contains("fp:k1:"), "{clean}");
            }
        }
    }

    #[test]
    fn a_flood_of_values_is_refused() {
        let text = format!(
            "[{}]",
            (0..33).map(|n| format!("{}", 1_000_000 + n)).collect::<Vec<_>>().join(",")
        );
        let keys = keys();
        let list = Raw { kind: Kind::List, text: &text, at: 0 };
        assert_eq!(Redactor::new(&keys).add(list), Err(TooManySecrets));
    }
}
