//! A function and its one consumer: attach, requests, detach.
//!
//! # Concurrency
//! One consumer at a time, by an atomic flag. Requests may come from several threads; each is atomic by the means
//! of what it changes (modules `dma` and `interrupts`). Nothing is locked here.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gate::{CloseError, Deadline, Refusal, ThreadToken};
use pci_core::{AccessError, BarIndex, ConfigEffects, Function, ResetError, ResetKind};
use pci_spec::Command;
use thiserror::Error;

use crate::dma::{DmaMapRequest, Unmapped, closing};
use crate::error::{Errno, RequestError};
use crate::event::Event;
use crate::interrupts::{IrqInfo, SetIrqs};
use crate::limits::Limits;
use crate::port::Port;
use crate::region::{self, RegionFlags, RegionIndex, RegionInfo};

/// A function that can be given to a consumer.
pub struct Assignment {
    function: Arc<Function>,
    port: Arc<Port>,
    limits: Limits,
    attached: AtomicBool,
}

/// Why a consumer could not attach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AttachError {
    /// Another consumer has the function, or has not finished leaving it.
    #[error("the function is in use")]
    Busy,
    /// The function cannot be used now.
    #[error("the function cannot be opened: {0}")]
    Refused(#[from] RequestError),
}

/// The answer to an information request about the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// The device can be reset.
    pub reset: bool,
    /// Region indexes.
    pub regions: u32,
    /// Interrupt indexes.
    pub irqs: u32,
}

/// A consumer's hold on a function. Leave with [`Attached::detach`].
///
/// Dropped without (a panic, an early return), it leaves on a thread of its own; until that is done nobody else
/// can attach.
#[must_use = "dropping it detaches"]
pub struct Attached {
    assignment: Option<Arc<Assignment>>,
    /// What methods go to; the same assignment, which `assignment` empties when the hold is given up.
    target: Arc<Assignment>,
}

impl Assignment {
    /// `port` is the one that the function's device model uses.
    pub fn new(function: Arc<Function>, port: Arc<Port>, limits: Limits) -> Arc<Assignment> {
        Arc::new(Assignment { function, port, limits, attached: AtomicBool::new(false) })
    }

    /// The function.
    pub fn function(&self) -> &Arc<Function> {
        &self.function
    }

    /// The device model's side.
    pub fn port(&self) -> &Arc<Port> {
        &self.port
    }

    /// The bounds on the consumer.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether a consumer has the function.
    pub fn is_attached(&self) -> bool {
        self.attached.load(Ordering::Acquire)
    }

    /// Gives the function to a consumer: bus mastering off, decoding on, as vfio's open does (VF-02).
    ///
    /// # Errors
    /// [`AttachError`]; nothing has changed.
    pub fn attach(self: &Arc<Self>, token: &mut ThreadToken) -> Result<Attached, AttachError> {
        if self.attached.swap(true, Ordering::AcqRel) {
            return Err(AttachError::Busy);
        }
        if let Err(error) =
            self.set_command(token, Command::MEMORY_SPACE | Command::IO_SPACE, Command::BUS_MASTER)
        {
            self.attached.store(false, Ordering::Release);
            return Err(AttachError::Refused(error));
        }
        self.port.report(Event::ClientAttached);
        Ok(Attached { assignment: Some(Arc::clone(self)), target: Arc::clone(self) })
    }

    /// Flags and counts (VF-12).
    pub fn device_info(&self) -> DeviceInfo {
        DeviceInfo { reset: true, regions: RegionIndex::COUNT, irqs: 5 }
    }

