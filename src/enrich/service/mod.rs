//! A system that facts are asked of over HTTP, as `services:` in `tipstaff.yaml` names it.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Method};

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

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub fault: Fault,
    /// For people; holds no secret and no URL's query.
    pub detail: String,
    /// From `Retry-After`.
    pub retry_after: Option<Duration>,
}

pub struct Service {
    url: String,
    client: Client,
}

impl Service {
    pub fn new(url: &str) -> Result<Self, reqwest::Error> {
        let client = Client::builder().redirect(Policy::none()).no_proxy().build()?;
        Ok(Self { url: url.to_owned(), client })
    }

    /// Any status but a redirect, 401, 403, 429 and 5xx is a reply.
    pub async fn send(&self, call: Call) -> Result<Reply, Failure> {
        let url = format!("{}{}", self.url, call.path);
        let mut request = self.client.request(call.method, url);
        for (name, value) in call.headers {
            request = request.header(name, value);
        }
        if let Some(body) = call.body {
            request = request.body(body);
        }
        let failed = |error: reqwest::Error| Failure {
            fault: Fault::Connect,
            detail: error.without_url().to_string(),
            retry_after: None,
        };
        let reply = request.send().await.map_err(failed)?;
        let (status, headers) = (reply.status().as_u16(), reply.headers().clone());
        let body = reply.bytes().await.map_err(failed)?.to_vec();
        Ok(Reply { status, headers, body })
    }
}
