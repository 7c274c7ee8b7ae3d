use std::sync::Arc;

use super::layout::{Layout, Place, Walks};
use super::open::Open;
use super::source::Source as From;
use super::source_file::{source_in, source_of};
use super::when::{Dismissal, Scope, When, field_of};
use crate::case::{Field, Type};
use crate::json::{Path, Start, Step};
use crate::text::{At, Data, Fields, Node, Problems, Source, read};

/// One detector's format, checked and compiled.
#[derive(Debug, Clone)]
pub struct Pipeline {
    pub name: String,
    pub title: String,
    pub owner: String,
    pub topic: String,
    pub webhook: Option<String>,
    pub file: Arc<str>,
    pub(super) format: Format,
    pub(super) open: Open,
    /// Nothing when any message of its topic is its.
    pub(super) detect: Option<When>,
    /// Nothing when no document of it says of itself that it failed.
    pub(super) incomplete: Option<When>,
    pub(super) walks: Walks,
    pub(super) kind: From,
    pub(super) redact: Vec<Place>,
    /// The first that is there identifies the credential.
    pub(super) fingerprint: Vec<Place>,
    pub(super) map: Vec<Mapped>,
    pub(super) not_an_alert: Vec<Dismissal>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    /// Read as a list with an object for each row.
    Csv,
}

#[derive(Debug, Clone)]
pub(super) struct Mapped {
    pub(super) field: Field,
    pub(super) of: Type,
    pub(super) source: From,
    pub(super) is_required: bool,
    /// Where its text is cut; nothing of most, which are never cut.
    pub(super) cut_at: Option<usize>,
}

/// Fields that intake itself fills; a pipeline that could would let a detector write them.
const NOT_MAPPED: &[Field] = &[
    Field::Kind,
    Field::NotAnAlert,
    Field::ReceivedAt,
    Field::NhiKnownBy,
    Field::NhiKindKnownBy,
    Field::CredentialFingerprint,
];

/// Bytes. Texts for people are cut, with an ellipsis, after secrets were replaced; one that alone
/// is too long for an alert is left out. No other field is: a cut id, path or address is another.
fn cut_at(field: Field) -> Option<usize> {
    match field {
        Field::Title | Field::EventReason => Some(1000),
        Field::SourceUserAgent => Some(512),
        Field::SourceNetwork | Field::NhiName | Field::Author => Some(256),
        _ => None,
    }
}

const EACH: &str = "`each` names the items of a list or object: it ends with `[*]` or `{*}`";

pub(super) fn compile(source: &Source, problems: &mut Problems) -> Option<(Pipeline, At)> {
    let node = read(source, problems)?;
    let before = problems.len();
    let mut fields = Fields::of(&node, "a pipeline", problems)?;
    let mut layout = Layout::default();
    let name = name_of(&mut fields, problems);
    let title = fields.require_text("title", problems);
    let owner = fields.require_text("owner", problems);
    let from = fields.require("from", problems);
    let from = from.and_then(|node| from_of(node, name.as_deref(), problems));
    let ignore_case = fields.bool("ignore_case", problems).unwrap_or(false);
    let format = format_of(&mut fields, problems);
    let open = Open::compile(fields.list("open", problems), ignore_case, problems);
    let detect = fields.list("detect", problems);
    let detect =
        (!detect.is_empty()).then(|| When::list(detect, Scope::Detect, &mut layout, problems));
    if format == Format::Csv && detect.is_none() {
        problems.add(&fields.at, "`format: csv` needs `detect`: any text at all is a table");
    }
    let incomplete = fields.list("incomplete", problems);
    let incomplete = (!incomplete.is_empty())
        .then(|| When::list(incomplete, Scope::Report, &mut layout, problems));
    let unwrap = paths(&mut fields, "unwrap", problems);
    check_each(&unwrap, false, "`unwrap` names one object, without `[*]`", problems);
    let each = each_of(&mut fields, format, problems);
    let kind = fields.require("kind", problems);
    let kind = kind.and_then(|node| kind_of(node, &mut layout, problems));
    let (redact, fingerprint) = secrets_of(&mut fields, problems);
    let map = fields.require("map", problems);
    let map = map.map(|node| map_of(node, &mut layout, problems));
    let not_an_alert = fields.list("not_an_alert", problems);
    let not_an_alert: Vec<Dismissal> = not_an_alert
        .iter()
        .filter_map(|node| Dismissal::compile(node, &mut layout, problems))
        .collect();
    let at = fields.at.clone();
    fields.finish(problems);
    if problems.len() > before {
        return None;
    }
    let mut places =
        |paths: Vec<(Path, At)>| paths.into_iter().map(|(p, _)| layout.here(p)).collect();
    let (redact, fingerprint) = (places(redact), places(fingerprint));
    let only = |paths: Vec<(Path, At)>| paths.into_iter().map(|(path, _)| path).collect::<Vec<_>>();
    let walks = layout.finish((&only(unwrap), &only(each)), open.paths(), ignore_case);
    let (topic, webhook) = from?;
    let pipeline = Pipeline {
        name: name?,
        title: title?.to_owned(),
        owner: owner?.to_owned(),
        topic,
        webhook,
        file: source.path.clone(),
        format,
        open,
        detect,
        incomplete,
        walks,
        kind: kind?,
        redact,
        fingerprint,
        map: map?,
        not_an_alert,
    };
    Some((pipeline, at))
}

type Paths = Vec<(Path, At)>;

