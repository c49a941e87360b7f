//! What this process has: threads, descriptors, memory.

use parking_lot::{Mutex, MutexGuard};

use crate::stack::until;

/// A test that counts has the process for itself.
static ALONE: Mutex<()> = Mutex::new(());

pub(crate) fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock()
}

/// Mebibytes that the process may have grown by at its largest, and the addresses it may have reserved for more. A size that a back
/// end has made up is 4 GiB.
const RESIDENT: u64 = 256;
const RESERVED: u64 = 2048;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Belongings {
    /// By name, without the tests' own, whose names have a module in them.
    threads: Vec<String>,
    descriptors: usize,
    resident: u64,
    reserved: u64,
}

impl Belongings {
    pub(crate) fn count() -> Belongings {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let comm = |entry: std::io::Result<std::fs::DirEntry>| {
            std::fs::read_to_string(entry.ok()?.path().join("comm")).ok()
        };
        let mut threads: Vec<String> = tasks.filter_map(comm).filter(|name| !name.contains("::")).collect();
        threads.sort();
        let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let mebibytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().next().unwrap().parse::<u64>().unwrap() >> 10
        };
        let (resident, reserved) = (mebibytes("VmHWM:"), mebibytes("VmPeak:"));
        Belongings { threads, descriptors, resident, reserved }
    }

    /// Waits until there is no more than this, and looks at how large the process has been.
    #[track_caller]
    pub(crate) fn are_all(&self, after: &str) {
        // A thread that was joined may still be listed for a moment.
        until(after, || {
            let now = Belongings::count();
            now.threads == self.threads && now.descriptors == self.descriptors
        });
        let now = Belongings::count();
        assert!(now.resident < self.resident + RESIDENT, "{after}: {} MiB", now.resident);
        assert!(now.reserved < self.reserved + RESERVED, "{after}: {} MiB reserved", now.reserved);
    }
}
