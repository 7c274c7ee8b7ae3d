//! Questions of a verb to the process that runs beside it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use reqwest::{Client, RequestBuilder};

use super::setup::{Failure, runtime};

/// Of a person who asks.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where a process that listens on this address is reached from its own machine.
pub fn here(mut listen: SocketAddr) -> SocketAddr {
    if listen.ip().is_unspecified() {
        listen.set_ip(match listen.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    listen
}

/// Sends JSON to a process of this machine; gives status and text of its answer.
pub fn post(url: &str, body: String) -> Result<(u16, String), Failure> {
    ask(url, |client| client.post(url).header("Content-Type", "application/json").body(body))
}

/// The same without a body.
pub fn get(url: &str) -> Result<(u16, String), Failure> {
    ask(url, |client| client.get(url))
}

fn ask(
    url: &str,
    request: impl FnOnce(Client) -> RequestBuilder,
) -> Result<(u16, String), Failure> {
    let failed = |error: reqwest::Error| Failure::Ended(format!("{url}: {error}"));
    let client = Client::builder().no_proxy().timeout(PATIENCE).build().map_err(failed)?;
    runtime()?.block_on(async {
        let reply = request(client).send().await.map_err(failed)?;
        let status = reply.status().as_u16();
        Ok((status, reply.text().await.map_err(failed)?))
    })
}
