//! How a source is written in a pipeline file.

use super::capture::Capture;
use super::decimal::Decimal;
use super::layout::Layout;
use super::listed::Listed;
use super::source::{Cases, From, Join, Shape, Source};
use super::times::TimeFormat;
use super::when::{Scope, When, expression_of};
use super::words::check_word;
use crate::case::{Field, Type};
use crate::json::Path;
use crate::text::{At, Data, Fields, Node, Problems};

/// A text is a path. `field` is what the value is for, when it is the whole value of a field.
pub(super) fn source_of(
    node: &Node,
    field: Option<Field>,
    layout: &mut Layout,
    problems: &mut Problems,
) -> Option<Source> {
    if let Some(text) = node.text() {
        let from = path_of(text, &node.at, layout, problems)?;
        return Some(Source::plain(from));
    }
    let mut fields = Fields::of(node, "a source", problems)?;
    let source = source_in(&mut fields, field, layout, problems);
    fields.finish(problems);
    source
}

/// As [`source_of`], for a mapping that has other keys too; the caller finishes it.
pub(super) fn source_in(
    fields: &mut Fields<'_>,
    field: Option<Field>,
    layout: &mut Layout,
    problems: &mut Problems,
) -> Option<Source> {
    let from = from_of(fields, field, layout, problems);
    let shape = shape_of(fields, field, problems);
    if let (Some(field), Some(From::Const(text))) = (field, &from) {
        check_word(field, text, &fields.at, problems);
    }
    Some(Source::new(from?, shape))
}

fn from_of(
    fields: &mut Fields<'_>,
    field: Option<Field>,
    layout: &mut Layout,
    problems: &mut Problems,
) -> Option<From> {
    let before = problems.len();
    let mut found = Vec::new();
    if let Some(node) = fields.get("path") {
        let text = node.text();
        if text.is_none() {
            problems.add(&node.at, format!("`path` must be text, not {}", node.kind()));
        }
        found.extend(text.and_then(|text| path_of(text, &node.at, layout, problems)));
    }
    if let Some(name) = fields.text("header", problems) {
        found.push(From::Header(name.to_owned()));
    }
    if let Some(node) = fields.get("const") {
        found.extend(word_of(node, problems).map(From::Const));
    }
    let cases = fields.list("cases", problems);
    if !cases.is_empty() {
        let case = |node| case_of(node, field, layout, problems);
        let (conditions, sources) = cases.iter().filter_map(case).unzip();
        found.push(From::Cases(Box::new(Cases { conditions, sources })));
    }
    let mut sources = |key, field, fields: &mut Fields<'_>, problems: &mut Problems| {
        let items = fields.list(key, problems);
        items.iter().filter_map(|item| source_of(item, field, layout, problems)).collect::<Vec<_>>()
    };
    let first = sources("first", field, fields, problems);
    if !first.is_empty() {
        found.push(From::First(first));
    }
    let parts = sources("join", None, fields, problems);
    let with = fields.text("with", problems);
    if !parts.is_empty() {
        let with = with.unwrap_or(":").to_owned();
        found.push(From::Join(Box::new(Join { parts, with })));
    } else if with.is_some() {
        problems.add(&fields.at, "`with` goes with `join`");
    }
    if found.len() != 1 && problems.len() == before {
        problems.add(
            &fields.at,
            "a source needs exactly one of `path`, `header`, `const`, `first`, `join` and `cases`",
        );
    }
    found.pop()
}

fn path_of(text: &str, at: &At, layout: &mut Layout, problems: &mut Problems) -> Option<From> {
    match Path::parse(text) {
        Ok(path) => Some(From::Path(layout.here(path))),
        Err(why) => {
            problems.add(at, why);
            None
        }
    }
}

fn case_of(
    node: &Node,
    field: Option<Field>,
    layout: &mut Layout,
    problems: &mut Problems,
) -> Option<(When, Source)> {
    let mut fields = Fields::of(node, "a case", problems)?;
    let conditions = fields.list("when", problems);
    if conditions.is_empty() {
        problems.add(&fields.at, "`when` must list at least one condition");
    }
    let when = When::list(conditions, Scope::Source, layout, problems);
    let word = fields.get("is").and_then(|node| checked_word(node, field, problems));
    let word = word.map(|word| Source::plain(From::Const(word)));
    let other = fields.get("use").and_then(|node| source_of(node, field, layout, problems));
    let at = fields.at.clone();
    fields.finish(problems);
    if word.is_some() == other.is_some() {
        problems.add(&at, "a case needs either `is`, a word, or `use`, a source");
    }
    Some((when, word.or(other)?))
}

