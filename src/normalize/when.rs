use std::borrow::Cow;
use std::cell::RefCell;

use super::asked::Question;
use super::layout::{Doc, Layout, Place};
use super::source_file::words;
use super::words::check_word;
use crate::case::{Alert, Field, Value, field_named};
use crate::json::Path;
use crate::pattern::Expression;
use crate::text::{At, Fields, Node, Problems, suggestion};

/// Whether a value is as described. Nothing but `exists: false` is true of a value that is not
/// there: a message that says less must never be taken for less.
#[derive(Debug, Clone)]
pub(super) enum Test {
    Exists(bool),
    /// The texts are sorted.
    Text {
        how: How,
        any: Vec<String>,
        is_negated: bool,
    },
    Matches {
        any: Vec<Expression>,
        is_negated: bool,
    },
}

#[derive(Debug, Clone, Copy)]
pub(super) enum How {
    Equal,
    Start,
    End,
    Contain,
    Match,
}

const TESTS: &[(&str, How, bool)] = &[
    ("equals", How::Equal, false),
    ("one_of", How::Equal, false),
    ("starts_with", How::Start, false),
    ("ends_with", How::End, false),
    ("contains", How::Contain, false),
    ("matches", How::Match, false),
    ("not_equals", How::Equal, true),
    ("not_one_of", How::Equal, true),
    ("not_starts_with", How::Start, true),
    ("not_ends_with", How::End, true),
    ("not_contains", How::Contain, true),
    ("not_matches", How::Match, true),
];

impl Test {
    /// The texts it names as a whole.
    pub(super) fn listed(&self) -> &[String] {
        match self {
            Self::Text { how: How::Equal, any, .. } => any,
            Self::Text { .. } | Self::Exists(_) | Self::Matches { .. } => &[],
        }
    }

    /// Whether it holds of texts that are not [`Self::listed`], where all or none of them do.
    pub(super) fn of_others(&self) -> Option<bool> {
        match self {
            Self::Text { how: How::Equal, is_negated, .. } => Some(*is_negated),
            Self::Exists(wanted) => Some(*wanted),
            Self::Text { .. } | Self::Matches { .. } => None,
        }
    }

    /// `value` is nothing for a list or an object; those only exist.
    pub(super) fn holds(&self, exists: bool, value: Option<&str>) -> bool {
        match (self, value) {
            (Self::Exists(wanted), _) => exists == *wanted,
            (Self::Text { how, any, is_negated }, Some(value)) => {
                let found = match how {
                    How::Start => any.iter().any(|text| value.starts_with(text.as_str())),
                    How::End => any.iter().any(|text| value.ends_with(text.as_str())),
                    How::Contain => any.iter().any(|text| value.contains(text.as_str())),
                    How::Equal | How::Match => {
                        any.binary_search_by(|text| text.as_str().cmp(value)).is_ok()
                    }
                };
                found != *is_negated
            }
            (Self::Matches { any, is_negated }, Some(value)) => {
                any.iter().any(|expression| expression.is_found(value)) != *is_negated
            }
            (_, None) => false,
        }
    }

    fn compile(
        fields: &mut Fields<'_>,
        of: Option<Field>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let mut found = Vec::new();
        if let Some(wanted) = fields.bool("exists", problems) {
            found.push(Self::Exists(wanted));
        }
        for (key, how, is_negated) in TESTS {
            let texts = words(fields, key, problems);
            if texts.is_empty() {
                continue;
            }
            let is_negated = *is_negated;
            if let How::Match = how {
                let of = |(text, at): (String, &At)| expression_of(&text, at, problems);
                let any = texts.into_iter().filter_map(of).collect();
                found.push(Self::Matches { any, is_negated });
                continue;
            }
            for (text, at) in &texts {
                if let (Some(field), How::Equal) = (of, how) {
                    check_word(field, text, at, problems);
                }
            }
            let mut any: Vec<String> = texts.into_iter().map(|(text, _)| text).collect();
            any.sort();
            found.push(Self::Text { how: *how, any, is_negated });
        }
        if found.len() != 1 {
            problems.add(&fields.at, "a condition needs exactly one of `equals`, `one_of`, `starts_with`, `ends_with`, `contains`, `matches`, their `not_` forms, or `exists`");
        }
        found.pop()
    }
}

pub(super) fn expression_of(text: &str, at: &At, problems: &mut Problems) -> Option<Expression> {
    let built = Expression::compile(&with_ascii_boundaries(text));
    if built.is_err() {
        problems.add(at, format!("`{text}` is no regular expression, or too large a one"));
    }
    built.ok()
}

