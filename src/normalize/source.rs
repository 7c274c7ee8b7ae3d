use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashMap;

use super::decimal::Decimal;
use super::layout::{Doc, Place};
use super::redact::Redactor;
use super::times::TimeFormat;
use crate::case::{Type, Value};

/// Where a field's value comes from, and what is done to it on the way.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) from: From,
    pub(super) shape: Shape,
}

#[derive(Debug, Clone)]
pub(super) enum From {
    Path(Place),
    Const(String),
    /// The first that gives a value.
    First(Vec<Source>),
    /// All of them or nothing: part of an identity is another identity.
    Join {
        parts: Vec<Source>,
        with: String,
    },
}

/// In the order in which it is applied.
#[derive(Debug, Clone, Default)]
pub(super) struct Shape {
    pub(super) absent_when: Vec<String>,
    pub(super) lower: bool,
    /// A text that is not in the table is absent.
    pub(super) table: Option<HashMap<String, String>>,
    /// The first whose bound is above the number; the last has none.
    pub(super) ranges: Option<Vec<(Option<Decimal>, String)>>,
    pub(super) default: Option<String>,
    pub(super) times: Vec<TimeFormat>,
}

/// One alert's values, already cleaned of secrets when they are read.
pub(super) struct Reader<'a, 's> {
    pub(super) doc: &'s Doc<'a, 's>,
    pub(super) redactor: &'s Redactor<'a, 's>,
    /// LIMIT: a longer text is not read: no alert could hold it, and searching it takes time.
    pub(super) text_bytes_max: usize,
    /// Whether such a text was met.
    pub(super) is_too_long: Cell<bool>,
}

impl Source {
    pub(super) fn value<'a>(&self, of: Type, reader: &Reader<'a, '_>) -> Value<'a> {
        if of != Type::Time {
            let text = self.text(reader);
            return text.map_or(Value::Absent, |text| read(of, text));
        }
        if let (From::First(sources), true) = (&self.from, self.shape.times.is_empty()) {
            let mut values = sources.iter().map(|source| source.value(of, reader));
            return values.find(Value::is_present).unwrap_or(Value::Absent);
        }
        let text = self.text(reader).unwrap_or_default();
        let read = |format: &TimeFormat| format.read(&text);
        let time = match self.shape.times.as_slice() {
            [] => TimeFormat::Rfc3339.read(&text),
            formats => formats.iter().find_map(read),
        };
        time.map_or(Value::Absent, Value::Time)
    }

    fn text<'a>(&self, reader: &Reader<'a, '_>) -> Option<Cow<'a, str>> {
        let text = match &self.from {
            From::Path(place) => reader.text(*place),
            From::Const(text) => Some(Cow::Owned(text.clone())),
            From::First(sources) => sources.iter().find_map(|source| source.text(reader)),
            From::Join { parts, with } => {
                let parts: Option<Vec<_>> = parts.iter().map(|part| part.text(reader)).collect();
                parts.map(|parts| Cow::Owned(parts.join(with)))
            }
        };
        self.shape.apply(text)
    }

    /// Whether the message says anything at all where this looks.
    pub(super) fn is_there(&self, reader: &Reader<'_, '_>) -> bool {
        match &self.from {
            From::Path(place) => reader.doc.raw(*place).is_some(),
            From::Const(_) => true,
            From::First(sources) => sources.iter().any(|source| source.is_there(reader)),
            From::Join { parts, .. } => parts.iter().all(|source| source.is_there(reader)),
        }
    }

    /// Whether it can give nothing but texts that stand in the pipeline's file.
    pub(super) fn is_closed(&self) -> bool {
        let is_mapped = self.shape.table.is_some() || self.shape.ranges.is_some();
        is_mapped
            || match &self.from {
                From::Const(_) => true,
                From::First(sources) => sources.iter().all(Source::is_closed),
                From::Path(_) | From::Join { .. } => false,
            }
    }
}

fn read(of: Type, text: Cow<'_, str>) -> Value<'_> {
    if of == Type::Text {
        return Value::Text(text);
    }
    Value::read(of, &text).map_or(Value::Absent, Value::into_owned)
}

impl Shape {
    fn apply<'a>(&self, text: Option<Cow<'a, str>>) -> Option<Cow<'a, str>> {
        let mut text = text.filter(|text| !text.is_empty() && !self.is_absent(text));
        if self.lower {
            text = text.map(|text| Cow::Owned(text.to_lowercase()));
        }
        if let Some(table) = &self.table {
            text = text.and_then(|text| table.get(text.as_ref()).cloned()).map(Cow::Owned);
        }
        if let Some(ranges) = &self.ranges {
            text = text.and_then(|text| in_range(ranges, &text)).map(Cow::Owned);
        }
        text.or_else(|| self.default.clone().map(Cow::Owned))
    }

    fn is_absent(&self, text: &str) -> bool {
        self.absent_when.iter().any(|absent| absent == text)
    }
}

fn in_range(ranges: &[(Option<Decimal>, String)], text: &str) -> Option<String> {
    let number = Decimal::parse(text)?;
    let fits = |bound: &Option<Decimal>| bound.as_ref().is_none_or(|bound| number < *bound);
    ranges.iter().find(|(bound, _)| fits(bound)).map(|(_, word)| word.clone())
}

impl<'a> Reader<'a, '_> {
    fn text(&self, place: Place) -> Option<Cow<'a, str>> {
        let raw = self.doc.raw(place).filter(|raw| !self.redactor.is_dropped(raw))?;
        if raw.text.len() > self.text_bytes_max {
            self.is_too_long.set(true);
            return None;
        }
        raw.scalar().map(|text| self.redactor.clean(text))
    }
}
