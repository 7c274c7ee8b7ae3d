//! Sixteen bytes of a text, looked at at once.

use wide::u8x16;

/// A bit for each byte that is one of some, or less than `BELOW`.
#[inline]
fn marked<const N: usize, const BELOW: u8>(sixteen: [u8; 16], of: [u8; N]) -> u32 {
    let all = u8x16::new(sixteen);
    let mut found = u8x16::ZERO;
    for byte in of {
        found |= all.simd_eq(u8x16::splat(byte));
    }
    if BELOW > 0 {
        found |= all.simd_eq(all.min(u8x16::splat(BELOW - 1)));
    }
    found.to_bitmask()
}

/// The first place from `at` on of a byte that is one of some, or less than `BELOW`; else the end.
#[inline]
pub fn find<const N: usize, const BELOW: u8>(bytes: &[u8], mut at: usize, of: [u8; N]) -> usize {
    while let Some(sixteen) = bytes.get(at..).and_then(<[u8]>::first_chunk).copied() {
        let found = marked::<N, BELOW>(sixteen, of);
        if found != 0 {
            return at + found.trailing_zeros() as usize;
        }
        at += 16;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| !of.contains(byte) && **byte >= BELOW).count()
}

/// Whether one of some bytes is among them.
#[inline]
pub fn holds<const N: usize>(bytes: &[u8], of: [u8; N]) -> bool {
    let Some(last) = bytes.last_chunk() else { return bytes.iter().any(|byte| of.contains(byte)) };
    let (sixteens, _) = bytes.as_chunks::<16>();
    sixteens.iter().chain([last]).any(|sixteen| marked::<N, 0>(*sixteen, of) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_is_found_wherever_it_stands() {
        for wanted in 0..=u8::MAX {
            let is_wanted = matches!(wanted, b'"' | b'\\' | 0..b' ');
            for length in 0..40 {
                for at in 0..length {
                    let mut bytes = vec![b'!'; length];
                    bytes[at] = wanted;
                    let found = find::<2, b' '>(&bytes, 0, *b"\"\\");
                    assert_eq!(found, if is_wanted { at } else { length }, "{wanted} at {at}");
                    let from = find::<2, b' '>(&bytes, at + 1, *b"\"\\");
                    assert_eq!(from, length, "{wanted} at {at}, from behind it");
                    assert_eq!(
                        holds(&bytes, *b"%\\"),
                        b"%\\".contains(&wanted),
                        "{wanted} at {at}"
                    );
                }
            }
        }
    }
}
