use std::time::Duration;

use chrono::DateTime;
use reqwest::header::{
    ACCEPT, AsHeaderName, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, RETRY_AFTER,
};

use crate::case::Millis;

/// What a request asks for that says nothing else.
pub(super) const JSON: &str = "application/json";

fn text(headers: &HeaderMap, name: impl AsHeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// Without parameters: `application/json; charset=utf-8`.
fn essence(media_type: &str) -> String {
    media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn is_json(essence: &str) -> bool {
    essence.ends_with("/json") || essence.ends_with("+json")
}

/// Whether a body is of a kind that was asked for; errors may be JSON whatever was asked for. A
/// page that a proxy answers with must not pass for what the service says.
pub(super) fn is_wanted(asked: &HeaderMap, reply: &HeaderMap, is_success: bool) -> bool {
    let is_plain = text(reply, CONTENT_ENCODING).is_none_or(|encoding| encoding == "identity");
    let Some(given) = text(reply, CONTENT_TYPE).map(essence) else { return false };
    let accept = text(asked, ACCEPT).unwrap_or(JSON);
    let fits = |wanted: String| {
        wanted == given || wanted == "*/*" || (is_json(&wanted) && is_json(&given))
    };
    is_plain && (accept.split(',').map(essence).any(fits) || (!is_success && is_json(&given)))
}

/// A service that asks for more is asked again all the same.
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// How long the service wants to be left alone, as far as it says so.
pub(super) fn pause_asked(headers: &HeaderMap, now: Millis) -> Option<Duration> {
    said(headers, now).map(|pause| pause.min(PAUSE_MAX))
}

fn said(headers: &HeaderMap, now: Millis) -> Option<Duration> {
    let until = |at_ms: i64| {
        let left = u64::try_from(at_ms.saturating_sub(now.0)).unwrap_or_default();
        Duration::from_millis(left)
    };
    if let Some(text) = text(headers, RETRY_AFTER) {
        let text = text.trim();
        if let Ok(seconds) = text.parse::<u32>() {
            return Some(Duration::from_secs(seconds.into()));
        }
        let date = DateTime::parse_from_rfc2822(text).ok()?;
        return Some(until(date.timestamp_millis()));
    }
    // GitHub, Gitea and Okta say so.
    let of = |name: [&str; 2]| name.into_iter().find_map(|name| text(headers, name));
    let left = of(["x-ratelimit-remaining", "x-rate-limit-remaining"])?;
    let reset = of(["x-ratelimit-reset", "x-rate-limit-reset"])?.parse::<i64>().ok()?;
    (left == "0").then(|| until(reset.saturating_mul(1000)))
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
        let all = all
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        all.collect()
    }

    #[test]
    fn only_what_was_asked_for_is_read() {
        let wanted = |accept: &'static str, given: &'static str, is_success| {
            let asked = if accept.is_empty() { vec![] } else { vec![("accept", accept)] };
            is_wanted(&headers(&asked), &headers(&[("content-type", given)]), is_success)
        };
        assert!(wanted("", "application/json; charset=utf-8", true));
        assert!(wanted("application/vnd.github+json", "application/json", true));
        assert!(wanted("", "application/problem+json", false));
        assert!(wanted("text/xml, text/plain", "TEXT/plain", true));
        assert!(wanted("text/xml", "application/json", false));
        assert!(!wanted("text/xml", "application/json", true));
        assert!(!wanted("", "text/html", true));
        assert!(!wanted("", "text/html", false), "a proxy's 404 is no absence");
        assert!(!is_wanted(&headers(&[]), &headers(&[]), true));
        let packed = headers(&[("content-type", "application/json"), ("content-encoding", "gzip")]);
        assert!(!is_wanted(&headers(&[]), &packed, true));
    }

    #[test]
    fn a_pause_is_read_in_every_form() {
        let now = Millis(1_767_225_600_000);
        let asked = |all: &[(&'static str, &'static str)]| {
            pause_asked(&headers(all), now).map(|pause| pause.as_secs())
        };
        assert_eq!(asked(&[("retry-after", "7")]), Some(7));
        assert_eq!(asked(&[("retry-after", "Thu, 01 Jan 2026 00:01:00 GMT")]), Some(60));
        assert_eq!(asked(&[("retry-after", "Wed, 01 Jan 2025 00:01:00 GMT")]), Some(0));
        assert_eq!(asked(&[("retry-after", "soon")]), None);
        assert_eq!(asked(&[("retry-after", "4000000000")]), Some(300));
        assert_eq!(asked(&[("retry-after", "Fri, 31 Dec 9999 00:01:00 GMT")]), Some(300));
        let limited = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1767225630")];
        assert_eq!(asked(&limited), Some(30));
        // In milliseconds, by mistake.
        assert_eq!(asked(&[limited[0], ("x-ratelimit-reset", "1767225630000")]), Some(300));
        assert_eq!(asked(&[("x-ratelimit-remaining", "1"), limited[1]]), None);
        assert_eq!(asked(&[]), None);
    }
}
