use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, Span, SpanData,
    SpanExporter, SpanProcessor,
};
use prometheus::IntCounterVec;
use tracing::warn;

use super::names;
use crate::config::{Secret, TracesConfig};
use crate::observe::Metrics;

/// Spans that wait for their export. More are dropped: nothing waits for a collector.
const QUEUE_MAX: usize = 4096;
const BATCH_MAX: usize = 512;
const EXPORT_EVERY: Duration = Duration::from_secs(1);
/// One export with its repeats; the drain must not wait longer.
const EXPORT_MAX: Duration = Duration::from_secs(2);
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Errors: a header that can't be sent, or no client.
pub(super) fn provider(
    config: &TracesConfig,
    headers: &BTreeMap<String, Secret>,
    instance: &str,
    metrics: &Metrics,
) -> Result<SdkTracerProvider, String> {
    let plain = |(name, value): (&String, &Secret)| {
        value.expose_text().map(|text| (name.clone(), text.to_owned()))
    };
    let headers: Option<HashMap<String, String>> = headers.iter().map(plain).collect();
    let headers = headers.ok_or("the value of a header is not text")?;
    let endpoint = format!("{}/v1/traces", config.endpoint);
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(client()?)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(&endpoint)
        .with_timeout(EXPORT_MAX)
        .with_headers(headers)
        .build()
        .map_err(|error| format!("spans can't be sent to {endpoint}: {error}"))?;
    let (waiting, spans) = (Arc::new(AtomicUsize::new(0)), metrics.spans.clone());
    let exporter = Told {
        inner: exporter,
        endpoint,
        waiting: Arc::clone(&waiting),
        spans: spans.clone(),
        began: Instant::now(),
        told_at: AtomicU64::new(0),
    };
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE_MAX)
        .with_max_export_batch_size(BATCH_MAX)
        .with_scheduled_delay(EXPORT_EVERY)
        .build();
    let batches = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
    Ok(SdkTracerProvider::builder()
        // Whether an alert is traced is decided before a span is made of it.
        .with_sampler(Sampler::AlwaysOn)
        .with_resource(resource(config, instance))
        .with_span_processor(Bounded { inner: batches, waiting, spans })
        .build())
}

/// It must not follow a redirect, which would take the headers elsewhere. Its calls block, and it
/// can't be made by a thread of a runtime.
fn client() -> Result<reqwest::blocking::Client, String> {
    let make = || {
        reqwest::blocking::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(EXPORT_MAX)
            .build()
    };
    let made = std::thread::spawn(make).join();
    let made = made.map_err(|_| "the client for spans can't be made".to_owned())?;
    made.map_err(|error| format!("the client for spans can't be made: {error}"))
}

fn resource(config: &TracesConfig, instance: &str) -> Resource {
    let own = [
        KeyValue::new(names::SERVICE_INSTANCE_ID, instance.to_owned()),
        KeyValue::new(names::SERVICE_VERSION, env!("CARGO_PKG_VERSION")),
    ];
    let named = Resource::builder().with_service_name(config.service_name.clone());
    named.with_schema_url(own, names::SCHEMA_URL).build()
}

/// Takes no more spans than fit, and counts the others.
#[derive(Debug)]
struct Bounded {
    inner: BatchSpanProcessor,
    waiting: Arc<AtomicUsize>,
    spans: IntCounterVec,
}

impl SpanProcessor for Bounded {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        let place = |waiting: usize| (waiting < QUEUE_MAX).then_some(waiting + 1);
        if self.waiting.fetch_update(Relaxed, Relaxed, place).is_err() {
            return self.spans.with_label_values(&["dropped"]).inc();
        }
        self.inner.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// Counts what became of spans and tells of failures, now and then.
#[derive(Debug)]
struct Told {
    inner: opentelemetry_otlp::SpanExporter,
    endpoint: String,
    waiting: Arc<AtomicUsize>,
    spans: IntCounterVec,
    began: Instant,
    /// Milliseconds after `began`; 0 before the first.
    told_at: AtomicU64,
}

impl Told {
    fn failed(&self, reason: &str) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        let told_at = self.told_at.load(Relaxed);
        let every = u64::try_from(TELL_EVERY.as_millis()).unwrap_or(u64::MAX);
        if told_at == 0 || now.saturating_sub(told_at) >= every {
            self.told_at.store(now, Relaxed);
            let endpoint = &self.endpoint;
            warn!(endpoint, reason, "spans could not be sent to {endpoint} and are lost");
        }
    }
}

impl SpanExporter for Told {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        self.waiting.fetch_sub(count, Relaxed);
        let exported = self.inner.export(batch).await;
        let result = if exported.is_ok() { "exported" } else { "failed" };
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.spans.with_label_values(&[result]).inc_by(count);
        exported.inspect_err(|error| self.failed(&error.to_string()))
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}
