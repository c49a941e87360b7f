//! Attaching, regions, reset, detaching.

#![allow(clippy::unwrap_used, reason = "test code")]

mod world;

use std::sync::Barrier;
use std::time::{Duration, Instant};

use assign::{
    AttachError, DmaAccess, DmaError, DmaMapFlags, DmaMapRequest, Event, Limits, Patience, RegionFlags,
    RegionType,
};
use gate::{AccessKind, Deadline, GateState, Reason, ThreadToken};
use libc::{EBUSY, EINVAL, EIO, ENODEV, ETIMEDOUT};
use pci_core::{Command, ResetKind};
use world::*;

const RWM: u32 = RegionFlags::READ | RegionFlags::WRITE | RegionFlags::MMAP;

#[test]
fn one_consumer_at_a_time_and_the_next_finds_nothing_of_the_last() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    for round in 0..3 {
        let attached = world.attach(&mut token);
        assert_eq!(world.assignment.attach(&mut token).err(), Some(AttachError::Busy));
        assert_eq!(world.port.dma().usage(&mut token), (0, 0), "{round}");
        assert_eq!(world.port.interrupts().mode(), None);
        let fd = new_eventfd();
        world.map(&mut token, RW, 0, 0x1000, memory(0x1000)).unwrap();
        world.irqs(&mut token, (1, 0, 1), EVENTFD | TRIGGER, &[], vec![dup(&fd)]).unwrap();
        attached.detach(&mut token);
        assert_eq!(world.read_guest(&token, 0, 1), Err(DmaError::BusMasterDisabled), "VF-03");
        assert!(world.fake.resets.lock().is_empty(), "the device's state is kept");
    }
    let wanted = [Event::ClientAttached, Event::ClientDetached { orphans: 0 }];
    assert_eq!(world.events.all(), wanted.iter().cycle().take(6).cloned().collect::<Vec<_>>());
}

#[test]
fn without_a_consumer_nothing_can_be_mapped_or_wired() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    assert_eq!(errno(world.map(&mut token, RW, 0, 0x1000, memory(0x1000))), ENODEV);
    assert_eq!(errno(world.irqs(&mut token, (1, 0, 1), EVENTFD | TRIGGER, &[], vec![])), ENODEV);
    assert_eq!(errno(world.assignment.dma_unmap(&mut token, 0, 0x1000)), ENODEV);
    assert_eq!(errno(world.assignment.dma_unmap_all(&mut token)), ENODEV);
}

#[test]
fn a_hold_that_is_only_dropped_still_detaches() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let attached = world.attach(&mut token);
    world.map(&mut token, RW, 0, 0x1000, memory(0x1000)).unwrap();
    drop(attached);
    world.events.wait_for(|event| *event == Event::ClientDetached { orphans: 0 });
    assert_eq!(world.port.dma().usage(&mut token), (0, 0));
    world.attach(&mut token).detach(&mut token);
}

#[test]
fn io_in_flight_at_a_detach_keeps_its_addresses_but_not_the_clients_memory() {
    let world = World::with(Limits { detach_timeout: Duration::from_millis(20), ..Limits::default() });
    let mut token = ThreadToken::at_thread_entry();
    let attached = world.attach(&mut token);
    world.map(&mut token, RW, 0x1000, 0x1000, filled(0x1000, 6)).unwrap();
    let held = {
        let pass = world.pass(&token);
        world.port.dma().resolve(&pass, 0x1000, 4, DmaAccess::ReadWrite).unwrap().hold()
    };
    attached.detach(&mut token);
    let events = world.events.all();
    assert!(events.contains(&Event::DmaOrphaned { iova: 0x1000, size: 0x1000, held: 1 }), "{events:?}");
    assert!(events.contains(&Event::ClientDetached { orphans: 1 }), "{events:?}");
    let mut data = [9; 4];
    assert_eq!(held.read_at(0, &mut data), Err(DmaError::Severed));
    assert_eq!(data, [0; 4]);
    // The next consumer is not concerned.
    let _attached = world.attach(&mut token);
    world.map(&mut token, RW, 0x1000, 0x1000, filled(0x1000, 7)).unwrap();
    assert_eq!(world.read_guest(&token, 0x1000, 1), Ok(vec![7]));
    drop(held);
    assert_eq!(world.read_guest(&token, 0x1000, 1), Ok(vec![7]));
}

#[test]
fn opening_turns_decoding_on_and_bus_mastering_off_vf_02() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let _attached = world.assignment.attach(&mut token).unwrap();
    let command = world.port.config().command();
    assert!(command.contains(Command::MEMORY_SPACE) && !command.contains(Command::BUS_MASTER), "{command:?}");
    world.assignment.region_read(&mut token, 0, 0, &mut [0; 4]).unwrap();
}

