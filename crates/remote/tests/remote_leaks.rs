//! What is left of a function whose back end is away when it is closed: nothing. Alone in its process, whose threads and descriptors
//! are counted.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_types, reason = "what a test protects with a lock is its own")]
#![allow(dead_code, reason = "the other tests use the rest of the rig")]

#[path = "remote/rig.rs"]
mod rig;

use std::time::Duration;

use gate::ThreadToken;
use models::nvme::host::Io;
use remote::Told;
use remote::config::{Mode, RemoteConfig};
use rig::*;
use rustix::process::Signal;

/// Names of the threads, and the number of descriptors, of this process.
fn belongings() -> (Vec<String>, usize) {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(entry.ok()?.path().join("comm")).ok()
    };
    let mut names: Vec<String> = tasks.filter_map(name).collect();
    names.sort();
    (names, std::fs::read_dir("/proc/self/fd").unwrap().count())
}

/// One life: served, lost with commands in flight, and closed before it is back.
fn live(token: &mut ThreadToken, mode: Mode, hangs: bool) {
    let place = Place::new();
    let first = place.serve();
    let config = RemoteConfig { mode, hang_limit: Duration::from_millis(200), ..place.config() };
    let function = Function::open(token, &place, &config);
    let mut driver = function.driver(token);
    if hangs {
        first.stop()
    } else {
        first.signal(Signal::KILL)
    }
    // The back end may be gone already.
    let submit = |slot| Io::Read { lba: slot, blocks: 1 };
    for slot in 0..DEPTH {
        driver.submit(0, slot, submit(slot.into())).unwrap();
    }
    driver.ring(token, 0).unwrap();
    function.ear.hear(0, |told| matches!(told, Told::Retry { .. }));
    drop(driver);
    function.close(token);
}

#[test]
fn an_unplug_while_the_back_end_is_away_waits_for_nothing_and_leaves_nothing() {
    let mut token = ThreadToken::at_thread_entry();
    // Once before counting: what a process makes once stays.
    live(&mut token, Mode::Replay, false);
    let before = belongings();
    for mode in [Mode::Replay, Mode::Passthrough, Mode::Reset] {
        for hangs in [false, true] {
            live(&mut token, mode, hangs);
            // A thread that was joined may still be listed for a moment.
            until("everything gone", || belongings() == before);
        }
    }
}
