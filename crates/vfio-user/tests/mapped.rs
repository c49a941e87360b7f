//! Device memory that a client has mapped: what it sees of a freeze and of a removal, and what it reaches afterwards.
//!
//! The client's side is a real second mapping of the file that the server sent.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fake;

use std::sync::atomic::Ordering::{Relaxed, Release};
use std::time::Duration;

use assign::Limits;
use fake::*;
use gate::{Deadline, ThreadToken};
use mapping::{MappingLimits, MappingReport, MappingState};
use vfio_user::client::{Client, ClientOptions, MappedArea, Region};
use vfio_user::codec::{RegionInfoFlags, SparseArea};

fn connect(fixture: &Fixture, token: &mut ThreadToken) -> (Client, Running) {
    let (stream, session) = fixture.serve();
    let options = ClientOptions { timeout: Duration::from_secs(60) };
    (Client::from_stream(token, stream, options).unwrap(), session)
}

fn page(region: &Region, offset: u64) -> MappedArea {
    region.map(&SparseArea { offset, size: 0x1000 }).unwrap()
}

fn dword(area: &MappedArea, offset: usize) -> u32 {
    area.atomic_u32(offset).unwrap().load(Relaxed)
}

fn store(area: &MappedArea, offset: usize, value: u32) {
    area.atomic_u32(offset).unwrap().store(value, Release);
}

fn report(fixture: &Fixture) -> Vec<MappingReport> {
    fixture.assignment.function().mappings().report()
}

/// What the device has at `offset` of its own region.
fn device_dword(fixture: &Fixture, offset: u64) -> u32 {
    fixture.device.own.dword(offset).unwrap().load(Relaxed)
}

#[test]
fn data_is_hidden_by_a_freeze_and_back_after_the_thaw_and_doorbells_keep_their_stores() {
    let mut token = ThreadToken::at_thread_entry();
    let fixture = Fixture::new();
    let (mut client, _session) = connect(&fixture, &mut token);
    let own = client.region_info(&mut token, OWN).unwrap();
    let (data, doorbells) = (page(&own, OWN_DATA), page(&own, OWN_DOORBELLS));
    store(&data, 0x10, 7);
    store(&doorbells, 0, 1);
    for round in 2..5 {
        fixture.assignment.port().freeze("a test");
        eventually("the data is hidden", || {
            dword(&data, 0x10) == u32::MAX && dword(&data, 0xffc) == u32::MAX
        });
        assert_eq!(dword(&doorbells, 0), round - 1, "a doorbell is never hidden");
        store(&doorbells, 0, round);
        // What is stored to data that is hidden is lost.
        store(&data, 0x10, 0xdead);
        fixture.gate.thaw();
        eventually("the data is back", || dword(&data, 0x10) == 7 && dword(&data, 0xffc) == 0);
        assert_eq!(dword(&doorbells, 0), round);
        assert_eq!(device_dword(&fixture, OWN_DOORBELLS), round, "no doorbell was lost");
        eventually("the device sees the client's stores", || {
            store(&data, 0x20, round);
            device_dword(&fixture, OWN_DATA + 0x20) == round
        });
        assert_eq!(device_dword(&fixture, OWN_DATA + 0x10), 7);
    }
}

#[test]
fn what_a_client_still_has_mapped_of_a_function_that_is_gone_reaches_nothing() {
    let mut token = ThreadToken::at_thread_entry();
    let fixture = Fixture::new();
    let (mut client, _session) = connect(&fixture, &mut token);
    let own = client.region_info(&mut token, OWN).unwrap();
    let (data, doorbells) = (page(&own, OWN_DATA), page(&own, OWN_DOORBELLS));
    store(&data, 0, 7);
    assert_eq!(device_dword(&fixture, OWN_DATA), 7);
    let _orphans = fixture.gate.retire(&mut token, Deadline::after(Duration::from_secs(1)));
    // At once, and not only when the client's view has followed.
    store(&data, 0, 8);
    store(&doorbells, 0, 8);
    assert_ne!(device_dword(&fixture, OWN_DATA), 8);
    assert_ne!(device_dword(&fixture, OWN_DOORBELLS), 8);
    eventually("the data is all-ones", || dword(&data, 4) == u32::MAX && dword(&data, 0xffc) == u32::MAX);
    assert!(report(&fixture).iter().all(|mapping| mapping.state == MappingState::Gone));
}

#[test]
fn a_client_that_kept_its_mapping_reaches_nothing_of_the_next_one() {
    let mut token = ThreadToken::at_thread_entry();
    let fixture = Fixture::new();
    let (mut client, session) = connect(&fixture, &mut token);
    let own = client.region_info(&mut token, OWN).unwrap();
    let (old_data, old_doorbells) = (page(&own, OWN_DATA), page(&own, OWN_DOORBELLS));
    store(&old_data, 0x10, 7);
    drop(client);
    session.report();
    assert!(report(&fixture).is_empty());
    let (mut client, _session) = connect(&fixture, &mut token);
    let own = client.region_info(&mut token, OWN).unwrap();
    let (data, doorbells) = (page(&own, OWN_DATA), page(&own, OWN_DOORBELLS));
    assert_eq!(dword(&data, 0x10), 7, "the device's state is kept");
    for (nth, value) in (0..1000_u32).enumerate() {
        store(&old_data, 4 * nth, 0xbad);
        store(&old_doorbells, 4 * nth, 0xbad);
        store(&data, 0x20, value);
        assert_ne!(dword(&old_data, 0x20), value, "nor does it learn anything");
    }
    for nth in 0..1000 {
        assert_ne!(dword(&data, 4 * nth), 0xbad);
        assert_ne!(dword(&doorbells, 4 * nth), 0xbad);
        assert_ne!(device_dword(&fixture, OWN_DATA + 4 * nth as u64), 0xbad);
        assert_ne!(device_dword(&fixture, OWN_DOORBELLS + 4 * nth as u64), 0xbad);
    }
}

