//! A client that is killed at any point of the unplug of its function leaves nothing behind.
//!
//! The client is another process, which sends a script of 50 messages and kills itself with SIGKILL right after it has sent the
//! one that it was told. Descriptors and mappings of this process are counted, so these tests take turns.
#![allow(clippy::disallowed_types, reason = "what a test protects with a lock is its own")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fake;

use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{ChildStdout, Command, Stdio};
use std::sync::Arc;

use fake::socket::Socket;
use fake::*;
use gate::{AccessKind, Deadline, ThreadToken};
use parking_lot::Mutex;
use rustix::process::{Signal, getpid, kill_process};
use vfio_user::client::SharedMemory;

static TURN: Mutex<()> = Mutex::new(());

/// Where the other process connects.
const SOCKET: &str = "VFIO_USER_TEST_SOCKET";
/// After which of its messages it kills itself.
const POINT: &str = "VFIO_USER_TEST_POINT";

const POINTS: usize = 50;
const SIGKILL: i32 = 9;

/// What the other process sends: it attaches, works, and reboots. The number of descriptors goes with each: memory for
/// `DMA_MAP`, else eventfds.
fn script() -> Vec<(u16, Vec<u8>, usize)> {
    let set_irqs = |flags, index, count| words(&[20, flags, index, 0, count]);
    let mut script = vec![
        (1, version("{\"capabilities\":{\"max_msg_fds\":8}}"), 0),
        (2, map_payload(0, 4096), 1),
        (2, map_payload(0xfffc_0000, 0x4_0000), 0),
        (4, words(&[16, 0, 0, 0]), 0),
        (5, words(&[4096, 0, 0, 0, 0, 0, 0, 0]), 0),
        (5, words(&[4096, 0, OWN, 0, 0, 0, 0, 0]), 0),
        (9, access(CONFIG, 0, 256, &[]), 0),
        (8, set_irqs(0x24, 0, 1), 1),
        (13, vec![], 0),
        (8, set_irqs(0x21, 0, 0), 0),
        (8, set_irqs(0x24, 1, 4), 4),
        (10, write_payload(CONFIG, 4, &[6, 0]), 0),
    ];
    for _ in 0..5 {
        script.push((10, write_payload(0, SIGNAL, &[0; 4]), 0));
        script.push((9, access(0, 0, 64, &[]), 0));
    }
    script.push((8, set_irqs(0x21, 1, 0), 0));
    script.push((13, vec![], 0));
    for nth in 0..6 {
        script.push((3, unmap_payload(2, 0, 0), 0));
        script.push((2, map_payload(nth << 12, 4096), 1));
        script.push((9, access(CONFIG, 0, 4, &[]), 0));
        script.push((2, map_payload(0xfffc_0000, 0x4_0000), 0));
    }
    script.push((8, set_irqs(0x24, 0, 1), 1));
    script.push((3, unmap_payload(2, 0, 0), 0));
    assert_eq!(script.len(), POINTS);
    script
}

#[test]
#[ignore = "the other process of the tests below"]
fn a_client_plays_its_script_and_kills_itself() {
    let Some(path) = std::env::var_os(SOCKET) else { return };
    let point: usize = std::env::var(POINT).unwrap().parse().unwrap();
    let memory = SharedMemory::new(4096).unwrap();
    let eventfds: Vec<_> = (0..4).map(|_| new_eventfd()).collect();
    let mut raw = Raw::new(UnixStream::connect(path).unwrap());
    let mut given = Vec::new();
    println!();
    for (nth, (command, payload, count)) in script().into_iter().enumerate() {
        let fds: Vec<BorrowedFd<'_>> = match command {
            2 => vec![memory.as_fd(); count],
            _ => eventfds.iter().take(count).map(AsFd::as_fd).collect(),
        };
        println!("at {nth}");
        std::io::stdout().flush().unwrap();
        raw.send(&message(u16::try_from(nth).unwrap(), command, &payload), &fds);
        if nth == point {
            kill_process(getpid(), Signal::KILL).unwrap();
        }
        let reply = raw.receive();
        if reply.errno() == 19 && command == 1 {
            // It came too late.
            kill_process(getpid(), Signal::KILL).unwrap();
        }
        assert_eq!(reply.errno(), 0, "message {nth}");
        given.extend(reply.fds);
    }
    panic!("it should be dead");
}

/// Reads until the other process says that it is at message `nth`, or is dead.
fn wait_until(lines: &mut BufReader<ChildStdout>, nth: usize) {
    let mut line = String::new();
    while lines.read_line(&mut line).unwrap() > 0 && line.trim() != format!("at {nth}") {
        line.clear();
    }
}

/// Takes the function away when the client is at message `from`, with something inside the gate until it is at message
/// `until`; it is killed at message `point`.
fn kill_at(socket: &Socket, point: usize, from: usize, until: usize) {
    let fixture = Fixture::new();
    socket.plug(&fixture);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "a_client_plays_its_script_and_kills_itself"])
        .env(SOCKET, socket.path())
        .env(POINT, point.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    wait_until(&mut lines, from);
    let mut token = ThreadToken::at_thread_entry();
    let inside = fixture.assignment.port().handle().enter_long(
        &mut token,
        AccessKind::Dma,
        "I/O",
        Deadline::after(LONG),
    );
    std::thread::scope(|scope| {
        let revoker = scope.spawn(|| socket.revoke(&mut ThreadToken::at_thread_entry()));
        wait_until(&mut lines, until);
        drop(inside);
        revoker.join().unwrap();
    });
    assert_eq!(
        child.wait().unwrap().signal(),
        Some(SIGKILL),
        "point {point}: the client was served to its end"
    );
    assert_eq!(Arc::strong_count(&fixture.assignment), 1, "point {point}");
    eventually("the client is known to be gone", || socket.server.tombstones().is_empty());
    assert!(!socket.server.holds() && !fixture.assignment.is_attached());
}

const LONG: std::time::Duration = std::time::Duration::from_secs(60);

/// Kills a client at each point of an unplug; `span` says when that begins and ends.
fn kill_at_each_point(span: impl Fn(usize) -> (usize, usize)) {
    let socket = Socket::new();
    // What the process makes once stays: one client that gets through all of its life.
    kill_at(&socket, POINTS - 1, POINTS - 1, POINTS - 1);
    let mut before = None;
    for point in (0..POINTS).rev() {
        let (from, until) = span(point);
        kill_at(&socket, point, from, until);
        let now = || (open_fds(), mapped_memfds());
        let expected = *before.get_or_insert_with(now);
        // A session's last descriptor is closed after the session is known to have ended, also when the count began.
        eventually("nothing is left behind", || now().0 <= expected.0 && now().1 <= expected.1);
    }
}

#[test]
fn a_client_that_is_killed_at_any_point_of_a_long_unplug_leaves_nothing_behind() {
    let _turn = TURN.lock();
    // From where it has attached to the end of its reboot.
    kill_at_each_point(|_| (1, 45));
}

#[test]
fn an_unplug_that_begins_at_any_point_of_a_clients_life_shortly_before_it_is_killed_leaves_nothing_behind() {
    let _turn = TURN.lock();
    kill_at_each_point(|point| (point.saturating_sub(3), point));
}
