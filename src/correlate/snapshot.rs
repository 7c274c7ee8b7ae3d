//! The state as it stands on the chain: in parts, since a topic takes no record of any size.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::cases::Case;
use super::control::Control;
use super::silences::Silence;
use super::waiting::Waiting;
use super::windows;
use crate::case::{Id, Millis};

/// Bytes. A part ends with the first of its entries that fills it, and no entry is longer than a
/// part: it stays at half of what the topic takes.
const PART_BYTES: usize = 1024 * 1024;
const VERSION: u32 = 4;

/// What there was no room for when a snapshot was made: on record with it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dropped {
    pub cases: usize,
    /// Cases that keep their numbers and lose the names behind them.
    pub names: usize,
    /// Keys of windows.
    pub keys: usize,
}

/// A part as written: lists in a fixed order, so that equal states are equal bytes.
#[derive(Default, Serialize)]
struct Written<'s> {
    v: u32,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    cases: &'s [Box<RawValue>],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    waiting: &'s [Box<RawValue>],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    silences: &'s [Box<RawValue>],
    #[serde(skip_serializing_if = "Option::is_none")]
    windows: Option<&'s windows::Written>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rest: Option<Rest<'s>>,
}

/// What is never much, in the last part.
#[derive(Serialize)]
pub(super) struct Rest<'s> {
    pub recent: Vec<&'s str>,
    pub budgets: &'s BTreeMap<Box<str>, (i64, i64)>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub orders: &'s BTreeMap<String, Millis>,
    #[serde(skip_serializing_if = "Control::is_default")]
    pub control: &'s Control,
    pub policy: &'s Option<(String, i64)>,
    pub dropped: Dropped,
}

/// Parts of a state, one after another.
#[derive(Default)]
pub(super) struct Writer {
    parts: Vec<String>,
    is_broken: bool,
}

impl Writer {
    pub(super) fn cases<'t>(&mut self, all: impl IntoIterator<Item = &'t Case>) {
        self.list(all, |cases| Written { cases, ..Written::default() });
    }

    pub(super) fn waiting<'t>(&mut self, all: impl IntoIterator<Item = &'t Waiting>) {
        self.list(all, |waiting| Written { waiting, ..Written::default() });
    }

    pub(super) fn silences<'t>(&mut self, all: impl IntoIterator<Item = &'t Silence>) {
        self.list(all, |silences| Written { silences, ..Written::default() });
    }

    pub(super) fn windows(&mut self, windows: &windows::Written) {
        if !windows.is_empty() {
            self.put(Written { windows: Some(windows), ..Written::default() });
        }
    }

    /// An empty text stands for what could not be written.
    pub(super) fn finish(mut self, rest: Rest<'_>) -> Vec<String> {
        self.put(Written { rest: Some(rest), ..Written::default() });
        if self.is_broken { vec![String::new()] } else { self.parts }
    }

    fn list<'t, T: Serialize + 't>(
        &mut self,
        all: impl IntoIterator<Item = &'t T>,
        part: impl Fn(&[Box<RawValue>]) -> Written<'_>,
    ) {
        let (mut texts, mut bytes) = (Vec::new(), 0);
        let mut all = all.into_iter().peekable();
        while let Some(one) = all.next() {
            match to_raw_value(one) {
                Ok(text) => {
                    bytes += text.get().len();
                    texts.push(text);
                }
                Err(_) => self.is_broken = true,
            }
            if bytes >= PART_BYTES || all.peek().is_none() {
                self.put(part(&texts));
                texts.clear();
                bytes = 0;
            }
        }
    }

    fn put(&mut self, part: Written<'_>) {
        match serde_json::to_string(&Written { v: VERSION, ..part }) {
            Ok(text) => self.parts.push(text),
            Err(_) => self.is_broken = true,
        }
    }
}

/// All parts, read.
#[derive(Default)]
pub(super) struct Read {
    pub cases: Vec<Case>,
    pub waiting: Vec<Waiting>,
    pub silences: Vec<Silence>,
    pub windows: windows::Written,
    pub rest: ReadRest,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadPart {
    v: u32,
    #[serde(default)]
    cases: Vec<Case>,
    #[serde(default)]
    waiting: Vec<Waiting>,
    #[serde(default)]
    silences: Vec<Silence>,
    windows: Option<windows::Written>,
    rest: Option<ReadRest>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadRest {
    pub recent: Vec<Id>,
    pub budgets: BTreeMap<Box<str>, (i64, i64)>,
    #[serde(default)]
    pub orders: BTreeMap<String, Millis>,
    #[serde(default)]
    pub control: Control,
    pub policy: Option<(String, i64)>,
    #[serde(rename = "dropped")]
    _dropped: Dropped,
}

impl Read {
    /// Nothing unless it is a whole state of this version.
    pub(super) fn of(parts: &[&str]) -> Option<Self> {
        let mut all = Self::default();
        let (last, before) = parts.split_last()?;
        for part in before {
            let part: ReadPart = serde_json::from_str(part).ok()?;
            if part.v != VERSION || part.rest.is_some() {
                return None;
            }
            all.cases.extend(part.cases);
            all.waiting.extend(part.waiting);
            all.silences.extend(part.silences);
            all.windows = part.windows.unwrap_or(all.windows);
        }
        let last: ReadPart = serde_json::from_str(last).ok()?;
        let rest = last.rest.filter(|_| last.v == VERSION)?;
        Some(Self { rest, ..all })
    }
}
