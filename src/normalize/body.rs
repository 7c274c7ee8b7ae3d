//! The bytes of a message into its documents.

use std::io::Read;

use flate2::read::MultiGzDecoder;

use super::reading::{MESSAGE_BYTES_MAX, Refusal};
use crate::case::Reason;
use crate::json::{Extractor, Fault, Malformed};

/// One JSON value, and its first byte in the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Document<'t> {
    pub(super) text: &'t str,
    pub(super) at: usize,
}

const GZIP: &[u8] = &[0x1f, 0x8b];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packed {
    TooLarge,
    Broken,
}

/// The message without its gzip, where the transport said or its first bytes show that it has one.
pub(super) fn unpacked(
    bytes: &[u8],
    headers: &[(&str, &[u8])],
) -> Result<Option<Vec<u8>>, Refusal> {
    if !is_gzip(bytes) && !says_gzip(headers) {
        return Ok(None);
    }
    match gunzip(bytes, MESSAGE_BYTES_MAX) {
        Ok(unpacked) => Ok(Some(unpacked)),
        Err(Packed::TooLarge) => Err(Refusal::too_large()),
        Err(Packed::Broken) => Err(Refusal::new(Reason::NotJson, "not gzip")),
    }
}

pub(super) fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(GZIP)
}

fn says_gzip(headers: &[(&str, &[u8])]) -> bool {
    let encodings =
        headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("content-encoding"));
    let mut encodings = encodings.flat_map(|(_, value)| value.split(|byte| *byte == b','));
    encodings.any(|encoding| encoding.trim_ascii().eq_ignore_ascii_case(b"gzip"))
}

/// Several packed parts in a row are one, as `gunzip` has it.
pub(super) fn gunzip(bytes: &[u8], bytes_max: usize) -> Result<Vec<u8>, Packed> {
    let mut out = Vec::new();
    let enough = (bytes_max as u64).saturating_add(1);
    let read = MultiGzDecoder::new(bytes).take(enough).read_to_end(&mut out);
    if out.len() > bytes_max {
        return Err(Packed::TooLarge);
    }
    read.map(|_| out).map_err(|_| Packed::Broken)
}

/// The objects and lists of a text that holds several. What is none is given once, as the fault
/// where it ends; reading goes on at the next line that can begin one.
pub(super) struct Documents<'t> {
    whole: Document<'t>,
    /// Where it goes on in the text.
    next: usize,
    grammar: Extractor,
}

impl<'t> Documents<'t> {
    pub(super) fn of(whole: Document<'t>) -> Self {
        Self { whole, next: 0, grammar: Extractor::new(false) }
    }

    /// Not before the fault, and never at the broken document again.
    fn line_after(&self, start: usize, fault: usize) -> usize {
        let bytes = self.whole.text.as_bytes();
        let from = fault.saturating_sub(1).max(start);
        let rest = bytes.get(from..).unwrap_or_default();
        let lines = memchr::memchr_iter(b'\n', rest).map(|newline| from + newline + 1);
        let mut begin = lines.filter(|line| matches!(bytes.get(*line), Some(b'{' | b'[')));
        begin.next().unwrap_or(bytes.len())
    }
}

impl<'t> Iterator for Documents<'t> {
    type Item = Result<Document<'t>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.whole.text.get(self.next..)?;
        let document = rest.trim_start_matches([' ', '\n', '\r', '\t']);
        let start = self.next + rest.len() - document.len();
        let place = self.whole.at + start;
        let first = document.bytes().next()?;
        let read = match first {
            b'{' | b'[' => self.grammar.fill(document).map(|_| ()),
            _ => Err(Malformed { fault: Fault::Syntax, at: 0 }),
        };
        let end = match read {
            Ok(()) => Ok(document.len()),
            Err(Malformed { fault: Fault::AfterTheEnd, at }) if !goes_on(document, at) => Ok(at),
            Err(Malformed { fault: Fault::AfterTheEnd, at }) => {
                Err(Malformed { fault: Fault::Syntax, at })
            }
            Err(malformed) => Err(malformed),
        };
        match end {
            Ok(end) => {
                self.next = start + end;
                Some(Ok(Document { text: document.get(..end)?, at: place }))
            }
            Err(malformed) => {
                self.next = self.line_after(start, start + malformed.at);
                Some(Err(Malformed { at: place + malformed.at, ..malformed }))
            }
        }
    }
}

/// Whether what follows a value, from `at` on, belongs to it: the value ended early because bytes
/// were lost, and its secrets may stand in what is left.
fn goes_on(text: &str, at: usize) -> bool {
    let (value, rest) = text.split_at_checked(at).unwrap_or((text, ""));
    let is_same_line = !value.trim_end_matches([' ', '\r', '\t']).ends_with('\n');
    match rest.bytes().next() {
        None | Some(b'{' | b'[') => false,
        Some(b'}' | b']' | b',' | b':' | b'"') => true,
        Some(_) => is_same_line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<Result<&str, (Fault, usize)>> {
        let documents = Documents::of(Document { text, at: 1000 });
        let told = documents.map(|document| match document {
            Ok(document) => {
                assert!(text[document.at - 1000..].starts_with(document.text));
                Ok(document.text.trim_end())
            }
            Err(malformed) => Err((malformed.fault, malformed.at - 1000)),
        });
        told.collect()
    }

    #[test]
    fn a_text_is_its_documents() {
        assert_eq!(all("{}\r\n\r\n [1]{\"a\":{}}\n"), [Ok("{}"), Ok("[1]"), Ok("{\"a\":{}}")]);
        assert_eq!(all("{\n \"a\": 1\n}\n{\n}"), [Ok("{\n \"a\": 1\n}"), Ok("{\n}")]);
        assert_eq!(all(" \n"), []);
    }

    #[test]
    fn a_broken_document_costs_only_itself() {
        for (text, fault, at) in [
            ("{}\n{\"a\":\"cut\n{}", Fault::Syntax, 12),
            ("{}\n{\"a\":1,\n{}", Fault::Syntax, 11),
            ("{}\n2026-11-24 a line of a log\nand 1 more\n{}", Fault::Syntax, 3),
        ] {
            assert_eq!(all(text), [Ok("{}"), Err((fault, at)), Ok("{}")], "{text}");
        }
        for text in ["{},\n{}", "{}\n  },\n{}", "{} x\n{}", "{}\n\"a\":1}\n{}"] {
            let [Err((Fault::Syntax, _)), Ok("{}")] = all(text)[..] else { panic!("{text}") };
        }
        let deep = format!("{}\n{{}}", "[".repeat(100));
        assert_eq!(all(&deep), [Err((Fault::TooDeep, 64)), Ok("{}")]);
        assert_eq!(all("{\n  {\"a\":1}\n"), [Err((Fault::Syntax, 4))], "indented: inside another");
    }
}
