//! Finding a secret in a text however it was written there.
//!
//! A text is undone (percent and JSON escapes, as often as they were applied, up to a bound) and
//! compared without the characters in which encodings and line breaks differ. That finds more than
//! exact copies; a match too many costs a word of a title, a match too few costs the secret.

use std::ops::Range;

use memchr::memmem::Finder;

use super::bits::Bits;
use super::escapes::{source, undone};

/// Forms shorter than this are everywhere.
const FORM_LEN_MIN: usize = 6;
/// Of one secret, at most.
const FORMS: usize = 5;
/// LIMIT: where a form's end is seen more often, a search looks for it whose time does not depend
/// on how often.
const ENDS_MAX: usize = 8;

/// Secrets that are looked for together, however each is written.
#[derive(Default)]
pub(super) struct Search {
    secrets: Vec<String>,
    /// Bytes of the shortest once it is squeezed: no text that is shorter holds any of them, and in
    /// no writing, since every other is longer.
    shortest: usize,
    forms: Vec<Form>,
    /// How each form ends once it is squeezed, sorted; and which it is.
    ends: Vec<(u64, usize)>,
    /// Each end: nearly all places of most texts are passed over by it.
    bits: Bits<32>,
    /// Forms that are nearly nothing when squeezed: they have no end.
    short: Vec<usize>,
}

/// What one of the secrets looks like.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Form {
    secret: usize,
    coding: Coding,
}

/// How often an end was seen in a text, and the first times after how many squeezed bytes.
#[derive(Clone, Copy, Default)]
struct Seen {
    often: usize,
    after: [usize; ENDS_MAX],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Coding {
    Exact,
    /// Without the characters that vary.
    Squeezed,
    /// As that; at which place in a group of three it begins.
    Base64(usize),
}

impl Search {
    pub(super) fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }

    pub(super) fn position(&self, secret: &str) -> Option<usize> {
        self.secrets.iter().position(|known| known == secret)
    }

    pub(super) fn secret(&self, at: usize) -> &str {
        self.secrets.get(at).map(String::as_str).unwrap_or_default()
    }

    pub(super) fn add(&mut self, secret: &str) {
        let length = secret.bytes().filter(|byte| !varies(*byte)).count();
        self.shortest = if self.is_empty() { length } else { self.shortest.min(length) };
        self.forms.reserve(FORMS);
        self.ends.reserve(FORMS);
        let plain = end_of(secret.bytes());
        self.add_form(Coding::Exact, plain);
        if plain.is_some() {
            self.add_form(Coding::Squeezed, plain);
        }
        for shift in 0..3 {
            let end = end_of(base64_inside(secret.as_bytes(), shift));
            if end.is_some() {
                self.add_form(Coding::Base64(shift), end);
            }
        }
        self.secrets.push(secret.to_owned());
    }

    fn add_form(&mut self, coding: Coding, end: Option<u64>) {
        let form = self.forms.len();
        if let Some(end) = end {
            self.bits.put(end);
            let at = self.ends.partition_point(|(known, _)| *known < end);
            self.ends.insert(at, (end, form));
        } else {
            self.short.push(form);
        }
        self.forms.push(Form { secret: self.secrets.len(), coding });
    }

    /// The places of secrets in the text, and which each is, in no order; they may overlap.
    pub(super) fn find(&self, text: &str) -> Vec<(Range<usize>, usize)> {
        let mut found = Vec::new();
        if text.len() < self.shortest {
            return found;
        }
        let whole = self.position(text);
        found.extend(whole.map(|secret| (0..text.len(), secret)));
        // No other find covers more, and of finds that cover the same the first is taken.
        let before = whole.unwrap_or(self.secrets.len());
        self.find_in(text.as_bytes(), before, &mut |range, secret| found.push((range, secret)));
        for units in undone(text) {
            let bytes: Vec<u8> = units.iter().map(|unit| unit.byte).collect();
            self.find_in(&bytes, before, &mut |range, secret| {
                found.extend(source(&units, &range).map(|range| (range, secret)));
            });
        }
        found
    }

