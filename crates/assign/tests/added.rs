//! Regions that somebody adds to a function.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_types, reason = "what a test protects with a lock is its own")]

mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use assign::{
    AddRegionError, AddedRegion, DmaAccess, DmaError, Errno, Limits, Patience, RegionFlags, RegionType,
    RequestError,
};
use gate::{Deadline, ThreadToken};
use parking_lot::Mutex;
use pci_core::{Command, DeviceRegion};
use world::*;

/// Remembers what it was asked, and does as it is told.
#[derive(Default)]
struct Recorded {
    /// Offset and bytes of each write; offset and count, as bytes, of each read.
    writes: Mutex<Vec<(u64, Vec<u8>)>>,
    reads: Mutex<Vec<(u64, usize)>>,
    /// Whether it asks for its deadline, as one that waits.
    asks: AtomicBool,
    deadlines: Mutex<Vec<Deadline>>,
    refuses: Mutex<Option<RequestError>>,
}

impl Recorded {
    fn answer(&self, until: &mut dyn FnMut() -> Deadline) -> Result<(), RequestError> {
        if self.asks.load(Ordering::Relaxed) {
            self.deadlines.lock().push(until());
        }
        self.refuses.lock().map_or(Ok(()), Err)
    }
}

impl AddedRegion for Recorded {
    fn region(&self) -> DeviceRegion {
        DeviceRegion { kind: 0x8000_1014, subtype: 2, size: 48, writable: true }
    }

    fn read(
        &self,
        _token: &mut ThreadToken,
        offset: u64,
        data: &mut [u8],
        until: &mut dyn FnMut() -> Deadline,
    ) -> Result<(), RequestError> {
        self.reads.lock().push((offset, data.len()));
        data.fill(0x42);
        self.answer(until)
    }

    fn write(
        &self,
        _token: &mut ThreadToken,
        offset: u64,
        data: &[u8],
        until: &mut dyn FnMut() -> Deadline,
    ) -> Result<(), RequestError> {
        self.writes.lock().push((offset, data.to_vec()));
        self.answer(until)
    }
}

fn with_added(limits: Limits) -> (World, Arc<Recorded>) {
    let world = World::with(limits);
    let recorded = Arc::new(Recorded::default());
    world.assignment.add_region(recorded.clone()).unwrap();
    (world, recorded)
}

#[test]
fn an_added_region_stands_behind_those_of_the_devices_own_vf_13_vf_14() {
    let (world, _) = with_added(Limits::default());
    assert_eq!(World::new().assignment.device_info().regions, ADDED);
    assert_eq!(world.assignment.device_info().regions, ADDED + 1);
    let info = world.assignment.region_info(ADDED).unwrap();
    assert_eq!(info.flags, RegionFlags(RegionFlags::READ | RegionFlags::WRITE));
    assert_eq!(info.size, 48);
    assert_eq!(info.kind, Some(RegionType { kind: 0x8000_1014, subtype: 2 }));
    assert!(info.areas.is_empty());
    assert_eq!(errno(world.assignment.region_info(ADDED + 1)), Errno::EINVAL.raw());
}

#[test]
fn only_an_added_region_fails_when_its_function_is_gone() {
    let (world, _) = with_added(Limits::default());
    for index in [0, 7, SCRATCH, FIXED, ADDED] {
        let info = world.assignment.region_info(index).unwrap();
        assert_eq!(info.fails_when_gone, index == ADDED, "region {index}");
    }
}

#[test]
fn a_request_arrives_whole_once_and_unchecked() {
    let mut token = ThreadToken::at_thread_entry();
    let (world, recorded) = with_added(Limits::default());
    let bytes: Vec<u8> = (0..33).collect();
    for offset in [0, 3, 16, 47, 48, u64::MAX] {
        world.assignment.region_write(&mut token, ADDED, offset, &bytes).unwrap();
        assert_eq!(std::mem::take(&mut *recorded.writes.lock()), [(offset, bytes.clone())]);
        let mut data = [0; 33];
        world.assignment.region_read(&mut token, ADDED, offset, &mut data).unwrap();
        assert_eq!(std::mem::take(&mut *recorded.reads.lock()), [(offset, 33)]);
        assert_eq!(data, [0x42; 33]);
    }
    // The device's own are still cut into accesses, and checked.
    assert!(world.fake.accesses.lock().is_empty());
    world.assignment.region_write(&mut token, SCRATCH, 0, &bytes).unwrap();
    assert_eq!(world.fake.accesses.lock().len(), 5);
    assert_eq!(
        errno(world.assignment.region_write(&mut token, SCRATCH, 0x2000, &bytes)),
        Errno::EINVAL.raw()
    );
    assert!(recorded.writes.lock().is_empty());
}

