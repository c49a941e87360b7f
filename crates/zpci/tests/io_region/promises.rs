//! ZIO-I1 to ZIO-I5.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use assign::{DmaMapFlags, Errno, Limits};
use gate::{Gate, Reason, ThreadToken};
use pci_core::Command;
use zpci::Work;
use zpci::region::layout::{IoRequest, REQUEST_START};

use crate::world::*;

/// Far beyond what any of these tests takes.
fn patient() -> Limits {
    Limits { access_timeout: Duration::from_secs(60), ..Limits::default() }
}

#[test]
fn while_one_request_is_stuck_in_the_device_others_are_served_zio_i1() {
    let mut world = World::new();
    world.probe.hangs.store(true, Ordering::Release);
    let stuck = world.request_elsewhere(IoRequest { offset: HANG, ..LOAD });
    let probe = Arc::clone(&world.probe);
    eventually("the request is in the device", || probe.inside.load(Ordering::Acquire) == 1);
    world.request(BLOCK).unwrap();
    world.request(IoRequest { address: MEMORY + 0x1000, ..LOAD }).unwrap();
    world.read(0, &mut [0; 16]).unwrap();
    // Nor does it keep what an owner does to the function: names, claims, another view of it.
    let recovery = world.zdev.begin(Work::Recovery).unwrap();
    recovery.renew(&mut world.token, true).unwrap();
    drop(recovery);
    world.request(LOAD).unwrap();
    assert!(!stuck.is_finished());
    world.probe.hangs.store(false, Ordering::Release);
    stuck.join().unwrap().unwrap();
}

#[test]
fn a_request_that_waits_holds_nothing_zio_i1() {
    let mut world = World::with(patient());
    let outcome = world.while_a_request_waits(BLOCK, |world| {
        world.read(0, &mut [0; 16]).unwrap();
        world.zdev.take_out(&mut world.token);
        world.zdev.bring_in(&mut world.token, Arc::clone(&world.view));
    });
    outcome.unwrap();
    // No pass is left behind either: a closer has the function at once.
    let closed = world.gate.close(&mut world.token, Reason::Reset, ahead());
    drop(closed.unwrap());
}

/// Two threads of one consumer, each with blocks of its own.
#[test]
fn requests_at_once_do_not_meet_in_a_buffer_zio_i2() {
    const ROUNDS: u64 = 2000;
    let world = World::new();
    for thread in 0..2 {
        world.fill(thread * 0x1000, &[u8::try_from(thread + 1).unwrap(); 0x1000]);
    }
    let run = |thread: u64| {
        let assignment = Arc::clone(&world.assignment);
        move || {
            let mut token = ThreadToken::at_thread_entry();
            for round in 0..ROUNDS {
                let length = if thread == 0 { 128 } else { 64 };
                let offset = thread * 0x1000 + round % 8 * 128;
                let request = IoRequest { address: MEMORY + thread * 0x1000, offset, length, ..BLOCK };
                let bytes = request.encode();
                assignment.region_write(&mut token, REGION, REQUEST_START, &bytes).unwrap();
                // Half a request of the other kind, which is refused whatever is beside it.
                let part = assignment.region_write(&mut token, REGION, REQUEST_START, &bytes[..8]);
                assert_eq!(errno(part), Errno::EIO);
            }
        }
    };
    std::thread::scope(|scope| {
        let threads = [0, 1].map(|thread| scope.spawn(run(thread)));
        for thread in threads {
            thread.join().unwrap();
        }
    });
    let reached = world.probe.take();
    assert_eq!(reached.len() as u64, 2 * ROUNDS);
    for one in reached {
        let Reached::Block(offset, data) = one else { panic!("{one:?}") };
        let expected = if offset < 0x1000 { vec![1; 128] } else { vec![2; 64] };
        assert_eq!(data, expected, "at {offset:#x}");
    }
}

#[test]
fn a_partial_write_never_sees_an_older_request_zio_i2() {
    let mut world = World::new();
    let bytes = BLOCK.encode();
    world.request(BLOCK).unwrap();
    world.probe.take();
    for start in 0..bytes.len() {
        for end in start..=bytes.len() {
            // What is not zero of it ends with the first byte of the length.
            if start == 0 && end > 28 {
                continue;
            }
            let written = world.write(REQUEST_START + start as u64, &bytes[start..end]);
            assert_eq!(errno(written), Errno::EIO, "{start}..{end}");
        }
    }
    world.assert_untouched();
    world.write(REQUEST_START, &bytes[..29]).unwrap();
    assert_eq!(world.probe.take(), [Reached::Block(0, vec![0; 128])]);
}

/// What was checked is what is carried out: what the client does to its memory afterwards changes the data, and never the
/// request.
#[test]
fn a_request_that_waits_is_carried_out_as_it_was_checked_zio_i2() {
    let mut world = World::with(patient());
    let outcome = world.while_a_request_waits(BLOCK, |world| {
        let longer = IoRequest { length: 4096, offset: 0x1000, ..BLOCK };
        assert_eq!(errno(world.request(longer)), Errno::EIO);
        world.fill(0, &[7; 128]);
    });
    outcome.unwrap();
    assert_eq!(world.probe.take(), [Reached::Block(0, vec![7; 128])]);
}

