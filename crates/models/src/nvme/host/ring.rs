//! One queue pair in shared memory: entries out, completions in.
//!
//! Indexes only: ringing doorbells, and whether there is room, is the caller's. The controller writes to the memory at any
//! time and is not trusted: a completion is what was read once, and says nothing that is believed here. NVMe Base 1.4 s4.1 Submission Queue & Completion Queue
//! Definition.

use std::sync::atomic::Ordering;

use nvme_spec::command::{COMPLETION_ENTRY_SIZE, SUBMISSION_ENTRY_SIZE};
use nvme_spec::{CompletionEntry, SubmissionEntry};
use vfio_user::client::{ClientError, SharedMemory};
use zerocopy::{FromBytes, IntoBytes};

/// Where one ring of a pair lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Half {
    /// Offset in the shared memory, in bytes; page aligned. The memory there is zero when the ring is made.
    pub at: usize,
    /// Entries, at least 2.
    pub entries: u16,
}

/// A submission ring and its completion ring.
#[derive(Debug)]
pub struct Ring {
    qid: u16,
    submission: Half,
    completion: Half,
    tail: u16,
    head: u16,
    /// Value of the phase tag of a new completion: flips with each round.
    phase: bool,
}

impl Ring {
    /// Empty rings.
    #[must_use]
    pub fn new(qid: u16, submission: Half, completion: Half) -> Self {
        Self { qid, submission, completion, tail: 0, head: 0, phase: true }
    }

    /// Queue identifier of both; 0 is the admin pair.
    #[must_use]
    pub fn qid(&self) -> u16 {
        self.qid
    }

    /// Where the next command goes: the value of the submission queue's doorbell.
    #[must_use]
    pub fn tail(&self) -> u16 {
        self.tail
    }

    /// Where the next completion is expected: the value of the completion queue's doorbell.
    #[must_use]
    pub fn head(&self) -> u16 {
        self.head
    }

    /// Writes a command; the controller sees it when the doorbell is rung. The caller keeps fewer commands in flight than the
    /// ring has entries.
    ///
    /// # Errors
    /// The ring lies outside of the memory; nothing was written.
    #[inline]
    pub fn push(&mut self, memory: &SharedMemory, entry: &SubmissionEntry) -> Result<(), ClientError> {
        let at = self.submission.at + usize::from(self.tail) * SUBMISSION_ENTRY_SIZE;
        memory.write(at, entry.as_bytes()).map_err(ClientError::Memory)?;
        self.tail = if self.tail + 1 >= self.submission.entries { 0 } else { self.tail + 1 };
        Ok(())
    }

    /// Takes the next completion, if there is one.
    #[inline]
    pub fn pop(&mut self, memory: &SharedMemory) -> Option<CompletionEntry> {
        let at = self.completion.at + usize::from(self.head) * COMPLETION_ENTRY_SIZE;
        // The phase tag is in the last dword, which becomes visible last: what is read after it is complete.
        let last = u32::from_le(memory.atomic_u32(at + 12)?.load(Ordering::Acquire));
        if (last >> 16 & 1 != 0) != self.phase {
            return None;
        }
        let mut bytes = [0; COMPLETION_ENTRY_SIZE];
        memory.read(at, &mut bytes).ok()?;
        // The controller may go on writing; status and identifier are those whose phase was judged.
        bytes[12..].copy_from_slice(&last.to_le_bytes());
        self.head += 1;
        if self.head >= self.completion.entries {
            self.head = 0;
            self.phase = !self.phase;
        }
        CompletionEntry::read_from_bytes(&bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nvme_spec::Status;

    /// Rings of 3 entries, completions in the second page.
    fn small() -> Ring {
        Ring::new(1, Half { at: 0, entries: 3 }, Half { at: 4096, entries: 3 })
    }

    #[test]
    fn completions_are_taken_once_in_order_over_many_rounds() {
        let memory = SharedMemory::new(8192).unwrap();
        let mut ring = small();
        for n in 0..10_u16 {
            assert_eq!(ring.pop(&memory), None, "nothing new before completion {n}");
            let phase = (n / 3) % 2 == 0;
            let entry = CompletionEntry::new(7, 0, 1, n, Status::SUCCESS, phase);
            memory.write(4096 + usize::from(n % 3) * 16, entry.as_bytes()).unwrap();
            assert_eq!(ring.pop(&memory), Some(entry));
        }
    }

    #[test]
    fn commands_are_written_around_the_ring() {
        let memory = SharedMemory::new(8192).unwrap();
        let mut ring = small();
        for n in 0..5_u16 {
            let at = ring.tail();
            ring.push(&memory, &SubmissionEntry { cid: n.into(), ..Default::default() }).unwrap();
            let mut cid = [0; 2];
            memory.read(usize::from(at) * 64 + 2, &mut cid).unwrap();
            assert_eq!(u16::from_le_bytes(cid), n);
            assert_eq!(ring.tail(), (n + 1) % 3);
        }
    }
}
