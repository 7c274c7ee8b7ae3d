use std::borrow::Cow;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;

use super::body::{Document, Documents};
use super::layout::Doc;
use super::pipeline::{Format, Pipeline};
use super::reading::{Incoming, Made, Reading, Refusal};
use super::redact::{Redactor, whole_secret};
use super::rows::{Report, report};
use super::source::Reader;
use super::words::words_of;
use super::{FingerprintKeys, Pipelines};
use crate::case::{Alert, Arrival, Field, Id, Reason, Type, Value};
use crate::json::{Kind, Malformed, Raw, Slots};

pub const ALERTS_MAX: usize = 1000;
/// Of one alert, as JSON.
pub const ALERT_BYTES_MAX: usize = 64 * 1024;

/// Texts for people are cut, with an ellipsis, after secrets were replaced; one that alone is too
/// long for an alert is left out. No other field is: a cut id, path or address is another one.
const CUT_BYTES: &[(Field, usize)] = &[
    (Field::Title, 1000),
    (Field::EventReason, 1000),
    (Field::SourceUserAgent, 512),
    (Field::SourceNetwork, 256),
    (Field::NhiName, 256),
    (Field::Author, 256),
];

/// A message's candidates, and what they made of it so far.
struct Work<'p, 'r> {
    reading: &'r Reading<'r>,
    candidates: Vec<&'p Pipeline>,
    /// Whoever named the pipeline said that the message is its own.
    is_named: bool,
    chosen: &'p str,
    made: Vec<Made<'p>>,
}

/// One document as a pipeline reads it.
#[derive(Clone, Copy)]
struct Page<'t> {
    text: &'t str,
    /// Its first byte in the message; nothing when it does not stand there as it is.
    at: Option<usize>,
    report: Option<&'t Report>,
}

/// The pipeline whose signs a document bears, with what its walk found.
struct Found<'p, 't> {
    pipeline: &'p Pipeline,
    page: Page<'t>,
    whole: Slots<'t>,
    /// Nothing when the document is one alert itself.
    items: Option<Vec<Raw<'t>>>,
}

impl Page<'_> {
    fn placed(&self, refusal: Refusal) -> Refusal {
        let at = refusal.at.zip(self.at).map(|(inside, at)| at + inside);
        Refusal { at, ..refusal }
    }
}

impl<'p> Work<'p, '_> {
    /// Decided before anything is mapped.
    fn check_room(&self, alerts: usize) -> Result<(), Refusal> {
        let is_full = self.made.len() + alerts > ALERTS_MAX;
        if is_full { Err(Refusal::too_many()) } else { Ok(()) }
    }

    fn put(&mut self, alert: Result<Alert<'static>, Refusal>) {
        self.made.push(Made { pipeline: self.chosen, alert });
    }

    /// The one candidate whose signs the document bears.
    fn choose<'t>(
        &self,
        page: Page<'t>,
        opened: &'t [(&'p Pipeline, Cow<'t, str>)],
    ) -> Result<Found<'p, 't>, Refusal> {
        let mut chosen = None;
        for (pipeline, text) in opened {
            let at = page.at.filter(|_| matches!(text, Cow::Borrowed(_)));
            let page = Page { text, at, ..page };
            let placed = |malformed: Malformed| page.placed(malformed.into());
            let whole = pipeline.walks.whole.fill(text).map_err(placed)?;
            let items = pipeline.walks.items(&whole);
            let found = Found { pipeline, page, whole, items };
            if !self.is_claimed(&found).map_err(placed)? {
                continue;
            }
            if chosen.replace(found).is_some() {
                return Err(Refusal::new(Reason::AmbiguousShape, "several pipelines claim it"));
            }
        }
        let found = chosen
            .ok_or_else(|| Refusal::new(Reason::UnknownShape, "no pipeline knows its shape"))?;
        if found.items.is_none() && !found.page.text.trim_start().starts_with('{') {
            return Err(Refusal::new(Reason::UnknownShape, "neither an object nor a known list"));
        }
        Ok(found)
    }

    fn is_claimed(&self, found: &Found<'_, '_>) -> Result<bool, Malformed> {
        let Found { pipeline, page, whole, items } = found;
        // A report without a row, even of a pipeline that was named: any line could be its header.
        if let Some(report) = page.report.filter(|report| report.is_empty()) {
            let whole = pipeline.walks.whole.fill(&report.header)?;
            let items = pipeline.walks.items(&whole);
            return fits(pipeline, self.reading, &report.header, &whole, items.as_deref());
        }
        if self.is_named {
            return Ok(true);
        }
        fits(pipeline, self.reading, page.text, whole, items.as_deref())
    }
}

