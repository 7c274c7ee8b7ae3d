//! AWS Signature Version 4: a pure function of the request, the keys and the time.
//!
//! Source: the "Create a signed AWS API request" pages of the IAM user guide. Not for S3, which
//! encodes paths once and signs a header for the body.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::case::{Millis, hex};
use crate::config::{AwsKeys, Secret};

/// What is signed. Path and query are percent-encoded already.
pub struct Request<'r> {
    pub method: &'r str,
    /// With the port, where it is not the scheme's own.
    pub host: &'r str,
    pub path: &'r str,
    pub query: &'r str,
    /// All of them are signed.
    pub headers: &'r [(String, String)],
    pub body: &'r [u8],
}

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// The headers to send beside those of the request. Nothing when a key is no text.
pub fn sign(
    request: &Request<'_>,
    keys: &AwsKeys<Secret>,
    now: Millis,
) -> Option<Vec<(&'static str, String)>> {
    // 20150830T123600Z
    let time: String = now.to_string().chars().filter(|c| !"-:".contains(*c)).take(15).collect();
    let time = format!("{time}Z");
    let day = time.get(..8)?;
    let token = match &keys.session_token {
        Some(token) => Some(token.expose_text()?.to_owned()),
        None => None,
    };
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    let own = [("host", request.host.to_owned()), ("x-amz-date", time.clone())];
    let own = own.into_iter().chain(token.clone().map(|token| ("x-amz-security-token", token)));
    let own = own.map(|(name, value)| (name.to_owned(), value));
    let given =
        request.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
    for (name, value) in given.chain(own) {
        headers.insert(name, value.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    let names = headers.keys().map(String::as_str).collect::<Vec<_>>().join(";");
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let canonical = [
        request.method,
        &encoded(request.path),
        &sorted(request.query),
        &lines,
        &names,
        &hex(&Sha256::digest(request.body)),
    ]
    .join("\n");
    let scope = format!("{day}/{}/{}/aws4_request", keys.region, keys.service);
    let hashed = hex(&Sha256::digest(canonical));
    let text = format!("{ALGORITHM}\n{time}\n{scope}\n{hashed}");
    let mut key = [b"AWS4", keys.secret_access_key.expose()].concat();
    for part in scope.split('/') {
        key = mac(&key, part)?;
    }
    let (id, signature) = (keys.access_key_id.expose_text()?, hex(&mac(&key, &text)?));
    let authorization = format!(
        "{ALGORITHM} Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}"
    );
    let mut signed = vec![("x-amz-date", time), ("authorization", authorization)];
    signed.extend(token.map(|token| ("x-amz-security-token", token)));
    Some(signed)
}

fn mac(key: &[u8], text: &str) -> Option<Vec<u8>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(text.as_bytes());
    Some(mac.finalize().into_bytes().to_vec())
}

/// Encoded once more, as every service but S3 wants it.
fn encoded(path: &str) -> String {
    let mut encoded = String::new();
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    if encoded.is_empty() { "/".to_owned() } else { encoded }
}

fn sorted(query: &str) -> String {
    let parts = query.split('&').filter(|part| !part.is_empty());
    let mut pairs: Vec<(&str, &str)> =
        parts.map(|part| part.split_once('=').unwrap_or((part, ""))).collect();
    pairs.sort_unstable();
    let pairs = pairs.iter().map(|(name, value)| format!("{name}={value}"));
    pairs.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";

    fn keys(token: Option<&str>) -> AwsKeys<Secret> {
        let secret = |text: &str| Secret::new(text.as_bytes().to_vec());
        AwsKeys {
            region: "us-east-1".to_owned(),
            service: "service".to_owned(),
            access_key_id: secret("AKIDEXAMPLE"),
            secret_access_key: secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            session_token: token.map(secret),
        }
    }

    /// As in AWS's published test suite.
    #[test]
    fn the_published_vectors_are_met() {
        let form = [("Content-Type".to_owned(), "application/x-www-form-urlencoded".to_owned())];
        for (name, (method, query, headers, body), token, signed, signature) in [
            (
                "get-vanilla",
                ("GET", "", &[][..], ""),
                None,
                "host;x-amz-date",
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                "get-vanilla-query-order-key-case",
                ("GET", "Param2=value2&Param1=value1", &[], ""),
                None,
                "host;x-amz-date",
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            (
                "post-x-www-form-urlencoded",
                ("POST", "", &form, "Param1=value1"),
                None,
                "content-type;host;x-amz-date",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
            (
                "post-sts-header-before",
                ("POST", "", &[], ""),
                Some(TOKEN),
                "host;x-amz-date;x-amz-security-token",
                "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
            ),
        ] {
            let (host, path, body) = ("example.amazonaws.com", "/", body.as_bytes());
            let request = Request { method, host, path, query, headers, body };
            let now = Millis::parse("2015-08-30T12:36:00Z").unwrap();
            let headers = sign(&request, &keys(token), now).unwrap();
            let authorization = format!(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                 SignedHeaders={signed}, Signature={signature}"
            );
            assert_eq!(headers[0], ("x-amz-date", "20150830T123600Z".to_owned()));
            assert_eq!(headers[1], ("authorization", authorization), "{name}");
            assert_eq!(headers.get(2).map(|(_, value)| value.as_str()), token, "{name}");
        }
    }

    #[test]
    fn paths_are_encoded_once_more_and_queries_sorted() {
        assert_eq!(encoded("/a%20b/~c"), "/a%2520b/~c");
        assert_eq!(encoded(""), "/");
        assert_eq!(sorted("b=1&a=2&a=1&c"), "a=1&a=2&b=1&c=");
    }
}
