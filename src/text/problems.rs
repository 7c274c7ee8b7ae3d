use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::excerpt::Excerpt;
use super::plain::plain;

/// One file as it was read: its path as users know it, and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    pub path: Arc<str>,
    pub text: String,
}

impl Source {
    pub fn new(path: impl Into<Arc<str>>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into() }
    }
}

/// A place in a file. Lines and columns start at 1; a column counts characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct At {
    pub path: Arc<str>,
    pub line: u32,
    pub column: u32,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", plain(&self.path), self.line, self.column)
    }
}

/// One mistake in a file, in words its author can act on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    pub at: At,
    pub message: String,
    /// Under which it is explained: `TS-101`.
    pub code: &'static str,
    /// The line it stands in, where that was kept.
    excerpt: Option<Excerpt>,
}

/// Of what no other code is for.
const ANY: &str = "TS-001";

impl Problem {
    pub fn new(at: At, message: impl Into<String>) -> Self {
        Self { at, message: plain(&message.into()), code: ANY, excerpt: None }
    }

    /// The mistake, and what to write instead, where the message says so at its end.
    fn parts(&self) -> (&str, Option<&str>) {
        for (mark, skipped) in [(", did you mean ", 2), (": write ", 2)] {
            if let Some(index) = self.message.rfind(mark) {
                return (
                    self.message.get(..index).unwrap_or(&self.message),
                    self.message.get(index + skipped..),
                );
            }
        }
        (&self.message, None)
    }
}

/// In one line; `{:#}` shows the line of the file and a caret below the mistake.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(excerpt) = self.excerpt.as_ref().filter(|_| f.alternate()) else {
            return write!(f, "{}: {}", self.at, self.message);
        };
        let (mistake, help) = self.parts();
        let code = if self.code == ANY { String::new() } else { format!(" [{}]", self.code) };
        writeln!(f, "{}: {mistake}{code}", self.at)?;
        excerpt.write(f, self.at.line, help)
    }
}

/// All mistakes found so far. Nothing is started while there is one.
#[derive(Debug, Default)]
pub struct Problems {
    /// With the number of characters that are wrong, where that is known.
    found: Vec<(Problem, Option<usize>)>,
    /// The files whose lines are shown, with the byte at which each line begins.
    sources: BTreeMap<Arc<str>, (String, Vec<usize>)>,
    spent: BTreeMap<(Arc<str>, &'static str), usize>,
    code: Option<&'static str>,
}

/// So many are told; who made more of them has to begin somewhere.
const TOLD_MAX: usize = 500;

impl Problems {
    pub fn add(&mut self, at: &At, message: impl Into<String>) {
        self.found.push((self.problem(at, message), None));
    }

    /// For a mistake that is known to be so many characters long.
    pub fn add_long(&mut self, at: &At, chars: usize, message: impl Into<String>) {
        self.found.push((self.problem(at, message), Some(chars)));
    }

    fn problem(&self, at: &At, message: impl Into<String>) -> Problem {
        let problem = Problem::new(at.clone(), message);
        Problem { code: self.code.unwrap_or(ANY), ..problem }
    }

    /// What is added meanwhile is explained under this code.
    pub fn under<T>(&mut self, code: &'static str, read: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.code.replace(code);
        let found = read(self);
        self.code = before;
        found
    }

    /// Keeps a file's text, so that its lines can be shown beside what is wrong in them.
    pub fn show(&mut self, source: &Source) {
        self.sources.entry(source.path.clone()).or_insert_with(|| {
            let breaks = source.text.match_indices('\n').map(|(index, _)| index + 1);
            (source.text.clone(), std::iter::once(0).chain(breaks).collect())
        });
    }

    /// Counts what reading one file takes of something that is bounded, and whether it still may.
    pub fn spend(&mut self, path: &Arc<str>, what: &'static str, limit: usize) -> bool {
        let spent = self.spent.entry((path.clone(), what)).or_default();
        *spent += 1;
        *spent <= limit
    }

    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// In file order, each once.
    pub fn into_sorted(mut self) -> Vec<Problem> {
        self.found.sort();
        self.found.dedup_by(|one, other| one.0 == other.0);
        let more = self.found.len().saturating_sub(TOLD_MAX);
        self.found.truncate(TOLD_MAX);
        let sources = self.sources;
        let shown = self.found.into_iter().map(|(mut problem, chars)| {
            let line = usize::try_from(problem.at.line).unwrap_or(usize::MAX).saturating_sub(1);
            problem.excerpt = sources.get(&problem.at.path).and_then(|(text, starts)| {
                let rest = text.get(*starts.get(line)?..)?;
                Excerpt::of(rest.lines().next()?, problem.at.column, chars)
            });
            problem
        });
        let mut told: Vec<Problem> = shown.collect();
        if let (Some(last), 1..) = (told.last(), more) {
            let message = format!("and {more} more problems after this one, which are not shown");
            told.push(Problem::new(last.at.clone(), message));
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_in_one_line_or_with_its_line_of_the_file() {
        let mut problems = Problems::default();
        problems.show(&Source::new("a.yaml", "one: 1\r\n  two: bad\n"));
        let at = |line, column| At { path: "a.yaml".into(), line, column };
        problems.add(&at(9, 1), "too late");
        problems.add(&at(2, 8), "unknown `bad`, did you mean `bat`?");
        problems.add(&at(2, 8), "unknown `bad`, did you mean `bat`?");
        let told = problems.into_sorted();
        assert_eq!(told.len(), 2);
        assert_eq!(told[0].to_string(), "a.yaml:2:8: unknown `bad`, did you mean `bat`?");
        let shown = "\
a.yaml:2:8: unknown `bad`
  |
2 |   two: bad
  |        ^^^
  = did you mean `bat`?";
        assert_eq!(format!("{:#}", told[0]), shown);
        assert_eq!(format!("{:#}", told[1]), "a.yaml:9:1: too late");
    }

    #[test]
    fn no_file_makes_the_list_of_its_problems_endless() {
        let mut problems = Problems::default();
        for column in 1..=2000 {
            let at = At { path: "a.yaml".into(), line: 1, column };
            problems.add(&at, "wrong");
        }
        assert_eq!(problems.len(), 2000);
        let told = problems.into_sorted();
        assert_eq!(told.len(), TOLD_MAX + 1);
        assert!(told[TOLD_MAX].message.starts_with("and 1500 more problems"));
    }
}
