use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::address::address_of;
use super::layout::{Doc, Item};
use super::pipeline::Pipeline;
use super::redact::{Redactor, whole_secret};
use super::source::Reader;
use super::when::{Seen, Used};
use super::words::words_of;
use super::{FingerprintKeys, Pipelines};
use crate::case::{
    Alert, Arrival, Body, Field, Id, Millis, Origin, Reason, Type, Unreadable, Value, hex, id_of,
};
use crate::json::{Fault, Kind, Malformed, Raw, Slots, line_column, utf8};

/// Larger messages are not read. The broker's own limit is higher, so that they still arrive here.
pub const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
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

const UNKNOWN_KIND: &str = "unknown";

/// A message of a detector's topic, or of a webhook, as it came. Not `Debug`: it holds secrets.
#[derive(Clone, Copy)]
pub struct Incoming<'m> {
    pub topic: &'m str,
    pub incarnation: &'m str,
    pub partition: i32,
    pub offset: i64,
    pub headers: &'m [(&'m str, &'m [u8])],
    /// Nothing for a tombstone.
    pub value: Option<&'m [u8]>,
    pub received_at: Millis,
}

/// Why no alert could be made, in fixed words, and at which byte of the message when that is known.
struct Refusal {
    reason: Reason,
    detail: Cow<'static, str>,
    at: Option<usize>,
}

impl Refusal {
    fn new(reason: Reason, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { reason, detail: detail.into(), at: None }
    }
}

impl std::convert::From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        let reason = match malformed.fault {
            Fault::TooDeep => Reason::TooDeep,
            _ => Reason::NotJson,
        };
        Self { reason, detail: malformed.fault.about().into(), at: Some(malformed.at) }
    }
}

/// The pipeline, what its walk found, and the alerts if the message is a list of them.
type Chosen<'p, 't> = (&'p Pipeline, Slots<'t>, Option<Vec<Item<'t, 'p>>>);

