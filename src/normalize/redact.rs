use std::borrow::Cow;
use std::cell::OnceCell;
use std::cmp::Reverse;
use std::ops::Range;

use super::FingerprintKeys;
use super::scan;
use super::secret::{Class, access_key_id, canonical, class_of};
use super::views::Search;
use crate::json::Raw;

/// LIMIT: searching for more values than this would let one message hold a worker up.
const VALUES_MAX: usize = 256;

/// What stands for a secret that has no fingerprint.
pub(super) const REDACTED: &str = "redacted";

/// The secrets of one alert, and what to put in their place.
pub(super) struct Redactor<'a, 'k> {
    /// As they are in `search`.
    secrets: Vec<Secret>,
    dropped: Vec<Raw<'a>>,
    keys: &'k FingerprintKeys,
    search: Search,
}

struct Secret {
    class: Class,
    /// The secret that it is the same credential as: itself, mostly.
    canonical: usize,
    fingerprint: OnceCell<String>,
}

/// More values to redact than are searched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooManySecrets;

impl<'a, 'k> Redactor<'a, 'k> {
    pub(super) fn new(keys: &'k FingerprintKeys) -> Self {
        Self { secrets: Vec::new(), dropped: Vec::new(), keys, search: Search::default() }
    }

    /// Every string and number in the value is a secret.
    pub(super) fn add(&mut self, raw: Raw<'a>) -> Result<(), TooManySecrets> {
        raw.each_scalar(&mut |raw| {
            let text = raw.scalar().unwrap_or_default();
            let value = text.trim();
            match class_of(value) {
                Class::Placeholder | Class::Public => {}
                Class::Short => self.dropped.push(raw),
                class => {
                    let at = self.look_for(value, class);
                    let canonical = self.look_for(&canonical(value), class);
                    self.secrets.get_mut(at).into_iter().for_each(|of| of.canonical = canonical);
                }
            }
        });
        if self.secrets.len() + self.dropped.len() > VALUES_MAX {
            return Err(TooManySecrets);
        }
        Ok(())
    }

    fn look_for(&mut self, value: &str, class: Class) -> usize {
        self.search.position(value).unwrap_or_else(|| {
            let canonical = self.secrets.len();
            self.search.add(value);
            self.secrets.push(Secret { class, canonical, fingerprint: OnceCell::new() });
            canonical
        })
    }

    /// The credential that a value at a redacted path is as a whole, and its fingerprint.
    pub(super) fn credential(&self, raw: &Raw<'_>) -> Option<(&str, &str)> {
        let text = raw.scalar()?;
        let secret = self.secrets.get(self.search.position(text.trim())?)?;
        let is_whole = secret.class == Class::Secret;
        is_whole.then(|| (self.search.secret(secret.canonical), self.fingerprint(secret.canonical)))
    }

    pub(super) fn is_dropped(&self, raw: &Raw<'_>) -> bool {
        self.dropped.iter().any(|dropped| dropped.is_same_place(raw))
    }

    /// The text with every secret in it replaced: the values that stood at redacted paths, and what
    /// looks like a token wherever it came from.
    pub(super) fn clean<'t>(&self, text: Cow<'t, str>) -> Cow<'t, str> {
        scan::clean(self.without_known(text), self.keys)
    }

    fn without_known<'t>(&self, text: Cow<'t, str>) -> Cow<'t, str> {
        if self.search.is_empty() {
            return text;
        }
        let mut hits = self.search.find(&text);
        if hits.is_empty() {
            return text;
        }
        hits.sort_by_key(|(range, secret)| (range.start, Reverse(range.end), *secret));
        Cow::Owned(self.replaced(&text, &hits))
    }

    /// Overlapping finds are one: it takes the label of the one that starts first, with the public
    /// id in it.
    fn replaced(&self, text: &str, hits: &[(Range<usize>, usize)]) -> String {
        let mut out = String::with_capacity(text.len());
        let mut done = 0;
        for (range, secret) in hits {
            if range.start >= done {
                out.push_str(text.get(done..range.start).unwrap_or_default());
                if let Some(id) = access_key_id(self.search.secret(*secret)) {
                    out.push_str(id);
                    out.push(' ');
                }
                out.push_str(self.label(*secret));
            }
            done = done.max(range.end);
        }
        out.push_str(text.get(done..).unwrap_or_default());
        out
    }

    fn label(&self, at: usize) -> &str {
        match self.secrets.get(at) {
            Some(Secret { class: Class::Secret, canonical, .. }) => self.fingerprint(*canonical),
            _ => REDACTED,
        }
    }

    fn fingerprint(&self, at: usize) -> &str {
        let Some(secret) = self.secrets.get(at) else { return REDACTED };
        let made = || self.keys.fingerprint(self.search.secret(at).as_bytes());
        secret.fingerprint.get_or_init(made)
    }
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
    fn the_id_of_an_access_key_stays_before_what_stands_for_its_secret() {
        let keys = keys();
        let mut redactor = Redactor::new(&keys);
        let both = "AKIADEPLOYKEYEXAMPLE\nsecret=notareal+secret";
        let longer = "xAKIADEPLOYKEYEXAMPLES notareal";
        for value in [both, longer] {
            redactor.add(raw(value)).unwrap();
        }
        let [label, other] = [both, longer].map(|value| keys.fingerprint(value.as_bytes()));
        assert_eq!(
            redactor.clean(Cow::Owned(format!("id {both}."))),
            format!("id AKIADEPLOYKEYEXAMPLE {label}.")
        );
        assert_eq!(redactor.clean(Cow::Borrowed(longer)), other);
    }

    #[test]
    fn only_whole_secrets_identify_a_credential() {
        let keys = keys();
        let mut redactor = Redactor::new(&keys);
        let pair = format!("AKIADEPLOYKEYEXAMPLE:{}", "notareal+".repeat(4) + "/abc");
        let values =
            [" notarealsecret\n", &pair, "REDACTED", "abc", "AKIANOT...", "AKIADEPLOYKEYEXAMPLE"];
        for value in values {
            redactor.add(raw(value)).unwrap();
        }
        for (value, secret) in [(values[0], "notarealsecret"), (&pair, &pair[21..])] {
            let label = keys.fingerprint(secret.as_bytes());
            assert_eq!(redactor.credential(&raw(value)), Some((secret, label.as_str())));
        }
        for none in &values[2..] {
            assert_eq!(redactor.credential(&raw(none)), None, "{none}");
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
            (0..=VALUES_MAX).map(|n| format!("{}", 1_000_000 + n)).collect::<Vec<_>>().join(",")
        );
        let keys = keys();
        let list = Raw { kind: Kind::List, text: &text, at: 0 };
        assert_eq!(Redactor::new(&keys).add(list), Err(TooManySecrets));
    }
}
