//! A compacted topic held in memory. Whoever reads it hands over each record; nothing here knows
//! Kafka.
//!
//! What must stay true: a key is never absent because of a record that was not understood, and
//! nothing is said before the topic was read to its end once.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use sha2::{Digest, Sha256};

use super::answer::Changes;
use super::key::JOINT;
use super::rows::{Members, filled, json_cell, members};
use super::table::mistake;
use super::{Answer, Lookup};
use crate::case::{FactRow, FactState, Millis, Type, Value, Why, hex};
use crate::config::{EnricherConfig, TopicKey, TopicSource};

/// A topic as a table.
pub struct TopicTable {
    enricher: Arc<str>,
    /// Of the configuration that it is read by.
    digest: Arc<str>,
    source: TopicSource,
    provides: Vec<(String, Type)>,
    held: RwLock<Held>,
    changes: Changes,
}

/// One record of the topic.
#[derive(Debug, Clone, Copy)]
pub struct Update<'u> {
    pub partition: i32,
    pub offset: i64,
    pub timestamp_ms: i64,
    pub key: Option<&'u [u8]>,
    /// Nothing deletes what the key had.
    pub value: Option<&'u [u8]>,
}

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    Read,
    Deleted,
    /// Where it is and why it does not fit; what it is about is unknown from now on.
    Refused(String),
}

#[derive(Default)]
struct Held {
    /// Of the topic; another one after it was deleted and made again.
    incarnation: String,
    /// Why nothing can be said yet; nothing once it was read to its end.
    unread: Option<String>,
    /// Of all that was read, as a short hash.
    version: Arc<str>,
    /// That late it was known to hold nothing else.
    at_end: Option<Millis>,
    /// What the record of each key is about.
    records: HashMap<Arc<[u8]>, Arc<str>>,
    /// More than one where records of several keys are about the same.
    rows: HashMap<Arc<str>, Vec<KeyedRow>>,
    /// Records of which it cannot be told what they are about: it may be any key.
    lost: HashMap<Arc<[u8]>, String>,
    /// Why not all can be held, if so.
    overflow: Option<String>,
}