#[test]
fn regions_have_vfios_numbers_and_sizes_vf_13_vf_14() {
    let world = World::new();
    let table = [
        (0, RWM, 0x4000, 2),
        (1, 0, 0, 0),
        (2, RegionFlags::READ | RegionFlags::WRITE, 0x1000, 0),
        (5, 0, 0, 0),
        (6, RegionFlags::READ, 0x800, 0),
        (7, RegionFlags::READ | RegionFlags::WRITE, 4096, 0),
        (SCRATCH, RWM, 0x2000, 2),
        (FIXED, RegionFlags::READ, 0x1800, 0),
    ];
    for (index, flags, size, areas) in table {
        let info = world.assignment.region_info(index).unwrap();
        assert_eq!((info.flags.0, info.size, info.areas.len()), (flags, size, areas), "region {index}");
        let kind = RegionType { kind: 0x8000_1b36, subtype: index.wrapping_sub(8) };
        assert_eq!(info.kind, (index >= SCRATCH).then_some(kind), "region {index}");
    }
    for index in [8, 11, 12, 1 << 24, u32::MAX] {
        assert_eq!(errno(world.assignment.region_info(index)), EINVAL, "region {index}");
    }
    let info = world.assignment.device_info();
    assert_eq!((info.reset, info.regions, info.irqs), (true, 11, 5));
}

#[test]
fn accesses_reach_the_device_in_aligned_pieces_vf_15() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let _attached = world.attach(&mut token);
    let mut data = [0; 7];
    world.assignment.region_read(&mut token, 0, 3, &mut data).unwrap();
    assert_eq!(data, [3, 4, 5, 6, 7, 8, 9]);
    world.assignment.region_write(&mut token, 2, 8, &[0; 8]).unwrap();
    assert_eq!(
        *world.fake.accesses.lock(),
        [(0, 3, 1, false), (0, 4, 4, false), (0, 8, 2, false), (2, 8, 8, true)]
    );
}

#[test]
fn the_rom_is_read_in_pieces_of_at_most_4_bytes_and_all_ones_behind_its_image_vf_15_vf_16() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let _attached = world.attach(&mut token);
    let mut data = [0; 16];
    world.assignment.region_write(&mut token, 7, ROM_ADDRESS, &[1, 0, 0, 0]).unwrap();
    world.assignment.region_read(&mut token, 6, IMAGE - 6, &mut data).unwrap();
    assert_eq!(data[..6], [0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0xff]);
    assert_eq!(data[6..], [0xff; 10]);
    let widths: Vec<_> = world.fake.accesses.lock().iter().map(|access| access.2).collect();
    assert_eq!(widths, [2, 4, 4, 4, 2]);
}

#[test]
fn a_region_of_the_devices_own_is_read_and_written_in_aligned_pieces_vf_15() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let _attached = world.attach(&mut token);
    world.assignment.region_write(&mut token, SCRATCH, 6, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]).unwrap();
    let mut data = [0; 10];
    world.assignment.region_read(&mut token, SCRATCH, 6, &mut data).unwrap();
    assert_eq!(data, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    assert_eq!(
        *world.fake.accesses.lock(),
        [(9, 6, 2, true), (9, 8, 8, true), (9, 6, 2, false), (9, 8, 8, false)]
    );
    world.assignment.region_read(&mut token, FIXED, 0x17ff, &mut data[..1]).unwrap();
    assert_eq!(data[0], 0x5a);
    // COMMAND has nothing to do with them; a frozen function has.
    world.command(&mut token, Command::empty());
    world.assignment.region_read(&mut token, SCRATCH, 6, &mut data).unwrap();
    assert_eq!(data[0], 1);
    world.gate.freeze();
    world.assignment.region_read(&mut token, SCRATCH, 6, &mut data).unwrap();
    assert_eq!(data, [0xff; 10]);
    world.assignment.region_write(&mut token, SCRATCH, 6, &[0; 10]).unwrap();
}

#[test]
fn an_access_out_of_range_is_refused_vf_15_vf_17() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let _attached = world.attach(&mut token);
    let table = [
        (0, 0x4000),
        (0, 0x3ffd),
        (0, u64::MAX),
        (1, 0),
        (6, 0x7fd),
        (7, 4093),
        (7, 1 << 20),
        (8, 0),
        (SCRATCH, 0x1ffd),
        (SCRATCH, u64::MAX - 1),
        (FIXED, 0x1800),
        (11, 0),
        (u32::MAX, 0),
    ];
    for (index, offset) in table {
        let mut data = [0; 4];
        assert_eq!(
            errno(world.assignment.region_read(&mut token, index, offset, &mut data)),
            EINVAL,
            "{index}"
        );
        assert_eq!(data, [0xff; 4]);
        assert_eq!(
            errno(world.assignment.region_write(&mut token, index, offset, &[0; 4])),
            EINVAL,
            "{index}"
        );
    }
    for read_only in [6, FIXED] {
        let written = world.assignment.region_write(&mut token, read_only, 0, &[0; 4]);
        assert_eq!(errno(written), EINVAL, "region {read_only}");
    }
    assert!(world.fake.accesses.lock().is_empty());
}

