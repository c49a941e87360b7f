//! Clients that vanish or overdo it leave nothing behind: descriptors and mappings of this process are counted.
//!
//! The counts are of the whole process, so these tests take turns.
#![allow(clippy::disallowed_types, reason = "what a test protects with a lock is its own")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fake;

use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use fake::*;
use gate::ThreadToken;
use parking_lot::Mutex;
use vfio_user::client::{Client, ClientOptions, SharedMemory};
use vfio_user::codec::SparseArea;
use vfio_user::fuzz;
use vfio_user::server::{Server, ServerOptions, SessionOptions, Stop};

static TURN: Mutex<()> = Mutex::new(());

/// A session as packets, each with its descriptors.
fn recorded(memory: &SharedMemory, eventfd: &OwnedFd) -> Vec<(Vec<u8>, Vec<OwnedFd>)> {
    let copy = |fd: &dyn AsFd| vec![fd.as_fd().try_clone_to_owned().unwrap()];
    vec![
        (message(0, 1, &version("{\"capabilities\":{\"max_msg_fds\":8}}")), vec![]),
        (message(1, 2, &map_payload(0x1000, 4096)), copy(memory)),
        (message(2, 2, &map_payload(0x10_0000, 4096)), vec![]),
        (message(3, 5, &words(&[64, 0, 0, 0, 0, 0, 0, 0])), vec![]),
        (message(4, 8, &words(&[20, 0x24, 1, 0, 1])), copy(eventfd)),
        (message(5, 10, &write_payload(CONFIG, 4, &[6, 0])), vec![]),
        (message(6, 3, &unmap_payload(0, 0x10_0000, 4096)), copy(memory)),
        (posted(7, 10, &write_payload(0, SIGNAL, &[0; 4])), vec![]),
        (message(8, 9, &access(0, 0, 64, &[])), vec![]),
    ]
}

/// Sends the first `cut` bytes of the session, with the descriptors of the packets that have begun. Gives how many
/// replies they earn.
fn send_up_to(raw: &Raw, packets: &[(Vec<u8>, Vec<OwnedFd>)], mut cut: usize) -> usize {
    let mut replies = 0;
    for (bytes, fds) in packets {
        let part = bytes.len().min(cut);
        if part == 0 {
            break;
        }
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        raw.send(&bytes[..part], &fds);
        cut -= part;
        let posted = bytes[8] & 0x10 != 0;
        replies += usize::from(part == bytes.len() && !posted);
    }
    replies
}

#[test]
fn a_client_that_vanishes_at_any_byte_leaves_nothing_behind() {
    let _turn = TURN.lock();
    let fixture = Fixture::new();
    let memory = SharedMemory::new(4096).unwrap();
    let eventfd = new_eventfd();
    let packets = recorded(&memory, &eventfd);
    let length = packets.iter().map(|(bytes, _)| bytes.len()).sum::<usize>();
    // Once in full first: what the process makes at its first signal stays for good.
    play(&fixture, &packets, length);
    assert_ne!(signals(&eventfd), 0, "the recorded session works when it is sent whole");
    let before = (open_fds(), mapped_memfds());
    for cut in 0..=length {
        // All of it is there before the session begins, and the client has gone.
        let (client, server) = UnixStream::pair().unwrap();
        let raw = Raw::new(client);
        send_up_to(&raw, &packets, cut);
        drop(raw);
        fixture.start(server, SessionOptions::default()).report();
        // The client goes when all that it sent has been done, and the session waits for the rest.
        play(&fixture, &packets, cut);
        assert_eq!((open_fds(), mapped_memfds()), before, "cut at {cut}");
        assert!(!fixture.assignment.is_attached());
    }
    // The next client maps the same addresses.
    play(&fixture, &packets, length);
}

/// Plays the first `cut` bytes to a session, waits for all the replies that they earn, and leaves.
fn play(fixture: &Fixture, packets: &[(Vec<u8>, Vec<OwnedFd>)], cut: usize) {
    let (client, session) = fixture.serve();
    let mut raw = Raw::new(client);
    for _ in 0..send_up_to(&raw, packets, cut) {
        assert_eq!(raw.receive().errno(), 0, "cut at {cut}");
    }
    drop(raw);
    session.report();
}

#[test]
fn hundreds_of_descriptors_are_closed_and_the_message_is_refused() {
    let _turn = TURN.lock();
    let fixture = Fixture::new();
    let (client, session) = fixture.serve();
    let mut raw = Raw::negotiated(client);
    let eventfd = new_eventfd();
    let before = open_fds();
    for count in [65, 100, 253] {
        let fds = vec![eventfd.as_fd(); count];
        let vectors = u32::try_from(count).unwrap();
        assert_eq!(raw.call_with(8, &words(&[20, 0x24, 2, 0, vectors]), &fds).errno(), 22);
        // Byte by byte, with many each.
        let bytes = message(1, 9, &access(CONFIG, 0, 4, &[]));
        for byte in &bytes {
            raw.send(std::slice::from_ref(byte), &fds);
        }
        assert_eq!(raw.receive().errno(), 22);
        assert_eq!(open_fds(), before);
        raw.assert_alive();
    }
    // As many as may be are taken for what they are: too many for a map, unwanted by a read.
    let fds = vec![eventfd.as_fd(); 64];
    assert_eq!(raw.call_with(2, &map_payload(0x1000, 4096), &fds).errno(), 22);
    assert_eq!(raw.call_with(9, &access(CONFIG, 0, 4, &[]), &fds).errno(), 0);
    assert_eq!(open_fds(), before);
    drop(raw);
    session.report();
}

