//! The state of a function's channel.

/// What a function's driver can do with it; with Linux's numbers (AER-02).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Channel {
    /// Everything works.
    Normal = 1,
    /// Reads are all-ones; writes and DMA go nowhere.
    Frozen = 2,
    /// As frozen, for ever.
    PermFailure = 3,
}
