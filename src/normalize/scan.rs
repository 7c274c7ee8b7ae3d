//! Tokens that are known by their shape, taken out of every text, wherever it came from.
//!
//! What is not found: a token in base64 twice, in base64 of less than [`BLOB_LEN_MIN`] characters,
//! in gzip or hexadecimal; one that is cut, split over two fields or broken over lines (a private
//! key may be); a password that nothing names; the rest of a named one behind a character that
//! ends it (`&`, `;`, `,`). What stands at a redacted path is found in more writings: see `views`.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::ops::Range;
use std::sync::{LazyLock, OnceLock};

use memchr::memchr2_iter;
use regex::bytes::{Captures, Regex, RegexBuilder};

use super::FingerprintKeys;
use super::anchors::Anchors;
use super::escapes::{source, undone};
use super::redact::REDACTED;
use super::secret::{Class, canonical, class_of};
use super::shapes::{SHAPES, Shape, Value};
use crate::pattern::holds;

/// Shorter runs of base64's characters are names and ids.
const BLOB_LEN_MIN: usize = 40;
/// No shape fits anything shorter.
const MATCH_LEN_MIN: usize = 9;
/// LIMIT: what was put in the place of one secret could, with its surroundings, look like another.
const PASSES_MAX: usize = 4;

static SCANNER: LazyLock<Scanner> = LazyLock::new(Scanner::new);

/// Whether a token is known in it by its shape, for a text that may not be changed.
pub fn holds_secret(text: &str) -> bool {
    // What its label would be is not asked.
    let keys = FingerprintKeys::new(("none", &[0; 32]), None);
    SCANNER.may_hold(text) && keys.is_ok_and(|keys| SCANNER.replaced(text, &keys).is_some())
}

/// The text with every token in it replaced; cleaning it again changes nothing.
pub(super) fn clean<'t>(text: Cow<'t, str>, keys: &FingerprintKeys) -> Cow<'t, str> {
    let mut text = text;
    for _ in 0..PASSES_MAX {
        if !SCANNER.may_hold(&text) {
            break;
        }
        let Some(cleaned) = SCANNER.replaced(&text, keys) else { break };
        text = Cow::Owned(cleaned);
    }
    text
}

struct Scanner {
    anchors: Anchors,
    regexes: Vec<OnceLock<Option<Regex>>>,
}

struct Hit {
    range: Range<usize>,
    shape: usize,
    /// How many layers of escapes were undone.
    depth: usize,
    label: String,
}

impl Hit {
    /// Of finds at one place, the one whose label is taken comes first.
    fn order(&self) -> impl Ord + use<> {
        (self.range.start, self.shape, Reverse(self.range.end), Reverse(self.depth))
    }
}

impl Scanner {
    fn new() -> Self {
        let regexes = SHAPES.iter().map(|_| OnceLock::new()).collect();
        Self { anchors: Anchors::new(), regexes }
    }

    fn may_hold(&self, text: &str) -> bool {
        let bytes = text.as_bytes();
        bytes.len() >= MATCH_LEN_MIN
            && (self.anchors.glance(bytes) != 0
                || has_escape(bytes)
                || next_blob(bytes, 0).is_some())
    }

    fn replaced(&self, text: &str, keys: &FingerprintKeys) -> Option<String> {
        let mut hits = self.hits(text.as_bytes(), keys);
        let undone = if has_escape(text.as_bytes()) { undone(text) } else { Vec::new() };
        for (layer, units) in undone.iter().enumerate() {
            let bytes: Vec<u8> = units.iter().map(|unit| unit.byte).collect();
            hits.extend(self.hits(&bytes, keys).into_iter().filter_map(|hit| {
                Some(Hit { range: source(units, &hit.range)?, depth: layer + 1, ..hit })
            }));
        }
        if hits.is_empty() {
            return None;
        }
        let labels = labels(text);
        let holds = |label: &Range<usize>, hit: &Hit| {
            label.start <= hit.range.start && hit.range.end <= label.end
        };
        hits.retain(|hit| !labels.iter().any(|label| holds(label, hit)));
        hits.sort_by_key(Hit::order);
        let (mut out, mut done) = (String::with_capacity(text.len()), 0);
        for hit in &hits {
            if hit.range.start >= done {
                out.push_str(text.get(done..hit.range.start)?);
                out.push_str(&hit.label);
            }
            done = done.max(hit.range.end);
        }
        out.push_str(text.get(done..)?);
        (!hits.is_empty()).then_some(out)
    }

    /// What is found in the text as it stands, and in the base64 in it.
    fn hits(&self, bytes: &[u8], keys: &FingerprintKeys) -> Vec<Hit> {
        let mut hits = self.plain_hits(bytes, keys);
        let mut from = 0;
        while let Some(blob) = next_blob(bytes, from) {
            from = blob.end;
            let characters = bytes.get(blob.clone()).unwrap_or_default();
            // A hash: base64 of so many characters has others, too.
            if characters.iter().all(u8::is_ascii_hexdigit) {
                continue;
            }
            let sextets: Vec<u8> = characters.iter().filter_map(|byte| sextet(*byte)).collect();
            // The token may begin anywhere in a group of four.
            let inside = (0..4).find_map(|skip| {
                let inner = self.plain_hits(&decoded(sextets.get(skip..)?), keys);
                inner.into_iter().min_by_key(Hit::order)
            });
            hits.extend(inside.map(|hit| Hit { range: blob, ..hit }));
        }
        hits
    }

