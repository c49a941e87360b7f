//! A whole session with an NVMe disk, begun with a good `VERSION` and continued with arbitrary bytes.
//!
//! Whatever was sent, the next client is served and no file descriptor is left behind. If the last byte is 128 or more, it also
//! says after how many messages the function is revoked: the rest is for a tombstone, and the next client is another disk's.
#![no_main]

use std::cell::RefCell;
use std::sync::Arc;

use assign::Assignment;
use gate::ThreadToken;
use libfuzzer_sys::fuzz_target;
use models::nvme::{Backing, Config, build};
use vfio_user::fuzz::{revoked_session, session};
use vfio_user::server::SessionEnd;

/// `VERSION` 0.0 without capabilities.
const VERSION: [u8; 20] = [1, 0, 1, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

struct Bench {
    token: ThreadToken,
    disk: Arc<Assignment>,
    descriptors: Option<usize>,
}

thread_local! {
    static BENCH: RefCell<Bench> = RefCell::new(Bench {
        token: ThreadToken::at_thread_entry(),
        disk: new_disk(),
        descriptors: None,
    });
}

fn new_disk() -> Arc<Assignment> {
    build("fuzz", &Config::default(), Backing::memory(1 << 20).expect("1 MiB"), Arc::new(())).expect("a disk")
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("/proc").count()
}

fuzz_target!(|bytes: &[u8]| {
    BENCH.with_borrow_mut(|Bench { token, disk, descriptors: before }| {
        let input = [&VERSION, bytes].concat();
        let revoked_after = bytes.last().filter(|last| **last >= 128).map(|last| u64::from(last % 32));
        let report = match revoked_after {
            Some(after) => revoked_session(disk, &input, after, token),
            None => session(disk, &input, token),
        };
        assert!(!matches!(report.end, SessionEnd::Refused(_) | SessionEnd::NotNegotiated), "{report:?}");
        assert!(!disk.is_attached());
        assert_eq!(Arc::strong_count(disk), 1);
        // So many messages may not have come.
        if disk.is_gone() {
            *disk = new_disk();
        }
        // The disk's worker starts with the first command that enables the controller, and keeps what it opened.
        let now = descriptors();
        let allowed = before.get_or_insert(now);
        assert!(now <= *allowed + 4, "{now} descriptors after the session, {allowed} before");
    });
});
