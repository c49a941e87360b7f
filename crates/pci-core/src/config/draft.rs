//! A configuration space being laid out: values and bit classes, byte by byte, before they are packed.

use super::layout::{Bits, Register, Rule};
use pci_spec::{EXTENDED_CONFIG_SPACE_SIZE, config};
use std::collections::BTreeMap;

const DWORDS: usize = EXTENDED_CONFIG_SPACE_SIZE / 4;

pub(super) struct Draft {
    values: Vec<u32>,
    rules: BTreeMap<u16, (Register, Bits)>,
    /// End of what is laid out, in bytes.
    end: u16,
}

impl Draft {
    pub(super) fn new() -> Draft {
        Draft { values: vec![0; DWORDS], rules: BTreeMap::new(), end: config::HEADER_SIZE }
    }

    /// Claims the bytes up to `end`, so that they are kept even where they are 0.
    pub(super) fn extend_to(&mut self, end: u16) {
        self.end = self.end.max(end);
    }

    /// Sets the bits of `value`, of 1, 2 or 4 bytes, at `offset`. No field here crosses a dword.
    pub(super) fn put(&mut self, offset: u16, value: impl Into<u32>) {
        if let Some(dword) = self.values.get_mut(usize::from(offset / 4)) {
            *dword |= in_place(offset, value);
        }
    }

    /// Makes the bits of `mask` take what is written.
    pub(super) fn writable(&mut self, offset: u16, mask: impl Into<u32>) {
        self.bits(offset).writable |= in_place(offset, mask);
    }

    /// Makes the bits of `mask` go to 0 when a 1 is written.
    pub(super) fn clear(&mut self, offset: u16, mask: impl Into<u32>) {
        self.bits(offset).clear |= in_place(offset, mask);
    }

    /// Makes the bits of `mask` survive every reset but the loss of power.
    pub(super) fn sticky(&mut self, offset: u16, mask: impl Into<u32>) {
        self.bits(offset).sticky |= in_place(offset, mask);
    }

    /// Makes the bits of `mask` survive a function level reset.
    pub(super) fn kept_by_flr(&mut self, offset: u16, mask: impl Into<u32>) {
        self.bits(offset).kept_by_flr |= in_place(offset, mask);
    }

    /// Says that a write to the dword at `offset` means more than storing bits.
    pub(super) fn register(&mut self, offset: u16, register: Register) {
        self.entry(offset).0 = register;
    }

    fn bits(&mut self, offset: u16) -> &mut Bits {
        &mut self.entry(offset).1
    }

    fn entry(&mut self, offset: u16) -> &mut (Register, Bits) {
        self.rules.entry(offset / 4).or_insert((Register::Plain, Bits::default()))
    }

    /// The values up to the last capability, and the rules sorted by dword.
    pub(super) fn pack(mut self) -> (Box<[u32]>, Box<[Rule]>) {
        self.values.truncate(usize::from(self.end.div_ceil(4)));
        let rules = self.rules.into_iter().map(|(dword, (register, bits))| Rule { dword, register, bits });
        (self.values.into(), rules.collect())
    }
}

/// `value` moved to the byte of its dword that `offset` names.
fn in_place(offset: u16, value: impl Into<u32>) -> u32 {
    value.into() << (8 * (offset % 4))
}
