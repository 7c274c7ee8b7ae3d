use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use super::field::GROUPS;
use super::time::Text;
use super::{Field, Id, Origin, Reason, Type, Value};

/// One normalized event: a slot for each [`Field`], absent where the detector said nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert<'a> {
    slots: [Value<'a>; Field::COUNT],
}

impl Default for Alert<'_> {
    fn default() -> Self {
        Self { slots: std::array::from_fn(|_| Value::Absent) }
    }
}

impl<'a> Alert<'a> {
    pub fn get(&self, field: Field) -> &Value<'a> {
        self.slots.get(field.index()).unwrap_or(&Value::Absent)
    }

    pub fn text(&self, field: Field) -> Option<&str> {
        self.get(field).text()
    }

    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.slots.iter().filter_map(Value::text)
    }

    pub fn set(&mut self, field: Field, value: Value<'a>) {
        if let Some(slot) = self.slots.get_mut(field.index()) {
            *slot = value;
        }
    }

    pub fn into_owned(self) -> Alert<'static> {
        Alert { slots: self.slots.map(Value::into_owned) }
    }
}

/// What intake hands to triage: one place in a detector's topic and what could be made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival<'a> {
    pub alert_id: Id,
    /// The sender's trace id; else the id of the first alert of its message.
    pub correlation_id: Cow<'a, str>,
    pub origin: Origin<'a>,
    /// Name of the pipeline file that mapped it; empty when none could be chosen.
    pub pipeline: Cow<'a, str>,
    pub body: Body<'a>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body<'a> {
    Alert(Box<Alert<'a>>),
    Unreadable(Unreadable<'a>),
}

/// A message no alert could be made of. Holds no payload (INV-6): size, keyed hash and position
/// only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreadable<'a> {
    pub reason: Reason,
    /// In fixed words of ours; never a parser's message, which may quote the payload.
    #[serde(borrow)]
    pub detail: Cow<'a, str>,
    pub size: u64,
    /// Keyed hash of the message.
    #[serde(borrow)]
    pub fingerprint: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub line: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub column: Option<u32>,
}

impl<'a> Body<'a> {
    pub fn alert(&self) -> Option<&Alert<'a>> {
        match self {
            Self::Alert(alert) => Some(alert),
            Self::Unreadable(_) => None,
        }
    }
}

impl<'a> Arrival<'a> {
    /// A line of the alerts topic. Nothing when it is none of this version.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        // Whether it is UTF-8 is seen once, and not for each text in it.
        serde_json::from_str(std::str::from_utf8(line).ok()?).ok()
    }

    pub fn into_owned(self) -> Arrival<'static> {
        Arrival {
            alert_id: self.alert_id,
            correlation_id: Cow::Owned(self.correlation_id.into_owned()),
            origin: self.origin.into_owned(),
            pipeline: Cow::Owned(self.pipeline.into_owned()),
            body: match self.body {
                Body::Alert(alert) => Body::Alert(Box::new(alert.into_owned())),
                Body::Unreadable(unreadable) => Body::Unreadable(Unreadable {
                    detail: Cow::Owned(unreadable.detail.into_owned()),
                    fingerprint: Cow::Owned(unreadable.fingerprint.into_owned()),
                    ..unreadable
                }),
            },
        }
    }
}

/// The line on the alerts topic:
/// `{"v":1,"alert_id",…,"origin":{…},"pipeline",…,"alert"|"unreadable":{…}}`.
#[derive(Serialize)]
struct Written<'w> {
    v: u32,
    alert_id: &'w str,
    correlation_id: &'w str,
    origin: &'w Origin<'w>,
    pipeline: &'w str,
    #[serde(skip_serializing_if = "Option::is_none")]
    alert: Option<&'w Alert<'w>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<&'w Unreadable<'w>>,
}

/// The same line being read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read<'a> {
    v: u32,
    alert_id: Id,
    #[serde(borrow)]
    correlation_id: Cow<'a, str>,
    #[serde(borrow)]
    origin: Origin<'a>,
    #[serde(borrow)]
    pipeline: Cow<'a, str>,
    #[serde(borrow, default)]
    alert: Option<Box<Alert<'a>>>,
    #[serde(borrow, default)]
    unreadable: Option<Unreadable<'a>>,
}

impl Serialize for Arrival<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (alert, unreadable) = match &self.body {
            Body::Alert(alert) => (Some(alert.as_ref()), None),
            Body::Unreadable(unreadable) => (None, Some(unreadable)),
        };
        Written {
            v: 1,
            alert_id: &self.alert_id,
            correlation_id: &self.correlation_id,
            origin: &self.origin,
            pipeline: &self.pipeline,
            alert,
            unreadable,
        }
        .serialize(serializer)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Arrival<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = Read::<'de>::deserialize(deserializer)?;
        if read.v != 1 {
            return Err(D::Error::custom("not version 1 of an alert"));
        }
        let body = match (read.alert, read.unreadable) {
            (Some(alert), None) => Body::Alert(alert),
            (None, Some(unreadable)) => Body::Unreadable(unreadable),
            _ => return Err(D::Error::custom("neither an alert nor unreadable, or both")),
        };
        Ok(Arrival {
            alert_id: read.alert_id,
            correlation_id: read.correlation_id,
            origin: read.origin,
            pipeline: read.pipeline,
            body,
        })
    }
}

