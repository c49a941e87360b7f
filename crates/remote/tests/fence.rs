//! The fence: whether a server that was lost is over, and who wakes whoever waits for that.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gate::{Deadline, ThreadToken};
use remote::fence::{Fence, How, Known, OldServer};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

const LONG: Duration = Duration::from_secs(30);

/// A process that ends when it is told to, or killed.
fn process() -> (Child, OldServer) {
    let child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    let pidfd = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap();
    (child, OldServer::new(Some(pid), Some(pidfd)).unwrap())
}

#[test]
fn a_server_is_alive_until_its_process_has_ended_and_its_io_may_not_be_over_then() {
    let mut token = ThreadToken::at_thread_entry();
    let (mut child, server) = process();
    assert_eq!(server.known(), Known::Alive);
    assert!(!server.wait(&mut token, Deadline::after(Duration::from_millis(20))), "a deadline ends the wait");
    drop(child.stdin.take());
    assert!(server.wait(&mut token, Deadline::after(LONG)));
    assert_eq!(server.known(), Known::Ended, "although nobody has waited for it as its parent");
    assert!(!server.is_over(), "what its kernel does for it may go on");
    child.wait().unwrap();
    assert_eq!(server.known(), Known::Ended);
    server.say_over(How::Server);
    assert!(server.is_over());
}

#[test]
fn who_waits_for_a_server_is_woken_by_its_death() {
    let mut token = ThreadToken::at_thread_entry();
    let (mut child, server) = process();
    assert!(server.kill().unwrap());
    assert!(server.wait(&mut token, Deadline::after(LONG)));
    child.wait().unwrap();
    assert!(!server.kill().unwrap(), "nobody is left to be killed, and nobody else is");
}

#[test]
fn who_waits_is_woken_by_what_the_next_server_says() {
    let (mut child, server) = process();
    let server = Arc::new(server);
    let other = Arc::clone(&server);
    let waiter = std::thread::spawn(move || {
        let mut token = ThreadToken::at_thread_entry();
        let began = Instant::now();
        (other.wait(&mut token, Deadline::after(LONG)), began.elapsed())
    });
    server.say_over(How::Server);
    let (over, waited) = waiter.join().unwrap();
    assert!(over && waited < LONG);
    server.say_over(How::Same);
    assert_eq!(server.known(), Known::Over(How::Server), "the first word counts");
    drop(child.stdin.take());
    child.wait().unwrap();
}

#[test]
fn what_cannot_be_known_is_not_waited_for_but_is_not_over_either() {
    let mut token = ThreadToken::at_thread_entry();
    let server = OldServer::new(None, None).unwrap();
    assert!(server.wait(&mut token, Deadline::after(LONG)));
    assert!(!server.is_over());
    assert_eq!(server.known(), Known::Unknown);
}

#[test]
fn who_waits_can_be_called_away() {
    let mut token = ThreadToken::at_thread_entry();
    let (mut child, server) = process();
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    drop(theirs);
    let began = Instant::now();
    assert!(!server.wait_or(&mut token, Some(ours.as_fd()), Deadline::after(LONG)));
    assert!(began.elapsed() < LONG);
    drop(child.stdin.take());
    child.wait().unwrap();
}

#[test]
fn where_there_was_no_server_nobody_waits() {
    let mut token = ThreadToken::at_thread_entry();
    let never = OldServer::never().unwrap();
    assert!(never.wait(&mut token, Deadline::after(Duration::ZERO)));
    assert_eq!(never.known(), Known::Over(How::Never));
    assert!(!never.kill().unwrap());
}
