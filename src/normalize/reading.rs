use std::borrow::Cow;
use std::cell::{Cell, OnceCell, RefCell};

use super::body::{Document, unpacked};
use super::explain::Explained;
use super::rows::Report;
use super::{ALERTS_MAX, FingerprintKeys};
use crate::case::{Alert, Arrival, Body, Id, Millis, Origin, Reason, Unreadable, hex};
use crate::json::{Fault, Malformed, line_column, utf8};
use sha2::{Digest, Sha256};

/// Larger messages are not read, packed or unpacked. The broker's own limit is higher, so that they
/// still arrive here.
pub const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// LIMIT: what all packed strings of one message may unpack to, tried by all pipelines together.
const OPENED_BYTES_MAX: usize = 16 * MESSAGE_BYTES_MAX;

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
pub(super) struct Refusal {
    pub(super) reason: Reason,
    pub(super) detail: Cow<'static, str>,
    pub(super) at: Option<usize>,
}

impl Refusal {
    pub(super) fn new(reason: Reason, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { reason, detail: detail.into(), at: None }
    }

    pub(super) fn too_large() -> Self {
        Self::new(Reason::TooLarge, format!("more than {MESSAGE_BYTES_MAX} bytes"))
    }

    pub(super) fn too_many() -> Self {
        Self::new(Reason::TooMany, format!("more than {ALERTS_MAX} alerts in one message"))
    }

    pub(super) fn or_at(self, at: usize) -> Self {
        Self { at: self.at.or(Some(at)), ..self }
    }

    /// Whether the text itself is at fault, so that it may be several.
    pub(super) fn is_of_the_text(&self) -> bool {
        matches!(self.reason, Reason::NotJson | Reason::TooDeep)
    }
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        let reason = match malformed.fault {
            Fault::TooDeep => Reason::TooDeep,
            _ => Reason::NotJson,
        };
        Self { reason, detail: malformed.fault.about().into(), at: Some(malformed.at) }
    }
}

/// What became of one alert of the message, and by which pipeline.
pub(super) struct Made<'r> {
    pub(super) id: Id,
    pub(super) pipeline: &'r str,
    pub(super) alert: Result<Box<Alert<'r>>, Refusal>,
}

/// Texts that are made on the way, until the message is done with.
#[derive(Default)]
pub(super) struct Kept {
    text: OnceCell<String>,
    next: OnceCell<Box<Kept>>,
}

impl Kept {
    pub(super) fn keep(&self, text: String) -> &str {
        let mut free = self;
        while free.text.get().is_some() {
            free = free.next.get_or_init(Box::default);
        }
        free.text.get_or_init(|| text)
    }
}

/// One after the other: each inside the one before would take a stack as deep.
impl Drop for Kept {
    fn drop(&mut self) {
        let mut next = self.next.take();
        while let Some(mut kept) = next {
            next = kept.next.take();
        }
    }
}

/// One message being read.
pub(super) struct Reading<'r> {
    pub(super) message: &'r Incoming<'r>,
    pub(super) keys: &'r FingerprintKeys,
    /// Where each alert's explanation goes, when somebody asked for it.
    pub(super) explained: Option<&'r RefCell<Vec<Explained>>>,
    pub(super) opened_bytes_left: Cell<usize>,
    pub(super) kept: Kept,
    pub(super) report: OnceCell<Report>,
    bytes: &'r [u8],
    unpacked: OnceCell<Vec<u8>>,
    sha256: String,
    correlation_id: OnceCell<String>,
    fingerprint: OnceCell<String>,
}

impl<'r> Reading<'r> {
    pub(super) fn new(message: &'r Incoming<'r>, keys: &'r FingerprintKeys) -> Self {
        let bytes = message.value.unwrap_or_default();
        let digest: [u8; 32] = Sha256::digest(bytes).into();
        Self {
            message,
            keys,
            explained: None,
            opened_bytes_left: Cell::new(OPENED_BYTES_MAX),
            kept: Kept::default(),
            report: OnceCell::new(),
            bytes,
            unpacked: OnceCell::new(),
            sha256: hex(&digest),
            correlation_id: trace_id(message).map_or_else(OnceCell::new, OnceCell::from),
            fingerprint: OnceCell::new(),
        }
    }

    /// The text of the message, unpacked.
    pub(super) fn text(&self) -> Result<Document<'_>, Refusal> {
        if self.message.value.is_none() {
            return Err(Refusal::new(Reason::Empty, "a tombstone"));
        }
        if self.bytes.len() > MESSAGE_BYTES_MAX {
            return Err(Refusal::too_large());
        }
        if let Some(unpacked) = unpacked(self.bytes, self.message.headers)? {
            self.unpacked.get_or_init(|| unpacked);
        }
        let bytes = self.plain();
        // Files that were made larger ahead of being written begin so.
        let at = bytes.iter().take_while(|byte| **byte == 0).count();
        let bytes = bytes.get(at..).unwrap_or_default();
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(Refusal::new(Reason::Empty, "no byte"));
        }
        let document = |text| Document { text, at };
        let placed = |malformed: Malformed| Malformed { at: at + malformed.at, ..malformed };
        Ok(utf8(bytes).map(document).map_err(placed)?)
    }

    fn plain(&self) -> &[u8] {
        self.unpacked.get().map_or(self.bytes, Vec::as_slice)
    }

    pub(super) fn alert_id(&self, index: usize) -> Id {
        self.origin(index, 0).alert_id()
    }

    fn origin(&self, index: usize, of: usize) -> Origin<'_> {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Origin {
            topic: self.message.topic.into(),
            incarnation: self.message.incarnation.into(),
            partition: self.message.partition,
            offset: self.message.offset,
            index: number(index),
            of: number(of),
            sha256: self.sha256.as_str().into(),
        }
    }

    pub(super) fn arrivals(&'r self, made: Vec<Made<'r>>) -> Vec<Arrival<'r>> {
        let of = made.len();
        let first = || made.first().map(|made| made.id.clone()).unwrap_or_default();
        let correlation_id = self.correlation_id.get_or_init(first).as_str();
        let arrival = |(index, made): (usize, Made<'r>)| {
            let body = match made.alert {
                Ok(alert) => Body::Alert(alert),
                Err(refusal) => Body::Unreadable(self.unreadable(refusal)),
            };
            Arrival {
                alert_id: made.id,
                correlation_id: correlation_id.into(),
                origin: self.origin(index, of),
                pipeline: made.pipeline.into(),
                body,
            }
        };
        made.into_iter().enumerate().map(arrival).collect()
    }

    fn unreadable(&self, refusal: Refusal) -> Unreadable<'_> {
        let place = refusal.at.map(|at| line_column(self.plain(), at));
        let fingerprint = self.fingerprint.get_or_init(|| self.keys.fingerprint(self.bytes));
        Unreadable {
            reason: refusal.reason,
            detail: refusal.detail,
            size: self.bytes.len() as u64,
            fingerprint: fingerprint.as_str().into(),
            line: place.map(|(line, _)| line),
            column: place.map(|(_, column)| column),
        }
    }
}

/// The sender's trace id, if it gave one (W3C `traceparent`). Otherwise all alerts of the message
/// bear the id of the first.
fn trace_id(message: &Incoming<'_>) -> Option<String> {
    let header = message.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("traceparent"));
    let trace = header.and_then(|(_, value)| std::str::from_utf8(value).ok()?.get(3..35))?;
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    trace.bytes().all(is_hex).then(|| trace.to_owned())
}
