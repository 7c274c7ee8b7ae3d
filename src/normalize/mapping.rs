use std::cell::{Cell, RefCell};

use serde::Serialize;

use super::address::address_of;
use super::explain::Explained;
use super::layout::Doc;
use super::pipeline::Pipeline;
use super::reading::{Reading, Refusal};
use super::redact::Redactor;
use super::source::{From, Reader};
use super::when::{Seen, Used};
use super::words::is_word;
use super::{FingerprintKeys, Pipelines};
use crate::case::{Alert, Field, Id, Reason, Type, Value};

/// Of one alert, as JSON.
pub const ALERT_BYTES_MAX: usize = 64 * 1024;

/// Room for the texts of an alert is made before any is read. More than a kilobyte takes the
/// allocator longer.
const TEXTS_USUALLY: usize = 24;

const UNKNOWN_KIND: &str = "unknown";

impl Pipelines {
    pub(super) fn alert<'r>(
        &self,
        pipeline: &'r Pipeline,
        reading: &'r Reading<'r>,
        doc: &Doc<'r, '_>,
        id: &Id,
    ) -> Result<Box<Alert<'r>>, Refusal> {
        let mut redactor = Redactor::new(reading.keys);
        for place in &pipeline.redact {
            for raw in doc.all(*place) {
                let added = redactor.add(*raw);
                added.map_err(|_| {
                    Refusal::new(Reason::AlertTooLarge, "too many values to redact")
                })?;
            }
        }
        let is_too_long = Cell::new(false);
        let text_bytes_max = ALERT_BYTES_MAX;
        let (headers, trace) = (reading.message.headers, RefCell::default());
        let cleaned = RefCell::new(Vec::with_capacity(TEXTS_USUALLY));
        let redactor = &redactor;
        let is_traced = Cell::new(reading.explained.is_some());
        let reader = Reader {
            doc,
            headers,
            redactor,
            text_bytes_max,
            is_too_long,
            trace,
            is_traced,
            cleaned,
        };
        let mut explained = reading.explained.map(|all| (all, Explained::new(pipeline, doc, id)));
        let note = explained.as_mut().map(|(_, explained)| explained);
        let mut alert = Box::new(Alert::default());
        map(&mut alert, pipeline, &reader, note)?;
        if let Some((all, explained)) = explained {
            all.borrow_mut().push(explained);
        }
        let at = reading.message.received_at;
        default(&mut alert, Field::Detector, || Value::Text(pipeline.name.as_str().into()));
        default(&mut alert, Field::ObservedAt, || Value::Time(at));
        alert.set(Field::ReceivedAt, Value::Time(at));
        let mut values = pipeline.fingerprint.iter().filter_map(|place| doc.raw(*place));
        let credential = values.find_map(|raw| redactor.credential(raw));
        if let Some((_, fingerprint)) = credential {
            let fingerprint = fingerprint.to_owned();
            alert.set(Field::CredentialFingerprint, Value::Text(fingerprint.into()));
        }
        let seen = Seen { alert: Some(&alert), trace: None, ..reader.seen() };
        let dismissed = pipeline.not_an_alert.iter().find(|entry| entry.when.holds(&seen));
        if let Some(entry) = dismissed {
            alert.set(Field::NotAnAlert, Value::Text(entry.id.as_str().into()));
        }
        self.identify(&mut alert, credential.map(|(secret, _)| secret), reading.keys, id);
        default(&mut alert, Field::NhiKind, || Value::Text(UNKNOWN_KIND.into()));
        check_size(&alert)?;
        Ok(alert)
    }

    /// Every alert has an NHI id, and says how it came by it (INV-11).
    fn identify(
        &self,
        alert: &mut Alert<'_>,
        secret: Option<&str>,
        keys: &FingerprintKeys,
        alert_id: &Id,
    ) {
        if let Some(aliases) = self.aliases() {
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

fn map<'a>(
    alert: &mut Alert<'a>,
    pipeline: &'a Pipeline,
    reader: &Reader<'a, '_>,
    mut note: Option<&mut Explained>,
) -> Result<(), Refusal> {
    let kind = pipeline.kind.value(Type::Text, reader);
    if !kind.is_present() {
        return Err(Refusal::new(Reason::BadField, "`kind` has no entry for it"));
    }
    alert.set(Field::Kind, kind);
    let is_noted = note.is_some();
    let mut noted = |field: Field, value: &Value<'_>| {
        if let Some(note) = note.as_mut().filter(|_| value.is_present()) {
            note.field(pipeline, field, &reader.trace.borrow());
        }
    };
    noted(Field::Kind, alert.get(Field::Kind));
    for mapped in &pipeline.map {
        reader.is_traced.set(is_noted || mapped.field == Field::NhiKind);
        let mut value = mapped.source.value(mapped.of, reader);
        if value.text().is_some_and(|text| !is_word(mapped.field, text)) {
            value = Value::Absent;
        }
        match mapped.field {
            Field::SourceIp => {
                let text = if let Value::Text(text) = value { Some(text) } else { None };
                value = text.and_then(address_of).map_or(Value::Absent, Value::Text);
            }
            Field::NhiKind if value.text().is_some_and(|kind| kind != UNKNOWN_KIND) => {
                let known_by = known_by(pipeline, &reader.trace.borrow());
                alert.set(Field::NhiKindKnownBy, Value::Text(known_by.into()));
            }
            _ => {}
        }
        if reader.is_too_long.replace(false) && mapped.cut_at.is_none() {
            return Err(too_large());
        }
        if mapped.is_required && !value.is_present() {
            let path = mapped.field.path();
            let why = if mapped.source.is_there(reader) { "can not be used" } else { "is missing" };
            return Err(Refusal::new(Reason::BadField, format!("`{path}` {why}")));
        }
        noted(mapped.field, &value);
        if let Some(limit) = mapped.cut_at {
            value = cut(limit, value);
        }
        alert.set(mapped.field, value);
    }
    Ok(())
}

/// Where the kind was read, or that the pipeline says it of all its alerts.
fn known_by(pipeline: &Pipeline, used: &[Used]) -> String {
    match used.first() {
        Some(Used::Place(place)) => ["path:", pipeline.walks.name(*place).as_ref()].concat(),
        Some(Used::Header(name)) => format!("header:{name}"),
        None => "pipeline".to_owned(),
    }
}

fn cut(limit: usize, value: Value<'_>) -> Value<'_> {
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

pub(super) fn empty_report<'r>(
    pipeline: &'r Pipeline,
    reading: &Reading<'_>,
    id: &Id,
) -> Alert<'r> {
    let mut alert = Alert::default();
    let text = |text: &'r str| Value::Text(text.into());
    let kind = if let From::Const(kind) = &pipeline.kind.from { kind } else { "activity" };
    alert.set(Field::Kind, text(kind));
    alert.set(Field::Detector, text(&pipeline.name));
    alert.set(Field::NotAnAlert, text("empty_report"));
    alert.set(Field::ObservedAt, Value::Time(reading.message.received_at));
    alert.set(Field::ReceivedAt, Value::Time(reading.message.received_at));
    alert.set(Field::NhiId, Value::Text(format!("origin:{id}").into()));
    alert.set(Field::NhiKnownBy, text("origin"));
    alert.set(Field::NhiKind, text(UNKNOWN_KIND));
    alert
}

/// Small alerts, all but a few, are not written out to be measured: JSON makes a byte six at most.
fn check_size(alert: &Alert<'_>) -> Result<(), Refusal> {
    let text_bytes: usize = alert.texts().map(str::len).sum();
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
