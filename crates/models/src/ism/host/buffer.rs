//! Memory that a peer moves into.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use gate::ThreadToken;

use super::super::command::{Command, Outcome};
use super::error::HostError;
use super::interface::{Interface, is_lost, place_offset};

/// Times that a buffer is unregistered while moves are in it. Each move takes well under a microsecond.
const TRIES: usize = 100;

/// A registered buffer. Give it back with [`Buffer::release`]; one that is dropped stays registered, and in memory, as long as
/// the function is there.
#[derive(Debug)]
#[must_use = "dropped, it stays registered as long as the function is there"]
pub struct Buffer {
    interface: Arc<Interface>,
    place: usize,
    dmb: u64,
    length: u64,
    registered: bool,
}

impl Buffer {
    pub(super) fn new(interface: Arc<Interface>, place: usize, dmb: u64, length: u64) -> Buffer {
        Buffer { interface, place, dmb, length, registered: true }
    }

    /// What the peer needs to open a channel.
    #[must_use]
    pub fn token(&self) -> u64 {
        self.dmb
    }

    /// Bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Takes the signal, if the peer has given one since the last call. What it has moved before is then in the buffer.
    #[must_use]
    pub fn take_signal(&self) -> bool {
        let dword = self.interface.memory().dword(4 * (self.dmb & 0xff));
        self.registered && dword.is_some_and(|dword| dword.swap(0, Ordering::AcqRel) != 0)
    }

    /// Reads what is in the buffer; zeroes beyond its end. The peer may write meanwhile.
    pub fn read(&self, offset: u64, data: &mut [u8]) {
        let inside =
            usize::try_from(self.length.saturating_sub(offset)).unwrap_or(usize::MAX).min(data.len());
        let (data, beyond) = data.split_at_mut(inside);
        beyond.fill(0);
        self.interface.memory().read(place_offset(self.place).saturating_add(offset), data);
    }

    /// Unregisters it: from then on nothing arrives in it. If the driver was to let the function go and this was its last use, it
    /// does. Nothing happens the second time.
    ///
    /// # Errors
    /// [`HostError::CommandUnderWay`], [`HostError::Command`] with [`Outcome::Busy`], or an instruction that failed: the
    /// buffer is as it was, to be released again.
    pub fn release(&mut self, token: &mut ThreadToken) -> Result<(), HostError> {
        if !self.registered {
            return Ok(());
        }
        let mut released = self.unregister(token);
        for _ in 1..TRIES {
            if released != Err(HostError::Command(Outcome::Busy)) {
                break;
            }
            released = self.unregister(token);
        }
        match released {
            Err(HostError::Command(Outcome::UnknownToken)) => {}
            Err(error) if !is_lost(&error) => return Err(error),
            Ok(()) | Err(_) => {}
        }
        self.registered = false;
        self.interface.give_place(self.place);
        self.interface.end_use(token);
        Ok(())
    }

    fn unregister(&self, token: &mut ThreadToken) -> Result<(), HostError> {
        // A later session's handle does as well: no two buffers ever have one token.
        let handle = self.interface.handle();
        self.interface.ask(token, handle, Command::UnregisterDmb { token: self.dmb }).map(drop)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.registered {
            // The peer may write still, so the place is nobody else's.
            self.interface.uses().abandon();
        }
    }
}