#[test]
fn a_region_is_shared_once_however_often_a_client_asks_and_until_it_leaves() {
    let mut token = ThreadToken::at_thread_entry();
    let fixture = Fixture::new();
    let (mut client, session) = connect(&fixture, &mut token);
    assert!(report(&fixture).is_empty());
    let areas: Vec<_> = (0..20)
        .map(|round| {
            let own = client.region_info(&mut token, OWN).unwrap();
            let area = page(&own, OWN_DATA);
            store(&area, 0, round);
            area
        })
        .collect();
    assert!(areas.iter().all(|area| dword(area, 0) == 19), "one and the same file");
    let shared = report(&fixture);
    let owner = format!("vfio-user client, process {}", std::process::id());
    assert!(shared.iter().all(|mapping| mapping.shared && mapping.region == OWN && mapping.owner == owner));
    client.region_info(&mut token, 0).unwrap();
    assert!(report(&fixture).len() > shared.len());
    drop(client);
    session.report();
    assert!(report(&fixture).is_empty());
}

#[test]
fn areas_beyond_the_limit_are_trapped() {
    let mut token = ThreadToken::at_thread_entry();
    let mapping = MappingLimits { shared_bytes: 0x1000, ..MappingLimits::default() };
    let fixture = Fixture::bounded(Limits::default(), mapping);
    let (mut client, _session) = connect(&fixture, &mut token);
    // The page of BAR 0 is all that may be shared.
    let bar = client.region_info(&mut token, 0).unwrap();
    assert_eq!(bar.mappable().len(), 1);
    for _ in 0..2 {
        let own = client.region_info(&mut token, OWN).unwrap();
        assert!(!own.flags().contains(RegionInfoFlags::MMAP) && own.fd.is_none());
        assert!(own.kind.is_some() && own.areas.is_empty());
    }
    client.region_write(&mut token, OWN, OWN_DATA, &[5; 4]).unwrap();
    let mut data = [0; 4];
    client.region_read(&mut token, OWN, OWN_DATA, &mut data).unwrap();
    assert_eq!(data, [5; 4]);
}

/// The flags of an open file belong to everybody who has a duplicate of its descriptor.
#[test]
fn a_client_cannot_keep_its_memory_from_being_hidden_by_flags_or_seals_of_its_file() {
    use rustix::fs::{FallocateFlags, OFlags, SealFlags, fallocate, fcntl_add_seals, fcntl_setfl, ftruncate};
    use rustix::io::Errno;

    let mut token = ThreadToken::at_thread_entry();
    let fixture = Fixture::new();
    let (mut client, session) = connect(&fixture, &mut token);
    let own = client.region_info(&mut token, OWN).unwrap();
    let file = own.fd.as_ref().unwrap();
    let data = page(&own, OWN_DATA);
    for seal in [SealFlags::WRITE, SealFlags::FUTURE_WRITE, SealFlags::SEAL] {
        assert_eq!(fcntl_add_seals(file, seal), Err(Errno::PERM), "{seal:?}");
    }
    assert_eq!(ftruncate(file, 0), Err(Errno::PERM));
    assert_eq!(ftruncate(file, 1 << 40), Err(Errno::PERM));
    assert_eq!(fallocate(file, FallocateFlags::empty(), 1 << 30, 4096), Err(Errno::PERM), "beyond the end");
    fcntl_setfl(file, OFlags::APPEND | OFlags::NONBLOCK).unwrap();
    store(&data, 0x10, 7);
    fixture.assignment.port().freeze("a test");
    eventually("the data is hidden", || dword(&data, 0x10) == u32::MAX);
    fixture.gate.thaw();
    eventually("the data is back", || dword(&data, 0x10) == 7);
    // Freeing the pages is a store of zeroes, to the device as well.
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(file, punch, OWN_DATA, 0x1000).unwrap();
    assert_eq!((dword(&data, 0x10), device_dword(&fixture, OWN_DATA + 0x10)), (0, 0));
    drop(client);
    session.report();
    eventually("what the client kept is all-ones", || dword(&data, 0x10) == u32::MAX);
    let (mut client, _session) = connect(&fixture, &mut token);
    assert!(client.region_info(&mut token, OWN).unwrap().fd.is_some(), "the next client may map it");
    let own = client.region_info(&mut token, OWN).unwrap();
    fcntl_setfl(own.fd.as_ref().unwrap(), OFlags::APPEND).unwrap();
    let data = page(&own, OWN_DATA);
    let _orphans = fixture.gate.retire(&mut token, Deadline::after(Duration::from_secs(1)));
    eventually("all-ones for good", || dword(&data, 0x10) == u32::MAX);
}
