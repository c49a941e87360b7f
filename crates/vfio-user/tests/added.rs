//! A region of requests that somebody added to a function, as a client finds it: beside its own, whole, and failing when the
//! function is gone.

#![allow(clippy::disallowed_types, reason = "what a test protects with a lock is its own")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fake;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use assign::{AddedRegion, Errno, Limits, RequestError};
use fake::socket::Socket;
use fake::*;
use gate::{AccessKind, Deadline, Gate, Handle, Reason, Refusal, ThreadToken};
use parking_lot::Mutex;
use pci_core::DeviceRegion;

/// Commands.
const DEVICE_INFO: u16 = 4;
const REGION_INFO: u16 = 5;
const READ: u16 = 9;
const WRITE: u16 = 10;
const WRITE_MULTI: u16 = 15;

/// Its number: two are the device's own.
const ADDED: u32 = FIXED + 1;
const SIZE: u64 = 48;
const NODEV: i32 = Errno::ENODEV.raw();

/// Enters the gate for each request, and keeps what was written.
struct Requests {
    handle: Handle,
    gate: Gate,
    writes: Mutex<Vec<(u64, Vec<u8>)>>,
    waits: AtomicBool,
}

impl Requests {
    fn enter(
        &self,
        token: &mut ThreadToken,
        until: &mut dyn FnMut() -> Deadline,
    ) -> Result<(), RequestError> {
        self.waits.store(true, Ordering::Release);
        match self.handle.enter(token, AccessKind::Bar, until) {
            Ok(_pass) => Ok(()),
            Err(Refusal::Blocked(_)) => Err(RequestError::new(Errno::EIO, "blocked")),
            Err(_) => Err(RequestError::new(Errno::ENODEV, "gone")),
        }
    }
}

impl AddedRegion for Requests {
    fn region(&self) -> DeviceRegion {
        DeviceRegion { kind: 0x8000_1014, subtype: 2, size: SIZE, writable: true }
    }

    fn read(
        &self,
        token: &mut ThreadToken,
        _offset: u64,
        data: &mut [u8],
        until: &mut dyn FnMut() -> Deadline,
    ) -> Result<(), RequestError> {
        data.fill(0x42);
        self.enter(token, until)
    }

    fn write(
        &self,
        token: &mut ThreadToken,
        offset: u64,
        data: &[u8],
        until: &mut dyn FnMut() -> Deadline,
    ) -> Result<(), RequestError> {
        self.enter(token, until)?;
        self.writes.lock().push((offset, data.to_vec()));
        Ok(())
    }
}

fn with_added(limits: Limits) -> (Fixture, Arc<Requests>) {
    let fixture = Fixture::with_limits(limits);
    let requests = Requests {
        handle: fixture.assignment.port().handle().clone(),
        gate: fixture.gate.clone(),
        writes: Mutex::default(),
        waits: AtomicBool::new(false),
    };
    let requests = Arc::new(requests);
    fixture.assignment.add_region(Arc::clone(&requests) as Arc<dyn AddedRegion>).unwrap();
    (fixture, requests)
}

fn ahead() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[4 * at..4 * at + 4].try_into().unwrap())
}

/// Region information with its capabilities.
fn information(raw: &mut Raw) -> Vec<u8> {
    let reply = raw.call(REGION_INFO, &words(&[4096, 0, ADDED, 0, 0, 0, 0, 0]));
    assert_eq!((reply.errno(), reply.fds.len()), (0, 0));
    reply.payload
}

/// Flags READ, WRITE and CAPS; 48 bytes; a capability TYPE, version 1, and nothing behind it.
fn assert_is_described(information: &[u8]) {
    assert_eq!((word(information, 0), word(information, 1), word(information, 2)), (48, 1 | 2 | 8, ADDED));
    assert_eq!((word(information, 3), u64::from(word(information, 4)), word(information, 5)), (32, SIZE, 0));
    assert_eq!(information[32..], words(&[2 | 1 << 16, 0, 0x8000_1014, 2]));
}

/// One entry of `REGION_WRITE_MULTI`.
fn entry(region: u32, offset: u64, byte: u8) -> Vec<u8> {
    [&offset.to_ne_bytes()[..], &words(&[region, 8]), &[byte; 8]].concat()
}

#[test]
fn a_client_finds_an_added_region_by_its_type_capability_vf_13_vf_14() {
    let mut token = ThreadToken::at_thread_entry();
    let (fixture, _) = with_added(Limits::default());
    let socket = Socket::of(&fixture);
    let mut raw = socket.raw();
    assert_eq!(word(&raw.call(DEVICE_INFO, &words(&[16, 0, 0, 0])).payload, 2), ADDED + 1);
    assert_is_described(&information(&mut raw));
    let beyond = raw.call(REGION_INFO, &words(&[32, 0, ADDED + 1, 0, 0, 0, 0, 0]));
    assert_eq!(beyond.errno(), Errno::EINVAL.raw());
    // Ours finds it too, and a tombstone still tells of it.
    drop(raw);
    eventually("the client has left", || !fixture.assignment.is_attached());
    let mut client = socket.connect(&mut token).unwrap();
    let region = client.region_info(&mut token, ADDED).unwrap();
    assert_eq!((region.kind.unwrap().kind, region.kind.unwrap().subtype), (0x8000_1014, 2));
    drop(client);
    eventually("the client has left", || !fixture.assignment.is_attached());
    let mut raw = socket.raw();
    socket.revoke(&mut token);
    assert_is_described(&information(&mut raw));
}

