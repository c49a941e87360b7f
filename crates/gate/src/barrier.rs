//! The two halves of the asymmetric barrier between readers and closers.
//!
//! A reader stores its slot, calls [`light`] and loads the gate's state; a closer stores the state, calls [`heavy`] and
//! loads the slots. At least one of them sees the other's store. With `membarrier(2)` (`PRIVATE_EXPEDITED`) the reader's
//! half is a compiler fence, because the kernel makes every running thread of the process pass a full barrier during the
//! closer's half. Without it (old kernel, seccomp) both halves are `SeqCst` fences, at about 14 ns for the reader.
//! loom, shuttle and Miri know no membarrier and always get fences.
//!
//! The choice is made once per process, before the first [`crate::ThreadToken`] or [`crate::Gate`] exists, and never
//! changes: readers and closers must agree.
#![allow(unsafe_code)] // The membarrier system call; it takes no pointers.

/// How readers and closers order their stores and loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// `membarrier(2)` in the closer, a compiler fence in the reader.
    Membarrier,
    /// A `SeqCst` fence in both.
    Fences,
}

#[cfg(any(loom, shuttle, miri))]
mod model {
    use super::Strategy;

    /// The reader's half: between the store of its slot and the load of the gate's state.
    #[inline]
    pub fn light() {
        #[cfg(loom)]
        loom::sync::atomic::fence(loom::sync::atomic::Ordering::SeqCst);
        #[cfg(not(loom))]
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
    }

    /// As [`light`].
    #[inline]
    pub(crate) fn swift() {
        light();
    }

    /// The closer's half: between the store of the gate's state and the load of the slots.
    pub fn heavy() {
        light();
    }

    /// Both halves where readers pay: as [`light`].
    #[inline]
    pub(crate) fn full() {
        light();
    }

    /// The strategy in use: always fences here.
    pub fn strategy() -> Strategy {
        Strategy::Fences
    }

    /// Chooses nothing here; true if `wanted` is what is in use.
    pub fn choose(wanted: Strategy) -> bool {
        wanted == Strategy::Fences
    }
}
#[cfg(any(loom, shuttle, miri))]
pub use model::{choose, heavy, light, strategy};
#[cfg(any(loom, shuttle, miri))]
pub(crate) use model::{full, swift};

#[cfg(not(any(loom, shuttle, miri)))]
mod native {
    use super::Strategy;
    use std::sync::Once;
    use std::sync::atomic::{AtomicBool, Ordering, compiler_fence, fence};

    /// True once the process is registered for membarrier. False (fences) is right before the choice is made too.
    static ASYMMETRIC: AtomicBool = AtomicBool::new(false);
    static CHOICE: Once = Once::new();

    /// The reader's half: between the store of its slot and the load of the gate's state.
    #[inline]
    pub fn light() {
        if ASYMMETRIC.load(Ordering::Relaxed) {
            compiler_fence(Ordering::SeqCst);
        } else {
            fence(Ordering::SeqCst);
        }
    }

    /// The reader's half where nobody asks for the strategy: right with membarrier. Without it every gate's word carries
    /// a mark (`Word::needs_fences`), so that what is loaded next is not what the reader hopes for, and it takes
    /// the way on which [`light`] stands.
    #[inline]
    pub(crate) fn swift() {
        compiler_fence(Ordering::SeqCst);
    }

    /// The closer's half: between the store of the gate's state and the load of the slots.
    ///
    /// Costs about 0.2 us with membarrier. Waits for no other thread's progress.
    pub fn heavy() {
        fence(Ordering::SeqCst);
        if strategy() == Strategy::Membarrier {
            membarrier_or_abort();
            fence(Ordering::SeqCst);
        }
    }

    /// Both halves where readers pay for the barrier, so that nobody has to interrupt them.
    #[inline]
    pub(crate) fn full() {
        fence(Ordering::SeqCst);
    }

    /// The strategy in use; makes the choice (membarrier if the kernel has it) if nobody has.
    pub fn strategy() -> Strategy {
        decide(Strategy::Membarrier);
        if ASYMMETRIC.load(Ordering::Relaxed) { Strategy::Membarrier } else { Strategy::Fences }
    }

    /// Makes the choice for this process, for tests of the fallback and for ThreadSanitizer, which does not know
    /// membarrier. True if `wanted` is in use afterwards; false if the choice was made before or the kernel refuses.
    pub fn choose(wanted: Strategy) -> bool {
        decide(wanted);
        strategy() == wanted
    }

    fn decide(wanted: Strategy) {
        CHOICE.call_once(|| {
            if wanted == Strategy::Membarrier && membarrier(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) {
                ASYMMETRIC.store(true, Ordering::Relaxed);
            }
        });
    }

    /// A registered process can only be refused if it lost its registration (a fork in some kernels): register again.
    /// Going on without the barrier would hand out a proof while readers are inside, so the last resort is to stop.
    fn membarrier_or_abort() {
        if membarrier(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED) {
            return;
        }
        let again = membarrier(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED)
            && membarrier(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED);
        if !again {
            std::process::abort();
        }
    }

    fn membarrier(command: libc::c_int) -> bool {
        // SAFETY: membarrier takes a command, flags and a CPU number by value and touches no memory of ours.
        unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
    }
}
#[cfg(not(any(loom, shuttle, miri)))]
pub use native::{choose, heavy, light, strategy};
#[cfg(not(any(loom, shuttle, miri)))]
pub(crate) use native::{full, swift};
