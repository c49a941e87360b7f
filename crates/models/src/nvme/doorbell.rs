//! The doorbell page: one page of the memory that lies behind BAR 0, so that it can be mapped.
//!
//! NVMe 1.4 s3.1.24 and s3.1.25 *Submission Queue y Tail Doorbell*, *Completion Queue y Head Doorbell*, with
//! CAP.DSTRD = 0: two little-endian dwords for each queue pair from 0x1000 on.
//!
//! Doorbells arrive by two paths, stores of a client that mapped the page and writes that come as messages; the
//! latter are stored here as well, so whoever polls never sees an older value than was written. Concurrency:
//! every access is a 32-bit atomic; the page may be shared with another process, which may store anything at any time,
//! also while the function is frozen: what is stored then is found when all doorbells are read again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use mapping::{Area, Holds, Memory};
use nvme_spec::Doorbell;
pub(super) use nvme_spec::register::DOORBELLS;
use pci_core::Mappable;

use super::limits::{PAGE_LEN, QUEUES};

/// CAP.DSTRD.
pub(super) const STRIDE: u8 = 0;
/// Length of the doorbell page, which starts at [`DOORBELLS`].
pub(super) const DOORBELL_BYTES: u64 = PAGE_LEN as u64;
/// Length of BAR 0: registers, doorbells, MSI-X table, pending bits; a page each. Only the doorbells lie in memory.
pub(super) const BAR0_BYTES: u64 = 0x4000;

/// The doorbell at `offset` from the start of BAR 0; `None` between two, and beyond the last queue there can be.
pub(super) fn doorbell_at(offset: u64) -> Option<Doorbell> {
    Doorbell::decode(offset, STRIDE).filter(|doorbell| (doorbell.index() as usize) < QUEUES * 2)
}

/// The page is as the queues have it.
const FOLLOWS: u8 = 0;
/// The state was saved: what the next reset finds in the page it leaves there.
const SAVED: u8 = 1;
/// A reset has left the page as it was, though no queue exists, for the state to be restored.
const LEFT: u8 = 2;

/// The doorbell page. A doorbell reads 0, and what is stored is dropped, until it is set up.
#[derive(Debug)]
pub(super) struct DoorbellPage {
    memory: Arc<Memory>,
    /// A bit for each doorbell whose queue exists, so that a doorbell write takes no lock.
    exists: [AtomicU64; (QUEUES * 2).div_ceil(64)],
    /// Whether what is stored between saving and restoring is kept: a client does not know that there is anything going on,
    /// and a doorbell that it rings meanwhile is never rung again.
    keeping: AtomicU8,
}

impl DoorbellPage {
    /// A page that takes no memory yet.
    pub(super) fn new() -> Self {
        Self {
            memory: Memory::new("nvme-bar0", BAR0_BYTES),
            exists: Default::default(),
            keeping: AtomicU8::new(FOLLOWS),
        }
    }

    /// Before the first queue is made.
    ///
    /// # Errors
    /// What the system says: no descriptor or no memory left.
    pub(super) fn set_up(&self) -> io::Result<()> {
        if self.keeping.swap(FOLLOWS, Ordering::AcqRel) == LEFT {
            self.memory.clear();
        }
        self.memory.set_up()
    }

    /// The state is being saved: what is rung from now on is kept until it has been restored.
    pub(super) fn keep(&self) {
        self.keeping.store(SAVED, Ordering::Release);
    }

    /// The controller works on after the state was saved, or was restored: a reset clears the page again.
    pub(super) fn end_keeping(&self) {
        self.keeping.store(FOLLOWS, Ordering::Release);
    }

    /// Before the first [`DoorbellPage::put_back`].
    ///
    /// # Errors
    /// As [`DoorbellPage::set_up`].
    pub(super) fn set_up_again(&self) -> io::Result<()> {
        self.memory.set_up()
    }

    /// The queue of a doorbell is there again, which stood at `value` when it was saved. What was rung since counts.
    pub(super) fn put_back(&self, doorbell: Doorbell, value: u32) {
        if self.keeping.load(Ordering::Acquire) != LEFT {
            self.store(doorbell, value);
        }
        self.note_exists(doorbell, true);
    }

