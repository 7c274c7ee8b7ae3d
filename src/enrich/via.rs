use std::sync::Arc;

use super::answer::Merge;
use super::key::joined;
use super::{Answer, Lookup, Table};
use crate::case::{FactRow, FactState, Type, Value};
use crate::config::EnricherConfig;

/// A source that is asked by what a table says of the key. A key that the table does not have is
/// absent without a question.
pub(super) struct ByTable {
    table: Table,
    asked: Arc<dyn Lookup>,
    provides: Arc<[(String, Type)]>,
}

impl ByTable {
    pub fn new(config: &EnricherConfig, table: Table, asked: Arc<dyn Lookup>) -> Self {
        Self { table, asked, provides: config.provides.clone().into() }
    }

    /// The row of the table and, where it has one, what to ask by.
    fn found(&self, key: &str) -> (Arc<FactRow>, Option<String>) {
        let row = self.table.row(key);
        let text = |value: &Value<'static>| match value {
            Value::Text(text) => text.to_string(),
            _ => String::new(),
        };
        let parts: Vec<String> = row.values.iter().map(text).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let asked = (row.state == FactState::Known).then(|| joined(&parts));
        (row, asked)
    }

    /// The answer as one of the key that was looked up, which names the table too.
    fn of_key(&self, row: Arc<FactRow>) -> Arc<Merge> {
        let provides = Arc::clone(&self.provides);
        Arc::new(move |answers: &[Arc<FactRow>]| {
            let Some(answer) = answers.first() else { return Arc::clone(&row) };
            let names = (
                Arc::clone(&row.enricher),
                Arc::from(format!("{}+{}", row.source, answer.source)),
                Arc::from(format!("{}+{}", row.version, answer.version)),
            );
            let values = (&*provides, answer.values.clone());
            let (as_of, state) = (answer.as_of, answer.state);
            let told = FactRow::new(names, &row.key, as_of, state, values);
            Arc::new(told.told(answer.cache, answer.detail.as_deref()))
        })
    }
}

impl Lookup for ByTable {
    fn ask(&self, keys: &[&str]) -> Vec<Answer> {
        let found: Vec<_> = keys.iter().map(|key| self.found(key)).collect();
        let asked: Vec<&str> = found.iter().filter_map(|(_, asked)| asked.as_deref()).collect();
        let mut answers =
            if asked.is_empty() { Vec::new() } else { self.asked.ask(&asked) }.into_iter();
        let answer = |(row, asked): (Arc<FactRow>, Option<String>)| {
            match asked.and_then(|_| answers.next()) {
                Some(answer) => Answer::Merged(vec![answer], self.of_key(row)),
                // Absent or contradictory in the table itself.
                None => Answer::Now(row),
            }
        };
        found.into_iter().map(answer).collect()
    }

    fn forget(&self, key: &str) {
        if let (_, Some(asked)) = self.found(key) {
            self.asked.forget(&asked);
        }
    }
}
