//! A function as those who use it in this process have it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use gate::ThreadToken;
use mapping::Memory;
use slot::Binding;
use zpci::{Fault, Handle, View, Zpci};

use super::super::command::Command;
use super::super::layout::{MAX_DMB_BYTES, MAX_DMBS};
use super::bring_up;
use super::buffer::Buffer;
use super::channel::Channel;
use super::commands::Commands;
use super::error::HostError;
use super::uses::Uses;

/// I/O address of the driver's memory: the signal area, then the places of the buffers.
pub(super) const BASE: u64 = 0x1000_0000;
/// Bytes before the first place: a page.
pub(super) const BEFORE_PLACES: u64 = 4096;
/// Bytes of that memory. What no buffer has touched takes none.
pub(super) const MEMORY_BYTES: u64 = BEFORE_PLACES + MAX_DMBS as u64 * MAX_DMB_BYTES;

/// A function that the driver has. See the head of [`ism::host`](super).
pub struct Interface {
    zpci: Arc<Zpci>,
    view: Arc<View>,
    binding: Arc<Binding>,
    gid: u64,
    memory: Arc<Memory>,
    event: OwnedFd,
    /// The handle of the present session, which a restart changes.
    handle: AtomicU32,
    commands: Commands,
    /// Which places of the memory are in use.
    places: [AtomicBool; MAX_DMBS as usize],
    uses: Uses,
}

/// What a function is made an interface of.
pub(super) struct Parts {
    pub(super) zpci: Arc<Zpci>,
    pub(super) view: Arc<View>,
    pub(super) binding: Arc<Binding>,
    pub(super) gid: u64,
    pub(super) memory: Arc<Memory>,
    pub(super) event: OwnedFd,
    pub(super) handle: Handle,
}

impl Interface {
    pub(super) fn new(parts: Parts) -> Arc<Interface> {
        let Parts { zpci, view, binding, gid, memory, event, handle } = parts;
        Arc::new(Interface {
            zpci,
            view,
            binding,
            gid,
            memory,
            event,
            handle: AtomicU32::new(handle.bits()),
            commands: Commands::default(),
            places: [const { AtomicBool::new(false) }; MAX_DMBS as usize],
            uses: Uses::default(),
        })
    }

    /// The function's address in its network.
    #[must_use]
    pub fn gid(&self) -> u64 {
        self.gid
    }

