//! How a message became what it became: for whoever writes a pipeline's file.

use super::layout::{Doc, Place};
use super::pipeline::Pipeline;
use super::when::Used;
use crate::case::{Field, Id};
use crate::json::{Kind, Leaf, Path, Raw, Step, leaves};

/// One alert, field by field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    pub alert_id: Id,
    /// What each mapped field was made of: paths and headers; nothing when it is the file's own
    /// word.
    pub made_of: Vec<(Field, Vec<String>)>,
    /// Paths whose values are replaced wherever they occur.
    pub redacted: Vec<String>,
    /// Paths that nothing in the pipeline's file refers to, once for all items of a list.
    pub unused: Vec<String>,
}

impl Explained {
    pub(super) fn new(pipeline: &Pipeline, doc: &Doc<'_, '_>, alert_id: &Id) -> Self {
        let redact = |place: &&Place| doc.all(**place).next().is_some();
        let redacted = pipeline.redact.iter().filter(redact);
        Self {
            alert_id: alert_id.clone(),
            made_of: Vec::new(),
            redacted: redacted.map(|place| pipeline.walks.name(*place).into_owned()).collect(),
            unused: unused(pipeline, doc),
        }
    }

    pub(super) fn field(&mut self, pipeline: &Pipeline, field: Field, used: &[Used]) {
        let mut made_of: Vec<String> = Vec::new();
        for used in used {
            let name = match used {
                Used::Place(place) => pipeline.walks.name(*place).into_owned(),
                Used::Header(name) => format!("header {name}"),
            };
            if !made_of.contains(&name) {
                made_of.push(name);
            }
        }
        self.made_of.push((field, made_of));
    }
}

fn unused(pipeline: &Pipeline, doc: &Doc<'_, '_>) -> Vec<String> {
    let is_scalar = |raw: &Raw<'_>| !matches!(raw.kind, Kind::List | Kind::Object);
    let mut used: Vec<Raw<'_>> = doc.everything().copied().filter(is_scalar).collect();
    used.extend(pipeline.redact.iter().flat_map(|place| doc.all(*place)));
    let range = |raw: &Raw<'_>| {
        let start = raw.text.as_ptr().addr();
        start..start + raw.text.len().max(1)
    };
    let used: Vec<_> = used.iter().map(range).collect();
    let is_used =
        |leaf: &Leaf<'_>| used.iter().any(|range_| range_.contains(&range(&leaf.raw).start));
    let mut unused = Vec::new();
    for leaf in leaves(doc.text).unwrap_or_default() {
        if leaf.raw.kind == Kind::Null || is_used(&leaf) {
            continue;
        }
        let each = |step: Step| if let Step::Index(_) = step { Step::Each } else { step };
        let steps = leaf.path.steps.into_iter().map(each).collect();
        let name = Path { steps, ..leaf.path }.to_string();
        if !unused.contains(&name) {
            unused.push(name);
        }
    }
    unused
}
