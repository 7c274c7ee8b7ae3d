//! Which of the keys that are asked of an object one of its many is.

/// The keys that are asked of an object, and where each leads.
#[derive(Debug, Clone, Default)]
pub(super) struct Keys {
    names: Vec<(String, usize)>,
    /// Each key where its hash leads, or at the next free place behind; at least half of the places
    /// are free.
    places: Vec<Place>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Place {
    /// [`tag`], so that an object's many other keys are told apart at a glance.
    tag: u64,
    /// One more than its index; 0 is free.
    key: u32,
}

impl Keys {
    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// Where the first key leads of which `is_it` is true.
    pub(super) fn named(&self, is_it: impl Fn(&str) -> bool) -> Option<usize> {
        self.names.iter().find(|(name, _)| is_it(name)).map(|(_, child)| *child)
    }

    pub(super) fn add(&mut self, name: &str, child: usize) {
        self.names.push((name.to_owned(), child));
        self.places = vec![Place::default(); (self.names.len() * 2).next_power_of_two()];
        for (key, (name, _)) in (1..).zip(&self.names) {
            let tag = tag(name.as_bytes(), name.len());
            let mut at = self.home(tag);
            while self.places.get(at).is_some_and(|place| place.key != 0) {
                at = self.after(at);
            }
            self.places.get_mut(at).into_iter().for_each(|place| *place = Place { tag, key });
        }
    }

    fn home(&self, tag: u64) -> usize {
        let mixed = tag.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        usize::try_from(mixed).unwrap_or_default() & (self.places.len() - 1)
    }

    fn after(&self, at: usize) -> usize {
        (at + 1) & (self.places.len() - 1)
    }

    /// The index of the key of which `is_it` is true, and where it leads. `from` begins with it,
    /// and may go on behind it.
    #[inline]
    pub(super) fn find(
        &self,
        from: &[u8],
        length: usize,
        is_it: impl Fn(&[u8]) -> bool,
    ) -> Option<(usize, usize)> {
        if self.places.is_empty() {
            return None;
        }
        let wanted = tag(from, length);
        let mut at = self.home(wanted);
        loop {
            let place = self.places.get(at)?;
            let index = (place.key as usize).checked_sub(1)?;
            if place.tag == wanted {
                let (name, child) = self.names.get(index)?;
                if is_it(name.as_bytes()) {
                    return Some((index, *child));
                }
            }
            at = self.after(at);
        }
    }
}

/// The same for all spellings of a key that differ in case only, and for few others: its length
/// and its first eight bytes. `from` may go on behind the key.
#[inline]
fn tag(from: &[u8], length: usize) -> u64 {
    let eight = from.first_chunk::<8>().copied().unwrap_or_else(|| {
        let mut eight = [0; 8];
        eight.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        eight
    });
    let others = 8_u32.saturating_sub(u32::try_from(length).unwrap_or(u32::MAX));
    let first = u64::from_le_bytes(eight) & u64::MAX.unbounded_shr(8 * others);
    let length = (length as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (first | (u64::MAX / 255 * 0x20)) ^ length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_begin_alike_or_are_short_are_told_apart() {
        let long = (0..40).map(|n| format!("resource_{n:02}"));
        let names: Vec<String> =
            long.chain(["", "a", "b", "ab", "ba", "abc"].map(Into::into)).collect();
        let mut keys = Keys::default();
        for (at, name) in names.iter().enumerate() {
            keys.add(name, 100 + at);
        }
        let find = |name: &str, behind: &str| {
            let from = [name, behind].concat();
            keys.find(from.as_bytes(), name.len(), |known| known == name.as_bytes())
        };
        for behind in ["", "\":1", "\":\"something\"}"] {
            for (at, name) in names.iter().enumerate() {
                assert_eq!(find(name, behind), Some((at, 100 + at)), "{name}");
            }
            for other in ["resource_40", "resource", "c", "aa", "abcd"] {
                assert_eq!(find(other, behind), None, "{other}");
            }
        }
        assert_eq!(Keys::default().find(b"a", 1, |_| true), None);
    }
}
