//! The I/O region of `zpci` on the wire: its table of errors and its promises, for a client that is another process.
//!
//! The row of a fault in the copy of the request itself has no test: a request comes in a message.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fake;

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use assign::Limits;
use fake::socket::Socket;
use fake::*;
use gate::{Deadline, Reason, ThreadToken};
use rustix::io::Errno;
use vfio_user::client::{Client, ClientError, SharedMemory};
use vfio_user::codec::{DmaMap, MultiWrite, RegionType};
use zpci::region::IoRegion;
use zpci::region::layout::{self, IoRequest, REQUEST_START};
use zpci::{Description, Fid, Settings, Uid, View, Work, Zdev, Zpci};

/// The region's number: two are the device's own.
const REGION: u32 = FIXED + 1;
/// The longest block.
const MAX_STORE: u16 = 128;
/// The client's memory: to read and write, and its beginning once more for one direction each.
const MEMORY: u64 = 0x10_0000;
const READ_ONLY: u64 = 0x20_0000;
const WRITE_ONLY: u64 = 0x30_0000;
const MEMORY_SIZE: usize = 0x4000;
/// Registers of the device that only remember.
const REGISTERS: u64 = 0x100;

const LOAD: IoRequest =
    IoRequest { flags: IoRequest::READ, address: MEMORY, offset: REGISTERS, length: 8, space: 0 };
const BLOCK: IoRequest =
    IoRequest { flags: IoRequest::BLOCKW, address: MEMORY, offset: REGISTERS, length: MAX_STORE, space: 0 };

/// A function in its place, on a socket, and a client that has mapped its memory.
struct World {
    token: ThreadToken,
    zpci: Arc<Zpci>,
    zdev: Arc<Zdev>,
    fixture: Fixture,
    socket: Socket,
    client: Client,
    memory: SharedMemory,
}

impl World {
    fn new() -> World {
        World::with(Limits::default())
    }

    fn with(limits: Limits) -> World {
        let mut token = ThreadToken::at_thread_entry();
        let zpci = Zpci::new(Settings::default());
        let zdev = zpci.add(Fid(0x10), Uid(1), Description::default()).unwrap();
        let fixture = Fixture::with_limits(limits);
        let view = View::new(&zdev, &fixture.assignment, MAX_STORE);
        fixture.assignment.add_region(IoRegion::new(Arc::clone(&view))).unwrap();
        zdev.card(true);
        zdev.bring_in(&mut token, view);
        let socket = Socket::of(&fixture);
        let mut client = socket.connect(&mut token).unwrap();
        let memory = SharedMemory::new(MEMORY_SIZE).unwrap();
        client.dma_map(&mut token, MEMORY, &memory).unwrap();
        for (flags, address) in [(1, READ_ONLY), (2, WRITE_ONLY)] {
            let map = DmaMap { argsz: 32, flags, offset: 0, address, size: 0x1000 };
            client.dma_map_raw(&mut token, map, Some(memory.as_fd())).unwrap();
        }
        World { token, zpci, zdev, fixture, socket, client, memory }
    }

    fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), ClientError> {
        self.client.region_write(&mut self.token, REGION, offset, data)
    }

    fn request(&mut self, request: IoRequest) -> Result<(), ClientError> {
        self.write(REQUEST_START, &request.encode())
    }

    fn read(&mut self, offset: u64, length: usize) -> Result<Vec<u8>, ClientError> {
        let mut data = vec![0; length];
        self.client.region_read(&mut self.token, REGION, offset, &mut data).map(|()| data)
    }

    /// The device's registers, as the BAR shows them.
    fn registers(&mut self, length: usize) -> Vec<u8> {
        let mut data = vec![0; length];
        self.client.region_read(&mut self.token, 0, REGISTERS, &mut data).unwrap();
        data
    }

    /// The beginning of the client's memory.
    fn bytes(&self, length: usize) -> Vec<u8> {
        let mut data = vec![0; length];
        self.memory.read(0, &mut data).unwrap();
        data
    }

    /// Each is refused with `errno`, and has touched nothing.
    #[track_caller]
    fn assert_refused(&mut self, errno: Errno, requests: &[IoRequest]) {
        self.memory.write(0, &[7; 256]).unwrap();
        for request in requests {
            assert_eq!(refusal(self.request(*request)), errno, "{request:?}");
        }
        assert_eq!(self.registers(256), [0; 256], "the device was reached");
        assert_eq!(self.bytes(256), [7; 256], "the client's memory was written");
    }

    /// Closes the gate as for a reset, does `during` when a request waits for it, and opens it again; what became of the
    /// request.
    fn while_a_request_waits(
        &mut self,
        during: impl FnOnce(&mut ThreadToken, &Zdev) + Send,
    ) -> Result<(), ClientError> {
        let World { token, fixture, zdev, client, .. } = self;
        let (gate, (tell, closed)) = (&fixture.gate, mpsc::channel());
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut token = ThreadToken::at_thread_entry();
                let parked = gate.close(&mut token, Reason::Reset, ahead()).unwrap().park();
                tell.send(()).unwrap();
                eventually("the request waits", || gate.status().waiting_accesses > 0);
                during(&mut token, zdev);
                drop(parked.resume(&mut token));
            });
            closed.recv_timeout(Duration::from_secs(60)).unwrap();
            client.region_write(token, REGION, REQUEST_START, &BLOCK.encode())
        })
    }

    /// Closes the gate as for a reset that takes its time, and has the function revoked when a request waits for it; what
    /// became of the request.
    fn while_it_is_revoked(&mut self) -> Result<(), ClientError> {
        let World { token, fixture, socket, client, .. } = self;
        let (gate, socket, (tell, closed)) = (&fixture.gate, &*socket, mpsc::channel());
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let mut token = ThreadToken::at_thread_entry();
                let parked = gate.close(&mut token, Reason::Reset, ahead()).unwrap().park();
                tell.send(()).unwrap();
                assert!(parked.wait(&mut token, ahead()).is_err(), "the reset was not told either");
            });
            closed.recv_timeout(Duration::from_secs(60)).unwrap();
            scope.spawn(|| {
                eventually("the request waits", || gate.status().waiting_accesses > 0);
                assert!(socket.revoke(&mut ThreadToken::at_thread_entry()).is_some());
            });
            client.region_write(token, REGION, REQUEST_START, &BLOCK.encode())
        })
    }
}

