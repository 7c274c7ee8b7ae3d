use std::borrow::Cow;

use super::scan::Scanner;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Null,
    Bool,
    Number,
    Text { is_escaped: bool },
    List,
    Object,
}

/// A value as it stands in the message. The text of a string is what is between its quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raw<'a> {
    pub kind: Kind,
    pub text: &'a str,
    /// Its first byte in the text that was read.
    pub at: usize,
}

impl<'a> Raw<'a> {
    /// The text of a string, number or boolean; numbers as they were written.
    #[inline]
    pub fn scalar(&self) -> Option<Cow<'a, str>> {
        match self.kind {
            Kind::Text { is_escaped: true } => Some(Cow::Owned(unescape(self.text))),
            Kind::Text { is_escaped: false } | Kind::Number | Kind::Bool => {
                Some(Cow::Borrowed(self.text))
            }
            Kind::Null | Kind::List | Kind::Object => None,
        }
    }

    /// Gives every string and number in it, at any depth. Keys are not values.
    pub fn each_scalar(&self, give: &mut dyn FnMut(Raw<'a>)) {
        match self.kind {
            Kind::Text { .. } | Kind::Number => give(*self),
            Kind::List | Kind::Object => walk(&mut Scanner::new(self.text), give),
            Kind::Null | Kind::Bool => {}
        }
    }

    /// Whether both are the same place in the same message.
    pub fn is_same_place(&self, other: &Raw<'_>) -> bool {
        std::ptr::eq(self.text, other.text)
    }
}

/// The text was checked when it was found, so a fault here only ends the walk.
fn walk<'a>(scanner: &mut Scanner<'a>, give: &mut dyn FnMut(Raw<'a>)) {
    loop {
        match scanner.peek() {
            None => return,
            Some(b'{' | b',' | b'[' | b']' | b'}' | b':') => scanner.at += 1,
            Some(_) => {
                let Ok(raw) = scanner.scalar() else { return };
                let is_key = matches!(raw.kind, Kind::Text { .. }) && scanner.peek() == Some(b':');
                if !is_key && matches!(raw.kind, Kind::Text { .. } | Kind::Number) {
                    give(raw);
                }
            }
        }
    }
}

/// Half a surrogate pair becomes U+FFFD.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        let (plain, escaped) = rest.split_at_checked(at).unwrap_or((rest, ""));
        out.push_str(plain);
        let mut chars = escaped.chars();
        chars.next();
        match chars.next() {
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{c}'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('u') => {
                let (unit, after) = unicode(chars.as_str());
                out.push(unit);
                rest = after;
                continue;
            }
            Some(same) => out.push(same),
            None => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    out
}

/// Reads `XXXX`, or `XXXX\uXXXX` for a pair, and gives what follows.
fn unicode(text: &str) -> (char, &str) {
    let unit = |text: &str| text.get(..4).and_then(|hex| u32::from_str_radix(hex, 16).ok());
    let after = text.get(4..).unwrap_or_default();
    let Some(first) = unit(text) else { return (char::REPLACEMENT_CHARACTER, after) };
    if let (0xd800..=0xdbff, Some(second)) = (first, after.strip_prefix("\\u").and_then(unit))
        && (0xdc00..=0xdfff).contains(&second)
    {
        let joined = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        let character = char::from_u32(joined).unwrap_or(char::REPLACEMENT_CHARACTER);
        return (character, after.get(6..).unwrap_or_default());
    }
    (char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_unescaped_as_serde_json_does() {
        for text in [r#"a\"b\\c\/d\b\f\n\r\t"#, r"\u00e9\u20AC\ud83d\ude02 z", "plain 😂", ""] {
            let expected: String = serde_json::from_str(&format!("\"{text}\"")).unwrap();
            assert_eq!(unescape(text), expected);
        }
        assert_eq!(unescape(r"\ud83d!\ude02\ud83d\u0041"), "\u{fffd}!\u{fffd}\u{fffd}A");
    }

    #[test]
    fn every_scalar_is_given_and_no_key() {
        let text = r#"{"k":["a",1.50,{"x":"b\"c","y":null}],"z":true,"e":{}}"#;
        let raw = Raw { kind: Kind::Object, text, at: 0 };
        let mut found = Vec::new();
        raw.each_scalar(&mut |raw| found.extend(raw.scalar()));
        assert_eq!(found, ["a", "1.50", "b\"c"]);
    }
}
