//! Memory of the function in the hands of a consumer in another process. Its side is played by reads and writes of the
//! file that it is given, which are those of a mapping.

#![allow(clippy::unwrap_used, reason = "test code")]

mod world;

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use assign::{Attached, Event, Limits};
use gate::{Deadline, Reason, ThreadToken};
use mapping::{Holds, MappingLimits};
use rustix::io::{pread, pwrite};
use world::*;

fn share(attached: &mut Attached, token: &mut ThreadToken, region: u32) -> Option<Arc<OwnedFd>> {
    attached.share(token, region, || "a client".into()).map(|shared| Arc::clone(shared.file()))
}

fn byte(file: &OwnedFd, offset: u64) -> u8 {
    let mut data = [0];
    assert_eq!(pread(file, &mut data, offset), Ok(1));
    data[0]
}

#[track_caller]
fn eventually(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < end, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn only_what_may_be_mapped_is_shared() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let mut attached = world.attach(&mut token);
    for region in [1, 2, 6, 7, 8, FIXED, 11, u32::MAX] {
        assert!(share(&mut attached, &mut token, region).is_none(), "region {region}");
    }
    let shared = attached.share(&mut token, 0, || "a client".into()).unwrap();
    let areas: Vec<_> = shared.areas().iter().map(|area| (area.offset, area.size, area.holds)).collect();
    assert_eq!(areas, [(DATA, 0x1000, Holds::Data), (DOORBELLS, 0x1000, Holds::Doorbells)]);
    pwrite(shared.file(), &[7], DATA).unwrap();
    let mut data = [0];
    world.assignment.region_read(&mut token, 0, DATA, &mut data).unwrap();
    assert_eq!(data, [7]);
    assert!(!world.events.all().iter().any(|event| matches!(event, Event::NotShared { .. })));
}

#[test]
fn what_is_beyond_the_limit_is_said_once_for_each_consumer() {
    let mapping = MappingLimits { shared_bytes: 0x1000, ..MappingLimits::default() };
    let world = World::limited(mapping);
    let mut token = ThreadToken::at_thread_entry();
    for round in 1..=2 {
        let mut attached = world.attach(&mut token);
        for _ in 0..3 {
            // Two pages of data, of which one is within the limit.
            let shared = attached.share(&mut token, SCRATCH, || "a client".into()).unwrap();
            assert_eq!(shared.areas().len(), 1);
        }
        let events = world.events.all();
        let said = |event: &&Event| matches!(event, Event::NotShared { region: SCRATCH, bytes: 0x1000, .. });
        assert_eq!(events.iter().filter(said).count(), round, "{events:?}");
        attached.detach(&mut token);
    }
    let nothing = MappingLimits { mappings: 0, ..MappingLimits::default() };
    let world = World::limited(nothing);
    let mut attached = world.attach(&mut token);
    for _ in 0..3 {
        assert!(share(&mut attached, &mut token, SCRATCH).is_none());
    }
    let said = |event: &&Event| matches!(event, Event::NotShared { region: SCRATCH, bytes: 0x2000, .. });
    assert_eq!(world.events.all().iter().filter(said).count(), 1);
}

#[test]
fn a_frozen_functions_data_is_hidden_and_the_next_consumer_finds_it_again() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let mut attached = world.attach(&mut token);
    let file = share(&mut attached, &mut token, SCRATCH).unwrap();
    pwrite(&file, &[7], 0x10).unwrap();
    world.port.freeze("a test");
    eventually("the data is hidden", || byte(&file, 0x10) == 0xff && byte(&file, 0x1fff) == 0xff);
    // The next consumer resets and thaws it; this one's reset leaves memory alone.
    attached.detach(&mut token);
    let mut attached = world.attach(&mut token);
    let fresh = share(&mut attached, &mut token, SCRATCH).unwrap();
    assert_eq!((byte(&fresh, 0x10), byte(&fresh, 0x1fff)), (7, 0));
    pwrite(&file, &[9], 0x10).unwrap();
    assert_eq!(byte(&fresh, 0x10), 7, "what the last consumer kept reaches nothing");
    let mut data = [0];
    world.assignment.region_read(&mut token, SCRATCH, 0x10, &mut data).unwrap();
    assert_eq!(data, [7]);
    pwrite(&fresh, &[8], 0x10).unwrap();
    world.assignment.region_read(&mut token, SCRATCH, 0x10, &mut data).unwrap();
    assert_eq!(data, [8]);
}

#[test]
fn a_contained_functions_data_stays_hidden_when_it_has_been_reset_eeh_09() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let mut attached = world.attach(&mut token);
    let file = share(&mut attached, &mut token, SCRATCH).unwrap();
    pwrite(&file, &[7], 0x10).unwrap();
    let function = Arc::clone(world.assignment.function());
    assert!(function.contain());
    eventually("the data is hidden", || byte(&file, 0x10) == 0xff);
    let long = Deadline::after(Duration::from_secs(60));
    let quiesced = function.gate().close(&mut token, Reason::Reset, long).unwrap();
    assert!(!function.thaw_quiesced(quiesced));
    assert_eq!(byte(&file, 0x10), 0xff, "whoever resets it does not end that");
    assert!(function.release());
    eventually("the data is back", || byte(&file, 0x10) == 7);
}

#[test]
fn a_hold_that_is_only_dropped_takes_back_what_was_shared() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let mut attached = world.attach(&mut token);
    let file = share(&mut attached, &mut token, SCRATCH).unwrap();
    drop(attached);
    world.events.wait_for(|event| matches!(event, Event::ClientDetached { .. }));
    assert!(world.assignment.function().mappings().report().is_empty());
    pwrite(&file, &[7], 0).unwrap();
    let mut data = [0];
    world.assignment.region_read(&mut token, SCRATCH, 0, &mut data).unwrap();
    assert_eq!(data, [0]);
}

#[test]
fn what_a_consumer_kept_reaches_nothing_once_it_has_left() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    for round in 0..200 {
        let mut attached = world.attach(&mut token);
        let file = share(&mut attached, &mut token, SCRATCH).unwrap();
        attached.detach(&mut token);
        pwrite(&file, &[7], 0).unwrap();
        let mut data = [0];
        world.assignment.region_read(&mut token, SCRATCH, 0, &mut data).unwrap();
        assert_eq!(data, [0], "{round}");
    }
}

#[test]
fn a_consumer_waits_for_what_the_last_one_had() {
    let limits = Limits { detach_timeout: Duration::from_millis(20), ..Limits::default() };
    let (world, mut token) = (World::with(limits), ThreadToken::at_thread_entry());
    let mut attached = world.attach(&mut token);
    let file = share(&mut attached, &mut token, SCRATCH).unwrap();
    let (inside, asked) = (Barrier::new(2), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let token = ThreadToken::at_thread_entry();
            let _pass = world.pass(&token);
            inside.wait();
            while !asked.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
        });
        inside.wait();
        // The access that is inside keeps the device from moving to other memory.
        attached.detach(&mut token);
        let mut attached = world.attach(&mut token);
        asked.store(true, Ordering::Release);
        let fresh = share(&mut attached, &mut token, SCRATCH).unwrap();
        pwrite(&file, &[7], 0).unwrap();
        assert_eq!(byte(&fresh, 0), 0);
    });
}
