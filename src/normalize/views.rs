//! Finding a secret in a text however it was written there.
//!
//! A text is undone (percent and JSON escapes, as often as they were applied, up to a bound) and
//! compared without the characters in which encodings and line breaks differ. That finds more than
//! exact copies; a match too many costs a word of a title, a match too few costs the secret.

use std::cell::OnceCell;
use std::ops::Range;

use memchr::memchr2;
use memchr::memmem::Finder;

/// Forms shorter than this are everywhere.
const FORM_LEN_MIN: usize = 6;
/// Of one secret, at most.
const FORMS: usize = 5;
/// LIMIT: escapes of two kinds are undone twice in every order, of one kind more often.
const LAYERS_MAX: usize = 6;

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
    /// A bit for the hash of each end: nearly all places of most texts are passed over by it.
    bits: [u64; 32],
    /// Forms that are nearly nothing when squeezed: they have no end.
    short: Vec<usize>,
}

/// What one of the secrets looks like.
struct Form {
    secret: usize,
    coding: Coding,
    /// Made for the first text that has its end.
    finder: OnceCell<Box<Finder<'static>>>,
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
            let (word, bit) = place(end);
            self.bits.get_mut(word).into_iter().for_each(|word| *word |= bit);
            let at = self.ends.partition_point(|(known, _)| *known < end);
            self.ends.insert(at, (end, form));
        } else {
            self.short.push(form);
        }
        self.forms.push(Form { secret: self.secrets.len(), coding, finder: OnceCell::new() });
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
        let mut likely = self.likely(bytes);
        likely.retain(|form| form.secret < before);
        if likely.is_empty() {
            return;
        }
        let plain = bytes.iter().copied().enumerate().filter(|(_, byte)| !varies(*byte));
        let (places, squeezed): (Vec<usize>, Vec<u8>) = plain.unzip();
        for form in likely {
            let finder = self.finder(form);
            let length = finder.needle().len();
            if form.coding == Coding::Exact {
                finder.find_iter(bytes).for_each(|at| give(at..at + length, form.secret));
                continue;
            }
            for at in finder.find_iter(&squeezed) {
                if let (Some(first), Some(last)) = (places.get(at), places.get(at + length - 1)) {
                    give(*first..last + 1, form.secret);
                }
            }
        }
    }

    /// All forms that are there, and few others.
    fn likely(&self, bytes: &[u8]) -> Vec<&Form> {
        let is_there = |form: &&Form| self.finder(form).find(bytes).is_some();
        let short = self.short.iter().filter_map(|form| self.forms.get(*form));
        let mut likely: Vec<&Form> = short.filter(is_there).collect();
        let (mut last, mut count) = (0, 0);
        for byte in bytes.iter().filter(|byte| !varies(**byte)) {
            last = window(last, *byte);
            count += 1;
            let (word, bit) = place(last);
            let may_be_end = self.bits.get(word).is_some_and(|word| word & bit != 0);
            if may_be_end && count >= FORM_LEN_MIN {
                self.add_ending(last, &mut likely);
            }
        }
        likely
    }

    #[cold]
    fn add_ending<'s>(&'s self, end: u64, likely: &mut Vec<&'s Form>) {
        let from = self.ends.partition_point(|(known, _)| *known < end);
        let same = self.ends.iter().skip(from).take_while(|(known, _)| *known == end);
        for form in same.filter_map(|(_, form)| self.forms.get(*form)) {
            if likely.iter().any(|known| std::ptr::eq(*known, form)) {
                return;
            }
            likely.push(form);
        }
    }

    fn finder<'s>(&'s self, form: &'s Form) -> &'s Finder<'static> {
        form.finder.get_or_init(|| {
            let secret = self.secret(form.secret).as_bytes();
            let looks = match form.coding {
                Coding::Exact => secret.to_vec(),
                Coding::Squeezed => squeezed(secret.iter().copied()),
                Coding::Base64(shift) => squeezed(base64_inside(secret, shift)),
            };
            Box::new(Finder::new(&looks).into_owned())
        })
    }
}

