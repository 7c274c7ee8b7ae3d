use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

use crate::case::Millis;

/// Of topics that are held as tables.
#[derive(Clone)]
pub struct TopicMetrics {
    /// Labels: enricher, what became of the record (3 values).
    records: IntCounterVec,
    /// Labels: enricher.
    at_end: IntGaugeVec,
}

impl TopicMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let records = IntCounterVec::new(
            Opts::new(
                "tipstaff_lookup_topic_records_total",
                "Records of topics held as tables, by what became of them",
            ),
            &["enricher", "result"],
        )?;
        let at_end = IntGaugeVec::new(
            Opts::new(
                "tipstaff_lookup_topic_at_end_timestamp_seconds",
                "When a topic held as a table was last read to its end",
            ),
            &["enricher"],
        )?;
        registry.register(Box::new(records.clone()))?;
        registry.register(Box::new(at_end.clone()))?;
        Ok(Self { records, at_end })
    }

    /// `result` is `read`, `deleted` or `refused`.
    pub fn record(&self, enricher: &str, result: &str) {
        self.records.with_label_values(&[enricher, result]).inc();
    }

    pub fn at_end(&self, enricher: &str, now: Millis) {
        self.at_end.with_label_values(&[enricher]).set(now.0 / 1000);
    }
}
