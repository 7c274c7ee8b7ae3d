use std::collections::{HashMap, HashSet};

use tracing::error;

use crate::audit::Record;
use crate::case::{Alert, Blocked, Change, Decision, Field, Millis, Sighting};
use crate::observe::Metrics;

const HOUR_MS: i64 = 3_600_000;
/// LIMIT: detectors that are named in an hour; an alert can name its detector.
const DETECTORS_MAX: usize = 100;

/// What the open transaction did with each rule and each playbook in shadow; told to the metrics
/// when it is committed.
#[derive(Default)]
pub(super) struct Tally {
    hits: HashMap<String, HashMap<String, Hits>>,
    shadows: Vec<(Compared, u64)>,
    told: Vec<Change>,
    late: u64,
    refused: u64,
    /// Detectors whose budget was spent in an hour, the number of which since 1970 is beside them.
    spent: HashSet<(String, i64)>,
    dropped: Vec<(&'static str, usize)>,
}

#[derive(Default, Clone, Copy)]
struct Hits {
    count: u64,
    last: Millis,
}

/// Labels of one comparison of a shadow's ruling with the fate.
#[derive(PartialEq, Eq)]
struct Compared {
    playbook: String,
    live: &'static str,
    shadow: String,
    differs: String,
}

impl Tally {
    /// A ruling that stands in a record of this time.
    pub(super) fn ruled(&mut self, alert: Option<&Alert<'_>>, decision: &Decision<'_>, at: Millis) {
        self.hit(&decision.playbook, asked(&decision.rule, decision.blocked.first()), at);
        let mut verdicts = decision.boundary.iter();
        if verdicts.any(|verdict| !verdict.allows && verdict.id.starts_with("budget:")) {
            self.spend(alert.and_then(|alert| alert.text(Field::Detector)).unwrap_or("-"), at);
        }
    }

    /// Somebody has to look, once: what a rule suppresses is more than anybody meant it to be.
    fn spend(&mut self, detector: &str, at: Millis) {
        self.refused += 1;
        let hour = at.0 / HOUR_MS;
        self.spent.retain(|(_, of)| *of == hour);
        if self.spent.len() < DETECTORS_MAX && self.spent.insert((detector.to_owned(), hour)) {
            error!(
                detector,
                "its budget of suppressions is spent: its alerts go to people until the hour is over"
            );
        }
    }

    /// What playbooks in shadow would have ruled on an alert that has its first ruling.
    pub(super) fn compared(&mut self, decision: &Decision<'_>, at: Millis) {
        for shadow in &decision.shadow {
            self.hit(&shadow.playbook, asked(&shadow.rule, shadow.blocked.as_ref()), at);
            let live = decision.fate.name();
            let differs = shadow.differs.as_deref().unwrap_or("no");
            let known = self.shadows.iter_mut().find(|(known, _)| {
                known.playbook == shadow.playbook
                    && known.live == live
                    && known.shadow == shadow.fate
                    && known.differs == differs
            });
            if let Some((_, count)) = known {
                *count += 1;
                continue;
            }
            let compared = Compared {
                playbook: shadow.playbook.to_string(),
                live,
                shadow: shadow.fate.to_string(),
                differs: differs.to_owned(),
            };
            self.shadows.push((compared, 1));
        }
    }

    fn hit(&mut self, playbook: &str, rule: &str, at: Millis) {
        if !self.hits.contains_key(playbook) {
            self.hits.insert(playbook.to_owned(), HashMap::new());
        }
        let Some(rules) = self.hits.get_mut(playbook) else { return };
        if !rules.contains_key(rule) {
            rules.insert(rule.to_owned(), Hits::default());
        }
        let Some(hits) = rules.get_mut(rule) else { return };
        hits.count += 1;
        hits.last = hits.last.max(at);
    }

    /// Why people were told of a case.
    pub(super) fn told(&mut self, record: &Record<'_>) {
        self.told.extend(record.told.iter().flat_map(|told| &told.changed));
    }

    /// What of an alert came too late for a window.
    pub(super) fn late(&mut self, sightings: &[Sighting]) {
        self.late += sightings.iter().filter(|sighting| sighting.late).count() as u64;
    }

    /// What a snapshot left in the state.
    pub(super) fn dropped<const N: usize>(
        &mut self,
        before: [(&'static str, usize); N],
        after: [(&'static str, usize); N],
    ) {
        let pairs = before.into_iter().zip(after);
        let dropped = pairs.map(|((what, before), (_, after))| (what, before - after));
        self.dropped.extend(dropped.filter(|(_, count)| *count > 0));
    }

    pub(super) fn tell(&mut self, metrics: &Metrics) {
        metrics.memory.late.inc_by(std::mem::take(&mut self.late));
        metrics.policy.over_budget.inc_by(std::mem::take(&mut self.refused));
        for (what, count) in self.dropped.drain(..) {
            metrics.memory.dropped.with_label_values(&[what]).inc_by(count as u64);
        }
        for change in self.told.drain(..) {
            metrics.memory.told.with_label_values(&[change.code()]).inc();
        }
        let metrics = &metrics.policy;
        for (playbook, rules) in self.hits.drain() {
            for (rule, hits) in rules {
                metrics.hit(&playbook, &rule, hits.count, hits.last);
            }
        }
        for (compared, count) in self.shadows.drain(..) {
            let Compared { playbook, live, shadow, differs } = &compared;
            metrics.compared([playbook, live, shadow, differs], count);
        }
    }
}

/// Of what the boundary refused, the rule that was true.
fn asked<'d>(rule: &'d str, blocked: Option<&'d Blocked<'_>>) -> &'d str {
    blocked.map_or(rule, |blocked| &blocked.rule)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{BoundaryVerdict, Reason, Route, Ruling, Value};

    #[test]
    fn a_spent_budget_is_counted_each_time_and_told_of_once_an_hour() {
        let (mut tally, metrics) = (Tally::default(), Metrics::new().unwrap());
        let route = Route { queue: "q".into(), priority: crate::case::Priority::Low, ack_by: None };
        let ruling = |id: &'static str| {
            let verdict = BoundaryVerdict { id: id.into(), allows: false, why: "".into() };
            let fate = Ruling::Route(route.clone());
            let decision = Decision::new(fate, Reason::BoundaryRefused, "p", "r");
            Decision { boundary: vec![verdict], ..decision }
        };
        let mut alert = Alert::default();
        alert.set(Field::Detector, Value::Text("noisy".into()));
        let spent = ruling("budget:base");
        let mut told = Vec::new();
        for (decision, at) in
            [(&spent, 0), (&spent, 5), (&ruling("stop:base"), 6), (&spent, HOUR_MS)]
        {
            tally.ruled(Some(&alert), decision, Millis(at));
            told.push(tally.spent.iter().cloned().collect::<Vec<_>>());
        }
        let [first, second] = [0, 1].map(|hour| vec![("noisy".to_owned(), hour)]);
        assert_eq!(told, [first.clone(), first.clone(), first, second]);
        tally.tell(&metrics);
        assert_eq!(metrics.policy.over_budget.get(), 3);
    }
}
