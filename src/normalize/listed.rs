//! Texts that are known beforehand, each with what it stands for.

/// By what few of them share, so that a strange text is hardly ever compared with one of them.
#[derive(Debug, Clone)]
pub(super) struct Listed<T> {
    signs: Vec<u64>,
    entries: Vec<(String, T)>,
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self { signs: Vec::new(), entries: Vec::new() }
    }
}

impl<T> Listed<T> {
    pub(super) fn get(&self, text: &str) -> Option<&T> {
        let wanted = sign(text);
        let from = self.signs.partition_point(|sign| *sign < wanted);
        let same = self.signs.iter().zip(&self.entries).skip(from);
        let mut same = same.take_while(|(sign, _)| **sign == wanted).map(|(_, entry)| entry);
        same.find(|(known, _)| known == text).map(|(_, of)| of)
    }
}

/// Of entries with one text the last counts.
impl<T> FromIterator<(String, T)> for Listed<T> {
    fn from_iter<I: IntoIterator<Item = (String, T)>>(entries: I) -> Self {
        let mut entries: Vec<(String, T)> = entries.into_iter().collect();
        entries.reverse();
        entries.sort_by(|(one, _), (other, _)| (sign(one), one).cmp(&(sign(other), other)));
        entries.dedup_by(|later, earlier| later.0 == earlier.0);
        Self { signs: entries.iter().map(|(text, _)| sign(text)).collect(), entries }
    }
}

/// Of its length, its first eight bytes and its last.
fn sign(text: &str) -> u64 {
    let bytes = text.as_bytes();
    let ends = match (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        (Some(first), Some(last)) => {
            u64::from_le_bytes(*first) ^ u64::from_le_bytes(*last).rotate_left(32)
        }
        _ => bytes.iter().fold(0, |all, byte| (all << 8) | u64::from(*byte)),
    };
    ends ^ (bytes.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_among_others_with_its_sign_and_the_last_of_it_counts() {
        let same = ["longer--one--longer", "longer--two--longer"];
        assert_eq!(sign(same[0]), sign(same[1]));
        let texts = ["", "a", "ab", "ba", same[0], same[1], "longer-1", "é"];
        let twice = texts.iter().chain(&texts).enumerate().map(|(at, text)| ((*text).into(), at));
        let listed: Listed<usize> = twice.collect();
        for (at, text) in texts.iter().enumerate() {
            assert_eq!(listed.get(text), Some(&(texts.len() + at)), "{text}");
        }
        for other in ["b", "longer--six--longer", "longer", "longer--one--longer--one--longer"] {
            assert_eq!(listed.get(other), None, "{other}");
        }
        assert_eq!(Listed::<u8>::default().get(""), None);
    }
}
