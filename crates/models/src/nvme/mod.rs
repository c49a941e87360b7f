//! An NVM Express controller with one namespace, NVMe 1.4.
//!
//! [`build`] makes a function out of a [`Config`] and a [`Backing`], ready to be given to a consumer. Key parts:
//!
//! * `controller`: the PCI side, registers and doorbells as they are accessed;
//! * `engine`: all state and every command, without threads or system calls;
//! * `worker`: one thread per enabled controller, which drives the engine and the `ring` of a file backing;
//! * `faults`: what somebody may ask it to fail at; its state can be saved and restored over a reset ([`pci_core::Preserve`]);
//! * [`backing`]: where the blocks are;
//! * [`elsewhere`]: instead of a backing, somebody else who executes the commands.
//!
//! What this model does **not** do: metadata and protection information, SGLs, fused commands, Compare, Verify and
//! Copy, more than one namespace, firmware update, power states. Each is refused with its own status, unless commands are
//! executed [elsewhere]: then they are what that one makes of them.
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
pub mod elsewhere;
mod engine;
mod faults;
pub mod fuzz;
mod health;
pub mod host;
mod io;
mod limits;
mod log;
mod outbox;
mod outstanding;
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
use backing::FileBacking;
use board::Board;
use elsewhere::{Away, Elsewhere, FactsError, identity::Offered};
use engine::Engine;
use io::{Io, Storage};
use registers::Registers;
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
    /// The back end cannot be stood in front of.
    #[error(transparent)]
    BackEnd(#[from] FactsError),
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
    let parts = assemble(gate, config, backing, events)?;
    Ok(assign(parts, config, reporter, placed))
}

/// As [`build_with`], but the commands are executed by `elsewhere`, and so are identity and namespaces those of its back end:
/// serial and model number and block size of the configuration mean nothing.
///
/// The controller is served until the result is dropped, which waits for nobody elsewhere: what is in flight there is
/// [abandoned](Elsewhere::abandon).
///
/// # Errors
/// [`BuildError`].
pub fn build_elsewhere(
    gate: Gate,
    config: &Config,
    elsewhere: Arc<dyn Elsewhere>,
    events: Arc<dyn EventSink>,
    placed: impl FnOnce(Function) -> Function,
) -> Result<Arc<Assignment>, BuildError> {
    let reporter = Reporter::new(Arc::clone(&events));
    let parts = assemble_elsewhere(gate, config, elsewhere, events)?;
    Ok(assign(parts, config, reporter, placed))
}

fn assign(
    parts: Parts,
    config: &Config,
    reporter: Arc<Reporter>,
    placed: impl FnOnce(Function) -> Function,
) -> Arc<Assignment> {
    let Parts { shared, gate, space } = parts;
    let (name, port) = (gate.name().to_owned(), Arc::clone(&shared.port));
    let device = Arc::new(Controller::new(shared, config.interrupts));
    let function = Arc::new(placed(Function::new(name, gate, space, device).observed_by(reporter)));
    Assignment::new(function, port, Limits::default())
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
    let identity = Identity::new(config.serial_for(&name), config.model.clone());
    let admin =
        Admin::new(identity, offers_shadow(config), pci::vectors(config.interrupts), limits::IO_QUEUES);
    let io = Io::new(storage, config.block_size.shift());
    put_together(gate, config, Registers::default(), admin, io, file, None, events)
}

fn assemble_elsewhere(
    gate: Gate,
    config: &Config,
    elsewhere: Arc<dyn Elsewhere>,
    events: Arc<dyn EventSink>,
) -> Result<Parts, BuildError> {
    config.check()?;
    let shadow = offers_shadow(config);
    let offered = Offered::new(elsewhere.facts(), shadow, limits::IO_QUEUES)?;
    let (serial, model) = offered.names();
    let registers = Registers::of_elsewhere(offered.version);
    let identity = Identity::new(serial, model);
    let admin = Admin::new(identity, shadow, pci::vectors(config.interrupts), offered.io_queues);
    let away = Box::new(Away::new(Arc::clone(&elsewhere), offered));
    let io = Io::new(Storage::Elsewhere(away), config.block_size.shift());
    put_together(gate, config, registers, admin, io, None, Some(elsewhere), events)
}

/// Whether Doorbell Buffer Config is offered. A guest that maps the doorbells needs no shadow of them; with INTx the level
/// follows the heads that are written.
fn offers_shadow(config: &Config) -> bool {
    config.doorbells == DoorbellStyle::Trapped && config.interrupts != InterruptStyle::Intx
}

#[expect(clippy::too_many_arguments, reason = "two callers, each argument a part")]
fn put_together(
    gate: Gate,
    config: &Config,
    registers: Registers,
    admin: Admin,
    io: Io,
    file: Option<Arc<FileBacking>>,
    elsewhere: Option<Arc<dyn Elsewhere>>,
    events: Arc<dyn EventSink>,
) -> Result<Parts, BuildError> {
    let name = gate.name().to_owned();
    let style = config.interrupts;
    // Somebody elsewhere takes his time to end what a reset ends.
    let space = Arc::new(pci::config_space(style, config.multi_function, elsewhere.is_none())?);
    let port = Port::new(&gate, Arc::clone(&space), events);
    let board = Arc::new(Board::new(registers));
    let engine = Engine::new(Arc::clone(&board), style, admin, io);
    let waker = Arc::new(Waker::new()?);
    let (doorbells, polling) = (config.doorbells, config.polling());
    let shared = Shared::new(name, port, board, engine, waker, doorbells, polling, file, elsewhere);
    Ok(Parts { shared: Arc::new(shared), gate, space })
}
