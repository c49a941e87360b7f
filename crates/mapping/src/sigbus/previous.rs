//! Whoever handled the signal before, and how it is passed on to them.

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

/// The handler that was there before ours; written before ours is installed.
static HANDLER: AtomicUsize = AtomicUsize::new(libc::SIG_DFL);
static FLAGS: AtomicI32 = AtomicI32::new(0);

/// Remembers who handles the signal at this moment.
pub(super) fn remember(signal: c_int) {
    let previous = present(signal);
    HANDLER.store(previous.sa_sigaction, Ordering::Relaxed);
    FLAGS.store(previous.sa_flags, Ordering::Relaxed);
}

/// Passes the signal on. `fault`: it comes again if the thread goes on as it was.
///
/// # Safety
/// Call it only from the handler, with the arguments of the handler.
pub(super) unsafe fn pass_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void, fault: bool) {
    let handler = HANDLER.load(Ordering::Relaxed);
    let flags = FLAGS.load(Ordering::Relaxed);
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
    if !fault && present(signal).sa_sigaction == libc::SIG_DFL {
        // SAFETY: async-signal-safe; it arrives when this handler returns.
        unsafe { libc::raise(signal) };
    }
}

/// Who handles the signal at this moment. Async-signal-safe.
fn present(signal: c_int) -> libc::sigaction {
    let mut present = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null action only asks for the present one, which is written to valid memory. All-zeroes is a
    // valid `sigaction` should the call fail.
    unsafe {
        libc::sigaction(signal, ptr::null(), present.as_mut_ptr());
        present.assume_init()
    }
}
