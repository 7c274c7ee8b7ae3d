use std::sync::Arc;

use crate::case::{CacheState, FactRow, FactState, Millis, Type, Value, Why};

/// What all rows of one source have in common.
#[derive(Debug, Clone)]
pub struct Sourced {
    pub enricher: Arc<str>,
    /// For people: `http:vault`.
    pub source: Arc<str>,
    pub version: Arc<str>,
    pub provides: Vec<(String, Type)>,
}

/// How an answer was come by, and what there is to tell about it.
pub(super) type Told<'t> = (Option<CacheState>, Option<&'t str>);

impl Sourced {
    pub(super) fn row(
        &self,
        key: &str,
        (state, values): (FactState, Vec<Value<'static>>),
        as_of: Option<Millis>,
        (cache, detail): Told<'_>,
    ) -> Arc<FactRow> {
        let names =
            (Arc::clone(&self.enricher), Arc::clone(&self.source), Arc::clone(&self.version));
        let row = FactRow::new(names, key, as_of, state, (&self.provides, values));
        Arc::new(row.told(cache, detail))
    }

    pub(super) fn unknown(&self, key: &str, why: Why, told: Told<'_>) -> Arc<FactRow> {
        self.row(key, (FactState::Unknown(why), Vec::new()), None, told)
    }
}
