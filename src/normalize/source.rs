use std::borrow::Cow;
use std::cell::{Cell, RefCell};

use super::capture::Capture;
use super::decimal::Decimal;
use super::layout::{Doc, Place};
use super::listed::Listed;
use super::redact::Redactor;
use super::times::TimeFormat;
use super::when::{Seen, Used, When, header};
use crate::case::{Type, Value};

/// Bytes: room for an identity.
const JOINED_USUALLY: usize = 64;

/// Where a field's value comes from, and what is done to it on the way.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) from: From,
    /// Nothing for most: a pipeline's hundreds of sources are all looked at for every alert.
    shape: Option<Box<Shape>>,
}

#[derive(Debug, Clone)]
pub(super) enum From {
    Path(Place),
    Header(String),
    Const(String),
    /// The first that gives a value.
    First(Vec<Source>),
    /// All of them or nothing: part of an identity is another identity.
    Join(Box<Join>),
    /// The source of the first case that holds.
    Cases(Box<Cases>),
}

#[derive(Debug, Clone)]
pub(super) struct Join {
    pub(super) parts: Vec<Source>,
    pub(super) with: String,
}

#[derive(Debug, Clone)]
pub(super) struct Cases {
    pub(super) conditions: Vec<When>,
    pub(super) sources: Vec<Source>,
}

/// In the order in which it is applied.
#[derive(Debug, Clone, Default)]
pub(super) struct Shape {
    pub(super) absent_when: Vec<String>,
    /// A text that does not match is absent.
    pub(super) capture: Option<Capture>,
    pub(super) lower: bool,
    /// A text that is not in the table is absent.
    pub(super) table: Option<Listed<String>>,
    /// The first whose bound is above the number; the last has none.
    pub(super) ranges: Option<Vec<(Option<Decimal>, String)>>,
    pub(super) default: Option<String>,
    pub(super) times: Vec<TimeFormat>,
}

/// One alert's values, already cleaned of secrets when they are read.
pub(super) struct Reader<'a, 's> {
    pub(super) doc: &'s Doc<'a, 's>,
    pub(super) headers: &'s [(&'s str, &'s [u8])],
    pub(super) redactor: &'s Redactor<'a, 's>,
    /// LIMIT: a longer text is not read: no alert could hold it, and searching it takes time.
    pub(super) text_bytes_max: usize,
    /// Whether such a text was met.
    pub(super) is_too_long: Cell<bool>,
    /// What the value that was read last was made of, where anybody will ask.
    pub(super) trace: RefCell<Vec<Used>>,
    pub(super) is_traced: Cell<bool>,
    /// The document's texts by their places: many are read more than once.
    pub(super) cleaned: RefCell<Vec<(&'a str, Cow<'a, str>)>>,
}

impl Source {
    pub(super) fn new(from: From, shape: Shape) -> Self {
        Self { from, shape: (!shape.is_none()).then(|| Box::new(shape)) }
    }

    pub(super) fn plain(from: From) -> Self {
        Self { from, shape: None }
    }

    fn times(&self) -> &[TimeFormat] {
        self.shape.as_ref().map_or(&[], |shape| &shape.times)
    }

    pub(super) fn value<'a>(&'a self, of: Type, reader: &Reader<'a, '_>) -> Value<'a> {
        if reader.is_traced.get() {
            reader.trace.borrow_mut().clear();
        }
        if of != Type::Time {
            let text = self.text(reader);
            return text.map_or(Value::Absent, |text| read(of, text));
        }
        if let (From::First(sources), true) = (&self.from, self.times().is_empty()) {
            let mut values = sources.iter().map(|source| source.value(of, reader));
            return values.find(Value::is_present).unwrap_or(Value::Absent);
        }
        let text = self.text(reader).unwrap_or_default();
        let read = |format: &TimeFormat| format.read(&text);
        let time = match self.times() {
            [] => TimeFormat::Rfc3339.read(&text),
            formats => formats.iter().find_map(read),
        };
        time.map_or(Value::Absent, Value::Time)
    }

    #[inline]
    fn text<'a>(&'a self, reader: &Reader<'a, '_>) -> Option<Cow<'a, str>> {
        // Most of them are paths, and most of those lead to nothing.
        match &self.from {
            From::Path(place) if reader.doc.lacks(*place) => self.default(),
            _ => self.shaped_text(reader),
        }
    }

    #[inline(never)]
    fn shaped_text<'a>(&'a self, reader: &Reader<'a, '_>) -> Option<Cow<'a, str>> {
        // One value from the first line to the last: it is not copied on the way.
        let mut text = reader.traced(|| match &self.shape {
            Some(shape) => shape.apply(self.raw_text(reader)?),
            None => self.raw_text(reader).filter(|text| !text.is_empty()),
        });
        if text.is_none() {
            text = self.default();
        }
        text
    }

    #[inline]
    fn default(&self) -> Option<Cow<'_, str>> {
        self.shape.as_ref()?.default.as_deref().map(Cow::Borrowed)
    }

    #[inline(always)]
    fn raw_text<'a>(&'a self, reader: &Reader<'a, '_>) -> Option<Cow<'a, str>> {
        match &self.from {
            From::Path(place) => reader.text(*place),
            From::Header(name) => reader.header(name),
            From::Const(text) => Some(Cow::Borrowed(text)),
            From::First(sources) => sources.iter().find_map(|source| source.text(reader)),
            From::Join(join) => join.text(reader).map(Cow::Owned),
            From::Cases(cases) => {
                let seen = reader.seen();
                let found = cases.conditions.iter().position(|when| when.holds(&seen))?;
                cases.sources.get(found)?.text(reader)
            }
        }
    }

    /// Whether the message says anything at all where this looks.
    pub(super) fn is_there(&self, reader: &Reader<'_, '_>) -> bool {
        match &self.from {
            From::Path(place) => reader.doc.raw(*place).is_some(),
            From::Header(name) => header(reader.headers, name).is_some(),
            From::Const(_) => true,
            From::Cases(cases) => cases.sources.iter().any(|source| source.is_there(reader)),
            From::First(sources) => sources.iter().any(|source| source.is_there(reader)),
            From::Join(join) => join.parts.iter().all(|source| source.is_there(reader)),
        }
    }

    /// Whether it can give nothing but texts that stand in the pipeline's file.
    pub(super) fn is_closed(&self) -> bool {
        let is_mapped = |shape: &Shape| shape.table.is_some() || shape.ranges.is_some();
        self.shape.as_deref().is_some_and(is_mapped)
            || match &self.from {
                From::Const(_) => true,
                From::First(sources) => sources.iter().all(Source::is_closed),
                From::Cases(cases) => cases.sources.iter().all(Source::is_closed),
                From::Path(_) | From::Header(_) | From::Join(_) => false,
            }
    }
}