    fn plain_hits(&self, bytes: &[u8], keys: &FingerprintKeys) -> Vec<Hit> {
        let mut hits = Vec::new();
        let set = self.anchors.glance(bytes);
        if set == 0 {
            return hits;
        }
        for (at, (shape, regex)) in SHAPES.iter().zip(&self.regexes).enumerate() {
            if set & (1 << at) == 0 {
                continue;
            }
            let Some(regex) = regex.get_or_init(|| compiled(shape)) else { continue };
            for captures in regex.captures_iter(bytes) {
                let Some((range, label)) = found(shape, &captures, keys) else { continue };
                hits.push(Hit { range, shape: at, depth: 0, label });
            }
        }
        hits
    }
}

/// The secret's place in a match, and what to put there.
fn found(
    shape: &Shape,
    captures: &Captures<'_>,
    keys: &FingerprintKeys,
) -> Option<(Range<usize>, String)> {
    let group = captures.iter().skip(1).flatten().next().or_else(|| captures.get(0))?;
    let text = String::from_utf8_lossy(group.as_bytes());
    let mut secret = text.as_ref();
    if shape.value != Value::Token {
        // What closes a sentence or brackets around the assignment is no part of its value.
        secret = secret.trim_end_matches([')', ']', '}', '>', '.', ':', '!', '?']);
    }
    let is_free = match shape.value {
        Value::Token => true,
        Value::Named => !is_reference(secret),
        Value::Mixed => !is_reference(secret) && is_mixed(secret),
    };
    let label = match class_of(secret) {
        Class::Secret => keys.fingerprint(canonical(secret).as_bytes()),
        Class::Short | Class::Masked => REDACTED.to_owned(),
        Class::Placeholder | Class::Public => return None,
    };
    let end = group.end() - (text.len() - secret.len());
    is_free.then(|| (group.start()..end, label))
}

/// Where a secret is kept, a hash of it, or a word in its place.
fn is_reference(value: &str) -> bool {
    const STARTS: &[&str] = &[
        "$",
        "{{",
        "<",
        "%(",
        "--",
        "arn:",
        "http://",
        "https://",
        "vault:",
        "env.",
        "process.env",
        "os.environ",
        "hmac-sha256:",
        "sha256:",
    ];
    const WORDS: &[&str] = &["required", "optional", "disabled", "inherited", "anonymous"];
    let is_word = WORDS.iter().any(|word| value.eq_ignore_ascii_case(word));
    value.len() < 8 || is_word || STARTS.iter().any(|start| value.starts_with(start))
}

/// Letters and digits, or capitals inside: no word is.
fn is_mixed(value: &str) -> bool {
    let has = |of: fn(&u8) -> bool| value.bytes().skip(1).any(|byte| of(&byte));
    let has_letter = has(u8::is_ascii_alphabetic);
    has_letter
        && (has(u8::is_ascii_digit) || has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase))
}

fn compiled(shape: &Shape) -> Option<Regex> {
    let regex = RegexBuilder::new(shape.pattern).unicode(false).build();
    debug_assert!(regex.is_ok(), "{}", shape.pattern);
    regex.ok()
}

/// The fingerprints that stand in the text already.
fn labels(text: &str) -> Vec<Range<usize>> {
    let label = |start: usize| {
        let (id, rest) = text.get(start + 3..)?.split_once(':')?;
        let digest = rest.get(..32)?;
        let is_id = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        let is_label = id.bytes().all(is_id) && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_label.then(|| start..start + 3 + id.len() + 1 + digest.len())
    };
    text.match_indices("fp:").filter_map(|(start, _)| label(start)).collect()
}

/// The next run of base64, of either alphabet and perhaps over lines.
fn next_blob(bytes: &[u8], from: usize) -> Option<Range<usize>> {
    let is_line_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
    let is_blob = |byte: &u8| sextet(*byte).is_some() || is_line_end(byte);
    let mut from = from;
    loop {
        // Every long run from here on covers this place, or begins behind it.
        let probe = from + BLOB_LEN_MIN - 1;
        if !is_blob(bytes.get(probe)?) {
            from = probe + 1;
            continue;
        }
        let (before, after) = (bytes.get(from..probe)?, bytes.get(probe..)?);
        let start = probe - before.iter().rev().take_while(|byte| is_blob(byte)).count();
        let mut end = probe + after.iter().take_while(|byte| is_blob(byte)).count();
        from = end;
        while end > start && bytes.get(end - 1).is_some_and(is_line_end) {
            end -= 1;
        }
        let run = bytes.get(start..end)?;
        if run.len() >= BLOB_LEN_MIN && is_mixed_case(run) {
            let padding = bytes.iter().skip(end).take(2).take_while(|byte| **byte == b'=');
            return Some(start..end + padding.count());
        }
    }
}