    /// The places of those secrets that were added before one.
    fn find_in(&self, bytes: &[u8], before: usize, give: &mut dyn FnMut(Range<usize>, usize)) {
        let short = self.short.iter().filter_map(|form| self.forms.get(*form));
        for form in short.filter(|form| form.secret < before) {
            let secret = self.secret(form.secret).as_bytes();
            Finder::new(secret)
                .find_iter(bytes)
                .for_each(|at| give(at..at + secret.len(), form.secret));
        }
        let mut likely = self.likely(bytes);
        likely.retain(|(form, _)| form.secret < before);
        if likely.is_empty() {
            return;
        }
        let (mut places, mut squeezed) =
            (Vec::with_capacity(bytes.len()), Vec::with_capacity(bytes.len()));
        let plain = bytes.iter().copied().enumerate().filter(|(_, byte)| !varies(*byte));
        for (place, byte) in plain {
            places.push(place);
            squeezed.push(byte);
        }
        for (form, seen) in &likely {
            let secret = self.secret(form.secret).as_bytes();
            let mut give = |range: Option<Range<usize>>| {
                range.into_iter().for_each(|range| give(range, form.secret));
            };
            if let Some(ends) = seen.after.get(..seen.often) {
                for end in ends {
                    give(form.coding.ending(secret, bytes, (&places, &squeezed), *end));
                }
                continue;
            }
            let looks = form.coding.looks(secret);
            let text = if form.coding == Coding::Exact { bytes } else { &squeezed };
            for at in Finder::new(&looks).find_iter(text) {
                let last = at + looks.len() - 1;
                give(match form.coding {
                    Coding::Exact => Some(at..last + 1),
                    _ => range_of(&places, at, last),
                });
            }
        }
    }

    /// All forms that are there, and few others; but those that have no end.
    fn likely(&self, bytes: &[u8]) -> Vec<(Form, Seen)> {
        // By the place of the first that is equal among `ends`.
        let mut seen: Vec<Seen> = Vec::new();
        let (mut last, mut count) = (0, 0);
        for byte in bytes.iter().filter(|byte| !varies(**byte)) {
            last = window(last, *byte);
            count += 1;
            if self.bits.may_have(last) && count >= FORM_LEN_MIN {
                self.note_end(last, count, &mut seen);
            }
        }
        let mut likely = Vec::new();
        for (at, seen) in seen.into_iter().enumerate().filter(|(_, seen)| seen.often > 0) {
            let ends = self.ends.get(at..).unwrap_or_default();
            let same = ends.iter().take_while(|(end, _)| ends.first().is_some_and(|e| e.0 == *end));
            let forms = same.filter_map(|(_, form)| self.forms.get(*form));
            likely.extend(forms.map(|form| (*form, seen)));
        }
        likely
    }

    #[cold]
    fn note_end(&self, end: u64, count: usize, seen: &mut Vec<Seen>) {
        let at = self.ends.partition_point(|(known, _)| *known < end);
        if self.ends.get(at).is_none_or(|(known, _)| *known != end) {
            return;
        }
        seen.resize(self.ends.len(), Seen::default());
        if let Some(seen) = seen.get_mut(at) {
            seen.after.get_mut(seen.often).into_iter().for_each(|after| *after = count);
            seen.often += 1;
        }
    }
}

impl Coding {
    fn looks(self, secret: &[u8]) -> Vec<u8> {
        match self {
            Self::Exact => secret.to_vec(),
            Self::Squeezed => squeezed(secret.iter().copied()),
            Self::Base64(shift) => squeezed(base64_inside(secret, shift)),
        }
    }

    /// Where the secret stands whose end was seen after so many squeezed bytes.
    fn ending(
        self,
        secret: &[u8],
        bytes: &[u8],
        (places, squeezed): (&[usize], &[u8]),
        end: usize,
    ) -> Option<Range<usize>> {
        let last = end.checked_sub(1)?;
        let before = squeezed.get(..end)?;
        let first = match self {
            Self::Exact => {
                let behind = secret.iter().rev().take_while(|byte| varies(**byte)).count();
                let end = places.get(last)? + 1 + behind;
                let start = end.checked_sub(secret.len())?;
                return (bytes.get(start..end)? == secret).then_some(start..end);
            }
            Self::Squeezed => first_of(before, secret.iter().copied())?,
            Self::Base64(shift) => first_of(before, base64_inside(secret, shift))?,
        };
        range_of(places, first, last)
    }
}

