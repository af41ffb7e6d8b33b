//! A set of small numbers, one bit each.

/// Numbers from 0; what is not set is not in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    /// Puts `number` in; whether it was new.
    pub(super) fn set(&mut self, number: u32) -> bool {
        let (word, bit) = (number as usize / 64, 1 << (number % 64));
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        let Some(word) = self.0.get_mut(word) else { return false };
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    pub(super) fn unset(&mut self, number: u32) {
        if let Some(word) = self.0.get_mut(number as usize / 64) {
            *word &= !(1 << (number % 64));
        }
    }

    pub(super) fn has(&self, number: u32) -> bool {
        self.0.get(number as usize / 64).is_some_and(|word| word & (1 << (number % 64)) != 0)
    }

    pub(super) fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// Without those in `others`.
    pub(super) fn less(&self, others: &Bits) -> Bits {
        let mut bits = self.clone();
        for (word, other) in bits.0.iter_mut().zip(&others.0) {
            *word &= !other;
        }
        bits
    }

    pub(super) fn words(&self) -> &[u64] {
        &self.0
    }
}

impl From<Vec<u64>> for Bits {
    fn from(words: Vec<u64>) -> Self {
        Self(words)
    }
}
