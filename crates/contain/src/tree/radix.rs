//! A map from numbers that shares what does not change between its versions.
//!
//! Levels of thirty-two, of which only what is there takes memory. A change copies one branch on each level and nothing else,
//! however many entries there are. Cloning is one count. Look-ups allocate nothing.

use std::sync::Arc;

const BITS: u32 = 5;

/// The map, for keys of `5 * LEVELS` bits; higher bits are not looked at.
#[derive(Clone, Debug)]
pub(crate) struct Radix<T, const LEVELS: u32> {
    root: Branch<T>,
    count: usize,
}

#[derive(Clone, Debug)]
struct Branch<T> {
    /// Which of the 32 ways there are.
    present: u32,
    /// Those, in ascending order.
    slots: Arc<[Slot<T>]>,
}

#[derive(Clone, Debug)]
enum Slot<T> {
    Branch(Branch<T>),
    Leaf(T),
}

impl<T> Branch<T> {
    fn empty() -> Branch<T> {
        Branch { present: 0, slots: Arc::from([]) }
    }

    /// Where a way is, or would be.
    fn index(&self, way: u32) -> usize {
        (self.present & ((1 << way) - 1)).count_ones() as usize
    }

    fn has(&self, way: u32) -> bool {
        self.present & 1 << way != 0
    }

    fn slot(&self, way: u32) -> Option<&Slot<T>> {
        if self.has(way) { self.slots.get(self.index(way)) } else { None }
    }
}

impl<T, const LEVELS: u32> Default for Radix<T, LEVELS> {
    fn default() -> Radix<T, LEVELS> {
        Radix { root: Branch::empty(), count: 0 }
    }
}

fn way(key: u64, level: u32) -> u32 {
    // Five bits always fit.
    u32::try_from(key >> (BITS * level) & 31).unwrap_or(0)
}

impl<T: Clone, const LEVELS: u32> Radix<T, LEVELS> {
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    #[inline]
    pub(crate) fn get(&self, key: u64) -> Option<&T> {
        let mut branch = &self.root;
        let mut level = LEVELS;
        loop {
            level = level.checked_sub(1)?;
            match branch.slot(way(key, level))? {
                Slot::Leaf(value) => return Some(value),
                Slot::Branch(below) => branch = below,
            }
        }
    }

    /// An entry to be changed: its branches are copied if they are shared.
    pub(crate) fn get_mut(&mut self, key: u64) -> Option<&mut T> {
        self.get(key)?;
        let mut branch = &mut self.root;
        let mut level = LEVELS;
        loop {
            level = level.checked_sub(1)?;
            let index = branch.index(way(key, level));
            match Arc::make_mut(&mut branch.slots).get_mut(index)? {
                Slot::Leaf(value) => return Some(value),
                Slot::Branch(below) => branch = below,
            }
        }
    }

    /// Puts a value in, in place of one that is there.
    pub(crate) fn insert(&mut self, key: u64, value: T) -> Option<T> {
        let old = put(&mut self.root, key, LEVELS - 1, value);
        self.count += usize::from(old.is_none());
        old
    }

    pub(crate) fn remove(&mut self, key: u64) -> Option<T> {
        let old = self.get(key)?.clone();
        take(&mut self.root, key, LEVELS - 1);
        self.count -= 1;
        Some(old)
    }

    /// The entry with the highest key that is not above `key`.
    pub(crate) fn floor(&self, key: u64) -> Option<&T> {
        floor(&self.root, key, LEVELS - 1)
    }

    /// All entries in ascending order.
    pub(crate) fn for_each<'a>(&'a self, mut visit: impl FnMut(&'a T)) {
        each(&self.root, &mut visit);
    }
}

fn put<T: Clone>(branch: &mut Branch<T>, key: u64, level: u32, value: T) -> Option<T> {
    let way = way(key, level);
    let index = branch.index(way);
    if branch.has(way) {
        let slot = Arc::make_mut(&mut branch.slots).get_mut(index)?;
        return match slot {
            Slot::Branch(below) => put(below, key, level.checked_sub(1)?, value),
            Slot::Leaf(old) => Some(std::mem::replace(old, value)),
        };
    }
    let slot = match level.checked_sub(1) {
        None => Slot::Leaf(value),
        Some(level) => {
            let mut below = Branch::empty();
            put(&mut below, key, level, value);
            Slot::Branch(below)
        }
    };
    let mut slots = Vec::with_capacity(branch.slots.len() + 1);
    slots.extend(branch.slots.iter().take(index).cloned());
    slots.push(slot);
    slots.extend(branch.slots.iter().skip(index).cloned());
    branch.slots = slots.into();
    branch.present |= 1 << way;
    None
}

/// Takes out an entry that is there, and the branches that have nothing left.
fn take<T: Clone>(branch: &mut Branch<T>, key: u64, level: u32) {
    let way = way(key, level);
    let index = branch.index(way);
    if let Some(level) = level.checked_sub(1)
        && let Some(Slot::Branch(below)) = Arc::make_mut(&mut branch.slots).get_mut(index)
    {
        take(below, key, level);
        if below.present != 0 {
            return;
        }
    }
    let others = branch.slots.iter().enumerate().filter(|(at, _)| *at != index);
    let slots: Vec<_> = others.map(|(_, slot)| slot.clone()).collect();
    branch.slots = slots.into();
    branch.present &= !(1 << way);
}

fn floor<T>(branch: &Branch<T>, key: u64, level: u32) -> Option<&T> {
    let way = way(key, level);
    match branch.slot(way) {
        Some(Slot::Leaf(value)) => return Some(value),
        Some(Slot::Branch(below)) => {
            if let Some(value) = floor(below, key, level.checked_sub(1)?) {
                return Some(value);
            }
        }
        None => {}
    }
    // The last of what is before the way.
    let mut slot = branch.slots.get(branch.index(way).checked_sub(1)?)?;
    loop {
        match slot {
            Slot::Leaf(value) => return Some(value),
            Slot::Branch(below) => slot = below.slots.last()?,
        }
    }
}

fn each<'a, T>(branch: &'a Branch<T>, visit: &mut impl FnMut(&'a T)) {
    for slot in branch.slots.iter() {
        match slot {
            Slot::Leaf(value) => visit(value),
            Slot::Branch(below) => each(below, visit),
        }
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
            steps in proptest::collection::vec((any::<bool>(), 0u64..64, any::<u8>()), 1..150),
            spread in prop_oneof![Just(1u64), Just(0x0100_0001), Just(0x0400_0000_0000_0101)],
            probes in proptest::collection::vec(any::<u64>(), 8),
        ) {
            let mut radix = Radix::<(u64, u8), 13>::default();
            let mut model = BTreeMap::new();
            let mut versions = Vec::new();
            for (insert, key, value) in steps {
                let key = key.wrapping_mul(spread);
                if insert {
                    prop_assert_eq!(radix.insert(key, (key, value)), model.insert(key, (key, value)));
                } else {
                    prop_assert_eq!(radix.remove(key), model.remove(&key));
                }
                prop_assert_eq!(radix.get(key), model.get(&key));
                prop_assert_eq!(radix.len(), model.len());
                for probe in probes.iter().copied().chain([key, key.wrapping_sub(1), key.wrapping_add(1)]) {
                    prop_assert_eq!(radix.floor(probe), model.range(..=probe).next_back().map(|(_, value)| value));
                }
                versions.push((radix.clone(), model.clone()));
            }
            for (radix, model) in versions {
                let mut all = Vec::new();
                radix.for_each(|value| all.push(value));
                prop_assert!(all.into_iter().eq(model.values()));
            }
        }
    }
}