    /// Size, permissions and mappable areas of a region (VF-13, VF-14).
    ///
    /// # Errors
    /// EINVAL: there is no such region.
    pub fn region_info(&self, index: u32) -> Result<RegionInfo<'_>, RequestError> {
        let region = RegionIndex::new(index)?;
        let size = self.region_size(region);
        let mut flags = match region {
            _ if size == 0 => 0,
            RegionIndex::Rom => RegionFlags::READ,
            RegionIndex::Bar(_) | RegionIndex::Config => RegionFlags::READ | RegionFlags::WRITE,
        };
        let mapped = match region {
            RegionIndex::Bar(bar) if size != 0 => self.function.device().mapped_areas(bar),
            _ => None,
        };
        let (areas, fd) = match mapped {
            Some(mapped) if !mapped.areas.is_empty() => (mapped.areas.to_vec(), Some(mapped.fd)),
            _ => (Vec::new(), None),
        };
        if fd.is_some() {
            flags |= RegionFlags::MMAP;
        }
        Ok(RegionInfo { flags: RegionFlags(flags), size, areas, fd })
    }

    /// Flags and vectors of an interrupt index (VF-30).
    ///
    /// # Errors
    /// EINVAL: there is no such index.
    pub fn irq_info(&self, index: u32) -> Result<IrqInfo, RequestError> {
        self.port.interrupts().info(index)
    }

    /// Wires, masks or signals interrupts (VF-31 to VF-35).
    ///
    /// # Errors
    /// As these say; ENODEV without a consumer attached or when the function is gone. Nothing has changed.
    pub fn set_irqs(&self, token: &mut ThreadToken, request: SetIrqs<'_>) -> Result<(), RequestError> {
        self.require_attached()?;
        self.port.interrupts().set(token, request, self.deadline())
    }

    /// Reads `data.len()` bytes of a region. A frozen function or one that is gone reads all-ones (CFG-03, CFG-04).
    ///
    /// # Errors
    /// EINVAL: out of range. EIO: memory decoding is off (VF-17). ETIMEDOUT: the function stayed blocked.
    /// `data` is all-ones then.
    pub fn region_read(
        &self,
        token: &mut ThreadToken,
        index: u32,
        offset: u64,
        data: &mut [u8],
    ) -> Result<(), RequestError> {
        data.fill(0xff);
        let region = RegionIndex::new(index)?;
        region::check(offset, data.len(), self.region_size(region))?;
        let deadline = self.deadline();
        let result = match region {
            RegionIndex::Config => {
                let offset = config_offset(offset)?;
                self.function.read_config(token, offset, data, deadline)
            }
            RegionIndex::Rom => self.read_bar(token, BarIndex::ROM, offset, data, deadline),
            RegionIndex::Bar(bar) => self.read_bar(token, bar, offset, data, deadline),
        };
        result.or_else(|error| {
            // Part of it may have been read before the error.
            data.fill(0xff);
            access_failed(&error)
        })
    }

    /// Writes `data` to a region. A frozen function or one that is gone drops it.
    ///
    /// # Errors
    /// EINVAL: out of range, or the ROM (VF-17). EIO: memory decoding is off. ETIMEDOUT: the function stayed blocked;
    /// bytes before the one that waited were written.
    pub fn region_write(
        &self,
        token: &mut ThreadToken,
        index: u32,
        offset: u64,
        data: &[u8],
    ) -> Result<(), RequestError> {
        let region = RegionIndex::new(index)?;
        region::check(offset, data.len(), self.region_size(region))?;
        let deadline = self.deadline();
        match region {
            RegionIndex::Rom => Err(RequestError::invalid("the ROM cannot be written")),
            RegionIndex::Config => {
                let offset = config_offset(offset)?;
                match self.function.write_config(token, offset, data, deadline) {
                    Ok(effects) => self.config_changed(token, &effects, deadline),
                    Err(error) => access_failed(&error),
                }
            }
            RegionIndex::Bar(bar) => {
                let mut all = region::pieces(offset, data.len(), 8);
                let written = all.try_for_each(|piece| {
                    let bytes = &data[piece.start..piece.start + piece.len];
                    self.function.write_bar(token, bar, piece.offset, bytes, deadline)
                });
                written.or_else(|error| access_failed(&error))
            }
        }
    }

    /// Makes memory of the consumer's reachable for the device.
    ///
    /// # Errors
    /// EEXIST: it overlaps a mapping. EINVAL: zero, unaligned, wrapping, beyond the file's end, or unknown flags.
    /// ENOSPC: a limit. ENODEV: the file is none that can be mapped, nobody is attached, or the function is gone. ETIMEDOUT: an
    /// access of the device did not end. Else the errno of `mmap`. Nothing has changed.
    pub fn dma_map(&self, token: &mut ThreadToken, request: DmaMapRequest) -> Result<(), RequestError> {
        self.require_attached()?;
        self.port.dma().map(token, request, &self.limits)
    }

    /// Takes away the mappings that make up `iova..iova+size`, and waits for the DMA in flight to them.
    ///
    /// # Errors
    /// EINVAL: zero, unaligned, wrapping, or it would split a mapping. ENOENT: nothing is mapped there. ETIMEDOUT: DMA did
    /// not end in time: the mappings are gone all the same, cut off from the consumer's memory but for
    /// pages that the kernel has pinned for I/O, and the function is frozen.
    pub fn dma_unmap(&self, token: &mut ThreadToken, iova: u64, size: u64) -> Result<(), RequestError> {
        self.require_attached()?;
        let deadline = Deadline::after(self.limits.unmap_timeout);
        let unmapped = self.port.dma().unmap(token, Some((iova, size)), deadline)?;
        self.unmapped(&unmapped, iova, size)
    }

    /// Takes away all mappings. With none there it succeeds.
    ///
    /// # Errors
    /// ETIMEDOUT as [`Assignment::dma_unmap`].
    pub fn dma_unmap_all(&self, token: &mut ThreadToken) -> Result<(), RequestError> {
        self.require_attached()?;
        let deadline = Deadline::after(self.limits.unmap_timeout);
        let unmapped = self.port.dma().unmap(token, None, deadline)?;
        self.unmapped(&unmapped, 0, u64::MAX)
    }

    /// Resets the function (VF-40). Mappings, eventfds and COMMAND stay as the consumer set them.
    ///
    /// # Errors
    /// EAGAIN: it could not be made quiet in time; nothing was reset. ENODEV: it is gone.
    pub fn reset(&self, token: &mut ThreadToken) -> Result<(), RequestError> {
        let command = self.function.config().command();
        let reset = self.function.reset(token, ResetKind::DeviceReset, self.deadline());
        reset.map_err(|error| reset_failed(&error))?;
        // As vfio, whose reset restores what it saved: the consumer's BARs answer as before.
        self.write_command(token, command)?;
        self.port.report(Event::Reset { reason: "the consumer asked for it" });
        Ok(())
    }

    /// Drops what the consumer brought; the device's state stays.
    fn leave(&self, token: &mut ThreadToken) {
        // Best effort: a function that is frozen or gone has its DMA cut off already.
        let _ = self.set_command(token, Command::empty(), Command::BUS_MASTER);
        let deadline = Deadline::after(self.limits.detach_timeout);
        if let Err(error) = self.port.interrupts().clear(token, deadline) {
            tracing::warn!(function = self.function.name(), %error, "eventfds of the last client are still wired");
        }
        let orphans = match self.port.dma().unmap(token, None, deadline) {
            Ok(unmapped) => {
                if unmapped.pass_stuck {
                    self.port.freeze("an access of the device did not end when its client left");
                }
                self.report_orphans(&unmapped);
                unmapped.orphans.len()
            }
            Err(_) => 0,
        };
        self.attached.store(false, Ordering::Release);
        self.port.report(Event::ClientDetached { orphans });
    }

    fn unmapped(&self, unmapped: &Unmapped, iova: u64, size: u64) -> Result<(), RequestError> {
        if unmapped.is_clean() {
            return Ok(());
        }
        // Frozen before anything else: the consumer will reuse the memory whatever we answer.
        self.port.freeze("DMA did not end when its memory was unmapped");
        let held: usize = unmapped.orphans.iter().map(|(_, _, held)| held).sum();
        let in_flight = held + usize::from(unmapped.pass_stuck);
        self.port.report(Event::DmaUnmapTimedOut { iova, size, in_flight });
        self.report_orphans(unmapped);
        Err(RequestError::new(
            Errno::ETIMEDOUT,
            "DMA to the memory did not end in time; the function is frozen",
        ))
    }

    fn report_orphans(&self, unmapped: &Unmapped) {
        for &(iova, size, held) in &unmapped.orphans {
            self.port.report(Event::DmaOrphaned { iova, size, held });
        }
    }

    /// The consumer cleared DisINTx: a line that is asserted may speak now.
    fn config_changed(
        &self,
        token: &mut ThreadToken,
        effects: &ConfigEffects,
        deadline: Deadline,
    ) -> Result<(), RequestError> {
        match effects.command {
            Some(change) if change.old.difference(change.new).contains(Command::INTERRUPT_DISABLE) => {
                self.port.interrupts().refire(token, deadline)
            }
            _ => Ok(()),
        }
    }

    fn set_command(&self, token: &mut ThreadToken, set: Command, clear: Command) -> Result<(), RequestError> {
        self.write_command(token, (self.function.config().command() | set) - clear)
    }

    fn write_command(&self, token: &mut ThreadToken, command: Command) -> Result<(), RequestError> {
        let written = self.function.write_config(
            token,
            pci_spec::config::COMMAND,
            &command.bits().to_le_bytes(),
            self.deadline(),
        );
        written.map(drop).map_err(|error| match access_failed(&error) {
            Ok(()) => RequestError::new(Errno::EIO, "the function is frozen or gone"),
            Err(error) => error,
        })
    }

    fn read_bar(
        &self,
        token: &mut ThreadToken,
        bar: BarIndex,
        offset: u64,
        data: &mut [u8],
        deadline: Deadline,
    ) -> Result<(), AccessError> {
        region::pieces(offset, data.len(), 8).try_for_each(|piece| {
            let bytes = &mut data[piece.start..piece.start + piece.len];
            self.function.read_bar(token, bar, piece.offset, bytes, deadline)
        })
    }

    fn region_size(&self, region: RegionIndex) -> u64 {
        let config = self.function.config();
        match region {
            RegionIndex::Bar(bar) => config.window_size(bar).unwrap_or(0),
            RegionIndex::Rom => config.window_size(BarIndex::ROM).unwrap_or(0),
            RegionIndex::Config => pci_core::CONFIG_SIZE as u64,
        }
    }

    fn require_attached(&self) -> Result<(), RequestError> {
        if self.is_attached() {
            Ok(())
        } else {
            Err(RequestError::new(Errno::ENODEV, "no consumer is attached"))
        }
    }

    fn deadline(&self) -> Deadline {
        Deadline::after(self.limits.access_timeout)
    }
}

