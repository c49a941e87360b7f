//! Accesses and signals: what is sent while one is under way, inside handlers, on a stack of its own, in a child process; and
//! where a failing access cannot be helped.
#![allow(clippy::disallowed_types, reason = "what a test protects with a lock is its own")]

use std::ffi::{c_int, c_void};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::mpsc::channel;

use super::{arch, entries, load, store};
use crate::Pages;
use crate::fault::Pool;
use crate::fault::fake::{Fake, FakeFile, LONG, PAGE, Plan, until};
use crate::sigbus::tests::Lost;
use crate::sigbus::{self, Condition, GuardedRange};

/// What a byte of the tests' pages is.
const VALUE: u8 = 7;

type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

fn handle(signal: c_int, handler: Handler) {
    // SAFETY: all-zeroes is a valid action; the handlers have the signature that SA_SIGINFO asks for.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        (action.sa_sigaction, action.sa_flags) = (handler as usize, libc::SA_SIGINFO | libc::SA_ONSTACK);
        assert_eq!(libc::sigaction(signal, &action, ptr::null_mut()), 0);
    }
}

/// What a thread's access gets that waits for its page while `meanwhile` is done, which is told the thread; then the page
/// appears. A signal interrupts that wait, and finds the thread at the instruction of its access.
fn while_an_access_waits(meanwhile: impl FnOnce(libc::pthread_t)) -> Option<u8> {
    let file = FakeFile::new(PAGE as u64);
    file.write(0, &[VALUE]);
    let window = Fake::new(&Pool::get().unwrap(), &file, 0, PAGE);
    window.plan(Plan::Park(LONG));
    let (sender, receiver) = channel();
    std::thread::scope(|scope| {
        let accessing = scope.spawn(|| {
            // SAFETY: asks who it is.
            sender.send(unsafe { libc::pthread_self() }).unwrap();
            window.read(0)
        });
        let thread = receiver.recv().unwrap();
        window.until_parked();
        meanwhile(thread);
        window.plan(Plan::Answer);
        window.pages.populate(0).unwrap();
        window.pages.wake();
        accessing.join().unwrap()
    })
}

/// Signals that found their thread at the instruction of an access, and elsewhere.
static FOUND: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

extern "C" fn count(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel's context of this thread, passed on.
    let context = unsafe { &*context.cast::<libc::ucontext_t>() };
    let elsewhere = entries::resume_after(arch::instruction(context)).is_none();
    FOUND[usize::from(elsewhere)].fetch_add(1, Ordering::SeqCst);
}

/// In a child, since the handler that was there before is the process's.
fn signals_are_sent() {
    const SENT: usize = 200;
    handle(libc::SIGBUS, count);
    let value = while_an_access_waits(|thread| {
        for nth in 1..=SENT {
            // SAFETY: the thread waits in its access, and has not ended.
            let sent = unsafe {
                match nth % 2 {
                    0 => libc::pthread_kill(thread, libc::SIGBUS),
                    _ => {
                        let value = libc::sigval { sival_ptr: ptr::null_mut() };
                        libc::pthread_sigqueue(thread, libc::SIGBUS, value)
                    }
                }
            };
            assert_eq!(sent, 0);
            until(|| FOUND.iter().map(|found| found.load(Ordering::SeqCst)).sum::<usize>() == nth);
        }
    });
    assert_eq!(FOUND.each_ref().map(|found| found.load(Ordering::SeqCst)), [SENT, 0]);
    assert_eq!(value, Some(VALUE), "no signal has failed the access");
}

/// A page that a handler finds gone.
static GONE: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());
static FAILED_IN_HANDLER: AtomicUsize = AtomicUsize::new(0);

extern "C" fn access_what_is_gone(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
    let gone = GONE.load(Ordering::SeqCst);
    // SAFETY: a test's mapping, which outlives the signal.
    let failed = unsafe { load(gone.cast_const()).is_none() && !store(gone, VALUE) };
    FAILED_IN_HANDLER.fetch_add(usize::from(failed), Ordering::SeqCst);
}

#[test]
fn an_access_in_a_handler_fails_and_the_access_that_it_interrupted_does_not() {
    let lost = Lost::after(0, 1);
    GONE.store(lost.at(0), Ordering::SeqCst);
    handle(libc::SIGUSR2, access_what_is_gone);
    let value = while_an_access_waits(|thread| {
        for nth in 1..=20 {
            // SAFETY: the thread waits in its access, and has not ended.
            assert_eq!(unsafe { libc::pthread_kill(thread, libc::SIGUSR2) }, 0);
            until(|| FAILED_IN_HANDLER.load(Ordering::SeqCst) == nth);
        }
    });
    assert_eq!(value, Some(VALUE));
}

#[test]
fn an_access_fails_on_the_alternate_stack_of_its_thread() {
    const UNTOUCHED: u8 = 0x5a;
    let lost = Lost::after(0, 1);
    let mut stack = vec![UNTOUCHED; 256 << 10];
    let ours = libc::stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: stack.len() };
    // SAFETY: the stack outlives its use, which ends with the second call; the page is the test's own.
    let loaded = unsafe {
        let mut before = std::mem::zeroed();
        assert_eq!(libc::sigaltstack(&raw const ours, &raw mut before), 0);
        let loaded = load(lost.at(0).cast_const());
        assert_eq!(libc::sigaltstack(&raw const before, ptr::null_mut()), 0);
        loaded
    };
    assert_eq!(loaded, None);
    assert!(stack.iter().any(|byte| *byte != UNTOUCHED), "the handler ran elsewhere");
}

