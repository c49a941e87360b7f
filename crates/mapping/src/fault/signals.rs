//! Keeping a program's signals away from the handlers.
#![allow(unsafe_code)] // pthread_sigmask(3) and its sets have no safe form in the crates at hand.

use libc::{SIG_SETMASK, SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP, sigset_t};
use std::mem::MaybeUninit;

/// What a thread does to itself, which cannot be left for another one.
const ITS_OWN: [i32; 7] = [SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP];

/// While it lives, a signal to the process does not come to this thread, nor to any that it starts, for as long as those
/// live. A signal handler is the program's code: one that touches a mapping would wait for its own thread to answer.
pub(super) struct KeptAway {
    before: sigset_t,
    /// The mask is the thread's.
    _bound_to_thread: std::marker::PhantomData<*const ()>,
}

impl KeptAway {
    pub(super) fn new() -> KeptAway {
        let (mut all, mut before) = (MaybeUninit::uninit(), MaybeUninit::uninit());
        // SAFETY: `sigfillset` writes the whole set and `pthread_sigmask` the whole old one; neither fails for these
        // arguments, which are a valid operation, valid signals and places of the right type.
        let before = unsafe {
            libc::sigfillset(all.as_mut_ptr());
            for signal in ITS_OWN {
                libc::sigdelset(all.as_mut_ptr(), signal);
            }
            libc::pthread_sigmask(SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
            before.assume_init()
        };
        KeptAway { before, _bound_to_thread: std::marker::PhantomData }
    }
}

impl Drop for KeptAway {
    fn drop(&mut self) {
        // SAFETY: the set is the one that this thread had.
        unsafe { libc::pthread_sigmask(SIG_SETMASK, &raw const self.before, std::ptr::null_mut()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the signals are blocked for this thread.
    fn are_blocked<const N: usize>(signals: [i32; N]) -> [bool; N] {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap();
        let mask = u64::from_str_radix(mask.trim(), 16).unwrap();
        signals.map(|signal| mask >> (signal - 1) & 1 == 1)
    }

    #[test]
    fn they_are_kept_away_for_a_while_and_from_who_is_started_meanwhile() {
        let all = || are_blocked([libc::SIGTERM, libc::SIGUSR1, SIGBUS, SIGSEGV]);
        assert_eq!(all(), [false; 4]);
        let kept_away = KeptAway::new();
        assert_eq!(all(), [true, true, false, false]);
        let started = std::thread::spawn(all);
        assert_eq!(started.join().unwrap(), [true, true, false, false]);
        drop(kept_away);
        assert_eq!(all(), [false; 4]);
    }
}
