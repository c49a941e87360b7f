//! The map of one function: the device's lookups and the consumer's changes.
//!
//! The consumer's side works on `control`, the truth, under its lock; then it *publishes*: closes the gate
//! for short passes, copies the truth into the table the device reads, and reopens. A publication that fails
//! (a pass that does not end) leaves the old table; the memory that should have left it is severed, so the device
//! reaches zeroes there, and the next publication mends the table.
//!
//! # Concurrency
//! `control` is held for the planning and the copying only: never across the closing of the gate by the same
//! thread, a wait, `mmap` or `munmap`. It may be taken under `ShortQuiesced` (gate before control).

use std::sync::{Arc, OnceLock};

use gate::lock::Lock;
use gate::{CloseError, Deadline, Gate, GateCell, Pass, Reason, ThreadToken};
use pci_core::ConfigSpace;

use super::control::{Control, Standing};
use super::request::{DmaMapRequest, check_range};
use super::slice::GuestSlice;
use super::table::{DmaAccess, Entry, Table};
use crate::budget::{Budget, Share};
use crate::error::{DmaError, Errno, RequestError};
use crate::limits::Limits;
use crate::mapping::{Drain, Mapping};
use crate::ranks;
use crate::relay::{DmaRelay, Mapped};
use crate::tap::DmaTap;

/// The consumer's memory as the device sees it. Lookups neither lock, allocate nor call the kernel.
pub struct DmaMap {
    gate: Gate,
    config: Arc<ConfigSpace>,
    table: GateCell<Table>,
    /// The truth, by address. Rank: 60, DMA control. A map and its sums, which change together; see the module's head.
    control: Lock<ranks::DmaControl, Control>,
    drain: Arc<Drain>,
    /// This function's part of the process's mappings.
    share: Arc<Share>,
    /// Who follows the map elsewhere.
    relay: OnceLock<Arc<dyn DmaRelay>>,
}

/// What became of mappings that were taken out.
#[derive(Debug, Default, PartialEq, Eq)]
#[must_use = "orphans are to be reported"]
pub struct Unmapped {
    /// Mappings taken out.
    pub count: usize,
    /// Mappings that I/O still held at the deadline: address, bytes, holders. They are severed.
    pub orphans: Vec<(u64, u64, usize)>,
    /// A pass did not end in time: the device may still look the mappings up, and finds them severed.
    pub pass_stuck: bool,
    /// What is elsewhere may still reach the memory ([`DmaRelay`]), and why.
    pub elsewhere: Option<&'static str>,
}

impl Unmapped {
    /// Nobody reaches the memory any more.
    pub fn is_clean(&self) -> bool {
        self.orphans.is_empty() && !self.pass_stuck && self.elsewhere.is_none()
    }
}

impl DmaMap {
    pub(crate) fn new(gate: &Gate, config: Arc<ConfigSpace>, budget: &Arc<Budget>) -> DmaMap {
        DmaMap {
            gate: gate.clone(),
            config,
            table: GateCell::new(gate, Table::default()),
            control: Lock::default(),
            drain: Arc::default(),
            share: budget.share(),
            relay: OnceLock::new(),
        }
    }

    /// False if somebody follows already.
    pub(crate) fn set_relay(&self, relay: Arc<dyn DmaRelay>) -> bool {
        self.relay.set(relay).is_ok()
    }

