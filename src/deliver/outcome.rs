use std::time::Duration;

use serde_json::Value as Json;

use crate::config::scalar;
use crate::config::sink::ReplyReading;
use crate::service::{Failure, Fault, Reply};

/// What became of one try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Delivered {
        /// Where a person can look, if the reply says so.
        link: Option<String>,
    },
    /// The same case is tried again, as long as it takes.
    Again {
        class: &'static str,
        why: String,
        /// What the service asked for.
        after: Option<Duration>,
    },
    /// Nothing of this sink is delivered until somebody has mended what it needs.
    Pause { why: String },
    /// It can't be delivered as it is; the next one can.
    Park { status: Option<u16>, why: String },
}

const LINK_MAX: usize = 200;
const WORD_MAX: usize = 60;

/// `is_fixed` says that nothing of the case is in the path: then a 404 is no matter of the case.
pub(super) fn judge(
    result: Result<Reply, Failure>,
    is_fixed: bool,
    reading: &ReplyReading,
) -> (Outcome, Json) {
    let outcome = |outcome| (outcome, Json::Null);
    let reply = match result {
        Ok(reply) => reply,
        Err(failure) => return outcome(failed(failure)),
    };
    let status = reply.status;
    let said = format!("the answer was {status}");
    match status {
        200..=299 => {
            let body: Json = serde_json::from_slice(&reply.body).unwrap_or(Json::Null);
            (accepted(&body, status, reading), body)
        }
        408 => outcome(Outcome::Again { class: "timeout", why: said, after: None }),
        425 => outcome(Outcome::Again { class: "limited", why: said, after: None }),
        404 | 405 | 410 if is_fixed => outcome(Outcome::Pause { why: said }),
        _ => outcome(Outcome::Park { status: Some(status), why: said }),
    }
}

fn failed(failure: Failure) -> Outcome {
    let Failure { fault, detail, retry_after } = failure;
    match fault {
        Fault::Denied | Fault::Redirect | Fault::Address => Outcome::Pause { why: detail },
        Fault::Malformed | Fault::Status => Outcome::Park { status: None, why: detail },
        Fault::Timeout
        | Fault::Connect
        | Fault::TooLarge
        | Fault::ContentType
        | Fault::Limited
        | Fault::Server
        | Fault::Open => Outcome::Again { class: fault.code(), why: detail, after: retry_after },
    }
}

fn accepted(body: &Json, status: u16, reading: &ReplyReading) -> Outcome {
    let at = |path: &Option<crate::config::ReplyPath>| {
        let found = path.as_ref().map(|path| path.find(body)).unwrap_or_default();
        found.first().copied().and_then(scalar)
    };
    let is_taken = reading.accepted.is_none() || at(&reading.accepted).as_deref() == Some("true");
    if is_taken {
        let link = at(&reading.link);
        let link = link.map(|link| crate::text::plain(&link).chars().take(LINK_MAX).collect());
        return Outcome::Delivered { link };
    }
    // A word of the service, never a text: that could hold what was sent.
    let is_word = |word: &String| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        word.len() <= WORD_MAX && word.chars().all(allowed)
    };
    let error = at(&reading.error).filter(is_word).unwrap_or_default();
    let why = format!("the answer was {status} and says that it was not taken: {error}");
    let why = why.trim_end_matches(": ").to_owned();
    if reading.again.contains(&error) {
        Outcome::Again { class: "server", why, after: None }
    } else if reading.pause.contains(&error) {
        Outcome::Pause { why }
    } else {
        Outcome::Park { status: Some(status), why }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::ReplyPath;

    fn reply(status: u16, body: Json) -> Result<Reply, Failure> {
        let body = body.to_string().into_bytes();
        Ok(Reply { status, headers: Default::default(), body })
    }

    fn what(outcome: &Outcome) -> &'static str {
        match outcome {
            Outcome::Delivered { .. } => "delivered",
            Outcome::Again { .. } => "again",
            Outcome::Pause { .. } => "pause",
            Outcome::Park { .. } => "park",
        }
    }

    #[test]
    fn each_status_is_of_one_class() {
        let plain = ReplyReading::default();
        for (status, is_fixed, expected) in [
            (200, true, "delivered"),
            (204, true, "delivered"),
            (404, true, "pause"),
            (404, false, "park"),
            (410, true, "pause"),
            (400, true, "park"),
            (408, true, "again"),
            (413, true, "park"),
            (422, false, "park"),
            (425, true, "again"),
        ] {
            let (outcome, _) = judge(reply(status, json!("notarealsecret")), is_fixed, &plain);
            assert_eq!(what(&outcome), expected, "{status}");
            assert!(!format!("{outcome:?}").contains("notarealsecret"), "{outcome:?}");
        }
        for (fault, expected) in [
            (Fault::Timeout, "again"),
            (Fault::Connect, "again"),
            (Fault::Limited, "again"),
            (Fault::Server, "again"),
            (Fault::Open, "again"),
            (Fault::Denied, "pause"),
            (Fault::Redirect, "pause"),
            (Fault::Address, "pause"),
            (Fault::Malformed, "park"),
        ] {
            let (outcome, _) = judge(Err(Failure::new(fault, "why")), true, &plain);
            assert_eq!(what(&outcome), expected, "{fault:?}");
        }
    }

    #[test]
    fn a_service_that_says_200_to_everything_is_read() {
        let path = |text: &str| Some(ReplyPath::parse(text).unwrap());
        let reading = ReplyReading {
            accepted: path("ok"),
            error: path("error"),
            link: path("ts"),
            again: vec!["ratelimited".to_owned()],
            pause: vec!["invalid_auth".to_owned()],
            ..ReplyReading::default()
        };
        for (body, expected) in [
            (json!({"ok": true, "ts": "1.2"}), "delivered"),
            (json!({"ok": false, "error": "ratelimited"}), "again"),
            (json!({"ok": false, "error": "invalid_auth"}), "pause"),
            (json!({"ok": false, "error": "msg_too_long"}), "park"),
            (json!({"ok": false, "error": "a text with notarealsecret"}), "park"),
            (json!("ok"), "park"),
        ] {
            let (outcome, _) = judge(reply(200, body.clone()), true, &reading);
            assert_eq!(what(&outcome), expected, "{body}");
            assert!(!format!("{outcome:?}").contains("notarealsecret"), "{outcome:?}");
        }
    }
}
