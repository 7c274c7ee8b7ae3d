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
