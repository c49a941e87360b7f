//! Where the shadow queues lie in the memory that the driver shares with a back end.
//!
//! The admin queues first, then a page for Identify structures, then for each I/O pair its rings. All of it is in one piece at
//! addresses that no consumer may map.

use nvme_spec::command::{COMPLETION_ENTRY_SIZE, SUBMISSION_ENTRY_SIZE};
use nvme_spec::register::Capabilities;

use models::nvme::host::Half;

/// Page of the back end (CC.MPS = 0), in bytes.
pub const PAGE: usize = 4096;
/// I/O queue pairs at most.
pub const MAX_QUEUES: u16 = 16;
/// Entries of the admin submission queue.
const ADMIN_ENTRIES: u16 = 128;

/// Sizes that everything else follows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    queues: u16,
    submission: u16,
    completion: u16,
}

impl Layout {
    /// `queues` I/O pairs (at most [`MAX_QUEUES`]) that hold `depth` commands each, or as many as a controller with these
    /// capabilities allows. A completion queue is twice as long if it may be, so that its doorbell need not be rung for each
    /// completion.
    #[must_use]
    pub fn new(queues: u16, depth: u16, capabilities: Capabilities) -> Self {
        let most = capabilities.mqes().saturating_add(1).max(2);
        // One entry of a ring always stays free.
        let submission = depth.clamp(1, 4095).saturating_add(1).min(most);
        Self { queues: queues.clamp(1, MAX_QUEUES), submission, completion: (submission * 2).min(most) }
    }

    /// I/O queue pairs.
    #[must_use]
    pub fn queues(&self) -> u16 {
        self.queues
    }

    /// Bytes of the whole memory for any controller, with these queues and this depth.
    #[must_use]
    pub fn largest(queues: u16, depth: u16) -> usize {
        Self::new(queues, depth, Capabilities::default().with_mqes(u16::MAX)).length()
    }

    /// Bytes of the whole memory.
    #[must_use]
    pub fn length(&self) -> usize {
        self.start(self.queues + 1)
    }

    /// Offset of the page for Identify structures.
    #[must_use]
    pub fn page(&self) -> usize {
        Self::bytes(ADMIN_ENTRIES, SUBMISSION_ENTRY_SIZE)
            + Self::bytes(2 * ADMIN_ENTRIES, COMPLETION_ENTRY_SIZE)
    }

    /// Submission and completion ring of a pair; 0 is the admin pair.
    #[must_use]
    pub fn pair(&self, qid: u16) -> (Half, Half) {
        let (submission, completion) =
            if qid == 0 { (ADMIN_ENTRIES, 2 * ADMIN_ENTRIES) } else { (self.submission, self.completion) };
        let at = if qid == 0 { 0 } else { self.start(qid) };
        let behind = at + Self::bytes(submission, SUBMISSION_ENTRY_SIZE);
        (Half { at, entries: submission }, Half { at: behind, entries: completion })
    }

    /// Where I/O pair `qid` begins, or would if there were one more.
    fn start(&self, qid: u16) -> usize {
        let pair = Self::bytes(self.submission, SUBMISSION_ENTRY_SIZE)
            + Self::bytes(self.completion, COMPLETION_ENTRY_SIZE);
        self.page() + PAGE + usize::from(qid.saturating_sub(1)) * pair
    }

    fn bytes(entries: u16, size: usize) -> usize {
        (usize::from(entries) * size).next_multiple_of(PAGE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_overlaps_and_everything_is_page_aligned() {
        for (queues, depth, mqes) in
            [(1, 1, 1), (3, 1024, 4095), (16, 1024, 1023), (2, 300, 255), (99, 9999, 65535)]
        {
            let layout = Layout::new(queues, depth, Capabilities::default().with_mqes(mqes));
            let mut parts = vec![(layout.page(), PAGE)];
            for qid in 0..=layout.queues() {
                let (submission, completion) = layout.pair(qid);
                assert!(submission.entries >= 2 && completion.entries >= submission.entries);
                assert!(qid == 0 || u32::from(completion.entries) <= u32::from(mqes) + 1);
                parts.push((submission.at, usize::from(submission.entries) * SUBMISSION_ENTRY_SIZE));
                parts.push((completion.at, usize::from(completion.entries) * COMPLETION_ENTRY_SIZE));
            }
            parts.sort_unstable();
            assert!(parts.iter().all(|(at, _)| at.is_multiple_of(PAGE)));
            assert!(parts.windows(2).all(|two| two[0].0 + two[0].1 <= two[1].0), "{parts:?}");
            let (at, length) = parts.last().unwrap();
            assert!(at + length <= layout.length() && layout.length() <= Layout::largest(queues, depth));
        }
    }
}
