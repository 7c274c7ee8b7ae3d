use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use tokio::net::TcpListener;

use super::Metrics;

/// Asked on every request: is the program alive, may it be given work, and what do the workers say.
pub trait Health: Send + Sync {
    /// Errors: one line that says what is stuck.
    fn live(&self) -> Result<(), String>;
    /// Errors: one line that says what is waited for.
    fn ready(&self) -> Result<(), String>;
    /// Called before the metrics are written, to bring gauges up to date.
    fn refresh(&self, metrics: &Metrics);
}

/// Serves `/metrics`, `/healthz` and `/readyz` until the future is dropped.
///
/// Errors: when the address can't be listened on.
pub async fn serve(
    listener: TcpListener,
    metrics: Metrics,
    health: Arc<dyn Health>,
) -> std::io::Result<()> {
    let answer = |result: Result<(), String>| match result {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    };
    let (live, ready) = (Arc::clone(&health), Arc::clone(&health));
    let router = Router::new()
        .route("/healthz", get(move || async move { answer(live.live()) }))
        .route("/readyz", get(move || async move { answer(ready.ready()) }))
        .route(
            "/metrics",
            get(move || async move {
                health.refresh(&metrics);
                ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.text())
            }),
        );
    axum::serve(listener, router).await
}

/// Errors: with the address in the words of the message.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| format!("can't listen on {address}: {error}"))
}