/// Of so many characters of base64 hardly ever one of these kinds is missing, and paths, hashes and
/// names in lower case are passed over.
fn is_mixed_case(run: &[u8]) -> bool {
    let has = |of: fn(&u8) -> bool| run.iter().any(of);
    has(u8::is_ascii_digit) && has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase)
}

/// Whether anything is written in percent or JSON escapes.
fn has_escape(bytes: &[u8]) -> bool {
    if !holds(bytes, *b"%\\") {
        return false;
    }
    let is_hex = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    memchr2_iter(b'%', b'\\', bytes).any(|at| match bytes.get(at + 1) {
        Some(b'u') => is_hex(at + 2) && is_hex(at + 3) && is_hex(at + 4) && is_hex(at + 5),
        Some(byte) if bytes.get(at) == Some(&b'\\') => b"nrtbf\"'\\/".contains(byte),
        _ => is_hex(at + 1) && is_hex(at + 2),
    })
}

fn sextet(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

fn decoded(sextets: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(sextets.len() * 3 / 4 + 3);
    for group in sextets.chunks(4) {
        let number = (0..4).fold(0_u32, |number, place| {
            (number << 6) | u32::from(group.get(place).copied().unwrap_or_default())
        });
        let [_, first, second, third] = number.to_be_bytes();
        out.extend([first, second, third]);
    }
    out
}

#[cfg(test)]
#[path = "../../tests/support/tokens.rs"]
mod tokens;

#[cfg(test)]
mod tests {
    use super::tokens::tokens;
    use super::*;

    fn keys() -> FingerprintKeys {
        FingerprintKeys::new(("k1", b"notarealkey-notarealkey"), None).unwrap()
    }

    #[test]
    fn every_shape_finds_its_tokens_and_them_alone() {
        let (scanner, keys) = (Scanner::new(), keys());
        let (mut seen, mut wrong) = (vec![false; SHAPES.len()], Vec::new());
        for token in tokens() {
            let behind = if token.is_cut { "" } else { " it was" };
            let text = format!("so {}{behind}", token.text);
            let hits = scanner.hits(text.as_bytes(), &keys);
            hits.iter().for_each(|hit| seen[hit.shape] = true);
            let label = keys.fingerprint(canonical(&token.secret).as_bytes());
            let (cleaned, expected) =
                (clean(Cow::Borrowed(&text), &keys), text.replace(&token.secret, &label));
            if cleaned != expected {
                wrong.push(format!("{cleaned} is not {expected}"));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        let unseen: Vec<_> = SHAPES.iter().zip(seen).filter(|(_, seen)| !seen).collect();
        let unseen: Vec<_> = unseen.into_iter().map(|(shape, _)| shape.pattern).collect();
        assert!(unseen.is_empty(), "{unseen:#?}");
    }

    #[test]
    fn every_shape_compiles_and_every_anchor_is_spelled() {
        for shape in SHAPES {
            assert!(compiled(shape).is_some(), "{}", shape.pattern);
        }
        let parser = || regex_syntax::ParserBuilder::new().unicode(false).utf8(false).build();
        let least = SHAPES
            .iter()
            .filter_map(|shape| parser().parse(shape.pattern).unwrap().properties().minimum_len());
        assert_eq!(least.min(), Some(MATCH_LEN_MIN));
        let scanner = Scanner::new();
        let shapes_in = |text: &[u8]| scanner.anchors.glance(text);
        assert_ne!(shapes_in(b"a sk-X b"), 0);
        assert_ne!(shapes_in(b"PASSWORD=x"), 0);
        assert_eq!(shapes_in(b"https://example.com/"), 0, "no sign of an account");
        assert_eq!(shapes_in(b"Password in a URL"), 0, "neither a sign nor dashes");
        assert_ne!(shapes_in(b"--password x"), 0);
        assert_eq!(shapes_in(b"arn:aws:iam::123456789012:user/ci-deployer"), 0);
    }

    #[test]
    fn blobs_are_long_runs_of_base64() {
        let long = "Ab1/".repeat(10);
        for (text, expected) in [
            (format!("x {long}== y"), Some(2..44)),
            (format!("{long}\n"), Some(0..40)),
            (format!("{}\r\n{}", &long[..20], &long[..20]), Some(0..42)),
            (long[1..].to_owned(), None),
            (format!("{} {long}", &long[..39]), Some(40..80)),
            ("0123456789abcdef".repeat(4), None),
        ] {
            assert_eq!(next_blob(text.as_bytes(), 0), expected, "{text}");
        }
        let sextets: Vec<u8> = b"YWJj\nZGVm".iter().filter_map(|byte| sextet(*byte)).collect();
        assert_eq!(decoded(&sextets), b"abcdef");
    }
}
