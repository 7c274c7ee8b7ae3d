use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::key::JOINT;
use super::rows::{Row, each_row};
use super::{Answer, Lookup};
use crate::case::{FactRow, FactState, Millis, Type, Value, Why, hex};
use crate::config::{EnricherConfig, Files, TableSource};
use crate::text::{Problems, Source};

/// A table in memory, its rows ready made.
pub struct Table {
    rows: HashMap<Box<str>, Arc<FactRow>>,
    names: Names,
    provides: Vec<(String, Type)>,
    /// Of the newest row: that late the table was known not to hold a key.
    newest: Millis,
}

/// Enricher, source and version, as every row carries them.
type Names = (Arc<str>, Arc<str>, Arc<str>);

const ROWS_MAX: usize = 1_000_000;

impl Table {
    /// `now` is when the rows were known to be so, where neither a column nor the file says.
    ///
    /// Errors: adds each cell that does not fit, up to a limit, and returns nothing.
    pub fn read(
        config: &EnricherConfig,
        table: &TableSource,
        files: &Files,
        now: Millis,
        problems: &mut Problems,
    ) -> Option<Self> {
        let Some(file) = files.get(&table.file) else {
            problems.add(&table.at, format!("there is no file `{}`", table.file));
            return None;
        };
        let before = problems.len();
        let names = names(config, table, &file.source);
        let mut loading = Loading {
            config,
            table,
            read_at: file.modified.unwrap_or(now),
            rows: HashMap::new(),
            names,
            newest: None,
        };
        let columns = table.key.iter().chain(&table.columns).chain(&table.as_of);
        let columns: Vec<&str> = columns.map(String::as_str).collect();
        let is_list = |column: usize| {
            let value = column.checked_sub(table.key.len());
            let of = value.and_then(|value| config.provides.get(value));
            matches!(of, Some((_, Type::List)))
        };
        each_row(&file.source, table.format, &columns, &is_list, problems, &mut |row, problems| {
            loading.take(row, problems);
            let is_too_long = loading.rows.len() > ROWS_MAX;
            if is_too_long {
                problems.add(&row.at(None), format!("the table has more than {ROWS_MAX} keys"));
            }
            !is_too_long
        });
        (problems.len() == before).then(|| Self {
            rows: loading.rows,
            names: loading.names,
            provides: config.provides.clone(),
            newest: loading.newest.unwrap_or(loading.read_at),
        })
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl Lookup for Table {
    fn ask(&self, keys: &[&str]) -> Vec<Answer> {
        let found = keys.iter().map(|key| {
            let row = self.rows.get(*key).cloned().unwrap_or_else(|| {
                let nothing = (self.provides.as_slice(), Vec::new());
                let names = self.names.clone();
                Arc::new(FactRow::new(names, key, Some(self.newest), FactState::Absent, nothing))
            });
            Answer::Now(row)
        });
        found.collect()
    }
}

fn names(config: &EnricherConfig, table: &TableSource, source: &Source) -> Names {
    let version = hex(&Sha256::digest(&source.text)).chars().take(16).collect::<String>();
    let file = table.file.rsplit('/').next().unwrap_or_default();
    (config.name.clone(), format!("table:{file}").into(), version.into())
}

struct Loading<'l> {
    config: &'l EnricherConfig,
    table: &'l TableSource,
    read_at: Millis,
    rows: HashMap<Box<str>, Arc<FactRow>>,
    names: Names,
    newest: Option<Millis>,
}

impl Loading<'_> {
    fn take(&mut self, row: &Row<'_>, problems: &mut Problems) {
        let key = self.key(row, problems);
        let values = self.values(row, problems);
        let as_of = self.as_of(row, problems);
        let (Some(key), Some(values), Some(as_of)) = (key, values, as_of) else { return };
        self.newest = self.newest.max(Some(as_of));
        match self.rows.entry(key) {
            Entry::Vacant(place) => {
                let new = known(&self.names, place.key(), as_of, self.config, values);
                place.insert(new);
            }
            Entry::Occupied(mut place) => {
                let old = place.get();
                if old.state == FactState::Known && old.values == values {
                    if old.as_of < Some(as_of) {
                        let new = known(&self.names, place.key(), as_of, self.config, values);
                        place.insert(new);
                    }
                    return;
                }
                // Which of two answers is right cannot be told, so neither is given.
                let state = FactState::Unknown(Why::Conflict);
                let nothing = (self.config.provides.as_slice(), Vec::new());
                let new = FactRow::new(self.names.clone(), place.key(), None, state, nothing);
                place.insert(Arc::new(new));
            }
        }
    }

    fn key(&self, row: &Row<'_>, problems: &mut Problems) -> Option<Box<str>> {
        let mut key = String::new();
        let parts = self.table.key.len();
        for (index, cell) in row.cells.iter().take(parts).enumerate() {
            let column = self.table.key.get(index).map_or("", String::as_str);
            let Some(text) = cell else {
                problems
                    .add(&row.at(Some(index)), format!("the row has no key: `{column}` is empty"));
                return None;
            };
            if parts > 1 && text.contains(JOINT) {
                problems.add(&row.at(Some(index)), "a key cannot hold the character U+001F");
                return None;
            }
            if index > 0 {
                key.push(JOINT);
            }
            key.push_str(text);
        }
        Some(key.into())
    }

    fn values(&self, row: &Row<'_>, problems: &mut Problems) -> Option<Vec<Value<'static>>> {
        let first = self.table.key.len();
        let mut values = Vec::with_capacity(self.config.provides.len());
        let mut fits = true;
        for (index, (name, of)) in self.config.provides.iter().enumerate() {
            let cell = row.cells.get(first + index).and_then(Option::as_deref);
            let value = cell.map_or(Some(Value::Absent), |text| Value::read(*of, text));
            match value {
                Some(value) => values.push(value.into_owned()),
                None => {
                    problems.add(&row.at(Some(first + index)), mistake(name, *of));
                    fits = false;
                }
            }
        }
        fits.then_some(values)
    }

    fn as_of(&self, row: &Row<'_>, problems: &mut Problems) -> Option<Millis> {
        if self.table.as_of.is_none() {
            return Some(self.read_at);
        }
        let index = row.cells.len().saturating_sub(1);
        // A row that does not say is as old as its file.
        let Some(text) = row.cells.get(index).and_then(Option::as_deref) else {
            return Some(self.read_at);
        };
        let time = Millis::parse(text);
        if time.is_none() {
            problems.add(&row.at(Some(index)), mistake("as_of", Type::Time));
        }
        time
    }
}

/// The cell is not quoted: it may be in the wrong column because a secret is.
pub(super) fn mistake(name: &str, of: Type) -> String {
    format!("`{name}` must be {}", of.about())
}

fn known(
    names: &Names,
    key: &str,
    as_of: Millis,
    config: &EnricherConfig,
    values: Vec<Value<'static>>,
) -> Arc<FactRow> {
    let values = (config.provides.as_slice(), values);
    Arc::new(FactRow::new(names.clone(), key, Some(as_of), FactState::Known, values))
}