impl Attached {
    /// Leaves: drops the DMA map and the eventfds and waits, at most `Limits::detach_timeout`, for DMA in flight.
    /// What is left then keeps its addresses as an orphan, which an event tells of. The device's state stays.
    pub fn detach(mut self, token: &mut ThreadToken) {
        if let Some(assignment) = self.assignment.take() {
            assignment.leave(token);
        }
    }
}

impl Deref for Attached {
    type Target = Assignment;

    fn deref(&self) -> &Assignment {
        &self.target
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let Some(assignment) = self.assignment.take() else { return };
        let leaving = std::thread::Builder::new().name("detach".into()).spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            assignment.leave(&mut token);
        });
        if let Err(error) = leaving {
            tracing::error!(%error, "a client could not be detached; its function stays in use");
        }
    }
}

/// What a consumer is told: a function that is frozen or gone answers all-ones and drops writes, without an error.
fn access_failed(error: &AccessError) -> Result<(), RequestError> {
    match error {
        AccessError::Refused(Refusal::Frozen | Refusal::Gone | Refusal::StaleEpoch { .. }) => Ok(()),
        AccessError::Refused(Refusal::Blocked(_)) => {
            Err(RequestError::new(Errno::ETIMEDOUT, "the function was busy past the deadline"))
        }
        AccessError::MemoryDisabled(_) => Err(RequestError::new(Errno::EIO, "memory decoding is disabled")),
        AccessError::OutOfRange | AccessError::NoWindow(_) => {
            Err(RequestError::invalid("the access is outside the region"))
        }
        AccessError::ReadOnly => Err(RequestError::invalid("the ROM cannot be written")),
        AccessError::NotReset(error) => Err(reset_failed(error)),
        AccessError::PowerNotChanged(error) => Err(closing(error)),
    }
}

fn reset_failed(error: &ResetError) -> RequestError {
    match error {
        ResetError::Unsupported(_) => RequestError::invalid("the function has no such reset"),
        ResetError::NotQuiesced { cause: CloseError::Gone, .. } => {
            RequestError::new(Errno::ENODEV, "the function is gone")
        }
        ResetError::NotQuiesced { .. } => {
            RequestError::new(Errno::EAGAIN, "the function could not be made quiet in time")
        }
    }
}

fn config_offset(offset: u64) -> Result<u16, RequestError> {
    u16::try_from(offset).map_err(|_| RequestError::invalid("the access is outside the region"))
}
