//! A set that is asked for very many numbers of which it has few.

/// One bit for the hash of each number that was put in: of a few others it says that it has them.
pub(super) struct Bits<const WORDS: usize>([u64; WORDS]);

impl<const WORDS: usize> Default for Bits<WORDS> {
    fn default() -> Self {
        Self([0; WORDS])
    }
}

impl<const WORDS: usize> Bits<WORDS> {
    pub(super) fn put(&mut self, number: u64) {
        let (word, bit) = Self::place(number);
        self.0.get_mut(word).into_iter().for_each(|word| *word |= bit);
    }

    #[inline]
    pub(super) fn may_have(&self, number: u64) -> bool {
        let (word, bit) = Self::place(number);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }

    /// A word and a bit in it: the uppermost bits of a product that mixes all of the number.
    fn place(number: u64) -> (usize, u64) {
        let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (58 - WORDS.ilog2());
        (usize::try_from(mixed >> 6).unwrap_or_default(), 1 << (mixed & 63))
    }
}
