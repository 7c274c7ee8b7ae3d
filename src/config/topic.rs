use super::enricher::columns;
use crate::case::Type;
use crate::text::{At, Fields, Node, Problems};

/// A compacted topic of the same brokers: what others keep there is a table here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSource {
    /// As the brokers call it; no prefix goes before it.
    pub name: String,
    pub key: TopicKey,
    /// The field that says when a record was last known to be so; where it is missing, the
    /// record's time is.
    pub as_of: Option<String>,
    /// The field of each provided field, in the order of `provides`.
    pub columns: Vec<String>,
    /// Where the topic is named.
    pub at: At,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicKey {
    /// The key of the record, as text.
    Record,
    /// Fields of the value: as many as `KeySpec::All` has fields, or one.
    Fields(Vec<String>),
}

impl TopicKey {
    /// How many parts of a key it fills.
    pub fn parts(&self) -> usize {
        match self {
            Self::Record => 1,
            Self::Fields(fields) => fields.len(),
        }
    }
}

/// What Kafka allows.
const NAME_MAX: usize = 249;

pub(super) fn topic(
    node: &Node,
    provides: &[(String, Type)],
    problems: &mut Problems,
) -> Option<TopicSource> {
    let mut fields = Fields::of(node, "`topic`", problems)?;
    let name_node = fields.require("name", problems);
    let name = fields.text("name", problems);
    let key_node = fields.get("key");
    let key: Vec<String> =
        fields.texts("key", problems).into_iter().map(|(text, _)| text.to_owned()).collect();
    let as_of = fields.text("as_of", problems).map(str::to_owned);
    let columns = columns(&mut fields, provides, problems);
    fields.finish(problems);
    if let Some(node) = key_node.filter(|_| key.is_empty()) {
        problems.add(&node.at, "`key` must name at least one field of the value");
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let is_name = |name: &str| {
        (1..=NAME_MAX).contains(&name.len())
            && name.chars().all(allowed)
            && name != "."
            && name != ".."
    };
    let at = name_node?.at.clone();
    if name.is_some_and(|name| !is_name(name)) {
        problems.add(&at, "a topic's name is made of letters, digits, `.`, `_` and `-`");
        return None;
    }
    let key = if key_node.is_some() { TopicKey::Fields(key) } else { TopicKey::Record };
    Some(TopicSource { name: name?.to_owned(), key, as_of, columns, at })
}
