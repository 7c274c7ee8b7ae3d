use super::enricher::{TableSource, table};
use crate::case::Type;
use crate::text::{Fields, Node, Problems};

/// A table that says by what a service is asked of a key, where that is not the key itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Via {
    pub table: TableSource,
    /// Its fields, in the order of the source's patterns.
    pub gives: Vec<String>,
}

pub(super) fn via(node: &Node, folder: &str, problems: &mut Problems) -> Option<Via> {
    let mut fields = Fields::of(node, "`via`", problems)?;
    let given = fields.require("gives", problems);
    let gives = fields.texts("gives", problems).into_iter().map(|(name, _)| name.to_owned());
    let gives: Vec<String> = gives.collect();
    if let Some(node) = given.filter(|_| gives.is_empty()) {
        problems.add(&node.at, "`gives` must name at least one field");
    }
    let provides: Vec<(String, Type)> =
        gives.iter().map(|name| (name.clone(), Type::Text)).collect();
    let node = fields.require("table", problems);
    let table = node.and_then(|node| table(node, folder, &provides, problems));
    fields.finish(problems);
    Some(Via { table: table?, gives })
}
