//! A function that comes and goes: what a revocation takes away, from whom, and how fast.
//!
//! Descriptors and mappings of the whole process are counted, so these tests take turns.
#![allow(clippy::disallowed_types, reason = "what a test protects with a lock is its own")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fake;

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Release;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use assign::{Event, EventSink, Limits};
use fake::socket::Socket;
use fake::*;
use gate::{Deadline, Gate, Reason, ThreadToken};
use mapping::MappingLimits;
use parking_lot::Mutex;
use rustix::io::Errno;
use vfio_user::client::{Client, ClientError, SharedMemory};
use vfio_user::codec::{Command, SparseArea};
use vfio_user::fuzz;
use vfio_user::server::{MAX_TOMBSTONES, PlugError, SessionOptions};

static TURN: Mutex<()> = Mutex::new(());

fn ahead() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

fn identity(client: &mut Client, token: &mut ThreadToken) -> [u8; 4] {
    let mut id = [0; 4];
    client.region_read(token, CONFIG, 0, &mut id).unwrap();
    id
}

const PRESENT: [u8; 4] = [0x34, 0x12, 0xe8, 0x11];
const ABSENT: [u8; 4] = [0xff; 4];

/// Has the function do everything for a client that takes something from it.
fn settle_in(raw: &mut Raw, memory: &SharedMemory, eventfds: &[OwnedFd]) {
    assert_eq!(raw.call_with(2, &map_payload(0x1000, 4096), &[memory.as_fd()]).errno(), 0);
    let fds: Vec<_> = eventfds.iter().map(AsFd::as_fd).collect();
    let count = u32::try_from(fds.len()).unwrap();
    assert_eq!(raw.call_with(8, &words(&[20, 0x24, 1, 0, count]), &fds).errno(), 0);
    assert_eq!(raw.call(10, &write_payload(CONFIG, 4, &[6, 0])).errno(), 0);
    for region in [0, OWN] {
        let reply = raw.call(5, &words(&[4096, 0, region, 0, 0, 0, 0, 0]));
        assert_eq!((reply.errno(), reply.fds.len()), (0, 1));
    }
}

#[test]
fn everything_is_let_go_at_once_though_the_client_sleeps() {
    let _turn = TURN.lock();
    let mut token = ThreadToken::at_thread_entry();
    let fixture = Fixture::new();
    let socket = Socket::of(&fixture);
    let (memory, eventfds) = (SharedMemory::new(4096).unwrap(), [new_eventfd(), new_eventfd()]);
    let request = new_eventfd();
    let mut raw = socket.raw();
    raw.assert_alive();
    let (descriptors, mapped) = (open_eventfds(), mappings_of(&memory));
    settle_in(&mut raw, &memory, &eventfds);
    assert_eq!(raw.call_with(8, &words(&[20, 0x24, 4, 0, 1]), &[request.as_fd()]).errno(), 0);
    assert_eq!((open_eventfds(), mappings_of(&memory)), (descriptors + 3, mapped + 1));
    assert!(!fixture.assignment.function().mappings().report().is_empty());
    assert!(Arc::strong_count(&fixture.assignment) > 1);

    let revoked = socket.revoke(&mut token);
    assert!(revoked.is_some());
    assert_eq!(open_eventfds(), descriptors, "eventfds");
    assert_eq!(Arc::strong_count(&fixture.assignment), 1, "the function");
    assert!(!fixture.assignment.is_attached());
    let report = fixture.assignment.function().mappings().report();
    assert!(report.is_empty(), "shares: {report:?}");
    let guest = fixture.assignment.port().dma().usage(&mut token);
    assert_eq!(guest, (0, 0), "guest memory");
    assert_eq!(mappings_of(&memory), mapped, "guest memory is mapped by its guest only");
    // The client notices nothing until it says something.
    assert_eq!(raw.call(9, &access(CONFIG, 0, 4, &[])).payload[16..], ABSENT);
    assert_eq!(socket.told(), ["attached", "released"]);
    assert!(!socket.server.holds());
    drop(raw);
    eventually("the connection is known to have ended", || socket.told().len() == 3);
    assert_eq!(socket.told()[2], "left");
    assert!(socket.server.tombstones().is_empty());
}

/// How often this process, which is client and server, maps a memory.
fn mappings_of(memory: &SharedMemory) -> usize {
    let inode = format!(" {} ", rustix::fs::fstat(memory.as_fd()).unwrap().st_ino);
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains(&inode)).count()
}

