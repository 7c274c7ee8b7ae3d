use regex::Regex;
use serde_json::{Map, Value as Json};

use super::http_facts::{HttpFact, facts_of};
use super::reply_path::ReplyPath;
use super::template::{Names, Template};
use super::via::{Via, via};
use super::words::{listed, number};
use crate::case::Type;
use crate::text::{At, Data, Fields, Node, Problems, suggestion};

/// What one service says of a key: requests in order, and where in the replies the facts stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpConfig {
    /// One of `services:` in tipstaff.yaml.
    pub service: String,
    /// What it is asked by, where that is not the key itself.
    pub via: Option<Via>,
    /// For each part of the key, or of what `via` gives, what it must be like; its named groups are
    /// what templates name.
    pub key: Vec<Pattern>,
    pub unlike: Unlike,
    pub calls: Vec<HttpCall>,
    /// In the order of `provides`.
    pub facts: Vec<HttpFact>,
    pub at: At,
}

/// A regular expression that matches the whole.
#[derive(Debug, Clone)]
pub struct Pattern(pub Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}
impl Eq for Pattern {}

/// What is said of a key that this service cannot be asked by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unlike {
    /// It cannot hold such a key.
    Absent,
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpCall {
    pub id: String,
    pub method: &'static str,
    /// Asked in order while the reply says that there is nothing.
    pub paths: Vec<Template>,
    pub query: Vec<(String, Template)>,
    pub headers: Vec<(String, String)>,
    pub body: Option<Body>,
    pub absent_when: Vec<AbsentWhen>,
    /// Without it only its own facts are absent, not the whole answer.
    pub optional: bool,
    pub read: Read,
    pub pages: Option<Pages>,
}

/// JSON with templates where texts stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    Plain(Json),
    Text(Template),
    List(Vec<Body>),
    Map(Vec<(String, Body)>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AbsentWhen {
    pub status: u16,
    /// In the body.
    pub contains: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    Json,
    /// `{"text": …}`.
    Text,
    /// `{"owners": […]}`: who owns this file of the repository.
    Codeowners {
        file: Template,
    },
}

/// A list that comes in pieces, put together at `items` of the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pages {
    pub items: ReplyPath,
    pub next: Next,
    /// Longer lists are unknown, never cut.
    pub max: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// `Link: <…>; rel="next"`.
    Link,
    Cursor {
        path: ReplyPath,
        query: String,
    },
}

const UNLIKE: &[(&str, Unlike)] = &[("absent", Unlike::Absent), ("unknown", Unlike::Unknown)];
const METHODS: &[(&str, &str)] =
    &[("get", "GET"), ("post", "POST"), ("put", "PUT"), ("list", "LIST")];
const CALLS_MAX: usize = 8;
const PAGES_MAX: i64 = 50;

pub(super) fn http(
    node: &Node,
    folder: &str,
    provides: &[(String, Type)],
    problems: &mut Problems,
) -> Option<HttpConfig> {
    let mut fields = Fields::of(node, "`http`", problems)?;
    let service = fields.require_text("service", problems);
    let before = problems.len();
    let via = fields.get("via").and_then(|node| via(node, folder, problems));
    let is_via_right = problems.len() == before;
    let (key, names) = key(&mut fields, problems);
    let unlike = fields.get("unlike").and_then(|node| listed(node, "unlike", UNLIKE, problems));
    let paths: Vec<String> = slashes(&mut fields, &names, problems);
    fields.require("calls", problems);
    let nodes = fields.list("calls", problems);
    let mut calls: Vec<HttpCall> = Vec::new();
    let mut ids: Vec<String> = Vec::new();
    for node in nodes {
        let known = Names { keys: &names, paths: &paths, calls: &ids };
        if let Some(call) = call(node, &known, problems) {
            ids.push(call.id.clone());
            calls.push(call);
        }
    }
    let facts = fields.require("facts", problems);
    // Facts of a call that has a mistake itself are not checked.
    let facts = facts.filter(|_| calls.len() == nodes.len());
    let known = Names { keys: &names, paths: &paths, calls: &ids };
    let facts = facts.and_then(|node| facts_of(node, provides, &known, problems));
    fields.finish(problems);
    if !(1..=CALLS_MAX).contains(&nodes.len()) {
        problems.add(&node.at, format!("`calls` must have 1 to {CALLS_MAX} requests"));
    }
    is_via_right.then_some(())?;
    Some(HttpConfig {
        service: service?.to_owned(),
        via,
        key,
        unlike: unlike.unwrap_or(Unlike::Unknown),
        calls,
        facts: facts?,
        at: node.at.clone(),
    })
}

