use serde_json::Value as Json;

use super::text::{Names, Piece, Text};
use super::words::WHOLE;
use crate::config::http::{pairs, plain};
use crate::config::words::{listed, number};
use crate::text::{At, Data, Fields, Node, Problems, suggestion};

/// One request of a sink. Path and headers are one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkRequest {
    pub method: &'static str,
    pub path: Text,
    pub query: Vec<(String, Text)>,
    pub headers: Vec<(String, Text)>,
    pub body: Option<Leaf>,
}

/// A part of a body, which is JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leaf {
    Plain(Json),
    /// The whole case.
    Case,
    Text(Text, Writing),
    List(Vec<Leaf>),
    Map(Vec<(String, Leaf)>),
}

/// How what a case says is written where a person will read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Writing {
    pub markup: Markup,
    /// Characters; what is longer is cut.
    pub max: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Markup {
    /// As it is: for programs.
    Raw,
    /// One line, without what a terminal would obey or nobody would see.
    Line,
    /// Slack's mrkdwn.
    Slack,
    /// Jira's wiki text.
    Jira,
}

pub(super) const MARKUPS: &[(&str, Markup)] = &[
    ("raw", Markup::Raw),
    ("line", Markup::Line),
    ("slack", Markup::Slack),
    ("jira", Markup::Jira),
];

const METHODS: &[(&str, &str)] =
    &[("GET", "GET"), ("POST", "POST"), ("PUT", "PUT"), ("PATCH", "PATCH")];
const CHARS_MAX: i64 = 1_000_000;
/// Set by the client, by the service's credentials, or by the delivery.
const RESERVED: [&str; 11] = [
    "authorization",
    "cookie",
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "accept-encoding",
    "idempotency-key",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
];

/// How one value of a body is written, by its place there: `fields.summary`.
struct Exception<'n> {
    place: &'n str,
    at: &'n At,
    writing: Writing,
    is_met: bool,
}

pub(super) fn request(
    node: &Node,
    what: &str,
    markup: Markup,
    names: Names<'_>,
    problems: &mut Problems,
) -> Option<SinkRequest> {
    let mut fields = Fields::of(node, what, problems)?;
    let request = request_of(&mut fields, markup, names, problems);
    fields.finish(problems);
    request
}

/// The same of a mapping that holds more.
pub(super) fn request_of(
    fields: &mut Fields<'_>,
    markup: Markup,
    names: Names<'_>,
    problems: &mut Problems,
) -> Option<SinkRequest> {
    let before = problems.len();
    let method = fields.require("method", problems);
    let method = method.and_then(|node| listed(node, "method", METHODS, problems));
    let path = fields.require("path", problems).and_then(|node| path(node, names, problems));
    let query = pairs(fields, "query", problems);
    let query: Vec<_> = query
        .into_iter()
        .filter_map(|(name, node)| Some((name, one_line(node, names, problems)?)))
        .collect();
    let headers = pairs(fields, "headers", problems);
    let headers: Vec<_> = headers
        .into_iter()
        .filter_map(|(name, node)| header(name, node, names, problems))
        .collect();
    let exceptions = fields.get("leaves");
    let mut exceptions =
        exceptions.map_or_else(Vec::new, |n| self::exceptions(n, markup, problems));
    let body = fields.get("body").and_then(|node| {
        let mut reader = Reader { markup, exceptions: &mut exceptions, names };
        reader.leaf(node, "", problems)
    });
    for exception in exceptions.iter().filter(|exception| !exception.is_met) {
        let place = exception.place;
        problems.add(exception.at, format!("`body` has no text at `{place}`"));
    }
    (problems.len() == before).then_some(())?;
    Some(SinkRequest { method: method?, path: path?, query, headers, body })
}

/// What stands in the file itself can neither leave the service nor begin a query.
fn path(node: &Node, names: Names<'_>, problems: &mut Problems) -> Option<Text> {
    let text = one_line(node, names, problems)?;
    let literal: String = text
        .0
        .iter()
        .flatten()
        .map(|piece| match piece {
            Piece::Text(text) => text.as_str(),
            Piece::Value(_) => "x",
        })
        .collect();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-._~:@!$&()*+,;=".contains(c);
    let is_safe = literal.starts_with('/') && !literal.starts_with("//") && !literal.contains("..");
    if !is_safe || !literal.chars().all(plain) {
        let help = "must be a path from `/` on; what follows a `?` stands under `query`";
        problems.add(&node.at, help);
        return None;
    }
    Some(text)
}