    /// A doorbell was rung that nobody could be told of: the function is frozen.
    pub(super) fn ring_unheard(&self, doorbell: Doorbell, value: u32) {
        if self.exists(doorbell) || self.keeping.load(Ordering::Acquire) == LEFT {
            self.store(doorbell, value);
        }
    }

    /// What a consumer may map: the doorbells and nothing else.
    pub(super) fn mappable(&self) -> Mappable {
        let area = Area { offset: DOORBELLS, size: DOORBELL_BYTES, holds: Holds::Doorbells };
        Mappable { memory: Arc::clone(&self.memory), areas: vec![area] }
    }

    /// Gives the memory back, and with it whatever a client has left in it. For a reset of the function.
    pub(super) fn release(&self) {
        if self.keeping.load(Ordering::Acquire) != LEFT {
            self.memory.clear();
        }
    }

    /// The value last stored. Whatever the client wrote before it stored this value is visible afterwards.
    #[inline]
    pub(super) fn load(&self, doorbell: Doorbell) -> u32 {
        self.cell(doorbell).map_or(0, |cell| u32::from_le(cell.load(Ordering::Acquire)))
    }

    /// Stores a value.
    #[inline]
    pub(super) fn store(&self, doorbell: Doorbell, value: u32) {
        if let Some(cell) = self.cell(doorbell) {
            cell.store(value.to_le(), Ordering::Release);
        }
    }

    /// Notes that the queue of a doorbell was made or deleted, and sets the doorbell to 0, its value for a new queue.
    pub(super) fn set_exists(&self, doorbell: Doorbell, exists: bool) {
        self.store(doorbell, 0);
        self.note_exists(doorbell, exists);
    }

    fn note_exists(&self, doorbell: Doorbell, exists: bool) {
        let index = doorbell.index() as usize;
        let Some(word) = self.exists.get(index / 64) else { return };
        let bit = 1 << (index % 64);
        if exists {
            word.fetch_or(bit, Ordering::Release);
        } else {
            word.fetch_and(!bit, Ordering::Release);
        }
    }

    /// Whether the queue of a doorbell exists.
    pub(super) fn exists(&self, doorbell: Doorbell) -> bool {
        let index = doorbell.index() as usize;
        self.exists.get(index / 64).is_some_and(|word| word.load(Ordering::Acquire) >> (index % 64) & 1 != 0)
    }

