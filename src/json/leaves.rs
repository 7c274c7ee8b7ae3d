use super::scan::Scanner;
use super::{Malformed, Path, Raw, Start, Step};

/// A value that is neither a list nor an object, and the path to it from the top of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf<'a> {
    pub path: Path,
    pub raw: Raw<'a>,
}

/// Every leaf of a text, in its order. For tools: it builds a path for each.
pub fn leaves(text: &str) -> Result<Vec<Leaf<'_>>, Malformed> {
    let mut walk = Walk { scanner: Scanner::new(text), steps: Vec::new(), leaves: Vec::new() };
    walk.value(0)?;
    walk.scanner.end()?;
    Ok(walk.leaves)
}

struct Walk<'a> {
    scanner: Scanner<'a>,
    steps: Vec<Step>,
    leaves: Vec<Leaf<'a>>,
}

impl Walk<'_> {
    fn value(&mut self, depth: usize) -> Result<(), Malformed> {
        let Some(open @ (b'{' | b'[')) = self.scanner.peek() else {
            let raw = self.scanner.scalar()?;
            let path = Path { start: Start::Here, steps: self.steps.clone(), is_key: false };
            self.leaves.push(Leaf { path, raw });
            return Ok(());
        };
        let close = if open == b'{' { b'}' } else { b']' };
        self.scanner.enter(depth)?;
        if self.scanner.closes_at_once(close) {
            return Ok(());
        }
        let mut index = 0;
        loop {
            let step = if open == b'{' {
                Step::Key(self.scanner.key()?.scalar().unwrap_or_default().into_owned())
            } else {
                Step::Index(index)
            };
            self.steps.push(step);
            self.value(depth + 1)?;
            self.steps.pop();
            index += 1;
            if !self.scanner.another(close)? {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_leaf_has_its_path() {
        let text = r#"{"a":{"b":[1,{"c d":null}]},"e":[],"f":"x"}"#;
        let found: Vec<String> = leaves(text)
            .unwrap()
            .iter()
            .map(|leaf| format!("{} {}", leaf.path, leaf.raw.text))
            .collect();
        assert_eq!(found, ["a.b[0] 1", "a.b[1][\"c d\"] null", "f x"]);
        assert!(leaves("{} {}").is_err() && leaves(&"[".repeat(100)).is_err());
    }
}
