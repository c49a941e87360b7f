//! An `io_uring` that the keeper holds and servers use by turns.
//!
//! Its queues are shared memory, and its counters only grow: the number of an entry says for ever whether it was queued,
//! taken by the kernel, and completed. That is what a server that takes over reads. By hand, as the usual crates hide those
//! numbers, and so that a server can be killed between any two stores.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::point::Points;
use crate::sys::{Shared, ring_enter, ring_setup};

/// `struct io_sqring_offsets`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct SubmissionOffsets {
    head: u32,
    tail: u32,
    ring_mask: u32,
    ring_entries: u32,
    flags: u32,
    dropped: u32,
    array: u32,
    reserved: u32,
    user_address: u64,
}

/// `struct io_cqring_offsets`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct CompletionOffsets {
    head: u32,
    tail: u32,
    ring_mask: u32,
    ring_entries: u32,
    overflow: u32,
    entries: u32,
    flags: u32,
    reserved: u32,
    user_address: u64,
}

/// `struct io_uring_params`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct Parameters {
    submission_entries: u32,
    completion_entries: u32,
    flags: u32,
    thread_cpu: u32,
    thread_idle: u32,
    features: u32,
    workers: u32,
    reserved: [u32; 3],
    submission: SubmissionOffsets,
    completion: CompletionOffsets,
}

/// `struct io_uring_sqe`, as far as it is used here.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct Entry {
    opcode: u8,
    flags: u8,
    priority: u16,
    file: i32,
    offset: u64,
    address: u64,
    length: u32,
    message_flags: u32,
    user_data: u64,
    rest: [u64; 3],
}

/// `struct io_uring_cqe`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct Completion {
    user_data: u64,
    result: i32,
    flags: u32,
}

/// What the ring does here.
#[derive(Clone, Copy)]
pub(crate) enum Operation {
    Receive,
    Send,
}

impl Operation {
    fn opcode(self) -> u8 {
        match self {
            Self::Send => 26,
            Self::Receive => 27,
        }
    }
}

const OFFSET_ENTRIES: u64 = 0x1000_0000;

/// A new ring of `entries` (a power of two), for who keeps it.
///
/// # Errors
/// The system has none.
pub(crate) fn make(entries: u32) -> Result<(OwnedFd, Parameters), String> {
    let mut parameters = Parameters::default();
    let ring = ring_setup(entries, &mut parameters)?;
    Ok((ring, parameters))
}

/// The ring, mapped.
pub(crate) struct Ring {
    file: BorrowedFd<'static>,
    queues: Shared,
    entries: Shared,
    parameters: Parameters,
}

impl Ring {
    /// Maps a ring that somebody else has made.
    ///
    /// # Errors
    /// No memory.
    pub(crate) fn map(file: BorrowedFd<'static>, parameters: Parameters) -> Result<Self, String> {
        let completions = parameters.completion.entries as usize
            + parameters.completion_entries as usize * size_of::<Completion>();
        let submissions = parameters.submission.array as usize + parameters.submission_entries as usize * 4;
        let entries = parameters.submission_entries as usize * size_of::<Entry>();
        Ok(Self {
            file,
            queues: Shared::map(file, 0, completions.max(submissions))?,
            entries: Shared::map(file, OFFSET_ENTRIES, entries)?,
            parameters,
        })
    }

    fn word(&self, offset: u32) -> &AtomicU32 {
        self.queues.atomic(offset as usize)
    }

    /// Number of the next entry.
    pub(crate) fn submitted(&self) -> u32 {
        self.word(self.parameters.submission.tail).load(Ordering::Acquire)
    }

    /// Gives the places of completions back that are accounted for: all, as one operation runs at a time.
    pub(crate) fn forget_completions(&self) {
        let tail = self.word(self.parameters.completion.tail).load(Ordering::Acquire);
        self.word(self.parameters.completion.head).store(tail, Ordering::Release);
    }

    /// Sees to it that entry `number` runs, whether it was never queued, queued and not taken, or taken; its result.
    ///
    /// # Errors
    /// The kernel does not take it.
    pub(crate) fn run(
        &self,
        operation: Operation,
        socket: BorrowedFd<'_>,
        (address, length): (u64, u32),
        number: u32,
        points: &mut Points,
    ) -> io::Result<i32> {
        let head = self.word(self.parameters.submission.head);
        if head.load(Ordering::Acquire) == number {
            // Not taken. What is in the entry may be a predecessor's, with an address of his: written again.
            let entry = Entry {
                opcode: operation.opcode(),
                file: socket.as_raw_fd(),
                address,
                length,
                user_data: u64::from(number),
                ..Entry::default()
            };
            let index = number & (self.parameters.submission_entries - 1);
            self.entries.store(index as usize * size_of::<Entry>(), entry);
            self.queues.store(self.parameters.submission.array as usize + index as usize * 4, index);
            points.pass();
            self.word(self.parameters.submission.tail).store(number.wrapping_add(1), Ordering::Release);
            points.pass();
            self.enter(1)?;
            points.pass();
        }
        let tail = self.word(self.parameters.completion.tail);
        // One completion for each entry, and one entry at a time: completions have the entries' numbers.
        while tail.load(Ordering::Acquire) == number {
            self.enter(0)?;
        }
        let index = number & (self.parameters.completion_entries - 1);
        let at = self.parameters.completion.entries as usize + index as usize * size_of::<Completion>();
        let completion: Completion = self.queues.load(at);
        points.pass();
        Ok(completion.result)
    }

    /// Queues writes of `pieces` (address, length, offset in the file) all at once, and does not wait for them.
    ///
    /// # Errors
    /// The kernel does not take them.
    pub(crate) fn write_all(&self, file: BorrowedFd<'_>, pieces: &[(u64, u32, u64)]) -> io::Result<()> {
        const WRITE: u8 = 23;
        let first = self.submitted();
        for (number, (address, length, offset)) in (first..).zip(pieces) {
            let (file, user_data) = (file.as_raw_fd(), u64::from(number));
            let (address, length, offset) = (*address, *length, *offset);
            let entry = Entry { opcode: WRITE, file, offset, address, length, user_data, ..Entry::default() };
            let index = number & (self.parameters.submission_entries - 1);
            self.entries.store(index as usize * size_of::<Entry>(), entry);
            self.queues.store(self.parameters.submission.array as usize + index as usize * 4, index);
        }
        let count = pieces.len() as u32;
        self.word(self.parameters.submission.tail).store(first.wrapping_add(count), Ordering::Release);
        ring_enter(self.file.as_fd(), count, 0)
    }

    /// The completions that nobody has taken yet: number of the entry, and its result.
    pub(crate) fn completions(&self) -> Vec<(u64, i32)> {
        let head = self.word(self.parameters.completion.head).load(Ordering::Acquire);
        let tail = self.word(self.parameters.completion.tail).load(Ordering::Acquire);
        let first = self.parameters.completion.entries as usize;
        (0..tail.wrapping_sub(head).min(self.parameters.completion_entries))
            .map(|index| head.wrapping_add(index) & (self.parameters.completion_entries - 1))
            .map(|index| self.queues.load(first + index as usize * size_of::<Completion>()))
            .map(|completion: Completion| (completion.user_data, completion.result))
            .collect()
    }

    fn enter(&self, submit: u32) -> io::Result<()> {
        match ring_enter(self.file.as_fd(), submit, 1) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            other => other,
        }
    }
}
