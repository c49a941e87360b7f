//! A map from 32-bit keys that shares what does not change between its versions.
//!
//! Eight levels of sixteen: a change copies one branch on each level and nothing else, however many entries there are, and
//! a look-up is eight steps. Cloning is one count. While nobody shares the map it is changed in place, so building a large
//! one copies nothing.

use std::sync::Arc;

const WAYS: usize = 16;
/// Bits of a key that the top level decides by, counted from the lowest.
const TOP_SHIFT: u32 = 28;

/// The map; see the module's head.
#[derive(Clone, Debug)]
pub(crate) struct Radix<T> {
    root: Arc<Branch<T>>,
    count: usize,
}

#[derive(Clone, Debug)]
struct Branch<T>([Slot<T>; WAYS]);

#[derive(Clone, Debug)]
enum Slot<T> {
    Empty,
    Branch(Arc<Branch<T>>),
    Leaf(T),
}

impl<T> Branch<T> {
    fn empty() -> Branch<T> {
        Branch(std::array::from_fn(|_| Slot::Empty))
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|slot| matches!(slot, Slot::Empty))
    }
}

impl<T> Default for Radix<T> {
    fn default() -> Radix<T> {
        Radix { root: Arc::new(Branch::empty()), count: 0 }
    }
}

impl<T: Clone> Radix<T> {
    /// Entries.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn get(&self, key: u32) -> Option<&T> {
        let mut branch = &self.root;
        let mut shift = TOP_SHIFT;
        loop {
            match branch.0.get(way(key, shift))? {
                Slot::Empty => return None,
                Slot::Leaf(value) => return Some(value),
                Slot::Branch(below) => branch = below,
            }
            shift = shift.checked_sub(4)?;
        }
    }

    /// Puts a value in, in place of one that is there.
    pub(crate) fn insert(&mut self, key: u32, value: T) -> Option<T> {
        let old = put(&mut self.root, key, TOP_SHIFT, value);
        self.count += usize::from(old.is_none());
        old
    }

    pub(crate) fn remove(&mut self, key: u32) -> Option<T> {
        // Looked for first: a miss copies nothing.
        self.get(key)?;
        let old = take(&mut self.root, key, TOP_SHIFT);
        self.count -= usize::from(old.is_some());
        old
    }

    /// The values of the keys from `first` to `last`, in ascending order.
    pub(crate) fn range(&self, first: u32, last: u32) -> Range<'_, T> {
        let stack = if first <= last { vec![Place { branch: &self.root, base: 0, next: 0 }] } else { vec![] };
        Range { stack, first, last }
    }
}

fn way(key: u32, shift: u32) -> usize {
    (key >> shift) as usize % WAYS
}

fn put<T: Clone>(branch: &mut Arc<Branch<T>>, key: u32, shift: u32, value: T) -> Option<T> {
    let slot = Arc::make_mut(branch).0.get_mut(way(key, shift))?;
    if shift == 0 {
        return match std::mem::replace(slot, Slot::Leaf(value)) {
            Slot::Leaf(old) => Some(old),
            _ => None,
        };
    }
    if let Slot::Empty = slot {
        *slot = Slot::Branch(Arc::new(Branch::empty()));
    }
    match slot {
        Slot::Branch(below) => put(below, key, shift - 4, value),
        _ => None,
    }
}

/// Takes an entry out, and the branches that have nothing left.
fn take<T: Clone>(branch: &mut Arc<Branch<T>>, key: u32, shift: u32) -> Option<T> {
    let slot = Arc::make_mut(branch).0.get_mut(way(key, shift))?;
    let Slot::Branch(below) = slot else {
        return match std::mem::replace(slot, Slot::Empty) {
            Slot::Leaf(old) => Some(old),
            _ => None,
        };
    };
    let old = take(below, key, shift.checked_sub(4)?);
    if below.is_empty() {
        *slot = Slot::Empty;
    }
    old
}

/// Where an iteration stands on one level.
struct Place<'a, T> {
    branch: &'a Branch<T>,
    /// The key at which the branch begins.
    base: u32,
    next: usize,
}

/// The values of a range of keys; see [`Radix::range`].
pub(crate) struct Range<'a, T> {
    stack: Vec<Place<'a, T>>,
    first: u32,
    last: u32,
}

impl<'a, T> Iterator for Range<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        // Each round takes one slot of a branch; there are finitely many.
        while let Some(depth) = self.stack.len().checked_sub(1) {
            let shift = TOP_SHIFT - 4 * u32::try_from(depth).unwrap_or(7);
            let place = self.stack.last_mut()?;
            let Some(slot) = place.branch.0.get(place.next) else {
                self.stack.pop();
                continue;
            };
            let base = place.base | u32::try_from(place.next).unwrap_or(0) << shift;
            place.next += 1;
            let end = base | ((1u32 << shift) - 1);
            if end < self.first || base > self.last {
                continue;
            }
            match slot {
                Slot::Empty => {}
                Slot::Leaf(value) => return Some(value),
                Slot::Branch(branch) => self.stack.push(Place { branch, base, next: 0 }),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn it_holds_what_a_sorted_map_holds_and_old_versions_do_not_change(
            steps in proptest::collection::vec((any::<bool>(), 0u32..64, any::<u8>()), 1..200),
            spread in prop_oneof![Just(1u32), Just(0x0100_0001), Just(0x0400_0000)],
            (first, last) in (any::<u32>(), any::<u32>()),
        ) {
            let mut radix = Radix::default();
            let mut model = BTreeMap::new();
            let mut versions = Vec::new();
            for (insert, key, value) in steps {
                let key = key.wrapping_mul(spread);
                if insert {
                    prop_assert_eq!(radix.insert(key, value), model.insert(key, value));
                } else {
                    prop_assert_eq!(radix.remove(key), model.remove(&key));
                }
                prop_assert_eq!(radix.get(key), model.get(&key));
                prop_assert_eq!(radix.len(), model.len());
                versions.push((radix.clone(), model.clone()));
            }
            for (radix, model) in versions {
                prop_assert!(radix.range(0, u32::MAX).eq(model.values()));
                let (first, last) = (first.min(last), first.max(last));
                prop_assert!(radix.range(first, last).eq(model.range(first..=last).map(|(_, value)| value)));
                prop_assert!(radix.range(1, 0).next().is_none());
            }
        }
    }

    #[test]
    fn a_change_shares_all_but_one_branch_of_each_level_with_the_old_version() {
        let mut old = Radix::default();
        for key in 0..0x1_0000u32 {
            old.insert(key, key);
        }
        let mut new = old.clone();
        new.insert(0x1234, 0);
        let (mut shared, mut copied) = (0, 0);
        let mut pairs = vec![(&old.root, &new.root)];
        while let Some((one, other)) = pairs.pop() {
            if Arc::ptr_eq(one, other) {
                shared += 1;
                continue;
            }
            copied += 1;
            for (one, other) in one.0.iter().zip(&other.0) {
                if let (Slot::Branch(one), Slot::Branch(other)) = (one, other) {
                    pairs.push((one, other));
                }
            }
        }
        assert_eq!(copied, 8);
        assert_eq!(shared, 3 * 15, "the other branches of the levels with more than one");
    }
}
