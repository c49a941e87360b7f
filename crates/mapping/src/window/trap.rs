//! Accesses by call, where the system permits no page faults in user space.

use crate::MappingError;
use gate::{Deadline, ThreadToken};

/// Carries out accesses of a mapping that is none, because the system permits no page faults in user space.
///
/// `offset` is from the *region's* start, in bytes, aligned to the length of `data`, which is 1, 2, 4 or 8 bytes,
/// little endian. An access waits while the function is closed, at most until `until`.
pub trait Trap: Send + Sync {
    /// Reads.
    ///
    /// # Errors
    /// [`MappingError::Disabled`] at once if the region cannot be reached; the mapping waits then if it is to wait.
    fn read(
        &self,
        token: &mut ThreadToken,
        region: u32,
        offset: u64,
        data: &mut [u8],
        until: Deadline,
    ) -> Result<(), MappingError>;

    /// Writes.
    ///
    /// # Errors
    /// As [`Trap::read`].
    fn write(
        &self,
        token: &mut ThreadToken,
        region: u32,
        offset: u64,
        data: &[u8],
        until: Deadline,
    ) -> Result<(), MappingError>;
}
