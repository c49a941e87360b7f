//! One operation on the file backing, with everything that must stay alive while the kernel works on it.
//!
//! A transfer is filled by the engine, given to the [ring](super::ring), which owns it while it is in flight, and
//! comes back with the result. Ownership is what makes the ring sound: nobody can free or reuse the memory that
//! the kernel reads or writes. Transfers are kept and refilled, so the steady state allocates nothing.

use assign::{GuestSlice, HeldSlice};
use gate::LongPass;

/// What to do with the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    /// File to guest memory.
    Read,
    /// Guest memory to file.
    Write {
        /// On the disk before it is done.
        durable: bool,
    },
    /// Zeros to the file, at most [`super::ring::ZERO_BYTES`].
    WriteZeros,
    /// Make everything written so far durable.
    Sync,
    /// Give blocks back; they read as zeros.
    PunchHole,
    /// Make blocks read as zeros, keeping them.
    ZeroRange,
}

/// How an operation failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TransferError {
    /// The file or the disk below: the error number.
    Device(i32),
    /// Fewer bytes were moved than asked for.
    Short,
    /// The guest memory went away (its client truncated it).
    Memory,
    /// The file system cannot do it.
    Unsupported,
}

/// One operation.
pub(super) struct Transfer {
    pub(super) operation: Operation,
    /// Where in the file, in bytes.
    pub(super) offset: u64,
    /// How much, in bytes.
    pub(super) len: u64,
    /// The engine's generation that filled it; a later one must not take the result for its own.
    pub(super) generation: u64,
    memory: Vec<HeldSlice>,
    pass: Option<LongPass>,
}

impl Transfer {
    pub(super) fn new() -> Self {
        Self { operation: Operation::Sync, offset: 0, len: 0, generation: 0, memory: Vec::new(), pass: None }
    }

    /// Says what to do; the memory of the last operation is let go.
    pub(super) fn set(&mut self, operation: Operation, offset: u64, len: u64) {
        self.release();
        (self.operation, self.offset, self.len) = (operation, offset, len);
    }

    /// Adds guest memory to be read or written, in the order of the data.
    pub(super) fn add(&mut self, slice: &GuestSlice<'_>) {
        self.memory.push(slice.hold());
    }

    /// Keeps the gate from being closed while the operation is in flight.
    pub(super) fn keep(&mut self, pass: LongPass) {
        self.pass = Some(pass);
    }

    /// The guest memory, in the order of the data.
    pub(super) fn memory(&self) -> &[HeldSlice] {
        &self.memory
    }

    /// Lets the guest memory go: the data has been moved, or never will be.
    pub(super) fn release_memory(&mut self) {
        self.memory.clear();
    }

    /// Gives up the pass, for who drops it where no lock is held. As long as it lasts the gate is not drained, so whoever has
    /// drained it finds every result in the engine.
    pub(super) fn give_up_pass(&mut self) -> Option<LongPass> {
        self.pass.take()
    }

    /// Lets the guest memory and the gate go.
    pub(super) fn release(&mut self) {
        self.memory.clear();
        self.pass = None;
    }
}

impl std::fmt::Debug for Transfer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transfer")
            .field("operation", &self.operation)
            .field("offset", &self.offset)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}
