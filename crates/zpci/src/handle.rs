//! Function handles.

use std::fmt;

/// A function handle: what instructions and commands name a function by. Bit 31 says that it is enabled (ZP-01); the rest means
/// nothing to who has it. Every change between enabled and disabled, and every device, has a handle of its own, which names
/// nothing any more once the next has been given out.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle(u32);

impl Handle {
    /// Names nothing, ever.
    pub const NONE: Handle = Handle(0);

    /// Bit 31.
    const ENABLED: u32 = 1 << 31;

    /// A handle as it stands in a request: whatever somebody wrote there.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Handle {
        Handle(bits)
    }

    /// As it stands in a request.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether bit 31 is set. Whether it names anything is another question.
    #[must_use]
    pub const fn is_enabled(self) -> bool {
        self.0 & Handle::ENABLED != 0
    }

    /// Whether it is [`Handle::NONE`].
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Of its parts; `below` has bit 31 clear.
    pub(crate) const fn of(below: u32, enabled: bool) -> Handle {
        Handle(below & !Handle::ENABLED | if enabled { Handle::ENABLED } else { 0 })
    }

    /// All bits but bit 31.
    pub(crate) const fn below(self) -> u32 {
        self.0 & !Handle::ENABLED
    }
}

/// Eight hexadecimal digits with `0x`.
impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({self})")
    }
}