fn patient() -> Limits {
    Limits { access_timeout: Duration::from_secs(60), ..Limits::default() }
}

fn ahead() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

#[track_caller]
fn refusal<T: std::fmt::Debug>(result: Result<T, ClientError>) -> Errno {
    match result.unwrap_err() {
        ClientError::Refused { errno, .. } => errno,
        other => panic!("{other}"),
    }
}

#[test]
fn a_client_finds_the_region_by_its_type_and_reads_how_long_a_block_may_be() {
    let mut world = World::new();
    assert_eq!(world.client.device_info(&mut world.token).unwrap().num_regions, REGION + 1);
    let region = world.client.region_info(&mut world.token, REGION).unwrap();
    assert_eq!(region.kind, Some(RegionType { kind: 0x8000_1014, subtype: 2 }));
    assert_eq!((region.info.size, region.info.flags & 3, region.fd.is_some()), (48, 3, false));
    assert_eq!((layout::KIND, layout::SUBTYPE, layout::SIZE), (0x8000_1014, 2, 48));
    assert_eq!(world.read(0, 8).unwrap(), [0; 8]);
    assert_eq!(world.read(8, 2).unwrap(), MAX_STORE.to_ne_bytes());
    assert_eq!(world.read(10, 6).unwrap(), [0; 6]);
}

#[test]
fn a_block_and_a_load_move_data_through_the_clients_map() {
    let mut world = World::new();
    let data: Vec<u8> = (0..128).collect();
    world.memory.write(0x1f80, &data).unwrap();
    world.request(IoRequest { address: MEMORY + 0x1f80, ..BLOCK }).unwrap();
    assert_eq!(world.registers(128), data);
    for length in [1, 2, 4, 8] {
        world.memory.write(0, &[0xee; 16]).unwrap();
        world.request(IoRequest { length, offset: REGISTERS + 8, ..LOAD }).unwrap();
        let length = usize::from(length);
        assert_eq!(world.bytes(16)[..length], data[8..8 + length]);
        assert_eq!(world.bytes(16)[length..], [0xee; 16][length..]);
    }
    world.request(IoRequest { length: 2, offset: 0, space: 15, ..LOAD }).unwrap();
    assert_eq!(world.bytes(2), [0x34, 0x12]);
}

#[test]
fn without_a_function_every_access_is_enodev() {
    let mut world = World::new();
    world.zdev.take_out(&mut world.token);
    for offset in [0, 16, 47, 48, u64::MAX - 8] {
        assert_eq!(refusal(world.write(offset, &[1; 8])), Errno::NODEV);
        assert_eq!(refusal(world.read(offset, 8)), Errno::NODEV);
    }
    world.assert_refused(Errno::NODEV, &[LOAD, BLOCK]);
}

#[test]
fn an_access_that_begins_behind_the_region_is_einval() {
    let mut world = World::new();
    for offset in [48, 49, 4096, u64::MAX - 32] {
        assert_eq!(refusal(world.write(offset, &[1; 32])), Errno::INVAL);
        assert_eq!(refusal(world.read(offset, 8)), Errno::INVAL);
    }
}

