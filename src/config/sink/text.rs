use super::words::{Placeholder, WHOLE};
use crate::clause::Schema;
use crate::text::{Node, Problems, Source, Written};

/// Text with `{{name}}` in it, line by line: a line is left out where one of its placeholders has
/// nothing to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(pub Vec<Line>);

pub type Line = Vec<Piece>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    Text(String),
    Value(Placeholder),
}

/// What templates are read with.
#[derive(Clone, Copy)]
pub(super) struct Names<'n> {
    pub schema: &'n Schema,
    pub source: &'n Source,
}

impl Text {
    /// Of the text of a node, or of what a number or flag is written as.
    pub(super) fn read(
        node: &Node,
        text: &str,
        names: Names<'_>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let before = problems.len();
        let written = Written::of(node, names.source);
        let (mut lines, mut from) = (Vec::new(), 0);
        for line in text.trim_end_matches('\n').split('\n') {
            lines.push(pieces(line, from, &written, names.schema, problems));
            from += line.chars().count() + 1;
        }
        (problems.len() == before).then_some(Self(lines))
    }

    /// The placeholder that is all of it.
    pub fn sole(&self) -> Option<&Placeholder> {
        match self.0.as_slice() {
            [line] => match line.as_slice() {
                [Piece::Value(placeholder)] => Some(placeholder),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether anything of a case is in it.
    pub fn is_filled(&self) -> bool {
        self.0.iter().flatten().any(|piece| matches!(piece, Piece::Value(_)))
    }
}

fn pieces(
    line: &str,
    from: usize,
    written: &Written,
    schema: &Schema,
    problems: &mut Problems,
) -> Line {
    let mut pieces = Vec::new();
    let mut rest = line;
    let place = |rest: &str| from + line.chars().count() - rest.chars().count();
    while let Some((before, after)) = rest.split_once("{{") {
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        let opened = place(after);
        let Some((name, after)) = after.split_once("}}") else {
            problems.add(&written.at(opened.saturating_sub(2)), "`{{` lacks its `}}` on this line");
            return pieces;
        };
        let at = written.at(opened + name.chars().take_while(|c| c.is_whitespace()).count());
        let name = name.trim();
        if name == WHOLE {
            let help = "`{{case}}` is the whole case: it stands alone, as a value of a body";
            problems.add_long(&at, name.len(), help);
        } else {
            match Placeholder::named(name, schema) {
                Ok(found) => pieces.push(Piece::Value(found)),
                Err(why) => problems.add_long(&at, name.chars().count().max(1), why),
            }
        }
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    pieces
}
