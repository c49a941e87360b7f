//! `DEVICE_GET_IRQ_INFO` and `DEVICE_SET_IRQS` (vfio-user protocol, *VFIO_USER_DEVICE_GET_IRQ_INFO*,
//! *VFIO_USER_DEVICE_SET_IRQS*).

use bitflags::bitflags;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Interrupt indexes of a PCI function in the numbering of vfio.
pub const IRQ_COUNT: u32 = 5;

/// The interrupt indexes by name.
pub mod irq_index {
    /// Level-triggered, one vector.
    pub const INTX: u32 = 0;
    /// Message-signalled.
    pub const MSI: u32 = 1;
    /// Message-signalled through a table in a BAR.
    pub const MSIX: u32 = 2;
    /// Reports an uncorrected error.
    pub const ERR: u32 = 3;
    /// Asks the client to release the device.
    pub const REQ: u32 = 4;
}

/// Payload of `DEVICE_GET_IRQ_INFO` and of its reply: 16 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct IrqInfo {
    /// Bytes that the sender has room for.
    pub argsz: u32,
    /// [`IrqInfoFlags`].
    pub flags: u32,
    /// One of [`irq_index`].
    pub index: u32,
    /// Vectors of this index.
    pub count: u32,
}

bitflags! {
    /// Flags of [`IrqInfo`].
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct IrqInfoFlags: u32 {
        /// Signals through eventfds.
        const EVENTFD = 1 << 0;
        /// Can be masked and unmasked.
        const MASKABLE = 1 << 1;
        /// Masks itself when it fires.
        const AUTOMASKED = 1 << 2;
        /// The number of vectors in use cannot change without disabling all first.
        const NORESIZE = 1 << 3;
    }
}

/// Payload of `DEVICE_SET_IRQS`: 20 bytes, then `count` bytes with [`SetIrqsFlags::DATA_BOOL`]. Eventfds
/// come as descriptors beside the message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SetIrqs {
    /// Bytes of this payload.
    pub argsz: u32,
    /// [`SetIrqsFlags`].
    pub flags: u32,
    /// One of [`irq_index`].
    pub index: u32,
    /// First vector.
    pub start: u32,
    /// Vectors.
    pub count: u32,
}

bitflags! {
    /// Flags of [`SetIrqs`]: exactly one kind of data and one action.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct SetIrqsFlags: u32 {
        /// No data: the action applies to every vector of the range.
        const DATA_NONE = 1 << 0;
        /// One byte a vector: zero leaves it alone.
        const DATA_BOOL = 1 << 1;
        /// One eventfd a vector; none at all takes the eventfds away.
        const DATA_EVENTFD = 1 << 2;
        /// Masks.
        const ACTION_MASK = 1 << 3;
        /// Unmasks.
        const ACTION_UNMASK = 1 << 4;
        /// Sets the eventfd, or fires the interrupt.
        const ACTION_TRIGGER = 1 << 5;
    }
}
