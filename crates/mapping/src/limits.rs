//! Bounds on what one consumer may map.

/// Bounds for the consumers of one function, together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MappingLimits {
    /// Mappings alive at once, in this process and handed to another.
    pub mappings: usize,
    /// Bytes of address space of mappings in this process.
    pub bytes: u64,
    /// Bytes handed to another process. Hiding them costs the time and the memory of filling them, so it is less.
    pub shared_bytes: u64,
}

impl Default for MappingLimits {
    fn default() -> MappingLimits {
        MappingLimits { mappings: 64, bytes: 64 << 30, shared_bytes: 64 << 20 }
    }
}
