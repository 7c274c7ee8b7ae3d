use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::timeout;
use tracing::{error, warn};

use super::current::Current;
use super::names::Topics;
use super::vouch::VouchKey;
use crate::case::{Body, Reason, WEBHOOK};
use crate::ingest::{Doubt, Publisher, Receipt};
use crate::normalize::{FingerprintKeys, Incoming, Pipelines, partition_key, partition_of};
use crate::observe::{Delivered as Traced, Metrics, Traces};
use crate::receive::{Asked, Deliver, Delivered, Delivery, NotOrdered};

/// What the client may take beyond its own limit to say that it gave up.
const GRACE: Duration = Duration::from_millis(500);

/// Deliveries in, alerts out: mapped here, so that no raw secret is ever produced.
///
/// There is no transaction: a delivery is acknowledged when all its alerts are. Sent again after a
/// failure in between it is the same alerts, which triage knows by their ids (INV-1).
#[derive(Clone)]
pub struct Webhook(Arc<Parts>);

struct Parts {
    pipelines: Current<Pipelines>,
    keys: Arc<FingerprintKeys>,
    vouch: Option<VouchKey>,
    metrics: Metrics,
    traces: Traces,
    wait: Duration,
    open: OnceLock<(Publisher, Topics)>,
}

struct Sent {
    receipts: Vec<Receipt>,
    unreadable: Vec<Reason>,
    correlation_id: String,
}

impl Webhook {
    /// Takes nothing until it is opened.
    pub fn new(
        pipelines: Current<Pipelines>,
        (keys, vouch): (Arc<FingerprintKeys>, Option<VouchKey>),
        (metrics, traces): (Metrics, Traces),
        wait: Duration,
    ) -> Self {
        Self(Arc::new(Parts {
            pipelines,
            keys,
            vouch,
            metrics,
            traces,
            wait,
            open: OnceLock::new(),
        }))
    }

    /// Takes deliveries from now on; the topics were checked.
    pub fn open(&self, publisher: Publisher, topics: Topics) {
        // Opened once, by the start.
        self.0.open.get_or_init(|| (publisher, topics));
    }

    pub fn is_open(&self) -> bool {
        self.0.open.get().is_some()
    }
}

impl Deliver for Webhook {
    async fn deliver(&self, delivery: Delivery) -> Option<Delivered> {
        let headers = delivery.headers.iter().map(|(name, value)| (&**name, &**value));
        let traced = Arc::new(self.0.traces.delivery(&delivery.pipeline, headers));
        let delivered = self.taken(delivery, Arc::clone(&traced)).await;
        if let Some(traced) = Arc::into_inner(traced) {
            traced.answered(if delivered.is_some() { 202 } else { 503 });
        }
        delivered
    }

    async fn order(&self, asked: Asked) -> Result<(), NotOrdered> {
        let (sink, order) = (asked.sink.clone(), asked.order.clone());
        let outcome = match self.0.vouched(asked) {
            Ok(Some(receipt)) => self.0.in_time(receipt.acknowledged()).await,
            Ok(None) => return Err(NotOrdered::Unreadable),
            Err(doubt) => Err(doubt),
        };
        outcome.map_err(|doubt| {
            warn!(sink, order, reason = %doubt, "a callback was not taken; the sink has to send it again");
            NotOrdered::Unsure
        })
    }
}

impl Webhook {
    async fn taken(&self, delivery: Delivery, traced: Arc<Traced>) -> Option<Delivered> {
        let parts = Arc::clone(&self.0);
        let pipeline = delivery.pipeline.clone();
        // Mapping a large body takes long enough to keep other requests waiting.
        let sent = tokio::task::spawn_blocking(move || parts.send(&delivery, &traced)).await;
        let sent = match sent {
            Ok(sent) => sent,
            Err(_) => {
                error!(pipeline, "a delivery could not be mapped because of a defect");
                return None;
            }
        };
        let outcome = match sent {
            Ok(sent) => self.0.acknowledged(sent).await,
            Err(doubt) => Err(doubt),
        };
        let told = |doubt: &Doubt| {
            warn!(pipeline, reason = %doubt, "a delivery was not taken; its sender has to send it again");
        };
        outcome.inspect_err(told).ok()
    }
}

impl Parts {
    fn send(&self, delivery: &Delivery, traced: &Traced) -> Result<Sent, Doubt> {
        let Some((publisher, topics)) = self.open.get() else {
            return Err(Doubt::Unreachable("still waiting for Kafka".to_owned()));
        };
        let headers: Vec<(&str, &[u8])> =
            delivery.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        let topic = format!("{WEBHOOK}{}", delivery.pipeline);
        let incoming = Incoming {
            topic: &topic,
            incarnation: &delivery.id,
            partition: 0,
            offset: 0,
            headers: &headers,
            value: Some(&delivery.body),
            received_at: delivery.received_at,
        };
        let arrivals = self.pipelines.get().read(&incoming, Some(&delivery.pipeline), &self.keys);
        let mut sent = Sent {
            receipts: Vec::with_capacity(arrivals.len()),
            unreadable: Vec::new(),
            correlation_id: String::new(),
        };
        for arrival in &arrivals {
            if let Body::Unreadable(unreadable) = &arrival.body {
                sent.unreadable.push(unreadable.reason);
            }
            let key = partition_key(arrival);
            let line = serde_json::to_vec(arrival)
                .map_err(|_| Doubt::Refused("an alert can't be written as JSON".to_owned()))?;
            let partition = partition_of(key, topics.partitions);
            let trace = traced.alert(&topics.alerts);
            let send = |headers: &[(&str, &[u8])]| {
                let record = (key.as_bytes(), line.as_slice());
                publisher.send(&topics.alerts, partition, record, headers)
            };
            let receipt = match &trace {
                None => send(&[]),
                Some(trace) => trace.carried().with(send),
            };
            sent.receipts.push(receipt?);
            arrival.correlation_id.as_ref().clone_into(&mut sent.correlation_id);
        }
        Ok(sent)
    }

    /// Nothing where what was said makes no order.
    fn vouched(&self, asked: Asked) -> Result<Option<Receipt>, Doubt> {
        let (Some((publisher, topics)), Some(key)) = (self.open.get(), &self.vouch) else {
            return Err(Doubt::Unreachable("still waiting for Kafka".to_owned()));
        };
        let nhi = asked.nhi.clone();
        let Some(message) = key.order(asked) else { return Ok(None) };
        let partition = partition_of(&nhi, topics.partitions);
        publisher.send(&topics.orders, partition, (nhi.as_bytes(), &message), &[]).map(Some)
    }

    async fn in_time(&self, outcome: impl Future<Output = Result<(), Doubt>>) -> Result<(), Doubt> {
        let silence = Doubt::Unsure("no acknowledgement in time".to_owned());
        timeout(self.wait + GRACE, outcome).await.unwrap_or(Err(silence))
    }

    async fn acknowledged(&self, sent: Sent) -> Result<Delivered, Doubt> {
        let alerts = sent.receipts.len();
        let all = async {
            for receipt in sent.receipts {
                receipt.acknowledged().await?;
            }
            Ok(())
        };
        self.in_time(all).await?;
        self.metrics.alerts.inc_by(u64::try_from(alerts).unwrap_or(u64::MAX));
        for reason in &sent.unreadable {
            self.metrics.unreadable.with_label_values(&[reason.code()]).inc();
        }
        let unreadable = sent.unreadable.len();
        Ok(Delivered { alerts, unreadable, correlation_id: sent.correlation_id })
    }
}
