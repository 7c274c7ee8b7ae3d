use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use super::{Id, Millis, Type, Value, Why};

/// What one lookup gives: known with its values, absent, or unknown with the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FactState {
    Known,
    Absent,
    Unknown(Why),
}

impl FactState {
    pub fn code(self) -> &'static str {
        match self {
            Self::Known => "known",
            Self::Absent => "absent",
            Self::Unknown(_) => "unknown",
        }
    }
}

/// The answer of one enricher for one key, shared by every alert with that key.
#[derive(Debug, Clone)]
pub struct FactRow {
    pub enricher: Arc<str>,
    /// For people: `table:owners.csv`.
    pub source: Arc<str>,
    /// Of what `source` held when it was read.
    pub version: Arc<str>,
    pub key: Box<str>,
    /// When the source last knew this to be so. Unknown facts have none.
    pub as_of: Option<Millis>,
    pub state: FactState,
    /// In the order of the enricher's `provides`; empty unless known.
    pub values: Vec<Value<'static>>,
    json: Box<RawValue>,
}

/// What an enricher is called and which typed fields it gives, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnricherShape {
    pub name: Arc<str>,
    pub provides: Vec<(String, Type)>,
}

/// How often this was seen before, as the chain's state counts it; in the record, so that replay
/// has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Of the first alert of the episode.
    pub case_id: Id,
    /// Of the playbook's `group.by` values; nothing when one of them is missing (INV-11).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub group: Option<Id>,
    /// Alerts of this group in this episode, this one included.
    pub seen: i64,
    pub first_seen: Millis,
    /// The episode ends when this long passes without an alert.
    pub window_ms: i64,
}

/// One row for each enricher of the policy, by its index; nothing where the playbook asks for none.
pub type Facts = [Option<Arc<FactRow>>];

impl FactRow {
    /// `provides` gives the names of the values in order.
    pub fn new(
        (enricher, source, version): (Arc<str>, Arc<str>, Arc<str>),
        key: &str,
        as_of: Option<Millis>,
        state: FactState,
        (provides, values): (&[(String, Type)], Vec<Value<'static>>),
    ) -> Self {
        let body = RowJson {
            enricher: &enricher,
            source: &source,
            version: &version,
            key,
            as_of,
            state,
            provides,
            values: &values,
        };
        let json = serde_json::value::to_raw_value(&body).unwrap_or_default();
        Self { enricher, source, version, key: key.into(), as_of, state, values, json }
    }

    /// The row as it stands in records.
    pub fn json(&self) -> &RawValue {
        &self.json
    }
}

/// Written once when the row is made:
/// `{"enricher","source","version","key","as_of","state","values"}`.
struct RowJson<'r> {
    enricher: &'r str,
    source: &'r str,
    version: &'r str,
    key: &'r str,
    as_of: Option<Millis>,
    state: FactState,
    provides: &'r [(String, Type)],
    values: &'r [Value<'static>],
}

impl Serialize for RowJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("enricher", self.enricher)?;
        map.serialize_entry("source", self.source)?;
        map.serialize_entry("version", self.version)?;
        map.serialize_entry("key", self.key)?;
        if let Some(as_of) = self.as_of {
            map.serialize_entry("as_of", &as_of)?;
        }
        map.serialize_entry("state", self.state.code())?;
        if let FactState::Unknown(why) = self.state {
            map.serialize_entry("why", why.code())?;
        }
        if self.state == FactState::Known {
            map.serialize_entry("values", &Named(self.provides, self.values))?;
        }
        map.end()
    }
}

struct Named<'r>(&'r [(String, Type)], &'r [Value<'static>]);

impl Serialize for Named<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let named = self.0.iter().zip(self.1).filter(|(_, value)| **value != Value::Absent);
        serializer.collect_map(named.map(|((name, _), value)| (name, value)))
    }
}

impl Serialize for FactRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json.serialize(serializer)
    }
}