#[test]
fn a_read_that_leaves_the_header_is_efault() {
    let mut world = World::new();
    for (offset, length) in [(0, 17), (0, 48), (0, 4096), (15, 2), (16, 1), (47, 1)] {
        assert_eq!(refusal(world.read(offset, length)), Errno::FAULT, "{offset} {length}");
    }
}

#[test]
fn a_write_that_begins_before_the_request_is_efault() {
    let mut world = World::new();
    let whole = [vec![0; 16], BLOCK.encode().to_vec()].concat();
    for offset in [0, 8, 15] {
        assert_eq!(refusal(world.write(offset as u64, &whole[offset..])), Errno::FAULT, "{offset}");
    }
    world.assert_refused(Errno::IO, &[]);
}

#[test]
fn a_load_of_more_than_8_bytes_is_eio() {
    let requests = [9, 16, u16::MAX].map(|length| IoRequest { length, ..LOAD });
    World::new().assert_refused(Errno::IO, &requests);
}

#[test]
fn a_block_longer_than_the_function_takes_is_eio() {
    let requests = [129, 136, 4096, u16::MAX].map(|length| IoRequest { length, ..BLOCK });
    World::new().assert_refused(Errno::IO, &requests);
}

#[test]
fn no_bytes_are_eio() {
    let requests = [LOAD, BLOCK].map(|request| IoRequest { length: 0, ..request });
    World::new().assert_refused(Errno::IO, &requests);
}

#[test]
fn data_that_is_not_8_aligned_is_eio() {
    let requests = [1, 2, 4, 7].map(|by| IoRequest { address: MEMORY + by, ..LOAD });
    World::new().assert_refused(Errno::IO, &requests);
    let requests = [1, 2, 4, 7].map(|by| IoRequest { address: MEMORY + by, ..BLOCK });
    World::new().assert_refused(Errno::IO, &requests);
}

#[test]
fn data_that_crosses_a_page_is_eio() {
    let requests = [8, 64, 120].map(|before| IoRequest { address: MEMORY + 0x1000 - before, ..BLOCK });
    World::new().assert_refused(Errno::IO, &requests);
}

#[test]
fn memory_that_is_not_the_clients_is_eio() {
    let beyond = MEMORY + MEMORY_SIZE as u64;
    let mut world = World::new();
    for address in [0, MEMORY - 0x1000, beyond, !0xfff] {
        let requests = [LOAD, BLOCK].map(|request| IoRequest { address, ..request });
        world.assert_refused(Errno::IO, &requests);
    }
    world.client.dma_unmap(&mut world.token, MEMORY, MEMORY_SIZE as u64).unwrap();
    world.assert_refused(Errno::IO, &[LOAD, BLOCK]);
}

#[test]
fn flags_that_are_not_of_one_operation_are_eio() {
    let mut world = World::new();
    for request in [LOAD, BLOCK] {
        let requests = [0, 3, 4, 7, u64::MAX].map(|flags| IoRequest { flags, ..request });
        world.assert_refused(Errno::IO, &requests);
    }
}

#[test]
fn an_instruction_that_fails_is_eio() {
    let mut world = World::new();
    let stale = |length, offset, space| IoRequest { length, offset, space, ..LOAD };
    let requests = [stale(3, REGISTERS, 0), stale(8, BAR0_SIZE, 0), stale(8, REGISTERS, 6), stale(4, 0, 5)];
    world.assert_refused(Errno::IO, &requests);
    world.assert_refused(
        Errno::IO,
        &[IoRequest { length: 12, ..BLOCK }, IoRequest { offset: 0xfc0, ..BLOCK }],
    );
    // Disabled, as while somebody recovers it.
    let zdev = Arc::clone(&world.zdev);
    let recovery = zdev.begin(Work::Recovery).unwrap();
    recovery.renew(&mut world.token, false).unwrap();
    world.assert_refused(Errno::IO, &[LOAD, BLOCK]);
    recovery.renew(&mut world.token, true).unwrap();
    drop(recovery);
    world.request(BLOCK).unwrap();
    // Frozen.
    world.fixture.gate.freeze();
    assert_eq!(refusal(world.request(BLOCK)), Errno::IO);
    assert_eq!(refusal(world.request(LOAD)), Errno::IO);
}

/// What would take the region's lock, if it had one, or wait for whoever has it.
#[test]
fn requests_and_what_the_host_does_to_the_function_wait_for_neither_zio_i1() {
    let mut world = World::with(patient());
    // The host is in the middle of something, and the client quiesces its device.
    let zdev = Arc::clone(&world.zdev);
    let claim = zdev.begin(Work::Reset).unwrap();
    world.request(BLOCK).unwrap();
    world.request(LOAD).unwrap();
    world.read(0, 16).unwrap();
    drop(claim);
    // A request is under way, and the host begins something and ends it.
    let outcome = world.while_a_request_waits(|token, zdev| {
        let claim = zdev.begin(Work::Recovery).unwrap();
        claim.renew(token, true).unwrap();
    });
    outcome.unwrap();
    assert!(world.zpci.find(Fid(0x10)).is_some());
    world.request(LOAD).unwrap();
}