impl Pipelines {
    /// Makes a message into alerts; never into none (INV-1).
    ///
    /// `pipeline` names one by its file's `pipeline`, as a webhook does; without it the message's
    /// topic and shape choose. An unknown topic stands for all of them.
    pub fn read(
        &self,
        message: &Incoming<'_>,
        pipeline: Option<&str>,
        keys: &FingerprintKeys,
    ) -> Vec<Arrival<'static>> {
        let reading = Reading::new(message, keys);
        let mut work = Work {
            reading: &reading,
            candidates: self.candidates(message.topic, pipeline),
            is_named: pipeline.is_some(),
            chosen: "",
            made: Vec::new(),
        };
        // A defect of ours costs one message, not the partition.
        let read = catch_unwind(AssertUnwindSafe(|| self.message(&mut work)));
        let failed = |_| Err(Refusal::new(Reason::RuleFailed, "reading it failed in the program"));
        if let Err(refusal) = read.unwrap_or_else(failed) {
            work.made = vec![Made { pipeline: work.chosen, alert: Err(refusal) }];
        }
        debug_assert!(!work.made.is_empty(), "INV-1: a message without an arrival");
        reading.arrivals(work.made)
    }

    fn candidates(&self, topic: &str, name: Option<&str>) -> Vec<&Pipeline> {
        let is_known = self.list.iter().any(|pipeline| pipeline.topic == topic);
        let is_candidate = |pipeline: &&Pipeline| match name {
            Some(name) => pipeline.name == name,
            None => pipeline.topic == topic || !is_known,
        };
        self.list.iter().filter(is_candidate).collect()
    }

    /// Errors: what makes all of the message one unreadable.
    fn message(&self, work: &mut Work<'_, '_>) -> Result<(), Refusal> {
        let whole = work.reading.text()?;
        let is_json = whole.text.trim_start().starts_with(['{', '[']);
        let has_csv = work.candidates.iter().any(|pipeline| pipeline.format == Format::Csv);
        let format = if has_csv && !is_json { Format::Csv } else { Format::Json };
        work.candidates.retain(|pipeline| pipeline.format == format);
        if format == Format::Csv {
            let report = report(whole)?;
            return self.page(work, Page { text: &report.json, at: None, report: Some(&report) });
        }
        let page = |Document { text, at }| Page { text, at: Some(at), report: None };
        // Nearly every message is one document, and is not searched for more before it is read.
        let Err(refusal) = self.page(work, page(whole)) else { return Ok(()) };
        let documents = Documents::of(whole).take(ALERTS_MAX + 1);
        let documents: Vec<_> = documents.take_while(|_| refusal.is_of_the_text()).collect();
        match documents.len() {
            0 | 1 => return Err(refusal),
            2..=ALERTS_MAX => {}
            _ => return Err(Refusal::too_many()),
        }
        for document in documents {
            work.check_room(1)?;
            work.chosen = "";
            let read = document.map_err(Refusal::from).and_then(|document| {
                let read = self.page(work, page(document));
                read.map_err(|refusal| refusal.or_at(document.at))
            });
            match read {
                Err(refusal) if refusal.reason == Reason::TooMany => return Err(refusal),
                Err(refusal) => work.put(Err(refusal)),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// Errors: what makes all of the document one unreadable, unless it is of too many alerts.
    fn page<'p>(&self, work: &mut Work<'p, '_>, page: Page<'_>) -> Result<(), Refusal> {
        let reading = work.reading;
        let opened = work.candidates.iter().map(|pipeline| {
            let opened = pipeline.open.opened(page.text, &reading.opened_bytes_left);
            Ok((*pipeline, opened.map_err(|refusal| page.placed(refusal))?))
        });
        let opened: Vec<(&'p Pipeline, Cow<'_, str>)> = opened.collect::<Result<_, Refusal>>()?;
        let Found { pipeline, page, whole, items } = work.choose(page, &opened)?;
        work.chosen = &pipeline.name;
        let of = items.as_ref().map_or(1, Vec::len);
        work.check_room(of.max(1))?;
        let id = reading.alert_id(work.made.len());
        let Some(items) = items else {
            let doc = Doc::new(&pipeline.walks, &whole, &whole);
            work.put(Ok(self.alert(pipeline, reading, &doc, &id)?));
            return Ok(());
        };
        if items.is_empty() {
            work.put(Ok(empty_report(pipeline, reading, &id)));
        }
        let mut rows = page.report.into_iter().flat_map(|report| &report.rows);
        for item in &items {
            let id = reading.alert_id(work.made.len());
            let alert = match rows.next() {
                Some(row) => row
                    .read()
                    .and_then(|()| self.item(pipeline, reading, (item, &whole), &id))
                    .map_err(|refusal| Refusal { at: Some(row.at), ..refusal }),
                None => {
                    let alert = self.item(pipeline, reading, (item, &whole), &id);
                    alert.map_err(|refusal| page.placed(refusal))
                }
            };
            work.put(alert);
        }
        Ok(())
    }

    fn item(
        &self,
        pipeline: &Pipeline,
        reading: &Reading<'_>,
        (item, whole): (&Raw<'_>, &Slots<'_>),
        id: &Id,
    ) -> Result<Alert<'static>, Refusal> {
        let placed = |refusal: Refusal| Refusal { at: Some(item.at), ..refusal };
        if item.kind != Kind::Object {
            return Err(placed(Refusal::new(Reason::UnknownShape, "an item is no object")));
        }
        let here = inside(pipeline, item)?;
        let doc = Doc::new(&pipeline.walks, &here, whole);
        self.alert(pipeline, reading, &doc, id).map_err(placed)
    }

    fn alert(
        &self,
        pipeline: &Pipeline,
        reading: &Reading<'_>,
        doc: &Doc<'_, '_>,
        id: &Id,
    ) -> Result<Alert<'static>, Refusal> {
        let mut redactor = Redactor::new(reading.keys);
        for raw in pipeline.redact.iter().flat_map(|place| doc.all(*place)) {
            let added = redactor.add(raw);
            added.map_err(|_| Refusal::new(Reason::AlertTooLarge, "too many values to redact"))?;
        }
        let is_too_long = Cell::new(false);
        let text_bytes_max = ALERT_BYTES_MAX;
        let reader = Reader { doc, redactor: &redactor, text_bytes_max, is_too_long };
        let mut alert = mapped(pipeline, &reader)?;
        let at = reading.message.received_at;
        default(&mut alert, Field::Detector, || Value::Text(pipeline.name.clone().into()));
        default(&mut alert, Field::ObservedAt, || Value::Time(at));
        alert.set(Field::ReceivedAt, Value::Time(at));
        let first = pipeline.fingerprint.iter().find_map(|place| doc.raw(*place));
        let secret = first.as_ref().and_then(whole_secret);
        if let Some(secret) = &secret {
            let fingerprint = reading.keys.fingerprint(secret.as_bytes());
            alert.set(Field::CredentialFingerprint, Value::Text(fingerprint.into()));
        }
        let dismissed = pipeline.not_an_alert.iter().find(|entry| entry.holds(&alert));
        if let Some(entry) = dismissed {
            alert.set(Field::NotAnAlert, Value::Text(entry.id.clone().into()));
        }
        self.identify(&mut alert, secret.as_deref(), reading.keys, id);
        check_size(&alert)?;
        Ok(alert.into_owned())
    }

    /// Every alert has an NHI id, and says how it came by it (INV-11).
    fn identify(
        &self,
        alert: &mut Alert<'_>,
        secret: Option<&str>,
        keys: &FingerprintKeys,
        alert_id: &Id,
    ) {
        if let Some(aliases) = &self.aliases {
            aliases.resolve(alert, secret, keys);
        }
        if alert.text(Field::NhiId).is_some() {
            default(alert, Field::NhiKnownBy, || Value::Text("native".into()));
            return;
        }
        let (known_by, id) = if let Some(id) = alert.text(Field::CredentialId) {
            ("credential_id", format!("credential:{id}"))
        } else if let Some(fingerprint) = alert.text(Field::CredentialFingerprint) {
            ("fingerprint", fingerprint.to_owned())
        } else {
            ("origin", format!("origin:{alert_id}"))
        };
        alert.set(Field::NhiId, Value::Text(id.into()));
        alert.set(Field::NhiKnownBy, Value::Text(known_by.into()));
    }
}

