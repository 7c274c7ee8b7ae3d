use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::addresses::{AddressSource, addresses};
use super::aws::{IamSource, aws_iam};
use super::cache::{CacheConfig, cache};
use super::combine::{CombineSource, combine};
use super::http::{HttpConfig, http};
use super::parts::check_parts;
use super::topic::{TopicSource, topic};
use super::via::Via;
use super::words::{duration, listed};
use crate::case::{EnricherShape, FIELDS, Field, Type, field_named, hex};
use crate::clause::Schema;
use crate::text::{At, Data, Fields, Node, Problems, Source, read, suggestion};

/// One `enrichers/<name>/enricher.yaml`: which facts, looked up by what, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnricherConfig {
    pub name: Arc<str>,
    pub title: String,
    pub owner: String,
    /// The fact's fields in the order in which rows hold them.
    pub provides: Vec<(String, Type)>,
    pub key: KeySpec,
    pub source: SourceConfig,
    /// A lookup that takes longer is `unknown(timeout)`, whatever the batch would allow.
    pub timeout_ms: Option<i64>,
    /// Of a source that is asked over the network.
    pub cache: CacheConfig,
    /// Of its file: what is cached under another one is not used.
    pub digest: Arc<str>,
    pub at: At,
}

impl EnricherConfig {
    /// What its source reads, from the root of the configuration.
    pub fn files(&self) -> Vec<&str> {
        self.source.files()
    }

    /// Those of `services:` that it asks.
    pub fn services(&self) -> Vec<&str> {
        match &self.source {
            SourceConfig::Combine(source) => {
                source.parts.iter().filter_map(|part| part.source.service()).collect()
            }
            source => source.service().into_iter().collect(),
        }
    }

    /// One part of a combined source, as an enricher of its own.
    #[must_use]
    pub fn of_part(&self, source: &CombineSource, index: usize) -> Self {
        let Some(part) = source.parts.get(index) else { return self.clone() };
        let provides = part.gives.iter().filter_map(|index| self.provides.get(*index));
        Self {
            provides: provides.cloned().collect(),
            source: part.source.clone(),
            digest: format!("{}.{index}", self.digest).into(),
            ..self.clone()
        }
    }

    /// The table that says what its source is asked by, as an enricher of its own.
    #[must_use]
    pub fn of_via(&self, via: &Via) -> Self {
        let provides = via.gives.iter().map(|name| (name.clone(), Type::Text));
        Self { provides: provides.collect(), ..self.clone() }
    }
}

impl SourceConfig {
    fn files(&self) -> Vec<&str> {
        match self {
            Self::Table(table) => vec![&table.file],
            Self::Addresses(source) => source.lists.iter().map(|list| list.file.as_str()).collect(),
            Self::Http(http) => http.via.iter().map(|via| via.table.file.as_str()).collect(),
            Self::Topic(_) | Self::AwsIam(_) => Vec::new(),
            Self::Combine(source) => {
                source.parts.iter().flat_map(|part| part.source.files()).collect()
            }
        }
    }
}