/// The record's key and what it says.
type KeyedRow = (Arc<[u8]>, Arc<FactRow>);
/// What a record says, and since when.
type Said = (Vec<Value<'static>>, Millis);

const RECORDS_MAX: usize = 1_000_000;
const NOT_READ: &str = "it is read by `tipstaff run` alone";

impl TopicTable {
    pub fn new(config: &EnricherConfig, source: &TopicSource, changes: &Changes) -> Self {
        let held = Held { unread: Some(NOT_READ.to_owned()), ..Held::default() };
        Self {
            enricher: config.name.clone(),
            digest: config.digest.clone(),
            source: source.clone(),
            provides: config.provides.clone(),
            held: RwLock::new(held),
            changes: changes.clone(),
        }
    }

    pub fn is_of(&self, config: &EnricherConfig) -> bool {
        (&self.enricher, &self.digest) == (&config.name, &config.digest)
    }

    pub fn enricher(&self) -> &str {
        &self.enricher
    }

    pub fn topic(&self) -> &str {
        &self.source.name
    }

    pub fn len(&self) -> usize {
        self.read().rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.read().rows.is_empty()
    }

    fn read(&self) -> RwLockReadGuard<'_, Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Held> {
        self.held.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets everything: the topic is read from its beginning.
    pub fn begin(&self, incarnation: &str) {
        let unread = Some("it is being read".to_owned());
        let incarnation = incarnation.chars().take(8).collect();
        *self.write() = Held { incarnation, unread, ..Held::default() };
    }

    /// Says why the topic could not be read. What was read to its end once stays and grows old.
    pub fn failed(&self, why: &str) {
        let mut held = self.write();
        if held.unread.is_some() {
            held.unread = Some(why.to_owned());
        }
    }

    /// Everything up to these offsets, which were the end at `now`, was handed over.
    pub fn at_end(&self, now: Millis, next: &[i64]) {
        let mut held = self.write();
        let mut hash = Sha256::new();
        hash.update(&held.incarnation);
        next.iter().for_each(|offset| hash.update(offset.to_be_bytes()));
        held.version = hex(&hash.finalize()).chars().take(16).collect::<String>().into();
        held.at_end = Some(now);
        if held.unread.take().is_some() {
            drop(held);
            self.changes.tell();
        }
    }

    /// `now` bounds the record's time, which its producer chose.
    pub fn apply(&self, update: &Update<'_>, now: Millis) -> Applied {
        let place = format!("{}/{}@{}", self.source.name, update.partition, update.offset);
        // A record without a key is never replaced, so it is one of its own.
        let record: Arc<[u8]> = update.key.unwrap_or(place.as_bytes()).into();
        let mut held = self.write();
        let is_ready = held.unread.is_none();
        let before = held.remove(&record);
        let applied = match update.value {
            None => Applied::Deleted,
            Some(value) => {
                let about = self.about(update.key, value);
                let said = about.as_ref().map_err(Clone::clone);
                let said = said.and_then(|_| self.said(update.timestamp_ms, value, now));
                let refused = said.as_ref().err().map(|why| format!("{place}: {why}"));
                let version =
                    format!("{}/{}@{}", held.incarnation, update.partition, update.offset);
                if about.is_err() {
                    held.lost.insert(record.clone(), refused.clone().unwrap_or_default());
                }
                if let Some(key) = about.ok().or(before) {
                    let row = self.row(&key, version, said.ok(), refused.as_deref());
                    held.insert(&record, key, row, &place);
                }
                refused.map_or(Applied::Read, Applied::Refused)
            }
        };
        drop(held);
        if is_ready {
            self.changes.tell();
        }
        applied
    }

    /// Errors: why it cannot be told.
    fn about(&self, key: Option<&[u8]>, value: &[u8]) -> Result<Arc<str>, String> {
        let fields = match &self.source.key {
            TopicKey::Record => {
                let key = key.and_then(|key| std::str::from_utf8(key).ok());
                let key = key.filter(|key| !key.is_empty());
                return key
                    .map(Arc::from)
                    .ok_or_else(|| "the record has no key in text".to_owned());
            }
            TopicKey::Fields(fields) => fields,
        };
        let members = members(value).ok_or(NO_OBJECT)?;
        let mut joined = String::new();
        for (index, field) in fields.iter().enumerate() {
            let cell = cell(&members, field, false)?.filter(|text| !text.contains(JOINT));
            let text = cell.ok_or_else(|| format!("`{field}` is missing, which is its key"))?;
            if index > 0 {
                joined.push(JOINT);
            }
            joined.push_str(&text);
        }
        Ok(joined.into())
    }

    /// Errors: what does not fit, without its text.
    fn said(&self, timestamp_ms: i64, value: &[u8], now: Millis) -> Result<Said, String> {
        let members = members(value).ok_or(NO_OBJECT)?;
        let mut values = Vec::with_capacity(self.provides.len());
        for ((name, of), field) in self.provides.iter().zip(&self.source.columns) {
            let value = match cell(&members, field, *of == Type::List)? {
                None => Value::Absent,
                Some(text) => {
                    Value::read(*of, &text).ok_or_else(|| mistake(name, *of))?.into_owned()
                }
            };
            values.push(value);
        }
        let as_of = match &self.source.as_of {
            Some(field) => cell(&members, field, false)?,
            None => None,
        };
        let as_of = match as_of {
            Some(text) => Millis::parse(&text).ok_or_else(|| mistake("as_of", Type::Time))?,
            None => Millis(timestamp_ms).min(now),
        };
        Ok((values, as_of))
    }

    fn row(&self, key: &str, version: String, said: Option<Said>, told: Option<&str>) -> FactRow {
        let names = self.names(version.into());
        let (state, values, as_of) = match said {
            Some((values, as_of)) => (FactState::Known, values, Some(as_of)),
            None => (FactState::Unknown(Why::Error), Vec::new(), None),
        };
        FactRow::new(names, key, as_of, state, (&self.provides, values)).told(None, told)
    }

    fn names(&self, version: Arc<str>) -> (Arc<str>, Arc<str>, Arc<str>) {
        (self.enricher.clone(), format!("topic:{}", self.source.name).into(), version)
    }

    fn unknown(&self, held: &Held, key: &str, why: Why, told: &str) -> Arc<FactRow> {
        let names = self.names(held.version.clone());
        let row = FactRow::new(names, key, None, FactState::Unknown(why), (&self.provides, vec![]));
        Arc::new(row.told(None, Some(told)))
    }

    fn answer(&self, held: &Held, key: &str) -> Arc<FactRow> {
        let rows = held.rows.get(key).map_or(&[][..], Vec::as_slice);
        if let Some(why) = &held.unread {
            let told = format!("topic {} was not read to its end: {why}", self.source.name);
            return self.unknown(held, key, Why::Error, &told);
        }
        match rows {
            [] => {
                if let Some(lost) = held.overflow.as_ref().or_else(|| held.lost.values().next()) {
                    let told = format!("it may be in a record that cannot be read: {lost}");
                    return self.unknown(held, key, Why::Error, &told);
                }
                let names = self.names(held.version.clone());
                let nothing = (self.provides.as_slice(), Vec::new());
                Arc::new(FactRow::new(names, key, held.at_end, FactState::Absent, nothing))
            }
            [(_, row)] => Arc::clone(row),
            [(_, first), others @ ..] => {
                let all = || rows.iter().map(|(_, row)| row);
                if let Some(unknown) = all().find(|row| row.state != FactState::Known) {
                    return Arc::clone(unknown);
                }
                if others.iter().all(|(_, row)| row.values == first.values) {
                    let newest = all().max_by_key(|row| row.as_of);
                    return Arc::clone(newest.unwrap_or(first));
                }
                let places: Vec<&str> = all().map(|row| &*row.version).collect();
                let told = format!("its records contradict each other: {}", places.join(", "));
                self.unknown(held, key, Why::Conflict, &told)
            }
        }
    }
}

const NO_OBJECT: &str = "the value is no JSON object";

/// Nothing where it is missing, null or empty.
fn cell<'m>(
    members: &'m Members<'_>,
    field: &str,
    is_list: bool,
) -> Result<Option<Cow<'m, str>>, String> {
    let Some(raw) = members.get(field) else { return Ok(None) };
    let text = json_cell(raw, is_list).ok_or_else(|| format!("`{field}` must be one value"))?;
    Ok(filled(text))
}

impl Held {
    /// Takes back what a record said, and gives what it was about.
    fn remove(&mut self, record: &[u8]) -> Option<Arc<str>> {
        self.lost.remove(record);
        let about = self.records.remove(record)?;
        if let Some(rows) = self.rows.get_mut(&about) {
            rows.retain(|(each, _)| **each != *record);
            if rows.is_empty() {
                self.rows.remove(&about);
            }
        }
        Some(about)
    }

    fn insert(&mut self, record: &Arc<[u8]>, about: Arc<str>, row: FactRow, place: &str) {
        if self.records.len() >= RECORDS_MAX {
            self.overflow = Some(format!("{place}: the topic has more than {RECORDS_MAX} keys"));
            return;
        }
        self.records.insert(Arc::clone(record), Arc::clone(&about));
        self.rows.entry(about).or_default().push((Arc::clone(record), Arc::new(row)));
    }
}

impl Lookup for TopicTable {
    fn ask(&self, keys: &[&str]) -> Vec<Answer> {
        let held = self.read();
        keys.iter().map(|key| Answer::Now(self.answer(&held, key))).collect()
    }
}
