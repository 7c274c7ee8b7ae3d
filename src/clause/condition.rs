use crate::case::{Because, Tri};
use crate::text::{At, Data, Fields, Node, Problems, Source};

use super::check::compile_as;
use super::{Clause, Name, Schema, Scope};

const NESTING_MAX: usize = 8;

/// What a `when:` says: clauses that must all hold, with `any:` and `not:` inside.
#[derive(Debug, Clone)]
pub struct Condition {
    root: Part,
}

/// Negation is gone: `not:` was moved into the clauses, as `!` is within one.
#[derive(Debug, Clone)]
pub enum Part {
    All(Vec<Part>),
    Any(Vec<Part>),
    Clause(Clause),
}

impl Condition {
    /// Holds for everything.
    pub fn always() -> Self {
        Self { root: Part::All(Vec::new()) }
    }

    pub fn read(
        node: &Node,
        source: &Source,
        schema: &Schema,
        problems: &mut Problems,
    ) -> Option<Self> {
        let before = problems.len();
        let mut reader = Reader { source, schema, problems };
        let root = reader.all(node, false, 0);
        if let Part::All(parts) = &root
            && parts.is_empty()
            && problems.len() == before
        {
            problems.add(&node.at, "no condition stands here");
        }
        (problems.len() == before).then_some(Self { root })
    }

    pub fn eval(&self, scope: &Scope<'_>) -> Tri {
        self.root.eval(scope)
    }

    /// How it is built, for who shows it.
    pub fn root(&self) -> &Part {
        &self.root
    }

    pub fn clauses(&self) -> Vec<&Clause> {
        let mut found = Vec::new();
        self.root.clauses(&mut found);
        found
    }

    /// Every clause with what it saw (INV-3).
    pub fn because(&self, scope: &Scope<'_>) -> Vec<Because<'_>> {
        self.clauses().into_iter().map(|clause| clause.because(scope)).collect()
    }

    /// The first clause that made it false or unknown; nothing when it holds.
    pub fn first_failing(&self, scope: &Scope<'_>) -> Option<&Clause> {
        let verdict = self.eval(scope);
        if verdict == Tri::True { None } else { self.root.first(verdict, scope) }
    }

    /// The names for whose sake it is unknown; empty when it is not.
    pub fn unknowns(&self, scope: &Scope<'_>) -> Vec<&Name> {
        let mut found = Vec::new();
        self.root.unknowns(scope, &mut found);
        found
    }
}

impl Part {
    pub fn eval(&self, scope: &Scope<'_>) -> Tri {
        match self {
            Self::Clause(clause) => clause.eval(scope),
            Self::All(parts) => {
                parts.iter().fold(Tri::True, |so_far, part| so_far.and(part.eval(scope)))
            }
            Self::Any(parts) => {
                parts.iter().fold(Tri::False, |so_far, part| so_far.or(part.eval(scope)))
            }
        }
    }

    fn clauses<'p>(&'p self, found: &mut Vec<&'p Clause>) {
        match self {
            Self::Clause(clause) => found.push(clause),
            Self::All(parts) | Self::Any(parts) => {
                parts.iter().for_each(|part| part.clauses(found));
            }
        }
    }

    fn first(&self, verdict: Tri, scope: &Scope<'_>) -> Option<&Clause> {
        match self {
            Self::Clause(clause) => Some(clause),
            Self::All(parts) | Self::Any(parts) => {
                parts.iter().find(|part| part.eval(scope) == verdict)?.first(verdict, scope)
            }
        }
    }

    fn unknowns<'p>(&'p self, scope: &Scope<'_>, found: &mut Vec<&'p Name>) {
        if self.eval(scope) != Tri::Unknown {
            return;
        }
        match self {
            Self::Clause(clause) => clause.unknowns(scope, found),
            Self::All(parts) | Self::Any(parts) => {
                parts.iter().for_each(|part| part.unknowns(scope, found));
            }
        }
    }
}

struct Reader<'r> {
    source: &'r Source,
    schema: &'r Schema,
    problems: &'r mut Problems,
}

impl Reader<'_> {
    fn parts(&mut self, node: &Node, negated: bool, depth: usize) -> Vec<Part> {
        let items = match &node.data {
            Data::List(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        items.iter().filter_map(|item| self.part(item, negated, depth)).collect()
    }

    fn all(&mut self, node: &Node, negated: bool, depth: usize) -> Part {
        let parts = self.parts(node, negated, depth);
        if negated { Part::Any(parts) } else { Part::All(parts) }
    }

    fn any(&mut self, node: &Node, negated: bool, depth: usize) -> Part {
        let parts = self.parts(node, negated, depth);
        if parts.is_empty() {
            self.problems.add(&node.at, "no condition stands here");
        }
        if negated { Part::All(parts) } else { Part::Any(parts) }
    }

    fn part(&mut self, node: &Node, negated: bool, depth: usize) -> Option<Part> {
        if depth > NESTING_MAX {
            self.problems.add(&node.at, format!("nested deeper than {NESTING_MAX}"));
            return None;
        }
        if let Some(text) = node.text() {
            let at = first_character(self.source, &node.at);
            let clause = compile_as(text, &at, negated, self.schema, self.problems);
            return clause.map(Part::Clause);
        }
        if !matches!(node.data, Data::Map(_)) {
            let message = format!(
                "a condition is text, `any: […]` or `not: …`, not {} (text starting with `!` or a quote needs quotes around all of it)",
                node.kind()
            );
            self.problems.add(&node.at, message);
            return None;
        }
        let mut fields = Fields::of(node, "a condition", self.problems)?;
        let any = fields.get("any").map(|of| self.any(of, negated, depth + 1));
        let not = fields.get("not").map(|of| self.all(of, !negated, depth + 1));
        fields.finish(self.problems);
        let part = match (any, not) {
            (Some(part), None) | (None, Some(part)) => part,
            _ => {
                self.problems.add(&node.at, "must be exactly one of `any` and `not`");
                return None;
            }
        };
        if let Part::All(parts) | Part::Any(parts) = &part
            && parts.is_empty()
        {
            self.problems.add(&node.at, "no condition stands here");
        }
        Some(part)
    }
}

/// Where the text of a scalar begins: after its quote, or on the line after `|` or `>`.
fn first_character(source: &Source, at: &At) -> At {
    let to_index = |number: u32| usize::try_from(number).unwrap_or(usize::MAX).saturating_sub(1);
    let mut lines = source.text.lines().skip(to_index(at.line));
    let line = lines.next().unwrap_or_default();
    let mut place = at.clone();
    match line.chars().nth(to_index(at.column)) {
        Some('"' | '\'') => place.column = place.column.saturating_add(1),
        Some('|' | '>') => {
            let indent = lines.next().map_or(0, |next| next.len() - next.trim_start().len());
            place.line = place.line.saturating_add(1);
            place.column = u32::try_from(indent).unwrap_or(u32::MAX).saturating_add(1);
        }
        _ => {}
    }
    place
}