#[test]
fn a_hundred_functions_come_and_go_beside_a_client_that_stays_and_nothing_is_left_behind() {
    let _turn = TURN.lock();
    let mut token = ThreadToken::at_thread_entry();
    let socket = Socket::new();
    let (memory, eventfds) = (SharedMemory::new(4096).unwrap(), [new_eventfd()]);
    let mut stays = None;
    let mut before = None;
    for round in 0..100 {
        let fixture = Fixture::new();
        socket.plug(&fixture);
        let mut raw = socket.raw();
        settle_in(&mut raw, &memory, &eventfds);
        raw.assert_alive();
        assert!(socket.revoke(&mut token).is_some());
        assert!(socket.server.function().is_none() && socket.server.client().is_none());
        let Fixture { device, gate, assignment } = fixture;
        drop(device);
        drop(gate);
        assert!(Arc::into_inner(assignment).is_some(), "round {round}");
        settle_on_a_tombstone(&mut raw, &memory, &eventfds);
        settle_on_a_tombstone(
            stays.get_or_insert_with(|| socket_of_the_first(&socket, &mut token)),
            &memory,
            &eventfds,
        );
        drop(raw);
        eventually("the last client has left", || socket.server.tombstones().len() == 1);
        // The session's thread has ended when nothing of it is left; the first rounds make what stays.
        if round >= 2 {
            let expected = *before.get_or_insert_with(|| (open_fds(), mapped_memfds()));
            eventually("nothing is left behind", || no_more_than(expected));
        }
    }
}

/// No more descriptors and mappings than at an earlier moment, at which a session's last may not have been closed yet.
fn no_more_than((fds, memfds): (usize, usize)) -> bool {
    open_fds() <= fds && mapped_memfds() <= memfds
}

/// The client that stays.
fn socket_of_the_first(socket: &Socket, token: &mut ThreadToken) -> Raw {
    let fixture = Fixture::new();
    socket.plug(&fixture);
    let raw = socket.raw();
    assert!(socket.revoke(token).is_some());
    raw
}

fn settle_on_a_tombstone(raw: &mut Raw, memory: &SharedMemory, eventfds: &[OwnedFd]) {
    let fds: Vec<_> = eventfds.iter().map(AsFd::as_fd).collect();
    assert_eq!(raw.call_with(2, &map_payload(0x1000, 4096), &[memory.as_fd()]).errno(), 0);
    assert_eq!(raw.call_with(8, &words(&[20, 0x24, 1, 0, 1]), &fds).errno(), 0);
    assert_eq!(raw.call(9, &access(CONFIG, 0, 4, &[])).payload[16..], ABSENT);
}

/// A thread that closes the gate and keeps it closed; ended by dropping the sender.
fn close(gate: &Gate) -> (mpsc::Sender<()>, std::thread::JoinHandle<()>) {
    let (gate, (sender, until)) = (gate.clone(), mpsc::channel::<()>());
    let (closed, is_closed) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let mut token = ThreadToken::at_thread_entry();
        let proof = gate.close(&mut token, Reason::Reset, ahead()).unwrap();
        closed.send(()).unwrap();
        let _ = until.recv();
        drop(proof);
    });
    is_closed.recv().unwrap();
    (sender, thread)
}

#[test]
fn a_request_that_waits_at_the_gate_is_answered_by_the_revocation_as_by_a_tombstone() {
    let _turn = TURN.lock();
    let memory = SharedMemory::new(4096).unwrap();
    let requests: [(u16, Vec<u8>, Option<u8>); 7] = [
        (9, access(CONFIG, 0, 4, &[]), Some(0xff)),
        (9, access(0, 0, 64, &[]), Some(0xff)),
        (10, write_payload(0, 0x40, &[1; 4]), None),
        (2, map_payload(0x1000, 4096), None),
        (3, unmap_payload(2, 0, 0), None),
        (8, words(&[20, 0x24, 2, 0, 1]), None),
        (13, Vec::new(), None),
    ];
    for (command, payload, filled) in requests {
        let fixture = Fixture::new();
        let socket = Socket::of(&fixture);
        let mut raw = socket.raw();
        // Something to unmap.
        assert_eq!(raw.call_with(2, &map_payload(0x8000, 4096), &[memory.as_fd()]).errno(), 0);
        let (open, closer) = close(&fixture.gate);
        let fds = if command == 2 { vec![memory.as_fd()] } else { vec![] };
        raw.send(&message(7, command, &payload), &fds);
        eventually("the request waits", || {
            let status = fixture.gate.status();
            status.waiting_accesses + status.waiting_closers == 1
        });
        let begin = Instant::now();
        std::thread::scope(|scope| {
            let revoker = scope.spawn(|| socket.revoke(&mut ThreadToken::at_thread_entry()));
            // While whoever has the gate closed still has it.
            let reply = raw.receive();
            assert_eq!((reply.header.message_id, reply.errno()), (7, 0), "command {command}");
            assert!(begin.elapsed() < Duration::from_secs(3), "not at its deadline");
            if let Some(byte) = filled {
                assert!(reply.payload[16..].iter().all(|read| *read == byte));
            }
            drop(open);
            assert!(revoker.join().unwrap().is_some());
        });
        closer.join().unwrap();
        assert_eq!(Arc::strong_count(&fixture.assignment), 1);
    }
}