/// `\b` between ASCII letters only: with all of Unicode's, a text with one other character is
/// searched by backtracking.
fn with_ascii_boundaries(expression: &str) -> String {
    let mut written = String::with_capacity(expression.len());
    let mut rest = expression;
    while let Some((before, after)) = rest.split_once('\\') {
        written.push_str(before);
        let escaped = after.chars().next().map_or(0, char::len_utf8);
        let (escaped, after) = after.split_at_checked(escaped).unwrap_or((after, ""));
        if escaped == "b" && !after.starts_with('{') {
            written.push_str(r"(?-u:\b)");
        } else {
            written.push('\\');
            written.push_str(escaped);
        }
        rest = after;
    }
    written.push_str(rest);
    written
}

/// A condition, or several of them.
#[derive(Debug, Clone)]
pub(super) enum When {
    All(Box<[When]>),
    Any(Box<[When]>),
    /// Of the first value that is there.
    First(Question),
    Is(Box<(Subject, Test)>),
}

#[derive(Debug, Clone)]
pub(super) enum Subject {
    /// Any of those that are there.
    Each(Place),
    Header(String),
    Field(Field),
}

/// What a condition is about, as it is written.
enum Asked {
    First(Vec<Place>),
    Of(Subject),
}

/// Which subjects a condition may have: what there is to look at depends on where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// `detect`: the message as it came.
    Detect,
    /// `incomplete`: the document, whatever alerts are in it.
    Report,
    /// `cases`: inside the alert.
    Source,
    /// `not_an_alert`: inside the alert, and what was made of it.
    Mapped,
}

/// What conditions look at.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a, 's> {
    pub(super) doc: &'s Doc<'a, 's>,
    pub(super) headers: &'s [(&'s str, &'s [u8])],
    pub(super) alert: Option<&'s Alert<'a>>,
    /// Where the places go that a true condition looked at.
    pub(super) trace: Option<&'s RefCell<Vec<Used>>>,
}

/// What a value was made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Used {
    Place(Place),
    Header(String),
}

impl When {
    /// A list of conditions, all of which must hold.
    pub(super) fn list(
        nodes: &[Node],
        scope: Scope,
        layout: &mut Layout,
        problems: &mut Problems,
    ) -> Self {
        let parts = nodes.iter().filter_map(|n| Self::compile(n, scope, layout, problems));
        let mut parts: Vec<Self> = parts.collect();
        match parts.pop() {
            Some(only) if parts.is_empty() => only,
            last => Self::All(parts.into_iter().chain(last).collect()),
        }
    }

    fn compile(
        node: &Node,
        scope: Scope,
        layout: &mut Layout,
        problems: &mut Problems,
    ) -> Option<Self> {
        let mut fields = Fields::of(node, "a condition", problems)?;
        for (key, make) in [("any", Self::Any as fn(_) -> _), ("all", Self::All)] {
            if fields.get(key).is_none() {
                continue;
            }
            let nodes = fields.list(key, problems);
            let parts = nodes.iter().filter_map(|n| Self::compile(n, scope, layout, problems));
            let parts: Box<[Self]> = parts.collect();
            if nodes.is_empty() {
                problems.add(&fields.at, format!("`{key}` must list at least one condition"));
            }
            fields.finish(problems);
            return Some(make(parts));
        }
        let before = problems.len();
        let asked = asked_of(&mut fields, scope, layout, problems);
        let field = match &asked {
            Some(Asked::Of(Subject::Field(field))) => Some(*field),
            _ => None,
        };
        if asked.is_none() && problems.len() == before {
            let field = if scope == Scope::Mapped { ", `field`" } else { "" };
            problems.add(
                &fields.at,
                format!("a condition needs one of `path`, `header`{field}, `any`"),
            );
        }
        let test = Test::compile(&mut fields, field, problems);
        fields.finish(problems);
        Some(match asked? {
            Asked::First(places) => Self::First(layout.topics.add(&places, test?)),
            Asked::Of(subject) => Self::Is(Box::new((subject, test?))),
        })
    }

    pub(super) fn holds(&self, seen: &Seen<'_, '_>) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(seen)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(seen)),
            Self::First(question) => {
                let holds = seen.doc.holds(*question);
                seen.note(holds, || seen.doc.asked_at(*question).map(Used::Place))
            }
            Self::Is(both) => {
                let (subject, test) = both.as_ref();
                subject.holds(test, seen)
            }
        }
    }
}

