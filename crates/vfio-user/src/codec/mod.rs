//! The messages of the vfio-user protocol as bytes: headers, payloads, and the version negotiation.
//!
//! Facts and pure functions only. Every parse function is total: whatever bytes come in, it returns a value
//! or the errno that the error reply carries, and it neither panics nor allocates in proportion to a count
//! that the peer claims. Nothing here touches a socket, a descriptor or a device.
//!
//! All integers are in the byte order of the host: both ends of the UNIX socket run on one machine
//! (vfio-user protocol 0.x, *Header* and *Commands*).

mod capability;
mod device;
mod dma;
mod feature;
mod header;
mod irq;
mod region;
mod request;
mod version;

pub(crate) use capability::wire_size;
pub use capability::{CapabilityHeader, MAX_AREAS, RegionCapabilities, RegionType, SparseArea, SparseMmap};
pub use device::{DeviceFlags, DeviceInfo, REGION_COUNT};
pub use dma::{DmaAccess, DmaMap, DmaMapFlags, DmaUnmap, DmaUnmapFlags};
pub use feature::{Feature, FeatureFlags};
pub use header::{Command, Header, HeaderFlags, MessageType};
pub use irq::{IRQ_COUNT, IrqInfo, IrqInfoFlags, SetIrqs, SetIrqsFlags, irq_index};
pub use region::{MultiWrite, RegionAccess, RegionInfo, RegionInfoFlags, RegionIoFds};
pub use request::Request;
pub use version::{Capabilities, Introduction, VersionMessage, encode_version};

use rustix::io::Errno;
use zerocopy::{FromBytes, Immutable, KnownLayout};

/// Bytes of a message header.
pub const HEADER_SIZE: usize = 16;

/// Default and largest `max_data_xfer_size`, in bytes: what one region access may carry.
pub const MAX_DATA_XFER_SIZE: u32 = 1 << 20;

/// Largest message this implementation buffers, in bytes: the header, the fixed part of the longest command
/// that carries data, and the data itself.
pub const MAX_MESSAGE_SIZE: usize = HEADER_SIZE + 32 + MAX_DATA_XFER_SIZE as usize;

/// Takes a fixed-size structure off the front of `bytes`.
///
/// # Errors
/// `EINVAL` when `bytes` is shorter than the structure.
pub(crate) fn take<T: FromBytes + KnownLayout + Immutable>(bytes: &[u8]) -> Result<(T, &[u8]), Errno> {
    T::read_from_prefix(bytes).map_err(|_| Errno::INVAL)
}