fn shape_of(fields: &mut Fields<'_>, field: Option<Field>, problems: &mut Problems) -> Shape {
    let absent_when = words(fields, "absent_when", problems);
    let capture = fields.get("capture").and_then(|node| {
        let text = word_of(node, problems)?;
        expression_of(&text, &node.at, problems).map(Capture::new)
    });
    Shape {
        absent_when: absent_when.into_iter().map(|(text, _)| text).collect(),
        capture,
        lower: fields.bool("lower", problems).unwrap_or(false),
        table: fields.get("table").map(|node| table_of(node, field, problems)),
        ranges: fields.get("ranges").and_then(|node| ranges_of(node, field, problems)),
        default: fields.get("default").and_then(|node| checked_word(node, field, problems)),
        times: times_of(fields, field, problems),
    }
}

fn table_of(node: &Node, field: Option<Field>, problems: &mut Problems) -> Listed<String> {
    let Some(mut fields) = Fields::of(node, "`table`", problems) else { return Listed::default() };
    let mut table = Vec::new();
    for (from, to) in fields.rest() {
        if let (Some(from), Some(to)) = (word_of(from, problems), checked_word(to, field, problems))
        {
            table.push((from, to));
        }
    }
    table.into_iter().collect()
}

fn ranges_of(
    node: &Node,
    field: Option<Field>,
    problems: &mut Problems,
) -> Option<Vec<(Option<Decimal>, String)>> {
    let Data::List(items) = &node.data else {
        problems.add(&node.at, format!("`ranges` must be a list, not {}", node.kind()));
        return None;
    };
    let mut ranges: Vec<(Option<Decimal>, String)> = Vec::new();
    for item in items {
        let mut fields = Fields::of(item, "a range", problems)?;
        let below = fields.get("below");
        let is = fields.require("is", problems);
        let word = is.and_then(|node| checked_word(node, field, problems));
        let at = fields.at.clone();
        fields.finish(problems);
        let bound =
            below.and_then(|node| word_of(node, problems)).map(|text| Decimal::parse(&text));
        if bound == Some(None) {
            problems.add(&at, "`below` must be a number");
        }
        let bound = bound.flatten();
        let last = ranges.last().map(|(bound, _)| bound);
        if last.is_some_and(|last| last.is_none() || (bound.is_some() && *last >= bound)) {
            problems.add(&at, "ranges must rise, and only the last may have no `below`");
        }
        ranges.extend(word.map(|word| (bound, word)));
    }
    Some(ranges)
}

fn times_of(
    fields: &mut Fields<'_>,
    field: Option<Field>,
    problems: &mut Problems,
) -> Vec<TimeFormat> {
    let names = fields.texts("time", problems);
    if !names.is_empty() && field.is_none_or(|field| field.of() != Type::Time) {
        problems.add(&fields.at, "`time` is only for fields that are times");
    }
    let mut times = Vec::new();
    for (name, at) in names {
        match TimeFormat::named(name) {
            Ok(format) => times.push(format),
            Err(why) => problems.add(at, why),
        }
    }
    times
}

fn checked_word(node: &Node, field: Option<Field>, problems: &mut Problems) -> Option<String> {
    let word = word_of(node, problems)?;
    if let Some(field) = field {
        check_word(field, &word, &node.at, problems);
    }
    Some(word)
}

/// One word, or a list of them.
pub(super) fn words<'n>(
    fields: &mut Fields<'n>,
    key: &'static str,
    problems: &mut Problems,
) -> Vec<(String, &'n At)> {
    let Some(node) = fields.get(key) else { return Vec::new() };
    let nodes = if let Data::List(items) = &node.data {
        items.as_slice()
    } else {
        std::slice::from_ref(node)
    };
    nodes.iter().filter_map(|node| Some((word_of(node, problems)?, &node.at))).collect()
}

/// A text, or the characters of a number or boolean.
fn word_of(node: &Node, problems: &mut Problems) -> Option<String> {
    match &node.data {
        Data::Text(text) | Data::Decimal(text) => Some(text.clone()),
        Data::Int(number) => Some(number.to_string()),
        Data::Bool(is) => Some(is.to_string()),
        Data::Null | Data::List(_) | Data::Map(_) => {
            problems.add(&node.at, format!("must be text, not {}", node.kind()));
            None
        }
    }
}