fn asked_of(
    fields: &mut Fields<'_>,
    scope: Scope,
    layout: &mut Layout,
    problems: &mut Problems,
) -> Option<Asked> {
    let mut found = Vec::new();
    let mut places = Vec::new();
    for (text, at) in fields.texts("path", problems) {
        match Path::parse(text) {
            Ok(path) if path.is_many() && scope == Scope::Report => {
                found.push(Asked::Of(Subject::Each(layout.bare(path))));
            }
            Ok(path) if path.is_many() => problems.add(at, "`[*]` is not for this condition"),
            Ok(path) if matches!(scope, Scope::Detect | Scope::Report) => {
                places.push(layout.bare(path));
            }
            Ok(path) => places.push(layout.here(path)),
            Err(why) => problems.add(at, why),
        }
    }
    if !places.is_empty() {
        found.push(Asked::First(places));
    }
    if let Some(header) = fields.text("header", problems) {
        found.push(Asked::Of(Subject::Header(header.to_owned())));
    }
    let field = if scope == Scope::Mapped { fields.get("field") } else { None };
    if let Some(node) = field {
        let field = field_of(node.text().unwrap_or_default(), &node.at, problems);
        found.extend(field.map(|field| Asked::Of(Subject::Field(field))));
    }
    if found.len() > 1 {
        problems.add(&fields.at, "a condition looks at one thing: `path`, `header` or `field`");
    }
    found.pop()
}

impl Subject {
    fn holds(&self, test: &Test, seen: &Seen<'_, '_>) -> bool {
        match self {
            Self::Each(place) => {
                let mut all = seen.doc.all(*place);
                let holds = all.any(|raw| test.holds(true, raw.scalar().as_deref()));
                seen.note(holds, || Some(Used::Place(*place)))
            }
            Self::Header(name) => {
                let text = header(seen.headers, name);
                let holds = test.holds(text.is_some(), text);
                seen.note(holds, || Some(Used::Header(name.clone())))
            }
            Self::Field(field) => {
                let value = seen.alert.map_or(&Value::Absent, |alert| alert.get(*field));
                test.holds(value.is_present(), written(value).as_deref())
            }
        }
    }
}

impl Seen<'_, '_> {
    /// Notes what a condition looked at, if it is true.
    #[inline]
    fn note(&self, holds: bool, used: impl FnOnce() -> Option<Used>) -> bool {
        if let (true, Some(trace)) = (holds, self.trace) {
            trace.borrow_mut().extend(used());
        }
        holds
    }
}

fn written<'v>(value: &'v Value<'_>) -> Option<Cow<'v, str>> {
    match value {
        Value::Text(text) => Some(Cow::Borrowed(text)),
        Value::Int(number) => Some(number.to_string().into()),
        Value::Bool(is) => Some(if *is { "true" } else { "false" }.into()),
        Value::Time(time) => Some(time.to_string().into()),
        Value::Decimal(number) => Some(number.to_string().into()),
        Value::Absent
        | Value::Unknown(_)
        | Value::AtLeast(_)
        | Value::Duration(_)
        | Value::List(_) => None,
    }
}

pub(super) fn header<'h>(headers: &[(&str, &'h [u8])], name: &str) -> Option<&'h str> {
    let found = headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
    found.and_then(|(_, value)| std::str::from_utf8(value).ok())
}

/// Why a mapped event is nothing to act on, and when that is so.
#[derive(Debug, Clone)]
pub(super) struct Dismissal {
    pub(super) id: String,
    pub(super) when: When,
}

impl Dismissal {
    pub(super) fn compile(
        node: &Node,
        layout: &mut Layout,
        problems: &mut Problems,
    ) -> Option<Self> {
        let mut fields = Fields::of(node, "an entry of `not_an_alert`", problems)?;
        let id = fields.require_text("id", problems);
        let nodes = fields.list("when", problems);
        let at = fields.at.clone();
        fields.finish(problems);
        if nodes.is_empty() {
            problems.add(&at, "`when` must list at least one condition");
        }
        let when = When::list(nodes, Scope::Mapped, layout, problems);
        Some(Self { id: id?.to_owned(), when })
    }
}

/// A field of the alert by its name, or a problem with the nearest name.
pub(super) fn field_of(name: &str, at: &At, problems: &mut Problems) -> Option<Field> {
    let field = field_named(name);
    if field.is_none() {
        let hint = suggestion(name, crate::case::FIELDS.iter().map(|info| info.path));
        problems.add(at, format!("no alert has the field `{name}`{hint}"));
    }
    field
}

#[cfg(test)]
mod tests {
    use super::with_ascii_boundaries;

    #[test]
    fn only_a_boundary_is_rewritten() {
        for (written, expected) in [
            (r"(?i)\bkey\b", r"(?i)(?-u:\b)key(?-u:\b)"),
            (r"c:\\bin\.exe$", r"c:\\bin\.exe$"),
            (r"\b{start}é\", r"\b{start}é\"),
            ("plain", "plain"),
        ] {
            assert_eq!(with_ascii_boundaries(written), expected);
        }
    }
}
