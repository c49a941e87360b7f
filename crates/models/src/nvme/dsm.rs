//! Write Zeroes and Dataset Management: both zero ranges, step by step (see [`ranges`](super::ranges)).
//!
//! Write Zeroes gives blocks back too, whether or not its Deallocate bit asks for it: they read as zeros either way, and
//! a sparse file stays sparse.
//!
//! NVMe 1.4 s6.7 *Dataset Management command*, s6.16 *Write Zeroes command*.

use nvme_spec::command::SubmissionEntry;
use nvme_spec::io::Cdw12;
use nvme_spec::{Status, dsm};
use zerocopy::FromBytes;

use super::data::read_data;
use super::engine::{Cx, Outcome};
use super::io::{Io, Span, Storage, check_namespace};
use super::limits::{DSM_RANGES, RANGE_STEP_BYTES};
use super::outbox::Outbox;
use super::ranges::{ByteRange, RangeWork};
use super::slots::{Origin, Work};

impl Io {
    pub(super) fn write_zeroes(
        &mut self,
        origin: Origin,
        entry: &SubmissionEntry,
    ) -> Result<Outcome, Status> {
        let span = self.span(entry)?;
        let durable = (Cdw12(entry.cdw12.get()).fua() || self.write_through) && self.has_cache();
        let work = Work::Ranges(RangeWork::new(true, durable));
        let slot = self.slots.take(origin, work, span.lba).ok_or(Status::INTERNAL_ERROR)?;
        if let Some(slot) = self.slots.get_mut(slot) {
            slot.ranges.push(ByteRange { offset: span.offset, len: span.len });
        }
        self.slots.continuing.push_back(slot);
        Ok(Outcome::Later)
    }

    /// Dataset Management: deallocates; the other attributes are hints that nothing is done with.
    pub(super) fn manage(
        &mut self,
        cx: &mut Cx<'_>,
        origin: Origin,
        entry: &SubmissionEntry,
    ) -> Result<Outcome, Status> {
        check_namespace(entry.nsid.get())?;
        let count = dsm::Cdw10(entry.cdw10.get()).range_count().min(DSM_RANGES);
        let mut buffer = [0; DSM_RANGES * size_of::<dsm::Range>()];
        let bytes = buffer.get_mut(..count * size_of::<dsm::Range>()).ok_or(Status::INTERNAL_ERROR)?;
        read_data(&mut self.walk, cx, entry, bytes)?;
        if !dsm::Cdw11(entry.cdw11.get()).ad() {
            return Ok(Outcome::Done(0));
        }
        let ranges = <[dsm::Range]>::ref_from_bytes(bytes).map_err(|_| Status::INTERNAL_ERROR)?;
        let durable = self.write_through && self.has_cache();
        let work = Work::Ranges(RangeWork::new(false, durable));
        let first = ranges.first().map_or(0, |range| range.slba.get());
        let slot = self.slots.take(origin, work, first).ok_or(Status::INTERNAL_ERROR)?;
        for range in ranges {
            match self.span_of(range.slba.get(), u64::from(range.length.get())) {
                Ok(Span { offset, len, .. }) => {
                    if let Some(slot) = self.slots.get_mut(slot) {
                        slot.ranges.push(ByteRange { offset, len });
                    }
                }
                Err(status) => {
                    self.slots.release(slot);
                    return Err(status);
                }
            }
        }
        self.slots.continuing.push_back(slot);
        Ok(Outcome::Later)
    }

    /// Takes the next step of a command over ranges.
    pub(super) fn step(&mut self, index: u16, out: &mut Outbox) {
        let (operation, most) = match &self.storage {
            // A command that is elsewhere has no steps.
            Storage::Memory(_) | Storage::Elsewhere(_) => (None, RANGE_STEP_BYTES),
            Storage::File(_) => {
                let (operation, most) = self.zero_method.operation();
                (Some(operation), most)
            }
        };
        let Some(slot) = self.slots.get_mut(index) else { return };
        let Work::Ranges(mut work) = slot.work else { return };
        let piece = work.next(&slot.ranges, most);
        slot.work = Work::Ranges(work);
        match (piece, operation) {
            (None, Some(_)) if work.durable => {
                slot.work = Work::Flush;
                self.start_sync(index, out);
            }
            (None, _) => self.slots.finish(index, Status::SUCCESS),
            (Some(piece), Some(operation)) => {
                self.dirty = true;
                if let Some(mut transfer) = self.slots.transfer(index) {
                    transfer.set(operation, piece.offset, piece.len);
                    out.starts.push((index, transfer));
                }
            }
            (Some(piece), None) => {
                work.advance(piece.len);
                slot.work = Work::Ranges(work);
                let Storage::Memory(memory) = &mut self.storage else { return };
                let done = usize::try_from(piece.len).is_ok_and(|len| memory.deallocate(piece.offset, len));
                if done {
                    self.slots.continuing.push_back(index);
                } else {
                    self.slots.finish(index, Status::INTERNAL_ERROR);
                }
            }
        }
    }

    /// The file system cannot zero as it was asked to: another way, or for a mere hint none at all.
    pub(super) fn zero_otherwise(&mut self, index: u16, required: bool) {
        match self.zero_method.next() {
            Some(next) if required => {
                self.zero_method = next;
                self.slots.continuing.push_back(index);
            }
            _ if required => self.slots.finish(index, Status::WRITE_FAULT),
            _ => self.slots.finish(index, Status::SUCCESS),
        }
    }
}
