use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use super::{Count, Field, Id, Millis, Reading, Type, Value, Why};

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

/// Where an answer of a system that is asked over the network comes from. Tables have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheState {
    /// Asked for this very batch.
    Fetched,
    /// Within its lifetime.
    Hit,
    /// Past its lifetime, and asked again meanwhile.
    Stale,
}

impl CacheState {
    pub fn code(self) -> &'static str {
        match self {
            Self::Fetched => "fetched",
            Self::Hit => "hit",
            Self::Stale => "stale",
        }
    }

    /// For people, behind an age.
    pub fn about(self) -> &'static str {
        match self {
            Self::Fetched => ", asked for this",
            Self::Hit => ", from the cache",
            Self::Stale => ", from the cache past its lifetime, asked for again",
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
    /// In the order of the enricher's `provides`; empty unless known. A field may be unknown by
    /// itself: where sources contradict each other in it alone.
    pub values: Vec<Value<'static>>,
    pub cache: Option<CacheState>,
    /// For people: why it is unknown, which values contradict, what was filled in by whom.
    pub detail: Option<Box<str>>,
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
    /// The same with the credential's fingerprint in place of its id, where the alert has both.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub also: Option<Id>,
    /// Alerts of this case, this one included.
    pub seen: i64,
    pub first_seen: Millis,
    /// Some that belong to it may be gone: there were at least so many, and the first may be older.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub is_partial: bool,
    /// The episode ends when this long passes without an alert.
    pub window_ms: i64,
    /// Alerts of the same detector that playbooks suppressed in this hour, before this one.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub suppressed: i64,
    /// How far the case has spread, where its playbook says how far it may.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub breadth: Option<Breadth>,
    /// Everything automatic was stopped when it was ruled.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stopped: Option<Box<Stopped>>,
    /// What the ruling's playbooks see of their windows.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub windows: Vec<Reading>,
}

impl Counters {
    /// Of an alert that is counted with no other, and that nothing is known of.
    pub fn alone(case_id: Id, at: Millis) -> Self {
        Self {
            case_id,
            group: None,
            also: None,
            seen: 1,
            first_seen: at,
            is_partial: false,
            window_ms: 0,
            suppressed: 0,
            breadth: None,
            stopped: None,
            windows: Vec::new(),
        }
    }
}

/// Why nothing automatic is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stopped {
    pub since: Millis,
    /// Who ordered it; nobody where what was ordered is not known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub by: Option<String>,
    /// The order's id.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub order: Option<String>,
    pub why: String,
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { since, by, why, .. } = self;
        match by {
            Some(by) => write!(f, "{by} stopped everything automatic at {since}: {why}"),
            None => write!(f, "everything automatic is stopped since {since}: {why}"),
        }
    }
}

/// Different values of a field in one case, the alert's own included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Breadth {
    /// The field's path.
    pub distinct: Box<str>,
    pub count: Count,
}

/// For serde, which passes a reference.
pub(crate) fn is_zero<T: Default + PartialEq>(count: &T) -> bool {
    *count == T::default()
}

/// What an alert is grouped by: the case that has one of its keys is its case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grouping {
    pub id: Id,
    pub also: Option<Id>,
    pub window_ms: i64,
    pub break_out: Option<BreakOut>,
}

