//! Ranges that may be lost: survives a client that truncates its memory file while this process uses it.
//!
//! Touching a page of a shared mapping that lies beyond the end of its file raises SIGBUS. Every mapping of
//! client memory is registered here as a *guarded range*. The process-wide handler looks the faulting
//! address up; inside a guarded range it marks the range as lost, replaces the whole of it by anonymous
//! zeroes, and returns: the access is repeated by the processor, succeeds, and its caller finds the mark.
//!
//! The whole range goes, not the page: each replaced page would split the mapping further, so a client
//! could use up the process's quota of mappings (`vm.max_map_count`) and hurt everybody else; and huge pages
//! cannot be replaced in pieces. A client that truncates its memory loses that mapping, which is its own doing.
//!
//! # Concurrency
//! The registry is a list of chunks that are never freed; slots are handed out under a leaf which the handler never
//! takes. A slot carries a sequence number, odd while it changes, so that the handler never combines the start of one
//! range with the length of another. The slot that a fault belongs to cannot change during the fault: the thread that
//! faulted holds the mapping, and only its last holder gives the slot back. A range may be replaced twice by two
//! threads that fault at once; what the first wrote to the zeroes was lost anyway.

use std::ffi::c_void;
use std::ptr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering, compiler_fence};

use gate::lock::Leaf;

use crate::ranks;

/// What became of a guarded range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It is the client's memory.
    Intact,
    /// The client truncated its file; the range is zeroes.
    Truncated,
    /// The memory was taken away from those who still hold the range ([`GuardedRange::sever`]); it is zeroes.
    Severed,
}

const INTACT: u32 = 0;
const TRUNCATED: u32 = 1;
const SEVERED: u32 = 2;

/// Slots in a chunk. A chunk is 8 KiB and covers most clients.
const CHUNK: usize = 256;

/// One place for a guarded range.
struct Slot {
    /// Odd while `start` and `len` change.
    sequence: AtomicU32,
    state: AtomicU32,
    start: AtomicUsize,
    /// Zero: the slot is free.
    len: AtomicUsize,
}

struct Chunk {
    slots: [Slot; CHUNK],
    next: AtomicPtr<Chunk>,
}

/// The newest chunk; the list is only ever prepended to.
static CHUNKS: AtomicPtr<Chunk> = AtomicPtr::new(ptr::null_mut());
/// Free slots. Rank: 71, guarded ranges; a leaf: mappings end anywhere. The handler does not take it.
static FREE: LazyLock<Leaf<ranks::GuardedRanges, Vec<&'static Slot>>> = LazyLock::new(Leaf::default);

/// A range in which a fault costs its contents and not the process; dropping it ends that.
pub struct GuardedRange {
    slot: &'static Slot,
}

impl GuardedRange {
    /// Guards `len` bytes at `start`: a whole mapping, in the units in which it can be replaced.
    ///
    /// # Safety
    /// The range is a mapping of its own that may be replaced by anonymous memory at any time until the
    /// guard is dropped or retired.
    pub unsafe fn new(start: *mut u8, len: usize) -> GuardedRange {
        super::install();
        let slot = free_slot();
        slot.write(start as usize, len, INTACT);
        GuardedRange { slot }
    }

    /// What became of the range; call it after the access it judges.
    #[inline]
    pub fn condition(&self) -> Condition {
        // The handler runs on this thread, inside the access. Only the compiler could move the load before
        // the copy; this fence forbids it and costs no instruction.
        compiler_fence(Ordering::SeqCst);
        match self.slot.state.load(Ordering::Relaxed) {
            INTACT => Condition::Intact,
            TRUNCATED => Condition::Truncated,
            _ => Condition::Severed,
        }
    }

    /// Ends the guard. It must come before the range is unmapped: the kernel gives the addresses to the next
    /// mapping at once, and a fault there must not find this slot.
    pub fn retire(&self) {
        self.slot.write(0, 0, INTACT);
    }

    /// Replaces the range by zeroes while others may be copying from or to it. False if that failed.
    ///
    /// The range must still be guarded.
    pub fn sever(&self) -> bool {
        self.slot.replace(SEVERED)
    }
}

impl Drop for GuardedRange {
    fn drop(&mut self) {
        self.retire();
        FREE.lock().push(self.slot);
    }
}
impl Slot {
    const fn new() -> Slot {
        Slot {
            sequence: AtomicU32::new(0),
            state: AtomicU32::new(INTACT),
            start: AtomicUsize::new(0),
            len: AtomicUsize::new(0),
        }
    }

    /// Only the slot's owner writes.
    fn write(&self, start: usize, len: usize, state: u32) {
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(sequence.wrapping_add(1), Ordering::Relaxed);
        std::sync::atomic::fence(Ordering::SeqCst);
        self.start.store(start, Ordering::Relaxed);
        self.len.store(len, Ordering::Relaxed);
        self.state.store(state, Ordering::Relaxed);
        self.sequence.store(sequence.wrapping_add(2), Ordering::Release);
    }

    /// Async-signal-safe. A slot that changes meanwhile is not the one that the fault is in.
    fn contains(&self, address: usize) -> bool {
        let before = self.sequence.load(Ordering::Acquire);
        let start = self.start.load(Ordering::Relaxed);
        let len = self.len.load(Ordering::Relaxed);
        std::sync::atomic::fence(Ordering::SeqCst);
        let unchanged = before.is_multiple_of(2) && before == self.sequence.load(Ordering::Relaxed);
        unchanged && address.wrapping_sub(start) < len
    }

    /// Async-signal-safe. The mark comes first: whoever sees the zeroes finds it.
    fn replace(&self, state: u32) -> bool {
        let _ = self.state.compare_exchange(INTACT, state, Ordering::SeqCst, Ordering::Relaxed);
        let start = self.start.load(Ordering::Relaxed) as *mut c_void;
        let len = self.len.load(Ordering::Relaxed);
        let flags = libc::MAP_FIXED | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // Writable even over a read-only mapping: it is nobody's memory, and a stray write must not kill.
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the range is a mapping of its own whose owner allowed its replacement (`GuardedRange::new`), and
        // it is still guarded: the caller is its owner, or the handler of a fault inside it.
        let at = unsafe { libc::mmap(start, len, access, flags, -1, 0) };
        at != libc::MAP_FAILED
    }
}

fn free_slot() -> &'static Slot {
    let mut free = FREE.lock();
    if let Some(slot) = free.pop() {
        return slot;
    }
    let chunk: &'static Chunk = Box::leak(Box::new(Chunk {
        slots: [const { Slot::new() }; CHUNK],
        next: AtomicPtr::new(CHUNKS.load(Ordering::Relaxed)),
    }));
    free.extend(chunk.slots[1..].iter());
    CHUNKS.store(ptr::from_ref(chunk).cast_mut(), Ordering::Release);
    &chunk.slots[0]
}

/// Async-signal-safe. True: the address was guarded and can be accessed now.
pub(super) fn survive(address: usize) -> bool {
    let mut chunk = CHUNKS.load(Ordering::Acquire);
    // SAFETY: chunks are leaked, fully built before they are published, and linked in a list without cycles.
    while let Some(present) = unsafe { chunk.as_ref() } {
        if let Some(slot) = present.slots.iter().find(|slot| slot.contains(address)) {
            return slot.replace(TRUNCATED);
        }
        chunk = present.next.load(Ordering::Relaxed);
    }
    false
}
