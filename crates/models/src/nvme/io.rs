//! The namespace, and Read, Write and Flush on it. Write Zeroes and Dataset Management are in [`dsm`](super::dsm).
//!
//! Memory is copied between guest and backing right here, without a detour. A file's I/O gets a slot and a transfer
//! that holds the guest memory until the ring has done with it.
//!
//! NVMe 1.4 chapter 6 *NVM Command Set*.

use std::sync::Arc;

use assign::DmaAccess;
use nvme_spec::command::SubmissionEntry;
use nvme_spec::io::Cdw12;
use nvme_spec::{NSID_ALL, NvmOpcode, Status};

use super::backing::{FileBacking, MemoryBacking};
use super::data::{hold, transfer_error, walk_data};
use super::elsewhere::Away;
use super::engine::{Cx, Outcome};
use super::health::Health;
use super::outbox::Outbox;
use super::prp::Walk;
use super::ranges::ZeroMethod;
use super::slots::{Origin, Slots, Stepping, Unposted, Work};
use super::transfer::{Operation, TransferError};

/// The one namespace.
pub(super) const NSID: u32 = 1;

/// The backing as the engine uses it.
#[derive(Debug)]
pub(super) enum Storage {
    Memory(MemoryBacking),
    File(Arc<FileBacking>),
    /// Not here: commands are executed elsewhere.
    Elsewhere(Box<Away>),
}

/// The namespace and the commands on it.
#[derive(Debug)]
pub(super) struct Io {
    pub(super) storage: Storage,
    block_shift: u32,
    blocks: u64,
    pub(super) walk: Walk,
    /// Every write is durable before it is answered: the host turned the write cache off.
    pub(super) write_through: bool,
    /// Something may have been written since the last flush.
    pub(super) dirty: bool,
    pub(super) zero_method: ZeroMethod,
    pub(super) slots: Slots,
    pub(super) health: Health,
}

/// What became of a slot's result.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It belongs to a command.
    Command,
    /// It was the flush of a shutdown.
    Shutdown {
        /// It succeeded.
        ok: bool,
    },
}

/// A run of blocks, in bytes of the backing.
pub(super) struct Span {
    pub(super) offset: u64,
    pub(super) len: u64,
    pub(super) lba: u64,
}

impl Io {
    pub(super) fn new(storage: Storage, block_shift: u32) -> Self {
        let size = match &storage {
            Storage::Memory(memory) => memory.size(),
            Storage::File(file) => file.size(),
            // Namespaces are the back end's affair.
            Storage::Elsewhere(_) => 0,
        };
        Self {
            storage,
            block_shift,
            blocks: size >> block_shift,
            walk: Walk::default(),
            write_through: false,
            dirty: false,
            zero_method: ZeroMethod::default(),
            slots: Slots::default(),
            health: Health::new(),
        }
    }

    /// Logical blocks of the namespace, and the logarithm of their size.
    pub(super) fn geometry(&self) -> (u64, u32) {
        (self.blocks, self.block_shift)
    }

    /// Whether there is a volatile write cache.
    pub(super) fn has_cache(&self) -> bool {
        match &self.storage {
            Storage::Memory(_) => false,
            Storage::File(_) => true,
            Storage::Elsewhere(away) => away.offered().has_cache(),
        }
    }

    /// The write cache was turned on or off.
    pub(super) fn set_cache(&mut self, on: bool) {
        self.write_through = !on;
    }

    /// Whether a flush would do anything.
    pub(super) fn needs_flush(&self) -> bool {
        self.has_cache() && self.dirty
    }

    pub(super) fn describe(&self) -> String {
        let kind = match &self.storage {
            Storage::Memory(_) => "memory",
            Storage::File(file) if file.direct().is_some() => "file, direct I/O",
            Storage::File(_) => "file, page cache",
            Storage::Elsewhere(_) => return String::from("elsewhere"),
        };
        format!("{kind}, {} blocks of {} bytes", self.blocks, 1u64 << self.block_shift)
    }

    /// Back to how it is before the controller is enabled. What was written, and what was counted, stays.
    /// Says whether whoever executes commands elsewhere has to be told.
    pub(super) fn reset(&mut self) -> bool {
        let Self {
            storage,
            block_shift: _,
            blocks: _,
            walk: _,
            write_through,
            dirty: _,
            zero_method: _,
            slots,
            health: _,
        } = self;
        *write_through = false;
        slots.reset();
        if let Storage::Elsewhere(away) = storage { away.reset() } else { false }
    }

