use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Location, MergeKeyPolicy, Options, Spanned};

use super::{At, Problems, Source};

/// A YAML value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub at: At,
    pub data: Data,
    /// Where it begins in its file.
    pub byte: usize,
}

/// Decimals keep their text: nothing in a policy is a binary float.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    Null,
    Bool(bool),
    Int(i64),
    Decimal(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

impl Node {
    pub fn text(&self) -> Option<&str> {
        match &self.data {
            Data::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn kind(&self) -> &'static str {
        match &self.data {
            Data::Null => "nothing",
            Data::Bool(_) => "a boolean",
            Data::Int(_) => "a whole number",
            Data::Decimal(_) => "a decimal",
            Data::Text(_) => "text",
            Data::List(_) => "a list",
            Data::Map(_) => "a mapping",
        }
    }
}

/// Largest file read: a playbook of this size is a mistake.
const FILE_BYTES_MAX: usize = 1024 * 1024;

/// Reads one YAML document. Anchors, merge keys, tags and duplicate keys are refused.
///
/// Errors: adds one problem and returns nothing when the text is no YAML.
pub fn read(source: &Source, problems: &mut Problems) -> Option<Node> {
    problems.show(source);
    let start = At { path: source.path.clone(), line: 1, column: 1 };
    if source.text.len() > FILE_BYTES_MAX {
        problems.add(&start, format!("the file is larger than {FILE_BYTES_MAX} bytes"));
        return None;
    }
    let mut options = Options::default();
    options.strict_booleans = true;
    options.duplicate_keys = DuplicateKeyPolicy::Error;
    options.merge_keys = MergeKeyPolicy::Error;
    options.alias_limits.max_alias_expansions_per_anchor = 0;
    options.with_snippet = false;
    match serde_saphyr::from_str_with_options::<Spanned<Raw>>(&source.text, options) {
        Ok(raw) => Some(place(raw, source)),
        Err(error) => {
            let at = error.location().map_or(start, |place| at(&source.path, place));
            problems.add(&at, format!("not valid YAML: {}", first_line(&error.to_string())));
            None
        }
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or(text)
}

fn at(path: &Arc<str>, place: Location) -> At {
    let number = |n: u64| u32::try_from(n).unwrap_or(u32::MAX).max(1);
    At { path: path.clone(), line: number(place.line()), column: number(place.column()) }
}

fn place(raw: Spanned<Raw>, source: &Source) -> Node {
    let node_at = at(&source.path, raw.referenced);
    let byte = raw.referenced.span().byte_offset().and_then(|byte| usize::try_from(byte).ok());
    let byte = byte.unwrap_or(source.text.len());
    let data = match raw.value {
        Raw::Null => Data::Null,
        Raw::Bool(value) => Data::Bool(value),
        Raw::Int(value) => Data::Int(value),
        Raw::Decimal => Data::Decimal(decimal_text(source, byte)),
        Raw::Text(value) => Data::Text(value),
        Raw::List(items) => Data::List(items.into_iter().map(|item| place(item, source)).collect()),
        Raw::Map(entries) => Data::Map(
            entries.into_iter().map(|(k, v)| (place(k, source), place(v, source))).collect(),
        ),
    };
    Node { at: node_at, data, byte }
}

/// The characters of a decimal as they stand in the file: the parsed float has lost them.
fn decimal_text(source: &Source, byte: usize) -> String {
    let rest = source.text.get(byte..).unwrap_or_default().chars();
    rest.take_while(|c| c.is_ascii_alphanumeric() || "+-._".contains(*c)).collect()
}

enum Raw {
    Null,
    Bool(bool),
    Int(i64),
    Decimal,
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<Raw>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }
    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }
    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Int(value))
    }
    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Raw, E> {
        i64::try_from(value).map(Raw::Int).map_err(|_| E::custom("number is too large"))
    }
    fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Decimal)
    }
    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }
    fn visit_string<E>(self, value: String) -> Result<Raw, E> {
        Ok(Raw::Text(value))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (Option<Node>, Vec<String>) {
        let mut problems = Problems::default();
        let node = read(&Source::new("f.yaml", text), &mut problems);
        (node, problems.into_sorted().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn values_know_their_line_and_column() {
        let (node, problems) = parse("a: 1\nb:\n  - no\n  - 1.50\n");
        assert!(problems.is_empty(), "{problems:?}");
        let Data::Map(entries) = node.unwrap().data else { panic!("a mapping") };
        assert_eq!((entries[1].0.at.line, entries[1].0.at.column), (2, 1));
        let Data::List(items) = &entries[1].1.data else { panic!("a list") };
        assert_eq!(items[0].data, Data::Text("no".into()));
        assert_eq!((items[0].at.line, items[0].at.column), (3, 5));
        assert_eq!(items[1].data, Data::Decimal("1.50".into()));
    }

    #[test]
    fn duplicates_anchors_and_merges_are_refused() {
        for text in ["a: 1\na: 2\n", "a: &x 1\nb: *x\n", "a: {<<: {b: 1}}\n", "a: [1\n"] {
            let (node, problems) = parse(text);
            assert!(node.is_none() && problems.len() == 1, "{text}: {problems:?}");
        }
    }
}
