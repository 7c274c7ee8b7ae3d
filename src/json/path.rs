use std::fmt;

/// One step from a value to a value inside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Key(String),
    Index(usize),
    /// Every item of a list: `[*]`.
    Each,
    /// Every value of an object: `{*}`.
    Values,
    /// The first item of a list that has this text, number or boolean: `[name=client_id]`.
    Where {
        key: String,
        value: String,
    },
}

impl Step {
    /// Whether it leads to any number of values.
    pub fn is_many(&self) -> bool {
        matches!(self, Self::Each | Self::Values)
    }
}

/// Where a path begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    Here,
    /// `$`: the whole document.
    Root,
    /// `^`: the item around this one, as many times as given.
    Around(usize),
}

/// `a.b`, `a[0].b`, `["a key.with dots"].b`, `items[*]`, `list[name=x].value`, `$.a`, `^.a`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    pub start: Start,
    pub steps: Vec<Step>,
    /// `@key`: not a value, but the key under which the item stands.
    pub is_key: bool,
}

impl Path {
    /// Errors: what is wrong with it, in words for its author.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Err("a path must not be empty");
        }
        let (from, mut rest) = start_of(text);
        if matches!(rest.trim_start_matches('.'), "@key") && from != Start::Root {
            return Ok(Self { start: from, steps: Vec::new(), is_key: true });
        }
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix("{*}") {
                steps.push(Step::Values);
                rest = after;
                continue;
            }
            if let Some(inside) = rest.strip_prefix('[') {
                let (step, after) = bracket(inside)?;
                steps.push(step);
                rest = after;
                continue;
            }
            let key = match rest.strip_prefix('.') {
                Some(key) if from != Start::Here || !steps.is_empty() => key,
                None if steps.is_empty() => rest,
                _ => return Err("a key must follow a `.`"),
            };
            let end = key.find(['.', '[', '{']).unwrap_or(key.len());
            let (name, after) = key.split_at_checked(end).unwrap_or((key, ""));
            if name.is_empty() || name.contains([']', '"', ' ', '*', '}']) {
                return Err("a key with other characters is written [\"like this\"]");
            }
            if name == "@key" {
                return Err("`@key` stands alone, or after `^.`");
            }
            steps.push(Step::Key(name.to_owned()));
            rest = after;
        }
        Ok(Self { start: from, steps, is_key: false })
    }

    /// Whether it may lead to more than one value.
    pub fn is_many(&self) -> bool {
        self.steps.iter().any(Step::is_many)
    }
}

fn start_of(text: &str) -> (Start, &str) {
    let ends = |rest: &str| rest.is_empty() || rest.starts_with(['.', '[', '{']);
    if let Some(rest) = text.strip_prefix('$').filter(|rest| ends(rest)) {
        return (Start::Root, rest);
    }
    let rest = text.trim_start_matches('^');
    let up = text.len() - rest.len();
    if up > 0 && ends(rest) { (Start::Around(up), rest) } else { (Start::Here, text) }
}

fn bracket(inside: &str) -> Result<(Step, &str), &'static str> {
    const WHAT: &str = "`[` holds a number, `*`, a \"key\" or a key=value";
    if let Some(after) = inside.strip_prefix("*]") {
        return Ok((Step::Each, after));
    }
    let is_number = inside.starts_with(|first: char| first.is_ascii_digit());
    if let Some((digits, after)) = inside.split_once(']').filter(|_| is_number) {
        return digits.parse().map(|index| (Step::Index(index), after)).map_err(|_| WHAT);
    }
    let is_quoted = inside.starts_with('"');
    let (key, after) = word(inside, '=')?;
    if let Some(after) = after.strip_prefix(']').filter(|_| is_quoted) {
        return Ok((Step::Key(key.to_owned()), after));
    }
    let (value, after) = word(after.strip_prefix('=').ok_or(WHAT)?, ']')?;
    let after = after.strip_prefix(']').ok_or("`[` is not closed by `]`")?;
    if key.is_empty() {
        return Err(WHAT);
    }
    Ok((Step::Where { key: key.to_owned(), value: value.to_owned() }, after))
}

