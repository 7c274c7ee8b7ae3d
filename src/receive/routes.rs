use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tracing::warn;

use super::answer::{Answer, Delivered, json};
use super::memory::Memory;
use super::sender::{Delivery, Sender};
use crate::case::{Millis, id_of};
use crate::config::WEBHOOK_ROOT;
use crate::observe::Metrics;

/// What becomes of a delivery whose sender is known.
pub trait Deliver: Send + Sync + 'static {
    /// Nothing when the brokers did not acknowledge all of it: then nothing is claimed, and the
    /// sender has to send it again.
    fn deliver(&self, delivery: Delivery) -> impl Future<Output = Option<Delivered>> + Send;
}

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub max_bytes: usize,
    /// Deliveries that are worked on at one time; more are told to come back.
    pub in_flight: usize,
}

/// Everything that requests share.
pub struct Doors<D> {
    senders: BTreeMap<String, Sender>,
    limits: Limits,
    gate: Semaphore,
    memory: Memory,
    clock: Arc<dyn Fn() -> Millis + Send + Sync>,
    metrics: Metrics,
    deliver: D,
    unnamed: Unnamed,
    /// When a refusal was last put into the log.
    told_at: AtomicI64,
}

/// Makes names for deliveries that have none.
struct Unnamed {
    seed: [u64; 2],
    count: AtomicU64,
}

/// A body that takes longer keeps others out.
const BODY_WAIT: Duration = Duration::from_secs(10);
/// Between two lines about refusals: whoever can reach the port could otherwise fill the disk.
const TELL_EVERY_MS: i64 = 10_000;
const CHALLENGE: &str = "x-okta-verification-challenge";

impl<D: Deliver> Doors<D> {
    pub fn new(
        senders: BTreeMap<String, Sender>,
        limits: Limits,
        clock: Arc<dyn Fn() -> Millis + Send + Sync>,
        metrics: Metrics,
        deliver: D,
    ) -> Self {
        let seed = [(); 2].map(|()| RandomState::new().hash_one(clock().0));
        Self {
            senders,
            limits,
            gate: Semaphore::new(limits.in_flight),
            memory: Memory::default(),
            clock,
            metrics,
            deliver,
            unnamed: Unnamed { seed, count: AtomicU64::new(0) },
            told_at: AtomicI64::new(0),
        }
    }

    async fn answer(&self, pipeline: &str, sender: &Sender, request: Request) -> Answer {
        let headers = request.headers().clone();
        let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        let length = length.and_then(|text| text.parse::<usize>().ok());
        if length.is_some_and(|length| length > self.limits.max_bytes) {
            return Answer::TooLarge;
        }
        let Ok(_permit) = self.gate.try_acquire() else { return Answer::Busy };
        // The limit that the router carries ends the reading of a body that names no length.
        let body = match tokio::time::timeout(BODY_WAIT, Bytes::from_request(request, &())).await {
            Ok(Ok(body)) => body,
            Ok(Err(error)) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                return Answer::TooLarge;
            }
            Ok(Err(_)) | Err(_) => return Answer::Incomplete,
        };
        let headers = borrowed(&headers);
        let now = (self.clock)();
        let Some(verified) = sender.verified(&headers, &body, now) else {
            self.tell(pipeline, now);
            return Answer::Unauthorized { challenge: sender.challenge() };
        };
        let named = verified.id;
        if named.as_ref().is_some_and(|id| self.memory.has(pipeline, id)) {
            return Answer::Duplicate;
        }
        let passed = sender.passed(&headers).into_iter();
        let delivery = Delivery {
            pipeline: pipeline.to_owned(),
            id: named.clone().unwrap_or_else(|| self.unnamed.next()),
            headers: passed.map(|(name, value)| (name.to_owned(), value.to_vec())).collect(),
            body: body.into(),
            received_at: now,
        };
        let Some(delivered) = self.deliver.deliver(delivery).await else {
            return Answer::Unavailable;
        };
        if let Some(id) = named {
            self.memory.add(pipeline, &id);
        }
        Answer::Accepted(delivered)
    }

    fn tell(&self, pipeline: &str, now: Millis) {
        let told_at = self.told_at.load(Relaxed);
        let is_due = now.0.saturating_sub(told_at) >= TELL_EVERY_MS;
        if is_due && self.told_at.compare_exchange(told_at, now.0, Relaxed, Relaxed).is_ok() {
            warn!(
                pipeline,
                "a delivery to `{pipeline}` was refused: it is not signed with one of the secrets, or not in time"
            );
        }
    }
}

impl Unnamed {
    fn next(&self) -> String {
        let [one, two] = self.seed.map(u64::to_be_bytes);
        let count = self.count.fetch_add(1, Relaxed).to_be_bytes();
        id_of("unnamed", &[&one, &two, &count])
    }
}

fn borrowed(headers: &HeaderMap) -> Vec<(&str, &[u8])> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect()
}

async fn take<D: Deliver>(
    State(doors): State<Arc<Doors<D>>>,
    Path(pipeline): Path<String>,
    request: Request,
) -> Response {
    let Some(sender) = doors.senders.get(&pipeline) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let answer = doors.answer(&pipeline, sender, request).await;
    doors.metrics.deliveries.with_label_values(&[pipeline.as_str(), answer.name()]).inc();
    answer.into_response()
}

/// What Okta asks once of a new event hook. It shows its secret then as it does with every event.
async fn verify<D: Deliver>(
    State(doors): State<Arc<Doors<D>>>,
    Path(pipeline): Path<String>,
    headers: HeaderMap,
) -> Response {
    #[derive(Serialize)]
    struct Verification<'v> {
        verification: &'v str,
    }
    let challenge = headers.get(CHALLENGE).and_then(|value| value.to_str().ok());
    let (Some(sender), Some(verification)) = (doors.senders.get(&pipeline), challenge) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    if sender.is_admitted(&borrowed(&headers)) != Some(true) {
        doors.tell(&pipeline, (doors.clock)());
        return Answer::Unauthorized { challenge: sender.challenge() }.into_response();
    }
    let body = serde_json::to_string(&Verification { verification }).unwrap_or_default();
    json(body).into_response()
}

/// Serves until `stop` is done; then takes no more requests and ends with the last answer.
///
/// Errors: when connections can't be accepted.
pub async fn serve<D: Deliver>(
    listener: TcpListener,
    doors: Arc<Doors<D>>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let limit = DefaultBodyLimit::max(doors.limits.max_bytes);
    let router = Router::new()
        .route(&format!("{WEBHOOK_ROOT}{{pipeline}}"), post(take::<D>).get(verify::<D>))
        .layer(limit)
        .with_state(doors);
    axum::serve(listener, router).with_graceful_shutdown(stop).await
}
