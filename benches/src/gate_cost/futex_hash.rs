//! The kernel's table of waiting threads, made large enough for a process with very many of them.
//!
//! Since Linux 6.16 a private futex is looked up in a table of the process that is sized by the number of CPUs, so that with
//! 10,000 waiting threads each wake-up walks a list of hundreds of strangers, whatever lock is used. A process may ask for
//! a larger one. Older kernels have one table for all processes, which is large.
#![allow(unsafe_code)] // One prctl that takes its arguments by value.

/// `PR_FUTEX_HASH` and its operation `PR_FUTEX_HASH_SET_SLOTS` of <linux/prctl.h>.
const FUTEX_HASH: libc::c_int = 78;
const SET_SLOTS: libc::c_ulong = 1;

/// Makes room for `threads` that wait at once. A kernel that does not know the request needs none.
pub(super) fn make_room_for(threads: usize) {
    let slots = (2 * threads).next_power_of_two() as libc::c_ulong;
    let flags: libc::c_ulong = 0;
    // SAFETY: the request takes numbers only and touches no memory of ours.
    let _ = unsafe { libc::prctl(FUTEX_HASH, SET_SLOTS, slots, flags, 0 as libc::c_ulong) };
}