/// `detect` looks at the message, or at the alerts in it when it is a bare list: one that fits is
/// enough, so that a strange one costs no other. A list of none fits: a scanner that found nothing
/// writes just that.
fn fits(
    pipeline: &Pipeline,
    reading: &Reading<'_>,
    text: &str,
    whole: &Slots<'_>,
    items: Option<&[Raw<'_>]>,
) -> Result<bool, Malformed> {
    let fit = |here: &Slots<'_>| {
        let doc = Doc::new(&pipeline.walks, here, whole);
        pipeline.detect.iter().all(|sign| sign.holds(&doc, reading.message.headers))
    };
    let is_list = text.trim_start().starts_with('[');
    let items = match items {
        Some(items) if is_list => items,
        _ => return Ok(fit(whole)),
    };
    let mut malformed = None;
    for item in items.iter().filter(|item| item.kind == Kind::Object) {
        match inside(pipeline, item) {
            Ok(here) if fit(&here) => return Ok(true),
            Ok(_) => {}
            Err(fault) => malformed = malformed.or(Some(fault)),
        }
    }
    malformed.map_or(Ok(items.is_empty()), Err)
}

/// The walk over one item of a list; faults are placed in the whole message.
fn inside<'t>(pipeline: &Pipeline, item: &Raw<'t>) -> Result<Slots<'t>, Malformed> {
    let placed = |malformed: Malformed| Malformed { at: item.at + malformed.at, ..malformed };
    pipeline.walks.element.fill(item.text).map_err(placed)
}