impl Join {
    fn text<'a>(&'a self, reader: &Reader<'a, '_>) -> Option<String> {
        let mut joined = String::new();
        let mut parts = self.parts.iter();
        let first = parts.next()?.text(reader)?;
        for part in parts {
            let text = part.text(reader)?;
            if joined.is_empty() {
                // Not before: most that lack a part lack the second.
                joined.reserve(JOINED_USUALLY);
                joined.push_str(&first);
            }
            joined.push_str(&self.with);
            joined.push_str(&text);
        }
        Some(if joined.is_empty() { first.into_owned() } else { joined })
    }
}

fn read(of: Type, text: Cow<'_, str>) -> Value<'_> {
    if of == Type::Text {
        return Value::Text(text);
    }
    Value::read(of, &text).map_or(Value::Absent, Value::into_owned)
}

impl Shape {
    fn is_none(&self) -> bool {
        let Self { absent_when, capture, lower, table, ranges, default, times } = self;
        let is_mapped = table.is_some() || ranges.is_some() || default.is_some();
        absent_when.is_empty() && capture.is_none() && !lower && !is_mapped && times.is_empty()
    }

    fn apply<'a>(&'a self, mut text: Cow<'a, str>) -> Option<Cow<'a, str>> {
        if text.is_empty() || self.is_absent(&text) {
            return None;
        }
        if let Some(capture) = &self.capture {
            text = captured(capture, text)?;
        }
        if self.lower && !text.bytes().all(is_lower) {
            text = Cow::Owned(text.to_lowercase());
        }
        if let Some(table) = &self.table {
            text = Cow::Borrowed(table.get(&text)?);
        }
        if let Some(ranges) = &self.ranges {
            text = Cow::Borrowed(in_range(ranges, &text)?);
        }
        Some(text)
    }

    fn is_absent(&self, text: &str) -> bool {
        self.absent_when.iter().any(|absent| absent == text)
    }
}

fn is_lower(byte: u8) -> bool {
    byte.is_ascii() && !byte.is_ascii_uppercase()
}

fn captured<'a>(capture: &Capture, text: Cow<'a, str>) -> Option<Cow<'a, str>> {
    let range = capture.find(&text)?;
    match text {
        Cow::Borrowed(text) => text.get(range).map(Cow::Borrowed),
        Cow::Owned(text) => text.get(range).map(|part| Cow::Owned(part.to_owned())),
    }
}

fn in_range<'w>(ranges: &'w [(Option<Decimal>, String)], text: &str) -> Option<&'w str> {
    let number = Decimal::parse(text)?;
    let fits = |bound: &Option<Decimal>| bound.as_ref().is_none_or(|bound| number < *bound);
    ranges.iter().find(|(bound, _)| fits(bound)).map(|(_, word)| word.as_str())
}

impl<'a> Reader<'a, '_> {
    pub(super) fn seen(&self) -> Seen<'a, '_> {
        let trace = self.is_traced.get().then_some(&self.trace);
        Seen { doc: self.doc, headers: self.headers, alert: None, trace }
    }

    /// What was looked at for nothing is forgotten.
    #[inline(always)]
    fn traced<T>(&self, read: impl FnOnce() -> Option<T>) -> Option<T> {
        if !self.is_traced.get() {
            return read();
        }
        let before = self.trace.borrow().len();
        let value = read();
        if value.is_none() {
            self.trace.borrow_mut().truncate(before);
        }
        value
    }

    #[inline]
    fn note(&self, used: impl FnOnce() -> Used) {
        if self.is_traced.get() {
            self.trace.borrow_mut().push(used());
        }
    }

    fn text(&self, place: Place) -> Option<Cow<'a, str>> {
        let raw = self.doc.raw(place).filter(|raw| !self.redactor.is_dropped(raw))?;
        if raw.text.len() > self.text_bytes_max {
            self.is_too_long.set(true);
            return None;
        }
        let mut cleaned = self.cleaned.borrow_mut();
        let known = cleaned.iter().find(|(known, _)| std::ptr::eq(*known, raw.text));
        let text = match known {
            Some((_, text)) => text.clone(),
            None => {
                let text = self.redactor.clean(raw.scalar()?);
                cleaned.push((raw.text, text.clone()));
                text
            }
        };
        self.note(|| Used::Place(place));
        Some(text)
    }

    fn header(&self, name: &str) -> Option<Cow<'a, str>> {
        let text = header(self.headers, name)?;
        if text.len() > self.text_bytes_max {
            self.is_too_long.set(true);
            return None;
        }
        self.note(|| Used::Header(name.to_owned()));
        Some(self.redactor.clean(Cow::Owned(text.to_owned())))
    }
}
