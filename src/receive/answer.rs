use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::case::Id;

/// What a delivery became; the brokers have acknowledged it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Delivered {
    pub alerts: usize,
    /// Of these, those that nothing could be made of; they are on record all the same.
    pub unreadable: usize,
    pub correlation_id: String,
}

/// How a request to a webhook ended.
pub(super) enum Answer {
    Accepted(Delivered),
    Duplicate,
    /// An order was sent: of this id.
    Ordered(Id),
    /// A callback is about something else.
    NotOurs,
    /// The same callback was taken before.
    UsedBefore,
    Unreadable,
    /// It is the sink's, and its user is nobody who may.
    Forbidden,
    /// A subscription was confirmed or has ended.
    Noted,
    TooLarge,
    Busy,
    /// The body did not come, or not in time.
    Incomplete,
    Unauthorized {
        challenge: Option<&'static str>,
    },
    Unavailable,
}

/// Seconds; senders that know the header wait that long.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

impl Answer {
    /// As a label of the metric.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Accepted(_) => "accepted",
            Self::Duplicate => "duplicate",
            Self::Ordered(_) => "ordered",
            Self::NotOurs => "not_ours",
            Self::UsedBefore => "used_before",
            Self::Unreadable => "unreadable",
            Self::Forbidden => "forbidden",
            Self::Noted => "noted",
            Self::TooLarge => "too_large",
            Self::Busy => "busy",
            Self::Incomplete => "incomplete",
            Self::Unauthorized { .. } => "unauthorized",
            Self::Unavailable => "unavailable",
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Accepted(_) | Self::Duplicate => StatusCode::ACCEPTED,
            // Slack shows its user a failure after anything but 200.
            Self::Noted | Self::Ordered(_) | Self::NotOurs => StatusCode::OK,
            Self::UsedBefore => StatusCode::CONFLICT,
            Self::Unreadable => StatusCode::BAD_REQUEST,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Busy => StatusCode::TOO_MANY_REQUESTS,
            Self::Incomplete => StatusCode::REQUEST_TIMEOUT,
            Self::Unauthorized { .. } => StatusCode::UNAUTHORIZED,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let body = match &self {
            Self::Accepted(delivered) => serde_json::to_string(delivered).unwrap_or_default(),
            Self::Duplicate => r#"{"duplicate":true}"#.to_owned(),
            Self::Ordered(id) => format!(r#"{{"order":"{id}"}}"#),
            Self::NotOurs => r#"{"order":null}"#.to_owned(),
            Self::Noted => r#"{"alerts":0}"#.to_owned(),
            other => format!(r#"{{"error":"{}"}}"#, other.name()),
        };
        let mut response = (self.status(), json(body)).into_response();
        let headers = response.headers_mut();
        match self {
            Self::Busy | Self::Unavailable => {
                headers.insert(header::RETRY_AFTER, RETRY_AFTER);
            }
            Self::Unauthorized { challenge: Some(challenge) } => {
                let challenge = HeaderValue::from_static(challenge);
                headers.insert(header::WWW_AUTHENTICATE, challenge);
            }
            _ => {}
        }
        response
    }
}

pub(super) fn json(body: String) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], body)
}