    /// The memory at `iova`, contiguous and in one mapping.
    ///
    /// # Errors
    /// [`DmaError::BusMasterDisabled`], [`DmaError::NotMapped`], [`DmaError::Denied`], [`DmaError::NoMemory`],
    /// [`DmaError::Injected`].
    #[inline]
    pub fn resolve<'p>(
        &'p self,
        pass: &'p Pass<'_>,
        iova: u64,
        len: u64,
        access: DmaAccess,
    ) -> Result<GuestSlice<'p>, DmaError> {
        self.bus_master()?;
        let entry = self.table.get(pass).find(iova, len, access)?;
        whole_slice_of(entry, iova, len, access)
    }

    /// As [`DmaMap::resolve`], whether or not the function may master the bus: for what the host does on behalf of the
    /// consumer and with its own memory, such as the data of a request that it made. The device takes no part in that.
    ///
    /// # Errors
    /// [`DmaError::NotMapped`], [`DmaError::Denied`], [`DmaError::NoMemory`].
    #[inline]
    pub fn resolve_for_consumer<'p>(
        &'p self,
        pass: &'p Pass<'_>,
        iova: u64,
        len: u64,
        access: DmaAccess,
    ) -> Result<GuestSlice<'p>, DmaError> {
        let entry = self.table.get(pass).find_untapped(iova)?;
        whole_slice_of(entry, iova, len, access)
    }

    /// Reads `data.len()` bytes at `iova`; they may span mappings that adjoin.
    ///
    /// # Errors
    /// As [`DmaMap::resolve`] and [`GuestSlice::read_into`]; the bytes before the failing one may be filled in.
    pub fn read(&self, pass: &Pass<'_>, iova: u64, data: &mut [u8]) -> Result<(), DmaError> {
        let mut rest = data;
        self.pieces(pass, iova, rest.len(), DmaAccess::Read, |slice| {
            let (now, later) = std::mem::take(&mut rest).split_at_mut(slice.len());
            rest = later;
            slice.read_into(now)
        })
    }

    /// Writes `data` at `iova`; it may span mappings that adjoin.
    ///
    /// # Errors
    /// As [`DmaMap::resolve`] and [`GuestSlice::write_from`]; the bytes before the failing one were written.
    pub fn write(&self, pass: &Pass<'_>, iova: u64, data: &[u8]) -> Result<(), DmaError> {
        let mut rest = data;
        self.pieces(pass, iova, rest.len(), DmaAccess::Write, |slice| {
            let (now, later) = rest.split_at(slice.len());
            rest = later;
            slice.write_from(now)
        })
    }

    /// Calls `each` with the slices that make up the range, in order. Bounded by the number of mappings.
    fn pieces(
        &self,
        pass: &Pass<'_>,
        mut iova: u64,
        len: usize,
        access: DmaAccess,
        mut each: impl FnMut(GuestSlice<'_>) -> Result<(), DmaError>,
    ) -> Result<(), DmaError> {
        self.bus_master()?;
        let table = self.table.get(pass);
        let mut left = len as u64;
        while left > 0 {
            let entry = table.find(iova, left, access)?;
            let now = left.min(entry.end - iova);
            each(slice_of(entry, iova, now, access)?)?;
            left -= now;
            iova += now;
        }
        Ok(())
    }

    #[inline]
    fn bus_master(&self) -> Result<(), DmaError> {
        if self.config.masters_bus() { Ok(()) } else { Err(DmaError::BusMasterDisabled) }
    }

    /// Mappings at this moment, with and without memory, and the bytes of memory mapped.
    pub fn usage(&self, token: &mut ThreadToken) -> (usize, u64) {
        self.control.lock(token).usage()
    }

    pub(crate) fn map(
        &self,
        token: &mut ThreadToken,
        request: DmaMapRequest,
        limits: &Limits,
        deadline: Deadline,
    ) -> Result<(), RequestError> {
        let permissions = request.validate()?;
        let DmaMapRequest { offset, iova, size, fd, .. } = request;
        let end = check_range(iova, size)?;
        if self.relay.get().is_some_and(|relay| relay.reserved(iova, size)) {
            return Err(RequestError::invalid(
                "the range is reserved for what is between device and consumer",
            ));
        }
        // Asked before the mapping is made, so that a refused request costs nothing, and again when it is entered.
        self.control.lock(token).admit(iova, end, fd.is_some(), limits)?;
        let mapping = match &fd {
            Some(file) => {
                let claim = self.share.claim()?;
                Some(Arc::new(Mapping::new(file, offset, size, permissions, &self.drain, claim)?))
            }
            None => None,
        };
        let relay = self.relay.get();
        let entry = Entry { iova, end, permissions, mapping };
        {
            let mut control = self.control.lock(token);
            control.admit(iova, end, fd.is_some(), limits)?;
            control.insert(entry, if relay.is_some() { Standing::Arriving } else { Standing::Here });
        }
        self.publish(token, deadline).map_err(|error| {
            let entry = self.control.lock(token).remove(iova);
            if let Some(mapping) = entry.and_then(|entry| entry.mapping) {
                mapping.sever();
            }
            closing(&error)
        })?;
        let Some(relay) = relay else { return Ok(()) };
        let mapped = Mapped { iova, size, offset, permissions, file: fd };
        if let Err(error) = relay.mapped(token, mapped, deadline) {
            let removed = self.control.lock(token).remove(iova);
            // What the device holds of it by now is severed, and remembered as an orphan.
            let _ = self.take_out(token, removed.into_iter().collect(), deadline);
            return Err(error);
        }
        self.control.lock(token).arrived(iova);
        Ok(())
    }

    /// Takes out every mapping in `iova..iova+size`, or all of them, and waits for DMA in flight: first elsewhere, if
    /// somebody follows there, then here.
    ///
    /// # Errors
    /// EINVAL: malformed, or it would split a mapping. ENOENT: there is none.
    pub(crate) fn unmap(
        &self,
        token: &mut ThreadToken,
        range: Option<(u64, u64)>,
        deadline: Deadline,
    ) -> Result<Unmapped, RequestError> {
        let range = match range {
            Some((iova, size)) => Some((iova, check_range(iova, size)?)),
            None => None,
        };
        let (removed, elsewhere) = match self.relay.get() {
            None => {
                let mut control = self.control.lock(token);
                let leaving = control.begin_leaving(range)?;
                (control.finish_leaving(&leaving), None)
            }
            Some(relay) => {
                let leaving = self.control.lock(token).begin_leaving(range)?;
                if leaving.is_empty() {
                    return Ok(Unmapped::default());
                }
                let elsewhere = relay.unmapped(token, &leaving, deadline).err().map(|error| error.reason);
                (self.control.lock(token).finish_leaving(&leaving), elsewhere)
            }
        };
        if removed.is_empty() {
            return Ok(Unmapped::default());
        }
        Ok(Unmapped { elsewhere, ..self.take_out(token, removed, deadline) })
    }

    /// Publishes a map without `removed`, waits for their holders, unmaps; what is left over is severed.
    fn take_out(&self, token: &mut ThreadToken, removed: Vec<Entry>, deadline: Deadline) -> Unmapped {
        let (pass_stuck, gone) = match self.publish(token, deadline) {
            Ok(()) => (false, false),
            Err(CloseError::Gone) => (false, true),
            Err(_) => (true, false),
        };
        let reachable = pass_stuck || gone;
        let mappings: Vec<_> = removed.iter().filter_map(|entry| entry.mapping.clone()).collect();
        // While the old table stands a mapping nobody holds can still be looked up, so only severing is safe. A
        // function that is gone lets nobody in any more; its table goes with the port.
        let drained = !reachable && self.drain.wait(token, &self.gate, &mappings, deadline);
        let mut orphans = Vec::new();
        for entry in &removed {
            let Some(mapping) = &entry.mapping else { continue };
            let held = mapping.held();
            if !reachable && (drained || held == 0) {
                mapping.release();
                continue;
            }
            mapping.sever();
            if held > 0 {
                orphans.push((entry.iova, entry.size(), held));
                self.control.lock(token).remember_orphan(mapping);
            }
        }
        Unmapped { count: removed.len(), orphans, pass_stuck, elsewhere: None }
    }

    /// Waits until no I/O holds memory that has left the map, here or elsewhere. False: some still does at the deadline.
    pub fn wait_for_orphans(&self, token: &mut ThreadToken, deadline: Deadline) -> bool {
        let orphans = self.control.lock(token).orphans();
        self.drain.wait(token, &self.gate, &orphans, deadline)
            && self.relay.get().is_none_or(|relay| relay.settled(token, deadline))
    }

    /// Sets or takes away who decides about the device's accesses.
    ///
    /// # Errors
    /// The gate could not be closed for a moment; the table that the device sees is as it was until the next change.
    pub(crate) fn tap(
        &self,
        token: &mut ThreadToken,
        tap: Option<Arc<dyn DmaTap>>,
        deadline: Deadline,
    ) -> Result<(), CloseError> {
        let old = self.control.lock(token).exchange_tap(tap);
        let published = self.publish(token, deadline);
        drop(old);
        published
    }

    /// Makes the truth what the device sees.
    pub(crate) fn publish(&self, token: &mut ThreadToken, deadline: Deadline) -> Result<(), CloseError> {
        let mut closed = self.gate.close_short(token, Reason::DmaUnmap, deadline)?;
        let table = self.control.lock_inside(&closed).table();
        let old = self.table.replace(&mut closed, table);
        drop(closed);
        // After reopening: it may be the last owner of mappings, and unmapping takes its time.
        drop(old);
        Ok(())
    }
}

#[inline]
fn whole_slice_of(entry: &Entry, iova: u64, len: u64, access: DmaAccess) -> Result<GuestSlice<'_>, DmaError> {
    if len > entry.end - iova {
        return Err(DmaError::NotMapped);
    }
    slice_of(entry, iova, len, access)
}

#[inline]
fn slice_of(entry: &Entry, iova: u64, len: u64, access: DmaAccess) -> Result<GuestSlice<'_>, DmaError> {
    entry.permit(access)?;
    let mapping = entry.mapping.as_ref().ok_or(DmaError::NoMemory)?;
    GuestSlice::new(mapping, iova - entry.iova, len, access)
}

/// What a consumer is told when the gate could not be closed for its request.
pub(crate) fn closing(error: &CloseError) -> RequestError {
    match error {
        CloseError::Gone => RequestError::new(Errno::ENODEV, "the function is gone"),
        CloseError::Contended { .. } => {
            RequestError::new(Errno::ETIMEDOUT, "the function is busy with another closer")
        }
        CloseError::Drain { .. } => {
            RequestError::new(Errno::ETIMEDOUT, "an access of the device did not end in time")
        }
    }
}
