use clap::Args;

use crate::replay::{Change, Report};

/// How much may change; more is exit code 1.
#[derive(Args)]
pub(super) struct Budget {
    /// Alerts that could no longer be read
    #[arg(long, value_name = "N", help_heading = "Budget")]
    max_new_dead_letters: Option<u64>,
    /// Alerts that nobody would see any more
    #[arg(long, value_name = "N", help_heading = "Budget")]
    max_new_suppressions: Option<u64>,
    /// Escalations with a permit that there were not
    #[arg(long, value_name = "N", help_heading = "Budget")]
    max_new_containments: Option<u64>,
    /// Alerts that would no longer be contained
    #[arg(long, value_name = "N", help_heading = "Budget")]
    max_lost_escalations: Option<u64>,
    /// Alerts that would wait for a fact
    #[arg(long, value_name = "N", help_heading = "Budget")]
    max_new_holds: Option<u64>,
    /// Alerts that would be less urgent
    #[arg(long, value_name = "N", help_heading = "Budget")]
    max_lowered_priorities: Option<u64>,
    /// Alerts with another fate, and those that only one of the two makes of the same events
    #[arg(long, value_name = "N", help_heading = "Budget")]
    max_changed: Option<u64>,
    /// Rulings, of either policy, that rest on facts which were not recorded
    #[arg(long, value_name = "N", help_heading = "Budget")]
    max_unrecorded: Option<u64>,
}

pub(super) struct Line {
    pub code: &'static str,
    pub name: &'static str,
    pub found: u64,
    pub max: u64,
}

impl Line {
    pub fn is_kept(&self) -> bool {
        self.found <= self.max
    }
}

impl Budget {
    /// Those that were asked for.
    pub fn lines(&self, report: &Report) -> Vec<Line> {
        let of = |change: Change, max: Option<u64>| {
            (change.code(), change.name(), report.count(change), max)
        };
        let unrecorded = report.rested.iter().map(|rested| rested.rulings).max().unwrap_or(0);
        let all = [
            of(Change::NewDeadLetter, self.max_new_dead_letters),
            of(Change::NewSuppression, self.max_new_suppressions),
            of(Change::NewContainment, self.max_new_containments),
            of(Change::LostEscalation, self.max_lost_escalations),
            of(Change::NewHold, self.max_new_holds),
            of(Change::LoweredPriority, self.max_lowered_priorities),
            ("changed", "changed rulings", report.changed + report.unpaired, self.max_changed),
            ("unrecorded", "rulings without a recorded fact", unrecorded, self.max_unrecorded),
        ];
        let asked = all
            .into_iter()
            .filter_map(|(code, name, found, max)| max.map(|max| Line { code, name, found, max }));
        asked.collect()
    }
}