/// Which fields of an alert make the key of the lookup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySpec {
    /// Every one of them, in order.
    All(Vec<Field>),
    /// The first that the alert has.
    First(Vec<Field>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceConfig {
    Table(TableSource),
    Addresses(AddressSource),
    Http(HttpConfig),
    Topic(TopicSource),
    AwsIam(IamSource),
    Combine(CombineSource),
}

impl SourceConfig {
    /// Whether it is asked over the network, and so cached.
    pub fn is_remote(&self) -> bool {
        match self {
            Self::Table(_) | Self::Addresses(_) | Self::Topic(_) => false,
            Self::Http(_) | Self::AwsIam(_) => true,
            Self::Combine(source) => source.parts.iter().any(|part| part.source.is_remote()),
        }
    }

    /// The topics that are held as tables for it.
    pub fn topics(&self) -> Vec<&TopicSource> {
        match self {
            Self::Topic(topic) => vec![topic],
            Self::Combine(source) => {
                source.parts.iter().flat_map(|part| part.source.topics()).collect()
            }
            Self::Table(_) | Self::Addresses(_) | Self::Http(_) | Self::AwsIam(_) => Vec::new(),
        }
    }

    /// The one of `services:` that it asks, as its only one.
    pub fn service(&self) -> Option<&str> {
        match self {
            Self::Http(http) => Some(&http.service),
            Self::AwsIam(iam) => Some(&iam.service),
            Self::Table(_) | Self::Addresses(_) | Self::Topic(_) | Self::Combine(_) => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSource {
    /// From the root of the configuration: `enrichers/owner/owners.csv`.
    pub file: String,
    pub format: TableFormat,
    /// The columns that make the key: as many as `KeySpec::All` has fields, or one.
    pub key: Vec<String>,
    /// The column that says when a row was last known to be so; where it is empty, the file's time
    /// is.
    pub as_of: Option<String>,
    /// The column of each provided field, in the order of `provides`.
    pub columns: Vec<String>,
    /// Where the file is named.
    pub at: At,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableFormat {
    Csv,
    Yaml,
    Ndjson,
}

const FORMATS: &[(&str, TableFormat)] =
    &[("csv", TableFormat::Csv), ("yaml", TableFormat::Yaml), ("ndjson", TableFormat::Ndjson)];

/// Reads one enricher; `folder` is its directory from the root: `enrichers/owner`.
///
/// Errors: adds every problem of the file; then there is no configuration, but perhaps a shape, so
/// that conditions over its facts can still be checked.
pub fn enricher(
    source: &Source,
    folder: &str,
    problems: &mut Problems,
) -> (Option<EnricherShape>, Option<EnricherConfig>) {
    let before = problems.len();
    let node = read(source, problems);
    let fields = node.as_ref().and_then(|node| Fields::of(node, "an enricher", problems));
    let Some(mut fields) = fields else { return (None, None) };
    let name = name(&mut fields, folder, problems).or_else(|| folder.rsplit('/').next());
    let provides = provides(&mut fields, problems);
    let shape = EnricherShape { name: name.unwrap_or_default().into(), provides };
    let digest = hex(&Sha256::digest(&source.text)).chars().take(16).collect::<String>();
    let config = rest(&shape, fields, (folder, digest.into()), problems);
    (Some(shape), config.filter(|_| problems.len() == before))
}

fn rest(
    shape: &EnricherShape,
    mut fields: Fields<'_>,
    (folder, digest): (&str, Arc<str>),
    problems: &mut Problems,
) -> Option<EnricherConfig> {
    let at = fields.at.clone();
    let title = fields.require_text("title", problems);
    let owner = fields.require_text("owner", problems);
    let key = fields.require("key", problems).and_then(|node| key(node, problems));
    let source = fields.require("source", problems);
    let source = source.and_then(|node| source_of(node, folder, &shape.provides, problems));
    let timeout_ms = fields.get("limits").and_then(|node| timeout(node, problems));
    let cached = fields.get("cache").map(|node| (&node.at, cache(node, problems)));
    fields.finish(problems);
    if let (Some((at, _)), Some(source)) = (&cached, &source)
        && !source.is_remote()
    {
        problems.add(at, "`cache` goes with a source that is asked over the network");
    }
    let (key, source) = (key?, source?);
    check_parts(&key, &source, &at, problems);
    Some(EnricherConfig {
        name: shape.name.clone(),
        title: title?.to_owned(),
        owner: owner?.to_owned(),
        provides: shape.provides.clone(),
        key,
        source,
        timeout_ms,
        cache: cached.map(|(_, cache)| cache).unwrap_or_default(),
        digest,
        at,
    })
}

/// Conditions call the facts `<enricher>.<field>`, so the name is a word that means nothing else.
fn name<'n>(fields: &mut Fields<'n>, folder: &str, problems: &mut Problems) -> Option<&'n str> {
    let node = fields.require("enricher", problems)?;
    let Some(name) = node.text() else {
        problems.add(&node.at, format!("`enricher` must be text, not {}", node.kind()));
        return None;
    };
    if let Some(problem) = Schema::enricher_name_problem(name) {
        problems.add(&node.at, problem);
    }
    if folder.rsplit('/').next() != Some(name) {
        problems.add(&node.at, format!("`{name}` must be named like its folder `{folder}`"));
    }
    Some(name)
}

fn is_word(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn provides(fields: &mut Fields<'_>, problems: &mut Problems) -> Vec<(String, Type)> {
    let Some(node) = fields.require("provides", problems) else { return Vec::new() };
    let Some(mut types) = Fields::of(node, "`provides`", problems) else { return Vec::new() };
    let mut provides = Vec::new();
    let types = types.rest();
    if types.is_empty() {
        problems.add(&node.at, "an enricher must provide at least one field");
    }
    for (name, of) in types {
        let word = name.text().unwrap_or_default();
        if !is_word(word) {
            problems.add(&name.at, "a field's name must be small letters, digits and `_`");
            continue;
        }
        let of_name = of.text().unwrap_or_default();
        match Type::named(of_name) {
            Some(of) => provides.push((word.to_owned(), of)),
            None => {
                let hint = suggestion(of_name, Type::ALL.into_iter().map(Type::name));
                problems.add(&of.at, format!("`{word}` has no known type{hint}"));
            }
        }
    }
    provides
}

fn key(node: &Node, problems: &mut Problems) -> Option<KeySpec> {
    if let Some(path) = node.text() {
        return Some(KeySpec::All(vec![key_field(path, &node.at, problems)?]));
    }
    let mut fields = Fields::of(node, "`key`", problems)?;
    let (all, first) = (fields.get("all"), fields.get("first"));
    let spec = match (all, first) {
        (Some(node), None) => key_fields(node, problems).map(KeySpec::All),
        (None, Some(node)) => key_fields(node, problems).map(KeySpec::First),
        _ => {
            problems.add(&node.at, "`key` must be one field, or `all:` or `first:` of a list");
            None
        }
    };
    fields.finish(problems);
    spec
}

fn key_fields(node: &Node, problems: &mut Problems) -> Option<Vec<Field>> {
    let Data::List(items) = &node.data else {
        problems.add(&node.at, format!("must be a list of fields, not {}", node.kind()));
        return None;
    };
    let fields: Vec<Option<Field>> = items
        .iter()
        .map(|item| key_field(item.text().unwrap_or("?"), &item.at, problems))
        .collect();
    if fields.is_empty() {
        problems.add(&node.at, "must name at least one field");
        return None;
    }
    fields.into_iter().collect()
}

fn key_field(path: &str, at: &At, problems: &mut Problems) -> Option<Field> {
    let Some(field) = field_named(path) else {
        let hint = suggestion(path, FIELDS.iter().map(|info| info.path));
        problems.add(at, format!("an alert has no field `{path}`{hint}"));
        return None;
    };
    if field.of() != Type::Text {
        problems.add(at, format!("`{path}` is {}; a key must be text", field.of().name()));
        return None;
    }
    Some(field)
}

fn source_of(
    node: &Node,
    folder: &str,
    provides: &[(String, Type)],
    problems: &mut Problems,
) -> Option<SourceConfig> {
    let mut kinds = Fields::of(node, "`source`", problems)?;
    if let Some(node) = kinds.get("combine") {
        kinds.finish(problems);
        return combine(node, folder, provides, problems).map(SourceConfig::Combine);
    }
    let source = one_source(&mut kinds, folder, provides, problems);
    kinds.finish(problems);
    source
}

/// Of the one kind that `kinds` names; what else stands there is the caller's.
pub(super) fn one_source(
    kinds: &mut Fields<'_>,
    folder: &str,
    provides: &[(String, Type)],
    problems: &mut Problems,
) -> Option<SourceConfig> {
    let found = KINDS.iter().filter_map(|kind| Some((*kind, kinds.get(kind)?)));
    match found.collect::<Vec<_>>().as_slice() {
        [("table", node)] => table(node, folder, provides, problems).map(SourceConfig::Table),
        [("addresses", node)] => {
            addresses(node, folder, provides, problems).map(SourceConfig::Addresses)
        }
        [("http", node)] => http(node, folder, provides, problems).map(SourceConfig::Http),
        [("aws_iam", node)] => aws_iam(node, provides, problems).map(SourceConfig::AwsIam),
        [("topic", node)] => topic(node, provides, problems).map(SourceConfig::Topic),
        _ => {
            problems.add(&kinds.at, format!("a source must be one of {}", KINDS.join(", ")));
            None
        }
    }
}

/// What a source can be, beside several of them combined.
const KINDS: [&str; 5] = ["table", "addresses", "http", "topic", "aws_iam"];

pub(super) fn table(
    table: &Node,
    folder: &str,
    provides: &[(String, Type)],
    problems: &mut Problems,
) -> Option<TableSource> {
    let mut fields = Fields::of(table, "`table`", problems)?;
    let file = fields.require("file", problems);
    let format = format(&mut fields, file, problems);
    let key_node = fields.require("key", problems);
    let key: Vec<String> =
        fields.texts("key", problems).into_iter().map(|(text, _)| text.to_owned()).collect();
    if let Some(node) = key_node.filter(|_| key.is_empty()) {
        problems.add(&node.at, "`key` must name at least one column");
    }
    let as_of = fields.text("as_of", problems).map(str::to_owned);
    let columns = columns(&mut fields, provides, problems);
    fields.finish(problems);
    let file = file?;
    let path = inside(folder, file.text()?);
    if path.is_none() {
        problems.add(&file.at, "the file must be in or under the enricher's folder");
    }
    Some(TableSource { file: path?, format: format?, key, as_of, columns, at: file.at.clone() })
}

/// A policy that is shipped or shared holds all it reads: no path leads out of its folder.
pub(super) fn inside(folder: &str, file: &str) -> Option<String> {
    let plain = !file.is_empty()
        && !file.contains('\\')
        && file.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    plain.then(|| format!("{folder}/{file}"))
}

fn format(
    fields: &mut Fields<'_>,
    file: Option<&Node>,
    problems: &mut Problems,
) -> Option<TableFormat> {
    if let Some(node) = fields.get("format") {
        return listed(node, "format", FORMATS, problems);
    }
    let file = file?;
    let Some(name) = file.text() else {
        problems.add(&file.at, format!("`file` must be text, not {}", file.kind()));
        return None;
    };
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    let found = FORMATS.iter().find(|(each, _)| Some(*each) == extension);
    if found.is_none() {
        problems
            .add(&file.at, "must end in .csv, .yaml or .ndjson, or `format` must say what it is");
    }
    found.map(|(_, format)| *format)
}

pub(super) fn columns(
    fields: &mut Fields<'_>,
    provides: &[(String, Type)],
    problems: &mut Problems,
) -> Vec<String> {
    let mut columns: Vec<String> = provides.iter().map(|(name, _)| name.clone()).collect();
    let Some(node) = fields.get("columns") else { return columns };
    let Some(mut renamed) = Fields::of(node, "`columns`", problems) else { return columns };
    for (field, column) in renamed.rest() {
        let name = field.text().unwrap_or("?");
        let at = provides.iter().position(|(each, _)| each == name);
        let slot = at.and_then(|index| columns.get_mut(index));
        match (slot, column.text()) {
            (Some(slot), Some(column)) => column.clone_into(slot),
            (None, _) => {
                let hint = suggestion(name, provides.iter().map(|(each, _)| each.as_str()));
                problems.add(&field.at, format!("`{name}` is not in `provides`{hint}"));
            }
            (_, None) => problems.add(&column.at, "must be the name of a column"),
        }
    }
    columns
}

fn timeout(node: &Node, problems: &mut Problems) -> Option<i64> {
    let mut fields = Fields::of(node, "`limits`", problems)?;
    let timeout = duration(&mut fields, "timeout", (1, TIMEOUT_MAX_MS), problems);
    fields.finish(problems);
    timeout
}

const TIMEOUT_MAX_MS: i64 = 10_000;
