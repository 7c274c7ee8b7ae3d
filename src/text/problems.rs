use std::fmt;
use std::sync::Arc;

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
        write!(f, "{}:{}:{}", self.path, self.line, self.column)
    }
}

/// One mistake in a file, in words its author can act on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    pub at: At,
    pub message: String,
    /// Under which it is explained: `TS-101`.
    pub code: &'static str,
}

/// Of what no other code is for.
const ANY: &str = "TS-001";

impl Problem {
    pub fn new(at: &At, message: impl Into<String>) -> Self {
        Self { at: at.clone(), message: message.into(), code: ANY }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.message)
    }
}

/// All mistakes found so far. Nothing is started while there is one.
#[derive(Debug, Default)]
pub struct Problems {
    found: Vec<Problem>,
    code: Option<&'static str>,
}

impl Problems {
    pub fn add(&mut self, at: &At, message: impl Into<String>) {
        let problem = Problem::new(at, message);
        self.found.push(Problem { code: self.code.unwrap_or(ANY), ..problem });
    }

    /// What is added meanwhile is explained under this code.
    pub fn under<T>(&mut self, code: &'static str, read: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.code.replace(code);
        let found = read(self);
        self.code = before;
        found
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
        self.found.dedup();
        self.found
    }
}
