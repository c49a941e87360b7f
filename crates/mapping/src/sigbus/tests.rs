//! What the handler takes for its own, and what it passes on.

use std::ffi::c_int;
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::ptr;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::{Condition, GuardedRange, install, is_fault};

/// A mapping whose file ends before it does.
pub(crate) struct Lost {
    file: File,
    base: *mut u8,
    len: usize,
}

// SAFETY: the memory belongs to no thread; the tests access it as `access` says.
unsafe impl Sync for Lost {}

impl Lost {
    pub(crate) const PAGE: usize = 4096;

    /// `mapped` pages of a file of `present` pages.
    pub(crate) fn after(present: usize, mapped: usize) -> Lost {
        install();
        let file = File::from(memfd_create("lost", MemfdFlags::CLOEXEC).unwrap());
        let len = mapped * Lost::PAGE;
        // SAFETY: a new mapping at an address that the kernel chooses.
        let base = unsafe {
            mmap(ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, &file, 0)
                .unwrap()
        };
        let lost = Lost { file, base: base.cast(), len };
        lost.resize(present);
        lost
    }

    pub(crate) fn resize(&self, pages: usize) {
        ftruncate(&self.file, (pages * Lost::PAGE) as u64).unwrap();
    }

    pub(crate) fn at(&self, offset: usize) -> *mut u8 {
        assert!(offset < self.len);
        self.base.wrapping_add(offset)
    }
}

impl Drop for Lost {
    fn drop(&mut self) {
        // SAFETY: mapped by `after`, unmapped once.
        unsafe { munmap(self.base.cast(), self.len).unwrap() };
    }
}

#[test]
fn a_guarded_range_is_lost_as_a_whole_and_its_neighbour_is_not() {
    let (lost, other) = (Lost::after(1, 2), Lost::after(1, 1));
    // SAFETY: mappings of their own that nobody else uses.
    let (guard, beside) =
        unsafe { (GuardedRange::new(lost.at(0), lost.len), GuardedRange::new(other.at(0), other.len)) };
    // SAFETY: in the mappings.
    unsafe {
        lost.at(0).write_volatile(7);
        other.at(0).write_volatile(8);
        assert_eq!(guard.condition(), Condition::Intact);
        assert_eq!(lost.at(Lost::PAGE).read_volatile(), 0);
        assert_eq!(guard.condition(), Condition::Truncated);
        assert_eq!(lost.at(0).read_volatile(), 0, "the whole range is given up");
        assert_eq!((other.at(0).read_volatile(), beside.condition()), (8, Condition::Intact));
    }
}

#[test]
fn a_severed_range_is_zeroes_and_stays_severed() {
    let lost = Lost::after(1, 2);
    // SAFETY: a mapping of its own that nobody else uses.
    let guard = unsafe { GuardedRange::new(lost.at(0), lost.len) };
    // SAFETY: in the mapping.
    unsafe { lost.at(0).write_volatile(7) };
    assert!(guard.sever());
    // SAFETY: in the mapping, and no longer of the file.
    assert_eq!(unsafe { (lost.at(0).read_volatile(), lost.at(Lost::PAGE).read_volatile()) }, (0, 0));
    assert_eq!(guard.condition(), Condition::Severed);
    guard.retire();
    assert!(!guard.sever(), "a range that is not guarded is not replaced");
}

#[test]
fn an_access_that_may_fail_does_so_also_inside_a_guarded_range() {
    let lost = Lost::after(1, 2);
    // SAFETY: a mapping of its own that nobody else uses.
    let guard = unsafe { GuardedRange::new(lost.at(0), lost.len) };
    // SAFETY: in the mapping, aligned.
    assert_eq!(unsafe { crate::access::load(lost.at(Lost::PAGE).cast_const()) }, None);
    assert_eq!(guard.condition(), Condition::Intact, "the table of accesses comes first");
}

#[test]
fn what_the_kernel_raises_for_an_access_is_a_fault_and_what_somebody_sends_is_none() {
    // A poisoned page is BUS_MCEERR_AR for a kernel that knows of failing memory, and BUS_ADRERR for one that does not.
    for code in [libc::BUS_ADRALN, libc::BUS_ADRERR, libc::BUS_OBJERR, libc::BUS_MCEERR_AR] {
        assert!(is_fault(code), "{code}");
    }
    for code in [libc::SI_USER, libc::SI_QUEUE, libc::SI_TKILL, libc::SI_KERNEL, libc::BUS_MCEERR_AO] {
        assert!(!is_fault(code), "{code}");
    }
}

