//! The state as it stands on the chain: in parts, since a topic takes no record of any size.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::case::{Case, Missed};
use super::control::Control;
use super::silences::Silence;
use super::waiting::Waiting;
use super::windows;
use crate::case::{Id, Millis, is_zero};

/// Bytes of entries. Windows may be three times as long by themselves: they are one entry.
const PART_BYTES: usize = 1024 * 1024;
const VERSION: u32 = 6;

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
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cases: Vec<Box<RawValue>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    waiting: Vec<Box<RawValue>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    silences: Vec<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    windows: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rest: Option<Rest<'s>>,
}

/// What is never much, in the last part.
#[derive(Serialize)]
pub(super) struct Rest<'s> {
    pub recent: Vec<&'s str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub delivered: Vec<&'s str>,
    pub budgets: &'s BTreeMap<Box<str>, (i64, i64)>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub orders: &'s BTreeMap<String, Millis>,
    #[serde(skip_serializing_if = "Control::is_default")]
    pub control: &'s Control,
    pub policy: &'s Option<(String, i64)>,
    #[serde(skip_serializing_if = "is_zero")]
    pub missed: Missed,
    pub dropped: Dropped,
}

/// Parts of a state, one after another.
#[derive(Default)]
pub(super) struct Writer<'s> {
    parts: Vec<String>,
    part: Written<'s>,
    /// Of the entries in it.
    bytes: usize,
    is_broken: bool,
}

impl<'s> Writer<'s> {
    pub(super) fn cases(&mut self, all: &[&Case]) {
        for case in all {
            self.add(case, |part, text| part.cases.push(text));
        }
        self.end_part();
    }

    pub(super) fn waiting<'t>(&mut self, all: impl Iterator<Item = &'t Waiting>) {
        all.for_each(|waiting| self.add(waiting, |part, text| part.waiting.push(text)));
    }

    pub(super) fn silences(&mut self, all: &[&Silence]) {
        for silence in all {
            self.add(silence, |part, text| part.silences.push(text));
        }
    }

    pub(super) fn windows(&mut self, windows: &windows::Written) {
        self.add(windows, |part, text| part.windows = Some(text));
    }

    /// An empty text stands for what could not be written.
    pub(super) fn finish(mut self, rest: Rest<'s>) -> Vec<String> {
        if self.bytes > PART_BYTES {
            self.end_part();
        }
        self.part.rest = Some(rest);
        self.write();
        if self.is_broken { vec![String::new()] } else { self.parts }
    }

    fn add(&mut self, one: &impl Serialize, to: impl Fn(&mut Written<'s>, Box<RawValue>)) {
        let Ok(text) = to_raw_value(one) else {
            self.is_broken = true;
            return;
        };
        if self.bytes + text.get().len() > PART_BYTES {
            self.end_part();
        }
        self.bytes += text.get().len();
        to(&mut self.part, text);
    }

    fn end_part(&mut self) {
        if self.bytes > 0 {
            self.write();
        }
    }

    fn write(&mut self) {
        let part = Written { v: VERSION, ..std::mem::take(&mut self.part) };
        self.bytes = 0;
        match serde_json::to_string(&part) {
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
    #[serde(default)]
    pub delivered: Vec<Id>,
    pub budgets: BTreeMap<Box<str>, (i64, i64)>,
    #[serde(default)]
    pub orders: BTreeMap<String, Millis>,
    #[serde(default)]
    pub control: Control,
    pub policy: Option<(String, i64)>,
    #[serde(default)]
    pub missed: Missed,
    #[serde(rename = "dropped")]
    _dropped: Dropped,
}

impl Read {
    /// Nothing unless it is a whole state of this version.
    pub(super) fn of(parts: &[&str]) -> Option<Self> {
        let mut all = Self::default();
        let mut rest = None;
        for text in parts {
            let part: ReadPart = serde_json::from_str(text).ok()?;
            if part.v != VERSION || rest.is_some() {
                return None;
            }
            all.cases.extend(part.cases);
            all.waiting.extend(part.waiting);
            all.silences.extend(part.silences);
            all.windows = part.windows.unwrap_or(all.windows);
            rest = part.rest;
        }
        Some(Self { rest: rest?, ..all })
    }
}
