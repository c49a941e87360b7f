//! A host bridge: the way to one range of buses of a segment, whose operations can be exchanged at any moment.
//!
//! Accesses read the operations through [`gate::Published`]: they never wait, and each goes through the old operations
//! or the new ones, never a mixture. Who exchanges them gets the old ones back when nobody is inside them any more.
//!
//! Concurrency: lock-free for accesses. Those who exchange operations have a gate of their own to queue at, so that two
//! of them cannot put back each other's; accesses know nothing of it.

use super::{BusRange, ConfigOps};
use crate::access::{ConfigAddress, ConfigStatus, Presence, Width};
use crate::config::ConfigEffects;
use gate::{CloseError, Closed, Deadline, Gate, Published, Reason, StillRead, ThreadToken};
use pci_spec::Bdf;
use std::sync::Arc;
use thiserror::Error;

/// Why operations were not exchanged, or not completely.
#[derive(Clone, Debug, Error)]
pub enum SetOpsError {
    /// Somebody else had exchanged the operations for a time, past the deadline. Nothing was changed.
    #[error("the operations of the bridge are being exchanged by somebody else: {0}")]
    Contended(#[from] CloseError),
    /// The new operations are in use, but accesses were still inside the old ones at the deadline; the last of them
    /// frees those.
    #[error("the new operations of the bridge are in use, but {0}")]
    StillInside(#[from] StillRead),
}

/// A host bridge; see the module's head.
pub struct HostBridge {
    name: String,
    segment: u16,
    buses: BusRange,
    ops: Published<Arc<dyn ConfigOps>>,
    /// Who exchanges the operations owns this one; no access passes it.
    exchange: Gate,
}

impl HostBridge {
    /// The bridge to `buses` of `segment`, reached by `ops`.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        segment: u16,
        buses: BusRange,
        ops: Arc<dyn ConfigOps>,
    ) -> HostBridge {
        let name = name.into();
        let exchange = Gate::new(format!("{name}: exchange of operations"));
        HostBridge { name, segment, buses, ops: Published::new(ops), exchange }
    }

    /// The name given at the start.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The segment that the bridge is in.
    #[must_use]
    pub fn segment(&self) -> u16 {
        self.segment
    }

    /// The buses behind it.
    #[must_use]
    pub fn buses(&self) -> BusRange {
        self.buses
    }

    /// Whether accesses to `at` go through this bridge.
    #[must_use]
    pub fn reaches(&self, at: Bdf) -> bool {
        at.segment() == self.segment && self.buses.contains(at.bus())
    }

    /// Reads one register through the operations of the moment. The caller holds a pass or a proof of the function, if
    /// there is one yet.
    ///
    /// # Errors
    /// [`ConfigStatus`] of the operations; the caller then uses all-ones (CFG-03).
    #[inline]
    pub fn read(&self, token: &ThreadToken, at: ConfigAddress, width: Width) -> Result<u32, ConfigStatus> {
        // Operations come from many hands: what lies beyond the width is not theirs to answer.
        Ok(ConfigOps::read(&**self.ops.read(token), at, width)? & width.all_ones())
    }

    /// Writes one register through the operations of the moment; otherwise as [`HostBridge::read`].
    ///
    /// # Errors
    /// [`ConfigStatus`]; nothing was written.
    #[inline]
    pub fn write(
        &self,
        token: &ThreadToken,
        at: ConfigAddress,
        width: Width,
        value: u32,
    ) -> Result<ConfigEffects, ConfigStatus> {
        ConfigOps::write(&**self.ops.read(token), at, width, value)
    }

    /// Whether a function answers at `at`, which need not have a [`Function`](crate::Function) yet (CFG-16).
    #[must_use]
    pub fn presence(&self, token: &ThreadToken, at: Bdf) -> Presence {
        let ids = self.read(token, ConfigAddress::new(at, pci_spec::config::VENDOR_ID), Width::Dword);
        ids.map_or(Presence::Absent, Presence::decode)
    }

    /// Exchanges the operations while accesses run: accesses that begin from now on use `ops`, and this returns the old
    /// ones once the last access has left them. No access is refused or waits.
    ///
    /// # Errors
    /// [`SetOpsError`] says whether the new ones are in use.
    pub fn set_ops(
        &self,
        token: &mut ThreadToken,
        ops: Arc<dyn ConfigOps>,
        deadline: Deadline,
    ) -> Result<Arc<dyn ConfigOps>, SetOpsError> {
        let _turn = self.take_turn(token, deadline)?;
        Ok(self.ops.replace(token, ops, deadline)?)
    }

    /// Has all accesses go through other operations while `during` runs, and puts the old ones back, also if `during`
    /// panics. `wrap` makes the others out of the old ones: normally something that answers some accesses by itself.
    ///
    /// Nobody else can exchange the operations meanwhile, and `during` cannot either. When this returns no access is
    /// inside the injected ones, unless one took longer than `deadline`: that one frees them. Not for a caller that has
    /// a function's gate parked: two such callers would wait for each other, up to their deadlines.
    ///
    /// # Errors
    /// [`SetOpsError::Contended`]: `during` was not run.
    pub fn with_ops<R>(
        &self,
        token: &mut ThreadToken,
        wrap: impl FnOnce(Arc<dyn ConfigOps>) -> Arc<dyn ConfigOps>,
        deadline: Deadline,
        during: impl FnOnce(&mut ThreadToken) -> R,
    ) -> Result<R, SetOpsError> {
        let turn = self.take_turn(token, deadline)?;
        let old = self.ops.read(token).clone();
        let injected = wrap(old.clone());
        let scope = Injection { bridge: self, old: Some(old), token, deadline, _turn: turn };
        // An access that is still inside the old operations at the deadline began before; it takes nothing from this.
        let _old = self.ops.replace(scope.token, injected, deadline);
        Ok(during(scope.token))
    }

    fn take_turn(&self, token: &mut ThreadToken, deadline: Deadline) -> Result<Closed, CloseError> {
        Ok(self.exchange.close(token, Reason::OpsSwap, deadline)?.park())
    }
}

/// Puts the old operations back when it is dropped.
struct Injection<'a> {
    bridge: &'a HostBridge,
    old: Option<Arc<dyn ConfigOps>>,
    token: &'a mut ThreadToken,
    deadline: Deadline,
    /// Dropped after the old operations are back.
    _turn: Closed,
}

impl Drop for Injection<'_> {
    fn drop(&mut self) {
        if let Some(old) = self.old.take() {
            // A reader that stays past the deadline frees the injected operations; the old ones are back in any case.
            let _injected = self.bridge.ops.replace(self.token, old, self.deadline);
        }
    }
}

impl std::fmt::Debug for HostBridge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let HostBridge { name, segment, buses, ops: _, exchange: _ } = self;
        f.debug_struct("HostBridge")
            .field("name", name)
            .field("segment", segment)
            .field("buses", buses)
            .finish_non_exhaustive()
    }
}