fn mapped<'a>(pipeline: &Pipeline, reader: &Reader<'a, '_>) -> Result<Alert<'a>, Refusal> {
    let mut alert = Alert::default();
    let kind = pipeline.kind.value(Type::Text, reader);
    if !kind.is_present() {
        return Err(Refusal::new(Reason::BadField, "`kind` has no entry for it"));
    }
    alert.set(Field::Kind, kind);
    for mapped in &pipeline.map {
        let mut value = mapped.source.value(mapped.field.of(), reader);
        let is_known =
            |text: &str| words_of(mapped.field).is_none_or(|words| words.contains(&text));
        if value.text().is_some_and(|text| !is_known(text)) {
            value = Value::Absent;
        }
        let may_be_cut = CUT_BYTES.iter().any(|(field, _)| *field == mapped.field);
        if reader.is_too_long.replace(false) && !may_be_cut {
            return Err(too_large());
        }
        if mapped.is_required && !value.is_present() {
            let path = mapped.field.path();
            let why = if mapped.source.is_there(reader) { "can not be used" } else { "is missing" };
            return Err(Refusal::new(Reason::BadField, format!("`{path}` {why}")));
        }
        alert.set(mapped.field, cut(mapped.field, value));
    }
    Ok(alert)
}

fn cut(field: Field, value: Value<'_>) -> Value<'_> {
    let limit = CUT_BYTES.iter().find(|(cut, _)| *cut == field).map_or(usize::MAX, |(_, max)| *max);
    match value {
        Value::Text(text) if text.len() > limit => {
            let mut end = limit;
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            Value::Text(format!("{}…", text.get(..end).unwrap_or_default()).into())
        }
        other => other,
    }
}

fn default<'a>(alert: &mut Alert<'a>, field: Field, value: impl FnOnce() -> Value<'a>) {
    if !alert.get(field).is_present() {
        alert.set(field, value());
    }
}

fn empty_report(pipeline: &Pipeline, reading: &Reading<'_>, id: &Id) -> Alert<'static> {
    let mut alert = Alert::default();
    let text = |text: &str| Value::Text(text.to_owned().into());
    if let super::source::From::Const(kind) = &pipeline.kind.from {
        alert.set(Field::Kind, text(kind));
    }
    alert.set(Field::Detector, text(&pipeline.name));
    alert.set(Field::NotAnAlert, text("empty_report"));
    alert.set(Field::ObservedAt, Value::Time(reading.message.received_at));
    alert.set(Field::ReceivedAt, Value::Time(reading.message.received_at));
    alert.set(Field::NhiId, text(&format!("origin:{id}")));
    alert.set(Field::NhiKnownBy, text("origin"));
    alert
}

/// Small alerts, all but a few, are not written out to be measured: JSON makes a byte six at most.
fn check_size(alert: &Alert<'_>) -> Result<(), Refusal> {
    let texts = crate::case::FIELDS.iter().filter_map(|info| alert.text(info.field));
    let text_bytes: usize = texts.map(str::len).sum();
    let names_bytes = Field::COUNT * 64;
    if text_bytes * 6 + names_bytes <= ALERT_BYTES_MAX {
        return Ok(());
    }
    let mut count = Count(0);
    let written = alert.serialize(&mut serde_json::Serializer::new(&mut count));
    if written.is_err() || count.0 > ALERT_BYTES_MAX { Err(too_large()) } else { Ok(()) }
}

fn too_large() -> Refusal {
    Refusal::new(Reason::AlertTooLarge, format!("more than {ALERT_BYTES_MAX} bytes"))
}

struct Count(usize);

impl std::io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