/// Where secrets stand, and which of them identifies the credential.
fn secrets_of(fields: &mut Fields<'_>, problems: &mut Problems) -> (Paths, Paths) {
    let redact = paths(fields, "redact", problems);
    let fingerprint = match fields.get("fingerprint") {
        Some(_) => paths(fields, "fingerprint", problems),
        None => redact.iter().take(1).cloned().collect(),
    };
    let strange =
        fingerprint.iter().find(|(path, _)| !redact.iter().any(|(known, _)| known == path));
    if let Some((_, at)) = strange {
        problems.add(at, "what is fingerprinted must be in `redact` too");
    }
    (redact, fingerprint)
}

fn name_of(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<String> {
    let name = fields.require_text("pipeline", problems)?;
    let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    if name.is_empty() || !name.bytes().all(is_plain) {
        problems.add(&fields.at, "a pipeline's name has only `a-z`, `0-9` and `-`");
        return None;
    }
    Some(name.to_owned())
}

fn format_of(fields: &mut Fields<'_>, problems: &mut Problems) -> Format {
    match fields.text("format", problems) {
        None | Some("json") => Format::Json,
        Some("csv") => Format::Csv,
        Some(_) => {
            problems.add(&fields.at, "`format` is `json` or `csv`");
            Format::Json
        }
    }
}

fn each_of(fields: &mut Fields<'_>, format: Format, problems: &mut Problems) -> Vec<(Path, At)> {
    let each = paths(fields, "each", problems);
    check_each(&each, true, EACH, problems);
    if format == Format::Json {
        return each;
    }
    let rows = Path { start: Start::Root, steps: vec![Step::Each], is_key: false };
    if let Some((_, at)) = each.iter().find(|(path, _)| *path != rows) {
        problems.add(at, "in CSV each row is an alert: `each` is `$[*]`, or left out");
    }
    vec![(rows, fields.at.clone())]
}

/// What stands in front of a pipeline's name in the path of its webhook.
pub const WEBHOOK_ROOT: &str = "/v1/alerts/";

fn from_of(
    node: &Node,
    name: Option<&str>,
    problems: &mut Problems,
) -> Option<(String, Option<String>)> {
    let mut fields = Fields::of(node, "`from`", problems)?;
    let topic = fields.require_text("topic", problems).map(str::to_owned);
    let webhook = fields.text("webhook", problems).map(str::to_owned);
    if let (Some(path), Some(name)) = (&webhook, name)
        && path.strip_prefix(WEBHOOK_ROOT) != Some(name)
    {
        problems.add(&fields.at, format!("`webhook` must be `{WEBHOOK_ROOT}{name}`"));
    }
    fields.finish(problems);
    Some((topic?, webhook))
}

fn paths(fields: &mut Fields<'_>, key: &'static str, problems: &mut Problems) -> Vec<(Path, At)> {
    let mut paths = Vec::new();
    for (text, at) in fields.texts(key, problems) {
        match Path::parse(text) {
            Ok(path) => paths.push((path, at.clone())),
            Err(why) => problems.add(at, why),
        }
    }
    paths
}

fn check_each(paths: &[(Path, At)], wanted: bool, why: &str, problems: &mut Problems) {
    for (path, at) in paths {
        let is_list = path.steps.last().is_some_and(Step::is_many);
        if path.is_many() != wanted || (wanted && !is_list) || path.is_key {
            problems.add(at, why);
        }
    }
}

/// `kind: exposed_key`, or a source that gives a kind.
fn kind_of(node: &Node, layout: &mut Layout, problems: &mut Problems) -> Option<From> {
    use super::source::From as Of;
    if let Some(word) = node.text() {
        super::words::check_word(Field::Kind, word, &node.at, problems);
        return Some(From::plain(Of::Const(word.to_owned())));
    }
    let source = source_of(node, Some(Field::Kind), layout, problems)?;
    if !source.is_closed() {
        problems.add(&node.at, "`kind` needs a `table`: a detector must not name its own kind");
    }
    Some(source)
}

fn map_of(node: &Node, layout: &mut Layout, problems: &mut Problems) -> Vec<Mapped> {
    let Some(mut fields) = Fields::of(node, "`map`", problems) else { return Vec::new() };
    let mut map = Vec::new();
    for (key, value) in fields.rest() {
        let field = field_of(key.text().unwrap_or_default(), &key.at, problems);
        if let Some(field) = field.filter(|field| NOT_MAPPED.contains(field)) {
            let path = field.path();
            problems.add(&key.at, format!("`{path}` is filled by intake and can not be mapped"));
            continue;
        }
        let mapped = mapped_of(value, field, layout, problems);
        map.extend(mapped.zip(field).map(|((source, is_required), field)| Mapped {
            field,
            of: field.of(),
            source,
            is_required,
            cut_at: cut_at(field),
        }));
    }
    map
}

fn mapped_of(
    node: &Node,
    field: Option<Field>,
    layout: &mut Layout,
    problems: &mut Problems,
) -> Option<(From, bool)> {
    if !matches!(node.data, Data::Map(_)) {
        return source_of(node, field, layout, problems).map(|source| (source, false));
    }
    let mut fields = Fields::of(node, "a source", problems)?;
    let is_required = fields.bool("required", problems).unwrap_or(false);
    let source = source_in(&mut fields, field, layout, problems);
    fields.finish(problems);
    if is_required && field.is_some_and(|field| field.of() == Type::Time) {
        problems
            .add(&node.at, "a time is never `required`: an alert without one is still an alert");
    }
    source.map(|source| (source, is_required))
}
