//! Commands that take longer than one step: I/O on the file backing, and zeroing of ranges on either.
//!
//! A slot is taken when such a command starts and freed when its outcome is known; the outcome then waits in `done`
//! until it can be posted (the gate may be closed just then). Slots and their buffers are kept and used again.

use std::collections::VecDeque;

use nvme_spec::Status;

use super::limits::{DSM_RANGES, SLOTS};
use super::ranges::{ByteRange, RangeWork};
use super::transfer::Transfer;
use crate::saved::{Field, Reader, Writer, fields};

/// On whose behalf a slot works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// A command of the host.
    Command {
        /// The submission queue that it came from.
        sq: u16,
        /// Its identifier.
        cid: u16,
    },
    /// The flush that a shutdown asks for.
    Shutdown,
}

/// What a slot works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// Nothing: it is free.
    Idle,
    /// A read of so many bytes.
    Read(u64),
    /// A write of so many bytes.
    Write(u64),
    /// A flush, or the last step of a durable command.
    Flush,
    /// Zeroing or deallocating the slot's ranges.
    Ranges(RangeWork),
}

/// One slot.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) origin: Origin,
    pub(super) work: Work,
    /// The ranges of [`Work::Ranges`].
    pub(super) ranges: Vec<ByteRange>,
    /// The first block concerned, for the error log.
    pub(super) lba: u64,
    transfer: Option<Box<Transfer>>,
}

/// A command whose outcome is known and not yet posted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Done {
    pub(super) origin: Origin,
    pub(super) status: Status,
    pub(super) lba: u64,
}

impl Field for Status {
    fn put(&self, out: &mut Writer) {
        self.bits().put(out);
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        u16::take(from).map(Status::from_bits)
    }
}

/// A command over ranges between two steps, as it is saved.
#[derive(Debug, Clone)]
pub(super) struct Stepping {
    pub(super) sq: u16,
    pub(super) cid: u16,
    pub(super) lba: u64,
    pub(super) work: RangeWork,
    pub(super) ranges: Vec<ByteRange>,
}

impl Field for Stepping {
    fn put(&self, out: &mut Writer) {
        let Self { sq, cid, lba, work, ranges } = self;
        (*sq, *cid, *lba).put(out);
        work.put(out);
        out.list(ranges.iter());
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        let (sq, cid, lba) = Field::take(from)?;
        let work = Field::take(from)?;
        Some(Self { sq, cid, lba, work, ranges: from.list(DSM_RANGES)? })
    }
}

/// A command whose outcome was not posted, as it is saved.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unposted {
    pub(super) sq: u16,
    pub(super) cid: u16,
    pub(super) status: Status,
    pub(super) lba: u64,
}

fields!(Unposted { sq, cid, status, lba });

/// All slots of a controller.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    free: Vec<u16>,
    /// Slots whose next step has to be started by the engine.
    pub(super) continuing: VecDeque<u16>,
    /// Outcomes to post, oldest first.
    pub(super) done: VecDeque<Done>,
    generation: u64,
}

impl Slots {
    /// Slots that work on something.
    pub(super) fn busy(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether the engine itself has something to do: a step to start or an outcome to post.
    pub(super) fn has_steps(&self) -> bool {
        !self.continuing.is_empty() || !self.done.is_empty()
    }

    /// Whether no more command can be taken on. A slot is kept for the flush of a shutdown.
    pub(super) fn is_full(&self) -> bool {
        self.busy() >= SLOTS - 1
    }

    /// A free slot, now working on `work`; `None` if there is none.
    pub(super) fn take(&mut self, origin: Origin, work: Work, lba: u64) -> Option<u16> {
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.slots.len() < SLOTS => {
                let transfer = Some(Box::new(Transfer::new()));
                self.slots.push(Slot { origin, work: Work::Idle, ranges: Vec::new(), lba, transfer });
                u16::try_from(self.slots.len() - 1).ok()?
            }
            None => return None,
        };
        let slot = self.slots.get_mut(usize::from(index))?;
        (slot.origin, slot.work, slot.lba) = (origin, work, lba);
        slot.ranges.clear();
        Some(index)
    }

    pub(super) fn get_mut(&mut self, index: u16) -> Option<&mut Slot> {
        self.slots.get_mut(usize::from(index))
    }

    /// The slot's transfer, to be filled and started.
    pub(super) fn transfer(&mut self, index: u16) -> Option<Box<Transfer>> {
        let generation = self.generation;
        let slot = self.slots.get_mut(usize::from(index))?;
        let mut transfer = slot.transfer.take().unwrap_or_else(|| Box::new(Transfer::new()));
        transfer.generation = generation;
        Some(transfer)
    }

