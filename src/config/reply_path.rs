use serde_json::Value;

/// Where something stands in a reply: `data.versions.{data.current_version}.created_time`,
/// `relations[type=ownedBy].targetRef`, `annotations.'github.com/project-slug'`, `items[*].name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplyPath(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Name(String),
    /// The name is what stands at another place of the same reply.
    NamedBy(ReplyPath),
    Index(usize),
    All,
    /// Of a list, those whose member has this value.
    Where(String, String),
}

const STEPS_MAX: usize = 16;

impl ReplyPath {
    /// Errors: one sentence for people. An empty text is the whole reply.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut steps = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (step, after) = match rest.chars().next() {
                Some('[') => bracket(rest)?,
                Some('{') => {
                    let (inner, after) = closed(rest, '{', '}')?;
                    (Step::NamedBy(Self::parse(inner)?), after)
                }
                Some('\'') => {
                    let (inner, after) = closed(rest, '\'', '\'')?;
                    (Step::Name(inner.to_owned()), after)
                }
                _ => {
                    let end = rest.find(['.', '[', '{', '\'']).unwrap_or(rest.len());
                    let (name, after) = rest.split_at(end);
                    if name.is_empty() {
                        return Err(format!("`{text}` has an empty name"));
                    }
                    (Step::Name(name.to_owned()), after)
                }
            };
            steps.push(step);
            rest = match after.strip_prefix('.') {
                Some("") => return Err(format!("`{text}` ends in a dot")),
                Some(next) => next,
                None if after.is_empty() || after.starts_with('[') => after,
                None => return Err(format!("`{text}` needs a dot before `{after}`")),
            };
        }
        if steps.len() > STEPS_MAX {
            return Err(format!("`{text}` has more than {STEPS_MAX} steps"));
        }
        Ok(Self(steps))
    }

    /// All that stands there; nothing where a step leads nowhere.
    pub fn find<'v>(&self, reply: &'v Value) -> Vec<&'v Value> {
        self.0.iter().fold(vec![reply], |found, step| step.from(&found, reply))
    }

    /// Whether more than one may stand there.
    pub fn is_many(&self) -> bool {
        self.0.iter().any(|step| matches!(step, Step::All | Step::Where(..)))
    }
}

impl Step {
    fn from<'v>(&self, found: &[&'v Value], reply: &'v Value) -> Vec<&'v Value> {
        let found = found.iter().copied();
        match self {
            Self::Name(name) => found.filter_map(|value| value.get(name)).collect(),
            Self::NamedBy(path) => {
                let names = path.find(reply);
                let name = match names.as_slice() {
                    [name] => scalar(name),
                    _ => None,
                };
                let of = |value: &'v Value| name.as_deref().and_then(|name| value.get(name));
                found.filter_map(of).collect()
            }
            Self::Index(index) => found.filter_map(|value| value.get(index)).collect(),
            Self::All => found.filter_map(Value::as_array).flatten().collect(),
            Self::Where(member, wanted) => {
                let is_it = |value: &&Value| {
                    value.get(member).and_then(scalar).is_some_and(|found| found == *wanted)
                };
                found.filter_map(Value::as_array).flatten().filter(is_it).collect()
            }
        }
    }
}

/// A text, whole number or flag as text.
pub fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
        _ => None,
    }
}

fn closed(text: &str, open: char, close: char) -> Result<(&str, &str), String> {
    let inner = text.strip_prefix(open).unwrap_or(text);
    inner.split_once(close).ok_or_else(|| format!("`{text}` lacks a `{close}`"))
}

fn bracket(text: &str) -> Result<(Step, &str), String> {
    let (inner, after) = closed(text, '[', ']')?;
    if inner == "*" {
        return Ok((Step::All, after));
    }
    if let Some((member, value)) = inner.split_once('=') {
        return Ok((Step::Where(member.trim().to_owned(), value.trim().to_owned()), after));
    }
    let index = inner
        .parse()
        .map_err(|_| format!("`[{inner}]` must be a number, `*` or `member=value`"))?;
    Ok((Step::Index(index), after))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_lead_where_they_say() {
        let reply = json!({
            "data": {"current": 2, "versions": {"1": {"t": "a"}, "2": {"t": "b"}}},
            "relations": [{"type": "ownedBy", "to": "x"}, {"type": "partOf", "to": "y"}],
            "notes": {"github.com/slug": "o/r"}, "list": ["p", "q"], "float": 1.5,
        });
        for (path, expected) in [
            ("data.current", json!([2])),
            ("data.versions.{data.current}.t", json!(["b"])),
            ("data.versions.{float}.t", json!([])),
            ("relations[type=ownedBy].to", json!(["x"])),
            ("relations[*].to", json!(["x", "y"])),
            ("notes.'github.com/slug'", json!(["o/r"])),
            ("list[1]", json!(["q"])),
            ("list[7]", json!([])),
            ("data.nothing.more", json!([])),
            ("", json!([reply.clone()])),
        ] {
            let found = ReplyPath::parse(path).unwrap();
            assert_eq!(json!(found.find(&reply)), expected, "{path}");
        }
        for wrong in ["a..b", "a.", ".a", "a[", "a[x]", "a{b", "a'b", "{a}b"] {
            assert!(ReplyPath::parse(wrong).is_err(), "{wrong}");
        }
    }
}