#[test]
fn a_session_that_hangs_in_the_device_is_named_and_gives_the_function_up_when_it_returns() {
    let _turn = TURN.lock();
    let mut token = ThreadToken::at_thread_entry();
    let (fixture, next) = (Fixture::new(), Fixture::new());
    let socket = Socket::of(&fixture);
    let mut raw = socket.raw();
    fixture.device.hangs.store(true, Release);
    raw.send(&message(7, 10, &write_payload(0, HANG, &[1; 4])), &[]);
    eventually("it hangs", || !fixture.gate.status().inside.is_empty());
    let begin = Instant::now();
    let revoked = socket.server.revoke(&mut token, Deadline::after(Duration::from_millis(50)));
    assert!(begin.elapsed() < Duration::from_secs(5), "the deadline bounds it");
    let process = format!("of process {}", std::process::id());
    let named = revoked.orphans.iter().filter(|orphan| orphan.contains(&process)).count();
    assert_eq!(named, 1, "{revoked:?}");
    assert_eq!(revoked.client.unwrap().pid.unwrap().unsigned_abs(), std::process::id());
    assert!(socket.server.holds() && socket.server.client().is_none());
    assert_eq!(socket.told(), ["attached"]);
    // The place is free for the next function all the same.
    socket.plug(&next);
    let mut client = socket.connect(&mut token).unwrap();
    assert_eq!(identity(&mut client, &mut token), PRESENT);
    drop(client);
    eventually("the next client has left", || socket.told().ends_with(&["left"]));
    assert!(socket.server.holds());
    fixture.device.hangs.store(false, Release);
    assert_eq!((raw.receive().errno(), raw.call(13, &[]).errno()), (0, 0));
    assert_eq!(raw.call(9, &access(CONFIG, 0, 4, &[])).payload[16..], ABSENT);
    eventually("it has given it up", || !socket.server.holds());
    assert_eq!(Arc::strong_count(&fixture.assignment), 1);
    assert_eq!(socket.told(), ["attached", "attached", "released", "left", "released"]);
    let inside = revoked.orphans.iter().filter(|orphan| orphan.starts_with("an access of")).count();
    assert_eq!(inside, 1, "{revoked:?}");
}

/// Whether a thread waits for something, doing this.
fn is_waiting(doing: &str) -> bool {
    gate::waits::snapshot().iter().any(|wait| wait.operation == doing && wait.waits_for.is_some())
}

/// Does not return from being told that a client was detached until it is let.
struct Slow(Mutex<mpsc::Receiver<()>>);

impl EventSink for Slow {
    fn event(&self, _function: &str, event: Event) {
        if matches!(event, Event::ClientDetached { .. }) {
            let _ = self.0.lock().recv();
        }
    }
}

/// QEMU gives memory that it has unmapped to somebody else.
#[test]
fn an_unmap_is_not_acknowledged_before_the_revocation_is_through_with_the_clients_memory() {
    let _turn = TURN.lock();
    let (let_go, slow) = mpsc::channel();
    let slow = Arc::new(Slow(Mutex::new(slow)));
    let fixture = Fixture::told(Limits::default(), MappingLimits::default(), slow);
    let socket = Socket::of(&fixture);
    let mut raw = socket.raw();
    std::thread::scope(|scope| {
        let let_go = let_go;
        let revoker = scope.spawn(|| socket.revoke(&mut ThreadToken::at_thread_entry()));
        eventually("the function is gone", || fixture.assignment.is_gone());
        // What takes nothing back is answered meanwhile.
        assert_eq!(raw.call(9, &access(CONFIG, 0, 4, &[])).payload[16..], ABSENT);
        assert_eq!((raw.call(13, &[]).errno(), raw.call(2, &map_payload(0, 4096)).errno()), (0, 0));
        raw.send(&message(7, 3, &unmap_payload(2, 0, 0)), &[]);
        let answered = || rustix::io::ioctl_fionread(&raw.stream).unwrap() > 0;
        eventually("it waits, or does not", || is_waiting("unmap") || answered());
        assert!(!answered());
        let_go.send(()).unwrap();
        assert_eq!(raw.receive().errno(), 0);
        assert!(revoker.join().unwrap().is_some());
    });
}