#[test]
fn with_memory_disabled_bar_accesses_fail_vf_17() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let _attached = world.attach(&mut token);
    world.command(&mut token, Command::BUS_MASTER);
    let mut data = [0; 4];
    assert_eq!(errno(world.assignment.region_read(&mut token, 0, 0, &mut data)), EIO);
    assert_eq!(data, [0xff; 4]);
    assert_eq!(errno(world.assignment.region_write(&mut token, 0, 0, &[0; 4])), EIO);
    assert!(world.fake.accesses.lock().is_empty());
}

#[test]
fn a_frozen_function_reads_all_ones_and_drops_writes_cfg_03() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let _attached = world.attach(&mut token);
    world.gate.freeze();
    for index in [0, 2, 6, 7] {
        let mut data = [0; 4];
        world.assignment.region_read(&mut token, index, 0, &mut data).unwrap();
        assert_eq!(data, [0xff; 4]);
    }
    world.assignment.region_write(&mut token, 0, 0, &[0; 4]).unwrap();
    assert!(world.fake.accesses.lock().is_empty());
    // Mapping and wiring are the consumer's, and go on.
    world.map(&mut token, RW, 0, 0x1000, memory(0x1000)).unwrap();
    world.irqs(&mut token, (1, 0, 1), EVENTFD | TRIGGER, &[], vec![new_eventfd()]).unwrap();
    world.assignment.dma_unmap_all(&mut token).unwrap();
}

#[test]
fn a_function_that_is_gone_reads_all_ones_and_keeps_no_client_memory_cfg_04() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let attached = world.attach(&mut token);
    world.map(&mut token, RW, 0, 0x1000, memory(0x1000)).unwrap();
    world.map(&mut token, RW, 0x1000, 0x1000, memory(0x1000)).unwrap();
    let _orphans = world.gate.retire(&mut token, Deadline::after(Duration::from_secs(1)));
    let mut data = [0; 4];
    world.assignment.region_read(&mut token, 0, 0, &mut data).unwrap();
    assert_eq!(data, [0xff; 4]);
    assert_eq!(errno(world.map(&mut token, RW, 0x2000, 0x1000, memory(0x1000))), ENODEV);
    assert_eq!(errno(world.assignment.reset(&mut token)), ENODEV);
    world.assignment.dma_unmap(&mut token, 0, 0x1000).unwrap();
    attached.detach(&mut token);
    assert_eq!(world.port.dma().usage(&mut token), (0, 0));
    assert!(matches!(world.assignment.attach(&mut token), Err(AttachError::Refused(_))));
    assert!(!world.assignment.is_attached());
}

#[test]
fn a_reset_keeps_mappings_wiring_and_command_vf_40() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let _attached = world.attach(&mut token);
    world.map(&mut token, RW, 0, 0x1000, filled(0x1000, 4)).unwrap();
    world.irqs(&mut token, (1, 0, 1), EVENTFD | TRIGGER, &[], vec![new_eventfd()]).unwrap();
    let command = world.port.config().command();
    world.assignment.reset(&mut token).unwrap();
    assert_eq!(*world.fake.resets.lock(), [ResetKind::DeviceReset]);
    assert_eq!(world.port.config().command(), command);
    assert_eq!(world.read_guest(&token, 0, 1), Ok(vec![4]));
    assert_eq!(world.port.interrupts().mode(), Some(assign::IrqMode::Msi));
    assert_eq!(world.gate.status().state, GateState::Open);
    assert!(world.events.all().iter().any(|event| matches!(event, Event::Reset { .. })));
}

/// A function that a timed-out unmap has frozen and whose client has left, and what of its DMA is still in flight.
fn frozen_by_an_unmap<T>(
    token: &mut ThreadToken,
    keep: impl FnOnce(&World, &ThreadToken) -> T,
) -> (World, T) {
    let world = World::with(Limits {
        unmap_timeout: Duration::from_millis(20),
        attach_timeout: Duration::from_millis(300),
        detach_timeout: Duration::from_millis(20),
        ..Limits::default()
    });
    let attached = world.attach(token);
    world.map(token, RW, 0x1000, 0x1000, memory(0x1000)).unwrap();
    let held = {
        let pass = world.pass(token);
        world.port.dma().resolve(&pass, 0x1000, 4, DmaAccess::ReadWrite).unwrap().hold()
    };
    let kept = keep(&world, token);
    assert_eq!(errno(world.assignment.dma_unmap(token, 0x1000, 0x1000)), ETIMEDOUT);
    attached.detach(token);
    assert_eq!(world.gate.status().state, GateState::Frozen);
    assert_eq!(refusal(&world, token), EBUSY, "its memory is still held");
    drop(held);
    (world, kept)
}

