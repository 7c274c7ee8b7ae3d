/// One step from a value to a value inside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Key(String),
    Index(usize),
    /// Every item of a list: `[*]`.
    Each,
}

/// `a.b`, `a[0].b`, `["a key.with dots"].b`, `items[*]`; a leading `$` means the whole message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    pub from_root: bool,
    pub steps: Vec<Step>,
}

impl Path {
    /// Errors: what is wrong with it, in words for its author.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (from_root, mut rest) = match text.strip_prefix('$') {
            Some(rest) if rest.is_empty() || rest.starts_with(['.', '[']) => (true, rest),
            _ => (false, text),
        };
        if text.is_empty() {
            return Err("a path must not be empty");
        }
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if let Some(inside) = rest.strip_prefix('[') {
                let (step, after) = bracket(inside)?;
                steps.push(step);
                rest = after;
                continue;
            }
            let key = match rest.strip_prefix('.') {
                Some(key) if from_root || !steps.is_empty() => key,
                None if steps.is_empty() => rest,
                _ => return Err("a key must follow a `.`"),
            };
            let end = key.find(['.', '[']).unwrap_or(key.len());
            let (name, after) = key.split_at_checked(end).unwrap_or((key, ""));
            if name.is_empty() || name.contains([']', '"', ' ', '*']) {
                return Err("a key with other characters is written [\"like this\"]");
            }
            steps.push(Step::Key(name.to_owned()));
            rest = after;
        }
        Ok(Self { from_root, steps })
    }

    pub fn has_each(&self) -> bool {
        self.steps.contains(&Step::Each)
    }
}

fn bracket(inside: &str) -> Result<(Step, &str), &'static str> {
    if let Some(after) = inside.strip_prefix("*]") {
        return Ok((Step::Each, after));
    }
    if let Some(quoted) = inside.strip_prefix('"') {
        let (name, after) = quoted.split_once("\"]").ok_or("`[\"` is not closed by `\"]`")?;
        return Ok((Step::Key(name.to_owned()), after));
    }
    let (digits, after) = inside.split_once(']').ok_or("`[` is not closed by `]`")?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let index = digits.parse().ok().filter(|_| is_number);
    index.map(|index| (Step::Index(index), after)).ok_or("`[` holds a number, `*` or a \"key\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Step {
        Step::Key(name.into())
    }

    #[test]
    fn paths_are_read() {
        for (text, from_root, steps) in [
            ("$", true, vec![]),
            ("$[*]", true, vec![Step::Each]),
            ("$.a.b", true, vec![key("a"), key("b")]),
            ("a[0].b", false, vec![key("a"), Step::Index(0), key("b")]),
            ("detail-type", false, vec![key("detail-type")]),
            ("[\"a.b\"][\"c d\"].e", false, vec![key("a.b"), key("c d"), key("e")]),
            (
                "runs[*].results[*]",
                false,
                vec![key("runs"), Step::Each, key("results"), Step::Each],
            ),
            ("$ref", false, vec![key("$ref")]),
        ] {
            assert_eq!(Path::parse(text), Ok(Path { from_root, steps }), "{text}");
        }
        for bad in ["", ".", "a.", "a..b", ".a", "a[", "a[x]", "a[-1]", "a[\"b]", "a b", "a]"] {
            assert!(Path::parse(bad).is_err(), "{bad}");
        }
    }
}
