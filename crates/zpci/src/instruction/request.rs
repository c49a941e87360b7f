//! What an instruction names: a function, one of its address spaces, a length.

use crate::handle::Handle;
use pci_core::BarIndex;
use std::fmt;

/// The PCI address space of an instruction, as it stands in its request: any byte. Only 0 to 5 and 15 mean something (ZP-12).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AddressSpace(u8);

/// What an address space stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// A BAR, 0 to 5.
    Bar(BarIndex),
    /// Configuration space.
    Config,
}

impl AddressSpace {
    /// Configuration space.
    pub const CONFIG: AddressSpace = AddressSpace(15);

    /// Whatever somebody wrote there.
    #[must_use]
    pub const fn from_code(code: u8) -> AddressSpace {
        AddressSpace(code)
    }

    /// A BAR. The ROM is no address space: [`BarIndex::ROM`] makes one that stands for nothing.
    #[must_use]
    pub const fn bar(bar: BarIndex) -> AddressSpace {
        AddressSpace(bar.get())
    }

    /// As it stands in a request.
    #[must_use]
    pub const fn code(self) -> u8 {
        self.0
    }

    /// What it stands for; `None` if for nothing.
    #[inline]
    #[must_use]
    pub const fn space(self) -> Option<Space> {
        if self.0 == AddressSpace::CONFIG.0 {
            return Some(Space::Config);
        }
        match BarIndex::new(self.0) {
            Some(bar) if self.0 < BarIndex::ROM.get() => Some(Space::Bar(bar)),
            _ => None,
        }
    }
}

impl fmt::Debug for AddressSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.space() {
            Some(Space::Config) => f.write_str("configuration space"),
            Some(Space::Bar(bar)) => write!(f, "{bar}"),
            None => write!(f, "address space {}", self.0),
        }
    }
}

/// What an instruction names beside its offset and its data. Nothing of it is known to be valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The function.
    pub handle: Handle,
    /// Where in it.
    pub space: AddressSpace,
    /// Bytes.
    pub length: u16,
}

impl Request {
    /// A request.
    #[must_use]
    pub const fn new(handle: Handle, space: AddressSpace, length: u16) -> Request {
        Request { handle, space, length }
    }

    /// Of the register that an instruction is given: the handle in the upper half, the address space in bits 16 to 23, the
    /// length in bits 0 to 15. Other bits are none of its parts.
    #[must_use]
    pub const fn from_word(word: u64) -> Request {
        let [low, high, space, _, handle @ ..] = word.to_le_bytes();
        Request {
            handle: Handle::from_bits(u32::from_le_bytes(handle)),
            space: AddressSpace(space),
            length: u16::from_le_bytes([low, high]),
        }
    }

    /// As the register that an instruction is given.
    #[must_use]
    pub const fn word(self) -> u64 {
        (self.handle.bits() as u64) << 32 | (self.space.0 as u64) << 16 | self.length as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_word_with_its_parts_where_the_architecture_has_them() {
        let request = Request::new(Handle::from_bits(0x8123_4567), AddressSpace::CONFIG, 0x80);
        assert_eq!(request.word(), 0x8123_4567_000f_0080);
        assert_eq!(Request::from_word(request.word()), request);
        assert_eq!(
            Request::from_word(request.word() | 0x0c00_0000),
            request,
            "an old status is no part of it"
        );
        let full = Request::new(Handle::from_bits(u32::MAX), AddressSpace::from_code(0xff), u16::MAX);
        assert_eq!(full.word(), 0xffff_ffff_00ff_ffff);
        assert_eq!(Request::from_word(full.word()), full);
    }

    #[test]
    fn zp_12_the_address_spaces_are_six_bars_and_configuration_space() {
        for code in 0..=u8::MAX {
            let space = AddressSpace::from_code(code);
            assert_eq!(space.code(), code);
            match space.space() {
                Some(Space::Bar(bar)) => assert!(code < 6 && bar.get() == code, "{code}"),
                Some(Space::Config) => assert_eq!(code, 15),
                None => assert!(code >= 6 && code != 15, "{code}"),
            }
        }
        assert_eq!(AddressSpace::bar(BarIndex::ROM).space(), None);
    }
}