    /// Takes a transfer back. False: it was started before the last reset, and is nobody's.
    pub(super) fn take_back(&mut self, index: u16, transfer: Box<Transfer>) -> bool {
        let current = transfer.generation == self.generation;
        if current && let Some(slot) = self.slots.get_mut(usize::from(index)) {
            slot.transfer = Some(transfer);
        }
        current
    }

    /// The outcome of the slot's command is known: frees the slot and queues the outcome.
    pub(super) fn finish(&mut self, index: u16, status: Status) {
        let Some(slot) = self.slots.get_mut(usize::from(index)) else { return };
        let done = Done { origin: slot.origin, status, lba: slot.lba };
        self.release(index);
        self.done.push_back(done);
    }

    /// Frees the slot without an outcome: nobody waits for it.
    pub(super) fn release(&mut self, index: u16) {
        let Some(slot) = self.slots.get_mut(usize::from(index)) else { return };
        if slot.work != Work::Idle {
            slot.work = Work::Idle;
            self.free.push(index);
        }
    }

    /// Drops what the engine itself still had to do, as a controller reset does: steps not started, outcomes not posted.
    /// What is with the ring stays busy until it comes back.
    pub(super) fn abandon(&mut self) {
        self.done.clear();
        while let Some(index) = self.continuing.pop_front() {
            self.release(index);
        }
    }

    /// Every command that was taken and not answered: those between two steps, and those whose outcome is known. `None`:
    /// something is with the disk.
    pub(super) fn outstanding(&self) -> Option<(Vec<Stepping>, Vec<Unposted>)> {
        if self.busy() != self.continuing.len() {
            return None;
        }
        let stepping = |index: &u16| {
            let slot = self.slots.get(usize::from(*index))?;
            let (Origin::Command { sq, cid }, Work::Ranges(work)) = (slot.origin, slot.work) else {
                return None;
            };
            Some(Stepping { sq, cid, lba: slot.lba, work, ranges: slot.ranges.clone() })
        };
        let unposted = |done: &Done| {
            let Origin::Command { sq, cid } = done.origin else { return None };
            Some(Unposted { sq, cid, status: done.status, lba: done.lba })
        };
        Some((
            self.continuing.iter().map(stepping).collect::<Option<_>>()?,
            self.done.iter().map(unposted).collect::<Option<_>>()?,
        ))
    }

    /// Takes up what was [outstanding](Slots::outstanding). Nothing is in any slot.
    pub(super) fn take_up(&mut self, stepping: Vec<Stepping>, unposted: Vec<Unposted>) {
        for Stepping { sq, cid, lba, work, ranges } in stepping {
            let Some(index) = self.take(Origin::Command { sq, cid }, Work::Ranges(work), lba) else { return };
            if let Some(slot) = self.get_mut(index) {
                slot.ranges = ranges;
            }
            self.continuing.push_back(index);
        }
        let done =
            |Unposted { sq, cid, status, lba }| Done { origin: Origin::Command { sq, cid }, status, lba };
        self.done.extend(unposted.into_iter().map(done));
    }

    /// Frees everything. Whatever is still on its way back belongs to an older generation from now on.
    pub(super) fn reset(&mut self) {
        let Self { slots, free, continuing, done, generation } = self;
        slots.clear();
        free.clear();
        continuing.clear();
        done.clear();
        *generation += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: Origin = Origin::Command { sq: 1, cid: 2 };

    #[test]
    fn one_slot_stays_free_for_the_flush_of_a_shutdown() {
        let mut slots = Slots::default();
        while !slots.is_full() {
            assert!(slots.take(ORIGIN, Work::Flush, 0).is_some());
        }
        assert!(slots.take(Origin::Shutdown, Work::Flush, 0).is_some());
        assert!(slots.take(ORIGIN, Work::Flush, 0).is_none());
    }

    #[test]
    fn a_finished_slot_is_free_and_its_outcome_waits() {
        let mut slots = Slots::default();
        let index = slots.take(ORIGIN, Work::Read(512), 7).unwrap();
        assert_eq!(slots.busy(), 1);
        slots.finish(index, Status::SUCCESS);
        slots.release(index);
        assert_eq!((slots.busy(), slots.free.len()), (0, 1), "freed once");
        assert_eq!(slots.done.pop_front().unwrap().origin, ORIGIN);
    }

    #[test]
    fn a_transfer_from_before_a_reset_is_nobodys() {
        let mut slots = Slots::default();
        let index = slots.take(ORIGIN, Work::Flush, 0).unwrap();
        let transfer = slots.transfer(index).unwrap();
        slots.reset();
        let index = slots.take(ORIGIN, Work::Flush, 0).unwrap();
        assert!(!slots.take_back(index, transfer));
    }
}
