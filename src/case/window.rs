use std::fmt;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::fact::is_zero;
use super::{Decimal, Id, Millis, Type, Value, Why};

/// Of a window's definition: equal definitions share what they have counted, a changed one begins
/// anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowId(pub u64);

/// What a window says of the alerts in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WindowValue {
    Count,
    First,
    Last,
    /// By place among the window's `distinct`.
    Distinct(u8),
    /// By place among the window's `then`.
    Then(u8),
    Baseline,
    Rate,
}

impl WindowValue {
    pub fn of(self) -> Type {
        match self {
            Self::Count | Self::Distinct(_) => Type::Int,
            Self::First | Self::Last => Type::Time,
            Self::Then(_) => Type::Bool,
            Self::Baseline | Self::Rate => Type::Decimal,
        }
    }
}

/// How long a window is, in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spans {
    pub within_ms: i64,
    pub lateness_ms: i64,
    /// How many fields it tells values of apart.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub distinct: usize,
    /// Of each of its `then`.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub then_ms: Vec<i64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub baseline_ms: Option<i64>,
}

/// Eight bytes of a value's SHA-256: enough to tell the values in one window apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark(pub u64);

/// What one alert adds to a window, as it stands on its record: the fold needs no policy for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sighting {
    pub window: WindowId,
    /// Of the values of the window's `by`.
    pub key: Id,
    /// Where it is placed.
    pub at: Millis,
    pub received_at: Millis,
    /// Whether the window's `where` holds.
    pub counts: bool,
    /// Whether each of its `then` holds.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub then: Vec<bool>,
    /// Of the values of its `distinct`, where they are there.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub distinct: Vec<Option<Mark>>,
    /// It happened before the window, or too long before it was received: it is not counted.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub late: bool,
    pub spans: Spans,
}

impl Sighting {
    pub fn adds(&self) -> bool {
        self.counts || self.then.contains(&true)
    }
}

/// What a ruling asks of one window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    pub window: WindowId,
    /// Whether a playbook that rules the alert has it.
    pub is_read: bool,
    /// Nothing when one of its keys is missing (INV-11).
    pub sighting: Option<Sighting>,
}

/// What a ruling saw of one window; in the record, so that it can be made again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reading {
    pub window: WindowId,
    /// Nothing when one of its keys is missing: all of its values are absent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub seen: Option<Glimpse>,
}

/// A window of one key at the moment of a ruling, the alert at hand included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Glimpse {
    pub from: Millis,
    pub to: Millis,
    pub count: Count,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub first: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last: Option<Millis>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub distinct: Vec<Count>,
    /// Nothing where what is forgotten could make it true.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub then: Vec<Option<bool>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub baseline: Option<Baseline>,
}

/// INVARIANT (INV-4): where a part was forgotten, or is more than is kept, it is never a smaller
/// number but a lower bound, and what a comparison with it does not settle is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Count {
    Exactly(i64),
    AtLeast { at_least: i64 },
}

/// What was counted in the time in front of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// Nothing when a part of it is forgotten.
    pub events: Option<i64>,
    pub within_ms: i64,
    pub over_ms: i64,
}

impl Count {
    pub fn value(self) -> Value<'static> {
        match self {
            Self::Exactly(count) => Value::Int(count),
            Self::AtLeast { at_least } => Value::AtLeast(at_least),
        }
    }

    pub fn is_exact(self) -> bool {
        matches!(self, Self::Exactly(_))
    }
}

/// For people.
impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(count) => write!(f, "{count}"),
            Self::AtLeast { at_least } => write!(f, "at least {at_least}"),
        }
    }
}

impl Reading {
    pub fn value(&self, of: WindowValue) -> Value<'static> {
        self.seen.as_ref().map_or(Value::Absent, |seen| seen.value(of))
    }
}

const FORGOTTEN: Value<'static> = Value::Unknown(Why::Forgotten);

/// For people: what its values rest on.
impl fmt::Display for Glimpse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "window with {} counted from {} to {}", self.count, self.from, self.to)
    }
}

impl Glimpse {
    /// As if a part of what was in it had been dropped.
    pub fn forget(&mut self, spans: &Spans) {
        for count in self.distinct.iter_mut().chain([&mut self.count]) {
            if let Count::Exactly(at_least) = *count {
                *count = Count::AtLeast { at_least };
            }
        }
        for then in &mut self.then {
            *then = then.filter(|then| *then);
        }
        let within_ms = spans.within_ms;
        let unknown = |over_ms| Baseline { events: None, within_ms, over_ms };
        self.baseline = spans.baseline_ms.map(unknown);
    }

