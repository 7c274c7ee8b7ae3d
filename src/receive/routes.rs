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
use tokio::sync::{Semaphore, SemaphorePermit};
use tracing::{info, warn};

use super::answer::{Answer, Delivered, json};
use super::callback::{Asked, Callback, NotAsked};
use super::claim::Letter;
use super::memory::Memory;
use super::sender::{Delivery, Headers, Sender};
use super::sns::Sns;
use crate::case::{Millis, id_of};
use crate::config::WEBHOOK_ROOT;
use crate::observe::Metrics;

/// What becomes of a delivery whose sender is known.
pub trait Deliver: Send + Sync + 'static {
    /// Nothing when the brokers did not acknowledge all of it: then nothing is claimed, and the
    /// sender has to send it again.
    fn deliver(&self, delivery: Delivery) -> impl Future<Output = Option<Delivered>> + Send;

    /// Sends the order that follows from it.
    fn order(&self, asked: Asked) -> impl Future<Output = Result<(), NotOrdered>> + Send;
}

/// Why no order was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotOrdered {
    /// What was said makes none.
    Unreadable,
    /// The brokers did not acknowledge it: the sink has to say it again.
    Unsure,
}

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub max_bytes: usize,
    /// Deliveries that are worked on at one time; more are told to come back.
    pub in_flight: usize,
}

/// Who may send to a pipeline.
pub enum Door {
    Sender(Sender),
    Sns(Sns),
}