/// A word of the bits and a bit in it: eleven bits of a product that mixes the whole window.
fn place(window: u64) -> (usize, u64) {
    let mixed = window.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 53;
    (usize::try_from(mixed >> 6).unwrap_or_default(), 1 << (mixed & 63))
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

/// One byte of a view and the bytes of the text that it stands for.
#[derive(Clone, Copy)]
pub(super) struct Unit {
    pub(super) byte: u8,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// The bytes of the text that a place in a view stands for.
pub(super) fn source(units: &[Unit], range: &Range<usize>) -> Option<Range<usize>> {
    let last = range.end.checked_sub(1)?;
    Some(units.get(range.start)?.start..units.get(last)?.end)
}

/// The text with its escapes undone, once for each layer of them; nothing when there is none.
pub(super) fn undone(text: &str) -> Vec<Vec<Unit>> {
    let mut undone: Vec<Vec<Unit>> = Vec::new();
    if memchr2(b'%', b'\\', text.as_bytes()).is_none() {
        return undone;
    }
    let raw = units_of(text);
    let mut next = 0;
    let mut layer = Some(&raw);
    // Each kind alone: what looks like one escape may be plain text inside the other.
    while let Some(units) = layer {
        let inner: Vec<_> = [b'%', b'\\'].iter().filter_map(|kind| undo(units, *kind)).collect();
        let room = LAYERS_MAX.saturating_sub(undone.len());
        undone.extend(inner.into_iter().take(room));
        layer = undone.get(next);
        next += 1;
    }
    undone
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

/// Units never split a character: all bytes of one carry its whole range.
fn units_of(text: &str) -> Vec<Unit> {
    let mut units = Vec::with_capacity(text.len());
    for (start, character) in text.char_indices() {
        let end = start + character.len_utf8();
        let mut buffer = [0; 4];
        let bytes = character.encode_utf8(&mut buffer).bytes();
        units.extend(bytes.map(|byte| Unit { byte, start, end }));
    }
    units
}

/// Undoes one layer of `%41`, or of JSON's `\n`, `\"`, `\u0041`; nothing when there is none.
fn undo(units: &[Unit], kind: u8) -> Option<Vec<Unit>> {
    let mut out = Vec::with_capacity(units.len());
    let mut changed = false;
    let mut rest = units;
    while let Some((first, after)) = rest.split_first() {
        let undone = match first.byte {
            b'%' if kind == b'%' => percent(after),
            b'\\' if kind == b'\\' => escape(after),
            _ => None,
        };
        let Some((bytes, taken)) = undone else {
            out.push(*first);
            rest = after;
            continue;
        };
        changed = true;
        let end = after.get(..taken).and_then(<[Unit]>::last).map_or(first.end, |unit| unit.end);
        out.extend(bytes.into_iter().map(|byte| Unit { byte, start: first.start, end }));
        rest = after.get(taken..).unwrap_or_default();
    }
    changed.then_some(out)
}

fn percent(after: &[Unit]) -> Option<(Vec<u8>, usize)> {
    Some((vec![u8::try_from(hex_number(after, 2)?).ok()?], 2))
}

/// What follows a backslash, and how many units of it belong to the escape.
fn escape(after: &[Unit]) -> Option<(Vec<u8>, usize)> {
    let byte = match after.first()?.byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'f' => 12,
        same @ (b'"' | b'\'' | b'\\' | b'/') => same,
        b'u' => return unicode(after),
        _ => return None,
    };
    Some((vec![byte], 1))
}

fn unicode(after: &[Unit]) -> Option<(Vec<u8>, usize)> {
    let first = hex_number(after.get(1..)?, 4)?;
    let mut taken = 5;
    let mut code = first;
    if (0xd800..=0xdbff).contains(&first) {
        let is_pair = after.get(5)?.byte == b'\\' && after.get(6)?.byte == b'u';
        let second = hex_number(after.get(7..)?, 4).filter(|_| is_pair)?;
        code = 0x1_0000 + ((first - 0xd800) << 10) + second.checked_sub(0xdc00)?;
        taken = 11;
    }
    let mut buffer = [0; 4];
    Some((char::from_u32(code)?.encode_utf8(&mut buffer).bytes().collect(), taken))
}

fn hex_number(units: &[Unit], digits: usize) -> Option<u32> {
    let mut number = 0;
    for unit in units.get(..digits)? {
        number = number * 16 + char::from(unit.byte).to_digit(16)?;
    }
    Some(number)
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
            ("a+b+a+b+c+", 1),
            ("s3 and cr and et, but not together", 0),
        ] {
            assert_eq!(search.likely(text.as_bytes()).len(), likely, "{text}");
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