#[test]
fn garbage_ends_in_error_replies_or_a_clean_end_and_leaves_nothing_behind() {
    let _turn = TURN.lock();
    let fixture = Fixture::new();
    let mut token = ThreadToken::at_thread_entry();
    let before = (open_fds(), mapped_memfds());
    let negotiated = message(0, 1, &version("{}"));
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..400 {
        let mut bytes = if round % 4 == 0 { Vec::new() } else { negotiated.clone() };
        for _ in 0..random() % 20 {
            let size = usize::try_from(random() % 80).unwrap();
            let payload: Vec<u8> =
                (0..size).map(|_| random().to_ne_bytes()[usize::from(random() % 2 == 0)]).collect();
            let command = u16::try_from(random() % 20).unwrap();
            let mut message = message(1, command, &payload);
            if random() % 10 == 0 {
                let at = usize::try_from(random() % 16).unwrap();
                message[at] ^= random().to_ne_bytes()[0];
            }
            bytes.extend(message);
        }
        fuzz::codec(&bytes);
        fuzz::session(&fixture.assignment, &bytes, &mut token);
        assert_eq!((open_fds(), mapped_memfds()), before, "round {round}");
    }
    let (client, session) = fixture.serve();
    Raw::negotiated(client).assert_alive();
    session.report();
}

/// Where a test of another process tells this one to connect.
const SOCKET: &str = "VFIO_USER_TEST_SOCKET";

#[test]
#[ignore = "the other process of the next test"]
fn a_client_maps_and_waits_to_be_killed() {
    let Some(path) = std::env::var_os(SOCKET) else { return };
    let mut token = ThreadToken::at_thread_entry();
    let mut client = Client::connect(&mut token, path, ClientOptions::default()).unwrap();
    let own = client.region_info(&mut token, OWN).unwrap();
    let areas =
        [OWN_DATA, OWN_DOORBELLS].map(|offset| own.map(&SparseArea { offset, size: 0x1000 }).unwrap());
    areas[0].atomic_u32(0x10).unwrap().store(7, Relaxed);
    println!("\nmapped");
    std::io::stdout().flush().unwrap();
    loop {
        areas[1].atomic_u32(0).unwrap().store(1, Relaxed);
        std::thread::yield_now();
    }
}

/// Has another process map the function's memory, kills it, and waits until the function is free.
fn kill_a_client(fixture: &Fixture, socket: &std::path::Path) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "a_client_maps_and_waits_to_be_killed"])
        .env(SOCKET, socket)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "mapped"), "the other process failed");
    let owner = format!("vfio-user client, process {}", child.id());
    let mappings = fixture.assignment.function().mappings();
    let shared = mappings.report();
    assert!(!shared.is_empty() && shared.iter().all(|mapping| mapping.owner == owner), "{shared:?}");
    child.kill().unwrap();
    child.wait().unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    while fixture.assignment.is_attached() {
        assert!(Instant::now() < end, "the function is not free");
        std::thread::yield_now();
    }
    assert!(mappings.report().is_empty());
    let kept = fixture.device.own.dword(OWN_DATA + 0x10).unwrap().load(Relaxed);
    assert_eq!(kept, 7, "the device's state is kept");
}

#[test]
fn a_client_that_is_killed_with_the_functions_memory_mapped_gives_everything_back() {
    let _turn = TURN.lock();
    let fixture = Fixture::new();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let server = Server::bind(&path, Arc::clone(&fixture.assignment), ServerOptions::default()).unwrap();
    let stop = Stop::new().unwrap();
    let switch = stop.clone();
    let thread = std::thread::spawn(move || {
        server.run(&mut ThreadToken::at_thread_entry(), &switch).unwrap();
        // Counted when nobody is served any more: a session's descriptors outlive its detach for a moment.
        server
    });
    kill_a_client(&fixture, &path);
    kill_a_client(&fixture, &path);
    stop.stop();
    let server = thread.join().unwrap();
    let before = (open_fds(), mapped_memfds());
    for _ in 0..3 {
        let stop = Stop::new().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| server.run(&mut ThreadToken::at_thread_entry(), &stop).unwrap());
            kill_a_client(&fixture, &path);
            stop.stop();
        });
        drop(stop);
        assert_eq!((open_fds(), mapped_memfds()), before);
    }
}
