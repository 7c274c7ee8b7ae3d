use prometheus::core::Collector;
use prometheus::{IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry};

/// Of what triage remembers between alerts.
#[derive(Clone)]
pub struct MemoryMetrics {
    /// Times people were told of a case. Label: why (a reason more than one counts under each).
    pub told: IntCounterVec,
    /// Events that windows do not count, because they came too late.
    pub late: IntCounter,
    /// What the state of a partition holds. Labels: partition of alerts, what (3 values).
    pub entries: IntGaugeVec,
    /// 1 where nothing automatic is done. Label: partition of alerts.
    pub stopped: IntGaugeVec,
    /// What the state let go of when a snapshot was made. Label: what.
    pub dropped: IntCounterVec,
}

impl MemoryMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            told: IntCounterVec::new(
                Opts::new(
                    "tipstaff_cases_told_total",
                    "Times people were told of a case, by what had changed",
                ),
                &["changed"],
            )?,
            late: IntCounter::new(
                "tipstaff_window_late_events_total",
                "Events that came too late for a window and are not counted in it",
            )?,
            entries: IntGaugeVec::new(
                Opts::new("tipstaff_state_entries", "What is remembered between alerts"),
                &["partition", "what"],
            )?,
            stopped: IntGaugeVec::new(
                Opts::new("tipstaff_stopped", "1 where everything automatic is stopped"),
                &["partition"],
            )?,
            dropped: IntCounterVec::new(
                Opts::new(
                    "tipstaff_state_dropped_total",
                    "What was let go of between alerts: because it is over, or for want of room",
                ),
                &["what"],
            )?,
        };
        let Self { told, late, entries, stopped, dropped } = metrics.clone();
        let all: [Box<dyn Collector>; 5] = [
            Box::new(told),
            Box::new(late),
            Box::new(entries),
            Box::new(stopped),
            Box::new(dropped),
        ];
        all.into_iter().try_for_each(|each| registry.register(each))?;
        Ok(metrics)
    }
}
