//! A PCI function in the hands of a consumer: regions, interrupts, DMA map, reset.
//!
//! Two sides meet here. The device model holds a [`Port`]: it reads and writes the consumer's memory
//! ([`DmaMap`], [`GuestSlice`], [`HeldSlice`]) and signals interrupts ([`Interrupts`]), always under a gate
//! pass. The consumer (a vfio-user session, a driver in this process) holds an [`Assignment`]: it attaches,
//! asks for information, wires eventfds, maps its memory and leaves, with the errnos of Linux's vfio.
//!
//! What this crate does not do: wire formats and sockets (`vfio-user`), configuration space rules
//! (`pci-core`), device behaviour (`models`).
//!
//! # Concurrency
//! The device side never locks: its tables are [`gate::GateCell`]s, read under a pass and replaced by the
//! consumer's side under `close_short`. The consumer's side plans under a ranked lock, releases it, and only then
//! closes the gate or waits; no lock of this crate is held across a wait, a system call on a client's file
//! or a call into a device. Consumers are hostile: counts, ranges, files and signals they choose are bounded
//! by [`Limits`], and a client that shrinks its memory file costs an error, not the process ([`::mapping::sigbus`]).

// Law 1: whatever waits takes `&mut ThreadToken`; see clippy.toml.
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod added;
mod assignment;
mod budget;
mod dma;
mod error;
mod event;
mod eventfd;
mod interrupts;
#[allow(unsafe_code, reason = "one raw system call that signals an eventfd without ever blocking")]
mod kick;
mod limits;
#[allow(unsafe_code, reason = "maps files that a client passed")]
mod mapping;
mod observe;
mod patience;
mod port;
pub mod ranks;
mod region;
mod relay;
#[allow(unsafe_code, reason = "exchanges what is behind a descriptor that others use")]
mod sever;
mod tap;

pub use added::{AddRegionError, AddedRegion};
pub use assignment::{
    Assignment, AttachError, Attached, DeviceInfo, RegionMapRequest, Requests, SharedRegion,
};
pub use dma::{DmaAccess, DmaMap, DmaMapFlags, DmaMapRequest, GuestSlice, HeldSlice, Unmapped};
pub use error::{DmaError, Errno, RequestError};
pub use event::{Event, EventSink};
pub use interrupts::{
    Interrupts, IrqAction, IrqData, IrqIndex, IrqInfo, IrqInfoFlags, IrqMode, SetIrqs, Wanted,
};
pub use kick::{drain, kick};
pub use limits::Limits;
pub use mapping::Permissions;
pub use observe::Reporter;
pub use patience::Patience;
pub use port::Port;
pub use region::{RegionFlags, RegionIndex, RegionInfo, RegionType};
pub use relay::{DmaRelay, InterruptRelay, Mapped};
pub use tap::{DmaTap, InterruptTap, InterruptVerdict};