/// One message being read.
struct Reading<'r> {
    message: &'r Incoming<'r>,
    bytes: &'r [u8],
    keys: &'r FingerprintKeys,
    sha256: String,
    correlation_id: String,
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
        let bytes = message.value.unwrap_or_default();
        let digest: [u8; 32] = Sha256::digest(bytes).into();
        let sha256 = hex(&digest);
        let correlation_id = correlation_id(message);
        let reading = Reading { message, bytes, keys, sha256, correlation_id };
        let mut chosen = "";
        // A defect of ours costs one message, not the partition.
        let read = AssertUnwindSafe(|| self.arrivals(&reading, pipeline, &mut chosen));
        let failed = |_| Err(Refusal::new(Reason::RuleFailed, "reading it failed in the program"));
        let arrivals = catch_unwind(read)
            .unwrap_or_else(failed)
            .unwrap_or_else(|refusal| vec![reading.arrival(chosen, (0, 1), Err(refusal))]);
        debug_assert!(!arrivals.is_empty(), "INV-1: a message without an arrival");
        arrivals
    }

    fn arrivals<'p>(
        &'p self,
        reading: &Reading<'_>,
        name: Option<&str>,
        chosen: &mut &'p str,
    ) -> Result<Vec<Arrival<'static>>, Refusal> {
        let text = readable(reading)?;
        let (pipeline, whole, items) = self.choose(reading, text, name)?;
        *chosen = &pipeline.name;
        let Some(items) = items else {
            let doc = Doc::new(&pipeline.walks, &whole, &whole, None);
            let alert = self.alert(pipeline, reading, &doc, &reading.origin(0, 1).alert_id());
            return Ok(vec![reading.arrival(chosen, (0, 1), alert)]);
        };
        if items.len() > ALERTS_MAX {
            let detail = format!("more than {ALERTS_MAX} alerts in one message");
            return Err(Refusal::new(Reason::TooMany, detail));
        }
        if items.is_empty() {
            let alert = Ok(empty_report(pipeline, reading));
            return Ok(vec![reading.arrival(chosen, (0, 1), alert)]);
        }
        let of = u32::try_from(items.len()).unwrap_or(u32::MAX);
        let arrivals = (0..of).zip(&items).map(|(index, item)| {
            let id = reading.origin(index, of).alert_id();
            let alert = self.item(pipeline, reading, (item, &whole), &id);
            reading.arrival(chosen, (index, of), alert)
        });
        Ok(arrivals.collect())
    }

    /// The one pipeline whose signs the message bears, with what its walk found.
    fn choose<'p, 't>(
        &'p self,
        reading: &Reading<'_>,
        text: &'t str,
        name: Option<&str>,
    ) -> Result<Chosen<'p, 't>, Refusal> {
        let topic = reading.message.topic;
        let is_known = self.list.iter().any(|pipeline| pipeline.topic == topic);
        let mut fitting = Vec::new();
        for pipeline in &self.list {
            let is_candidate = match name {
                Some(name) => pipeline.name == name,
                None => pipeline.topic == topic || !is_known,
            };
            if !is_candidate {
                continue;
            }
            let whole = pipeline.walks.whole.fill(text)?;
            let items = pipeline.walks.items(&whole)?;
            if name.is_some() || fits(pipeline, reading, &whole, items.as_deref())? {
                fitting.push((pipeline, whole, items));
            }
        }
        let chosen = fitting.pop();
        if !fitting.is_empty() {
            return Err(Refusal::new(Reason::AmbiguousShape, "several pipelines claim it"));
        }
        let (pipeline, whole, items) = chosen
            .ok_or_else(|| Refusal::new(Reason::UnknownShape, "no pipeline knows its shape"))?;
        if items.is_none() && !text.trim_start().starts_with('{') {
            return Err(Refusal::new(Reason::UnknownShape, "neither an object nor a known list"));
        }
        Ok((pipeline, whole, items))
    }

    fn item(
        &self,
        pipeline: &Pipeline,
        reading: &Reading<'_>,
        (item, whole): (&Item<'_, '_>, &Slots<'_>),
        id: &Id,
    ) -> Result<Alert<'static>, Refusal> {
        let placed = |refusal: Refusal| Refusal { at: Some(item.raw.at), ..refusal };
        if item.raw.kind != Kind::Object {
            return Err(placed(Refusal::new(Reason::UnknownShape, "an item is no object")));
        }
        let here = inside(pipeline, &item.raw)?;
        let doc = Doc::new(&pipeline.walks, &here, whole, Some(item));
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
        let (headers, trace) = (reading.message.headers, RefCell::default());
        let reader =
            Reader { doc, headers, redactor: &redactor, text_bytes_max, is_too_long, trace };
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
        let seen = Seen { alert: Some(&alert), trace: None, ..reader.seen() };
        let dismissed = pipeline.not_an_alert.iter().find(|entry| entry.when.holds(seen));
        if let Some(entry) = dismissed {
            alert.set(Field::NotAnAlert, Value::Text(entry.id.clone().into()));
        }
        self.identify(&mut alert, secret.as_deref(), reading.keys, id);
        default(&mut alert, Field::NhiKind, || Value::Text(UNKNOWN_KIND.into()));
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

fn readable<'r>(reading: &Reading<'r>) -> Result<&'r str, Refusal> {
    if reading.message.value.is_none() {
        return Err(Refusal::new(Reason::Empty, "a tombstone"));
    }
    if reading.bytes.len() > MESSAGE_BYTES_MAX {
        let detail = format!("more than {MESSAGE_BYTES_MAX} bytes");
        return Err(Refusal::new(Reason::TooLarge, detail));
    }
    if reading.bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(Refusal::new(Reason::Empty, "no byte"));
    }
    Ok(utf8(reading.bytes)?)
}

