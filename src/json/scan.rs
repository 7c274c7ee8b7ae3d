use std::fmt;

use super::{Kind, Raw};
use crate::pattern::find;

/// Deepest nesting that is read; the bound on the reader's own recursion.
pub const DEPTH_MAX: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    NotUtf8,
    ByteOrderMark,
    Syntax,
    Ended,
    AfterTheEnd,
    TooDeep,
    DuplicateKey,
}

/// What is wrong with a text and at which byte. Holds nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed {
    pub fault: Fault,
    pub at: usize,
}

impl Fault {
    pub fn about(self) -> &'static str {
        match self {
            Self::NotUtf8 => "not UTF-8",
            Self::ByteOrderMark => "starts with a byte order mark",
            Self::Syntax => "not JSON",
            Self::Ended => "ends inside a value",
            Self::AfterTheEnd => "something follows the value",
            Self::TooDeep => "nested too deep",
            Self::DuplicateKey => "duplicate key",
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.fault.about(), self.at)
    }
}

/// Line and column of a byte, both from 1; a column counts bytes.
pub fn line_column(bytes: &[u8], at: usize) -> (u32, u32) {
    let before = bytes.get(..at).unwrap_or(bytes);
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    (number(line), number(before.len() - start + 1))
}

/// The text of a message, if it is UTF-8 without a byte order mark.
pub fn utf8(bytes: &[u8]) -> Result<&str, Malformed> {
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Malformed { fault: Fault::NotUtf8, at: error.valid_up_to() })?;
    if text.starts_with('\u{feff}') {
        return Err(Malformed { fault: Fault::ByteOrderMark, at: 0 });
    }
    Ok(text)
}

/// Where a key stands, without its quotes. To make a text of it takes longer than to see that
/// nobody asks for it.
#[derive(Clone, Copy)]
pub(super) struct Name {
    pub(super) kind: Kind,
    pub(super) at: usize,
    pub(super) end: usize,
}

/// Reads JSON from the front to the back; knows the grammar and nothing of what is asked.
#[derive(Clone)]
pub(super) struct Scanner<'a> {
    text: &'a str,
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