#[test]
fn a_revocation_waits_for_a_session_that_is_giving_its_hold_up() {
    let _turn = TURN.lock();
    let (let_go, slow) = mpsc::channel();
    let slow = Arc::new(Slow(Mutex::new(slow)));
    let fixture = Fixture::told(Limits::default(), MappingLimits::default(), slow);
    let socket = Socket::of(&fixture);
    let mut raw = socket.raw();
    fixture.device.hangs.store(true, Release);
    raw.send(&message(7, 10, &write_payload(0, HANG, &[1; 4])), &[]);
    eventually("it hangs", || !fixture.gate.status().inside.is_empty());
    std::thread::scope(|scope| {
        let let_go = let_go;
        let revoker =
            scope.spawn(|| socket.server.revoke(&mut ThreadToken::at_thread_entry(), ahead()).orphans);
        eventually("the function is gone", || fixture.assignment.is_gone());
        // From here on nothing is inside the gate, and the session lets go of what its client brought, which takes a while.
        fixture.device.hangs.store(false, Release);
        eventually("it waits, or does not", || is_waiting("revoke") || revoker.is_finished());
        assert!(!revoker.is_finished() && socket.server.holds());
        let_go.send(()).unwrap();
        assert_eq!(revoker.join().unwrap(), Vec::<String>::new());
    });
    assert!(!socket.server.holds());
    assert_eq!(raw.receive().errno(), 0);
}

#[test]
fn a_client_that_reads_no_replies_holds_nothing_up() {
    let _turn = TURN.lock();
    let mut token = ThreadToken::at_thread_entry();
    let fixture = Fixture::new();
    let socket = Socket::with_options(SessionOptions {
        send_timeout: Duration::from_secs(3600),
        message_timeout: Duration::from_secs(3600),
        ..SessionOptions::default()
    });
    socket.plug(&fixture);
    let raw = socket.raw();
    // Half a megabyte of replies: more than the socket holds, and no more than the outbox takes before it sends.
    for id in 0..128 {
        raw.send(&message(id, 9, &access(CONFIG, 0, 4096, &[])), &[]);
    }
    let unread = || rustix::io::ioctl_fionread(&raw.stream).unwrap();
    eventually("the session has filled the socket", || unread() > 128 << 10);
    let begin = Instant::now();
    assert!(socket.revoke(&mut token).is_some());
    assert!(begin.elapsed() < Duration::from_secs(30));
    assert_eq!(Arc::strong_count(&fixture.assignment), 1);
}

#[test]
fn a_client_that_began_a_message_holds_nothing_up() {
    let _turn = TURN.lock();
    let mut token = ThreadToken::at_thread_entry();
    let fixture = Fixture::new();
    let socket = Socket::of(&fixture);
    let mut raw = socket.raw();
    let whole = message(9, 9, &access(CONFIG, 0, 4, &[]));
    raw.send(&whole[..9], &[]);
    assert!(socket.revoke(&mut token).is_some());
    assert_eq!(Arc::strong_count(&fixture.assignment), 1);
    raw.send(&whole[9..], &[]);
    assert_eq!(raw.receive().payload[16..], ABSENT);
}

