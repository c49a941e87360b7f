//! The one way to the registers of a function: through its host bridge, or straight to its own configuration space.
//!
//! Everything that reads or writes a register comes through here under a pass or a proof, so there is no back door
//! (CFG-I9).
//!
//! Concurrency: reads take no lock. Writes of one function are serialised by its lock of rank 57, so that a
//! read-modify-write is one step to all other writers. It is held over one or two operations of the bridge, never while
//! calling the device or waiting.

use super::Function;
use super::inside::Inside;
use super::written::Stored;
use crate::access::{ConfigAddress, ConfigStatus, Width};
use crate::config::{CONFIG_SIZE, ConfigEffects};
use crate::mechanism::{HostBridge, check_register};
use gate::ThreadToken;
use pci_spec::Bdf;
use std::sync::Arc;

/// Where a function is, as seen from the processor.
#[derive(Clone, Debug)]
pub(super) struct Route {
    bridge: Arc<HostBridge>,
    at: Bdf,
}

/// What a read-modify-write writes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Store {
    pub(super) register: u16,
    pub(super) width: Width,
    pub(super) value: u32,
}

/// What the lock of writes protects beside their order.
#[derive(Debug, Default)]
pub(super) struct Writes {
    /// A write has changed what can be reached, and what is mapped has not been taken away since.
    pub(super) zap_owed: bool,
}

impl Function {
    /// Puts the function behind a host bridge: from now on every access to its registers, by whomever, goes through the
    /// operations of the bridge. They have to lead to this function's own [`ConfigSpace`](crate::ConfigSpace) if the
    /// device is emulated, which keeps looking at that.
    #[must_use]
    pub fn behind(self, bridge: Arc<HostBridge>, at: Bdf) -> Function {
        Function { route: Some(Route { bridge, at }), ..self }
    }

    /// The host bridge that leads to the function, if it was put behind one.
    #[must_use]
    pub fn bridge(&self) -> Option<&Arc<HostBridge>> {
        self.route.as_ref().map(|route| &route.bridge)
    }

    /// Where the function was put behind its bridge.
    #[must_use]
    pub fn address(&self) -> Option<Bdf> {
        self.route.as_ref().map(|route| route.at)
    }

    /// Reads one register. The caller shows that it is inside.
    #[inline]
    pub(super) fn load(&self, token: &ThreadToken, register: u16, width: Width) -> Result<u32, ConfigStatus> {
        self.check(register, width)?;
        self.load_unchecked(token, register, width)
    }

    /// Writes one register, and does what the proof allows of what that asks for.
    pub(super) fn put(&self, held: &impl Inside, store: Store) -> Result<Stored, ConfigStatus> {
        self.check(store.register, store.width)?;
        let mut writes = self.registers.lock_inside(held);
        let effects = self.put_unchecked(held.token(), store)?;
        let stored = self.stored(&mut writes, effects);
        drop(writes);
        held.settle(self, &stored);
        Ok(stored)
    }

    /// Writes any bytes of the function's own configuration space, in one go, where no bridge is in between.
    pub(super) fn put_bytes(&self, held: &impl Inside, offset: u16, data: &[u8]) -> Stored {
        let mut writes = self.registers.lock_inside(held);
        let effects = self.config.write(offset, data);
        let stored = self.stored(&mut writes, effects);
        drop(writes);
        held.settle(self, &stored);
        stored
    }

    /// Reads a register and writes what `change` makes of it, if anything: one step to all other writes of the
    /// function. Answers what was read.
    pub(super) fn update(
        &self,
        held: &impl Inside,
        register: u16,
        width: Width,
        change: impl FnOnce(u32) -> Option<Store>,
    ) -> Result<(u32, Stored), ConfigStatus> {
        self.check(register, width)?;
        let mut writes = self.registers.lock_inside(held);
        let old = self.load_unchecked(held.token(), register, width)?;
        let effects = match change(old) {
            Some(store) => {
                self.check(store.register, store.width)?;
                self.put_unchecked(held.token(), store)?
            }
            None => ConfigEffects::default(),
        };
        let stored = self.stored(&mut writes, effects);
        drop(writes);
        held.settle(self, &stored);
        Ok((old, stored))
    }

    /// Notes with the write, under the lock of writes, that a zap is owed: nobody can forget it.
    fn stored(&self, writes: &mut Writes, effects: ConfigEffects) -> Stored {
        writes.zap_owed |= effects.changes_decoding() && self.has_mappings();
        Stored { effects, zap_owed: writes.zap_owed }
    }

    /// CFG-01, CFG-04: nothing reaches hardware that has no such register or was removed.
    #[inline]
    pub(super) fn check(&self, register: u16, width: Width) -> Result<(), ConfigStatus> {
        check_register(register, width, CONFIG_SIZE)?;
        if self.handle.is_gone() { Err(ConfigStatus::DeviceNotFound) } else { Ok(()) }
    }

    #[inline]
    fn load_unchecked(&self, token: &ThreadToken, register: u16, width: Width) -> Result<u32, ConfigStatus> {
        match &self.route {
            Some(route) => route.bridge.read(token, ConfigAddress::new(route.at, register), width),
            None => {
                let mut bytes = [0; 4];
                self.config.read(register, &mut bytes[..usize::from(width.bytes())]);
                Ok(u32::from_le_bytes(bytes))
            }
        }
    }

    fn put_unchecked(&self, token: &ThreadToken, store: Store) -> Result<ConfigEffects, ConfigStatus> {
        let Store { register, width, value } = store;
        match &self.route {
            Some(route) => route.bridge.write(token, ConfigAddress::new(route.at, register), width, value),
            None => Ok(self.config.write(register, &value.to_le_bytes()[..usize::from(width.bytes())])),
        }
    }
}