/// The errno with which an attach is refused.
fn refusal(world: &World, token: &mut ThreadToken) -> i32 {
    let Err(AttachError::Refused(error)) = world.assignment.attach(token) else {
        panic!("the attach should be refused")
    };
    let told = Event::AttachRefused { reason: error.reason };
    assert_eq!(world.events.all().last(), Some(&told));
    assert!(!world.assignment.is_attached());
    assert_eq!(world.gate.status().state, GateState::Frozen);
    assert!(world.fake.resets.lock().is_empty());
    error.errno.raw()
}

#[test]
fn a_function_frozen_by_an_unmap_is_reset_for_the_next_client_once_its_dma_is_over() {
    let mut token = ThreadToken::at_thread_entry();
    let (world, ()) = frozen_by_an_unmap(&mut token, |_, _| ());
    let attached = world.attach(&mut token);
    assert_eq!(world.gate.status().state, GateState::Open);
    assert_eq!(*world.fake.resets.lock(), [ResetKind::DeviceReset]);
    assert!(world.events.all().iter().any(|event| matches!(event, Event::Reset { .. })));
    let mut data = [0; 4];
    world.assignment.region_read(&mut token, 0, 0, &mut data).unwrap();
    assert_eq!(data, [0, 1, 2, 3]);
    world.map(&mut token, RW, 0x1000, 0x1000, filled(0x1000, 7)).unwrap();
    assert_eq!(world.read_guest(&token, 0x1000, 1), Ok(vec![7]));
    // Only a frozen function is reset: the next client finds the device as this one left it.
    attached.detach(&mut token);
    world.attach(&mut token).detach(&mut token);
    assert_eq!(world.fake.resets.lock().len(), 1);
}

#[test]
fn a_frozen_function_with_a_command_still_in_flight_is_refused_and_can_be_had_later() {
    let mut token = ThreadToken::at_thread_entry();
    let (world, command) = frozen_by_an_unmap(&mut token, |world, token| {
        world.pass(token).long(AccessKind::Dma, "a slow command")
    });
    assert_eq!(refusal(&world, &mut token), EBUSY);
    drop(command);
    world.attach(&mut token).detach(&mut token);
}

fn page() -> DmaMapRequest {
    DmaMapRequest { flags: DmaMapFlags(RW), offset: 0, iova: 0, size: 0x1000, fd: None }
}

#[test]
fn requests_behind_each_other_wait_as_long_as_one() {
    const LIMIT: Duration = Duration::from_millis(200);
    const COUNT: u32 = 20;
    let world = World::with(Limits { access_timeout: LIMIT, ..Limits::default() });
    let blocked = Barrier::new(2);
    std::thread::scope(|scope| {
        let consumer = scope.spawn(|| {
            let mut token = ThreadToken::at_thread_entry();
            let _attached = world.attach(&mut token);
            blocked.wait();
            blocked.wait();
            let mut patience = Patience::new();
            let begin = Instant::now();
            for _ in 0..COUNT {
                let mut requests = world.assignment.requests(&mut patience);
                assert_eq!(errno(requests.region_write(&mut token, 0, 0, &[0; 4])), ETIMEDOUT);
                assert_eq!(errno(requests.region_read(&mut token, 7, 0, &mut [0; 4])), ETIMEDOUT);
                assert_eq!(errno(requests.region_write(&mut token, 7, 4, &[0; 2])), ETIMEDOUT);
                assert_eq!(errno(requests.dma_map(&mut token, page())), ETIMEDOUT);
            }
            let together = begin.elapsed();
            assert!(together >= LIMIT && together < LIMIT * COUNT, "{together:?}");
            // All is answered: the next one has the whole time again.
            patience.renew();
            let begin = Instant::now();
            let mut requests = world.assignment.requests(&mut patience);
            assert_eq!(errno(requests.region_write(&mut token, 0, 0, &[0; 4])), ETIMEDOUT);
            assert!(begin.elapsed() >= LIMIT);
        });
        blocked.wait();
        let mut token = ThreadToken::at_thread_entry();
        let quiesced =
            world.gate.close(&mut token, Reason::Recovery, Deadline::after(Duration::from_secs(20))).unwrap();
        blocked.wait();
        // The gate stays closed until the consumer has finished.
        while !consumer.is_finished() {
            std::thread::yield_now();
        }
        drop(quiesced);
    });
}
