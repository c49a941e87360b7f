//! The command that starts a back end: once at a time, by itself, and never a zombie.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ffi::OsString;
use std::time::{Duration, Instant};

use remote::config::RestartCommand;
use remote::restart::{Restarter, Started};
use rustix::process::{Pid, PidfdFlags, Signal, getpgid, kill_process, pidfd_open, test_kill_process};

const LONG: Duration = Duration::from_secs(30);

fn command(program: &str, arguments: &[&str]) -> RestartCommand {
    RestartCommand { program: program.into(), arguments: arguments.iter().map(OsString::from).collect() }
}

fn pid(started: Started) -> Pid {
    let (Started::Now { pid } | Started::StillRuns { pid }) = started;
    Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < LONG, "{what} did not come");
        std::thread::yield_now();
    }
}

#[test]
fn a_command_that_still_runs_is_not_started_again_and_one_that_has_ended_is() {
    let mut restarter = Restarter::new(command("sleep", &["1000"]));
    let first = restarter.start().unwrap();
    assert!(matches!(first, Started::Now { .. }));
    assert_eq!(
        restarter.start().unwrap(),
        Started::StillRuns { pid: pid(first).as_raw_pid().cast_unsigned() }
    );
    kill_process(pid(first), Signal::KILL).unwrap();
    let mut second = first;
    until("its end", || {
        second = restarter.start().unwrap();
        matches!(second, Started::Now { .. })
    });
    assert_ne!(pid(first), pid(second));
    assert!(test_kill_process(pid(first)).is_err(), "it was waited for and is no zombie");
    kill_process(pid(second), Signal::KILL).unwrap();
    until("its end", || restarter.reap().is_some());
}

#[test]
fn a_command_has_a_process_group_of_its_own_and_its_arguments_meet_no_shell() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a $(b) 'c'");
    let mut restarter = Restarter::new(command("mkdir", &[file.to_str().unwrap()]));
    let started = restarter.start().unwrap();
    until("its end", || restarter.reap().is_some());
    assert!(file.is_dir(), "{started:?}");

    let mut restarter = Restarter::new(command("sleep", &["1000"]));
    let child = pid(restarter.start().unwrap());
    assert_eq!(getpgid(Some(child)).unwrap(), child);
    kill_process(child, Signal::KILL).unwrap();
    until("its end", || restarter.reap().is_some());
}

#[test]
fn a_command_that_is_not_there_is_an_error_and_leaves_nothing() {
    let mut restarter = Restarter::new(command("/does/not/exist", &[]));
    assert_eq!(restarter.start().unwrap_err().kind(), std::io::ErrorKind::NotFound);
    assert!(restarter.reap().is_none());
}

#[test]
fn what_outlives_its_restarter_lives_on_and_is_waited_for_later() {
    let mut restarter = Restarter::new(command("sleep", &["1000"]));
    let child = pid(restarter.start().unwrap());
    drop(restarter);
    let pidfd = pidfd_open(child, PidfdFlags::empty()).unwrap();
    test_kill_process(child).unwrap();
    kill_process(child, Signal::KILL).unwrap();
    drop(pidfd);
    until("its end", || {
        drop(Restarter::new(command("true", &[])));
        test_kill_process(child).is_err()
    });
}