/// Everything that requests share.
pub struct Doors<D> {
    doors: BTreeMap<String, Door>,
    callbacks: BTreeMap<String, Callback>,
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

/// What a sender proved to have sent.
struct Proved {
    id: Option<String>,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
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
const CALLBACK_ROOT: &str = "/v1/callbacks/";
const FORGED: &str = "it is not signed by whom the configuration names, or not in time";
/// As no pipeline is called.
const CALLED_BACK: &str = "callback:";
const CHALLENGE: &str = "x-okta-verification-challenge";

impl<D: Deliver> Doors<D> {
    pub fn new(
        (doors, callbacks): (BTreeMap<String, Door>, BTreeMap<String, Callback>),
        limits: Limits,
        clock: Arc<dyn Fn() -> Millis + Send + Sync>,
        metrics: Metrics,
        deliver: D,
    ) -> Self {
        let seed = [(); 2].map(|()| RandomState::new().hash_one(clock().0));
        Self {
            doors,
            callbacks,
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

    async fn answer(&self, pipeline: &str, door: &Door, request: Request) -> Answer {
        let headers = request.headers().clone();
        let (_permit, body) = match self.body(request).await {
            Ok(taken) => taken,
            // Amazon SNS tries again after no answer of 4xx.
            Err(Answer::Busy | Answer::Incomplete) if matches!(door, Door::Sns(_)) => {
                return Answer::Unavailable;
            }
            Err(answer) => return answer,
        };
        let headers = borrowed(&headers);
        let now = (self.clock)();
        let proved = match door {
            Door::Sender(sender) => self.by_sender(pipeline, sender, &headers, body, now),
            Door::Sns(sns) => self.by_sns(pipeline, sns, &headers, &body, now).await,
        };
        let Proved { id: named, headers, body } = match proved {
            Ok(proved) => proved,
            Err(answer) => return answer,
        };
        if named.as_ref().is_some_and(|id| self.memory.has(pipeline, id)) {
            return Answer::Duplicate;
        }
        let delivery = Delivery {
            pipeline: pipeline.to_owned(),
            id: named.clone().unwrap_or_else(|| self.unnamed.next()),
            headers,
            body,
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

    /// With the place among those that are worked on at one time.
    async fn body(&self, request: Request) -> Result<(SemaphorePermit<'_>, Bytes), Answer> {
        let length = request.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        if length.is_some_and(|length| length > self.limits.max_bytes) {
            return Err(Answer::TooLarge);
        }
        let permit = self.gate.try_acquire().map_err(|_| Answer::Busy)?;
        // The limit that the router carries ends the reading of a body that names no length.
        match tokio::time::timeout(BODY_WAIT, Bytes::from_request(request, &())).await {
            Ok(Ok(body)) => Ok((permit, body)),
            Ok(Err(error)) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                Err(Answer::TooLarge)
            }
            Ok(Err(_)) | Err(_) => Err(Answer::Incomplete),
        }
    }

    async fn called_back(&self, sink: &str, callback: &Callback, request: Request) -> Answer {
        let headers = request.headers().clone();
        let (_permit, body) = match self.body(request).await {
            Ok(taken) => taken,
            Err(answer) => return answer,
        };
        let now = (self.clock)();
        let asked = match callback.asked(&borrowed(&headers), &body, now) {
            Ok(asked) => asked,
            Err(NotAsked::Other) => return Answer::NotOurs,
            Err(NotAsked::Unreadable) => return Answer::Unreadable,
            Err(NotAsked::Nobody) => {
                self.tell(sink, "its user is nobody whom the sink's file names", now);
                return Answer::Forbidden;
            }
            Err(NotAsked::Forged) => {
                self.tell(sink, FORGED, now);
                return Answer::Unauthorized { challenge: callback.challenge() };
            }
        };
        let order = asked.order.clone();
        if self.memory.has(CALLED_BACK, &order) {
            return Answer::UsedBefore;
        }
        match self.deliver.order(asked).await {
            Ok(()) => {
                self.memory.add(CALLED_BACK, &order);
                Answer::Ordered(order)
            }
            Err(NotOrdered::Unreadable) => Answer::Unreadable,
            Err(NotOrdered::Unsure) => Answer::Unavailable,
        }
    }

    fn by_sender(
        &self,
        pipeline: &str,
        sender: &Sender,
        headers: &Headers<'_>,
        body: Bytes,
        now: Millis,
    ) -> Result<Proved, Answer> {
        let Some(verified) = sender.verified(headers, &body, now) else {
            self.tell(pipeline, FORGED, now);
            return Err(Answer::Unauthorized { challenge: sender.challenge() });
        };
        let passed = sender.passed(headers).into_iter();
        let headers = passed.map(|(name, value)| (name.to_owned(), value.to_vec())).collect();
        Ok(Proved { id: verified.id, headers, body: body.into() })
    }

    /// What is passed on is the message alone: headers and the rest of the body may be anybody's.
    async fn by_sns(
        &self,
        pipeline: &str,
        sns: &Sns,
        headers: &Headers<'_>,
        body: &[u8],
        now: Millis,
    ) -> Result<Proved, Answer> {
        match sns.letter(headers, body, now).await {
            Ok(Some(Letter::Notification { id, message })) => {
                Ok(Proved { id: Some(id), headers: Vec::new(), body: message.into() })
            }
            Ok(Some(Letter::SubscriptionConfirmation { topic, .. })) => {
                info!(pipeline, topic, "confirmed the subscription of `{pipeline}` to `{topic}`");
                Err(Answer::Noted)
            }
            Ok(Some(Letter::UnsubscribeConfirmation { topic })) => {
                warn!(pipeline, topic, "`{pipeline}` is no longer subscribed to `{topic}`");
                Err(Answer::Noted)
            }
            Ok(None) => {
                self.tell(pipeline, FORGED, now);
                Err(Answer::Unauthorized { challenge: None })
            }
            Err(reason) => {
                self.tell(pipeline, &format!("asking Amazon SNS failed: {reason}"), now);
                Err(Answer::Unavailable)
            }
        }
    }

    fn tell(&self, pipeline: &str, reason: &str, now: Millis) {
        let told_at = self.told_at.load(Relaxed);
        let is_due = now.0.saturating_sub(told_at) >= TELL_EVERY_MS;
        if is_due && self.told_at.compare_exchange(told_at, now.0, Relaxed, Relaxed).is_ok() {
            warn!(pipeline, reason, "a delivery to `{pipeline}` was refused: {reason}");
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
    let Some(door) = doors.doors.get(&pipeline) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let answer = doors.answer(&pipeline, door, request).await;
    doors.metrics.deliveries.with_label_values(&[pipeline.as_str(), answer.name()]).inc();
    answer.into_response()
}

async fn call_back<D: Deliver>(
    State(doors): State<Arc<Doors<D>>>,
    Path(sink): Path<String>,
    request: Request,
) -> Response {
    let Some(callback) = doors.callbacks.get(&sink) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let answer = doors.called_back(&sink, callback, request).await;
    doors.metrics.callbacks.with_label_values(&[sink.as_str(), answer.name()]).inc();
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
    let (Some(Door::Sender(sender)), Some(verification)) = (doors.doors.get(&pipeline), challenge)
    else {
        return StatusCode::NOT_FOUND.into_response();
    };
    if sender.is_admitted(&borrowed(&headers)) != Some(true) {
        doors.tell(&pipeline, FORGED, (doors.clock)());
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
        .route(&format!("{CALLBACK_ROOT}{{sink}}"), post(call_back::<D>))
        .layer(limit)
        .with_state(doors);
    axum::serve(listener, router).with_graceful_shutdown(stop).await
}