/// Where the form begins that the squeezed bytes end with.
fn first_of(squeezed: &[u8], form: impl DoubleEndedIterator<Item = u8>) -> Option<usize> {
    let mut left = squeezed;
    for byte in form.rev().filter(|byte| !varies(*byte)) {
        let (last, before) = left.split_last()?;
        if *last != byte {
            return None;
        }
        left = before;
    }
    Some(left.len())
}

fn range_of(places: &[usize], first: usize, last: usize) -> Option<Range<usize>> {
    Some(*places.get(first)?..places.get(last)? + 1)
}

/// The last [`FORM_LEN_MIN`] bytes, one further.
fn window(last: u64, byte: u8) -> u64 {
    ((last << 8) | u64::from(byte)) & 0xffff_ffff_ffff
}

/// Nothing of a form that is shorter than [`FORM_LEN_MIN`].
fn end_of(form: impl DoubleEndedIterator<Item = u8>) -> Option<u64> {
    let (mut last, mut count) = (0, 0);
    for byte in form.rev().filter(|byte| !varies(*byte)).take(FORM_LEN_MIN) {
        last |= u64::from(byte) << (8 * count);
        count += 1;
    }
    (count == FORM_LEN_MIN).then_some(last)
}

/// Whether encodings of one value differ in it: white space, and what base64's alphabets and form
/// encoding disagree on.
fn varies(byte: u8) -> bool {
    byte.is_ascii_whitespace() || matches!(byte, b'+' | b'-' | b'_' | b'/' | b'=')
}

fn squeezed(bytes: impl Iterator<Item = u8>) -> Vec<u8> {
    let mut squeezed = Vec::with_capacity(bytes.size_hint().1.unwrap_or_default());
    squeezed.extend(bytes.filter(|byte| !varies(*byte)));
    squeezed
}

