use super::lane::{Case, Ruled};
use crate::case::{Again, Arrival, Body, FactState, Millis, Why};
use crate::decide::unknown;
use crate::observe::Metrics;
use crate::policy::Policy;

/// What the open transaction holds; told to the metrics when it is committed.
#[derive(Default)]
pub(super) struct Counted {
    rulings: Vec<(Ruled, u64)>,
    /// By enricher and place in [`FACTS`].
    facts: Vec<[u64; FACTS]>,
    pub duplicates: u64,
    pub ages_seconds: Vec<f64>,
    pub revisions: Vec<(Again, Ruled)>,
    pub orders: Vec<&'static str>,
}

/// Known, absent, and each cause for which a fact is unknown.
const FACTS: usize = 2 + Why::OF_FACTS.len();

impl Counted {
    pub fn add(&mut self, ruled: Ruled) {
        match self.rulings.iter_mut().find(|(known, _)| *known == ruled) {
            Some((_, count)) => *count += 1,
            None => self.rulings.push((ruled, 1)),
        }
    }

    /// Facts as a first ruling has them.
    pub fn saw(&mut self, policy: &Policy, case: &Case<'_>, now: Millis) {
        let Some(Arrival { body: Body::Alert(alert), .. }) = &case.arrival else { return };
        let ages = policy.ages(alert);
        self.facts.resize(self.facts.len().max(case.facts.len()), [0; FACTS]);
        for (index, (row, counts)) in case.facts.iter().zip(&mut self.facts).enumerate() {
            let Some(row) = row else { continue };
            let why = unknown(row, ages.get(index).copied().flatten(), now);
            let place = place(why.map_or(row.state, FactState::Unknown));
            counts.get_mut(place).into_iter().for_each(|count| *count += 1);
        }
    }

    pub fn tell(&mut self, policy: &Policy, metrics: &Metrics) {
        for (shape, counts) in policy.schema().enrichers.iter().zip(self.facts.drain(..)) {
            let codes = Why::OF_FACTS.map(Why::code);
            for (state, count) in ["known", "absent"].into_iter().chain(codes).zip(counts) {
                if count > 0 {
                    metrics.lookups.facts(&shape.name, state, count);
                }
            }
        }
        for (ruled, count) in self.rulings.drain(..) {
            let labels = [ruled.ruling, ruled.reason.code()];
            metrics.rulings.with_label_values(&labels).inc_by(count);
        }
        for (why, ruled) in self.revisions.drain(..) {
            metrics.revisions.with_label_values(&[why.code(), ruled.ruling]).inc();
        }
        for verdict in self.orders.drain(..) {
            metrics.orders.with_label_values(&[verdict]).inc();
        }
        metrics.duplicates.inc_by(std::mem::take(&mut self.duplicates));
        let ages = metrics.alert_age_seconds.local();
        self.ages_seconds.drain(..).for_each(|age| ages.observe(age));
        ages.flush();
    }
}

fn place(state: FactState) -> usize {
    match state {
        FactState::Known => 0,
        FactState::Absent => 1,
        FactState::Unknown(why) => {
            let place = Why::OF_FACTS.iter().position(|each| *each == why);
            2 + place.unwrap_or_default()
        }
    }
}
