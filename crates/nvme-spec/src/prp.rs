//! Physical Region Page arithmetic. NVMe Base 1.4 s4.3 Physical Region Page Entry and List.
//!
//! A transfer starts anywhere (dword aligned) in the page of PRP1 and goes on in whole pages. Up to two pages PRP2 is the
//! second page; beyond, it points to a list, of which the last entry of a page points to the next list page if more than
//! one entry is still to come.

/// Length of an entry of a list, in bytes.
pub const ENTRY_SIZE: u64 = 8;
/// Entries and PRP1 are multiples of 4.
pub const DWORD_MASK: u64 = 0b11;

/// Memory page size that the host selected with CC.MPS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PageSize {
    shift: u32,
}

impl PageSize {
    /// 4 KiB, CC.MPS = 0.
    pub const MIN: Self = Self { shift: 12 };

    /// From CC.MPS (0 to 15; higher bits are cut): 4 KiB << `mps`, up to 128 MiB.
    #[must_use]
    pub const fn from_mps(mps: u8) -> Self {
        Self { shift: 12 + (mps & 0xf) as u32 }
    }

    /// log2 of the size.
    #[must_use]
    pub const fn shift(self) -> u32 {
        self.shift
    }

    /// Size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        1 << self.shift
    }

    /// Bits of an address within a page.
    #[must_use]
    pub const fn offset_mask(self) -> u64 {
        self.bytes() - 1
    }

    /// Offset of an address in its page.
    #[must_use]
    pub const fn offset(self, address: u64) -> u64 {
        address & self.offset_mask()
    }

    /// Start of the page of an address.
    #[must_use]
    pub const fn base(self, address: u64) -> u64 {
        address & !self.offset_mask()
    }

    /// Whether an address starts a page.
    #[must_use]
    pub const fn is_aligned(self, address: u64) -> bool {
        self.offset(address) == 0
    }

    /// Bytes from an address to the end of its page, 1 to [`bytes`](Self::bytes).
    #[must_use]
    pub const fn remaining(self, address: u64) -> u64 {
        self.bytes() - self.offset(address)
    }

    /// Pages that a transfer of `length` bytes from `address` touches; 0 for an empty one.
    #[must_use]
    pub const fn pages(self, address: u64, length: u64) -> u64 {
        let first = self.remaining(address);
        if length == 0 {
            0
        } else if length <= first {
            1
        } else {
            1 + (length - first).div_ceil(self.bytes())
        }
    }

    /// List entries from `list_pointer` to the end of its page: the last is a chain pointer where more must follow.
    #[must_use]
    pub const fn list_entries(self, list_pointer: u64) -> u64 {
        self.remaining(list_pointer) / ENTRY_SIZE
    }
}

/// Whether `prp1` may start a transfer. Otherwise: PRP Offset Invalid.
#[must_use]
pub const fn is_valid_first(prp1: u64) -> bool {
    prp1 & DWORD_MASK == 0
}

/// Whether `pointer` may point to a list: a multiple of 8. Otherwise: PRP Offset Invalid.
#[must_use]
pub const fn is_valid_list_pointer(pointer: u64) -> bool {
    pointer & (ENTRY_SIZE - 1) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_splits_an_address() {
        let page = PageSize::from_mps(0);
        assert_eq!(page, PageSize::MIN);
        assert_eq!((page.bytes(), page.base(0x1_2345), page.offset(0x1_2345)), (4096, 0x1_2000, 0x345));
        assert_eq!((page.remaining(0x1000), page.remaining(0x1ffc)), (4096, 4));
        assert!(page.is_aligned(0x3000) && !page.is_aligned(0x3004));
        assert_eq!(PageSize::from_mps(4).bytes(), 64 << 10);
    }

    #[test]
    fn pages_touched_depend_on_the_first_offset() {
        let page = PageSize::MIN;
        assert_eq!(page.pages(0x1000, 0), 0);
        assert_eq!(page.pages(0x1000, 4096), 1);
        assert_eq!(page.pages(0x1004, 4096), 2);
        assert_eq!(page.pages(0x1000, 128 << 10), 32);
        assert_eq!(page.pages(0x1800, 128 << 10), 33);
        assert_eq!(page.pages(u64::MAX, u64::MAX), (1 << 52) + 1, "no overflow at the top");
    }

    #[test]
    fn a_list_ends_with_its_page() {
        assert_eq!(PageSize::MIN.list_entries(0x5000), 512);
        assert_eq!(PageSize::MIN.list_entries(0x5ff8), 1);
        assert!(is_valid_list_pointer(0x5ff8) && !is_valid_list_pointer(0x5ffc));
        assert!(is_valid_first(0x1004) && !is_valid_first(0x1002));
    }
}
