//! What a consumer may ask of a function.

use gate::{Deadline, Reason, ThreadToken};
use pci_core::{AccessError, BarIndex, ConfigEffects, ErrorSign, ResetKind, Width};
use pci_spec::Command;

use super::Assignment;
use super::outcome::{access_failed, reset_failed};
use crate::dma::{DmaMapRequest, Unmapped, closing};
use crate::error::{Errno, RequestError};
use crate::event::Event;
use crate::interrupts::SetIrqs;
use crate::patience::Patience;
use crate::region::{self, RegionIndex};

/// Bytes of the widest access to a BAR or a region of the device's own (VF-15).
const WIDTH: usize = 8;

/// Bytes of the widest access to the ROM (VF-15).
const ROM_WIDTH: usize = 4;

/// Requests of a consumer that stand behind each other: what one of them waited, the others cannot wait again.
///
/// A client that sent some requests together counts the time of the last one from then on, not from when its turn
/// came. Made by [`Assignment::requests`].
pub struct Requests<'a> {
    assignment: &'a Assignment,
    patience: &'a mut Patience,
}

impl<'a> Requests<'a> {
    #[inline]
    pub(super) fn new(assignment: &'a Assignment, patience: &'a mut Patience) -> Requests<'a> {
        Requests { assignment, patience }
    }

    /// Wires, masks or signals interrupts (VF-31 to VF-35).
    ///
    /// # Errors
    /// As these say; ENODEV without a consumer attached or when the function is gone. Nothing has changed.
    pub fn set_irqs(&mut self, token: &mut ThreadToken, request: SetIrqs<'_>) -> Result<(), RequestError> {
        self.assignment.require_attached()?;
        let deadline = self.access_deadline();
        self.assignment.port.interrupts().set(token, request, deadline)
    }

    /// Reads `data.len()` bytes of a region. A frozen function or one that is gone reads all-ones (CFG-03, CFG-04).
    ///
    /// # Errors
    /// EINVAL: out of range. EIO: memory decoding is off (VF-17). ETIMEDOUT: the function stayed blocked. For a region that
    /// was added: as [`AddedRegion::read`](crate::AddedRegion::read). `data` is all-ones then.
    pub fn region_read(
        &mut self,
        token: &mut ThreadToken,
        index: u32,
        offset: u64,
        data: &mut [u8],
    ) -> Result<(), RequestError> {
        let done = self.read(token, index, offset, data);
        if done.is_err() {
            // Part of it may have been read before the error.
            data.fill(0xff);
        }
        done
    }

    fn read(
        &mut self,
        token: &mut ThreadToken,
        index: u32,
        offset: u64,
        data: &mut [u8],
    ) -> Result<(), RequestError> {
        let region = RegionIndex::new(index)?;
        let Requests { assignment, patience } = self;
        if let Some(added) = assignment.added(region) {
            let until = &mut || patience.deadline(assignment.limits.access_timeout);
            return added.read(token, offset, data, until);
        }
        region::check(offset, data.len(), assignment.region_size(region)?)?;
        let result = match region {
            RegionIndex::Config => {
                let offset = config_offset(offset)?;
                let until = || patience.deadline(assignment.limits.access_timeout);
                assignment.function.read_config(token, offset, data, until)
            }
            RegionIndex::Rom => self.read_bar(token, BarIndex::ROM, offset, data, ROM_WIDTH),
            RegionIndex::Bar(bar) => self.read_bar(token, bar, offset, data, WIDTH),
            RegionIndex::Device(_) => self.read_own(token, index, offset, data),
        };
        result.or_else(|error| {
            data.fill(0xff);
            access_failed(&error)
        })
    }

    /// Writes `data` to a region. A frozen function or one that is gone drops it.
    ///
    /// # Errors
    /// EINVAL: out of range, the ROM (VF-17), or a region of the device's own that cannot be written. EIO: memory decoding is off. ETIMEDOUT: the function stayed blocked;
    /// bytes before the one that waited were written. For a region that was added: as
    /// [`AddedRegion::write`](crate::AddedRegion::write).
    pub fn region_write(
        &mut self,
        token: &mut ThreadToken,
        index: u32,
        offset: u64,
        data: &[u8],
    ) -> Result<(), RequestError> {
        let region = RegionIndex::new(index)?;
        let Requests { assignment, patience } = self;
        if let Some(added) = assignment.added(region) {
            let until = &mut || patience.deadline(assignment.limits.access_timeout);
            return added.write(token, offset, data, until);
        }
        region::check(offset, data.len(), assignment.region_size(region)?)?;
        match region {
            RegionIndex::Rom => Err(RequestError::invalid("the ROM cannot be written")),
            RegionIndex::Config => self.write_config(token, config_offset(offset)?, data),
            RegionIndex::Bar(bar) => {
                let written = region::pieces(offset, data.len(), WIDTH).try_for_each(|piece| {
                    let bytes = &data[piece.start..piece.start + piece.len];
                    let until = || patience.deadline(assignment.limits.access_timeout);
                    assignment.function.write_bar(token, bar, piece.offset, bytes, until)
                });
                written.or_else(|error| access_failed(&error))
            }
            RegionIndex::Device(_) => self.write_own(token, index, offset, data),
        }
    }

    /// Makes memory of the consumer's reachable for the device.
    ///
    /// # Errors
    /// EEXIST: it overlaps a mapping. EINVAL: zero, unaligned, wrapping, beyond the file's end, or unknown flags.
    /// ENOSPC: a limit of this consumer, or of the process for all of them. ENODEV: the file is none that can be mapped, nobody is attached, or the function is gone. ETIMEDOUT: an
    /// access of the device did not end. Else the errno of `mmap`. Nothing has changed.
    pub fn dma_map(&mut self, token: &mut ThreadToken, request: DmaMapRequest) -> Result<(), RequestError> {
        self.assignment.require_attached()?;
        let deadline = self.access_deadline();
        self.assignment.port.dma().map(token, request, &self.assignment.limits, deadline)
    }

    /// Takes away the mappings that make up `iova..iova+size`, and waits for the DMA in flight to them.
    ///
    /// # Errors
    /// EINVAL: zero, unaligned, wrapping, or it would split a mapping. ENOENT: nothing is mapped there. ETIMEDOUT: DMA did
    /// not end in time: the mappings are gone all the same, cut off from the consumer's memory but for
    /// pages that the kernel has pinned for I/O, and the function is frozen.
    pub fn dma_unmap(&mut self, token: &mut ThreadToken, iova: u64, size: u64) -> Result<(), RequestError> {
        self.assignment.require_attached()?;
        let deadline = self.patience.deadline(self.assignment.limits.unmap_timeout);
        let unmapped = self.assignment.port.dma().unmap(token, Some((iova, size)), deadline)?;
        self.unmapped(token, &unmapped, (iova, size))
    }

    /// Takes away all mappings. With none there it succeeds.
    ///
    /// # Errors
    /// ETIMEDOUT as [`Requests::dma_unmap`].
    pub fn dma_unmap_all(&mut self, token: &mut ThreadToken) -> Result<(), RequestError> {
        self.assignment.require_attached()?;
        let deadline = self.patience.deadline(self.assignment.limits.unmap_timeout);
        let unmapped = self.assignment.port.dma().unmap(token, None, deadline)?;
        self.unmapped(token, &unmapped, (0, u64::MAX))
    }

    /// Resets the function (VF-40). Mappings, eventfds and COMMAND stay as the consumer set them. A function whose error is
    /// contained stays frozen.
    ///
    /// # Errors
    /// EAGAIN: it could not be made quiet in time; nothing was reset. ENODEV: it is gone.
    pub fn reset(&mut self, token: &mut ThreadToken) -> Result<(), RequestError> {
        let deadline = self.access_deadline();
        let Assignment { function, port, .. } = self.assignment;
        let command = function.config().command();
        function.reset(token, ResetKind::DeviceReset, deadline).map_err(|error| reset_failed(&error))?;
        // As vfio, whose reset restores what it saved: the consumer's BARs answer as before.
        match self.assignment.write_command(token, command, deadline) {
            // Reset as was asked for; when it is let go the consumer finds it as it has set it up.
            Err(_) if function.is_contained() => self.put_back_command(token, command, deadline)?,
            written => written?,
        }
        port.report(Event::Reset { reason: "the consumer asked for it" });
        Ok(())
    }

    /// Restores COMMAND of a function that admits nobody.
    fn put_back_command(
        &self,
        token: &mut ThreadToken,
        command: Command,
        deadline: Deadline,
    ) -> Result<(), RequestError> {
        let function = &self.assignment.function;
        let quiesced =
            function.gate().close(token, Reason::Reset, deadline).map_err(|error| closing(&error))?;
        let (register, value) = (pci_spec::config::COMMAND, command.bits().into());
        let written = function.config_write_quiesced(&quiesced, register, Width::Word, value);
        written.map(drop).map_err(|status| RequestError::new(status.errno(), "COMMAND was not restored"))
    }

    fn unmapped(
        &self,
        token: &ThreadToken,
        unmapped: &Unmapped,
        (iova, size): (u64, u64),
    ) -> Result<(), RequestError> {
        if unmapped.is_clean() {
            return Ok(());
        }
        // Frozen before anything else: the consumer will reuse the memory whatever we answer.
        let reason = unmapped.elsewhere.unwrap_or("DMA did not end when its memory was unmapped");
        self.assignment.port.freeze_for(token, reason, ErrorSign::DmaFault { iova });
        let held: usize = unmapped.orphans.iter().map(|(_, _, held)| held).sum();
        let stuck = usize::from(unmapped.pass_stuck) + usize::from(unmapped.elsewhere.is_some());
        let in_flight = held + stuck;
        self.assignment.port.report(Event::DmaUnmapTimedOut { iova, size, in_flight });
        self.assignment.report_orphans(unmapped);
        Err(RequestError::new(
            Errno::ETIMEDOUT,
            "DMA to the memory did not end in time; the function is frozen",
        ))
    }

    fn write_config(
        &mut self,
        token: &mut ThreadToken,
        offset: u16,
        data: &[u8],
    ) -> Result<(), RequestError> {
        // A write may reset the function, and wait for that: it takes its deadline whether or not it has to.
        let deadline = self.access_deadline();
        match self.assignment.function.write_config(token, offset, data, deadline) {
            Ok(effects) => self.config_changed(token, &effects, deadline),
            Err(error) => access_failed(&error),
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
                self.assignment.port.interrupts().refire(token, deadline)
            }
            _ => Ok(()),
        }
    }

    fn read_bar(
        &mut self,
        token: &mut ThreadToken,
        bar: BarIndex,
        offset: u64,
        data: &mut [u8],
        widest: usize,
    ) -> Result<(), AccessError> {
        let Requests { assignment, patience } = self;
        region::pieces(offset, data.len(), widest).try_for_each(|piece| {
            let bytes = &mut data[piece.start..piece.start + piece.len];
            let until = || patience.deadline(assignment.limits.access_timeout);
            assignment.function.read_bar(token, bar, piece.offset, bytes, until)
        })
    }

    fn read_own(
        &mut self,
        token: &mut ThreadToken,
        region: u32,
        offset: u64,
        data: &mut [u8],
    ) -> Result<(), AccessError> {
        let Requests { assignment, patience } = self;
        region::pieces(offset, data.len(), WIDTH).try_for_each(|piece| {
            let bytes = &mut data[piece.start..piece.start + piece.len];
            let until = || patience.deadline(assignment.limits.access_timeout);
            assignment.function.read_region(token, region, piece.offset, bytes, until)
        })
    }

    fn write_own(
        &mut self,
        token: &mut ThreadToken,
        region: u32,
        offset: u64,
        data: &[u8],
    ) -> Result<(), RequestError> {
        let Requests { assignment, patience } = self;
        let written = region::pieces(offset, data.len(), WIDTH).try_for_each(|piece| {
            let bytes = &data[piece.start..piece.start + piece.len];
            let until = || patience.deadline(assignment.limits.access_timeout);
            assignment.function.write_region(token, region, piece.offset, bytes, until)
        });
        written.or_else(|error| access_failed(&error))
    }

    fn access_deadline(&mut self) -> Deadline {
        self.patience.deadline(self.assignment.limits.access_timeout)
    }
}

fn config_offset(offset: u64) -> Result<u16, RequestError> {
    u16::try_from(offset).map_err(|_| RequestError::invalid("the access is outside the region"))
}