/// What is between quotes, or all up to `end` or `]`.
fn word(text: &str, end: char) -> Result<(&str, &str), &'static str> {
    if let Some(quoted) = text.strip_prefix('"') {
        return quoted.split_once('"').ok_or("`\"` is not closed");
    }
    let at = text.find([end, ']']).ok_or("`[` is not closed by `]`")?;
    Ok(text.split_at_checked(at).unwrap_or((text, "")))
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.start {
            Start::Here => {}
            Start::Root => f.write_str("$")?,
            Start::Around(up) => f.write_str(&"^".repeat(up))?,
        }
        let mut is_first = self.start == Start::Here;
        if self.is_key {
            return f.write_str(if is_first { "@key" } else { ".@key" });
        }
        let is_plain = |key: &str| {
            !key.is_empty()
                && !key.contains(['.', '[', ']', '{', '}', '"', ' ', '*', '=', '$', '^'])
        };
        for step in &self.steps {
            match step {
                Step::Key(key) if is_plain(key) && is_first => f.write_str(key)?,
                Step::Key(key) if is_plain(key) => write!(f, ".{key}")?,
                Step::Key(key) => write!(f, "[\"{key}\"]")?,
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Each => f.write_str("[*]")?,
                Step::Values => f.write_str("{*}")?,
                Step::Where { key, value } if is_plain(key) && is_plain(value) => {
                    write!(f, "[{key}={value}]")?;
                }
                Step::Where { key, value } => write!(f, "[\"{key}\"=\"{value}\"]")?,
            }
            is_first = false;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Step {
        Step::Key(name.into())
    }

    fn wher(key: &str, value: &str) -> Step {
        Step::Where { key: key.into(), value: value.into() }
    }

    #[test]
    fn paths_are_read_and_written() {
        for (text, from, steps) in [
            ("$", Start::Root, vec![]),
            ("$[*]", Start::Root, vec![Step::Each]),
            ("$.a.b", Start::Root, vec![key("a"), key("b")]),
            ("a[0].b", Start::Here, vec![key("a"), Step::Index(0), key("b")]),
            ("detail-type", Start::Here, vec![key("detail-type")]),
            ("[\"a.b\"][\"c d\"].e", Start::Here, vec![key("a.b"), key("c d"), key("e")]),
            (
                "runs[*].results[*]",
                Start::Here,
                vec![key("runs"), Step::Each, key("results"), Step::Each],
            ),
            ("results{*}[*]", Start::Here, vec![key("results"), Step::Values, Step::Each]),
            ("^^.a", Start::Around(2), vec![key("a")]),
            ("^[0]", Start::Around(1), vec![Step::Index(0)]),
            (
                "list[name=client_id].value",
                Start::Here,
                vec![key("list"), wher("name", "client_id"), key("value")],
            ),
            ("a[\"b c\"=\"d.e\"]", Start::Here, vec![key("a"), wher("b c", "d.e")]),
            ("$ref", Start::Here, vec![key("$ref")]),
        ] {
            let path = Path { start: from, steps, is_key: false };
            assert_eq!(Path::parse(text).as_ref(), Ok(&path), "{text}");
            assert_eq!(Path::parse(&path.to_string()), Ok(path), "{text}");
        }
        for (text, from) in [("@key", Start::Here), ("^.@key", Start::Around(1))] {
            let path = Path { start: from, steps: vec![], is_key: true };
            assert_eq!((Path::parse(text), path.to_string()), (Ok(path), text.to_owned()));
        }
        let unquoted = Path::parse("a[type=Aws.Iam:Key/x y]").unwrap();
        assert_eq!(unquoted.steps, [key("a"), wher("type", "Aws.Iam:Key/x y")]);
        for bad in [
            "", ".", "a.", "a..b", ".a", "a[", "a[x]", "a[-1]", "a[\"b]", "a b", "a]", "a[=b]",
            "a[b=c", "a.@key", "$.@key", "a{x}", "a{*",
        ] {
            assert!(Path::parse(bad).is_err(), "{bad}");
        }
    }
}