/// The part of the base64 of anything with `secret` inside, at the given shift in its groups of
/// three, that depends on the secret alone.
fn base64_inside(secret: &[u8], shift: usize) -> impl DoubleEndedIterator<Item = u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let byte = move |at: usize| {
        let byte = at.checked_sub(shift).and_then(|at| secret.get(at));
        u32::from(byte.copied().unwrap_or_default())
    };
    let mixed_with_before = (shift * 8).div_ceil(6);
    let whole = (shift + secret.len()) * 8 / 6;
    (mixed_with_before..whole).map(move |place| {
        let (at, bit) = (place * 6 / 8, place * 6 % 8);
        let sextet = ((byte(at) << 8 | byte(at + 1)) >> (10 - bit)) & 63;
        ALPHABET.get(sextet as usize).copied().unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "s3+cr/et=\"q\"\n-té\\x";

    fn search(secrets: &[&str]) -> Search {
        let mut search = Search::default();
        secrets.iter().for_each(|secret| search.add(secret));
        search
    }

    fn finds(text: &str) -> bool {
        let found = search(&[SECRET]).find(text);
        found.iter().all(|(range, _)| text.get(range.clone()).is_some()) && !found.is_empty()
    }

    #[test]
    fn a_secret_is_found_however_it_is_written() {
        let json = serde_json::to_string(SECRET).unwrap();
        let twice = serde_json::to_string(&json).unwrap();
        for text in [
            SECRET,
            &format!("key: {SECRET};"),
            &format!("😂{json}"),
            &twice,
            "a s3%2Bcr%2Fet%3D%22q%22%0A-t%C3%A9%5Cx b",
            "a s3%2bcr/et%3d%22q%22%0a-t%c3%a9%5cx b",
            "s3%252Bcr%252Fet%253D%2522q%2522%250A-t%25C3%25A9%255Cx",
            r#"s3\u002bcr\/et=\u0022q\u0022\n-t\u00e9\\x"#,
            "  s3+cr/et=\"q\"\r\n    -té\\x",
        ] {
            assert!(finds(text), "{text}");
        }
        assert!(!finds("s3 cr et q"), "something is missing");
    }

    #[test]
    fn a_secret_is_found_in_base64_at_every_shift() {
        // "s3+cr/et…" alone, after one byte, after two and, URL-safe and wrapped, after three.
        assert!(finds("czMrY3IvZXQ9InEiCi10w6lceA=="));
        assert!(finds("YXMzK2NyL2V0PSJxIgotdMOpXHg="));
        assert!(finds("YWFzMytjci9ldD0icSIKLXTDqVx4"));
        assert!(finds("YWFhczMrY3IvZXQ9\n  InEiCi10w6lceA%3D%3D"));
    }

    #[test]
    fn only_what_a_text_may_hold_is_looked_for() {
        let search = search(&[SECRET, "+a+b+c+"]);
        for (text, likely) in [
            (SECRET, 2),
            ("x czMrY3IvZXQ9InEiCi10w6lceA==", 1),
            ("YXMzK2NyL2V0PSJxIgotdMOpXHg=", 1),
            ("a+b+a+b+c+", 0),
            ("s3 and cr and et, but not together", 0),
        ] {
            assert_eq!(search.likely(text.as_bytes()).len(), likely, "{text}");
        }
    }

    /// Every place where a form stands, looked for byte by byte.
    fn all(search: &Search, bytes: &[u8]) -> Vec<(Range<usize>, usize)> {
        let mut all = Vec::new();
        for form in &search.forms {
            let looks = form.coding.looks(search.secret(form.secret).as_bytes());
            let is_exact = form.coding == Coding::Exact;
            let kept = bytes.iter().enumerate().filter(|(_, byte)| is_exact || !varies(**byte));
            let (places, text): (Vec<usize>, Vec<u8>) = kept.unzip();
            let starts = text.windows(looks.len()).enumerate().filter(|(_, part)| **part == looks);
            all.extend(
                starts.map(|(at, _)| (places[at]..places[at + looks.len() - 1] + 1, form.secret)),
            );
        }
        all
    }

    #[test]
    fn an_end_that_is_seen_often_hides_nothing() {
        let search = search(&["abcdefgh", "bcdefgh=="]);
        for often in 0..2 * ENDS_MAX {
            let text =
                format!("{}abcdefgh== {}", "x-cdefgh".repeat(often), "y-cdefgh".repeat(often));
            let mut found = search.find(&text);
            let mut all = all(&search, text.as_bytes());
            found.sort_by_key(|(range, secret)| (range.start, range.end, *secret));
            all.sort_by_key(|(range, secret)| (range.start, range.end, *secret));
            assert_eq!((found.len(), &found), (4, &all), "{often} times");
        }
    }

    proptest! {
        #[test]
        fn what_stands_there_is_found_and_nothing_else(
            secrets in prop::collection::vec("[ab=+]{6,9}", 1..3),
            parts in prop::collection::vec("[ab+= ]{0,12}", 0..12),
            with in prop::collection::vec(0..3_usize, 12),
        ) {
            let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
            let search = search(&secrets);
            let mut text = String::new();
            for (part, with) in parts.iter().zip(with) {
                text.push_str(part);
                text.push_str(secrets.get(with).copied().unwrap_or_default());
            }
            let mut found = Vec::new();
            let mut give = |range: Range<usize>, secret| found.push((range, secret));
            search.find_in(text.as_bytes(), secrets.len(), &mut give);
            let all = all(&search, text.as_bytes());
            for one in &found {
                prop_assert!(all.contains(one), "{:?} in {:?}", one, text);
            }
            for (range, secret) in &all {
                // One search goes on behind what it found.
                let is_found = found.iter().any(|(other, of)| {
                    of == secret && other.start < range.end && range.start < other.end
                });
                prop_assert!(is_found, "{:?} of {} in {:?}", range, secret, text);
            }
        }
    }

    #[test]
    fn the_shortest_is_found_in_the_shortest_text() {
        let search = search(&["a-longer-secret", "ab cd\nef gh", "a-much-longer-secret"]);
        for (text, count) in [("abcdefgh", 1), ("abcdefg", 0), ("a-longer-secret", 1)] {
            let mut found = search.find(text);
            found.dedup();
            assert_eq!(found.len(), count, "{text}");
        }
    }

    #[test]
    fn what_is_found_is_where_it_stands() {
        let text = "é s3cretvalue%21 é";
        let mut found = search(&["s3cretvalue!"]).find(text);
        found.dedup();
        assert_eq!(found, [(3..17, 0)]);
        assert_eq!(&text[3..17], "s3cretvalue%21");
    }
}