pub(super) fn one_line(node: &Node, names: Names<'_>, problems: &mut Problems) -> Option<Text> {
    let Some(text) = plain(node) else {
        problems.add(&node.at, format!("must be text, not {}", node.kind()));
        return None;
    };
    if text.trim_end().contains('\n') {
        problems.add(&node.at, "must be one line");
        return None;
    }
    Text::read(node, text.trim_end(), names, problems)
}

fn header(
    name: String,
    node: &Node,
    names: Names<'_>,
    problems: &mut Problems,
) -> Option<(String, Text)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if name.is_empty() || !name.chars().all(is_name) {
        problems.add(&node.at, "a header's name must be letters, digits, `-` or `_`");
        return None;
    }
    if RESERVED.contains(&name.to_ascii_lowercase().as_str()) {
        problems.add(&node.at, format!("`{name}` is not for a sink's file to set"));
        return None;
    }
    let text = one_line(node, names, problems)?;
    let visible = |text: &str| text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let is_plain = text.0.iter().flatten().all(|piece| match piece {
        Piece::Text(text) => visible(text),
        Piece::Value(_) => true,
    });
    if !is_plain {
        problems.add(&node.at, "a header must be plain ASCII");
    }
    is_plain.then_some((name, text))
}

fn exceptions<'n>(node: &'n Node, markup: Markup, problems: &mut Problems) -> Vec<Exception<'n>> {
    let mut found = Vec::new();
    let Some(mut fields) = Fields::of(node, "`leaves`", problems) else { return found };
    for (place, node) in fields.rest() {
        let Some(mut fields) = Fields::of(node, "an entry of `leaves`", problems) else { continue };
        let own = fields.get("markup").and_then(|node| listed(node, "markup", MARKUPS, problems));
        let max = number(&mut fields, "max", (1, CHARS_MAX), problems);
        fields.finish(problems);
        let writing = Writing { markup: own.unwrap_or(markup), max };
        match place.text() {
            Some(text) => {
                found.push(Exception { place: text, at: &place.at, writing, is_met: false });
            }
            None => problems.add(&place.at, "the place of a value is written `fields.summary`"),
        }
    }
    found
}

struct Reader<'r, 'n> {
    markup: Markup,
    exceptions: &'r mut Vec<Exception<'n>>,
    names: Names<'r>,
}

impl Reader<'_, '_> {
    fn leaf(&mut self, node: &Node, place: &str, problems: &mut Problems) -> Option<Leaf> {
        Some(match &node.data {
            Data::Text(text) => self.text(node, text, place, problems)?,
            Data::Int(value) => Leaf::Plain((*value).into()),
            Data::Bool(value) => Leaf::Plain((*value).into()),
            Data::Null => Leaf::Plain(Json::Null),
            Data::Decimal(_) => {
                problems.add(&node.at, "a body has no decimals");
                return None;
            }
            Data::List(items) => {
                let items = items.iter().enumerate();
                let items = items.filter_map(|(index, item)| {
                    self.leaf(item, &format!("{place}[{index}]"), problems)
                });
                Leaf::List(items.collect())
            }
            Data::Map(entries) => {
                let mut found = Vec::new();
                for (name, value) in entries {
                    let Some(name_text) = plain(name).filter(|name| !name.contains("{{")) else {
                        problems.add(&name.at, "the name of a value must be plain text");
                        continue;
                    };
                    let dot = if place.is_empty() { "" } else { "." };
                    let place = format!("{place}{dot}{name_text}");
                    found.extend(self.leaf(value, &place, problems).map(|leaf| (name_text, leaf)));
                }
                Leaf::Map(found)
            }
        })
    }

    fn text(
        &mut self,
        node: &Node,
        text: &str,
        place: &str,
        problems: &mut Problems,
    ) -> Option<Leaf> {
        let inner = text.trim().strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"));
        let exception = self.exceptions.iter_mut().find(|exception| exception.place == place);
        let writing = exception.map_or(Writing { markup: self.markup, max: None }, |exception| {
            exception.is_met = true;
            exception.writing
        });
        if inner.is_some_and(|name| name.trim() == WHOLE) {
            return Some(Leaf::Case);
        }
        Some(Leaf::Text(Text::read(node, text, self.names, problems)?, writing))
    }
}

/// The nearest of the known words, or all of them where there are few.
pub(super) fn nearest<'w>(word: &str, known: impl Iterator<Item = &'w str> + Clone) -> String {
    match suggestion(word, known.clone()) {
        hint if hint.is_empty() => format!("; known: {}", known.collect::<Vec<_>>().join(", ")),
        hint => hint,
    }
}
