use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use super::{LookupMetrics, MemoryMetrics, PolicyMetrics, SinkMetrics, TopicMetrics};

/// Every metric of the program. A clone is the same metrics.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    /// Alerts that intake wrote.
    pub alerts: IntCounter,
    /// Messages that no alert could be made of. Label: reason code.
    pub unreadable: IntCounterVec,
    /// Alerts left out at a recovery because they were there already.
    pub skipped: IntCounter,
    /// Requests to webhooks that are configured. Labels: pipeline, what became of it (8 values).
    pub deliveries: IntCounterVec,
    /// Callbacks of sinks that are offered. Labels: sink, what became of it (10 values).
    pub callbacks: IntCounterVec,
    /// First rulings. Labels: ruling (5 values), reason code.
    pub rulings: IntCounterVec,
    /// Rulings made again. Labels: why (4 values), ruling.
    pub revisions: IntCounterVec,
    pub memory: MemoryMetrics,
    /// Rulings that wait for facts. Labels: partition of alerts, `held` or `routed`.
    pub waiting: IntGaugeVec,
    pub duplicates: IntCounter,
    /// Messages of the orders topic. Label: `accepted`, or why it was refused (17 codes).
    pub orders: IntCounterVec,
    /// Starts whose committed offset and chain disagreed. Label: what was found (3 values).
    pub torn: IntCounterVec,
    /// From the broker's time of the alert to its ruling.
    pub alert_age_seconds: Histogram,
    /// Lookups of one batch.
    pub lookup_seconds: Histogram,
    /// Tables that were read again. Labels: enricher or `aliases`, what became of it (2 values).
    pub table_reads: IntCounterVec,
    pub lookups: LookupMetrics,
    /// Spans that were recorded. Label: what became of them (3 values).
    pub spans: IntCounterVec,
    pub topics: TopicMetrics,
    pub sinks: SinkMetrics,
    pub policy: PolicyMetrics,
    /// Labels: worker. Set when the metrics are asked for.
    pub workers: IntGaugeVec,
}

const TABLE_READS: &str = "tipstaff_table_reads_total";

impl Metrics {
    /// Errors: when two metrics have one name, which is a defect.
    pub fn new() -> Result<Self, prometheus::Error> {
        let register = Register(Registry::new());
        let counter = |name: &str, about: &str| register.counter(name, about);
        let counters =
            |name: &str, about: &str, labels: &[&str]| register.counters(name, about, labels);
        let histogram = |name: &str, about: &str| register.histogram(name, about);
        let about = "What each worker has done and has; `what` names it";
        let workers = register.gauges("tipstaff_worker", about, &["worker", "what"])?;
        let process = prometheus::process_collector::ProcessCollector::for_self();
        register.0.register(Box::new(process))?;
        Ok(Self {
            alerts: counter("tipstaff_alerts_total", "Alerts written by intake")?,
            unreadable: counters(
                "tipstaff_unreadable_messages_total",
                "Messages that no alert could be made of",
                &["reason"],
            )?,
            skipped: counter(
                "tipstaff_alerts_skipped_total",
                "Alerts that were on the alerts topic already when intake recovered",
            )?,
            deliveries: counters(
                "tipstaff_webhook_deliveries_total",
                "Deliveries to webhooks, by what became of them",
                &["pipeline", "result"],
            )?,
            callbacks: counters("tipstaff_callbacks_total", "Callbacks", &["sink", "result"])?,
            rulings: counters("tipstaff_rulings_total", "First rulings", &["ruling", "reason"])?,
            revisions: counters("tipstaff_revisions_total", "Later rulings", &["why", "ruling"])?,
            memory: MemoryMetrics::new(&register.0)?,
            waiting: register.gauges(
                "tipstaff_waiting_rulings",
                "Rulings that are made again when their facts are known",
                &["partition", "state"],
            )?,
            duplicates: counter(
                "tipstaff_duplicate_alerts_total",
                "Alerts that had a ruling already",
            )?,
            orders: counters(
                "tipstaff_orders_total",
                "Signed orders, accepted or refused",
                &["verdict"],
            )?,
            torn: counters(
                "tipstaff_torn_transactions_total",
                "Starts whose committed offset and chain disagreed",
                &["found"],
            )?,
            alert_age_seconds: histogram(
                "tipstaff_alert_age_seconds",
                "From the broker's time of an alert to its ruling",
            )?,
            lookup_seconds: histogram(
                "tipstaff_lookup_seconds",
                "Time for the lookups of one batch",
            )?,
            table_reads: counters(TABLE_READS, "Tables read again", &["table", "result"])?,
            lookups: LookupMetrics::new(&register.0)?,
            spans: counters("tipstaff_spans_total", "Spans of traces, by fate", &["result"])?,
            topics: TopicMetrics::new(&register.0)?,
            sinks: SinkMetrics::new(&register.0)?,
            policy: PolicyMetrics::new(&register.0)?,
            workers,
            registry: register.0,
        })
    }

    /// The text that Prometheus reads.
    pub fn text(&self) -> String {
        let mut text = Vec::new();
        // Writing into memory does not fail; a partial page is better than none.
        if TextEncoder::new().encode(&self.registry.gather(), &mut text).is_err() {
            text.extend_from_slice(b"# incomplete\n");
        }
        String::from_utf8(text).unwrap_or_default()
    }
}

struct Register(Registry);

impl Register {
    fn counter(&self, name: &str, about: &str) -> Result<IntCounter, prometheus::Error> {
        let counter = IntCounter::new(name, about)?;
        self.0.register(Box::new(counter.clone()))?;
        Ok(counter)
    }

    fn counters(
        &self,
        name: &str,
        about: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, prometheus::Error> {
        let counters = IntCounterVec::new(Opts::new(name, about), labels)?;
        self.0.register(Box::new(counters.clone()))?;
        Ok(counters)
    }

    fn histogram(&self, name: &str, about: &str) -> Result<Histogram, prometheus::Error> {
        let bounds =
            vec![0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0];
        let histogram = Histogram::with_opts(HistogramOpts::new(name, about).buckets(bounds))?;
        self.0.register(Box::new(histogram.clone()))?;
        Ok(histogram)
    }

    fn gauges(
        &self,
        name: &str,
        about: &str,
        labels: &[&str],
    ) -> Result<IntGaugeVec, prometheus::Error> {
        let gauges = IntGaugeVec::new(Opts::new(name, about), labels)?;
        self.0.register(Box::new(gauges.clone()))?;
        Ok(gauges)
    }
}
