//! What this process has of the system, for a comparison before and after.

use std::time::{Duration, Instant};

/// Descriptors, threads, and mappings of files in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Possessions {
    descriptors: usize,
    threads: usize,
    mappings: usize,
}

impl Possessions {
    pub(crate) fn now() -> Possessions {
        let entries = |path| std::fs::read_dir(path).unwrap().count();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        Possessions {
            descriptors: entries("/proc/self/fd"),
            threads: entries("/proc/self/task"),
            mappings: maps.lines().filter(|line| line.contains("memfd:")).count(),
        }
    }

    /// Waits until nothing more is there than at the time of `self`. Threads that nobody waits for may take a moment to end.
    pub(crate) fn assert_back(self) {
        let begun = Instant::now();
        while Possessions::now() != self && begun.elapsed() < Duration::from_secs(10) {
            std::thread::yield_now();
        }
        assert_eq!(Possessions::now(), self, "left over");
    }
}