#[test]
fn the_handle_is_the_one_at_execution_zio_i3() {
    let mut world = World::with(patient());
    // Recovery renews the handle while the gate is closed.
    let outcome = world.while_a_request_waits(LOAD, |world| {
        let old = world.view.handle();
        let recovery = world.zdev.begin(Work::Recovery).unwrap();
        recovery.renew(&mut world.token, false).unwrap();
        recovery.renew(&mut world.token, true).unwrap();
        drop(recovery);
        assert_ne!(world.view.handle(), old);
    });
    outcome.unwrap();
    assert_eq!(world.probe.take(), [Reached::Load(0, 8)]);
    // And one that left it disabled has disabled the request that waited.
    let outcome = world.while_a_request_waits(LOAD, |world| {
        let recovery = world.zdev.begin(Work::Recovery).unwrap();
        recovery.renew(&mut world.token, false).unwrap();
        drop(recovery);
    });
    assert_eq!(errno(outcome), Errno::EIO);
    assert_eq!(world.probe.take(), []);
}

#[test]
fn a_request_never_reaches_the_next_device_in_the_place_zio_i3() {
    let mut world = World::with(patient());
    let next = Arc::new(Probe::default());
    let gate = Gate::new("next");
    let (next_assignment, view) = device(&gate, &next, &world.zdev, MAX_STORE, Limits::default());
    let outcome = world.while_a_request_waits(BLOCK, |world| {
        let old = world.zdev.handle();
        world.zdev.take_out(&mut world.token);
        let new = world.zdev.bring_in(&mut world.token, Arc::clone(&view));
        assert_ne!(old, new);
    });
    assert_eq!(errno(outcome), Errno::ENODEV);
    for request in [LOAD, BLOCK] {
        assert_eq!(errno(world.request(request)), Errno::ENODEV);
    }
    assert_eq!(next.take(), []);
    world.assert_untouched();
    drop(next_assignment);
}

#[test]
fn a_request_that_waits_fails_as_soon_as_its_function_is_gone_zio_i4() {
    let started = Instant::now();
    for request in [LOAD, BLOCK] {
        let mut world = World::with(patient());
        let outcome = world.while_a_request_waits(request, |world| {
            // Not waited for: the proof is this thread's.
            let _inside = world.gate.retire(&mut world.token, gate::Deadline::after(Duration::ZERO));
        });
        assert_eq!(errno(outcome), Errno::ENODEV);
        assert_eq!(errno(world.request(request)), Errno::ENODEV);
        world.assert_untouched();
    }
    assert!(started.elapsed() < Duration::from_secs(30), "nobody waited for a deadline");
}

#[test]
fn a_request_that_waits_fails_as_soon_as_its_function_freezes_zio_i4() {
    let mut world = World::with(patient());
    let started = Instant::now();
    let outcome = world.while_a_request_waits(BLOCK, |world| {
        world.gate.freeze();
    });
    assert_eq!(errno(outcome), Errno::EIO);
    assert!(started.elapsed() < Duration::from_secs(30), "nobody waited for a deadline");
    world.assert_untouched();
}

#[test]
fn a_request_waits_to_its_deadline_and_no_longer_zio_i4() {
    let limits = Limits { access_timeout: Duration::from_millis(20), ..Limits::default() };
    let mut world = World::with(limits);
    let closed = world.gate.close(&mut world.token, Reason::Reset, ahead()).unwrap().park();
    for request in [LOAD, BLOCK] {
        let started = Instant::now();
        assert_eq!(errno(world.request(request)), Errno::EIO);
        assert!(started.elapsed() >= limits.access_timeout);
        assert!(started.elapsed() < Duration::from_secs(30));
    }
    drop(closed.resume(&mut world.token));
    world.assert_untouched();
    world.request(BLOCK).unwrap();
}

#[test]
fn a_load_needs_memory_to_write_and_a_store_memory_to_read_zio_i5() {
    const READ_ONLY: u64 = 0x20_0000;
    const WRITE_ONLY: u64 = 0x30_0000;
    let mut world = World::new();
    world.map(DmaMapFlags::READ, READ_ONLY, 0x1000).unwrap();
    world.map(DmaMapFlags::WRITE, WRITE_ONLY, 0x1000).unwrap();
    assert_eq!(errno(world.request(IoRequest { address: READ_ONLY, ..LOAD })), Errno::EIO);
    assert_eq!(errno(world.request(IoRequest { address: WRITE_ONLY, ..BLOCK })), Errno::EIO);
    world.assert_untouched();
    world.request(IoRequest { address: READ_ONLY, ..BLOCK }).unwrap();
    assert_eq!(world.probe.take(), [Reached::Block(0, vec![0; 128])]);
    world.request(IoRequest { address: WRITE_ONLY, ..LOAD }).unwrap();
    assert_eq!(world.probe.take(), [Reached::Load(0, 8)]);
    assert_eq!(world.bytes(0, 8), (0..8).map(pattern).collect::<Vec<_>>());
}

/// The data is moved by the host: it is no DMA of the function.
#[test]
fn bus_mastering_is_not_asked_for() {
    let mut world = World::new();
    assert!(!world.assignment.function().config().command().contains(Command::BUS_MASTER));
    world.request(BLOCK).unwrap();
    world.request(LOAD).unwrap();
}
