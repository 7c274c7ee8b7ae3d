use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

/// Of systems that facts are asked of, and of the caches in front of them.
#[derive(Clone)]
pub struct LookupMetrics {
    /// Facts that first rulings were made with. Labels: enricher, `known`, `absent` or a cause.
    facts: IntCounterVec,
    /// Keys that a batch asked for. Labels: enricher, how it was answered (6 values).
    asked: IntCounterVec,
    /// Keys that a source was asked for. Labels: enricher, service, what it said (3 values).
    fetches: IntCounterVec,
    /// Labels: enricher, service, fault (12 values).
    failures: IntCounterVec,
    /// Requests over the network. Labels: service, `reply` or a fault.
    calls: IntCounterVec,
    call_seconds: HistogramVec,
    in_flight: IntGaugeVec,
    retries: IntCounterVec,
    breaker: IntGaugeVec,
    entries: IntGaugeVec,
    bytes: IntGaugeVec,
    /// Labels: enricher, `expired`, `full`, `purged` or `replaced`.
    evictions: IntCounterVec,
}

/// Those of one enricher and its source, found once.
#[derive(Clone)]
pub struct CacheMetrics {
    pub hit: IntCounter,
    pub hit_absent: IntCounter,
    pub hit_failure: IntCounter,
    pub stale: IntCounter,
    /// Waits for a call that somebody else began.
    pub joined: IntCounter,
    /// Begins a call.
    pub began: IntCounter,
    pub known: IntCounter,
    pub absent: IntCounter,
    pub failed: IntCounter,
    pub entries: IntGauge,
    pub bytes: IntGauge,
    all: LookupMetrics,
    enricher: String,
    service: String,
}

/// Those of one system, found once.
#[derive(Clone)]
pub struct CallMetrics {
    pub seconds: Histogram,
    in_flight: IntGauge,
    pub retries: IntCounter,
    /// 0 closed, 1 half open, 2 open.
    pub breaker: IntGauge,
    all: LookupMetrics,
    service: String,
}

impl LookupMetrics {
    /// Errors: when two metrics have one name, which is a defect.
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters = |name: &str, about: &str, labels: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(name, about), labels)?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        let gauges = |name: &str, about: &str, label: &str| {
            let gauges = IntGaugeVec::new(Opts::new(name, about), &[label])?;
            registry.register(Box::new(gauges.clone()))?;
            Ok::<_, prometheus::Error>(gauges)
        };
        let bounds = vec![0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
        let about = HistogramOpts::new("tipstaff_lookup_call_seconds", "Time of one request");
        let call_seconds = HistogramVec::new(about.buckets(bounds), &["service"])?;
        registry.register(Box::new(call_seconds.clone()))?;
        Ok(Self {
            facts: counters(
                "tipstaff_facts_total",
                "Facts that first rulings were made with, by what was known",
                &["enricher", "state"],
            )?,
            asked: counters(
                "tipstaff_lookup_keys_total",
                "Keys that were looked up in a cache, by how they were answered",
                &["enricher", "answer"],
            )?,
            fetches: counters(
                "tipstaff_lookup_fetches_total",
                "Keys that a service was asked for, by what it said",
                &["enricher", "service", "result"],
            )?,
            failures: counters(
                "tipstaff_lookup_failures_total",
                "Keys that a service gave no answer for, by fault",
                &["enricher", "service", "fault"],
            )?,
            calls: counters(
                "tipstaff_lookup_calls_total",
                "Requests to a service, by result",
                &["service", "result"],
            )?,
            call_seconds,
            in_flight: gauges(
                "tipstaff_lookup_calls_in_flight",
                "Requests that have no reply yet",
                "service",
            )?,
            retries: counters(
                "tipstaff_lookup_retries_total",
                "Requests that were made again",
                &["service"],
            )?,
            breaker: gauges(
                "tipstaff_lookup_breaker",
                "0 closed, 1 half open, 2 open: the service is not asked",
                "service",
            )?,
            entries: gauges("tipstaff_lookup_cache_entries", "Answers that are kept", "enricher")?,
            bytes: gauges("tipstaff_lookup_cache_bytes", "What they take", "enricher")?,
            evictions: counters(
                "tipstaff_lookup_cache_evictions_total",
                "Answers that are not kept any more, by cause",
                &["enricher", "cause"],
            )?,
        })
    }

    pub fn facts(&self, enricher: &str, state: &str, count: u64) {
        self.facts.with_label_values(&[enricher, state]).inc_by(count);
    }

    pub fn cache(&self, enricher: &str, service: &str) -> CacheMetrics {
        let asked = |answer: &str| self.asked.with_label_values(&[enricher, answer]);
        let fetched = |result: &str| self.fetches.with_label_values(&[enricher, service, result]);
        CacheMetrics {
            hit: asked("hit"),
            hit_absent: asked("hit_absent"),
            hit_failure: asked("hit_failure"),
            stale: asked("stale"),
            joined: asked("joined"),
            began: asked("began"),
            known: fetched("known"),
            absent: fetched("absent"),
            failed: fetched("failed"),
            entries: self.entries.with_label_values(&[enricher]),
            bytes: self.bytes.with_label_values(&[enricher]),
            all: self.clone(),
            enricher: enricher.to_owned(),
            service: service.to_owned(),
        }
    }

    pub fn calls(&self, service: &str) -> CallMetrics {
        CallMetrics {
            seconds: self.call_seconds.with_label_values(&[service]),
            in_flight: self.in_flight.with_label_values(&[service]),
            retries: self.retries.with_label_values(&[service]),
            breaker: self.breaker.with_label_values(&[service]),
            all: self.clone(),
            service: service.to_owned(),
        }
    }
}

impl CacheMetrics {
    pub fn failure(&self, fault: &str) {
        let labels = [self.enricher.as_str(), self.service.as_str(), fault];
        self.all.failures.with_label_values(&labels).inc();
    }

    pub fn evicted(&self, cause: &str) {
        self.all.evictions.with_label_values(&[self.enricher.as_str(), cause]).inc();
    }
}

/// A request on its way, until it is dropped.
pub struct InFlight(IntGauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl CallMetrics {
    pub fn begin(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// `reply` or a fault.
    pub fn called(&self, result: &str) {
        self.all.calls.with_label_values(&[self.service.as_str(), result]).inc();
    }
}