    /// Takes up what was saved. The blocks are where they were.
    pub(super) fn take_up(
        &mut self,
        cache: bool,
        saved_dirty: bool,
        saved_health: Health,
        stepping: Vec<Stepping>,
        unposted: Vec<Unposted>,
    ) {
        let Self {
            storage: _,
            block_shift: _,
            blocks: _,
            walk: _,
            write_through,
            dirty,
            zero_method: _,
            slots,
            health,
        } = self;
        *write_through = !cache;
        *dirty |= saved_dirty;
        *health = saved_health;
        slots.take_up(stepping, unposted);
    }

    /// Walks a command's data pointer; the segments are in `walk` then.
    #[inline]
    fn find_data(&mut self, cx: &Cx<'_>, entry: &SubmissionEntry, len: u64) -> Result<(), Status> {
        walk_data(&mut self.walk, cx, entry, len)
    }

    /// Executes a command, or starts it.
    #[inline]
    pub(super) fn execute(
        &mut self,
        cx: &mut Cx<'_>,
        origin: Origin,
        entry: &SubmissionEntry,
        spent: &mut u64,
    ) -> Result<Outcome, Status> {
        // Fused commands and SGLs are not offered.
        if entry.flags & 0b1100_0011 != 0 {
            return Err(Status::INVALID_FIELD);
        }
        match NvmOpcode::try_from(entry.opcode) {
            Ok(NvmOpcode::Read) => self.read(cx, origin, entry, spent),
            Ok(NvmOpcode::Write) => self.write(cx, origin, entry, spent),
            Ok(NvmOpcode::Flush) => self.flush(cx.out, origin, entry),
            Ok(NvmOpcode::WriteZeroes) => self.write_zeroes(origin, entry),
            Ok(NvmOpcode::DatasetManagement) => self.manage(cx, origin, entry),
            _ => Err(Status::INVALID_OPCODE),
        }
    }

    /// A command that touches `lba` is next: its blocks are fetched while the one before is copied. The block number is
    /// a peek at guest memory that decides nothing.
    #[inline]
    pub(super) fn expect(&self, lba: u64) {
        if let Storage::Memory(memory) = &self.storage
            && lba < self.blocks
        {
            memory.expect(lba << self.block_shift);
        }
    }

    /// The blocks that a command names.
    #[inline]
    pub(super) fn span(&self, entry: &SubmissionEntry) -> Result<Span, Status> {
        check_namespace(entry.nsid.get())?;
        let lba = entry.slba();
        let count = u64::from(Cdw12(entry.cdw12.get()).block_count());
        self.span_of(lba, count)
    }

    #[inline]
    pub(super) fn span_of(&self, lba: u64, count: u64) -> Result<Span, Status> {
        if lba.checked_add(count).is_none_or(|end| end > self.blocks) {
            return Err(Status::LBA_OUT_OF_RANGE);
        }
        Ok(Span { offset: lba << self.block_shift, len: count << self.block_shift, lba })
    }

    #[inline]
    fn read(
        &mut self,
        cx: &mut Cx<'_>,
        origin: Origin,
        entry: &SubmissionEntry,
        spent: &mut u64,
    ) -> Result<Outcome, Status> {
        let span = self.span(entry)?;
        self.find_data(cx, entry, span.len)?;
        *spent += span.len;
        let Storage::Memory(memory) = &self.storage else {
            return self.start(cx, origin, &span, Operation::Read, DmaAccess::Write, Work::Read(span.len));
        };
        let mut at = span.offset;
        for segment in self.walk.segments() {
            #[expect(clippy::cast_possible_truncation, reason = "at most the largest transfer")]
            let bytes = memory.bytes(at, segment.len as usize).ok_or(Status::INTERNAL_ERROR)?;
            match cx.dma.resolve(cx.pass, segment.iova, segment.len, DmaAccess::Write) {
                Ok(slice) => slice.write_from(bytes).map_err(transfer_error)?,
                // Contiguous for the device, but in more than one mapping.
                Err(_) => cx.dma.write(cx.pass, segment.iova, bytes).map_err(transfer_error)?,
            }
            at += segment.len;
        }
        self.health.count_read(span.len);
        Ok(Outcome::Done(0))
    }

    #[inline]
    fn write(
        &mut self,
        cx: &mut Cx<'_>,
        origin: Origin,
        entry: &SubmissionEntry,
        spent: &mut u64,
    ) -> Result<Outcome, Status> {
        let span = self.span(entry)?;
        self.find_data(cx, entry, span.len)?;
        *spent += span.len;
        let durable = Cdw12(entry.cdw12.get()).fua() || self.write_through;
        let Storage::Memory(memory) = &mut self.storage else {
            self.dirty = true;
            let operation = Operation::Write { durable };
            return self.start(cx, origin, &span, operation, DmaAccess::Read, Work::Write(span.len));
        };
        let mut at = span.offset;
        for segment in self.walk.segments() {
            #[expect(clippy::cast_possible_truncation, reason = "at most the largest transfer")]
            let bytes = memory.bytes_mut(at, segment.len as usize).ok_or(Status::INTERNAL_ERROR)?;
            match cx.dma.resolve(cx.pass, segment.iova, segment.len, DmaAccess::Read) {
                Ok(slice) => slice.read_into(bytes).map_err(transfer_error)?,
                Err(_) => cx.dma.read(cx.pass, segment.iova, bytes).map_err(transfer_error)?,
            }
            at += segment.len;
        }
        self.health.count_write(span.len);
        Ok(Outcome::Done(0))
    }

