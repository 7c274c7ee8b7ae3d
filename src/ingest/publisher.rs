use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use tokio::sync::oneshot;

use super::client::{log_error, log_line};
use super::error::Doubt;
use super::message::owned;
use super::settings::Settings;

/// Writes records outside a transaction and tells of each when all in-sync replicas have it. No
/// call blocks, so that it can serve many requests at once.
pub struct Publisher {
    settings: Settings,
    /// As brokers know it.
    name: &'static str,
    /// After this long the client gives up on a record.
    wait: Duration,
    inner: Mutex<ThreadedProducer<Told>>,
}

/// Sends each record's outcome to whoever waits for it.
struct Told;

/// The outcome of one record, later.
pub struct Receipt(oneshot::Receiver<Result<(), Doubt>>);

impl rdkafka::ClientContext for Told {
    fn log(&self, level: rdkafka::config::RDKafkaLogLevel, facility: &str, line: &str) {
        log_line("publisher", level, facility, line);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        log_error("publisher", &error, reason);
    }
}

impl ProducerContext for Told {
    type DeliveryOpaque = Box<oneshot::Sender<Result<(), Doubt>>>;

    fn delivery(&self, result: &DeliveryResult<'_>, waiting: Self::DeliveryOpaque) {
        let outcome = result.as_ref().map(|_| ());
        // Nobody waits any more when the request was given up.
        waiting.send(outcome.map_err(|(error, _)| Doubt::of("write", error))).ok();
    }
}

impl Publisher {
    pub fn connect(settings: &Settings, name: &'static str, wait: Duration) -> Result<Self, Doubt> {
        let inner = Mutex::new(connect(settings, name, wait)?);
        Ok(Self { settings: settings.clone(), name, wait, inner })
    }

    /// Queues one record.
    ///
    /// Errors: the queue is full, or the client does not work any more; it is not written.
    pub fn send(
        &self,
        topic: &str,
        partition: i32,
        (key, value): (&[u8], &[u8]),
        headers: &[(&str, &[u8])],
    ) -> Result<Receipt, Doubt> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.client().fatal_error().is_some() {
            let broken =
                std::mem::replace(&mut *inner, connect(&self.settings, self.name, self.wait)?);
            // Its end waits for its own thread.
            std::thread::spawn(move || drop(broken));
        }
        let (told, receipt) = oneshot::channel();
        let mut record = BaseRecord::with_opaque_to(topic, Box::new(told))
            .partition(partition)
            .key(key)
            .payload(value);
        record.headers = owned(headers);
        inner.send(record).map_err(|(error, _)| Doubt::of("write", &error))?;
        Ok(Receipt(receipt))
    }
}

fn connect(
    settings: &Settings,
    name: &str,
    wait: Duration,
) -> Result<ThreadedProducer<Told>, Doubt> {
    let made = settings.publisher(name, wait).create_with_context(Told);
    made.map_err(|error| Doubt::of("publisher", &error))
}

impl Receipt {
    /// Errors: the record may be written or not.
    pub async fn acknowledged(self) -> Result<(), Doubt> {
        let outcome = self.0.await;
        outcome.unwrap_or_else(|_| Err(Doubt::Unsure("the client ended".to_owned())))
    }
}
