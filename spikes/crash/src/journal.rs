//! What a server writes down of itself, in memory that outlives it.
//!
//! Two banks and a word that says which one counts. A change is written to the bank that does not count, then the word
//! is stored: so a process that dies at any instruction leaves either the old state or the new one. The state holds
//! the device *and* how far the current message is, which is what makes "executed" and "noted as executed" one step.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::point::Points;
use crate::sys::Shared;

/// Bytes of the memory.
pub(crate) const SIZE: usize = 16 << 10;
/// Where the bytes of one message lie that the kernel writes or reads for a ring.
pub(crate) const SCRATCH: usize = 12 << 10;
/// Where the keeper leaves the ring's parameters.
pub(crate) const RING: usize = 14 << 10;
const IDLE: usize = 8;
const BANKS: [usize; 2] = [64, 4096];

/// Takes in a request's bytes.
pub(crate) const RECEIVING: u32 = 0;
/// Executed; the reply is on its way.
pub(crate) const ANSWERING: u32 = 1;
/// Answered; the request is being taken off the socket (servers that peek).
pub(crate) const CONSUMING: u32 = 2;

/// The device, and the message it is at.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct State {
    /// The device: how often its first register was read, which is what a read gives.
    pub(crate) reads: u32,
    /// The device: what was added to its second register.
    pub(crate) sum: u32,
    /// The device: which file was mapped, by inode.
    pub(crate) mapped: u64,
    /// [`RECEIVING`], [`ANSWERING`] or [`CONSUMING`].
    pub(crate) phase: u32,
    /// Bytes of the request that are in `request`.
    pub(crate) got: u32,
    /// Bytes of the reply that are sent.
    pub(crate) sent: u32,
    /// Bytes of the reply.
    pub(crate) reply_length: u32,
    /// Inode of the file that came with the request; 0: none.
    pub(crate) file: u64,
    /// What is to be done next, noted before; 0: nothing. The meaning is the channel's.
    pub(crate) intent: u32,
    /// What a queue or a ring held when the intent was noted.
    pub(crate) before: u32,
    pub(crate) request: [u8; 256],
    pub(crate) reply: [u8; 256],
}

/// The memory.
pub(crate) struct Journal {
    memory: Shared,
}

impl Journal {
    /// Maps it. Fresh memory is a device that nobody has used.
    ///
    /// # Errors
    /// No memory.
    pub(crate) fn open(file: impl AsFd) -> Result<Self, String> {
        Ok(Self { memory: Shared::map(file, 0, SIZE)? })
    }

    /// The state that counts.
    pub(crate) fn state(&self) -> State {
        self.memory.load(BANKS[self.bank()])
    }

    /// Makes `state` the one that counts.
    pub(crate) fn commit(&self, state: &State, points: &mut Points) {
        points.pass();
        let other = 1 - self.bank();
        // As the processor may leave it: some of the state is the new one's, some is not.
        let half = State { phase: RECEIVING, sent: 0, ..*state };
        self.memory.store(BANKS[other], half);
        points.pass();
        self.memory.store(BANKS[other], *state);
        points.pass();
        self.word().store(other as u64, Ordering::SeqCst);
        points.pass();
    }

    /// Changes the state that counts; what it is now.
    pub(crate) fn change(&self, points: &mut Points, change: impl FnOnce(&mut State)) -> State {
        let mut state = self.state();
        change(&mut state);
        self.commit(&state, points);
        state
    }

    /// The memory, for who puts something else into it.
    pub(crate) fn memory(&self) -> Shared {
        self.memory
    }

    /// Says whether the server waits for the client, for the judge.
    pub(crate) fn set_idle(&self, idle: bool) {
        self.idle_word().store(u32::from(idle), Ordering::SeqCst);
    }

    /// Whether the server waits for the client.
    pub(crate) fn is_idle(&self) -> bool {
        self.idle_word().load(Ordering::SeqCst) != 0
    }

    fn bank(&self) -> usize {
        usize::from(self.word().load(Ordering::SeqCst) == 1)
    }

    fn word(&self) -> &AtomicU64 {
        self.memory.atomic(0)
    }

    fn idle_word(&self) -> &AtomicU32 {
        self.memory.atomic(IDLE)
    }
}