    fn value(&self, of: WindowValue) -> Value<'static> {
        let time = |at: Option<Millis>| at.map(Value::Time);
        let none = || if self.count.is_exact() { Value::Absent } else { FORGOTTEN };
        let place = |place: u8| usize::from(place);
        let unrecorded = Value::Unknown(Why::NotRecorded);
        match of {
            WindowValue::Count => self.count.value(),
            WindowValue::First if self.count.is_exact() => time(self.first).unwrap_or_default(),
            WindowValue::First => FORGOTTEN,
            WindowValue::Last => time(self.last).unwrap_or_else(none),
            WindowValue::Distinct(of) => {
                self.distinct.get(place(of)).map_or(unrecorded, |count| count.value())
            }
            WindowValue::Then(of) => match self.then.get(place(of)) {
                Some(Some(then)) => Value::Bool(*then),
                Some(None) => FORGOTTEN,
                None => unrecorded,
            },
            WindowValue::Baseline => self.baseline.map_or(Value::Absent, Baseline::mean),
            WindowValue::Rate => self.baseline.map_or(Value::Absent, |past| past.rate(self.count)),
        }
    }
}

impl Baseline {
    fn mean(self) -> Value<'static> {
        let Some(events) = self.events else { return FORGOTTEN };
        ratio(i128::from(events) * i128::from(self.within_ms), self.over_ms.into())
    }

    /// Against a time without any, as if there had been one: else whoever was quiet for long could
    /// never stand out.
    fn rate(self, count: Count) -> Value<'static> {
        let (Some(events), Count::Exactly(count)) = (self.events, count) else { return FORGOTTEN };
        let mean = i128::from(events.max(1)) * i128::from(self.within_ms);
        ratio(i128::from(count) * i128::from(self.over_ms), mean)
    }
}

/// To three digits behind the point.
fn ratio(of: i128, by: i128) -> Value<'static> {
    let thousandths = of.saturating_mul(1000).checked_div(by).and_then(|n| i64::try_from(n).ok());
    thousandths.and_then(Decimal::thousandths).map_or(FORGOTTEN, Value::Decimal)
}

fn write<S: Serializer>(bits: u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{bits:016x}"))
}

fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
    let bits = u64::from_str_radix(&text, 16).ok().filter(|_| text.len() == 16);
    bits.ok_or_else(|| D::Error::custom("not 16 hexadecimal digits"))
}

impl fmt::Display for WindowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for WindowId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        write(self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for WindowId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer).map(Self)
    }
}

impl Serialize for Mark {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        write(self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Mark {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glimpse(count: Count, events: Option<i64>) -> Glimpse {
        Glimpse {
            from: Millis(0),
            to: Millis(900_000),
            count,
            first: Some(Millis(1)),
            last: Some(Millis(2)),
            distinct: vec![Count::AtLeast { at_least: 64 }, Count::Exactly(0)],
            then: vec![Some(false), None],
            baseline: Some(Baseline { events, within_ms: 900_000, over_ms: 604_800_000 }),
        }
    }

    #[test]
    fn a_reading_reads_back_as_it_was_written() {
        let whole = Some(glimpse(Count::Exactly(3), Some(100)));
        let short = Some(glimpse(Count::AtLeast { at_least: 3 }, None));
        for seen in [None, whole, short] {
            let reading = Reading { window: WindowId(0x00ab), seen };
            let text = serde_json::to_string(&reading).unwrap();
            assert_eq!(serde_json::from_str::<Reading>(&text).unwrap(), reading, "{text}");
        }
    }

    #[test]
    fn what_is_forgotten_is_never_a_smaller_number() {
        let decimal = |text| Value::Decimal(Decimal::parse(text).unwrap());
        let whole = glimpse(Count::Exactly(3), Some(100));
        assert_eq!(whole.value(WindowValue::Baseline), decimal("0.148"));
        assert_eq!(whole.value(WindowValue::Rate), decimal("20.16"));
        assert_eq!(glimpse(Count::Exactly(3), Some(0)).value(WindowValue::Rate), decimal("2016"));
        let short = glimpse(Count::AtLeast { at_least: 3 }, None);
        assert_eq!(short.value(WindowValue::Count), Value::AtLeast(3));
        assert_eq!(short.value(WindowValue::Last), Value::Time(Millis(2)));
        let unknown = [WindowValue::First, WindowValue::Baseline, WindowValue::Rate];
        for of in unknown.into_iter().chain([WindowValue::Then(1)]) {
            assert_eq!(short.value(of), FORGOTTEN, "{of:?}");
        }
        assert_eq!(short.value(WindowValue::Distinct(0)), Value::AtLeast(64));
        assert_eq!(short.value(WindowValue::Distinct(1)), Value::Int(0));
    }
}
