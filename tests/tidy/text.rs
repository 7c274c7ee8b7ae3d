//! A source file with code, comments and literals told apart, character by character.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Code,
    Comment,
    /// Strings and characters, without their quotes.
    Literal,
}

pub struct Text {
    /// From the root of the repository: `src/case/fact.rs`.
    pub path: String,
    pub chars: Vec<char>,
    classes: Vec<Class>,
    /// The first character of each line.
    starts: Vec<usize>,
}

impl Text {
    pub fn new(path: impl Into<String>, text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let classes = classes(&chars);
        let breaks = chars.iter().enumerate().filter(|(_, c)| **c == '\n').map(|(at, _)| at + 1);
        let starts = std::iter::once(0).chain(breaks.filter(|at| *at < chars.len())).collect();
        Self { path: path.into(), chars, classes, starts }
    }

    /// `src/<module>/…` or `src/<module>.rs`.
    pub fn module(&self) -> &str {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path);
        inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs")
    }

    /// Everything that is not of this class is blank; places stay what they are.
    pub fn only(&self, class: Class) -> String {
        let keep = |(c, of): (&char, &Class)| if *of == class || *c == '\n' { *c } else { ' ' };
        self.chars.iter().zip(&self.classes).map(keep).collect()
    }

    /// The line, from 1, of a character.
    pub fn line_of(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at)
    }

    pub fn lines(&self) -> usize {
        self.starts.len()
    }

    /// Per line, its number and how many of its characters are not inside a string.
    pub fn widths(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        (1..).zip(&self.starts).map(|(number, start)| {
            let line = self.chars[*start..].iter().zip(&self.classes[*start..]);
            let line = line.take_while(|(c, _)| **c != '\n');
            (number, line.filter(|(_, class)| **class != Class::Literal).count())
        })
    }
}

fn classes(chars: &[char]) -> Vec<Class> {
    let mut classes = Vec::with_capacity(chars.len());
    while classes.len() < chars.len() {
        let at = classes.len();
        let rest = &chars[at..];
        let (class, length) = match rest {
            ['/', '/', ..] => (Class::Comment, line_length(rest)),
            ['/', '*', ..] => (Class::Comment, block_length(rest)),
            ['"', ..] => (Class::Literal, string_length(rest)),
            ['r', ..] if is_start(chars, at) && raw_length(rest).is_some() => {
                (Class::Literal, raw_length(rest).unwrap())
            }
            ['\'', '\\', ..] => (Class::Literal, 3 + position(&rest[3..], '\'') + 1),
            ['\'', _, '\'', ..] => (Class::Literal, 3),
            _ => (Class::Code, 1),
        };
        let length = length.min(rest.len());
        match class {
            // The quotes are code, so that a literal still stands for something.
            Class::Literal => {
                classes.push(Class::Code);
                classes.extend(std::iter::repeat_n(class, length.saturating_sub(2)));
                classes.push(Class::Code);
            }
            _ => classes.extend(std::iter::repeat_n(class, length)),
        }
    }
    classes.truncate(chars.len());
    classes
}

/// Nothing that could belong to a longer name stands in front; `b` and `c` may.
fn is_start(chars: &[char], at: usize) -> bool {
    let before = |back: usize| at.checked_sub(back).map(|at| chars[at]);
    let is_name = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    !is_name(before(1)) || (matches!(before(1), Some('b' | 'c')) && !is_name(before(2)))
}

fn position(chars: &[char], of: char) -> usize {
    chars.iter().position(|c| *c == of).unwrap_or(chars.len())
}

fn line_length(rest: &[char]) -> usize {
    position(rest, '\n')
}

fn block_length(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        match &rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn string_length(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

fn raw_length(rest: &[char]) -> Option<usize> {
    let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
    let open = 1 + hashes;
    if rest.get(open) != Some(&'"') {
        return None;
    }
    let is_end = |at: &usize| {
        rest[*at] == '"'
            && rest[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes
    };
    Some((open + 1..rest.len()).find(is_end).map_or(rest.len(), |at| at + 1 + hashes))
}
