//! Spans over OTLP, and the W3C trace context that an alert carries through the topics.
//!
//! Whether an alert is traced is decided once: by whoever sent it, or else by chance where it comes
//! in (intake, a webhook). Every later stage does as the headers say. A span is made only of what
//! is traced, so that all other alerts cost a look at their headers, and nothing at all without
//! `traces` in the configuration. Spans are a view: nothing waits for them or rests on them.

mod call;
mod context;
mod export;
mod names;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::trace::{
    Link, Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt, Tracer as _,
    TracerProvider as _,
};
use opentelemetry::{Context, InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{
    IdGenerator, RandomIdGenerator, SdkTracer, SdkTracerProvider, Span,
};

use super::Metrics;
use crate::case::Decision;
use crate::config::{Secret, TracesConfig, WEBHOOK_ROOT};

pub use call::{CallSpan, Here, Within};
pub use context::Carried;

/// Makes spans, or does nothing at all. A clone is the same.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<Tracing>>);

struct Tracing {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    sample_ppm: u64,
    chance: RandomIdGenerator,
}

/// What a batch is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Messages of detectors become alerts. Those without a trace may begin one.
    Intake,
    /// Alerts are ruled.
    Triage,
}

/// To which trace a message belongs.
enum Origin {
    None,
    /// To one that begins here, of its own for each alert.
    Fresh,
    /// Not always a sampled one: it is passed on all the same.
    Known(SpanContext),
}

impl Traces {
    /// Call it outside of any runtime.
    ///
    /// Errors: a client for the endpoint can't be made.
    pub fn start(
        config: &TracesConfig,
        headers: &BTreeMap<String, Secret>,
        instance: &str,
        metrics: &Metrics,
    ) -> Result<Self, String> {
        let provider = export::provider(config, headers, instance, metrics)?;
        Ok(Self::of(provider, config.sample_ppm))
    }

    fn of(provider: SdkTracerProvider, sample_ppm: u32) -> Self {
        let scope = InstrumentationScope::builder(names::SCOPE)
            .with_version(env!("CARGO_PKG_VERSION"))
            .with_schema_url(names::SCHEMA_URL)
            .build();
        let tracer = provider.tracer_with_scope(scope);
        let (sample_ppm, chance) = (u64::from(sample_ppm), RandomIdGenerator::default());
        Self(Some(Arc::new(Tracing { provider, tracer, sample_ppm, chance })))
    }

    /// Sends what is left, for so long at most. No span is made after it.
    ///
    /// Errors: not all of it was sent.
    pub fn end(&self, patience: Duration) -> Result<(), String> {
        let Some(tracing) = &self.0 else { return Ok(()) };
        tracing.provider.shutdown_with_timeout(patience).map_err(|error| error.to_string())
    }

    /// Begins a batch of these messages, each given by its headers.
    pub fn batch<'h, H>(
        &self,
        work: Work,
        alerts: &str,
        messages: impl ExactSizeIterator<Item = H>,
    ) -> Batch
    where
        H: Iterator<Item = (&'h str, &'h [u8])>,
    {
        let Some(tracing) = &self.0 else { return Batch(None) };
        let count = messages.len();
        let may_begin = work == Work::Intake;
        let origins = messages.map(|headers| tracing.origin(may_begin, headers));
        let origins: Vec<Origin> = origins.collect();
        let is_traced = origins.iter().any(Origin::is_traced) || tracing.is_drawn();
        let span = is_traced.then(|| tracing.batch(work, alerts, count));
        Batch(Some(Box::new(Open { tracing: Arc::clone(tracing), work, span, origins })))
    }

    /// Begins a delivery to a pipeline's webhook.
    pub fn delivery<'h>(
        &self,
        pipeline: &str,
        headers: impl Iterator<Item = (&'h str, &'h [u8])>,
    ) -> Delivered {
        let Some(tracing) = &self.0 else { return Delivered(None) };
        let origin = tracing.origin(true, headers);
        let span = origin.is_traced().then(|| {
            let route = format!("{WEBHOOK_ROOT}{{pipeline}}");
            let builder = SpanBuilder::from_name(format!("{} {route}", names::POST))
                .with_kind(SpanKind::Server)
                .with_attributes([
                    KeyValue::new(names::HTTP_REQUEST_METHOD, names::POST),
                    KeyValue::new(names::HTTP_ROUTE, route),
                    KeyValue::new(names::PIPELINE, pipeline.to_owned()),
                ]);
            tracing.start(builder, origin.context())
        });
        Delivered(Some(Box::new(Request { tracing: Arc::clone(tracing), origin, span })))
    }
}