#[test]
fn a_partial_write_never_sees_an_older_request_zio_i2() {
    let mut world = World::new();
    world.memory.write(0, &[7; 128]).unwrap();
    world.request(BLOCK).unwrap();
    world.client.region_write(&mut world.token, 0, REGISTERS, &[0; 128]).unwrap();
    let bytes = BLOCK.encode();
    // In pieces of every kind that a client has.
    for (start, end) in [(0, 8), (0, 16), (0, 28), (8, 32), (28, 32), (31, 32), (5, 6)] {
        let written = world.write(REQUEST_START + start as u64, &bytes[start..end]);
        assert_eq!(refusal(written), Errno::IO, "{start}..{end}");
    }
    let pieces: Vec<MultiWrite> = (0..4)
        .map(|nth| {
            let at = 8 * nth;
            let data = bytes[at..at + 8].try_into().unwrap();
            MultiWrite { offset: REQUEST_START + at as u64, region: REGION, count: 8, data }
        })
        .collect();
    assert_eq!(refusal(world.client.region_write_multi(&mut world.token, &pieces)), Errno::IO);
    assert_eq!(world.registers(128), [0; 128]);
}

#[test]
fn the_handle_is_the_one_at_execution_zio_i3() {
    let mut world = World::with(patient());
    world.memory.write(0, &[7; 128]).unwrap();
    let outcome = world.while_a_request_waits(|token, zdev| {
        let claim = zdev.begin(Work::Recovery).unwrap();
        claim.renew(token, false).unwrap();
        claim.renew(token, true).unwrap();
    });
    outcome.unwrap();
    assert_eq!(world.registers(128), [7; 128]);
    let outcome = world.while_a_request_waits(|token, zdev| {
        zdev.begin(Work::Recovery).unwrap().renew(token, false).unwrap();
    });
    assert_eq!(refusal(outcome), Errno::IO);
}

#[test]
fn a_request_that_waits_fails_as_soon_as_its_function_is_revoked_zio_i4() {
    let mut world = World::with(patient());
    let started = Instant::now();
    assert_eq!(refusal(world.while_it_is_revoked()), Errno::NODEV);
    assert!(started.elapsed() < Duration::from_secs(30), "nobody waited for a deadline");
    // On the tombstone, and with the function taken out, it stays so; other regions are silent.
    for taken_out in [false, true] {
        for request in [LOAD, BLOCK] {
            assert_eq!(refusal(world.request(request)), Errno::NODEV);
        }
        assert_eq!(refusal(world.read(0, 16)), Errno::NODEV);
        assert_eq!(world.registers(8), [0xff; 8]);
        if !taken_out {
            world.zdev.take_out(&mut world.token);
        }
    }
    assert_eq!(world.bytes(MEMORY_SIZE), vec![0; MEMORY_SIZE]);
}

/// A device that is slow keeps one request, and never who revokes beyond his deadline.
#[test]
fn a_request_that_is_stuck_in_the_device_does_not_keep_the_function_zio_i4() {
    let mut world = World::with(patient());
    world.fixture.device.hangs.store(true, Ordering::Release);
    let World { token, fixture, socket, client, .. } = &mut world;
    let (gate, device, server) = (&fixture.gate, &fixture.device, &socket.server);
    let outcome = std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut token = ThreadToken::at_thread_entry();
            eventually("the request is in the device", || !gate.status().inside.is_empty());
            let revoked = server.revoke(&mut token, Deadline::after(Duration::from_millis(10)));
            assert_eq!(revoked.orphans.len(), 2, "the access and its session are named: {revoked:?}");
            device.hangs.store(false, Ordering::Release);
        });
        let stuck = IoRequest { offset: HANG, length: 8, ..BLOCK };
        client.region_write(token, REGION, REQUEST_START, &stuck.encode())
    });
    // The device took it, before it was gone.
    outcome.unwrap();
    assert_eq!(refusal(world.request(BLOCK)), Errno::NODEV);
}

#[test]
fn a_load_needs_memory_to_write_and_a_store_memory_to_read_zio_i5() {
    let mut world = World::new();
    let denied = [IoRequest { address: READ_ONLY, ..LOAD }, IoRequest { address: WRITE_ONLY, ..BLOCK }];
    world.assert_refused(Errno::IO, &denied);
    world.request(IoRequest { address: READ_ONLY, ..BLOCK }).unwrap();
    assert_eq!(world.registers(128), [7; 128]);
    world.memory.write(0, &[0; 8]).unwrap();
    world.request(IoRequest { address: WRITE_ONLY, ..LOAD }).unwrap();
    assert_eq!(world.bytes(8), [7; 8]);
}
