use super::layout::{Layout, Place};
use super::words::check_word;
use crate::case::{Alert, Field, Value, field_named};
use crate::json::Path;
use crate::text::{At, Fields, Node, Problems, suggestion};

/// Whether a value is as described. Nothing but `exists: false` is true of a value that is not
/// there: a message that says less must never be taken for less.
#[derive(Debug, Clone)]
pub(super) enum Test {
    Exists(bool),
    Text { how: How, any: Vec<String>, is_negated: bool },
}

#[derive(Debug, Clone, Copy)]
pub(super) enum How {
    Equal,
    Start,
    Contain,
}

const TESTS: &[(&str, How, bool)] = &[
    ("equals", How::Equal, false),
    ("one_of", How::Equal, false),
    ("starts_with", How::Start, false),
    ("contains", How::Contain, false),
    ("not_equals", How::Equal, true),
    ("not_one_of", How::Equal, true),
    ("not_starts_with", How::Start, true),
    ("not_contains", How::Contain, true),
];

impl Test {
    /// `value` is nothing for a list or an object; those only exist.
    pub(super) fn holds(&self, exists: bool, value: Option<&str>) -> bool {
        match (self, value) {
            (Self::Exists(wanted), _) => exists == *wanted,
            (Self::Text { how, any, is_negated }, Some(value)) => {
                let found = any.iter().any(|text| match how {
                    How::Equal => value == text,
                    How::Start => value.starts_with(text.as_str()),
                    How::Contain => value.contains(text.as_str()),
                });
                found != *is_negated
            }
            (Self::Text { .. }, None) => false,
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
            let texts = fields.texts(key, problems);
            if texts.is_empty() {
                continue;
            }
            for (text, at) in &texts {
                if let (Some(field), How::Equal) = (of, how) {
                    check_word(field, text, at, problems);
                }
            }
            let any = texts.into_iter().map(|(text, _)| text.to_owned()).collect();
            found.push(Self::Text { how: *how, any, is_negated: *is_negated });
        }
        if found.len() != 1 {
            problems.add(&fields.at, "a condition needs exactly one of `equals`, `one_of`, `starts_with`, `contains`, their `not_` forms, or `exists`");
        }
        found.pop()
    }
}

/// A condition on the message: the first of the paths that is there, or a header.
#[derive(Debug, Clone)]
pub(super) struct Sign {
    subject: Subject,
    test: Test,
}

#[derive(Debug, Clone)]
enum Subject {
    Paths(Vec<Place>),
    Header(String),
}

impl Sign {
    pub(super) fn compile(
        node: &Node,
        layout: &mut Layout,
        problems: &mut Problems,
    ) -> Option<Self> {
        let mut fields = Fields::of(node, "a condition", problems)?;
        let before = problems.len();
        let mut places = Vec::new();
        for (text, at) in fields.texts("path", problems) {
            match Path::parse(text) {
                Ok(path) if path.has_each() => problems.add(at, "`[*]` is not for conditions"),
                Ok(path) => places.push(layout.bare(path)),
                Err(why) => problems.add(at, why),
            }
        }
        let header = fields.text("header", problems).map(str::to_owned);
        let is_readable = problems.len() == before;
        let test = Test::compile(&mut fields, None, problems);
        let at = fields.at.clone();
        fields.finish(problems);
        let subject = match (places.is_empty(), header) {
            (false, None) => Subject::Paths(places),
            (true, Some(header)) => Subject::Header(header),
            _ if is_readable => {
                problems.add(&at, "a condition needs either `path` or `header`");
                return None;
            }
            _ => return None,
        };
        Some(Self { subject, test: test? })
    }

    pub(super) fn holds(
        &self,
        doc: &super::layout::Doc<'_, '_>,
        headers: &[(&str, &[u8])],
    ) -> bool {
        match &self.subject {
            Subject::Paths(places) => {
                let raw = places.iter().find_map(|place| doc.raw(*place));
                let text = raw.and_then(|raw| raw.scalar());
                self.test.holds(raw.is_some(), text.as_deref())
            }
            Subject::Header(name) => {
                let found = headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
                let text = found.and_then(|(_, value)| std::str::from_utf8(value).ok());
                self.test.holds(found.is_some(), text)
            }
        }
    }
}

/// Why a mapped event is nothing to act on, and when that is so.
#[derive(Debug, Clone)]
pub(super) struct Dismissal {
    pub(super) id: String,
    when: Vec<(Field, Test)>,
}

impl Dismissal {
    pub(super) fn compile(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::of(node, "an entry of `not_an_alert`", problems)?;
        let id = fields.require_text("id", problems);
        let clauses = fields.list("when", problems);
        let at = fields.at.clone();
        fields.finish(problems);
        if clauses.is_empty() {
            problems.add(&at, "`when` must list at least one condition");
        }
        let when = clauses.iter().filter_map(|clause| clause_of(clause, problems)).collect();
        Some(Self { id: id?.to_owned(), when })
    }

    pub(super) fn holds(&self, alert: &Alert<'_>) -> bool {
        self.when.iter().all(|(field, test)| {
            let value = alert.get(*field);
            let text = match value {
                Value::Text(text) => Some(text.to_string()),
                Value::Int(number) => Some(number.to_string()),
                Value::Bool(is) => Some(is.to_string()),
                Value::Time(time) => Some(time.to_string()),
                Value::Absent | Value::Unknown(_) | Value::Duration(_) => None,
            };
            test.holds(value.is_present(), text.as_deref())
        })
    }
}

fn clause_of(node: &Node, problems: &mut Problems) -> Option<(Field, Test)> {
    let mut fields = Fields::of(node, "a condition", problems)?;
    let named = fields.require("field", problems);
    let field = named.and_then(|node| field_of(node.text()?, &node.at, problems));
    let test = Test::compile(&mut fields, field, problems);
    fields.finish(problems);
    Some((field?, test?))
}

/// A field of the alert by its name, or a problem with the nearest name.
pub(super) fn field_of(name: &str, at: &At, problems: &mut Problems) -> Option<Field> {
    let field = field_named(name);
    if field.is_none() {
        let known: Vec<String> = crate::case::FIELDS.iter().map(|info| info.field.path()).collect();
        let hint = suggestion(name, known.iter().map(String::as_str));
        problems.add(at, format!("no alert has the field `{name}`{hint}"));
    }
    field
}
