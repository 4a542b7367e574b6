//! A set of small numbers, a bit each: every visit puts one in.

/// Numbers of slots or of pages of them. Takes an eighth of a byte for each number up to the largest.
#[derive(Default)]
pub(super) struct NumberSet {
    words: Vec<u64>,
    /// No word before this one has a number.
    first: usize,
    pub(super) count: usize,
}

impl NumberSet {
    /// Puts a number in.
    pub(super) fn insert(&mut self, number: u32) {
        let (word, bit) = (number as usize / 64, 1 << (number % 64));
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        self.count += usize::from(self.words[word] & bit == 0);
        self.words[word] |= bit;
        self.first = if self.count == 1 { word } else { self.first.min(word) };
    }

    /// Takes the smallest numbers out, in order, at most about `max` of them: the last word is taken whole.
    pub(super) fn take(&mut self, max: usize) -> Vec<u32> {
        let mut taken = Vec::with_capacity(self.count.min(max.saturating_add(64)));
        while self.count > 0 && taken.len() < max {
            let bits = std::mem::take(&mut self.words[self.first]);
            let numbers = (0..64).filter(|bit| bits >> bit & 1 == 1).map(|bit| self.first as u32 * 64 + bit);
            taken.extend(numbers);
            self.count -= bits.count_ones() as usize;
            self.first += 1;
        }
        if self.count == 0 {
            *self = Self::default();
        }
        taken
    }

    /// All numbers, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let words = self.words.iter().zip(0..);
        words.flat_map(|(bits, word)| (0..64).filter(move |bit| bits >> bit & 1 == 1).map(move |bit| word * 64 + bit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(numbers: &[u32]) -> NumberSet {
        let mut set = NumberSet::default();
        numbers.iter().for_each(|number| set.insert(*number));
        set
    }

    #[test]
    fn numbers_come_out_once_and_in_order() {
        let mut set = of(&[700, 3, 64, 3, 0, 65]);
        assert_eq!((set.count, set.iter().collect::<Vec<_>>()), (5, vec![0, 3, 64, 65, 700]));
        assert_eq!(set.take(usize::MAX), [0, 3, 64, 65, 700]);
        assert_eq!((set.take(usize::MAX), set.count), (vec![], 0));
    }

    #[test]
    fn what_is_not_taken_at_once_stays_with_what_comes_meanwhile() {
        let mut set = of(&[1, 2, 100, 200]);
        assert_eq!(set.take(1), [1, 2], "a word is taken whole");
        set.insert(0);
        set.insert(300);
        assert_eq!(set.take(2), [0, 100]);
        assert_eq!(set.take(9), [200, 300]);
        assert_eq!(set.count, 0);
    }
}