    /// Starts a transfer between the file and the segments found.
    fn start(
        &mut self,
        cx: &mut Cx<'_>,
        origin: Origin,
        span: &Span,
        operation: Operation,
        access: DmaAccess,
        work: Work,
    ) -> Result<Outcome, Status> {
        let slot = self.slots.take(origin, work, span.lba).ok_or(Status::INTERNAL_ERROR)?;
        let Some(mut transfer) = self.slots.transfer(slot) else { return Err(Status::INTERNAL_ERROR) };
        transfer.set(operation, span.offset, span.len);
        for segment in self.walk.segments() {
            if let Err(error) = hold(cx, &mut transfer, segment.iova, segment.len, access) {
                transfer.release();
                self.slots.take_back(slot, transfer);
                self.slots.release(slot);
                return Err(transfer_error(error));
            }
        }
        cx.out.starts.push((slot, transfer));
        Ok(Outcome::Later)
    }

    fn flush(
        &mut self,
        out: &mut Outbox,
        origin: Origin,
        entry: &SubmissionEntry,
    ) -> Result<Outcome, Status> {
        if entry.nsid.get() != NSID_ALL {
            check_namespace(entry.nsid.get())?;
        }
        if !self.has_cache() {
            return Ok(Outcome::Done(0));
        }
        let slot = self.slots.take(origin, Work::Flush, 0).ok_or(Status::INTERNAL_ERROR)?;
        self.start_sync(slot, out);
        Ok(Outcome::Later)
    }

    /// Starts the flush of a shutdown; false if it cannot be started now.
    pub(super) fn flush_for_shutdown(&mut self, out: &mut Outbox) -> bool {
        if let Storage::Elsewhere(away) = &mut self.storage {
            // It may be abandoned: what was written is safe when it has come back.
            return away.flush();
        }
        let Some(slot) = self.slots.take(Origin::Shutdown, Work::Flush, 0) else { return false };
        self.dirty = false;
        self.start_sync(slot, out);
        true
    }

    pub(super) fn start_sync(&mut self, slot: u16, out: &mut Outbox) {
        if let Some(mut transfer) = self.slots.transfer(slot) {
            transfer.set(Operation::Sync, 0, 0);
            out.starts.push((slot, transfer));
        }
    }

    /// Takes in the result of a slot's transfer of `moved` bytes.
    pub(super) fn take_result(&mut self, index: u16, moved: u64, result: Result<(), TransferError>) -> Taken {
        let Some(slot) = self.slots.get_mut(index) else { return Taken::Command };
        let (origin, work) = (slot.origin, slot.work);
        if origin == Origin::Shutdown {
            self.slots.release(index);
            self.dirty |= result.is_err();
            return Taken::Shutdown { ok: result.is_ok() };
        }
        match (work, result) {
            (Work::Ranges(mut ranges), Ok(())) => {
                ranges.advance(moved);
                slot.work = Work::Ranges(ranges);
                self.slots.continuing.push_back(index);
            }
            (Work::Ranges(ranges), Err(TransferError::Unsupported)) => {
                self.zero_otherwise(index, ranges.required)
            }
            (Work::Read(bytes), Ok(())) => {
                self.health.count_read(bytes);
                self.slots.finish(index, Status::SUCCESS);
            }
            (Work::Write(bytes), Ok(())) => {
                self.health.count_write(bytes);
                self.slots.finish(index, Status::SUCCESS);
            }
            (_, Ok(())) => self.slots.finish(index, Status::SUCCESS),
            (_, Err(TransferError::Memory)) => self.slots.finish(index, Status::DATA_TRANSFER_ERROR),
            (work, Err(_)) => {
                self.health.count_media_error();
                let read = matches!(work, Work::Read(_));
                let status = if read { Status::UNRECOVERED_READ_ERROR } else { Status::WRITE_FAULT };
                self.slots.finish(index, status);
            }
        }
        Taken::Command
    }
}

pub(super) fn check_namespace(nsid: u32) -> Result<(), Status> {
    if nsid == NSID { Ok(()) } else { Err(Status::INVALID_NAMESPACE_OR_FORMAT) }
}
