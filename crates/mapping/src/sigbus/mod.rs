//! What this process does when memory that others control refuses an access.
//!
//! Two kinds of memory raise SIGBUS by right: a consumer's mapping of a page that was poisoned, and a client's memory beyond the
//! end of a file that the client truncated. There is one handler in the process for both:
//!
//! 1. A fault in an access of `access` fails that access, and it alone.
//! 2. A fault inside a [`GuardedRange`] puts zeroes under the range and marks it; the processor repeats the access.
//! 3. Everything else goes to whoever handled the signal before.
//!
//! What this module does **not** do: it handles no SIGSEGV, since nobody can take an address away from us but we. It cannot help a
//! thread that blocks SIGBUS, which the kernel ends with its process. That includes whoever handles a signal with SIGBUS blocked:
//! the handlers of SIGBUS that ours passes on to, and those of other signals that were installed with SIGBUS in their mask.
//!
//! # Concurrency
//! The handler runs on the thread that faulted, on its alternate stack if it has one, in the middle of anything, and at the
//! same time on several threads. What it calls, it calls under these rules:
//!
//! * It is async-signal-safe: it loads and stores atomics, reads what never changes, and makes the system calls `mmap`, `sigaction`
//!   and `raise`. It takes no lock, allocates nothing, logs nothing, unwinds nowhere and touches no thread-local but `errno`,
//!   which it restores.
//! * What it reads was complete before it was published, and is never freed.
//! * A child of a fork has it, and all that it needs. As in any child of a process with threads no lock may be taken there, so it
//!   guards no further ranges.
//! * It is installed once and never removed. It remembers who was there before, and nothing else, so it needs no state of its own.
//! * It treats as a fault only what the kernel raises for an access of the very thread it runs on. A signal that somebody
//!   sends (`kill`, `sigqueue`), or that reports a memory error elsewhere, interrupts a thread anywhere, also in an access.

mod guarded;
mod previous;

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Once;

pub use guarded::{Condition, GuardedRange};

use crate::access;

/// Installs the handler, once for the process; costs a load afterwards. Guarding a range does it as well.
///
/// Who installs another handler later must pass on to this one what it does not know.
pub fn install() {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        previous::remember(libc::SIGBUS);
        let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_sigbus;
        // SAFETY: all-zeroes is a valid `sigaction`; the handler has the signature that SA_SIGINFO asks for and
        // does only what a signal handler may. SA_ONSTACK: a fault may come from a thread short of stack.
        unsafe {
            let mut action = MaybeUninit::<libc::sigaction>::zeroed().assume_init();
            action.sa_sigaction = handler as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigaction(libc::SIGBUS, &action, ptr::null_mut());
        }
    });
}

extern "C" fn on_sigbus(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes a valid `siginfo_t`, and a context of this thread; `errno` is this thread's own and is restored,
    // since the interrupted code may be between a system call and its look at it.
    unsafe {
        let fault = is_fault((*info).si_code);
        if fault {
            if access::fail_interrupted(context) {
                return;
            }
            let errno = libc::__errno_location();
            let saved = *errno;
            let survived = guarded::survive((*info).si_addr() as usize);
            *errno = saved;
            if survived {
                return;
            }
        }
        previous::pass_on(signal, info, context, fault);
    }
}

/// Whether an access of this thread raised the signal, and will again if it is repeated.
fn is_fault(code: c_int) -> bool {
    // Signals that a process sends have codes of 0 and less. BUS_MCEERR_AO reports a memory error that nobody has met.
    matches!(code, libc::BUS_ADRALN | libc::BUS_ADRERR | libc::BUS_OBJERR | libc::BUS_MCEERR_AR)
}

#[cfg(test)]
pub(crate) mod tests;