impl Origin {
    fn context(&self) -> Option<&SpanContext> {
        match self {
            Self::Known(context) => Some(context),
            Self::None | Self::Fresh => None,
        }
    }

    fn is_traced(&self) -> bool {
        match self {
            Self::Known(context) => context.is_sampled(),
            Self::None => false,
            Self::Fresh => true,
        }
    }
}

impl Tracing {
    fn is_drawn(&self) -> bool {
        let chance = u64::from_be_bytes(self.chance.new_span_id().to_bytes());
        chance % 1_000_000 < self.sample_ppm
    }

    fn origin<'h>(
        &self,
        may_begin: bool,
        headers: impl Iterator<Item = (&'h str, &'h [u8])>,
    ) -> Origin {
        match context::parent(headers) {
            Some(context) => Origin::Known(context),
            None if may_begin && self.is_drawn() => Origin::Fresh,
            None => Origin::None,
        }
    }

    fn start(&self, builder: SpanBuilder, parent: Option<&SpanContext>) -> Span {
        let none = Context::new();
        let within = match parent {
            Some(parent) => none.with_remote_span_context(parent.clone()),
            None => none,
        };
        self.tracer.build_with_context(builder, &within)
    }

    fn batch(&self, work: Work, alerts: &str, messages: usize) -> Span {
        let (operation, kind) = match work {
            Work::Intake => (names::SEND, SpanKind::Client),
            Work::Triage => (names::PROCESS, SpanKind::Consumer),
        };
        let messages = i64::try_from(messages).unwrap_or(i64::MAX);
        let mut attributes = messaging(alerts, operation);
        attributes.push(KeyValue::new(names::MESSAGING_BATCH_MESSAGE_COUNT, messages));
        let builder = SpanBuilder::from_name(format!("{operation} {alerts}"));
        self.start(builder.with_kind(kind).with_attributes(attributes), None)
    }

    /// The span of an alert that begins to be one.
    fn create(&self, alerts: &str, parent: Option<&SpanContext>, batch: Option<&Span>) -> Span {
        let builder = SpanBuilder::from_name(format!("{} {alerts}", names::CREATE))
            .with_kind(SpanKind::Producer)
            .with_attributes(messaging(alerts, names::CREATE))
            .with_links(link(batch));
        self.start(builder, parent)
    }
}

fn messaging(alerts: &str, operation: &'static str) -> Vec<KeyValue> {
    vec![
        KeyValue::new(names::MESSAGING_SYSTEM_NAME, names::KAFKA),
        KeyValue::new(names::MESSAGING_DESTINATION_NAME, alerts.to_owned()),
        KeyValue::new(names::MESSAGING_OPERATION_NAME, operation),
        KeyValue::new(names::MESSAGING_OPERATION_TYPE, operation),
    ]
}

fn link(batch: Option<&Span>) -> Vec<Link> {
    batch.map(|span| Link::with_context(span.span_context().clone())).into_iter().collect()
}

/// One batch on its way through a stage. Its span, if it has one, ends with it.
#[derive(Default)]
pub struct Batch(Option<Box<Open>>);

struct Open {
    tracing: Arc<Tracing>,
    work: Work,
    span: Option<Span>,
    origins: Vec<Origin>,
}

impl Batch {
    /// Until the guard is dropped, what this thread looks up belongs to the batch.
    pub fn enter(&self) -> Within {
        let open = self.0.as_ref();
        let here = open.and_then(|open| Some((&open.tracing, open.span.as_ref()?.span_context())));
        Here::at(here).enter()
    }

    pub fn looked_up(&mut self, took: Duration) {
        let ms = i64::try_from(took.as_millis()).unwrap_or(i64::MAX);
        self.set(|| KeyValue::new(names::LOOKUP_MS, ms));
    }

