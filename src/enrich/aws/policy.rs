//! What policies say, in a form in which equal permissions are equal bytes.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use crate::case::hex;
use crate::service::{Failure, Fault};

/// All policies that apply to one user.
#[derive(Debug, Default)]
pub(super) struct Policies {
    granting: Vec<Policy>,
    boundary: Option<Policy>,
}

/// One policy, by who has it and what it is called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Policy {
    owner: String,
    /// Its ARN, if it is a managed one.
    name: String,
    version: String,
    /// Its document, canonical.
    document: String,
    allows_everything: bool,
}

impl Policy {
    /// `document` is percent-encoded JSON, as IAM gives it.
    ///
    /// Errors: it is no policy.
    pub fn read(
        (owner, name): (&str, &str),
        version: &str,
        document: &str,
    ) -> Result<Self, Failure> {
        let wrong = || Failure::new(Fault::Malformed, format!("policy `{name}` is no JSON object"));
        let json: Json = serde_json::from_slice(&decoded(document)).map_err(|_| wrong())?;
        if !json.is_object() {
            return Err(wrong());
        }
        let mut canonical = String::new();
        write(&json, &mut canonical);
        Ok(Self {
            owner: owner.to_owned(),
            name: name.to_owned(),
            version: version.to_owned(),
            document: canonical,
            allows_everything: allows_everything(&json),
        })
    }
}

impl Policies {
    pub fn add(&mut self, policy: Policy) {
        self.granting.push(policy);
        self.granting.sort_unstable();
    }

    pub fn bound(&mut self, boundary: Policy) {
        self.boundary = Some(boundary);
    }

    /// `user/ci: deploy, arn:…:policy/ReadOnly; group/admins: all`; nothing when there are none.
    pub fn names(&self) -> Option<String> {
        let mut by_owner: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for policy in self.granting.iter().chain(&self.boundary) {
            by_owner.entry(&policy.owner).or_default().push(&policy.name);
        }
        let all = by_owner.iter().map(|(owner, names)| format!("{owner}: {}", names.join(", ")));
        Some(all.collect::<Vec<_>>().join("; ")).filter(|names| !names.is_empty())
    }

    /// Each part with its length in front, so that no two sets of policies hash alike.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for policy in self.granting.iter().chain(&self.boundary) {
            for part in [&policy.owner, &policy.name, &policy.version, &policy.document] {
                hash.update((part.len() as u64).to_be_bytes());
                hash.update(part);
            }
        }
        hex(&hash.finalize())
    }

    /// What a `Deny` takes away again is not subtracted: this errs toward people.
    pub fn is_admin(&self) -> bool {
        self.granting.iter().any(|policy| policy.allows_everything)
            && self.boundary.as_ref().is_none_or(|boundary| boundary.allows_everything)
    }
}

fn allows_everything(policy: &Json) -> bool {
    let holds = |statement: &Json, name: &str, all: &[&str]| {
        each(statement.get(name)).any(|text| all.contains(&text.as_str().unwrap_or_default()))
    };
    each(policy.get("Statement")).any(|statement| {
        statement.get("Effect").and_then(Json::as_str) == Some("Allow")
            && holds(statement, "Action", &["*", "*:*"])
            && holds(statement, "Resource", &["*"])
    })
}

/// One thing stands for a list of one.
fn each(json: Option<&Json>) -> impl Iterator<Item = &Json> {
    let items = match json {
        Some(Json::Array(items)) => items.as_slice(),
        Some(one) => std::slice::from_ref(one),
        None => &[],
    };
    items.iter()
}

/// Members by name; nothing between the parts.
fn write(json: &Json, out: &mut String) {
    match json {
        Json::Object(members) => {
            let sorted: BTreeMap<&String, &Json> = members.iter().collect();
            out.push('{');
            for (index, (name, value)) in sorted.into_iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                out.push_str(&Json::from(name.as_str()).to_string());
                out.push(':');
                write(value, out);
            }
            out.push('}');
        }
        Json::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                write(item, out);
            }
            out.push(']');
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {
            out.push_str(&json.to_string());
        }
    }
}

/// What is no escape stands for itself: some give the document plain.
fn decoded(text: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match escaped.filter(|_| *byte == b'%') {
            Some(escaped) => {
                decoded.push(escaped);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                decoded.push(*byte);
                rest = after;
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str =
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;

    fn policy(owner: &str, name: &str, document: &str) -> Policy {
        Policy::read((owner, name), "v1", document).unwrap()
    }

    fn digest(policies: &[Policy]) -> String {
        let mut all = Policies::default();
        policies.iter().for_each(|policy| all.add(policy.clone()));
        all.digest()
    }

    #[test]
    fn the_same_permissions_have_the_same_digest_however_they_are_written() {
        let one = policy("user/a", "p", r#"{"Version":"1","Statement":[]}"#);
        let same =
            policy("user/a", "p", "%7B%22Statement%22%3A%20%5B%5D%2C%22Version%22%3A%221%22%7D");
        assert_eq!(one, same);
        let other = policy("user/a", "q", r#"{"Version":"1","Statement":[{}]}"#);
        assert_eq!(digest(&[one.clone(), other.clone()]), digest(&[other.clone(), one.clone()]));
        for changed in [
            policy("user/a", "p", r#"{"Version":"2","Statement":[]}"#),
            policy("group/a", "p", r#"{"Version":"1","Statement":[]}"#),
            Policy { version: "v2".to_owned(), ..one.clone() },
        ] {
            assert_ne!(digest(&[changed]), digest(std::slice::from_ref(&one)));
        }
        assert_ne!(digest(&[one.clone(), other]), digest(&[one]));
    }

    #[test]
    fn an_admin_may_do_everything_on_everything_and_is_not_bound() {
        let is_admin = |document: &str, boundary: Option<&str>| {
            let mut all = Policies::default();
            all.add(policy("user/a", "p", document));
            if let Some(boundary) = boundary {
                all.bound(policy("boundary", "b", boundary));
            }
            all.is_admin()
        };
        let lists = r#"{"Statement":{"Effect":"Allow","Action":["s3:Get","*"],"Resource":["*"]}}"#;
        let denied = ALL.replace("Allow", "Deny");
        let narrow = r#"{"Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#;
        assert!(is_admin(ALL, None) && is_admin(lists, None) && is_admin(ALL, Some(ALL)));
        assert!(
            !is_admin(&denied, None) && !is_admin(narrow, None) && !is_admin(ALL, Some(narrow))
        );
        assert!(!is_admin(&ALL.replace(r#""Resource":"*""#, r#""Resource":"arn:x""#), None));
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        for document in ["", "[]", "%7B", "text", "{\"a\":%}"] {
            assert!(Policy::read(("user/a", "p"), "v1", document).is_err(), "{document}");
        }
    }
}
