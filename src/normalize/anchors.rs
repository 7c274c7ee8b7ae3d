//! The first look at a text: which tokens it may hold, by four characters that every one of a shape
//! has. Nearly all texts end here.

use memchr::{memchr, memchr_iter, memchr2, memmem};

use super::bits::Bits;
use super::shapes::{Needs, SHAPES};

/// Which shapes, by their places in [`SHAPES`].
pub(super) type Set = u128;

/// Of a shape with dots and no anchor: a letter, a dot and 24 characters.
const DOTTED_LEN_MIN: usize = 26;

/// Which shapes are searched for in a text.
pub(super) struct Anchors {
    /// Each three characters of an anchor that may begin at an even place: nearly all places of
    /// most texts are passed over by it.
    threes: Box<Bits<1024>>,
    /// Each anchor: words of a language have many of the threes, and few of these.
    fours: Box<Bits<1024>>,
    /// Sorted by anchor.
    anchors: Vec<(u32, Set)>,
    at: Set,
    sign: Set,
    dashes: Set,
    dot_before_24: Set,
    dots_around_6: Set,
}

impl Anchors {
    pub(super) fn new() -> Self {
        debug_assert!(SHAPES.len() <= Set::BITS as usize, "a shape without a bit");
        let set_of = |needs: Needs| {
            let shapes = SHAPES.iter().enumerate().filter(|(_, shape)| shape.needs == needs);
            shapes.fold(0, |set, (at, _)| set | 1 << at)
        };
        let mut found = Self {
            threes: Box::default(),
            fours: Box::default(),
            anchors: Vec::new(),
            at: set_of(Needs::At),
            sign: set_of(Needs::Sign),
            dashes: set_of(Needs::Dashes),
            dot_before_24: set_of(Needs::DotBefore24),
            dots_around_6: set_of(Needs::DotsAround6),
        };
        for (at, shape) in SHAPES.iter().enumerate() {
            for anchor in shape.anchors.iter().flat_map(|anchor| spelled(**anchor)) {
                found.add(folded(anchor), 1 << at);
            }
        }
        found
    }

    fn add(&mut self, anchor: u32, shape: Set) {
        self.threes.put(three(anchor.into()));
        self.threes.put(three((anchor >> 8).into()));
        self.fours.put(anchor.into());
        match self.anchors.binary_search_by_key(&anchor, |(known, _)| *known) {
            Ok(at) => self.anchors.iter_mut().skip(at).take(1).for_each(|(_, set)| *set |= shape),
            Err(at) => self.anchors.insert(at, (anchor, shape)),
        }
    }

    /// The shapes that have an anchor in the text.
    pub(super) fn glance(&self, bytes: &[u8]) -> Set {
        let mut found = self.anchored(bytes);
        if found & self.at != 0 && memchr(b'@', bytes).is_none() {
            found &= !self.at;
        }
        if found & self.sign != 0 && memchr2(b'=', b':', bytes).is_none() {
            found &= !self.sign;
        }
        if found & self.dashes != 0 && memmem::find(bytes, b"--").is_none() {
            found &= !self.dashes;
        }
        found | self.dotted(bytes)
    }

    /// Of an anchor's four characters three begin at an even place: the others are passed over. The
    /// last eight bytes are looked at together, wherever they begin.
    fn anchored(&self, bytes: &[u8]) -> Set {
        let (mut found, mut at) = (0, 0);
        let last = bytes.len().saturating_sub(8);
        loop {
            let eight = bytes.get(at..).and_then(<[u8]>::first_chunk).copied();
            let eight = u64::from_le_bytes(eight.unwrap_or_else(|| padded(bytes)));
            let eight = eight | (u64::MAX / 255 * 0x20);
            if self.threes.may_have(three(eight)) {
                found |= self.anchored_at(bytes, at);
            }
            if self.threes.may_have(three(eight >> 16)) {
                found |= self.anchored_at(bytes, at + 2);
            }
            if self.threes.may_have(three(eight >> 32)) {
                found |= self.anchored_at(bytes, at + 4);
            }
            if at == last {
                return found;
            }
            at = last.min(at + 6);
        }
    }

    /// Whether an anchor begins there, or a place before.
    #[cold]
    fn anchored_at(&self, bytes: &[u8], at: usize) -> Set {
        let anchor = |at: usize| bytes.get(at..).and_then(<[u8]>::first_chunk).copied();
        let (before, here) = (at.checked_sub(1).and_then(anchor), anchor(at));
        let shapes = |anchor: [u8; 4]| self.shapes_of(folded(anchor));
        before.map_or(0, shapes) | here.map_or(0, shapes)
    }

    fn shapes_of(&self, anchor: u32) -> Set {
        if !self.fours.may_have(anchor.into()) {
            return 0;
        }
        let at = self.anchors.binary_search_by_key(&anchor, |(known, _)| *known);
        at.ok().and_then(|at| self.anchors.get(at)).map_or(0, |(_, set)| *set)
    }

    /// Shapes that have no four characters of their own, only dots at their distances.
    fn dotted(&self, bytes: &[u8]) -> Set {
        let mut found = 0;
        if bytes.len() < DOTTED_LEN_MIN {
            return found;
        }
        for at in memchr_iter(b'.', bytes) {
            let before = at.checked_sub(1).and_then(|before| bytes.get(before));
            let after = bytes.get(at + 1..at + 25).unwrap_or_default();
            if before.is_some_and(|byte| b"sbr".contains(byte))
                && after.len() == 24
                && after.iter().all(u8::is_ascii_alphanumeric)
            {
                found |= self.dot_before_24;
            }
            if at >= 24 && bytes.get(at + 7) == Some(&b'.') {
                found |= self.dots_around_6;
            }
        }
        found
    }
}

/// In lower case; of the other characters the same two always become one.
fn folded(anchor: [u8; 4]) -> u32 {
    u32::from_le_bytes(anchor) | 0x2020_2020
}

/// The first three of its characters.
fn three(folded: u64) -> u64 {
    folded & 0x00ff_ffff
}

/// Of fewer than eight bytes, as `anchored` reads them.
fn padded(bytes: &[u8]) -> [u8; 8] {
    let mut eight = [0; 8];
    eight.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    eight
}

/// An anchor with its `?` or `!` spelled out.
fn spelled(anchor: [u8; 4]) -> Vec<[u8; 4]> {
    let [first, second, third, last] = anchor;
    let characters: &[u8] = match last {
        b'?' => b"abcdefghijklmnopqrstuvwxyz0123456789-_.~",
        b'!' => b"=:\"'] \t\\",
        _ => &[last],
    };
    characters.iter().map(|last| [first, second, third, *last]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_anchor_is_seen_wherever_it_stands() {
        let anchors = Anchors::new();
        for (at, shape) in SHAPES.iter().enumerate() {
            for anchor in shape.anchors.iter().flat_map(|anchor| spelled(**anchor)) {
                for (before, after) in (0..9).flat_map(|before| [(before, 0), (before, 5)]) {
                    let text = [&vec![b'_'; before], &anchor[..], &vec![b'_'; after]].concat();
                    assert_ne!(anchors.anchored(&text) & 1 << at, 0, "{anchor:?} at {before}");
                }
            }
        }
    }
}
