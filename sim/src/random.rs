//! The only source of chance: a seed makes a run.
//!
//! What it does **not** do: nothing here is secure, and the numbers are those of the version of `fastrand` in the lock
//! file. A seed that is kept as a test is replayed with that.

use std::time::Duration;

/// A stream of numbers that a seed decides.
#[derive(Clone, Debug)]
pub struct Random(fastrand::Rng);

impl Random {
    /// The stream of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Random {
        Random(fastrand::Rng::with_seed(seed))
    }

    /// A number below `end`; 0 if that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { self.0.usize(..end) }
    }

    /// True `times` times in `of`, on average.
    pub fn chance(&mut self, times: u32, of: u32) -> bool {
        self.0.u32(..of.max(1)) < times
    }

    /// True half the time.
    pub fn coin(&mut self) -> bool {
        self.0.bool()
    }

    /// Any 32 bits.
    pub fn bits(&mut self) -> u32 {
        self.0.u32(..)
    }

    /// Milliseconds from `least` to `most`.
    pub fn ms(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.0.u64(least..=most.max(least)))
    }

    /// One of them; `None` of none.
    pub fn pick<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        all.get(self.below(all.len()))
    }

    /// One of them, each as often as its weight says; `None` if nothing has any weight.
    pub fn weighted<T: Copy>(&mut self, all: &[(T, u32)]) -> Option<T> {
        let total: u32 = all.iter().map(|(_, weight)| weight).sum();
        let mut left = if total == 0 { return None } else { self.0.u32(..total) };
        for (what, weight) in all {
            match left.checked_sub(*weight) {
                Some(less) => left = less,
                None => return Some(*what),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_weight_is_never_drawn_and_what_has_all_of_it_always() {
        let mut random = Random::new(1);
        for _ in 0..100 {
            assert_eq!(random.weighted(&[('a', 0), ('b', 3), ('c', 0)]), Some('b'));
        }
        assert_eq!(random.weighted::<char>(&[('a', 0)]), None);
        assert_eq!(random.weighted::<char>(&[]), None);
    }

    #[test]
    fn weights_decide_how_often_something_is_drawn() {
        let mut random = Random::new(2);
        let rare = (0..10_000).filter(|_| random.weighted(&[('a', 9), ('b', 1)]) == Some('b')).count();
        assert!((800..1200).contains(&rare), "{rare}");
    }
}
