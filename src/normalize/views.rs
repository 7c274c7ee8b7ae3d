//! Finding a secret in a text however it was written there.
//!
//! A text is undone (percent and JSON escapes, as often as they were applied, up to a bound) and
//! compared without the characters in which encodings and line breaks differ. That finds more than
//! exact copies; a match too many costs a word of a title, a match too few costs the secret.

use std::ops::Range;

use memchr::memmem::Finder;

/// Forms shorter than this are everywhere.
const FORM_LEN_MIN: usize = 6;
/// LIMIT: escapes of two kinds are undone twice in every order, of one kind more often.
const LAYERS_MAX: usize = 6;

/// What a secret looks like: as it is, once characters that vary are left out, and in base64.
pub(super) struct Forms {
    exact: Finder<'static>,
    squeezed: Vec<Finder<'static>>,
}

impl Forms {
    pub(super) fn of(secret: &str) -> Self {
        let plain = squeezed(secret.bytes());
        let encoded = (0..3).map(|shift| squeezed(base64_inside(secret.as_bytes(), shift)));
        let forms = std::iter::once(plain).chain(encoded);
        let long_enough = forms.filter(|form| form.len() >= FORM_LEN_MIN);
        let squeezed = long_enough.map(|form| Finder::new(&form).into_owned()).collect();
        Self { exact: Finder::new(secret).into_owned(), squeezed }
    }
}

/// Says of most texts, at a glance, that none of the secrets is in them in any form: nowhere in
/// the squeezed text does a form end. Knows nothing of escapes.
#[derive(Default)]
pub(super) struct Filter {
    bits: [u64; 32],
    ends: Vec<u64>,
    /// Secrets that are nearly nothing when squeezed; they are only searched for as they are.
    short: Vec<String>,
}

impl Filter {
    pub(super) fn add(&mut self, secret: &str) {
        let [plain, encoded @ ..] = ends(secret);
        if plain.is_none() {
            self.short.push(secret.to_owned());
        }
        for end in plain.into_iter().chain(encoded.into_iter().flatten()) {
            let (word, bit) = Self::place(end);
            if let Some(word) = self.bits.get_mut(word) {
                *word |= bit;
            }
            self.ends.push(end);
        }
    }

    pub(super) fn may_hold(&self, text: &str) -> bool {
        let (mut last, mut count) = (0, 0);
        for byte in text.bytes() {
            if matches!(byte, b'%' | b'\\') {
                return true;
            }
            if varies(byte) {
                continue;
            }
            last = window(last, byte);
            count += 1;
            let (word, bit) = Self::place(last);
            let is_likely = self.bits.get(word).is_some_and(|word| word & bit != 0);
            if is_likely && count >= FORM_LEN_MIN && self.ends.contains(&last) {
                return true;
            }
        }
        self.short.iter().any(|secret| text.contains(secret.as_str()))
    }

    /// A word of the filter and a bit in it: eleven bits of a product that mixes the whole window.
    fn place(window: u64) -> (usize, u64) {
        let mixed = window.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 53;
        (usize::try_from(mixed >> 6).unwrap_or_default(), 1 << (mixed & 63))
    }
}

/// The last [`FORM_LEN_MIN`] bytes, one further.
fn window(last: u64, byte: u8) -> u64 {
    ((last << 8) | u64::from(byte)) & 0xffff_ffff_ffff
}

/// The last bytes of each form: as it is, and in base64 at each shift.
fn ends(secret: &str) -> [Option<u64>; 4] {
    let bytes = secret.as_bytes();
    let encoded = |shift| end_of(base64_inside(bytes, shift));
    [end_of(secret.bytes()), encoded(0), encoded(1), encoded(2)]
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

/// A text to search, in all the ways it can be read.
pub(super) struct Views<'t> {
    text: &'t str,
    squeezed: Vec<u8>,
    /// One for each layer of escapes.
    undone: Vec<Vec<Unit>>,
}

/// One byte of a view and the bytes of the text that it stands for.
#[derive(Clone, Copy)]
pub(super) struct Unit {
    pub(super) byte: u8,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl<'t> Views<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        Self { text, squeezed: squeezed(text.bytes()), undone: undone(text) }
    }

    /// The places of a secret in the text, in no order; they may overlap.
    pub(super) fn find(&self, forms: &Forms) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        for at in forms.exact.find_iter(self.text.as_bytes()) {
            found.push(at..at + forms.exact.needle().len());
        }
        for form in &forms.squeezed {
            // Where a byte of the squeezed text came from is worked out only when something is
            // there.
            if form.find(&self.squeezed).is_some() {
                places(form, &squeezed_units(&units_of(self.text)), &mut found);
            }
        }
        for units in &self.undone {
            places(&forms.exact, units, &mut found);
            let units = squeezed_units(units);
            for form in &forms.squeezed {
                places(form, &units, &mut found);
            }
        }
        found
    }
}

/// The text with its escapes undone, once for each layer of them; nothing when there is none.
pub(super) fn undone(text: &str) -> Vec<Vec<Unit>> {
    let mut undone: Vec<Vec<Unit>> = Vec::new();
    if !text.contains(['%', '\\']) {
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

fn places(form: &Finder<'_>, units: &[Unit], found: &mut Vec<Range<usize>>) {
    let bytes: Vec<u8> = units.iter().map(|unit| unit.byte).collect();
    for at in form.find_iter(&bytes) {
        let last = at + form.needle().len().saturating_sub(1);
        if let (Some(first), Some(last)) = (units.get(at), units.get(last)) {
            found.push(first.start..last.end);
        }
    }
}

fn squeezed_units(units: &[Unit]) -> Vec<Unit> {
    units.iter().copied().filter(|unit| !varies(unit.byte)).collect()
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

    fn finds(text: &str) -> bool {
        let found = Views::of(text).find(&Forms::of(SECRET));
        found.iter().all(|range| text.get(range.clone()).is_some()) && !found.is_empty()
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
    fn the_filter_lets_every_find_through() {
        let mut filter = Filter::default();
        filter.add(SECRET);
        filter.add("+a+b+c+");
        for text in
            [SECRET, "x czMrY3IvZXQ9InEiCi10w6lceA==", "YXMzK2NyL2V0PSJxIgotdMOpXHg=", "a+b+a+b+c+"]
        {
            assert!(filter.may_hold(text), "{text}");
        }
        assert!(!filter.may_hold("s3 and cr and et, but not together"));
    }

    #[test]
    fn what_is_found_is_where_it_stands() {
        let text = "é s3cretvalue%21 é";
        let mut found = Views::of(text).find(&Forms::of("s3cretvalue!"));
        found.dedup();
        assert_eq!(found.as_slice(), std::slice::from_ref(&(3..17)));
        assert_eq!(&text[3..17], "s3cretvalue%21");
    }
}
