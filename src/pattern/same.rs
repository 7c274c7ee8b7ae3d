//! Comparing short texts where they stand. What conditions name is rarely longer than 32 bytes, and
//! the library's comparison is a call that takes longer than the bytes do.

#[inline]
pub(crate) fn is_same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    match one.len() {
        0..4 => one.iter().zip(other).all(|(one, other)| one == other),
        4..8 => has_same_ends::<4>(one, other),
        8..16 => has_same_ends::<8>(one, other),
        16..=32 => has_same_ends::<16>(one, other),
        _ => one == other,
    }
}

/// Of which the first and the last bytes overlap where there are fewer than twice as many.
#[inline]
fn has_same_ends<const N: usize>(one: &[u8], other: &[u8]) -> bool {
    let ((Some(one), Some(one_last)), (Some(other), Some(other_last))) = (
        (one.first_chunk::<N>(), one.last_chunk::<N>()),
        (other.first_chunk::<N>(), other.last_chunk::<N>()),
    ) else {
        return false;
    };
    one == other && one_last == other_last
}

/// What follows the beginning.
#[inline]
pub(crate) fn after<'t>(text: &'t [u8], beginning: &[u8]) -> Option<&'t [u8]> {
    let (first, rest) = text.split_at_checked(beginning.len())?;
    is_same(first, beginning).then_some(rest)
}

/// What stands before the end.
#[inline]
pub(crate) fn before<'t>(text: &'t [u8], end: &[u8]) -> Option<&'t [u8]> {
    let (rest, last) = text.split_at_checked(text.len().checked_sub(end.len())?)?;
    is_same(last, end).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_every_length_are_told_apart_by_every_byte() {
        let text: Vec<u8> = (0..40).collect();
        for length in 0..=text.len() {
            let one = &text[..length];
            assert!(is_same(one, one));
            assert!(!is_same(one, &[one, b"x"].concat()));
            for at in 0..length {
                let mut other = one.to_vec();
                other[at] ^= 0x80;
                assert!(!is_same(one, &other), "{at} of {length}");
            }
            assert_eq!(after(&text, one), Some(&text[length..]));
            assert_eq!(before(&text, &text[length..]), Some(one));
        }
        assert_eq!((after(b"ab", b"abc"), after(b"ab", b"b")), (None, None));
        assert_eq!((before(b"ab", b"cab"), before(b"ab", b"a")), (None, None));
    }
}