    /// No queue exists and every doorbell is 0, as after a controller reset; unless the state was saved right before.
    pub(super) fn clear_all(&self) {
        // Before the queues go: what is rung from now on is for after.
        let kept = self.keeping.compare_exchange(SAVED, LEFT, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if !kept {
            self.end_keeping();
        }
        for word in &self.exists {
            word.store(0, Ordering::Release);
        }
        if kept {
            return;
        }
        for index in 0..QUEUES * 2 {
            if let Some(cell) = self.at(index) {
                cell.store(0, Ordering::Release);
            }
        }
    }

    #[inline]
    fn cell(&self, doorbell: Doorbell) -> Option<&AtomicU32> {
        self.at(doorbell.index() as usize)
    }

    #[inline]
    fn at(&self, index: usize) -> Option<&AtomicU32> {
        const { assert!(QUEUES * 8 <= PAGE_LEN) };
        self.memory.dword(DOORBELLS + index as u64 * 4)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use super::*;

    fn page() -> DoorbellPage {
        let page = DoorbellPage::new();
        page.set_up().unwrap();
        page
    }

    #[test]
    fn offsets_name_doorbells_up_to_the_last_queue() {
        assert_eq!(doorbell_at(0x0ffc), None);
        assert_eq!(doorbell_at(0x1000), Some(Doorbell::SubmissionTail(0)));
        assert_eq!(doorbell_at(0x1000 + 64 * 8 + 4), Some(Doorbell::CompletionHead(64)));
        assert_eq!(doorbell_at(0x1000 + 65 * 8), None);
        assert_eq!(doorbell_at(0x1002), None);
        assert_eq!(doorbell_at(u64::MAX), None);
    }

    #[test]
    fn a_queue_exists_from_its_making_to_its_deletion_and_starts_at_zero() {
        let page = page();
        let last = Doorbell::CompletionHead(64);
        assert!(!page.exists(last));
        page.store(last, 5);
        page.set_exists(last, true);
        assert!(page.exists(last) && !page.exists(Doorbell::SubmissionTail(64)));
        assert_eq!(page.load(last), 0);
        page.set_exists(last, false);
        assert!(!page.exists(last));
    }

    #[test]
    fn a_store_through_the_file_is_seen_in_the_page_and_back() {
        let page = page();
        let Mappable { memory, areas } = page.mappable();
        assert_eq!((areas[0].offset, areas[0].size, areas.len()), (0x1000, 0x1000, 1));
        let file = File::from(memory.file(0x1000).unwrap().try_clone().unwrap());
        file.write_all_at(&7u32.to_le_bytes(), 0x1008).unwrap();
        assert_eq!(page.load(Doorbell::SubmissionTail(1)), 7);
        page.store(Doorbell::CompletionHead(1), 9);
        let mut dword = [0; 4];
        file.read_exact_at(&mut dword, 0x100c).unwrap();
        assert_eq!(u32::from_le_bytes(dword), 9);
        page.clear_all();
        assert_eq!(page.load(Doorbell::SubmissionTail(1)), 0);
    }

    #[test]
    fn a_page_that_is_not_set_up_reads_zero_and_takes_nothing() {
        let page = DoorbellPage::new();
        page.store(Doorbell::SubmissionTail(1), 5);
        page.clear_all();
        page.release();
        assert_eq!(page.load(Doorbell::SubmissionTail(1)), 0);
    }

    #[test]
    fn what_is_rung_between_saving_and_restoring_counts() {
        let page = page();
        let [first, second] = [Doorbell::SubmissionTail(1), Doorbell::SubmissionTail(2)];
        page.set_exists(first, true);
        page.set_exists(second, true);
        page.store(first, 5);
        page.store(second, 6);
        page.keep();
        page.store(first, 7);
        page.clear_all();
        page.release();
        assert!(!page.exists(first));
        page.ring_unheard(second, 0);
        page.set_up_again().unwrap();
        page.put_back(first, 5);
        page.put_back(second, 6);
        page.end_keeping();
        assert_eq!((page.load(first), page.load(second)), (7, 0));
        assert!(page.exists(first) && page.exists(second));
    }

    #[test]
    fn what_was_kept_is_gone_when_the_controller_is_enabled_instead_or_reset_again() {
        let leave = |page: &DoorbellPage| {
            page.set_exists(Doorbell::SubmissionTail(1), true);
            page.store(Doorbell::SubmissionTail(1), 5);
            page.keep();
            page.clear_all();
            page.release();
            assert_eq!(page.load(Doorbell::SubmissionTail(1)), 5);
        };
        let page = page();
        leave(&page);
        page.set_up().unwrap();
        assert_eq!(page.load(Doorbell::SubmissionTail(1)), 0, "enabled");
        leave(&page);
        page.clear_all();
        page.release();
        assert_eq!(page.load(Doorbell::SubmissionTail(1)), 0, "reset again");
        // Saved, and then nothing came of it.
        page.set_exists(Doorbell::SubmissionTail(1), true);
        page.keep();
        page.end_keeping();
        page.store(Doorbell::SubmissionTail(1), 9);
        page.clear_all();
        assert_eq!(page.load(Doorbell::SubmissionTail(1)), 0, "no reset followed");
    }

    #[test]
    fn a_release_takes_away_what_a_client_left_beside_the_doorbells() {
        let page = page();
        let file = File::from(page.mappable().memory.file(0).unwrap().try_clone().unwrap());
        file.write_all_at(b"left", 0x1ff0).unwrap();
        page.release();
        let mut data = [1; 4];
        file.read_exact_at(&mut data, 0x1ff0).unwrap();
        assert_eq!(data, [0; 4]);
    }
}
