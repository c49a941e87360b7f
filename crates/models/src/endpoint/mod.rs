//! An endpoint for tests: memory BARs, DMA in both directions, interrupts, virtual functions.
//!
//! It is what a driver author or the author of a virtual machine monitor wants beside a real device: every path of
//! PCI, each under the host's control, and nothing else. Registers and commands follow the layout of Linux's
//! endpoint test function, so that the driver `pci_endpoint_test` of a guest drives it (bound by `new_id`, as the
//! identification is our own).
//!
//! * [`build`] makes a function of it, ready to be given to a consumer;
//! * `registers` says what lies where in BAR 0, `commands` what a command does; behind BAR 2 is plain memory of any size;
//! * the first region of the device's own has the `history` of commands, and room to scribble.
//!
//! What this model does **not** do: a DMA engine of its own thread. A command runs to its end within the write that
//! starts it, which bounds what one may ask for ([`MAX_TRANSFER`]).
//!
//! Concurrency: registers and memory are atomics; nothing is locked. Memory may be shared with other processes.

mod commands;
mod faults;
mod function;
mod history;
mod pci;
mod preserve;
mod registers;

use std::ops::RangeInclusive;
use std::sync::Arc;

use assign::{Assignment, EventSink, Limits, Port, Reporter};
use gate::Gate;
use pci_core::{BarIndex, Function, LayoutError};
use pci_spec::bar::ROM_MAX_SIZE;

pub use commands::MAX_TRANSFER;
pub use pci::{DEVICE, VENDOR, VF_DEVICE};

use function::Endpoint;

/// An endpoint-test function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Virtual functions that can be enabled, at most [`MAX_VFS`]; 0 for a function without SR-IOV. Each has 64 KiB of memory
    /// and no ROM.
    pub vfs: u16,
    /// Other functions of the same device stand beside it.
    pub multi_function: bool,
    /// Bytes of the memory BAR, a power of two in [`MEMORY_SIZES`]. What is not touched takes no memory.
    pub memory: u64,
    /// Whether consumers may map the memory BAR and the region of the device's own.
    pub mapped: bool,
    /// The image in the expansion ROM, 1 byte to [`MAX_ROM`]. The ROM's size is the next power of two, and what lies beyond
    /// the image reads all-ones (VF-16).
    pub rom: Option<Arc<[u8]>>,
}

impl Default for Config {
    fn default() -> Config {
        Config { vfs: 0, multi_function: false, memory: 64 << 10, mapped: true, rom: None }
    }
}

/// Sizes of the memory BAR, in bytes: a page, so that it can be mapped, to 64 GiB.
pub const MEMORY_SIZES: RangeInclusive<u64> = 4 << 10..=64 << 30;

/// Longest image of a ROM, in bytes.
pub const MAX_ROM: u64 = ROM_MAX_SIZE;

/// Most virtual functions: with the physical one they fill one bus.
pub const MAX_VFS: u16 = 255;

/// Builds an endpoint-test function and what a consumer needs to use it.
///
/// # Errors
/// The memory or the ROM image has a size that it cannot have.
pub fn build(
    name: &str,
    config: &Config,
    events: Arc<dyn EventSink>,
) -> Result<Arc<Assignment>, LayoutError> {
    build_with(Gate::new(name), config, events, |function| function)
}

/// As [`build`], behind this gate: a new one, or the [successor](Gate::successor) of that of the last device in the same
/// place. `placed` sees the function before anybody else does, to put it behind a host bridge or on another clock.
///
/// # Errors
/// As [`build`].
pub fn build_with(
    gate: Gate,
    config: &Config,
    events: Arc<dyn EventSink>,
    placed: impl FnOnce(Function) -> Function,
) -> Result<Arc<Assignment>, LayoutError> {
    check_memory(config.memory)?;
    let space = Arc::new(pci::physical(config)?);
    let name = gate.name().to_owned();
    let port = Port::new(&gate, Arc::clone(&space), Arc::clone(&events));
    let device = Arc::new(Endpoint::physical(Arc::clone(&port), Arc::clone(&events), config));
    let function = Function::new(name, gate, space, device).observed_by(Reporter::new(events));
    let function = Arc::new(placed(function));
    Ok(Assignment::new(function, port, Limits::default()))
}

fn check_memory(size: u64) -> Result<(), LayoutError> {
    let index = BarIndex::new(pci::MEMORY_BAR).ok_or(LayoutError::NoRoom("a BAR"))?;
    if MEMORY_SIZES.contains(&size) { Ok(()) } else { Err(LayoutError::BarSize { index, size }) }
}
