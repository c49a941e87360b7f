//! An endpoint for tests: memory BARs, DMA in both directions, interrupts, virtual functions.
//!
//! It is what a driver author or the author of a virtual machine monitor wants beside a real device: every path of
//! PCI, each under the host's control, and nothing else. Registers and commands follow the layout of Linux's
//! endpoint test function, so that the driver `pci_endpoint_test` of a guest drives it (bound by `new_id`, as the
//! identification is our own).
//!
//! * [`build`] makes a function of it, ready to be given to a consumer;
//! * `registers` says what lies where in BAR 0, `commands` what a command does, `memory` is what lies behind BAR 2.
//!
//! What this model does **not** do: a DMA engine of its own thread. A command runs to its end within the write that
//! starts it, which bounds what one may ask for ([`MAX_TRANSFER`]).
//!
//! Concurrency: registers and memory are atomics; nothing is locked.

mod commands;
mod function;
mod memory;
mod pci;
mod registers;

use std::sync::Arc;

use assign::{Assignment, EventSink, Limits, Port, Reporter};
use gate::Gate;
use pci_core::{Function, LayoutError};

pub use commands::MAX_TRANSFER;
pub use pci::{DEVICE, VENDOR, VF_DEVICE};

use function::Endpoint;

/// An endpoint-test function.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Config {
    /// Virtual functions that can be enabled, at most [`MAX_VFS`]; 0 for a function without SR-IOV.
    pub vfs: u16,
    /// Other functions of the same device stand beside it.
    pub multi_function: bool,
}

/// Most virtual functions: with the physical one they fill one bus.
pub const MAX_VFS: u16 = 255;

/// Builds an endpoint-test function and what a consumer needs to use it.
///
/// # Errors
/// The configuration space does not fit together: a mistake in this module.
pub fn build(
    name: &str,
    config: &Config,
    events: Arc<dyn EventSink>,
) -> Result<Arc<Assignment>, LayoutError> {
    build_with(name, config, events, |function| function)
}

/// As [`build`]; `placed` sees the function before anybody else does, to put it behind a host bridge or on another clock.
///
/// # Errors
/// As [`build`].
pub fn build_with(
    name: &str,
    config: &Config,
    events: Arc<dyn EventSink>,
    placed: impl FnOnce(Function) -> Function,
) -> Result<Arc<Assignment>, LayoutError> {
    let space = Arc::new(pci::physical(config)?);
    let gate = Gate::new(name);
    let port = Port::new(&gate, Arc::clone(&space), Arc::clone(&events));
    let device = Arc::new(Endpoint::new(Arc::clone(&port), Arc::clone(&events)));
    let function = Function::new(name, gate, space, device).observed_by(Reporter::new(events));
    let function = Arc::new(placed(function));
    Ok(Assignment::new(function, port, Limits::default()))
}
