//! Regions that somebody adds to a function: they are the host's, not the device's.
//!
//! Some interfaces reach a function beside its registers: a request with its parameters goes in as one write, and the host
//! carries it out on the function on behalf of its consumer. Such a region stands behind those of the device's own
//! ([`Assignment::add_region`](crate::Assignment::add_region)), and the consumer finds it as it finds those.

use std::sync::Arc;

use gate::{Deadline, ThreadToken};
use pci_core::DeviceRegion;
use thiserror::Error;

use crate::error::RequestError;

/// What is behind an added region.
///
/// A request arrives whole and once, as the consumer made it: it is not cut into the accesses of a bus, since its bytes
/// belong together. It is called with nothing held, from as many threads at once as make requests.
///
/// A function that is gone is an error here (ENODEV) and not all-ones: whoever asked for something is to know that it was
/// not done. So it is told, by [`RegionInfo::fails_when_gone`](crate::RegionInfo::fails_when_gone), and on a connection that
/// outlives the function too.
pub trait AddedRegion: Send + Sync {
    /// Kind, size and permissions; the same at every call.
    fn region(&self) -> DeviceRegion;

    /// Reads `data.len()` bytes at `offset`. Neither has been compared with the region. Waits to `until` while the function
    /// is blocked; `until` is asked only if it has to, since asking starts the time of the requests that stand behind.
    ///
    /// # Errors
    /// The region's own. ENODEV: the function is gone. The consumer then finds `data` all-ones.
    fn read(
        &self,
        token: &mut ThreadToken,
        offset: u64,
        data: &mut [u8],
        until: &mut dyn FnMut() -> Deadline,
    ) -> Result<(), RequestError>;

    /// Writes `data` at `offset`. As [`AddedRegion::read`] otherwise.
    ///
    /// # Errors
    /// As there.
    fn write(
        &self,
        token: &mut ThreadToken,
        offset: u64,
        data: &[u8],
        until: &mut dyn FnMut() -> Deadline,
    ) -> Result<(), RequestError>;
}

/// Why a region was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AddRegionError {
    /// A consumer has the function: it has been told how many regions there are.
    #[error("a consumer has the function; regions are added before one attaches")]
    InUse,
    /// There is one already.
    #[error("the function has an added region already")]
    Taken,
}

/// An added region in its place.
pub(crate) struct Added {
    /// Its place among [`RegionIndex::Device`](crate::RegionIndex::Device).
    pub(crate) nth: usize,
    pub(crate) behind: Arc<dyn AddedRegion>,
}
