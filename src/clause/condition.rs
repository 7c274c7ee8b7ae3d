use crate::case::{Because, Tri};
use crate::text::{Data, Fields, Node, Problems, Source, Written};

use super::check::compile_as;
use super::{CLAUSES_MAX, Clause, Name, Schema, Scope, Tree};

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
        let mut reader = Reader { source, schema, problems, clauses: 0 };
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

    /// Whether a part of it holds because a fact is unknown: knowing the fact could undo it.
    pub fn holds_by_unknown(&self, scope: &Scope<'_>) -> bool {
        self.root.holds_by_unknown(scope)
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

    /// How its clauses are joined.
    pub fn tree(&self) -> Tree<'_> {
        self.root.tree()
    }

    /// Clauses that must hold by themselves, and those that stand as alternatives of others.
    pub fn required_and_alternative(&self) -> (Vec<&Clause>, Vec<&Clause>) {
        let (mut required, mut alternative) = (Vec::new(), Vec::new());
        self.root.divide(&mut required, &mut alternative);
        (required, alternative)
    }

    /// Every clause with what it saw (INV-3).
    pub fn because(&self, scope: &Scope<'_>) -> Vec<Because<'_>> {
        let clauses = self.clauses().into_iter();
        clauses.map(|clause| clause.because(clause.eval(scope), scope)).collect()
    }

    /// As `eval`, with the first clause that came to the same; it is there unless it is true.
    pub fn eval_with_first(&self, scope: &Scope<'_>) -> (Tri, Option<&Clause>) {
        self.root.first(scope)
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
            Self::All(parts) => until(Tri::False, parts, scope),
            Self::Any(parts) => until(Tri::True, parts, scope),
        }
    }

    fn holds_by_unknown(&self, scope: &Scope<'_>) -> bool {
        match self {
            Self::Clause(clause) => clause.holds_by_unknown(scope),
            Self::All(parts) | Self::Any(parts) => {
                parts.iter().any(|part| part.holds_by_unknown(scope))
            }
        }
    }

    fn tree(&self) -> Tree<'_> {
        match self {
            Self::Clause(clause) => clause.tree(),
            Self::All(parts) => Tree::All(parts.iter().map(Self::tree).collect()),
            Self::Any(parts) => Tree::Any(parts.iter().map(Self::tree).collect()),
        }
    }

    fn divide<'p>(&'p self, required: &mut Vec<&'p Clause>, alternative: &mut Vec<&'p Clause>) {
        match self {
            Self::Clause(clause) => required.push(clause),
            Self::All(parts) => parts.iter().for_each(|part| part.divide(required, alternative)),
            Self::Any(parts) => match parts.as_slice() {
                [one] => one.divide(required, alternative),
                parts => parts.iter().for_each(|part| part.clauses(alternative)),
            },
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

    /// Its value, and the first clause that has it in a part that has it.
    fn first(&self, scope: &Scope<'_>) -> (Tri, Option<&Clause>) {
        let (settles, parts) = match self {
            Self::Clause(clause) => return (clause.eval(scope), Some(clause)),
            Self::All(parts) => (Tri::False, parts),
            Self::Any(parts) => (Tri::True, parts),
        };
        let otherwise = if settles == Tri::False { Tri::True } else { Tri::False };
        let (mut unknown, mut other) = (None, None);
        for part in parts {
            match part.first(scope) {
                (Tri::Unknown, clause) => unknown = unknown.or(clause),
                (value, clause) if value == settles => return (settles, clause),
                (_, clause) => other = other.or(clause),
            }
        }
        if unknown.is_some() { (Tri::Unknown, unknown) } else { (otherwise, other) }
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

/// Parts are joined up to the first that settles it: false among all, true among any.
fn until(settles: Tri, parts: &[Part], scope: &Scope<'_>) -> Tri {
    let mut joined = if settles == Tri::False { Tri::True } else { Tri::False };
    for part in parts {
        match part.eval(scope) {
            value if value == settles => return settles,
            Tri::Unknown => joined = Tri::Unknown,
            _ => {}
        }
    }
    joined
}

struct Reader<'r> {
    source: &'r Source,
    schema: &'r Schema,
    problems: &'r mut Problems,
    clauses: usize,
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
            self.clauses += 1;
            if self.clauses > CLAUSES_MAX {
                if self.clauses == CLAUSES_MAX + 1 {
                    let message = format!("more than {CLAUSES_MAX} clauses in one condition");
                    self.problems.add(&node.at, message);
                }
                return None;
            }
            let written = Written::of(node, self.source);
            let clause = compile_as(text, &written, negated, self.schema, self.problems);
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