/// What a handler that was there before ours exits with.
const HANDLED: i32 = 42;

extern "C" fn three_arguments(signal: c_int, info: *mut libc::siginfo_t, context: *mut std::ffi::c_void) {
    // SAFETY: exits, as a signal handler may.
    unsafe {
        let whole = signal == libc::SIGBUS && !context.is_null() && (*info).si_signo == libc::SIGBUS;
        libc::_exit(if whole { HANDLED } else { 1 });
    }
}

extern "C" fn one_argument(signal: c_int) {
    // SAFETY: exits, as a signal handler may.
    unsafe { libc::_exit(if signal == libc::SIGBUS { HANDLED } else { 1 }) }
}

fn handle(handler: usize, flags: c_int) {
    // SAFETY: all-zeroes is a valid action; the handlers have the signatures that the flags ask for.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        (action.sa_sigaction, action.sa_flags) = (handler, flags);
        assert_eq!(libc::sigaction(libc::SIGBUS, &action, ptr::null_mut()), 0);
    }
}

/// A fault in an access that is none of ours.
fn fault() {
    let lost = Lost::after(0, 1);
    // SAFETY: in the mapping; that it faults is the test.
    unsafe { lost.at(0).read_volatile() };
}

/// Run as a child by the tests below, with what to do in the environment; on its own it does nothing.
#[test]
fn child_that_meets_a_signal() {
    let Ok(what) = std::env::var("MAPPING_TEST_SIGNAL") else { return };
    let previous: extern "C" fn(c_int, *mut libc::siginfo_t, *mut std::ffi::c_void) = three_arguments;
    let simple: extern "C" fn(c_int) = one_argument;
    match what.as_str() {
        "default" => handle(libc::SIG_DFL, 0),
        "ignored" => handle(libc::SIG_IGN, 0),
        "three arguments" => handle(previous as usize, libc::SA_SIGINFO),
        "one argument" => handle(simple as usize, 0),
        _ => {}
    }
    let lost = Lost::after(0, 1);
    // SAFETY: in the mapping.
    let loaded = unsafe { crate::access::load(lost.at(0).cast_const()) };
    assert_eq!(loaded, None, "ours works, whoever was there");
    match std::env::var("MAPPING_TEST_SENT") {
        // To this thread: one for the process may arrive on another while this one exits.
        // SAFETY: sends a signal.
        Ok(_) => assert_eq!(unsafe { libc::raise(libc::SIGBUS) }, 0),
        Err(_) => fault(),
    }
    std::process::exit(0);
}

#[test]
fn a_fault_elsewhere_ends_the_process() {
    assert_eq!(child("as it is", false), (None, Some(libc::SIGBUS)));
    assert_eq!(child("default", false), (None, Some(libc::SIGBUS)));
    assert_eq!(child("ignored", false), (None, Some(libc::SIGBUS)), "a fault cannot be ignored");
}

#[test]
fn a_signal_that_was_sent_does_what_it_would_have_done() {
    assert_eq!(child("as it is", true), (None, Some(libc::SIGBUS)));
    assert_eq!(child("default", true), (None, Some(libc::SIGBUS)));
    assert_eq!(child("ignored", true), (Some(0), None));
}

#[test]
fn a_handler_that_was_there_before_gets_what_is_not_ours() {
    for sent in [false, true] {
        assert_eq!(child("three arguments", sent), (Some(HANDLED), None));
        assert_eq!(child("one argument", sent), (Some(HANDLED), None));
    }
}

/// How a child ends: its exit code, or the signal that ended it.
fn child(previous: &str, sent: bool) -> (Option<i32>, Option<i32>) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["sigbus::tests::child_that_meets_a_signal", "--exact"])
        .env("MAPPING_TEST_SIGNAL", previous);
    if sent {
        command.env("MAPPING_TEST_SENT", "1");
    }
    let status = command.output().unwrap().status;
    (status.code(), status.signal())
}