#[test]
fn clients_are_refused_cleanly_while_there_is_no_function_or_another_has_it() {
    let _turn = TURN.lock();
    let mut token = ThreadToken::at_thread_entry();
    let (first, second) = (Fixture::new(), Fixture::new());
    let socket = Socket::new();
    let refused = |token: &mut ThreadToken| match socket.connect(token) {
        Err(ClientError::Refused { command: Command::Version, errno }) => errno,
        other => panic!("{:?}", other.err()),
    };
    assert_eq!(refused(&mut token), Errno::NODEV);
    let mut knocked = socket.knock();
    let reply = knocked.call(1, &version("{}"));
    assert_eq!((reply.errno(), reply.payload.len()), (19, 0));
    assert!(knocked.rest().is_empty());
    socket.plug(&first);
    assert_eq!(socket.server.plug(Arc::clone(&second.assignment)), Err(PlugError::Occupied));
    let mut tombstone = socket.connect(&mut token).unwrap();
    assert_eq!(refused(&mut token), Errno::BUSY);
    assert_eq!(socket.server.client().unwrap().pid.unwrap().unsigned_abs(), std::process::id());
    assert!(socket.revoke(&mut token).is_some());
    assert_eq!(refused(&mut token), Errno::NODEV);
    socket.plug(&second);
    let mut client = socket.connect(&mut token).unwrap();
    assert_eq!(refused(&mut token), Errno::BUSY);
    // Each has its own.
    client.region_write(&mut token, 0, 0x40, &[7; 4]).unwrap();
    tombstone.region_write(&mut token, 0, 0x40, &[8; 4]).unwrap();
    let mut found = [0; 4];
    client.region_read(&mut token, 0, 0x40, &mut found).unwrap();
    assert_eq!(found, [7; 4]);
    assert_eq!(identity(&mut client, &mut token), PRESENT);
    assert_eq!(identity(&mut tombstone, &mut token), ABSENT);
    assert_eq!(socket.server.tombstones().len(), 1);
    // An in-process consumer has it: nobody else does.
    drop(client);
    eventually("it left", || !socket.server.holds());
    let held = second.assignment.attach(&mut token).unwrap();
    assert_eq!(refused(&mut token), Errno::BUSY);
    assert!(!socket.server.holds());
    held.detach(&mut token);
    assert!(socket.connect(&mut token).is_ok());
}

#[test]
fn a_function_that_nobody_has_is_revoked_and_nothing_more() {
    let _turn = TURN.lock();
    let mut token = ThreadToken::at_thread_entry();
    let fixture = Fixture::new();
    let socket = Socket::of(&fixture);
    assert!(socket.revoke(&mut token).is_none());
    assert!(fixture.assignment.is_gone());
    assert!(socket.revoke(&mut token).is_none(), "nothing is left to do");
    assert_eq!(Arc::strong_count(&fixture.assignment), 1);
    assert!(socket.told().is_empty());
}

#[test]
fn so_many_tombstones_and_no_more() {
    let _turn = TURN.lock();
    let mut token = ThreadToken::at_thread_entry();
    let socket = Socket::new();
    let mut clients = Vec::new();
    for _ in 0..MAX_TOMBSTONES {
        let fixture = Fixture::new();
        socket.plug(&fixture);
        clients.push(socket.raw());
        assert!(socket.revoke(&mut token).is_some());
    }
    let fixture = Fixture::new();
    let plugged = socket.server.plug(Arc::clone(&fixture.assignment));
    assert_eq!(plugged, Err(PlugError::TooManyTombstones));
    assert_eq!(Arc::strong_count(&fixture.assignment), 1);
    assert_eq!(socket.server.tombstones().len(), MAX_TOMBSTONES);
    for client in &mut clients {
        assert_eq!(client.call(9, &access(CONFIG, 0, 4, &[])).payload[16..], ABSENT);
    }
    drop(clients.swap_remove(20));
    eventually("one has left", || socket.server.tombstones().len() < MAX_TOMBSTONES);
    socket.plug(&fixture);
    socket.raw().assert_alive();
}

#[test]
fn a_client_that_comes_while_its_function_goes_is_served_or_refused_and_leaves_nothing_behind() {
    let _turn = TURN.lock();
    let mut token = ThreadToken::at_thread_entry();
    let socket = Socket::new();
    let mut outcomes = [0; 2];
    let mut before = None;
    for round in 0..200_u32 {
        let fixture = Fixture::new();
        socket.plug(&fixture);
        let served = std::thread::scope(|scope| {
            let client = scope.spawn(|| {
                let mut token = ThreadToken::at_thread_entry();
                match socket.connect(&mut token) {
                    Ok(mut client) => {
                        let id = identity(&mut client, &mut token);
                        assert!([PRESENT, ABSENT].contains(&id));
                        true
                    }
                    Err(ClientError::Refused { errno: Errno::NODEV, .. }) => false,
                    Err(error) => panic!("{error}"),
                }
            });
            for _ in 0..round * 20 {
                std::hint::spin_loop();
            }
            socket.revoke(&mut token);
            assert_eq!(Arc::strong_count(&fixture.assignment), 1, "round {round}");
            client.join().unwrap()
        });
        outcomes[usize::from(served)] += 1;
        eventually("it has left", || socket.server.tombstones().is_empty());
        if round >= 2 {
            let expected = *before.get_or_insert_with(|| (open_fds(), mapped_memfds()));
            drop(fixture);
            eventually("nothing is left behind", || no_more_than(expected));
        }
    }
    println!("{outcomes:?} refused and served");
}

