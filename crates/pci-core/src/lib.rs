//! A PCI function: configuration space, capabilities, BARs, power and reset.
//!
//! A device model describes its [`ConfigSpace`] with a builder, implements [`Device`], and puts both behind a gate as
//! a [`Function`]. A consumer's side (`assign`) reads and writes configuration space and BARs through the function,
//! which lets every access through the gate, carries out the resets and power changes that configuration writes ask
//! for, and answers all-ones where nobody is there to answer. [`dump`] prints a configuration space for `lspci -F`.
//!
//! What this crate does **not** do: bit positions (`pci-spec`), interrupts and DMA (`assign`), wire formats, files,
//! threads of its own.
//!
//! Concurrency: no locks here. Configuration space is atomic dwords; everything that must not overlap is kept apart
//! by the function's gate. No call into a [`Device`] or an [`Observer`] is made under a lock of this crate.

pub mod config;
mod device;
mod dropped;
pub mod dump;
mod error;
mod function;
mod observe;

pub use config::{
    BarIndex, BarKind, BarLayout, CONFIG_SIZE, Capability, Change, ConfigEffects, ConfigSpace,
    ConfigSpaceBuilder, Express, ExtendedCapability, Identity, InterruptLayout, Layout, LayoutError, Msi,
    MsiState, Msix, MsixLayout, MsixState, Pm, ResetKind, Vendor,
};
pub use device::{Device, MappedArea, MappedAreas};
pub use dropped::Dropped;
pub use error::{AccessError, ResetError};
pub use function::Function;
pub use observe::{FunctionEvent, Observer};
pub use pci_spec::Command;
pub use pci_spec::capability::msix::Location;
pub use pci_spec::capability::pm::PowerState;
pub use pci_spec::config::InterruptPin;
