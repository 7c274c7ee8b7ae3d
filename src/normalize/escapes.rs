//! A text with its percent and JSON escapes undone, byte for byte with where each stands.

use std::ops::Range;

use memchr::memchr2;

/// LIMIT: escapes of two kinds are undone twice in every order, of one kind more often.
const LAYERS_MAX: usize = 6;

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
