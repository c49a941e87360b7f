//! A PCI function: configuration space, capabilities, BARs, power and reset.
//!
//! A device model describes its [`ConfigSpace`] with a builder, implements [`Device`], and puts both behind a gate as
//! a [`Function`]. A consumer's side (`assign`) reads and writes configuration space and BARs through the function,
//! which lets every access through the gate, carries out the resets and power changes that configuration writes ask
//! for, and answers all-ones where nobody is there to answer. [`dump`] prints a configuration space for `lspci -F`.
//!
//! Configuration accesses take the way of the hardware if the function is put [behind](Function::behind) a
//! [`HostBridge`](mechanism::HostBridge): ECAM, two ports, firmware calls. [`access`] has what users name and open.
//!
//! What this crate does **not** do: bit positions (`pci-spec`), interrupts and DMA (`assign`), wire formats, files,
//! threads of its own.
//!
//! Concurrency: configuration space is atomic dwords, and everything that must not overlap is kept apart by the
//! function's gate. Reads take no lock; there are two ([`ranks`]): one orders the writes to a function's registers, the
//! other the steps of a mechanism that has several. No call into a [`Device`] or an [`Observer`] is made under them.

// Law 1: whatever waits takes `&mut ThreadToken`; see clippy.toml.
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

pub mod access;
mod block;
pub mod config;
mod device;
mod dropped;
pub mod dump;
mod error;
mod fault;
mod function;
pub mod mechanism;
mod observe;
mod power;
mod power_step;
mod preserve;
pub mod ranks;
pub mod recovery;
mod reset_step;
mod tap;
mod time;
mod waits;

pub use access::{ConfigAddress, ConfigStatus, Errno, Presence, Width};
pub use block::{BarAccess, BlockRefused};
pub use config::{
    Af, BarIndex, BarKind, BarLayout, BusNumbers, CONFIG_SIZE, Capability, Change, ConfigEffects,
    ConfigSpace, ConfigSpaceBuilder, ErrorRecords, Express, ExtendedCapability, Identity, InterruptLayout,
    Layout, LayoutError, Msi, MsiState, Msix, MsixLayout, MsixState, Pm, PortContainment, ROUTING_MARKS,
    ResetKind, RootErrors, RoutingChanges, RoutingMark, Slot, SrIov, SrIovLayout, SrIovState, Vendor,
};
pub use device::{Device, DeviceRegion, FIRST_DEVICE_REGION, Mappable, VirtualFunction};
pub use dropped::Dropped;
pub use error::{AccessError, ResetError};
pub use fault::{FaultName, InjectError};
pub use function::{Function, Inside, IoState, PENDING_POLLS, READS_WHILE_FROZEN, Written};
pub use observe::{FunctionEvent, Observer};
pub use pci_spec::Command;
pub use pci_spec::capability::msix::Location;
pub use pci_spec::capability::pm::PowerState;
pub use pci_spec::config::InterruptPin;
pub use power::{DeviceState, PowerDelays};
pub use power_step::{PowerStep, Progress, Stage};
pub use preserve::{Preserve, PreserveError};
pub use recovery::{ErrorSign, Sentinel};
pub use reset_step::ResetStep;
pub use tap::{ReadVerdict, Tap, TapAt, WriteVerdict};
pub use time::{RealTime, StaysClosed, Time, VirtualTime};
pub use waits::{NoAnswer, WaitRegion, Waits};
