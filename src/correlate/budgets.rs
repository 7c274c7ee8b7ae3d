use std::collections::BTreeMap;

use crate::audit::Record;
use crate::case::{Alert, Decision, Field, Millis, Reason, Ruling};

const HOUR_MS: i64 = 3_600_000;
/// Detectors that are counted apart. LIMIT: an alert can name its detector, so others are counted
/// as one, which spends their budget sooner.
const DETECTORS_MAX: usize = 1024;
/// LIMIT: so is one with a longer name.
const DETECTOR_BYTES_MAX: usize = 256;
const OTHERS: &str = "";

/// How many alerts of each detector playbooks suppressed in the hour that is running.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Budgets {
    /// Number of the hour since 1970, and how many.
    spent: BTreeMap<Box<str>, (i64, i64)>,
}

impl Budgets {
    pub(super) fn of(spent: BTreeMap<Box<str>, (i64, i64)>) -> Self {
        Self { spent }
    }

    pub(super) fn written(&self) -> &BTreeMap<Box<str>, (i64, i64)> {
        &self.spent
    }

    fn key<'a>(&self, alert: &'a Alert<'_>) -> &'a str {
        let detector = alert.text(Field::Detector).unwrap_or(OTHERS);
        if detector.len() > DETECTOR_BYTES_MAX {
            return OTHERS;
        }
        let has_room = self.spent.len() < DETECTORS_MAX || self.spent.contains_key(detector);
        if has_room { detector } else { OTHERS }
    }

    /// Spent so far on alerts of this one's detector.
    pub(super) fn spent(&self, alert: &Alert<'_>, at: Millis) -> i64 {
        let spent = self.spent.get(self.key(alert));
        spent.filter(|(hour, _)| *hour == at.0 / HOUR_MS).map_or(0, |(_, count)| *count)
    }

    pub(super) fn spend(&mut self, alert: &Alert<'_>, decision: &Decision<'_>, at: Millis) {
        let by_playbook = decision.reason != Reason::NotAnAlert;
        if by_playbook && matches!(decision.fate, Ruling::Suppress(_)) {
            let count = self.spent(alert, at) + 1;
            self.spent.insert(self.key(alert).into(), (at.0 / HOUR_MS, count));
        }
    }

    pub(super) fn apply(&mut self, record: &Record<'_>) {
        if let (Some(alert), Some(decision)) = (&record.alert, &record.ruling) {
            self.spend(alert, decision, record.at);
        }
    }

    pub(super) fn prune(&mut self, at: Millis) {
        self.spent.retain(|_, (hour, _)| *hour == at.0 / HOUR_MS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{OnExpiry, Suppress, Value};

    fn alert(detector: &str) -> Alert<'static> {
        let mut alert = Alert::default();
        alert.set(Field::Detector, Value::Text(detector.to_owned().into()));
        alert
    }

    fn suppression(reason: Reason) -> Decision<'static> {
        let suppress = Suppress {
            evidence: vec![],
            expires_at: Millis(0),
            on_expiry: OnExpiry::Recheck,
            authorized_by: "o".into(),
        };
        Decision::new(Ruling::Suppress(suppress), reason, "p", "r")
    }

    #[test]
    fn each_detector_spends_its_own_budget_until_the_hour_ends() {
        let mut budgets = Budgets::default();
        let at = Millis(10 * HOUR_MS + 5);
        budgets.spend(&alert("a"), &suppression(Reason::TestFixture), at);
        budgets.spend(&alert("a"), &suppression(Reason::TestFixture), at);
        budgets.spend(&alert("a"), &suppression(Reason::NotAnAlert), at);
        assert_eq!((budgets.spent(&alert("a"), at), budgets.spent(&alert("b"), at)), (2, 0));
        assert_eq!(budgets.spent(&alert("a"), at.plus(HOUR_MS)), 0);
        budgets.prune(at.plus(HOUR_MS));
        assert_eq!(budgets, Budgets::default());
    }

    #[test]
    fn made_up_detectors_share_one_budget_and_take_no_more_room() {
        let mut budgets = Budgets::default();
        for n in 0..DETECTORS_MAX + 10 {
            budgets.spend(&alert(&n.to_string()), &suppression(Reason::TestFixture), Millis(0));
        }
        assert_eq!(budgets.spent.len(), DETECTORS_MAX + 1);
        assert_eq!(budgets.spent(&alert("another"), Millis(0)), 10);
        assert_eq!(budgets.spent(&alert("7"), Millis(0)), 1);
        let mut budgets = Budgets::default();
        for length in [DETECTOR_BYTES_MAX, DETECTOR_BYTES_MAX + 1] {
            let detector = alert(&"d".repeat(length));
            budgets.spend(&detector, &suppression(Reason::TestFixture), Millis(0));
        }
        assert!(budgets.spent.contains_key(&*"d".repeat(DETECTOR_BYTES_MAX)));
        assert_eq!((budgets.spent.len(), budgets.spent[OTHERS].1), (2, 1));
    }
}
