use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

/// Of sinks. Their names come from the configuration.
#[derive(Clone)]
pub struct SinkMetrics {
    /// Labels: sink, `delivered`, `parked`, `left_out` or `void`.
    cases: IntCounterVec,
    /// Tries that are made again. Labels: sink, class (9 values).
    retries: IntCounterVec,
    oldest: IntGaugeVec,
    paused: IntGaugeVec,
}

impl SinkMetrics {
    /// Errors: when two metrics have one name, which is a defect.
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters = |name: &str, about: &str, labels: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(name, about), labels)?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        let gauges = |name: &str, about: &str| {
            let gauges = IntGaugeVec::new(Opts::new(name, about), &["sink"])?;
            registry.register(Box::new(gauges.clone()))?;
            Ok::<_, prometheus::Error>(gauges)
        };
        Ok(Self {
            cases: counters(
                "tipstaff_sink_cases_total",
                "Cases that a sink is done with, by what became of them",
                &["sink", "result"],
            )?,
            retries: counters(
                "tipstaff_sink_retries_total",
                "Deliveries that are tried again, by class",
                &["sink", "class"],
            )?,
            oldest: gauges(
                "tipstaff_sink_oldest_undelivered_seconds",
                "Age of the oldest case that a sink has not delivered; 0 when there is none",
            )?,
            paused: gauges(
                "tipstaff_sink_paused",
                "1 while a sink delivers nothing because its configuration is refused",
            )?,
        })
    }

    /// So that every sink has its numbers from the start.
    pub fn begin(&self, sink: &str) {
        for result in ["delivered", "parked", "left_out", "void"] {
            self.cases.with_label_values(&[sink, result]).inc_by(0);
        }
        self.state(sink, 0, false);
    }

    pub fn case(&self, sink: &str, result: &str) {
        self.cases.with_label_values(&[sink, result]).inc();
    }

    pub fn retried(&self, sink: &str, class: &str) {
        self.retries.with_label_values(&[sink, class]).inc();
    }

    pub fn state(&self, sink: &str, oldest_seconds: i64, is_paused: bool) {
        self.oldest.with_label_values(&[sink]).set(oldest_seconds);
        self.paused.with_label_values(&[sink]).set(is_paused.into());
    }
}
