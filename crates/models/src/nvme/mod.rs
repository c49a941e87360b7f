//! An NVM Express controller with one namespace, NVMe 1.4.
//!
//! [`build`] makes a function out of a [`Config`] and a [`Backing`], ready to be given to a consumer. Key parts:
//!
//! * `controller`: the PCI side, registers and doorbells as they are accessed;
//! * `engine`: all state and every command, without threads or system calls;
//! * `worker`: one thread per enabled controller, which drives the engine and the `ring` of a file backing;
//! * `faults`: what somebody may ask it to fail at; its state can be saved and restored over a reset ([`pci_core::Preserve`]);
//! * [`backing`]: where the blocks are.
//!
//! What this model does **not** do: metadata and protection information, SGLs, fused commands, Compare, Verify and
//! Copy, more than one namespace, firmware update, power states. Each is refused with its own status.
//!
//! Concurrency: doorbells and register reads are lock-free (`board`); everything else is in the engine, behind one
//! mutex that is held for a bounded time and never while waiting (see `engine`). Guest memory is reached under a
//! gate pass only, or by I/O in flight that holds a long pass.

mod admin;
mod aer;
pub mod backing;
mod board;
mod bounce;
mod config;
mod controller;
mod data;
mod doorbell;
mod dsm;
mod engine;
mod faults;
pub mod fuzz;
mod health;
pub mod host;
mod io;
mod limits;
mod log;
mod outbox;
mod pci;
mod prp;
mod queue;
mod queues;
mod ranges;
mod registers;
mod ring;
mod shadow;
mod shared;
mod slots;
mod transfer;
mod wake;
mod worker;

use std::sync::Arc;

use assign::{Assignment, EventSink, Limits, Port, Reporter};
use gate::Gate;
use pci_core::{ConfigSpace, Function};

pub use backing::{Backing, BackingError};
pub use config::{BlockSize, Config, ConfigError, DoorbellStyle, InterruptStyle, Polling};
pub use controller::Controller;

use admin::{Admin, Identity};
use board::Board;
use engine::Engine;
use io::{Io, Storage};
use shared::Shared;
use wake::Waker;

/// Why a controller cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The configuration is not valid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The disk is not a whole number of blocks.
    #[error("a disk of {size} bytes does not consist of blocks of {block} bytes")]
    Size {
        /// Length of the backing in bytes.
        size: u64,
        /// Length of a block in bytes.
        block: u32,
    },
    /// The configuration space does not fit together.
    #[error("the configuration space cannot be laid out: {0}")]
    Layout(#[from] pci_core::LayoutError),
    /// The system has no descriptors left.
    #[error("cannot make the event that wakes the controller: {0}")]
    System(#[from] rustix::io::Errno),
}

/// Makes an NVMe function called `name` that keeps its blocks in `backing`. It is served until the result is dropped,
/// which waits for I/O in flight and flushes.
///
/// # Errors
/// [`BuildError`].
pub fn build(
    name: &str,
    config: &Config,
    backing: Backing,
    events: Arc<dyn EventSink>,
) -> Result<Arc<Assignment>, BuildError> {
    build_with(Gate::new(name), config, backing, events, |function| function)
}

/// As [`build`], behind this gate: a new one, or the [successor](Gate::successor) of that of the last device in the same
/// place. `placed` sees the function before anybody else does, to put it behind a host bridge or on another clock.
///
/// # Errors
/// [`BuildError`].
pub fn build_with(
    gate: Gate,
    config: &Config,
    backing: Backing,
    events: Arc<dyn EventSink>,
    placed: impl FnOnce(Function) -> Function,
) -> Result<Arc<Assignment>, BuildError> {
    let reporter = Reporter::new(Arc::clone(&events));
    let name = gate.name().to_owned();
    let Parts { shared, gate, space } = assemble(gate, config, backing, events)?;
    let port = Arc::clone(&shared.port);
    let device = Arc::new(Controller::new(shared, config.interrupts));
    let function = Arc::new(placed(Function::new(name, gate, space, device).observed_by(reporter)));
    Ok(Assignment::new(function, port, Limits::default()))
}

/// A controller before it has become a function.
struct Parts {
    shared: Arc<Shared>,
    gate: Gate,
    space: Arc<ConfigSpace>,
}

fn assemble(
    gate: Gate,
    config: &Config,
    backing: Backing,
    events: Arc<dyn EventSink>,
) -> Result<Parts, BuildError> {
    let name = gate.name().to_owned();
    config.check()?;
    let block = config.block_size.bytes();
    let size = backing.size();
    if !size.is_multiple_of(block.into()) {
        return Err(BuildError::Size { size, block });
    }
    let (storage, file) = match backing {
        Backing::Memory(memory) => (Storage::Memory(memory), None),
        Backing::File(mut file) => {
            file.settle_for_blocks(block);
            let file = Arc::new(file);
            (Storage::File(Arc::clone(&file)), Some(file))
        }
    };
    let style = config.interrupts;
    let space = Arc::new(pci::config_space(style, config.multi_function)?);
    let port = Port::new(&gate, Arc::clone(&space), events);
    let board = Arc::new(Board::new());
    let identity = Identity::new(config.serial_for(&name), config.model.clone());
    // A guest that maps the doorbells needs no shadow of them; with INTx the level follows the heads that are written.
    let shadow = config.doorbells == DoorbellStyle::Trapped && style != InterruptStyle::Intx;
    let admin = Admin::new(identity, shadow, pci::vectors(style));
    let io = Io::new(storage, config.block_size.shift());
    let engine = Engine::new(Arc::clone(&board), style, admin, io);
    let waker = Arc::new(Waker::new()?);
    let shared =
        Shared::new(name, Arc::clone(&port), board, engine, waker, config.doorbells, config.polling(), file);
    Ok(Parts { shared: Arc::new(shared), gate, space })
}
