//! A client that shrinks its memory file costs an error, not the process.

mod world;

use std::os::unix::process::ExitStatusExt;

use assign::{DmaAccess, DmaError};
use gate::ThreadToken;
use rustix::fs::ftruncate;
use world::*;

#[test]
fn a_truncated_mapping_gives_errors_and_others_go_on() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let _attached = world.attach(&mut token);
    let victim = filled(0x4000, 1);
    world.map(&mut token, RW, 0, 0x4000, dup(&victim)).unwrap();
    world.map(&mut token, RW, 0x4000, 0x1000, filled(0x1000, 2)).unwrap();
    let held = {
        let pass = world.pass(&token);
        world.port.dma().resolve(&pass, 0x1000, 8, DmaAccess::ReadWrite).unwrap().hold()
    };
    assert_eq!(world.read_guest(&token, 0, 1), Ok(vec![1]));
    ftruncate(&victim, 0).unwrap();

    let pass = world.pass(&token);
    let slice = world.port.dma().resolve(&pass, 0x2000, 64, DmaAccess::ReadWrite).unwrap();
    assert_eq!(slice.read_into(&mut [0; 64]), Err(DmaError::Truncated));
    assert_eq!(slice.write_from(&[3; 64]), Err(DmaError::Truncated));
    assert_eq!(slice.fill(1), Err(DmaError::Truncated));
    assert_eq!(slice.read_pod::<u64>(0), Err(DmaError::Truncated));
    assert_eq!(slice.load_u32(0), Err(DmaError::Truncated));
    assert_eq!(slice.load_u64(0), Err(DmaError::Truncated));
    assert_eq!(slice.store_u32_release(0, 1), Err(DmaError::Truncated));
    assert_eq!(slice.check(), Err(DmaError::Truncated));
    assert_eq!(held.write_at(0, &[1]), Err(DmaError::Truncated));
    assert_eq!(world.port.dma().write(&pass, 0, &[1]), Err(DmaError::Truncated));
    drop(pass);
    assert_eq!(world.read_guest(&token, 0x3ffe, 4), Err(DmaError::Truncated));
    assert_eq!(world.read_guest(&token, 0x4000, 2), Ok(vec![2, 2]), "the other mapping");

    drop(held);
    world.assignment.dma_unmap(&mut token, 0, 0x4000).unwrap();
    world.map(&mut token, RW, 0, 0x4000, filled(0x4000, 4)).unwrap();
    assert_eq!(world.read_guest(&token, 0x2000, 2), Ok(vec![4, 4]), "a new mapping at the same address");
}

#[test]
fn a_read_only_mapping_survives_truncation() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let _attached = world.attach(&mut token);
    let victim = filled(0x2000, 1);
    world.map(&mut token, READ, 0, 0x2000, dup(&victim)).unwrap();
    ftruncate(&victim, 0x1000).unwrap();
    assert_eq!(world.read_guest(&token, 0, 2), Ok(vec![1, 1]), "the part that is left");
    assert_eq!(world.read_guest(&token, 0x1000, 2), Err(DmaError::Truncated));
    assert_eq!(world.read_guest(&token, 0, 2), Err(DmaError::Truncated), "the whole mapping is given up");
}

#[test]
fn threads_that_fault_at_once_all_survive() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let _attached = world.attach(&mut token);
    for round in 0..50 {
        let victim = filled(0x1_0000, 1);
        world.map(&mut token, RW, 0, 0x1_0000, dup(&victim)).unwrap();
        let start = std::sync::Barrier::new(5);
        std::thread::scope(|scope| {
            for nth in 0..4u64 {
                let (world, start) = (&world, &start);
                scope.spawn(move || {
                    let token = ThreadToken::at_thread_entry();
                    start.wait();
                    // Ends when the client's truncation is seen, which it must be.
                    while world.read_guest(&token, nth * 0x4000, 0x4000).is_ok() {}
                    assert_eq!(
                        world.read_guest(&token, nth * 0x4000, 1),
                        Err(DmaError::Truncated),
                        "{round}"
                    );
                });
            }
            start.wait();
            ftruncate(&victim, 0).unwrap();
        });
        world.assignment.dma_unmap_all(&mut token).unwrap();
    }
}

/// Run as a child by the tests below, with what to do in the environment; on its own it does nothing.
#[test]
fn child_that_dies() {
    let Ok(what) = std::env::var("ASSIGN_TEST_DIE") else { return };
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let _attached = world.attach(&mut token);
    world.map(&mut token, RW, 0, 0x1000, memory(0x1000)).unwrap();
    if what == "sent" {
        // To this thread: one for the process may arrive on another while this one exits.
        // SAFETY: sends a signal.
        #[allow(unsafe_code, reason = "no safe call sends a signal to a thread")]
        unsafe {
            libc::raise(libc::SIGBUS)
        };
    } else {
        // A mapping of this test's own, which nobody guards.
        let file = memory(0x1000);
        // SAFETY: a new mapping, accessed within its bounds; that the access faults is what is tested.
        #[allow(unsafe_code, reason = "the fault is the test")]
        unsafe {
            use rustix::mm::{MapFlags, ProtFlags, mmap};
            let at = mmap(std::ptr::null_mut(), 0x1000, ProtFlags::READ, MapFlags::SHARED, &file, 0).unwrap();
            ftruncate(&file, 0).unwrap();
            at.cast::<u8>().read_volatile();
        }
    }
    std::process::exit(0);
}

#[test]
fn a_fault_outside_the_guarded_ranges_still_ends_the_process() {
    assert_eq!(die("fault"), Some(libc::SIGBUS));
}

#[test]
fn a_signal_that_was_sent_still_ends_the_process() {
    assert_eq!(die("sent"), Some(libc::SIGBUS));
}

#[allow(clippy::unwrap_used, reason = "test code")]
fn die(what: &str) -> Option<i32> {
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["child_that_dies", "--exact"])
        .env("ASSIGN_TEST_DIE", what)
        .output()
        .unwrap();
    child.status.signal()
}