/// `detect` looks at the message, or at the alerts in it when it is a bare list: one that fits is
/// enough, so that a strange one costs no other. A list of none fits: a scanner that found nothing
/// writes just that.
fn fits(
    pipeline: &Pipeline,
    reading: &Reading<'_>,
    whole: &Slots<'_>,
    items: Option<&[Item<'_, '_>]>,
) -> Result<bool, Malformed> {
    let Some(detect) = &pipeline.detect else { return Ok(true) };
    let headers = reading.message.headers;
    let fit = |here: &Slots<'_>, item: Option<&Item<'_, '_>>| {
        let doc = Doc::new(&pipeline.walks, here, whole, item);
        detect.holds(Seen { doc: &doc, headers, alert: None, trace: None })
    };
    let is_list = reading.bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let items = match items {
        Some(items) if is_list => items,
        _ => return Ok(fit(whole, None)),
    };
    let mut malformed = None;
    for item in items.iter().filter(|item| item.raw.kind == Kind::Object) {
        match inside(pipeline, &item.raw) {
            Ok(here) if fit(&here, Some(item)) => return Ok(true),
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
        match mapped.field {
            Field::SourceIp => {
                let address = value.text().and_then(address_of);
                value = address.map_or(Value::Absent, |text| Value::Text(text.into()));
            }
            Field::NhiKind if value.text().is_some_and(|kind| kind != UNKNOWN_KIND) => {
                let known_by = known_by(pipeline, &reader.trace.borrow());
                alert.set(Field::NhiKindKnownBy, Value::Text(known_by.into()));
            }
            _ => {}
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

/// Where the kind was read, or that the pipeline says it of all its alerts.
fn known_by(pipeline: &Pipeline, used: &[Used]) -> String {
    match used.first() {
        Some(Used::Place(place)) => format!("path:{}", pipeline.walks.name(*place)),
        Some(Used::Header(name)) => format!("header:{name}"),
        None => "pipeline".to_owned(),
    }
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

fn empty_report(pipeline: &Pipeline, reading: &Reading<'_>) -> Alert<'static> {
    let mut alert = Alert::default();
    let text = |text: &str| Value::Text(text.to_owned().into());
    if let super::source::From::Const(kind) = &pipeline.kind.from {
        alert.set(Field::Kind, text(kind));
    }
    alert.set(Field::Detector, text(&pipeline.name));
    alert.set(Field::NotAnAlert, text("empty_report"));
    alert.set(Field::ObservedAt, Value::Time(reading.message.received_at));
    alert.set(Field::ReceivedAt, Value::Time(reading.message.received_at));
    let id = format!("origin:{}", reading.origin(0, 1).alert_id());
    alert.set(Field::NhiId, Value::Text(id.into()));
    alert.set(Field::NhiKnownBy, text("origin"));
    alert.set(Field::NhiKind, text(UNKNOWN_KIND));
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

impl Reading<'_> {
    fn origin(&self, index: u32, of: u32) -> Origin<'_> {
        Origin {
            topic: self.message.topic.into(),
            incarnation: self.message.incarnation.into(),
            partition: self.message.partition,
            offset: self.message.offset,
            index,
            of,
            sha256: self.sha256.as_str().into(),
        }
    }

    fn arrival(
        &self,
        pipeline: &str,
        (index, of): (u32, u32),
        alert: Result<Alert<'static>, Refusal>,
    ) -> Arrival<'static> {
        let origin = self.origin(index, of).into_owned();
        let body = match alert {
            Ok(alert) => Body::Alert(Box::new(alert)),
            Err(refusal) => Body::Unreadable(self.unreadable(refusal)),
        };
        Arrival {
            alert_id: origin.alert_id(),
            correlation_id: self.correlation_id.clone().into(),
            origin,
            pipeline: pipeline.to_owned().into(),
            body,
        }
    }

    fn unreadable(&self, refusal: Refusal) -> Unreadable<'static> {
        let place = refusal.at.map(|at| line_column(self.bytes, at));
        Unreadable {
            reason: refusal.reason,
            detail: refusal.detail,
            size: self.bytes.len() as u64,
            fingerprint: self.keys.fingerprint(self.bytes).into(),
            line: place.map(|(line, _)| line),
            column: place.map(|(_, column)| column),
        }
    }
}

/// The sender's trace id, if it gave one (W3C `traceparent`); else one of the message's own.
fn correlation_id(message: &Incoming<'_>) -> String {
    let header = message.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("traceparent"));
    let trace = header.and_then(|(_, value)| std::str::from_utf8(value).ok()?.get(3..35));
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if let Some(trace) = trace.filter(|trace| trace.bytes().all(is_hex)) {
        return trace.to_owned();
    }
    let (partition, offset) = (message.partition.to_be_bytes(), message.offset.to_be_bytes());
    let place: [&[u8]; 4] =
        [message.topic.as_bytes(), message.incarnation.as_bytes(), &partition, &offset];
    id_of("message", &place)
}
