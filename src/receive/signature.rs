use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::config::Secret;

/// HMAC-SHA256 of several parts, one after the other.
fn mac(key: &[&[u8]], message: &[&[u8]]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&key.concat()).ok()?;
    message.iter().for_each(|part| mac.update(part));
    Some(mac)
}

/// Whether one of these signatures is that of `message` under one of the secrets, each of which may
/// have something in front of it. In constant time but for the number of both.
pub(super) fn is_signed(
    secrets: &[Secret],
    front: &[u8],
    message: &[&[u8]],
    signatures: &[Vec<u8>],
) -> bool {
    let mut is_right = false;
    for secret in secrets {
        let Some(mac) = mac(&[front, secret.expose()], message) else { continue };
        for signature in signatures {
            is_right |= mac.clone().verify_slice(signature).is_ok();
        }
    }
    is_right
}

/// Whether `given` is one of the secrets. Both are hashed first, so that neither bytes nor length
/// of a secret can be found out by the time this takes.
pub(super) fn is_one_of(secrets: &[Secret], given: &[u8]) -> bool {
    const KEY: &[u8] = b"compared, not kept";
    let mut is_right = false;
    for secret in secrets {
        let (Some(wanted), Some(found)) = (mac(&[KEY], &[secret.expose()]), mac(&[KEY], &[given]))
        else {
            continue;
        };
        is_right |= wanted.verify_slice(&found.finalize().into_bytes()).is_ok();
    }
    is_right
}

pub(super) fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
    bytes.collect::<Option<_>>().filter(|_| rest.is_empty())
}

pub(super) fn from_base64(text: &[u8]) -> Option<Vec<u8>> {
    BASE64.decode(text).ok()
}