    /// How many alerts it held.
    pub fn alerts(&mut self, count: u64) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.set(|| KeyValue::new(names::ALERTS, count));
    }

    /// What goes on with an alert of the message at this place of the batch. Nothing when it
    /// belongs to no trace.
    pub fn alert(
        &mut self,
        place: usize,
        (alerts, partition, offset): (&str, i32, i64),
    ) -> Option<AlertTrace> {
        let open = self.0.as_mut()?;
        let origin = open.origins.get(place)?;
        let parent = origin.context();
        if !origin.is_traced() {
            return parent.map(AlertTrace::passed);
        }
        let mut span = match open.work {
            Work::Intake => open.tracing.create(alerts, parent, open.span.as_ref()),
            Work::Triage => {
                let builder = SpanBuilder::from_name(names::RULE_ALERT)
                    .with_kind(SpanKind::Consumer)
                    .with_attributes(messaging(alerts, names::PROCESS))
                    .with_links(link(open.span.as_ref()));
                open.tracing.start(builder, parent)
            }
        };
        if open.work == Work::Triage {
            let partition = partition.to_string();
            span.set_attribute(KeyValue::new(names::MESSAGING_DESTINATION_PARTITION_ID, partition));
            span.set_attribute(KeyValue::new(names::KAFKA_OFFSET, offset));
        }
        if let Some(batch) = &mut open.span {
            batch.add_link(span.span_context().clone(), Vec::new());
        }
        Some(AlertTrace { carried: Carried::of(span.span_context()), span: Some(span) })
    }

    /// What it did did not become so, and is done again.
    pub fn not_committed(mut self) {
        self.set(|| KeyValue::new(names::ERROR_TYPE, names::NOT_COMMITTED));
        if let Some(span) = self.0.as_mut().and_then(|open| open.span.as_mut()) {
            span.set_status(Status::error("the transaction was not committed"));
        }
    }

    fn set(&mut self, attribute: impl FnOnce() -> KeyValue) {
        if let Some(span) = self.0.as_mut().and_then(|open| open.span.as_mut()) {
            span.set_attribute(attribute());
        }
    }
}

/// One alert's part in a trace. Its span, if it is sampled, ends with it.
pub struct AlertTrace {
    carried: Carried,
    span: Option<Span>,
}

impl AlertTrace {
    fn passed(context: &SpanContext) -> Self {
        Self { carried: Carried::of(context), span: None }
    }

    /// What belongs on whatever follows from the alert.
    pub fn carried(&self) -> &Carried {
        &self.carried
    }

    pub fn ruled(&mut self, decision: &Decision<'_>) {
        let Some(span) = &mut self.span else { return };
        span.set_attributes([
            KeyValue::new(names::RULING, decision.fate.name()),
            KeyValue::new(names::REASON, decision.reason.code()),
            KeyValue::new(names::RULE, decision.rule.to_string()),
            KeyValue::new(names::PLAYBOOK, decision.playbook.to_string()),
        ]);
    }

    pub fn duplicate(&mut self) {
        if let Some(span) = &mut self.span {
            span.set_attribute(KeyValue::new(names::DUPLICATE, true));
        }
    }
}

/// One webhook's delivery. Its span, if it has one, ends with it.
pub struct Delivered(Option<Box<Request>>);

struct Request {
    tracing: Arc<Tracing>,
    origin: Origin,
    span: Option<Span>,
}

impl Delivered {
    /// What goes on with one alert of the delivery.
    pub fn alert(&self, alerts: &str) -> Option<AlertTrace> {
        let request = self.0.as_ref()?;
        let Some(span) = &request.span else {
            return request.origin.context().map(AlertTrace::passed);
        };
        let span = request.tracing.create(alerts, Some(span.span_context()), None);
        Some(AlertTrace { carried: Carried::of(span.span_context()), span: Some(span) })
    }

    pub fn answered(mut self, status: u16) {
        let Some(span) = self.0.as_mut().and_then(|request| request.span.as_mut()) else { return };
        span.set_attribute(KeyValue::new(names::HTTP_RESPONSE_STATUS_CODE, i64::from(status)));
        if status >= 500 {
            span.set_attribute(KeyValue::new(names::ERROR_TYPE, status.to_string()));
            span.set_status(Status::error(""));
        }
    }
}
