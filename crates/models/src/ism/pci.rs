//! The function's configuration space.

use pci_core::{BarIndex, BarKind, ConfigSpace, Express, Identity, LayoutError, Msi, Pm};
use pci_spec::ClassCode;

use super::layout::{COMMAND_BAR_BYTES, WINDOW_BYTES};

/// Vendor ID: unregistered, as for the other built-in models. Not IBM's, whose driver speaks another command set.
pub const VENDOR: u16 = 0x1234;
/// Device ID: "IS".
pub const DEVICE: u16 = 0x4953;

/// The BAR with commands and registers.
pub const COMMAND_BAR: u8 = 0;
/// The BAR that is the window to peers; 64-bit, so it takes BAR 3 too.
pub const WINDOW_BAR: u8 = 2;

/// The vectors of MSI.
const VECTORS: u16 = 1;

/// The configuration space. A reset or a way back to D0 is over at once, and the latter keeps what is registered.
///
/// # Errors
/// The layout does not fit together: a mistake in this file.
pub(super) fn config(multi_function: bool) -> Result<ConfigSpace, LayoutError> {
    let identity = Identity::new(VENDOR, DEVICE, ClassCode::NETWORK_OTHER);
    let mut builder = ConfigSpace::builder(identity);
    if multi_function {
        builder = builder.multi_function();
    }
    builder
        .bar(bar(COMMAND_BAR)?, BarKind::Memory32, COMMAND_BAR_BYTES)
        .bar(bar(WINDOW_BAR)?, BarKind::Memory64Prefetchable, WINDOW_BYTES)
        .immediate_readiness()
        .capability(Pm { no_soft_reset: true, immediate_readiness: true, ..Pm::default() })
        .capability(Msi::new(VECTORS))
        .capability(Express::default())
        .aer()
        .build()
}

fn bar(index: u8) -> Result<BarIndex, LayoutError> {
    BarIndex::new(index).ok_or(LayoutError::NoRoom("a BAR"))
}