    /// The function's s390 view.
    #[must_use]
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// Readable when a peer has signalled; not blocking. Read it before looking at the buffers.
    #[must_use]
    pub fn event(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    /// Whether a peer with this GID is there.
    ///
    /// # Errors
    /// [`HostError`]; [`Outcome::NoPeer`](super::super::Outcome::NoPeer) if not.
    pub fn find_peer(&self, token: &mut ThreadToken, gid: u64) -> Result<(), HostError> {
        self.within_use(token, |token| self.ask(token, self.handle(), Command::FindPeer { gid }).map(drop))
    }

    /// Has the function whose GID is `sender` move into `length` bytes: a multiple of
    /// [`DMB_ALIGNMENT`](super::super::DMB_ALIGNMENT), at most [`MAX_DMB_BYTES`]. Tell it [`Buffer::token`].
    ///
    /// # Errors
    /// [`HostError`]; nothing is in use then.
    pub fn receive(
        self: &Arc<Interface>,
        token: &mut ThreadToken,
        sender: u64,
        length: u64,
    ) -> Result<Buffer, HostError> {
        self.begin(token, |interface, token| {
            let place = interface.take_place().ok_or(HostError::NoMemory)?;
            let handle = interface.handle();
            let address = BASE + place_offset(place);
            let registered = interface.ask(token, handle, Command::RegisterDmb { address, length, sender });
            match registered {
                Ok(dmb) => Ok(Buffer::new(Arc::clone(interface), place, dmb, length)),
                Err(error) => {
                    interface.give_place(place);
                    Err(error)
                }
            }
        })
    }

    /// Opens a channel to the buffer of a peer.
    ///
    /// # Errors
    /// [`HostError`]; nothing is in use then.
    pub fn connect(
        self: &Arc<Interface>,
        token: &mut ThreadToken,
        buffer: u64,
    ) -> Result<Channel, HostError> {
        self.begin(token, |interface, token| {
            let handle = interface.handle();
            let opened = interface.ask(token, handle, Command::OpenChannel { token: buffer })?;
            Ok(Channel::new(Arc::clone(interface), handle, opened))
        })
    }

    /// Begins anew after a recovery: with the function's handle of now, and nothing registered. Does nothing if the handle is the
    /// same as before.
    ///
    /// # Errors
    /// [`HostError`]; to be called again, or the function has gone.
    pub fn restart(&self, token: &mut ThreadToken) -> Result<(), HostError> {
        self.within_use(token, |token| {
            let turn = self.commands.claim()?;
            if self.view.is_named(self.handle()) {
                // Buffers and channels of this session would take those of the next one for theirs.
                return Ok(());
            }
            let handle = bring_up::start(token, &self.zpci, &self.view, &self.binding, &turn)?;
            self.handle.store(handle.bits(), Ordering::Release);
            Ok(())
        })
    }

    pub(super) fn handle(&self) -> Handle {
        Handle::from_bits(self.handle.load(Ordering::Acquire))
    }

    pub(super) fn zpci(&self) -> &Zpci {
        &self.zpci
    }

    pub(super) fn memory(&self) -> &Memory {
        &self.memory
    }

    pub(super) fn uses(&self) -> &Uses {
        &self.uses
    }

    /// Has a command carried out with `handle`, which is that of the session in which what it is about was made.
    pub(super) fn ask(
        &self,
        token: &mut ThreadToken,
        handle: Handle,
        command: Command,
    ) -> Result<u64, HostError> {
        if self.uses.has_ended() {
            return Err(HostError::Ended);
        }
        self.commands.claim()?.ask(token, &self.zpci, handle, command)
    }

    /// Ends a use that has been given back to the device, and lets the function go if it was the last that held it.
    pub(super) fn end_use(&self, token: &mut ThreadToken) {
        if self.uses.end() {
            self.let_go(token);
        }
    }

    /// Gives the function back to the slot. The first thing is that nobody is told of signals any more.
    pub(super) fn let_go(&self, token: &mut ThreadToken) {
        // Whether it works or not: the next consumer's driver resets the function.
        if let Ok(turn) = self.commands.claim() {
            let _ended = turn.ask(token, &self.zpci, self.handle(), Command::ClearSignalArea);
        }
        self.binding.release(token);
    }

    pub(super) fn give_place(&self, place: usize) {
        if let Some(place) = self.places.get(place) {
            place.store(false, Ordering::Release);
        }
    }

    fn take_place(&self) -> Option<usize> {
        let take = |place: &AtomicBool| !place.swap(true, Ordering::Acquire);
        self.places.iter().position(take)
    }

    /// As long as `with` runs, the function is not let go: somebody else's driver may have it then.
    fn within_use<T>(
        &self,
        token: &mut ThreadToken,
        with: impl FnOnce(&mut ThreadToken) -> Result<T, HostError>,
    ) -> Result<T, HostError> {
        self.uses.begin()?;
        let done = with(token);
        self.end_use(token);
        done
    }

    /// Begins a use with `with`; if that fails there is none.
    fn begin<T>(
        self: &Arc<Interface>,
        token: &mut ThreadToken,
        with: impl FnOnce(&Arc<Interface>, &mut ThreadToken) -> Result<T, HostError>,
    ) -> Result<T, HostError> {
        self.uses.begin()?;
        let begun = with(self, token);
        if begun.is_err() {
            self.end_use(token);
        }
        begun
    }
}

impl std::fmt::Debug for Interface {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Interface(GID {:#x}, {:?})", self.gid, self.view)
    }
}

/// Offset of a place in the driver's memory.
pub(super) fn place_offset(place: usize) -> u64 {
    BEFORE_PLACES + place as u64 * MAX_DMB_BYTES
}

/// Whether what was registered by this handle is gone together with it: there is nothing to give back to the device.
pub(super) fn is_lost(error: &HostError) -> bool {
    matches!(error, HostError::Instruction(Fault::InvalidHandle | Fault::Gone) | HostError::Ended)
}