fn key(fields: &mut Fields<'_>, problems: &mut Problems) -> (Vec<Pattern>, Vec<String>) {
    let (mut patterns, mut names) = (Vec::new(), Vec::new());
    fields.require("key", problems);
    for (text, at) in fields.texts("key", problems) {
        match Regex::new(&format!("^(?:{text})$")) {
            Ok(regex) => {
                names.extend(regex.capture_names().flatten().map(str::to_owned));
                patterns.push(Pattern(regex));
            }
            Err(error) => {
                let why = error.to_string();
                let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
                problems.add(at, format!("no regular expression: {why}"));
            }
        }
    }
    (patterns, names)
}

fn slashes(fields: &mut Fields<'_>, names: &[String], problems: &mut Problems) -> Vec<String> {
    let mut paths = Vec::new();
    for (name, at) in fields.texts("slashes", problems) {
        if !names.iter().any(|each| each == name) {
            let hint = suggestion(name, names.iter().map(String::as_str));
            problems.add(at, format!("no part of the key is named `{name}`{hint}"));
        }
        paths.push(name.to_owned());
    }
    paths
}

fn call(node: &Node, names: &Names<'_>, problems: &mut Problems) -> Option<HttpCall> {
    let before = problems.len();
    let mut fields = Fields::of(node, "a call", problems)?;
    let id = fields.require_text("id", problems);
    if let Some(id) = id.filter(|id| names.calls.iter().any(|each| each == id)) {
        problems.add(&node.at, format!("another call is called `{id}`"));
    }
    let (method, paths) = method(&mut fields, names, problems);
    let query = pairs(&mut fields, "query", problems);
    let query =
        query.into_iter().filter_map(|(name, node)| Some((name, template(node, names, problems)?)));
    let query: Vec<_> = query.collect();
    let headers = pairs(&mut fields, "headers", problems);
    let headers = headers.into_iter().filter_map(|(name, node)| header(name, node, problems));
    let headers: Vec<_> = headers.collect();
    let body = fields.get("body").and_then(|node| body(node, names, problems));
    let absent_when = fields.list("absent_when", problems);
    let absent_when = absent_when.iter().filter_map(|node| absent(node, problems)).collect();
    let optional = fields.bool("optional", problems).unwrap_or(false);
    let read = read(&mut fields, names, problems);
    let pages = fields.get("pages").and_then(|node| pages(node, problems));
    fields.finish(problems);
    (problems.len() == before).then_some(())?;
    Some(HttpCall {
        id: id?.to_owned(),
        method: method?,
        paths,
        query,
        headers,
        body,
        absent_when,
        optional,
        read,
        pages,
    })
}

fn method(
    fields: &mut Fields<'_>,
    names: &Names<'_>,
    problems: &mut Problems,
) -> (Option<&'static str>, Vec<Template>) {
    let mut found = None;
    let mut paths = Vec::new();
    for (word, method) in METHODS {
        for (text, at) in fields.texts(word, problems) {
            if found.is_some_and(|found| found != *method) {
                problems.add(at, "a call has one method");
            }
            found = Some(*method);
            match path(text, names) {
                Ok(path) => paths.push(path),
                Err(why) => problems.add(at, why),
            }
        }
    }
    if found.is_none() {
        problems.add(&fields.at, "a call needs its path under `get`, `post`, `put` or `list`");
    }
    (found, paths)
}

/// What stands in the file itself can neither leave the service nor begin a query.
fn path(text: &str, names: &Names<'_>) -> Result<Template, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-._~:@!$&()*+,;={}[]'".contains(c);
    let is_safe = text.starts_with('/') && !text.starts_with("//") && !text.contains("..");
    if !is_safe || !text.chars().all(plain) {
        return Err(format!("`{text}` must be a path from `/` on, without a query"));
    }
    Template::parse(text, names)
}

pub(super) fn template(
    node: &Node,
    names: &Names<'_>,
    problems: &mut Problems,
) -> Option<Template> {
    let Some(text) = plain(node) else {
        problems.add(&node.at, format!("must be text, not {}", node.kind()));
        return None;
    };
    Template::parse(&text, names).map_err(|why| problems.add(&node.at, why)).ok()
}

