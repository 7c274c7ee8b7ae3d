//! A system that is asked for facts or told of cases over HTTP, as `services:` in `tipstaff.yaml`
//! names it.
//!
//! What must stay true: nothing is sent to an address that the service may not be at; nothing that
//! is no reply of the service passes for one; an outage is neither multiplied nor waited for.

mod breaker;
mod pace;
mod reply;
mod resolver;
mod send;
mod sigv4;
mod signed;

use std::time::Duration;

use reqwest::Method;

pub use pace::jittered;
pub use send::Service;
pub use signed::ID as WEBHOOK_ID;

/// One request. Path and query are percent-encoded already.
#[derive(Debug, Clone)]
pub struct Call {
    pub method: Method,
    /// From the service's address on: `/v1/auth/token/lookup-accessor?x=y`.
    pub path: String,
    /// Beside those the service always sends, as its credentials.
    pub headers: Vec<(String, String)>,
    pub body: Option<Vec<u8>>,
}

#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Vec<u8>,
}

/// Why there is no reply, or none that can be believed. Each is `unknown`, never absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    Timeout,
    Connect,
    /// The address is not one that the service may be at.
    Address,
    Redirect,
    TooLarge,
    ContentType,
    /// 401 or 403.
    Denied,
    /// 429, or our own rate limit.
    Limited,
    /// 5xx.
    Server,
    /// Any other status that the source does not expect.
    Status,
    /// Not what the source's file says it is: no JSON, no such path, of another type.
    Malformed,
    /// The breaker is open: the service failed too often just now and is not asked.
    Open,
}

impl Fault {
    pub fn code(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Connect => "connect",
            Self::Address => "address",
            Self::Redirect => "redirect",
            Self::TooLarge => "too_large",
            Self::ContentType => "content_type",
            Self::Denied => "denied",
            Self::Limited => "limited",
            Self::Server => "server",
            Self::Status => "status",
            Self::Malformed => "malformed",
            Self::Open => "open",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub fault: Fault,
    /// For people; holds no secret and no URL's query.
    pub detail: String,
    /// From `Retry-After`.
    pub retry_after: Option<Duration>,
}

impl Failure {
    pub fn new(fault: Fault, detail: impl Into<String>) -> Self {
        Self { fault, detail: detail.into(), retry_after: None }
    }
}
