//! Parts of a device's memory that consumers may map.

/// A part of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Area {
    /// Offset in the region and in its memory alike, in bytes; a multiple of the page size.
    pub offset: u64,
    /// Length in bytes; a multiple of the page size.
    pub size: u64,
    /// What lies there.
    pub holds: Holds,
}

/// What lies in an area, which decides how it is hidden from another process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Holds {
    /// Data that consumers read back. Hidden by filling it with all-ones, and brought back afterwards.
    #[default]
    Data,
    /// Doorbells: only stores mean something, and the device acts on them under its gate. Never filled, so that no store is
    /// lost while the function is frozen.
    Doorbells,
}