/// What is read for every key stands in line: calls took a tenth of a walk.
impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, bytes: text.as_bytes(), at: 0 }
    }

    pub(super) fn fault<T>(&self, fault: Fault) -> Result<T, Malformed> {
        let at = self.at.min(self.bytes.len());
        let fault =
            if fault == Fault::Syntax && at == self.bytes.len() { Fault::Ended } else { fault };
        Err(Malformed { fault, at })
    }

    /// The next byte that is no white space, without taking it.
    #[inline(always)]
    pub(super) fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    #[inline(always)]
    pub(super) fn expect(&mut self, byte: u8) -> Result<(), Malformed> {
        if self.peek() != Some(byte) {
            return self.fault(Fault::Syntax);
        }
        self.at += 1;
        Ok(())
    }

    /// After an item: whether another follows; the closing byte is taken when none does.
    #[inline(always)]
    pub(super) fn another(&mut self, close: u8) -> Result<bool, Malformed> {
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(false)
            }
            _ => self.fault(Fault::Syntax),
        }
    }

    /// After an opening byte: whether the list or object is empty; then the closing byte is taken.
    pub(super) fn closes_at_once(&mut self, close: u8) -> bool {
        let closes = self.peek() == Some(close);
        self.at += usize::from(closes);
        closes
    }

    #[inline(always)]
    pub(super) fn name(&mut self) -> Result<Name, Malformed> {
        if self.peek() != Some(b'"') {
            return self.fault(Fault::Syntax);
        }
        let at = self.at + 1;
        let kind = self.string()?;
        let end = self.at - 1;
        self.expect(b':')?;
        Ok(Name { kind, at, end })
    }

    pub(super) fn key(&mut self) -> Result<Raw<'a>, Malformed> {
        let name = self.name()?;
        Ok(self.named(&name))
    }

    pub(super) fn named(&self, name: &Name) -> Raw<'a> {
        let text = self.text.get(name.at..name.end).unwrap_or_default();
        Raw { kind: name.kind, text, at: name.at }
    }

    pub(super) fn end(&mut self) -> Result<(), Malformed> {
        if self.peek().is_some() { self.fault(Fault::AfterTheEnd) } else { Ok(()) }
    }

    /// The value that began at `start` and ends where the scanner stands.
    #[inline]
    pub(super) fn since(&self, start: usize, kind: Kind) -> Raw<'a> {
        let quote = usize::from(matches!(kind, Kind::Text { .. }));
        let at = start + quote;
        Raw { kind, text: self.text.get(at..self.at - quote).unwrap_or_default(), at }
    }

    /// The value of one key of the object that comes next; nothing of anything else.
    pub(super) fn field(
        mut self,
        wanted: &str,
        ignore_case: bool,
        depth: usize,
    ) -> Option<Raw<'a>> {
        self.expect(b'{').ok()?;
        if self.closes_at_once(b'}') {
            return None;
        }
        loop {
            let key = self.key().ok()?;
            let name = key.scalar()?;
            if name == wanted || (ignore_case && name.eq_ignore_ascii_case(wanted)) {
                return self.scalar().ok();
            }
            self.skip(depth + 1).ok()?;
            if !self.another(b'}').ok()? {
                return None;
            }
        }
    }

    /// A value that nobody asked for, checked all the same.
    pub(super) fn skip(&mut self, depth: usize) -> Result<(), Malformed> {
        match self.peek() {
            Some(b'{') => {
                self.enter(depth)?;
                if self.closes_at_once(b'}') {
                    return Ok(());
                }
                loop {
                    if self.peek() != Some(b'"') {
                        return self.fault(Fault::Syntax);
                    }
                    self.string()?;
                    self.expect(b':')?;
                    self.skip(depth + 1)?;
                    if !self.another(b'}')? {
                        return Ok(());
                    }
                }
            }
            Some(b'[') => {
                self.enter(depth)?;
                if self.closes_at_once(b']') {
                    return Ok(());
                }
                loop {
                    self.skip(depth + 1)?;
                    if !self.another(b']')? {
                        return Ok(());
                    }
                }
            }
            _ => self.pass_scalar().map(|_| ()),
        }
    }

    /// Takes an opening byte. `depth` counts the lists and objects around it.
    pub(super) fn enter(&mut self, depth: usize) -> Result<(), Malformed> {
        if depth >= DEPTH_MAX {
            return self.fault(Fault::TooDeep);
        }
        self.at += 1;
        Ok(())
    }

    #[inline(always)]
    pub(super) fn scalar(&mut self) -> Result<Raw<'a>, Malformed> {
        self.peek();
        let start = self.at;
        let kind = self.pass_scalar()?;
        Ok(self.since(start, kind))
    }

    #[inline(always)]
    pub(super) fn pass_scalar(&mut self) -> Result<Kind, Malformed> {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Kind::Bool),
            Some(b'f') => self.word("false", Kind::Bool),
            Some(b'n') => self.word("null", Kind::Null),
            _ => self.fault(Fault::Syntax),
        }
    }

    fn word(&mut self, word: &str, kind: Kind) -> Result<Kind, Malformed> {
        for byte in word.bytes() {
            if self.bytes.get(self.at) != Some(&byte) {
                return self.fault(Fault::Syntax);
            }
            self.at += 1;
        }
        Ok(kind)
    }

    fn number(&mut self) -> Result<Kind, Malformed> {
        self.at += usize::from(self.bytes.get(self.at) == Some(&b'-'));
        if self.bytes.get(self.at) == Some(&b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.bytes.get(self.at), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(Kind::Number)
    }

    fn digits(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        while matches!(self.bytes.get(self.at), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { self.fault(Fault::Syntax) } else { Ok(()) }
    }

    /// A string with its quotes; its escapes are checked and left as they are.
    #[inline]
    fn string(&mut self) -> Result<Kind, Malformed> {
        self.at = plain_end(self.bytes, self.at + 1);
        if self.bytes.get(self.at) == Some(&b'"') {
            self.at += 1;
            return Ok(Kind::Text { is_escaped: false });
        }
        self.string_from_here()
    }

    /// The rest of one that does not end with its first plain run.
    #[inline(never)]
    fn string_from_here(&mut self) -> Result<Kind, Malformed> {
        let mut is_escaped = false;
        loop {
            self.at = plain_end(self.bytes, self.at);
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Kind::Text { is_escaped });
                }
                Some(b'\\') => {
                    is_escaped = true;
                    self.escape()?;
                }
                _ => return self.fault(Fault::Syntax),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Malformed> {
        self.at += 1;
        match self.bytes.get(self.at) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.bytes.get(self.at).is_some_and(u8::is_ascii_hexdigit) {
                        return self.fault(Fault::Syntax);
                    }
                    self.at += 1;
                }
            }
            _ => return self.fault(Fault::Syntax),
        }
        Ok(())
    }
}

/// From `at` on, the first quote, backslash or control character.
#[inline]
fn plain_end(bytes: &[u8], at: usize) -> usize {
    find::<2, b' '>(bytes, at, *b"\"\\")
}
