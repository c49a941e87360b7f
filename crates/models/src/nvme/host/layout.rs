//! Where everything lies in the one piece of memory that driver and controller share.
//!
//! Admin queues first, then a page for each Identify structure and doorbell buffer, then for each I/O queue pair its
//! rings and its slots. A slot is a data buffer and the PRP list of that buffer, which is written once and for all.

use nvme_spec::command::{COMPLETION_ENTRY_SIZE, SUBMISSION_ENTRY_SIZE};

/// Page of the host and of the controller (CC.MPS = 0), in bytes.
pub(super) const PAGE: usize = 4096;
/// Address of the shared memory as the controller sees it. Above 4 GiB, so that an address cut to 32 bits shows.
pub(super) const IOVA: u64 = 0x1_0000_0000;
/// Entries of the admin queues.
pub(super) const ADMIN_ENTRIES: u16 = 32;
/// Largest transfer of one slot, in bytes: its PRP list fits one page.
pub(super) const MAX_TRANSFER: usize = 1 << 20;

pub(super) const ADMIN_SQ: usize = 0;
pub(super) const ADMIN_CQ: usize = PAGE;
pub(super) const IDENTIFY: usize = 2 * PAGE;
pub(super) const SHADOW_DOORBELLS: usize = 3 * PAGE;
pub(super) const EVENT_INDEXES: usize = 4 * PAGE;
const FIRST_QUEUE: usize = 5 * PAGE;

/// Sizes that the layout follows from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// I/O queue pairs.
    pub(super) queues: u16,
    /// Slots of each.
    pub(super) depth: u16,
    /// Entries of each ring; more than `depth`, since a ring with all entries taken looks empty.
    pub(super) entries: u16,
    /// Bytes of each slot's buffer, whole pages.
    pub(super) transfer: usize,
}

impl Layout {
    /// Bytes of the whole memory.
    pub(super) fn length(&self) -> usize {
        FIRST_QUEUE + usize::from(self.queues) * self.queue_length()
    }

    fn queue_length(&self) -> usize {
        self.sq_length() + self.cq_length() + usize::from(self.depth) * (PAGE + self.transfer)
    }

    fn sq_length(&self) -> usize {
        (usize::from(self.entries) * SUBMISSION_ENTRY_SIZE).next_multiple_of(PAGE)
    }

    fn cq_length(&self) -> usize {
        (usize::from(self.entries) * COMPLETION_ENTRY_SIZE).next_multiple_of(PAGE)
    }

    /// Submission ring of I/O queue pair `index` (from 0), as an offset in the memory.
    pub(super) fn submission(&self, index: u16) -> usize {
        FIRST_QUEUE + usize::from(index) * self.queue_length()
    }

    /// Completion ring of the pair.
    pub(super) fn completion(&self, index: u16) -> usize {
        self.submission(index) + self.sq_length()
    }

    /// PRP list of a slot of the pair.
    pub(super) fn prp_list(&self, index: u16, slot: u16) -> usize {
        self.completion(index) + self.cq_length() + usize::from(slot) * PAGE
    }

    /// Data buffer of a slot of the pair.
    pub(super) fn buffer(&self, index: u16, slot: u16) -> usize {
        self.prp_list(index, self.depth) + usize::from(slot) * self.transfer
    }
}

/// The controller's address of an offset in the memory.
pub(super) fn iova(offset: usize) -> u64 {
    IOVA + offset as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_overlaps_and_everything_is_page_aligned() {
        let layout = Layout { queues: 3, depth: 5, entries: 300, transfer: 3 * PAGE };
        let mut parts = vec![
            (ADMIN_SQ, usize::from(ADMIN_ENTRIES) * SUBMISSION_ENTRY_SIZE),
            (ADMIN_CQ, usize::from(ADMIN_ENTRIES) * COMPLETION_ENTRY_SIZE),
            (IDENTIFY, PAGE),
            (SHADOW_DOORBELLS, PAGE),
            (EVENT_INDEXES, PAGE),
        ];
        for queue in 0..3 {
            parts.push((layout.submission(queue), 300 * SUBMISSION_ENTRY_SIZE));
            parts.push((layout.completion(queue), 300 * COMPLETION_ENTRY_SIZE));
            for slot in 0..5 {
                parts.push((layout.prp_list(queue, slot), PAGE));
                parts.push((layout.buffer(queue, slot), 3 * PAGE));
            }
        }
        parts.sort_unstable();
        assert!(parts.iter().all(|(start, _)| start % PAGE == 0));
        assert!(parts.windows(2).all(|pair| pair[0].0 + pair[0].1 <= pair[1].0), "{parts:?}");
        let (start, length) = parts.last().unwrap();
        assert_eq!(start + length, layout.length());
    }
}