/// Fields in the order of [`super::FIELDS`]; the alert's own stand bare, the others in their group.
impl Serialize for Alert<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, fields) in GROUPS {
            if *name == ROOT {
                for info in fields.iter().filter(|info| self.get(info.field).is_present()) {
                    map.serialize_entry(info.name, self.get(info.field))?;
                }
            } else if fields.iter().any(|info| self.get(info.field).is_present()) {
                map.serialize_entry(name, &Group { alert: self, fields })?;
            }
        }
        map.end()
    }
}

struct Group<'g> {
    alert: &'g Alert<'g>,
    fields: &'static [super::FieldInfo],
}

impl Serialize for Group<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for info in self.fields.iter().filter(|info| self.alert.get(info.field).is_present()) {
            map.serialize_entry(info.name, self.alert.get(info.field))?;
        }
        map.end()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Alert<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut alert = Alert::default();
        let fields = fields_of(ROOT).unwrap_or_default();
        deserializer.deserialize_map(GroupSeed { alert: &mut alert, fields, is_root: true })?;
        Ok(alert)
    }
}

/// The group whose fields stand bare.
const ROOT: &str = "alert";

fn fields_of(group: &str) -> Option<&'static [super::FieldInfo]> {
    GROUPS.iter().find(|(name, _)| *name == group).map(|(_, fields)| *fields)
}

struct GroupSeed<'s, 'a> {
    alert: &'s mut Alert<'a>,
    fields: &'static [super::FieldInfo],
    is_root: bool,
}

impl<'de: 'a, 'a> DeserializeSeed<'de> for GroupSeed<'_, 'a> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de: 'a, 'a> Visitor<'de> for GroupSeed<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the fields of an alert")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        // Fields mostly come in the order in which they are written: the next is looked for from
        // there.
        let mut after = 0;
        while let Some(Text(key)) = map.next_key::<Text<'de>>()? {
            let (before, rest) = self.fields.split_at_checked(after).unwrap_or((&[], self.fields));
            let named = |info: &&super::FieldInfo| info.name == key;
            if let Some(info) = rest.iter().find(named).or_else(|| before.iter().find(named)) {
                let value = map.next_value_seed(SlotSeed(info.of))?;
                self.alert.set(info.field, value);
                let first = self.fields.first().map_or(0, |first| first.field.index());
                after = info.field.index().saturating_sub(first) + 1;
            } else if let Some(fields) = fields_of(&key).filter(|_| self.is_root && key != ROOT) {
                let alert = &mut *self.alert;
                map.next_value_seed(GroupSeed { alert, fields, is_root: false })?;
            } else {
                map.next_value::<IgnoredAny>()?;
                return Err(A::Error::custom("a field that no alert has"));
            }
        }
        Ok(())
    }
}

/// Reads one slot by its declared type. Errors never quote the value.
pub(super) struct SlotSeed(pub Type);

impl<'de> DeserializeSeed<'de> for SlotSeed {
    type Value = Value<'de>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for SlotSeed {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a value of type {}", self.0.name())
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<Value<'de>, E> {
        if self.0 == Type::Bool {
            Ok(Value::Bool(value))
        } else {
            Err(E::custom("not expected: a boolean"))
        }
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<Value<'de>, E> {
        if self.0 == Type::Int {
            Ok(Value::Int(value))
        } else {
            Err(E::custom("not expected: a number"))
        }
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<Value<'de>, E> {
        i64::try_from(value)
            .map_err(|_| E::custom("number too large"))
            .and_then(|value| self.visit_i64(value))
    }
    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Value<'de>, E> {
        Value::read(self.0, value).ok_or_else(|| E::custom("text of the wrong type"))
    }
    fn visit_str<E: Error>(self, value: &str) -> Result<Value<'de>, E> {
        let read = Value::read(self.0, value).map(Value::into_owned);
        read.ok_or_else(|| E::custom("text of the wrong type"))
    }
    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Absent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Millis;

    #[test]
    fn an_arrival_is_read_back_as_it_was_written() {
        let mut alert = Alert::default();
        alert.set(Field::Kind, Value::Text("exposed_key".into()));
        alert.set(Field::ReceivedAt, Value::Time(Millis(1)));
        alert.set(Field::NhiId, Value::Text("a \"quoted\" id".into()));
        alert.set(Field::Line, Value::Int(7));
        let origin = Origin {
            topic: "t".into(),
            incarnation: "i".into(),
            partition: 1,
            offset: 2,
            index: 0,
            of: 1,
            sha256: "00".into(),
        };
        let arrival = Arrival {
            alert_id: origin.alert_id(),
            correlation_id: "c".into(),
            origin,
            pipeline: "p".into(),
            body: Body::Alert(Box::new(alert)),
        };
        let text = serde_json::to_string(&arrival).unwrap();
        assert!(text.contains(r#""alert":{"kind":"exposed_key","received_at":"1970-01-01T00:00:00.001Z","nhi":{"id":"a \"quoted\" id"},"location":{"line":7}}"#), "{text}");
        assert_eq!(serde_json::from_str::<Arrival<'_>>(&text).unwrap(), arrival);
        assert!(serde_json::from_str::<Arrival<'_>>(&text.replace("kind", "kinds")).is_err());
    }
}
