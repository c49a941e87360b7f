//! A function like IBM's internal shared memory (ISM): functions of one machine that write into each other's memory.
//!
//! It has no plain registers: it is reached by loads and block stores only ([`pci_core::BarAccess::BlockStore`]), as PCI
//! functions of an s390 are. So a consumer drives it through the instructions of `zpci`, or through the I/O region. The command
//! set is our own, and so is the identification: a driver of the real device does not bind.
//!
//! # How it is driven
//! *Buffers* are memory that a function has its peer move into. The receiver registers one (its address, and the GID of who may
//! move there) and gets a *token*, which it tells the sender by other means. The sender opens a *channel* to the token. From
//! then on one block stored into the channel's part of BAR 2 is one write into the buffer; stored into the second half of
//! that part, it is followed by a *signal*: the buffer's dword in the receiver's *signal area* becomes 1, and MSI vector 0 is
//! raised. The receiver clears the dword before it looks at the buffer, and never loses a signal. Which dword is a buffer's
//! is in bits 0 to 7 of its token; the rest of a token means nothing to a driver.
//!
//! | BAR 0 | |
//! |---|---|
//! | [`Register`] | identity, GID, limits, what is in use, the last move that was refused, the answer to the last command |
//! | [`COMMAND`] | a block of [`COMMAND_BYTES`] is a command: u16 number, u16 0, u32 tag, three u64 arguments ([`Command`]) |
//! | [`STATISTICS`] | counts since the last reset ([`Statistic`]) |
//!
//! | BAR 2 | |
//! |---|---|
//! | channel `n` | from `n` x [`CHANNEL_BYTES`] on: [`MAX_DMB_BYTES`] for moves, and as many again for moves that signal ([`window_offset`]) |
//!
//! All numbers are little endian. Loads may have any width; from the window they give all-ones.
//!
//! A command is carried out by the time its block has been stored, and the [answer](Register::Answer) repeats its tag and
//! says what became of it ([`Outcome`]). A block that is no command is refused, and so is one that comes while another
//! thread's is carried out (*out of resources*: again). A move that is refused has moved nothing; the store fails, and
//! [`Register::LastRefused`] says why ([`Refused`]). *Out of resources* means that the peer is being reset: again; every
//! other failure lasts. After a reset buffers, channels, signal area and counts are gone, and tokens that were given before name
//! nothing any more. GID and network stay.
//!
//! # Who may do what to whom
//! A peer is not trusted. It reaches nothing but the buffers that name its GID, through the receiver's gate, its DMA map and
//! its bus mastering; and it is told nothing of buffers that are not for it. A receiver cannot hold a mover up: what it
//! cannot take now is refused. Once *unregister* has succeeded nothing more arrives in a buffer; *busy* means that a move is
//! in it at this moment.
//!
//! What this model does **not** do: VLANs, broadcasts, events about peers that come and go, virtual functions.
//!
//! # Concurrency
//! Moves and loads run on any number of threads and take no lock but the leaf of the peer's seat, for a copy (module
//! `network`). Commands run one at a time. Everything happens under the mover's own pass and, without waiting, the peer's.

mod channels;
mod command;
mod dmb;
mod engine;
mod execute;
mod function;
pub mod host;
mod layout;
mod member;
mod moves;
mod network;
mod pci;
mod preserve;
mod statistics;
mod token;

use std::sync::Arc;

use assign::{Assignment, EventSink, Limits, Port, Reporter};
use gate::Gate;
use pci_core::{Function, LayoutError};
use thiserror::Error;

pub use command::{Command, Outcome};
pub use layout::{
    CHANNEL_BYTES, COMMAND, COMMAND_BYTES, DMB_ALIGNMENT, MAGIC, MAX_CHANNELS, MAX_DMB_BYTES, MAX_DMBS,
    Register, SIGNAL_AREA_BYTES, STATISTICS, VERSION, window_offset,
};
pub use moves::Refused;
pub use network::{JoinError, MAX_GIDS};
pub use pci::{COMMAND_BAR, DEVICE, VENDOR, WINDOW_BAR};
pub use statistics::Statistic;

use function::Ism;
use member::Member;
use network::Network;

/// An ISM-like function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The network it is in; functions of this process that name the same one reach each other.
    pub network: String,
    /// Its address there, not 0: one function of a network has it at a time.
    pub gid: u64,
    /// Other functions of the same device stand beside it.
    pub multi_function: bool,
}

/// Why a function cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BuildError {
    /// The network does not take it.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// Its configuration space does not fit together.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

/// Builds an ISM-like function and what a consumer needs to use it.
///
/// # Errors
/// [`BuildError`]
pub fn build(name: &str, config: &Config, events: Arc<dyn EventSink>) -> Result<Arc<Assignment>, BuildError> {
    build_with(Gate::new(name), config, events, |function| function)
}

/// As [`build`], behind this gate: a new one, or the [successor](Gate::successor) of that of the last device in the same
/// place, which has to be gone. `placed` sees the function before anybody else does, to put it behind a host bridge or on
/// another clock.
///
/// # Errors
/// As [`build`].
pub fn build_with(
    gate: Gate,
    config: &Config,
    events: Arc<dyn EventSink>,
    placed: impl FnOnce(Function) -> Function,
) -> Result<Arc<Assignment>, BuildError> {
    let space = Arc::new(pci::config(config.multi_function)?);
    let name = gate.name().to_owned();
    let port = Port::new(&gate, Arc::clone(&space), Arc::clone(&events));
    let network = Network::named(&config.network);
    let seat = network.seat(config.gid)?;
    let member = Arc::new(Member::new(config.gid, seat, Arc::clone(&port)));
    network.join(&member)?;
    let device = Arc::new(Ism::new(network, member));
    let function = Function::new(name, gate, space, device).observed_by(Reporter::new(events));
    let function = Arc::new(placed(function));
    Ok(Assignment::new(function, port, Limits::default()))
}
