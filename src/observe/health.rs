use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::{get, post};
use serde::Deserialize;
use tokio::net::TcpListener;

use super::Metrics;

/// Asked on every request: is the program alive, may it be given work, and what do the workers say.
pub trait Health: Send + Sync {
    /// Errors: one line that says what is stuck.
    fn live(&self) -> Result<(), String>;
    /// One line for a person: `ok`, with what should be known all the same behind it.
    ///
    /// Errors: one line that says what is waited for.
    fn ready(&self) -> Result<String, String>;
    /// What `/policy` answers: JSON.
    fn policy(&self) -> String;
    /// What `/sinks` answers: JSON.
    fn sinks(&self) -> String;
    /// Called before the metrics are written, to bring gauges up to date.
    fn refresh(&self, metrics: &Metrics);
}

/// Lets go of what is kept about one key, so that it is asked for again.
pub trait Purge: Send + Sync {
    /// Errors: one line that says what is wrong with the key.
    fn purge(&self, enricher: &str, key: &[&str]) -> Result<(), String>;
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Purged<'p> {
    #[serde(borrow)]
    enricher: Cow<'p, str>,
    #[serde(borrow)]
    key: Vec<Cow<'p, str>>,
}

type Answer = (StatusCode, String);

/// Serves `/metrics`, `/healthz`, `/readyz`, `/policy`, `/sinks`, and `POST /facts/purge` to this
/// machine alone, until the future is dropped.
///
/// Errors: when the address can't be listened on.
pub async fn serve(
    listener: TcpListener,
    metrics: Metrics,
    health: Arc<dyn Health>,
    facts: Arc<dyn Purge>,
) -> std::io::Result<()> {
    let answer = |result: Result<String, String>| match result {
        Ok(well) => (StatusCode::OK, format!("{well}\n")),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    };
    let [live, ready, policy, sinks] = [&health; 4].map(Arc::clone);
    let router =
        Router::new()
            .route(
                "/healthz",
                get(move || async move { answer(live.live().map(|()| "ok".to_owned())) }),
            )
            .route("/readyz", get(move || async move { answer(ready.ready()) }))
            .route(
                "/policy",
                get(move || async move {
                    ([(header::CONTENT_TYPE, "application/json")], policy.policy())
                }),
            )
            .route(
                "/sinks",
                get(move || async move {
                    ([(header::CONTENT_TYPE, "application/json")], sinks.sinks())
                }),
            )
            .route(
                "/metrics",
                get(move || async move {
                    health.refresh(&metrics);
                    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.text())
                }),
            )
            .route(
                "/facts/purge",
                post(
                    move |ConnectInfo(peer): ConnectInfo<SocketAddr>,
                          headers: HeaderMap,
                          body: Bytes| async move {
                        purge(peer, &headers, &body, &*facts)
                    },
                ),
            );
    axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>()).await
}

/// A page in a browser of this machine can't send JSON here unasked, nor by a name of its own.
fn purge(peer: SocketAddr, headers: &HeaderMap, body: &[u8], facts: &dyn Purge) -> Answer {
    let told = |status: StatusCode, why: &str| (status, format!("{why}\n"));
    if !peer.ip().to_canonical().is_loopback() {
        return told(StatusCode::FORBIDDEN, "only a process of this machine may purge");
    }
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let host = text(header::HOST);
    let is_here = host.parse::<SocketAddr>().is_ok_and(|host| host.ip().is_loopback())
        || host.split(':').next() == Some("localhost");
    if !is_here
        || text(header::CONTENT_TYPE) != "application/json"
        || headers.contains_key(header::ORIGIN)
    {
        return told(StatusCode::FORBIDDEN, "not by a page, and only as application/json");
    }
    let Ok(purged) = serde_json::from_slice::<Purged<'_>>(body) else {
        let help = "send {\"enricher\": \"owner\", \"key\": [\"part\"]}";
        return told(StatusCode::BAD_REQUEST, help);
    };
    let key: Vec<&str> = purged.key.iter().map(AsRef::as_ref).collect();
    match facts.purge(&purged.enricher, &key) {
        Ok(()) => told(StatusCode::OK, "purged"),
        Err(why) => told(StatusCode::BAD_REQUEST, &why),
    }
}

/// Errors: with the address in the words of the message.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| format!("can't listen on {address}: {error}"))
}
