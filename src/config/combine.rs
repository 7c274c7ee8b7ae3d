use super::enricher::{SourceConfig, one_source};
use super::words::{listed, number};
use crate::case::Type;
use crate::text::{At, Data, Fields, Node, Problems, suggestion};

/// Several sources of one fact, and whom to believe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CombineSource {
    /// As they stand in the file; at least two.
    pub parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub source: SourceConfig,
    /// Which of the enricher's fields it says anything of, by index, in their order.
    pub gives: Vec<usize>,
    /// 1 is the highest. A lower one gives only what those above it do not have; two of one rank
    /// must not contradict each other.
    pub rank: u8,
    pub when_unknown: WhenUnknown,
    pub at: At,
}

/// What a part that fails does to the fields that it gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenUnknown {
    /// They are unknown, whatever lower sources say (INV-4).
    Unknown,
    /// The others give them as if this one were not there.
    FillIn,
}

const WHEN_UNKNOWN: &[(&str, WhenUnknown)] =
    &[("unknown", WhenUnknown::Unknown), ("fill_in", WhenUnknown::FillIn)];

const PARTS_MAX: usize = 8;
const RANK_MAX: i64 = 9;

pub(super) fn combine(
    node: &Node,
    folder: &str,
    provides: &[(String, Type)],
    problems: &mut Problems,
) -> Option<CombineSource> {
    let Data::List(nodes) = &node.data else {
        problems.add(&node.at, format!("`combine` must be a list of sources, not {}", node.kind()));
        return None;
    };
    if !(2..=PARTS_MAX).contains(&nodes.len()) {
        problems.add(&node.at, format!("`combine` must have 2 to {PARTS_MAX} sources"));
    }
    let parts: Vec<Option<Part>> =
        nodes.iter().map(|node| part(node, folder, provides, problems)).collect();
    let parts = parts.into_iter().collect::<Option<Vec<Part>>>()?;
    for (index, (name, _)) in provides.iter().enumerate() {
        if !parts.iter().any(|part| part.gives.contains(&index)) {
            problems.add(&node.at, format!("no source of `combine` gives `{name}`"));
        }
    }
    Some(CombineSource { parts })
}

fn part(
    node: &Node,
    folder: &str,
    provides: &[(String, Type)],
    problems: &mut Problems,
) -> Option<Part> {
    let mut fields = Fields::of(node, "a source of `combine`", problems)?;
    let rank = number(&mut fields, "rank", (1, RANK_MAX), problems);
    let when_unknown = fields.get("when_unknown");
    let when_unknown =
        when_unknown.map(|node| listed(node, "when_unknown", WHEN_UNKNOWN, problems));
    let gives = gives(&mut fields, provides, problems);
    let given: Vec<(String, Type)> =
        gives.iter().filter_map(|index| provides.get(*index)).cloned().collect();
    let source = one_source(&mut fields, folder, &given, problems);
    fields.finish(problems);
    Some(Part {
        source: source?,
        gives,
        rank: rank.unwrap_or(1),
        when_unknown: when_unknown.flatten().unwrap_or(WhenUnknown::Unknown),
        at: node.at.clone(),
    })
}

/// All fields, where the part does not name its own.
fn gives(
    fields: &mut Fields<'_>,
    provides: &[(String, Type)],
    problems: &mut Problems,
) -> Vec<usize> {
    let Some(node) = fields.get("gives") else { return (0..provides.len()).collect() };
    let mut gives = Vec::new();
    for (name, at) in fields.texts("gives", problems) {
        match provides.iter().position(|(each, _)| each == name) {
            Some(index) if gives.contains(&index) => {
                problems.add(at, format!("`{name}` stands twice"));
            }
            Some(index) => gives.push(index),
            None => {
                let hint = suggestion(name, provides.iter().map(|(each, _)| each.as_str()));
                problems.add(at, format!("`{name}` is not in `provides`{hint}"));
            }
        }
    }
    if gives.is_empty() {
        problems.add(&node.at, "`gives` must name at least one field");
    }
    gives.sort_unstable();
    gives
}
