//! The handles of one index, each given out once.

use crate::handle::Handle;

/// How the 31 bits of a handle below the enabled bit are divided: generation above, index below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    index_bits: u32,
    generation_bits: u32,
}

impl Layout {
    /// Bits of an index: as many functions as a machine may have.
    pub(crate) const INDEX_BITS: u32 = 12;
    /// Bits of a generation at most.
    pub(crate) const GENERATION_BITS: u32 = 31 - Layout::INDEX_BITS;

    /// Widths are cut to what a handle has room for, and are one bit at least.
    pub(crate) const fn new(index_bits: u32, generation_bits: u32) -> Layout {
        Layout {
            index_bits: within(index_bits, Layout::INDEX_BITS),
            generation_bits: within(generation_bits, Layout::GENERATION_BITS),
        }
    }

    /// How many indexes there are.
    pub(crate) const fn indexes(self) -> u32 {
        1 << self.index_bits
    }

    const fn last_generation(self) -> u32 {
        (1 << self.generation_bits) - 1
    }

    /// The index of whatever `handle` names, if it names anything. Below [`Layout::indexes`].
    #[inline]
    pub(crate) const fn index(self, handle: Handle) -> u32 {
        handle.below() & (self.indexes() - 1)
    }
}

const fn within(bits: u32, most: u32) -> u32 {
    if bits < 1 {
        1
    } else if bits > most {
        most
    } else {
        bits
    }
}

/// The handles of one index that have not been given out yet. There is one of it for each index and it is never copied, so that no
/// handle is given out twice; when it is used up, so is the index.
#[derive(Debug)]
pub(crate) struct Series {
    layout: Layout,
    index: u32,
    /// The last one given out; 0 of a fresh index, so that no handle is [`Handle::NONE`].
    generation: u32,
}

impl Series {
    /// All handles of an index. Called once for each index.
    pub(crate) const fn all(layout: Layout, index: u32) -> Series {
        Series { layout, index, generation: 0 }
    }

    pub(crate) const fn index(&self) -> u32 {
        self.index
    }

    /// Whether none is left.
    pub(crate) const fn is_used_up(&self) -> bool {
        self.generation >= self.layout.last_generation()
    }

    /// The next handle.
    pub(crate) fn next(&mut self, enabled: bool) -> Option<Handle> {
        if self.is_used_up() {
            return None;
        }
        self.generation += 1;
        Some(Handle::of(self.generation << self.layout.index_bits | self.index, enabled))
    }
}