#[test]
fn the_child_of_a_fork_survives_what_its_parent_does() {
    let (lost, guarded) = (Lost::after(0, 1), Lost::after(0, 1));
    // SAFETY: a mapping of its own that nobody else uses.
    let guard = unsafe { GuardedRange::new(guarded.at(0), PAGE) };
    // SAFETY: the child makes a few accesses and ends, which is no more than it may do beside other threads.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: in the mappings, of which the child has copies.
        unsafe {
            let failed = load(lost.at(0).cast_const()).is_none() && !store(lost.at(0), VALUE);
            let zero = guarded.at(0).read_volatile() == 0 && guard.condition() == Condition::Truncated;
            libc::_exit(if failed && zero { 0 } else { 1 });
        }
    }
    let mut status = 0;
    // SAFETY: waits for the child.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert_eq!(ExitStatus::from_raw(status).code(), Some(0), "{status:#x}");
    assert_eq!(guard.condition(), Condition::Intact, "of the parent");
}

/// A thread that blocks SIGBUS: the kernel has nobody to ask, and ends the process.
fn the_signal_is_blocked() {
    let lost = Lost::after(0, 1);
    // SAFETY: in the mapping; blocks a signal of this thread.
    unsafe {
        assert_eq!(load(lost.at(0).cast_const()), None);
        let mut signals = std::mem::zeroed();
        libc::sigemptyset(&mut signals);
        libc::sigaddset(&mut signals, libc::SIGBUS);
        assert_eq!(libc::pthread_sigmask(libc::SIG_BLOCK, &raw const signals, ptr::null_mut()), 0);
        load(lost.at(0).cast_const());
    }
}

/// While the signal is being handled it is blocked, also for the handler that it is passed on to.
fn a_handler_of_the_signal_accesses_what_is_gone() {
    handle(libc::SIGBUS, access_what_is_gone);
    let lost = Lost::after(0, 1);
    GONE.store(lost.at(0), Ordering::SeqCst);
    // SAFETY: sends a signal.
    unsafe { libc::raise(libc::SIGBUS) };
}

/// Run as a child by the tests below, with what to do in the environment; on its own it does nothing.
#[test]
fn child() {
    let Ok(what) = std::env::var("MAPPING_TEST_ACCESS") else { return };
    match what.as_str() {
        "sent" => signals_are_sent(),
        "blocked" => the_signal_is_blocked(),
        "handler" => a_handler_of_the_signal_accesses_what_is_gone(),
        other => panic!("{other}?"),
    }
}

/// How a child ends that does this, its exit code or the signal, and what it says.
fn run_child(what: &str) -> (Option<i32>, Option<i32>, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["access::signals_tests::child", "--exact"]).env("MAPPING_TEST_ACCESS", what);
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), output.status.signal(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn a_signal_that_is_sent_in_the_middle_of_an_access_is_passed_on_and_fails_nothing() {
    let (code, signal, said) = run_child("sent");
    assert_eq!((code, signal), (Some(0), None), "{said}");
}

#[test]
fn a_failing_access_of_a_thread_that_blocks_the_signal_ends_the_process() {
    for what in ["blocked", "handler"] {
        let (code, signal, said) = run_child(what);
        assert_eq!((code, signal), (None, Some(libc::SIGBUS)), "{what}: {said}");
    }
}

#[test]
fn a_poisoned_page_fails_in_every_width_both_ways_and_its_neighbour_does_not() {
    // So large that a fault makes present what lies in its own piece only.
    const PIECE: usize = 2 << 20;
    let file = FakeFile::new(32 << 20);
    let window = Fake::new(&Pool::get().unwrap(), &file, 0, 32 << 20);
    let at = |offset| window.pages.base().unwrap().as_ptr().wrapping_add(offset);
    sigbus::install();
    for round in 0..3 {
        window.plan(Plan::Poison);
        assert_eq!(window.read(PIECE), None);
        window.plan(Plan::Answer);
        // SAFETY: in the window, aligned.
        unsafe {
            assert_eq!(load(at(PIECE).cast_const()), None);
            assert_eq!(load(at(PIECE).cast::<u16>().cast_const()), None);
            assert_eq!(load(at(PIECE).cast::<u32>().cast_const()), None);
            assert_eq!(load(at(PIECE + PAGE - 8).cast::<u64>().cast_const()), None);
            assert!(!store(at(PIECE), VALUE) && !store(at(PIECE).cast(), 7u16));
            assert!(!store(at(PIECE).cast(), 7u32) && !store(at(PIECE + PAGE - 8).cast(), 7u64));
            assert!(store(at(PIECE - 8).cast(), u64::MAX));
            assert_eq!(load(at(PIECE - 8).cast::<u64>().cast_const()), Some(u64::MAX));
        }
        window.pages.zap();
        assert_eq!(window.read(PIECE), Some(0), "round {round}: nothing was stored");
        window.pages.zap();
    }
}
