use std::iter::Peekable;
use std::str::CharIndices;

use super::{At, Node, Source};

/// Where the characters of a text stand in its file: after quotes, escapes and folded lines they
/// are elsewhere than counting from the start of the text would have it.
#[derive(Debug)]
pub struct Written {
    start: At,
    /// Line and column of each character, and of the end; empty where they only follow the start.
    places: Vec<(u32, u32)>,
}

impl Written {
    /// A text that begins at a place and goes on as it is.
    pub fn plain(start: &At) -> Self {
        Self { start: start.clone(), places: Vec::new() }
    }

    /// The text of a node of this file. Takes as long as the text is.
    pub fn of(node: &Node, source: &Source) -> Self {
        let text = node.text().unwrap_or_default();
        let rest = source.text.get(node.byte..).unwrap_or_default();
        let places = Walk::new(rest, (node.at.line, node.at.column)).places(text);
        Self { start: node.at.clone(), places: places.unwrap_or_default() }
    }

    /// Where a character stands, by its number.
    pub fn at(&self, offset: usize) -> At {
        let (line, column) = match self.places.get(offset).or(self.places.last()) {
            Some(place) => *place,
            None => {
                let right = u32::try_from(offset).unwrap_or(u32::MAX);
                (self.start.line, self.start.column.saturating_add(right))
            }
        };
        At { path: self.start.path.clone(), line, column }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Double,
    Single,
    /// Plain, or a block: what stands there is what is meant, but for blanks.
    Bare,
}

struct Walk<'w> {
    rest: Peekable<CharIndices<'w>>,
    line: u32,
    column: u32,
}

impl<'w> Walk<'w> {
    fn new(text: &'w str, (line, column): (u32, u32)) -> Self {
        Self { rest: text.char_indices().peekable(), line, column }
    }

    fn peek(&mut self) -> Option<char> {
        self.rest.peek().map(|(_, c)| *c)
    }

    fn step(&mut self) -> Option<char> {
        let (_, c) = self.rest.next()?;
        let is_break = c == '\n' || c == '\r' && self.peek() != Some('\n');
        if is_break {
            self.line = self.line.saturating_add(1);
            self.column = 1;
        } else {
            self.column = self.column.saturating_add(1);
        }
        Some(c)
    }

    /// Nothing when the text does not stand here.
    fn places(mut self, text: &str) -> Option<Vec<(u32, u32)>> {
        let style = self.open()?;
        let mut places = Vec::with_capacity(text.len() + 1);
        for c in text.chars() {
            if c.is_whitespace() {
                self.skip_continuation(style);
                places.push((self.line, self.column));
                match self.peek() {
                    Some('\\') if style == Style::Double => self.escape(),
                    Some(blank) if blank.is_whitespace() => drop(self.step()),
                    _ => {}
                }
                continue;
            }
            self.skip_blanks(style);
            places.push((self.line, self.column));
            match (style, self.peek()?) {
                (Style::Double, '\\') => self.escape(),
                (Style::Single, '\'') if c == '\'' => drop((self.step(), self.step())),
                (_, there) if there == c => drop(self.step()),
                _ => return None,
            }
        }
        places.push((self.line, self.column));
        Some(places)
    }

    /// Steps over the quote, or over the line of `|` or `>`.
    fn open(&mut self) -> Option<Style> {
        let style = match self.peek()? {
            '"' => Style::Double,
            '\'' => Style::Single,
            '|' | '>' => {
                let line = self.line;
                while self.line == line {
                    self.step()?;
                }
                return Some(Style::Bare);
            }
            _ => return Some(Style::Bare),
        };
        self.step();
        Some(style)
    }

    fn skip_blanks(&mut self, style: Style) {
        loop {
            self.skip_continuation(style);
            match self.peek() {
                Some(c) if c.is_whitespace() => drop(self.step()),
                Some('\\') if style == Style::Double && self.is_blank_escape() => self.escape(),
                _ => return,
            }
        }
    }

    fn is_blank_escape(&self) -> bool {
        let mut ahead = self.rest.clone();
        ahead.nth(1).is_some_and(|(_, c)| " \tntrvfN_LP".contains(c))
    }

    /// A backslash at the end of a line joins it with the next.
    fn skip_continuation(&mut self, style: Style) {
        let mut ahead = self.rest.clone();
        let is_joint = ahead.next().is_some_and(|(_, c)| c == '\\')
            && ahead.next().is_some_and(|(_, c)| c == '\n' || c == '\r');
        if style == Style::Double && is_joint {
            self.step();
            while self.peek().is_some_and(char::is_whitespace) {
                self.step();
            }
        }
    }

    fn escape(&mut self) {
        self.step();
        let digits = match self.step() {
            Some('x') => 2,
            Some('u') => 4,
            Some('U') => 8,
            _ => 0,
        };
        for _ in 0..digits {
            self.step();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{Data, Problems, read};

    /// Line and column of the first `@` in the text of the list's item, as its file has it.
    fn place(yaml: &str) -> (u32, u32) {
        let (source, mut problems) = (Source::new("f.yaml", yaml), Problems::default());
        let node = read(&source, &mut problems).unwrap_or_else(|| panic!("{yaml}"));
        let Data::List(items) = &node.data else { panic!("a list: {yaml}") };
        let text = items[0].text().unwrap();
        let offset = text.chars().position(|c| c == '@').unwrap();
        let at = Written::of(&items[0], &source).at(offset);
        (at.line, at.column)
    }

    #[test]
    fn a_character_is_found_however_its_text_is_written() {
        for yaml in [
            "- a b @\n",
            "# \u{e9}\n- \u{e9} \u{1f600} @\n",
            "- a\n  b\n\n  c @ d\n",
            "- 'a''b''@'\n",
            "- 'a\n  b\n\n   @'\n",
            r#"- "a\"b\\ \t\x41\u0041\U00000041 @""#,
            "- \"a\\\n   b \\\n   @\"\n",
            "- \"a  \n   b\n\n   \\n @\"\n",
            "- |\n  a\n    b\n\n  @\n",
            "- |2-\n    a\n    @\n",
            "- >\n  a\n  b\n\n    c\n  d @\n",
            "- >+ # why\n\n  a\n  @\n\n",
            "- a\r\n  b @\r\n",
            "[x@]",
        ] {
            let before = yaml.split('@').next().unwrap();
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap().chars().count() + 1;
            let there = (u32::try_from(line).unwrap(), u32::try_from(column).unwrap());
            assert_eq!(place(yaml), there, "{yaml}");
        }
    }
}
