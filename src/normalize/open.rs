//! JSON inside strings, put in the place of the string.

use std::borrow::Cow;
use std::cell::Cell;

use super::body::{Document, Documents, Packed, gunzip, is_gzip};
use super::reading::{MESSAGE_BYTES_MAX, Refusal};
use crate::case::from_base64;
use crate::json::{Extractor, Fault, Kind, Path, Raw, Start, Step};
use crate::text::{Fields, Node, Problems};

/// The strings to open, in their order: each entry reads what the one before it made.
#[derive(Debug, Clone, Default)]
pub(super) struct Open {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    path: Path,
    walk: Extractor,
    slot: usize,
    coding: Coding,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Json,
    /// And gzip inside it, if its first bytes show that.
    Base64,
}

impl Open {
    pub(super) fn compile(nodes: &[Node], ignore_case: bool, problems: &mut Problems) -> Self {
        let entries = nodes.iter().filter_map(|node| Entry::compile(node, ignore_case, problems));
        Self { entries: entries.collect() }
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.entries.iter().map(|entry| &entry.path)
    }

    /// Nothing when nothing was opened. `found` gives what the text has at the path of each entry,
    /// `bytes_left` says what packed strings may still unpack to.
    pub(super) fn opened<'w, 't: 'w, F: Iterator<Item = &'w Raw<'t>>>(
        &self,
        text: &'t str,
        found: impl Fn(usize) -> F,
        bytes_left: &Cell<usize>,
    ) -> Result<Option<String>, Refusal> {
        let mut opened: Option<String> = None;
        let mut done: Vec<&Entry> = Vec::new();
        for (at, entry) in self.entries.iter().enumerate() {
            let made = match &opened {
                None => entry.opened(text, found(at), bytes_left)?,
                Some(text) => {
                    let is_there = found(at).any(is_text)
                        || done.iter().any(|outer| entry.may_be_inside(outer));
                    if !is_there {
                        continue;
                    }
                    let placeless = |refusal: Refusal| Refusal { at: None, ..refusal };
                    let slots = entry.walk.fill(text).map_err(|fault| placeless(fault.into()))?;
                    entry.opened(text, slots.all(entry.slot), bytes_left).map_err(placeless)?
                }
            };
            if made.is_some() {
                opened = made;
                done.push(entry);
            }
        }
        Ok(opened)
    }
}

impl Entry {
    fn compile(node: &Node, ignore_case: bool, problems: &mut Problems) -> Option<Self> {
        let (path, coding) = if let Some(text) = node.text() {
            (Some(text), Coding::Json)
        } else {
            let mut fields = Fields::of(node, "an entry of `open`", problems)?;
            let path = fields.require_text("path", problems);
            let coding = match fields.text("as", problems) {
                None | Some("json") => Coding::Json,
                Some("base64") => Coding::Base64,
                Some(_) => {
                    problems.add(&fields.at, "`as` is `json` or `base64`");
                    return None;
                }
            };
            fields.finish(problems);
            (path, coding)
        };
        match Path::parse(path?) {
            Ok(path) if path.is_key || matches!(path.start, Start::Around(_)) => {
                problems.add(&node.at, "`open` looks from the top of the document");
                None
            }
            Ok(path) => {
                let mut walk = Extractor::new(ignore_case);
                let slot = walk.slot(&path);
                Some(Self { path, walk, slot, coding })
            }
            Err(why) => {
                problems.add(&node.at, why);
                None
            }
        }
    }

    /// Whether what was opened at another entry's path may have brought strings for this one.
    fn may_be_inside(&self, outer: &Self) -> bool {
        let mut steps = outer.path.steps.iter().zip(&self.path.steps);
        let may_be_same = |(outer, inner): (&Step, &Step)| match (outer, inner) {
            (Step::Key(outer), Step::Key(inner)) => outer.eq_ignore_ascii_case(inner),
            _ => true,
        };
        outer.path.steps.len() <= self.path.steps.len() && steps.all(may_be_same)
    }

    fn opened<'w, 't: 'w>(
        &self,
        text: &str,
        found: impl Iterator<Item = &'w Raw<'t>>,
        bytes_left: &Cell<usize>,
    ) -> Result<Option<String>, Refusal> {
        let mut out = String::new();
        let mut done = 0;
        for raw in found.filter(|raw| is_text(raw)) {
            let Some(json) = self.json(raw, bytes_left)? else { continue };
            // A string's own text is between its quotes.
            let before = text.get(done..raw.at.saturating_sub(1)).unwrap_or_default();
            out.push_str(before);
            out.push_str(&json);
            done = raw.at + raw.text.len() + 1;
            if out.len() > MESSAGE_BYTES_MAX {
                return Err(Refusal::too_large());
            }
        }
        if done == 0 {
            return Ok(None);
        }
        out.push_str(text.get(done..).unwrap_or_default());
        if out.len() > MESSAGE_BYTES_MAX { Err(Refusal::too_large()) } else { Ok(Some(out)) }
    }

    /// Nothing when the string does not hold what is looked for.
    fn json<'t>(
        &self,
        raw: &Raw<'t>,
        bytes_left: &Cell<usize>,
    ) -> Result<Option<Cow<'t, str>>, Refusal> {
        let Some(content) = raw.scalar() else { return Ok(None) };
        if self.coding == Coding::Json {
            return json_of(content);
        }
        let Some(mut bytes) = from_base64(&content) else { return Ok(None) };
        if is_gzip(&bytes) {
            match gunzip(&bytes, MESSAGE_BYTES_MAX.min(bytes_left.get())) {
                Ok(unpacked) => bytes = unpacked,
                Err(Packed::TooLarge) => return Err(Refusal::too_large()),
                Err(Packed::Broken) => return Ok(None),
            }
            bytes_left.set(bytes_left.get().saturating_sub(bytes.len()));
        }
        String::from_utf8(bytes).map_or(Ok(None), |text| json_of(Cow::Owned(text)))
    }
}

fn is_text(raw: &Raw<'_>) -> bool {
    matches!(raw.kind, Kind::Text { .. })
}

/// The text as one JSON value: several objects and lists become a list.
fn json_of(text: Cow<'_, str>) -> Result<Option<Cow<'_, str>>, Refusal> {
    match Extractor::new(false).fill(&text).map(|_| ()) {
        Ok(()) => return Ok(Some(text)),
        Err(malformed) if malformed.fault == Fault::TooDeep => {
            return Err(Refusal { at: None, ..malformed.into() });
        }
        Err(malformed) if malformed.fault == Fault::AfterTheEnd => {}
        Err(_) => return Ok(None),
    }
    let mut list = String::with_capacity(text.len() + 2);
    for document in Documents::of(Document { text: &text, at: 0 }) {
        let Ok(document) = document else { return Ok(None) };
        list.push(if list.is_empty() { '[' } else { ',' });
        list.push_str(document.text);
    }
    list.push(']');
    Ok(Some(Cow::Owned(list)))
}
