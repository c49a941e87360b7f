//! Mappings of a consumer in this process: what may be mapped, and how they follow the function.

#![allow(clippy::unwrap_used, reason = "test code")]

mod world;

use std::time::Duration;

use assign::{RegionMapRequest, RequestError};
use gate::{Deadline, ThreadToken};
use libc::{EINVAL, ENODEV, ENOSPC};
use mapping::{Mapping, MappingError, MappingLimits, OnDisabled};
use pci_core::Command;
use world::*;

fn request(region: u32, offset: u64, size: u64) -> RegionMapRequest {
    RegionMapRequest { owner: "a test".into(), region, offset, size, on_disabled: OnDisabled::Fail }
}

fn map(world: &World, region: u32, offset: u64, size: u64) -> Result<Mapping, RequestError> {
    world.assignment.map(request(region, offset, size))
}

#[test]
fn only_whole_pages_inside_one_mappable_area_are_mapped_vf_19() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let _attached = world.attach(&mut token);
    let refused = [
        // Not in an area, or not in one alone.
        (0, 0, 0x1000),
        (0, DATA, 0x2000),
        (0, DATA - 0x1000, 0x2000),
        (0, MAPPED_END, 0x1000),
        (0, DATA, u64::MAX),
        (0, u64::MAX - 0xfff, 0x1000),
        // Not pages, or none.
        (0, DATA, 0),
        (0, DATA + 0x800, 0x800),
        (0, DATA, 0x10),
        // Regions that are not mapped, or not there.
        (1, 0, 0x1000),
        (2, 0, 0x1000),
        (6, 0, 0x1000),
        (7, 0, 0x1000),
        (8, 0, 0x1000),
        (FIXED, 0, 0x1000),
        (11, 0, 0x1000),
        (u32::MAX, 0, 0x1000),
    ];
    for (region, offset, size) in refused {
        assert_eq!(
            errno(map(&world, region, offset, size).map(drop)),
            EINVAL,
            "{region} {offset:#x} {size:#x}"
        );
    }
    for (region, offset, size) in [(0, DATA, 0x1000), (0, DOORBELLS, 0x1000), (SCRATCH, 0, 0x1000)] {
        map(&world, region, offset, size).unwrap();
    }
}

#[test]
fn mappings_are_for_consumers_and_of_functions_that_are_there() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    assert_eq!(errno(map(&world, 0, DATA, 0x1000).map(drop)), ENODEV);
    let _attached = world.attach(&mut token);
    let _orphans = world.gate.retire(&mut token, Deadline::after(Duration::from_secs(1)));
    assert_eq!(errno(map(&world, 0, DATA, 0x1000).map(drop)), ENODEV);
}

#[test]
fn limits_bound_what_is_mapped() {
    let mapping = MappingLimits { mappings: 2, ..MappingLimits::default() };
    let world = World::limited(mapping);
    let mut token = ThreadToken::at_thread_entry();
    let _attached = world.attach(&mut token);
    let first = map(&world, 0, DATA, 0x1000).unwrap();
    let _second = map(&world, 0, DATA, 0x1000).unwrap();
    assert_eq!(errno(map(&world, 0, DATA, 0x1000).map(drop)), ENOSPC);
    drop(first);
    map(&world, 0, DATA, 0x1000).unwrap();
}

#[test]
fn a_mapping_is_the_devices_memory_and_follows_the_function_vf_20() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let attached = world.attach(&mut token);
    let mapping = map(&world, 0, DATA, 0x1000).unwrap();
    mapping.write(&mut token, 0x10, 0x1234_5678_u32).unwrap();
    let mut data = [0; 4];
    world.assignment.region_read(&mut token, 0, DATA + 0x10, &mut data).unwrap();
    assert_eq!(u32::from_le_bytes(data), 0x1234_5678);
    world.assignment.region_write(&mut token, 0, DATA + 0x10, &[9, 0, 0, 0]).unwrap();
    assert_eq!(mapping.read::<u32>(&mut token, 0x10), Ok(9));
    // MM-I5: an error, and neither a wait nor what was there before.
    world.command(&mut token, Command::BUS_MASTER);
    assert_eq!(mapping.read::<u32>(&mut token, 0x10), Err(MappingError::Disabled));
    world.command(&mut token, Command::MEMORY_SPACE);
    assert_eq!(mapping.read::<u32>(&mut token, 0x10), Ok(9));
    world.power(&mut token, 3);
    assert_eq!(mapping.read::<u32>(&mut token, 0x10), Err(MappingError::Disabled));
    world.power(&mut token, 0);
    assert_eq!(mapping.read::<u32>(&mut token, 0x10), Ok(9));
    world.port.freeze("a test");
    assert_eq!(mapping.read::<u32>(&mut token, 0x10), Err(MappingError::Frozen));
    world.gate.thaw();
    assert_eq!(mapping.read::<u32>(&mut token, 0x10), Ok(9));
    world.assignment.reset(&mut token).unwrap();
    assert_eq!(mapping.read::<u32>(&mut token, 0x10), Ok(9), "the device keeps its memory over this reset");
    let _orphans = world.gate.retire(&mut token, Deadline::after(Duration::from_secs(1)));
    assert_eq!(mapping.read::<u32>(&mut token, 0x10), Err(MappingError::Gone));
    drop(mapping);
    attached.detach(&mut token);
    assert!(world.assignment.function().mappings().report().is_empty());
}

/// It belongs to whoever holds it, and the account shows it. That the next consumer's memory is exchanged when it leaves
/// is nothing that a mapping could miss.
#[test]
fn a_mapping_that_outlives_its_consumer_goes_on_reaching_the_device_when_others_come_and_go() {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let attached = world.attach(&mut token);
    let mapping = map(&world, SCRATCH, 0, 0x1000).unwrap();
    mapping.write(&mut token, 0x10, 7_u32).unwrap();
    attached.detach(&mut token);
    for round in 1..=10_u32 {
        let mut attached = world.attach(&mut token);
        let file = attached.share(&mut token, SCRATCH, || "a client".into()).unwrap().file().clone();
        rustix::io::pwrite(&file, &round.to_le_bytes(), 0x10).unwrap();
        assert_eq!(mapping.read::<u32>(&mut token, 0x10), Ok(round));
        attached.detach(&mut token);
        rustix::io::pwrite(&file, &[0xee; 4], 0x10).unwrap();
        assert_eq!(mapping.read::<u32>(&mut token, 0x10), Ok(round), "the consumer has left");
        mapping.write(&mut token, 0x14, round).unwrap();
        let attached = world.attach(&mut token);
        let mut data = [0; 8];
        world.assignment.region_read(&mut token, SCRATCH, 0x10, &mut data).unwrap();
        assert_eq!(data, [round.to_le_bytes(), round.to_le_bytes()].concat()[..]);
        attached.detach(&mut token);
    }
    assert_eq!(world.assignment.function().mappings().report().len(), 1);
}