#[test]
fn what_the_region_refuses_the_consumer_is_told_and_reads_all_ones() {
    let mut token = ThreadToken::at_thread_entry();
    let (world, recorded) = with_added(Limits::default());
    let refusal = RequestError::new(Errno::EIO, "no");
    *recorded.refuses.lock() = Some(refusal);
    assert_eq!(world.assignment.region_write(&mut token, ADDED, 16, &[0; 32]), Err(refusal));
    let mut data = [0; 4];
    assert_eq!(world.assignment.region_read(&mut token, ADDED, 0, &mut data), Err(refusal));
    assert_eq!(data, [0xff; 4]);
}

#[test]
fn requests_that_stand_behind_each_other_share_their_time() {
    let mut token = ThreadToken::at_thread_entry();
    let limits = Limits { access_timeout: Duration::from_secs(1000), ..Limits::default() };
    let (world, recorded) = with_added(limits);
    let mut patience = Patience::new();
    let mut write = |patience: &mut Patience| {
        world.assignment.requests(patience).region_write(&mut token, ADDED, 16, &[0; 32]).unwrap();
    };
    // Who need not wait starts no time.
    write(&mut patience);
    assert!(!patience.is_running());
    recorded.asks.store(true, Ordering::Relaxed);
    let before = Deadline::after(limits.access_timeout);
    write(&mut patience);
    write(&mut patience);
    let deadlines = std::mem::take(&mut *recorded.deadlines.lock());
    assert_eq!(deadlines.len(), 2);
    assert_eq!(deadlines[0], deadlines[1]);
    assert!(deadlines[0] >= before && deadlines[0] <= Deadline::after(limits.access_timeout));
}

#[test]
fn a_region_is_added_once_and_not_while_a_consumer_has_the_function() {
    let mut token = ThreadToken::at_thread_entry();
    let world = World::new();
    let attached = world.attach(&mut token);
    assert_eq!(world.assignment.add_region(Arc::new(Recorded::default())), Err(AddRegionError::InUse));
    assert!(world.assignment.is_attached(), "its consumer still has it");
    assert_eq!(world.assignment.device_info().regions, ADDED);
    attached.detach(&mut token);
    let first = Arc::new(Recorded::default());
    world.assignment.add_region(first.clone()).unwrap();
    assert_eq!(world.assignment.add_region(Arc::new(Recorded::default())), Err(AddRegionError::Taken));
    assert_eq!(world.assignment.device_info().regions, ADDED + 1);
    let attached = world.attach(&mut token);
    attached.region_write(&mut token, ADDED, 16, &[1]).unwrap();
    assert_eq!(first.writes.lock().len(), 1);
    attached.detach(&mut token);
}

#[test]
fn an_added_region_is_never_mapped_whatever_the_device_says() {
    let mut token = ThreadToken::at_thread_entry();
    let (world, _) = with_added(Limits::default());
    let attached = world.attach(&mut token);
    let request = |region| assign::RegionMapRequest {
        owner: "test".into(),
        region,
        offset: 0,
        size: 0x1000,
        on_disabled: mapping::OnDisabled::Fail,
    };
    assert_eq!(errno(attached.map(request(ADDED))), Errno::EINVAL.raw());
    attached.detach(&mut token);
}

#[test]
fn the_host_reaches_the_consumers_memory_for_it_while_the_device_may_not() {
    let mut token = ThreadToken::at_thread_entry();
    let world = World::new();
    let attached = world.attach(&mut token);
    world.map(&mut token, READ, 0x1000, 0x1000, filled(0x1000, 7)).unwrap();
    world.map_at(&mut token, RW, 0, 0x2000, 0x1000, None).unwrap();
    world.command(&mut token, Command::MEMORY_SPACE);
    let pass = world.pass(&token);
    let dma = world.port.dma();
    let refusal = |resolved: Result<assign::GuestSlice<'_>, DmaError>| resolved.map(|_| ()).unwrap_err();
    assert_eq!(refusal(dma.resolve(&pass, 0x1000, 8, DmaAccess::Read)), DmaError::BusMasterDisabled);
    let mut data = [0; 8];
    let slice = dma.resolve_for_consumer(&pass, 0x1ff8, 8, DmaAccess::Read).map_err(|_| ()).unwrap();
    slice.read_into(&mut data).unwrap();
    assert_eq!(data, [7; 8]);
    // Everything else holds for the host too.
    assert_eq!(refusal(dma.resolve_for_consumer(&pass, 0x1000, 8, DmaAccess::Write)), DmaError::Denied);
    assert_eq!(refusal(dma.resolve_for_consumer(&pass, 0x1ffc, 8, DmaAccess::Read)), DmaError::NotMapped);
    assert_eq!(refusal(dma.resolve_for_consumer(&pass, 0x5000, 8, DmaAccess::Read)), DmaError::NotMapped);
    assert_eq!(refusal(dma.resolve_for_consumer(&pass, 0x2000, 8, DmaAccess::Read)), DmaError::NoMemory);
    drop(pass);
    attached.detach(&mut token);
}