/// A text, number or flag as text.
pub(super) fn plain(node: &Node) -> Option<String> {
    match &node.data {
        Data::Text(text) => Some(text.clone()),
        Data::Decimal(text) => Some(text.clone()),
        Data::Int(value) => Some(value.to_string()),
        Data::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

pub(super) fn pairs<'n>(
    fields: &mut Fields<'n>,
    key: &'static str,
    problems: &mut Problems,
) -> Vec<(String, &'n Node)> {
    let Some(node) = fields.get(key) else { return Vec::new() };
    let Some(mut pairs) = Fields::of(node, &format!("`{key}`"), problems) else {
        return Vec::new();
    };
    pairs.rest().into_iter().filter_map(|(name, value)| Some((plain(name)?, value))).collect()
}

/// Credentials stand in tipstaff.yaml, and the client sets the rest.
fn header(name: String, node: &Node, problems: &mut Problems) -> Option<(String, String)> {
    let lower = name.to_ascii_lowercase();
    let is_reserved = ["authorization", "cookie", "host", "content-length", "accept-encoding"]
        .contains(&lower.as_str());
    let value = plain(node).filter(|value| value.bytes().all(|byte| (32..127).contains(&byte)));
    match value {
        Some(value) if !is_reserved => Some((name, value)),
        Some(_) => {
            problems.add(&node.at, format!("`{name}` is not for an enricher's file to set"));
            None
        }
        None => {
            problems.add(&node.at, "a header must be plain text");
            None
        }
    }
}

fn body(node: &Node, names: &Names<'_>, problems: &mut Problems) -> Option<Body> {
    Some(match &node.data {
        Data::Text(_) => Body::Text(template(node, names, problems)?),
        Data::Int(value) => Body::Plain((*value).into()),
        Data::Bool(value) => Body::Plain((*value).into()),
        Data::Null => Body::Plain(Json::Null),
        Data::Decimal(_) => {
            problems.add(&node.at, "a body has no decimals");
            return None;
        }
        Data::List(items) => {
            Body::List(items.iter().filter_map(|item| body(item, names, problems)).collect())
        }
        Data::Map(entries) => {
            let entry =
                |(name, value): &(Node, Node)| Some((plain(name)?, body(value, names, problems)?));
            Body::Map(entries.iter().filter_map(entry).collect())
        }
    })
}

fn absent(node: &Node, problems: &mut Problems) -> Option<AbsentWhen> {
    let mut fields = Fields::of(node, "an entry of `absent_when`", problems)?;
    fields.require("status", problems);
    let status = number(&mut fields, "status", (200, 499), problems);
    let contains = fields.text("contains", problems).map(str::to_owned);
    fields.finish(problems);
    let status: u16 = status?;
    if [401, 403, 429].contains(&status) {
        problems.add(&node.at, format!("{status} says nothing of whether it is there"));
    }
    Some(AbsentWhen { status, contains })
}

fn read(fields: &mut Fields<'_>, names: &Names<'_>, problems: &mut Problems) -> Read {
    let codeowners = fields.get("codeowners_of");
    if let Some(file) = codeowners.and_then(|node| template(node, names, problems)) {
        return Read::Codeowners { file };
    }
    let words = [("json", Read::Json), ("text", Read::Text)];
    let word = fields.get("read").and_then(|node| {
        let numbered: Vec<(&str, usize)> =
            words.iter().enumerate().map(|(at, (word, _))| (*word, at)).collect();
        listed(node, "read", &numbered, problems)
    });
    if word == Some(1) { Read::Text } else { Read::Json }
}

fn pages(node: &Node, problems: &mut Problems) -> Option<Pages> {
    let mut fields = Fields::of(node, "`pages`", problems)?;
    let items = reply_path(&mut fields, "items", problems);
    let max = number(&mut fields, "max", (2, PAGES_MAX), problems).unwrap_or(10);
    let cursor = reply_path(&mut fields, "cursor", problems);
    let query = fields.text("query", problems).map(str::to_owned);
    fields.finish(problems);
    let next = match (cursor, query) {
        (Some(path), Some(query)) => Next::Cursor { path, query },
        (None, None) => Next::Link,
        _ => {
            problems.add(&node.at, "`cursor` and `query` go together");
            return None;
        }
    };
    Some(Pages { items: items.unwrap_or(ReplyPath::parse("").ok()?), next, max })
}

pub(super) fn reply_path(
    fields: &mut Fields<'_>,
    key: &'static str,
    problems: &mut Problems,
) -> Option<ReplyPath> {
    let at = fields.get(key)?.at.clone();
    let text = fields.text(key, problems)?;
    ReplyPath::parse(text).map_err(|why| problems.add(&at, why)).ok()
}

impl Body {
    /// With `text` for each template.
    ///
    /// Errors: the first of `text`.
    pub fn filled<E>(&self, text: &dyn Fn(&Template) -> Result<String, E>) -> Result<Json, E> {
        Ok(match self {
            Self::Plain(value) => value.clone(),
            Self::Text(template) => Json::String(text(template)?),
            Self::List(items) => {
                Json::Array(items.iter().map(|item| item.filled(text)).collect::<Result<_, E>>()?)
            }
            Self::Map(entries) => {
                let entry = |(name, body): &(String, Body)| Ok((name.clone(), body.filled(text)?));
                Json::Object(entries.iter().map(entry).collect::<Result<Map<_, _>, E>>()?)
            }
        })
    }
}
