use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::case::hex;

/// Shortest key that is taken: below this the fingerprint of a weak secret could be guessed back.
const KEY_BYTES_MIN: usize = 16;

/// The keys that stand between a secret and its fingerprint: one in use, and the one before it
/// while alias tables still hold its fingerprints.
pub struct FingerprintKeys {
    active: Key,
    previous: Option<Key>,
}

struct Key {
    id: String,
    mac: Hmac<Sha256>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("a fingerprint key's id must be 1 to 32 of `a-z`, `0-9` and `-`")]
    Id,
    #[error("a fingerprint key must have at least {KEY_BYTES_MIN} bytes")]
    Short,
    #[error("the previous fingerprint key has the id of the active one")]
    SameId,
}

impl FingerprintKeys {
    /// Each key is an id, which stands in every fingerprint, and its secret bytes.
    pub fn new(active: (&str, &[u8]), previous: Option<(&str, &[u8])>) -> Result<Self, KeyError> {
        if previous.is_some_and(|(id, _)| id == active.0) {
            return Err(KeyError::SameId);
        }
        Ok(Self { active: Key::new(active)?, previous: previous.map(Key::new).transpose()? })
    }

    /// `fp:<key id>:<first 32 hexadecimal digits of the HMAC-SHA256>`.
    pub fn fingerprint(&self, secret: &[u8]) -> String {
        self.active.fingerprint(secret)
    }

    pub fn previous_fingerprint(&self, secret: &[u8]) -> Option<String> {
        self.previous.as_ref().map(|key| key.fingerprint(secret))
    }

    pub fn active_id(&self) -> &str {
        &self.active.id
    }
}

/// Names the keys and shows nothing of them.
impl fmt::Debug for FingerprintKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let previous = self.previous.as_ref().map(|key| &key.id);
        f.debug_struct("FingerprintKeys")
            .field("active", &self.active.id)
            .field("previous", &previous)
            .finish_non_exhaustive()
    }
}

impl Key {
    fn new((id, secret): (&str, &[u8])) -> Result<Self, KeyError> {
        let is_known = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if id.is_empty() || id.len() > 32 || !id.bytes().all(is_known) {
            return Err(KeyError::Id);
        }
        if secret.len() < KEY_BYTES_MIN {
            return Err(KeyError::Short);
        }
        let mac = Hmac::new_from_slice(secret).map_err(|_| KeyError::Short)?;
        Ok(Self { id: id.to_owned(), mac })
    }

    fn fingerprint(&self, secret: &[u8]) -> String {
        let mut mac = self.mac.clone();
        mac.update(secret);
        let digest = mac.finalize().into_bytes();
        format!("fp:{}:{}", self.id, hex(digest.get(..16).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_a_cut_hmac_with_the_key_named() {
        // RFC 4231, test case 6.
        let keys = FingerprintKeys::new(("k2", &[0xaa; 131]), Some(("k1", &[1; 16]))).unwrap();
        let data = b"Test Using Larger Than Block-Size Key - Hash Key First";
        assert_eq!(keys.fingerprint(data), "fp:k2:60e431591ee0b67f0d8a26aacbf5b77f");
        assert!(keys.previous_fingerprint(data).unwrap().starts_with("fp:k1:"));
    }

    #[test]
    fn keys_are_checked_and_never_shown() {
        let new = |id, secret| FingerprintKeys::new((id, secret), None);
        assert_eq!(new("k", &[1; 15]).unwrap_err(), KeyError::Short);
        assert_eq!(new("K:1", &[1; 16]).unwrap_err(), KeyError::Id);
        let twice = FingerprintKeys::new(("k", &[1; 16]), Some(("k", &[2; 16])));
        assert_eq!(twice.unwrap_err(), KeyError::SameId);
        let shown = format!("{:?}", new("k", b"notarealsecret-notarealsecret").unwrap());
        assert_eq!(shown, r#"FingerprintKeys { active: "k", previous: None, .. }"#);
    }
}
