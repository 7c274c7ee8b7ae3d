//! Standard Webhooks: a body is signed together with its id and the time.
//!
//! Source: the specification at standardwebhooks.com, as `receive` checks it of those who send.

use hmac::{Hmac, KeyInit, Mac};
use openssl::base64::encode_block;
use sha2::Sha256;

use super::Call;
use crate::case::Millis;
use crate::config::Secret;

/// The header that names a message; whoever takes it drops a second one of the same name.
pub const ID: &str = "webhook-id";

/// What is sent beside the headers of the call. Nothing when the call has no id.
pub(super) fn headers(
    call: &Call,
    secret: &Secret,
    now: Millis,
) -> Option<Vec<(&'static str, String)>> {
    let (_, id) = call.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(ID))?;
    let time = now.0.div_euclid(1000).to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose()).ok()?;
    for part in [id.as_bytes(), b".", time.as_bytes(), b"."] {
        mac.update(part);
    }
    mac.update(call.body.as_deref().unwrap_or_default());
    let signature = format!("v1,{}", encode_block(&mac.finalize().into_bytes()));
    Some(vec![("webhook-timestamp", time), ("webhook-signature", signature)])
}

#[cfg(test)]
mod tests {
    use reqwest::Method;

    use super::*;

    /// The example of the specification's reference libraries.
    #[test]
    fn the_published_example_is_met() {
        let secret = crate::case::from_base64("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let call = Call {
            method: Method::POST,
            path: "/".to_owned(),
            headers: vec![("Webhook-Id".to_owned(), "msg_p5jXN8AQM9LWM0D4loKWxJek".to_owned())],
            body: Some(b"{\"test\": 2432232314}".to_vec()),
        };
        let signed = headers(&call, &Secret::new(secret), Millis(1_614_265_330_000)).unwrap();
        assert_eq!(signed[0], ("webhook-timestamp", "1614265330".to_owned()));
        let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(signed[1], ("webhook-signature", expected.to_owned()));
    }

    #[test]
    fn a_call_without_an_id_is_not_signed() {
        let call = Call { method: Method::POST, path: "/".into(), headers: vec![], body: None };
        assert_eq!(headers(&call, &Secret::new(*b"secret"), Millis(0)), None);
    }
}