#[test]
fn a_request_reaches_an_added_region_as_it_was_sent() {
    let (fixture, requests) = with_added(Limits::default());
    let (stream, running) = fixture.serve();
    let mut raw = Raw::negotiated(stream);
    let bytes: Vec<u8> = (0..32).collect();
    let reply = raw.call(WRITE, &write_payload(ADDED, 16, &bytes));
    assert_eq!((reply.errno(), reply.payload), (0, access(ADDED, 16, 32, &[])));
    assert_eq!(raw.call(READ, &access(ADDED, 0, 10, &[])).payload[16..], [0x42; 10]);
    let two = [&2u64.to_ne_bytes()[..], &entry(ADDED, 16, 1), &entry(ADDED, 40, 2)].concat();
    assert_eq!(raw.call(WRITE_MULTI, &two).payload, 2u64.to_ne_bytes());
    drop(raw);
    assert_eq!(running.report().posted_failures, 0);
    assert_eq!(*requests.writes.lock(), [(16, bytes), (16, vec![1; 8]), (40, vec![2; 8])]);
}

/// ZIO-I4.
#[test]
fn a_tombstone_says_that_a_request_was_not_carried_out() {
    let mut token = ThreadToken::at_thread_entry();
    for revoked in [false, true] {
        let (fixture, requests) = with_added(Limits::default());
        let socket = Socket::of(&fixture);
        let mut raw = socket.raw();
        assert_eq!(raw.call(WRITE, &write_payload(ADDED, 16, &[0; 32])).errno(), 0);
        if revoked {
            socket.revoke(&mut token);
        } else {
            let _orphans = fixture.gate.retire(&mut token, ahead());
        }
        assert_eq!(raw.call(WRITE, &write_payload(ADDED, 16, &[1; 32])).errno(), NODEV);
        assert!(!fixture.assignment.is_attached(), "the function is given up at once");
        for offset in [0, 16, 47, 48, u64::MAX] {
            assert_eq!(raw.call(READ, &access(ADDED, offset, 8, &[])).errno(), NODEV);
            assert_eq!(raw.call(WRITE, &write_payload(ADDED, offset, &[1; 8])).errno(), NODEV);
        }
        // Its neighbours go on as if nothing had happened.
        assert_eq!(raw.call(READ, &access(OWN, 0, 8, &[])).payload[16..], [0xff; 8]);
        assert_eq!(raw.call(WRITE, &write_payload(OWN, 0, &[1; 8])).errno(), 0);
        let two = [&2u64.to_ne_bytes()[..], &entry(0, 0, 1), &entry(ADDED, 16, 2)].concat();
        assert_eq!(raw.call(WRITE_MULTI, &two).payload, 1u64.to_ne_bytes(), "the first was done");
        let two = [&2u64.to_ne_bytes()[..], &entry(ADDED, 16, 2), &entry(0, 0, 1)].concat();
        assert_eq!(raw.call(WRITE_MULTI, &two).errno(), NODEV);
        assert_eq!(requests.writes.lock().len(), 1);
    }
}

/// ZIO-I4.
#[test]
fn a_request_that_waits_fails_as_soon_as_its_function_is_revoked() {
    let mut token = ThreadToken::at_thread_entry();
    let limits = Limits { access_timeout: Duration::from_secs(60), ..Limits::default() };
    let (fixture, requests) = with_added(limits);
    let socket = Socket::of(&fixture);
    let mut raw = socket.raw();
    raw.assert_alive();
    // A reset that takes its time.
    let (gate, (tell, closed)) = (requests.gate.clone(), mpsc::channel());
    let resetting = std::thread::spawn(move || {
        let mut token = ThreadToken::at_thread_entry();
        let closed = gate.close(&mut token, Reason::Reset, ahead()).unwrap().park();
        tell.send(()).unwrap();
        closed.wait(&mut token, ahead()).is_err()
    });
    closed.recv_timeout(Duration::from_secs(60)).unwrap();
    raw.send(&message(7, WRITE, &write_payload(ADDED, 16, &[1; 32])), &[]);
    eventually("the request is on its way", || requests.waits.load(Ordering::Acquire));
    let started = Instant::now();
    let revoked = socket.server.revoke(&mut token, ahead());
    assert!(revoked.orphans.is_empty(), "{revoked:?}");
    let reply = raw.receive();
    assert_eq!((reply.header.message_id, reply.errno()), (7, NODEV));
    assert!(started.elapsed() < Duration::from_secs(30), "it did not wait for its deadline");
    assert!(resetting.join().unwrap(), "the reset ended as well");
    assert!(requests.writes.lock().is_empty());
}

#[test]
fn a_posted_request_that_failed_is_counted() {
    let mut token = ThreadToken::at_thread_entry();
    let (fixture, _requests) = with_added(Limits::default());
    let (stream, running) = fixture.serve();
    let mut raw = Raw::negotiated(stream);
    raw.assert_alive();
    let _orphans = fixture.gate.retire(&mut token, ahead());
    raw.send(&posted(3, WRITE, &write_payload(ADDED, 16, &[1; 32])), &[]);
    assert_eq!(raw.call(READ, &access(ADDED, 0, 4, &[])).errno(), NODEV);
    drop(raw);
    let report = running.report();
    assert_eq!((report.posted_failures, report.refused), (1, 1));
}
