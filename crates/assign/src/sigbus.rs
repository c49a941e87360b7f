//! Survives a client that truncates its memory file while this process uses it.
//!
//! Touching a page of a shared mapping that lies beyond the end of its file raises SIGBUS. Every mapping of
//! client memory is registered here as a *guarded range*. The process-wide handler looks the faulting
//! address up; inside a guarded range it marks the range as lost, replaces the whole of it by anonymous
//! zeroes, and returns: the access is repeated by the processor, succeeds, and its caller finds the mark.
//! Everywhere else the handler passes the signal on to whoever handled it before.
//!
//! The whole range goes, not the page: each replaced page would split the mapping further, so a client
//! could use up the process's quota of mappings (`vm.max_map_count`) and hurt everybody else; and huge pages
//! cannot be replaced in pieces. A client that truncates its memory loses that mapping, which is its own doing.
//!
//! # Concurrency
//! The handler is async-signal-safe: atomics, `mmap`, `sigaction`, `raise`. The registry is a list of chunks
//! that are never freed; slots are handed out under a mutex which the handler never takes. A slot carries a
//! sequence number, odd while it changes, so that the handler never combines the start of one range with the
//! length of another. The slot that a fault belongs to cannot change during the fault: the thread that
//! faulted holds the mapping, and only its last holder gives the slot back. A range may be replaced twice by two
//! threads that fault at once; what the first wrote to the zeroes was lost anyway.

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, AtomicUsize, Ordering, compiler_fence};

use gate::lock::Leaf;

use crate::ranks;

/// The range is the client's memory.
pub(crate) const INTACT: u32 = 0;
/// The client truncated its file; the range is zeroes.
pub(crate) const TRUNCATED: u32 = 1;
/// We took the memory away from those who still hold the range; it is zeroes.
pub(crate) const SEVERED: u32 = 2;

/// Slots in a chunk. A chunk is 8 KiB and covers most clients.
const CHUNK: usize = 256;

/// One guarded range.
pub(crate) struct Slot {
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
static FREE: Leaf<ranks::GuardedRanges, Vec<&'static Slot>> = Leaf::new(Vec::new());

/// The handler that was there before ours; written before ours is installed.
static PREVIOUS_HANDLER: AtomicUsize = AtomicUsize::new(libc::SIG_DFL);
static PREVIOUS_FLAGS: AtomicI32 = AtomicI32::new(0);
static INSTALL: Once = Once::new();

/// A registered range; dropping it gives the slot back.
pub(crate) struct Guarded {
    slot: &'static Slot,
}

impl Guarded {
    /// Guards `len` bytes at `start`: a whole mapping, in the units in which it can be replaced.
    ///
    /// # Safety
    /// The range is a mapping of its own that may be replaced by anonymous memory at any time until the
    /// guard is dropped.
    pub(crate) unsafe fn new(start: *mut u8, len: usize) -> Guarded {
        INSTALL.call_once(install);
        let slot = free_slot();
        slot.write(start as usize, len, INTACT);
        Guarded { slot }
    }

    /// [`INTACT`], [`TRUNCATED`] or [`SEVERED`]; call it after the access it judges.
    #[inline]
    pub(crate) fn state(&self) -> u32 {
        // The handler runs on this thread, inside the access. Only the compiler could move the load before
        // the copy; this fence forbids it and costs no instruction.
        compiler_fence(Ordering::SeqCst);
        self.slot.state.load(Ordering::Relaxed)
    }

    /// Ends the guard. It must come before the range is unmapped: the kernel gives the addresses to the next
    /// mapping at once, and a fault there must not find this slot.
    pub(crate) fn retire(&self) {
        self.slot.write(0, 0, INTACT);
    }

    /// Replaces the range by zeroes while others may be copying from or to it. False if that failed.
    ///
    /// The range must still be guarded.
    pub(crate) fn sever(&self) -> bool {
        self.slot.replace(SEVERED)
    }
}

impl Drop for Guarded {
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
        // SAFETY: the range is a mapping of its own whose owner allowed its replacement (`Guarded::new`), and
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

fn install() {
    let mut previous = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null action only asks for the present one, which is written to valid memory. All-zeroes is a
    // valid `sigaction` should the call fail.
    let previous = unsafe {
        libc::sigaction(libc::SIGBUS, ptr::null(), previous.as_mut_ptr());
        previous.assume_init()
    };
    PREVIOUS_HANDLER.store(previous.sa_sigaction, Ordering::Relaxed);
    PREVIOUS_FLAGS.store(previous.sa_flags, Ordering::Relaxed);

    let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_sigbus;
    // SAFETY: all-zeroes is a valid `sigaction`; the handler has the signature that SA_SIGINFO asks for and
    // does only what a signal handler may. SA_ONSTACK: a fault may come from a thread short of stack.
    unsafe {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigaction(libc::SIGBUS, &action, ptr::null_mut());
    }
}

extern "C" fn on_sigbus(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes a valid `siginfo_t`; `errno` is this thread's own and is restored, since the
    // interrupted code may be between a system call and its look at it.
    unsafe {
        // A positive code is a fault; signals sent by a process have no address, only a sender.
        let code = (*info).si_code;
        if code > 0 {
            let errno = libc::__errno_location();
            let saved = *errno;
            let survived = survive((*info).si_addr() as usize);
            *errno = saved;
            if survived {
                return;
            }
        }
        chain(signal, info, context, code > 0);
    }
}

/// Async-signal-safe. True: the address was guarded and can be accessed now.
fn survive(address: usize) -> bool {
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

/// Passes the signal on.
///
/// # Safety
/// Call it only from the handler, with the arguments of the handler.
unsafe fn chain(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void, fault: bool) {
    let handler = PREVIOUS_HANDLER.load(Ordering::Relaxed);
    let flags = PREVIOUS_FLAGS.load(Ordering::Relaxed);
    if handler == libc::SIG_IGN && !fault {
        return;
    }
    if handler == libc::SIG_DFL || handler == libc::SIG_IGN {
        // SAFETY: restores the default action. A fault repeats itself on return and ends the process with the
        // status of its true cause.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    } else if flags & libc::SA_SIGINFO != 0 {
        // SAFETY: the previous owner installed this address as a handler of three arguments.
        let previous: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) =
            unsafe { std::mem::transmute(handler) };
        previous(signal, info, context);
    } else {
        // SAFETY: the previous owner installed this address as a handler of one argument.
        let previous: extern "C" fn(c_int) = unsafe { std::mem::transmute(handler) };
        previous(signal);
    }
    // A signal that was sent does not repeat itself. Whoever gave it up (the handler of Rust's standard library does
    // so by restoring the default action) meant it to end the process.
    if !fault && is_default(signal) {
        // SAFETY: async-signal-safe; it arrives when this handler returns.
        unsafe { libc::raise(signal) };
    }
}

/// Async-signal-safe.
fn is_default(signal: c_int) -> bool {
    let mut present = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null action only asks for the present one, written to valid memory; all-zeroes is valid too.
    let present = unsafe {
        libc::sigaction(signal, ptr::null(), present.as_mut_ptr());
        present.assume_init()
    };
    present.sa_sigaction == libc::SIG_DFL
}