/// When a case has spread so far that people look at it again, whatever they have of it, and that
/// nothing more of it is suppressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakOut {
    pub distinct: Field,
    pub over: u32,
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
        let (cache, detail) = (None, None);
        Self {
            enricher,
            source,
            version,
            key: key.into(),
            as_of,
            state,
            values,
            cache,
            detail,
            json,
        }
    }

    /// The same answer, with how it was come by. For a row that says nothing of it yet.
    #[must_use]
    pub fn told(mut self, cache: Option<CacheState>, detail: Option<&str>) -> Self {
        debug_assert!(self.cache.is_none() && self.detail.is_none(), "told twice");
        let mut text = self.json.get().to_owned();
        text.pop();
        if let Some(cache) = cache {
            text.push_str(&format!(",\"cache\":\"{}\"", cache.code()));
        }
        if let Some(detail) = detail {
            text.push_str(",\"detail\":");
            text.push_str(&serde_json::to_string(detail).unwrap_or_default());
        }
        text.push('}');
        self.json = RawValue::from_string(text).unwrap_or(self.json);
        self.cache = cache;
        self.detail = detail.map(Into::into);
        self
    }

    /// Reads a row back as it stands in records, so that a ruling can be made again from its record
    /// alone (INV-7).
    ///
    /// Errors: nothing when it is no row of an enricher that gives these fields.
    pub fn read(json: &RawValue, shape: &EnricherShape) -> Option<Self> {
        let read: ReadRow<'_> = serde_json::from_str(json.get()).ok()?;
        let state = match (&*read.state, read.why) {
            ("known", None) => FactState::Known,
            ("absent", None) => FactState::Absent,
            ("unknown", Some(why)) => FactState::Unknown(why),
            _ => return None,
        };
        let is_ours = |name: &Cow<'_, str>| shape.provides.iter().any(|(given, _)| given == name);
        if *read.enricher != *shape.name || !read.values.keys().all(is_ours) {
            return None;
        }
        let value = |(name, of): &(String, Type)| match read.values.get(name.as_str()) {
            None => Some(Value::Absent),
            Some(raw) => read_value(*of, raw.get()),
        };
        let values = match state {
            FactState::Known => shape.provides.iter().map(value).collect::<Option<Vec<_>>>()?,
            _ => Vec::new(),
        };
        let names = (shape.name.clone(), Arc::from(&*read.source), Arc::from(&*read.version));
        let row = Self::new(names, &read.key, read.as_of, state, (&shape.provides, values));
        Some(match (read.cache, read.detail) {
            (None, None) => row,
            (cache, detail) => row.told(cache, detail.as_deref()),
        })
    }

    /// A fact from the future is as doubtful as an old one; one without a time is never fresh.
    pub fn is_fresh(&self, now: Millis, max_age_ms: i64) -> bool {
        let max_age_ms = u64::try_from(max_age_ms).ok();
        self.as_of.zip(max_age_ms).is_some_and(|(as_of, max)| now.0.abs_diff(as_of.0) <= max)
    }

    /// The row as it stands in records.
    pub fn json(&self) -> &RawValue {
        &self.json
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadUnknown {
    unknown: Why,
}

/// Flags and numbers stand bare, everything else in quotes; a field that is unknown by itself is
/// an object.
fn read_value(of: Type, json: &str) -> Option<Value<'static>> {
    if json.starts_with('{') {
        let read: ReadUnknown = serde_json::from_str(json).ok()?;
        return Some(Value::Unknown(read.unknown));
    }
    match of {
        Type::Bool | Type::Int => Value::read(of, json).map(Value::into_owned),
        Type::List => json.starts_with('[').then(|| Value::read(of, json))?.map(Value::into_owned),
        Type::Decimal | Type::Time | Type::Duration | Type::Text => {
            let text: String = serde_json::from_str(json).ok()?;
            Value::read(of, &text).map(Value::into_owned)
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadRow<'r> {
    #[serde(borrow)]
    enricher: Cow<'r, str>,
    #[serde(borrow)]
    source: Cow<'r, str>,
    #[serde(borrow)]
    version: Cow<'r, str>,
    #[serde(borrow)]
    key: Cow<'r, str>,
    #[serde(default)]
    as_of: Option<Millis>,
    #[serde(borrow)]
    state: Cow<'r, str>,
    #[serde(default)]
    why: Option<Why>,
    #[serde(borrow, default)]
    values: BTreeMap<Cow<'r, str>, &'r RawValue>,
    #[serde(default)]
    cache: Option<CacheState>,
    #[serde(borrow, default)]
    detail: Option<Cow<'r, str>>,
}

/// Written once when the row is made:
/// `{"enricher","source","version","key","as_of","state","why","values"}`, and after them `cache`
/// and `detail` where [`FactRow::told`] adds them.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> EnricherShape {
        let provides = [
            ("flag", Type::Bool),
            ("count", Type::Int),
            ("since", Type::Time),
            ("every", Type::Duration),
            ("text", Type::Text),
            ("score", Type::Decimal),
            ("roles", Type::List),
        ];
        let provides = provides.map(|(name, of)| (name.to_owned(), of)).to_vec();
        EnricherShape { name: "e".into(), provides }
    }

    fn row(state: FactState, values: Vec<Value<'static>>) -> FactRow {
        let (names, as_of) = (("e".into(), "table:\"e\"".into(), "1".into()), Some(Millis(5)));
        FactRow::new(names, "k\u{e9}\n", as_of, state, (&shape().provides, values))
    }

    #[test]
    fn a_row_reads_back_as_it_was_written() {
        let all = vec![
            Value::Bool(false),
            Value::Int(i64::MIN),
            Value::Time(Millis(1)),
            Value::Duration(90_000),
            Value::Text("a\"b\\u00e9".into()),
            Value::Decimal(crate::case::Decimal::parse("-7.250").unwrap()),
            Value::List(vec!["a;\"b".into(), "".into()].into()),
        ];
        let none = vec![Value::Absent; 7];
        let mut some = all.clone();
        some[0] = Value::Unknown(Why::Conflict);
        some[4] = Value::Unknown(Why::Timeout);
        for written in [
            row(FactState::Known, all),
            row(FactState::Known, some),
            row(FactState::Known, none),
            row(FactState::Absent, Vec::new()),
            row(FactState::Unknown(Why::NoKey), Vec::new()),
            row(FactState::Absent, Vec::new()).told(Some(CacheState::Hit), None),
            row(FactState::Unknown(Why::Error), Vec::new())
                .told(Some(CacheState::Fetched), Some("\"503\" {} \u{1}")),
        ] {
            let read = FactRow::read(written.json(), &shape()).expect("a row");
            assert_eq!(read.json().get(), written.json().get());
            assert_eq!((&read.values, read.state), (&written.values, written.state));
            assert_eq!((read.as_of, &read.key), (written.as_of, &written.key));
            assert_eq!((read.cache, &read.detail), (written.cache, &written.detail));
        }
    }

    #[test]
    fn what_is_no_row_of_the_enricher_is_nothing() {
        let sound = row(FactState::Known, vec![Value::Bool(true)]).json().get().to_owned();
        let is_read = |text: String| {
            FactRow::read(&RawValue::from_string(text).expect("JSON"), &shape()).is_some()
        };
        assert!(is_read(sound.clone()));
        for (from, to) in [
            ("\"e\"", "\"f\""),
            ("\"known\"", "\"unknown\""),
            ("\"known\"", "\"maybe\""),
            ("\"flag\":true", "\"flag\":1"),
            ("\"flag\":true", "\"flag\":{\"unknown\":\"maybe\"}"),
            ("\"flag\"", "\"other\""),
            ("\"key\"", "\"keys\""),
        ] {
            let wrong = sound.replacen(from, to, 1);
            assert_ne!(wrong, sound);
            assert!(!is_read(wrong), "{from} as {to}");
        }
    }
}
