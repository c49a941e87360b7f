//! The widths of a configuration access.

/// How many bytes an access moves; it is aligned to them (CFG-01).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Width {
    /// 1 byte.
    Byte,
    /// 2 bytes.
    Word,
    /// 4 bytes.
    Dword,
}

impl Width {
    /// Bytes: 1, 2 or 4.
    #[must_use]
    pub const fn bytes(self) -> u16 {
        match self {
            Width::Byte => 1,
            Width::Word => 2,
            Width::Dword => 4,
        }
    }

    /// All-ones of this width: what a failed read gives (CFG-03).
    #[must_use]
    pub const fn all_ones(self) -> u32 {
        match self {
            Width::Byte => 0xff,
            Width::Word => 0xffff,
            Width::Dword => 0xffff_ffff,
        }
    }

    /// Whether an access of this width may start at `register`.
    #[must_use]
    pub const fn is_aligned(self, register: u16) -> bool {
        register.is_multiple_of(self.bytes())
    }

    /// The widest aligned access at `register` within `length` bytes; `None` for no bytes.
    #[must_use]
    pub const fn widest(register: u16, length: usize) -> Option<Width> {
        if length >= 4 && register.is_multiple_of(4) {
            Some(Width::Dword)
        } else if length >= 2 && register.is_multiple_of(2) {
            Some(Width::Word)
        } else if length >= 1 {
            Some(Width::Byte)
        } else {
            None
        }
    }
}
