//! Names that an installation gives once: function and user-defined identifiers.

use std::fmt;

/// A function identifier: names a place of a function for ever, whatever stands there. Any value; unique in a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fid(pub u32);

/// A user-defined identifier, which a guest may make the domain number of the function; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uid(pub u16);

impl Uid {
    /// No identifier was given.
    pub const NONE: Uid = Uid(0);

    /// Whether one was given.
    #[must_use]
    pub const fn is_given(self) -> bool {
        self.0 != 0
    }
}

/// Eight hexadecimal digits, as a hot-plug slot is named (ZP-09).
impl fmt::Display for Fid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// Four hexadecimal digits.
impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}", self.0)
    }
}
