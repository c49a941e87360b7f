//! One queue pair in shared memory: entries out, completions in.
//!
//! Indexes only; ringing doorbells is [`super::doorbells`]. NVMe Base 1.4 s4.1 Submission Queue & Completion Queue
//! Definition.

use std::sync::atomic::Ordering;

use nvme_spec::command::{COMPLETION_ENTRY_SIZE, SUBMISSION_ENTRY_SIZE};
use nvme_spec::{CompletionEntry, SubmissionEntry};
use vfio_user::client::{ClientError, SharedMemory};
use zerocopy::{FromBytes, IntoBytes};

/// A submission ring and its completion ring.
#[derive(Debug)]
pub(super) struct Ring {
    /// Queue identifier of both; 0 is the admin pair.
    pub(super) qid: u16,
    entries: u16,
    submission: usize,
    completion: usize,
    /// Where the next command goes.
    pub(super) tail: u16,
    /// Where the next completion is expected.
    pub(super) head: u16,
    /// Value of the phase tag of a new completion: flips with each round.
    phase: bool,
}

impl Ring {
    /// Empty rings of `entries` at two offsets of the memory, which must be zero there.
    pub(super) fn new(qid: u16, entries: u16, submission: usize, completion: usize) -> Self {
        Self { qid, entries, submission, completion, tail: 0, head: 0, phase: true }
    }

    /// Writes a command; the controller sees it when the doorbell is rung. The caller keeps fewer than `entries`
    /// commands in flight.
    #[inline]
    pub(super) fn push(&mut self, memory: &SharedMemory, entry: &SubmissionEntry) -> Result<(), ClientError> {
        let at = self.submission + usize::from(self.tail) * SUBMISSION_ENTRY_SIZE;
        memory.write(at, entry.as_bytes()).map_err(ClientError::Memory)?;
        self.tail = if self.tail + 1 == self.entries { 0 } else { self.tail + 1 };
        Ok(())
    }

    /// Takes the next completion, if there is one.
    #[inline]
    pub(super) fn pop(&mut self, memory: &SharedMemory) -> Option<CompletionEntry> {
        let at = self.completion + usize::from(self.head) * COMPLETION_ENTRY_SIZE;
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
        if self.head == self.entries {
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

    #[test]
    fn completions_are_taken_once_in_order_over_many_rounds() {
        let memory = SharedMemory::new(8192).unwrap();
        let mut ring = Ring::new(1, 3, 0, 4096);
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
        let mut ring = Ring::new(1, 3, 0, 4096);
        for n in 0..5_u16 {
            let at = ring.tail;
            ring.push(&memory, &SubmissionEntry { cid: n.into(), ..Default::default() }).unwrap();
            let mut cid = [0; 2];
            memory.read(usize::from(at) * 64 + 2, &mut cid).unwrap();
            assert_eq!(u16::from_le_bytes(cid), n);
            assert_eq!(ring.tail, (n + 1) % 3);
        }
    }
}