#[test]
fn what_a_client_has_mapped_shows_all_ones_after_the_revocation_and_reaches_nothing() {
    let _turn = TURN.lock();
    let mut token = ThreadToken::at_thread_entry();
    let fixture = Fixture::new();
    let socket = Socket::of(&fixture);
    let mut client = socket.connect(&mut token).unwrap();
    let own = client.region_info(&mut token, OWN).unwrap();
    let area = own.map(&SparseArea { offset: OWN_DATA, size: 0x1000 }).unwrap();
    let dword = |at: usize| area.atomic_u32(at).unwrap();
    dword(0).store(7, Release);
    assert!(socket.revoke(&mut token).is_some());
    let load = |at| dword(at).load(std::sync::atomic::Ordering::Acquire);
    assert_eq!((load(0), load(0xffc)), (u32::MAX, u32::MAX), "when the revocation returns");
    dword(0).store(9, Release);
    let device = fixture.device.own.dword(OWN_DATA).unwrap().load(std::sync::atomic::Ordering::Acquire);
    assert_ne!(device, 9);
    assert_eq!(identity(&mut client, &mut token), ABSENT);
}

#[test]
fn garbage_and_descriptors_on_a_tombstone_leave_nothing_behind() {
    let _turn = TURN.lock();
    let mut token = ThreadToken::at_thread_entry();
    let fixture = Fixture::new();
    let socket = Socket::of(&fixture);
    let mut raw = socket.raw();
    assert!(socket.revoke(&mut token).is_some());
    let eventfd = new_eventfd();
    let before = (open_fds(), mapped_memfds());
    for count in [1, 2, 64, 65, 253] {
        let fds = vec![eventfd.as_fd(); count];
        for command in 0..20 {
            for payload in [vec![], vec![0; 8], vec![0xff; 40], words(&[40, 3, 0, 0, 0, 0, 4096, 0])] {
                // `VERSION` and what is malformed are refused; nothing ends the stream.
                let _ = raw.call_with(command, &payload, &fds);
            }
        }
        // Beyond the largest message, but not so far that it is not stepped over.
        let mut oversized = message(5, 10, &[0; 64]);
        oversized[4..8].copy_from_slice(&(3u32 << 20).to_ne_bytes());
        raw.send(&oversized, &fds);
        let (stream, rest) = (raw.stream.try_clone().unwrap(), vec![0; (3 << 20) - oversized.len()]);
        let writer = std::thread::spawn(move || std::io::Write::write_all(&mut &stream, &rest).unwrap());
        assert_eq!(raw.receive().errno(), 7);
        writer.join().unwrap();
        assert_eq!(raw.call(9, &access(CONFIG, 0, 4, &[])).payload[16..], ABSENT);
        assert_eq!((open_fds(), mapped_memfds()), before);
    }
}

#[test]
fn a_revocation_in_the_middle_of_garbage_leaves_nothing_behind() {
    let _turn = TURN.lock();
    let mut token = ThreadToken::at_thread_entry();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut before = None;
    for round in 0..400 {
        let fixture = Fixture::new();
        let mut bytes = message(0, 1, &version("{}"));
        for _ in 0..random() % 20 {
            let size = usize::try_from(random() % 80).unwrap();
            let payload: Vec<u8> =
                (0..size).map(|_| random().to_ne_bytes()[usize::from(random() % 2 == 0)]).collect();
            bytes.extend(message(1, u16::try_from(random() % 20).unwrap(), &payload));
        }
        let report = fuzz::revoked_session(&fixture.assignment, &bytes, random() % 8, &mut token);
        assert!(report.messages > 0);
        assert!(!fixture.assignment.is_attached(), "round {round}");
        assert_eq!(Arc::strong_count(&fixture.assignment), 1);
        drop(fixture);
        let expected = *before.get_or_insert_with(|| (open_fds(), mapped_memfds()));
        eventually("nothing is left behind", || no_more_than(expected));
    }
}
