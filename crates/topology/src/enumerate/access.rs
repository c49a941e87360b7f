//! Registers of functions that may not be known yet, through the host bridge.

use gate::{Gone, ThreadToken};
use pci_core::mechanism::HostBridge;
use pci_core::{ConfigAddress, Presence, StaysClosed, Time, Width, config};
use pci_spec::Bdf;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

/// Longest that a function may ask to be tried again later.
const NOT_READY_MAX: Duration = Duration::from_secs(60);

/// The host bridge, and what a wait for a function needs.
pub(super) struct Access<'a> {
    pub(super) bridge: &'a HostBridge,
    pub(super) token: &'a mut ThreadToken,
    pub(super) time: &'a dyn Time,
    /// Whoever retires this ends a wait.
    pub(super) turn: &'a dyn StaysClosed,
    /// Where memory was switched off or on, if only for a moment.
    pub(super) redecoded: RefCell<BTreeSet<Bdf>>,
}

/// Why a function was not found ready.
pub(super) enum NotFound {
    Absent,
    /// It asked to be tried again for longer than it may.
    NeverReady,
    /// The scan was ended.
    Ended,
}

impl Access<'_> {
    /// All-ones where the access fails (CFG-03).
    pub(super) fn read(&self, at: Bdf, register: u16, width: Width) -> u32 {
        let read = self.bridge.read(self.token, ConfigAddress::new(at, register), width);
        read.unwrap_or(width.all_ones())
    }

    pub(super) fn dword(&self, at: Bdf, register: u16) -> u32 {
        self.read(at, register, Width::Dword)
    }

    /// What a failed write means shows when the register is read back. No register is written here that asks for a reset
    /// or a power state; that memory is decoded otherwise than before is noted.
    pub(super) fn write(&self, at: Bdf, register: u16, width: Width, value: u32) {
        let written = self.bridge.write(self.token, ConfigAddress::new(at, register), width, value);
        if written.is_ok_and(|effects| effects.changes_decoding()) {
            self.redecoded.borrow_mut().insert(at);
        }
    }

    /// Waits until a function that asks for it is ready: polls after 1, 2, 4 ... ms (CFG-16).
    pub(super) fn await_function(&mut self, at: Bdf) -> Result<(), NotFound> {
        let mut delay = Duration::from_millis(1);
        loop {
            match self.bridge.presence(self.token, at) {
                Presence::Absent => return Err(NotFound::Absent),
                Presence::Present { .. } => return Ok(()),
                Presence::NotReady if delay > NOT_READY_MAX => return Err(NotFound::NeverReady),
                Presence::NotReady => {
                    let passed = self.time.pass(self.token, self.turn, delay);
                    passed.map_err(|Gone| NotFound::Ended)?;
                }
            }
            delay *= 2;
        }
    }

    pub(super) fn find_capability(&self, at: Bdf, id: u8) -> Option<u16> {
        config::find_capability(id, |register| self.dword(at, register))
    }

    pub(super) fn find_extended(&self, at: Bdf, id: u16) -> Option<u16> {
        config::find_extended(id, |register| self.dword(at, register))
    }
}
