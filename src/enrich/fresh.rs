use std::sync::Arc;
use std::time::Instant;

use crate::case::{FactRow, FactState, Millis};

use super::{Enrichers, Key, Wanted, key_of};

/// By enricher, how old an answer may be.
type Ages<'a> = &'a [Option<i64>];

impl Enrichers {
    /// As `facts`, and what is older for an alert than it may be is asked for again.
    pub fn fresh(
        &self,
        alerts: &[Wanted<'_>],
        (ages, now): (&[Ages<'_>], Millis),
        deadline: Instant,
    ) -> Vec<Vec<Option<Arc<FactRow>>>> {
        let facts = self.facts(alerts, deadline);
        let (mut is_any_old, mut joined) = (false, String::new());
        for ((rows, ages), (alert, _)) in facts.iter().zip(ages).zip(alerts) {
            for ((row, age_ms), enricher) in rows.iter().zip(*ages).zip(&self.enrichers) {
                let (Some(row), Some(age_ms)) = (row, *age_ms) else { continue };
                let is_known = !matches!(row.state, FactState::Unknown(_));
                if !is_known || row.is_fresh(now, age_ms) {
                    continue;
                }
                match key_of(alert, &enricher.key, &mut joined) {
                    Key::Missing => continue,
                    Key::Single(key) => enricher.lookup().forget(key),
                    Key::Joined => enricher.lookup().forget(&joined),
                }
                is_any_old = true;
            }
        }
        if is_any_old { self.facts(alerts, deadline) } else { facts }
    }
}
