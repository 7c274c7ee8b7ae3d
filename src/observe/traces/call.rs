use std::cell::RefCell;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use opentelemetry::KeyValue;
use opentelemetry::trace::{Span as _, SpanBuilder, SpanContext, SpanKind, Status};
use opentelemetry_sdk::trace::Span;

use super::{Carried, Traces, Tracing, names};

thread_local! {
    /// For whom this thread works just now.
    static HERE: RefCell<Here> = const { RefCell::new(Here(None)) };
}

/// The span for which something is done; nothing when it is not traced. It can be taken to another
/// thread or into a task.
#[derive(Clone, Default)]
pub struct Here(Option<(Arc<Tracing>, SpanContext)>);

/// While it lives, its thread works for a [`Here`].
#[must_use = "it ends when it is dropped"]
pub struct Within {
    before: Option<Here>,
}

impl Here {
    pub fn now() -> Self {
        HERE.with_borrow(Self::clone)
    }

    pub(super) fn at(span: Option<(&Arc<Tracing>, &SpanContext)>) -> Self {
        Self(span.map(|(tracing, context)| (Arc::clone(tracing), context.clone())))
    }

    /// The headers of a request that is made for it, so that who is asked can go on with the trace.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let carried = self.0.as_ref().map(|(_, context)| Carried::of(context));
        carried.map(|carried| carried.pairs()).unwrap_or_default()
    }

    pub fn enter(&self) -> Within {
        if self.0.is_none() {
            return Within { before: None };
        }
        Within { before: Some(HERE.replace(self.clone())) }
    }

    /// A future that works for it, whichever thread polls it.
    pub fn around<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        Around { here: self, future: Box::pin(future) }
    }
}

impl Drop for Within {
    fn drop(&mut self) {
        if let Some(before) = self.before.take() {
            HERE.set(before);
        }
    }
}

struct Around<F> {
    here: Here,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for Around<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let _within = self.here.enter();
        self.future.as_mut().poll(context)
    }
}

/// One key's question to another system. Its span, if it has one, ends with it.
pub struct CallSpan(Option<(Arc<Tracing>, Span)>);

impl Traces {
    /// Begins a question for whom this thread works just now.
    pub fn call(enricher: &str, source: &str) -> CallSpan {
        let Here(Some((tracing, parent))) = Here::now() else { return CallSpan(None) };
        let builder = SpanBuilder::from_name(format!("{} {enricher}", names::LOOKUP))
            .with_kind(SpanKind::Client)
            .with_attributes([
                KeyValue::new(names::ENRICHER, enricher.to_owned()),
                KeyValue::new(names::SOURCE, source.to_owned()),
            ]);
        let span = tracing.start(builder, Some(&parent));
        CallSpan(Some((tracing, span)))
    }
}

impl CallSpan {
    /// For the requests that it takes.
    pub fn here(&self) -> Here {
        Here::at(self.0.as_ref().map(|(tracing, span)| (tracing, span.span_context())))
    }

    /// Why there is no answer: one of a closed list of names.
    pub fn failed(&mut self, fault: &'static str) {
        let Some((_, span)) = &mut self.0 else { return };
        span.set_attribute(KeyValue::new(names::ERROR_TYPE, fault));
        span.set_status(Status::error(fault));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Work;

    /// Spans that go nowhere.
    fn traces() -> Traces {
        let provider = opentelemetry_sdk::trace::SdkTracerProvider::default();
        Traces::of(provider, 1_000_000)
    }

    fn trace(call: &CallSpan) -> Option<String> {
        let (name, value) = call.here().headers().into_iter().next()?;
        assert_eq!(name, "traceparent");
        value.split('-').nth(1).map(str::to_owned)
    }

    #[test]
    fn a_call_belongs_to_the_batch_that_its_thread_works_for() {
        let messages = [std::iter::empty()];
        let batch = traces().batch(Work::Triage, "t.alerts", messages.into_iter());
        assert_eq!(trace(&Traces::call("owner", "cmdb")), None);
        let within = batch.enter();
        let first = trace(&Traces::call("owner", "cmdb"));
        assert!(first.is_some());
        let other = traces().batch(Work::Triage, "t.alerts", [std::iter::empty()].into_iter());
        let inner = other.enter();
        assert_ne!(trace(&Traces::call("owner", "cmdb")), first);
        drop(inner);
        assert_eq!(trace(&Traces::call("vault", "vault")), first);
        let here = Here::now();
        drop(within);
        assert_eq!(trace(&Traces::call("owner", "cmdb")), None);

        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build();
        let task = here.around(async {
            tokio::task::yield_now().await;
            trace(&Traces::call("owner", "cmdb"))
        });
        let told = runtime.unwrap().block_on(async { tokio::spawn(task).await.unwrap() });
        assert_eq!(told, first);
        assert_eq!(trace(&Traces::call("owner", "cmdb")), None);
    }

    #[test]
    fn without_a_configuration_nothing_is_traced() {
        let headers =
            || [("traceparent", &b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"[..])];
        let messages = [headers().into_iter()];
        let mut batch = Traces::default().batch(Work::Intake, "t.alerts", messages.into_iter());
        let _within = batch.enter();
        assert!(batch.alert(0, ("t.alerts", 0, 0)).is_none());
        assert_eq!(trace(&Traces::call("owner", "cmdb")), None);
    }
}
