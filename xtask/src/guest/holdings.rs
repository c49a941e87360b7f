//! What a process holds on to, as the kernel counts it: whether anything stays behind is found by counting before and after.

use super::{During, GuestError};
use rustix::process::Pid;
use serde_json::{Value, json};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// What the mappings of shared memory without a name in the file system have in theirs: a guest's memory, for one.
const MEMFD: &str = "/memfd:";

/// What one process holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holdings {
    /// Open files, sockets among them.
    descriptors: usize,
    /// Threads.
    threads: usize,
    /// Mappings of shared memory.
    mappings: usize,
}

impl Holdings {
    /// Counts what `process` holds.
    ///
    /// # Errors
    /// An I/O error, as when there is no such process any more.
    pub(super) fn of(process: Pid) -> Result<Self, GuestError> {
        Self::in_directory(&PathBuf::from(format!("/proc/{}", process.as_raw_nonzero())))
    }

    fn in_directory(directory: &Path) -> Result<Self, GuestError> {
        let entries = |name: &str| {
            let path = directory.join(name);
            fs::read_dir(&path).map(Iterator::count).during(|| format!("read {}", path.display()))
        };
        let maps = directory.join("maps");
        let maps = fs::read_to_string(&maps).during(|| format!("read {}", maps.display()))?;
        let mappings = maps.lines().filter(|line| line.contains(MEMFD)).count();
        Ok(Self { descriptors: entries("fd")?, threads: entries("task")?, mappings })
    }

    /// Whether nothing is there that was not there `before`.
    pub(super) fn is_within(&self, before: &Self) -> bool {
        let Self { descriptors, threads, mappings } = *self;
        descriptors <= before.descriptors && threads <= before.threads && mappings <= before.mappings
    }

    /// Of each kind the fewer.
    pub(super) fn or_less(&self, other: &Self) -> Self {
        Self {
            descriptors: self.descriptors.min(other.descriptors),
            threads: self.threads.min(other.threads),
            mappings: self.mappings.min(other.mappings),
        }
    }

    /// For the report.
    pub(super) fn json(&self) -> Value {
        json!({"descriptors": self.descriptors, "threads": self.threads, "mappings": self.mappings})
    }
}

impl fmt::Display for Holdings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { descriptors, threads, mappings } = self;
        write!(f, "{descriptors} descriptors, {threads} threads, {mappings} mappings of shared memory")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(directory: &Path, descriptors: usize, threads: usize, mappings: usize) -> Holdings {
        let directory = directory.join(format!("{descriptors}-{threads}-{mappings}"));
        for (name, count) in [("fd", descriptors), ("task", threads)] {
            for number in 0..count {
                fs::create_dir_all(directory.join(name).join(number.to_string())).unwrap();
            }
        }
        let shared = "7f00-7f01 rw-s 00000000 00:01 7   /memfd:mem0 (deleted)\n".repeat(mappings);
        fs::write(directory.join("maps"), format!("5500-5501 r-xp 00000000 fe:00 9   /bin/x\n{shared}"))
            .unwrap();
        Holdings::in_directory(&directory).unwrap()
    }

    #[test]
    fn whatever_is_there_in_addition_is_found_and_what_has_gone_is_no_fault() {
        let directory = tempfile::tempdir().unwrap();
        let before = process(directory.path(), 4, 3, 2);
        assert_eq!(before.to_string(), "4 descriptors, 3 threads, 2 mappings of shared memory");
        assert!(before.is_within(&before));
        assert!(process(directory.path(), 3, 2, 1).is_within(&before));
        for (descriptors, threads, mappings) in [(5, 3, 2), (4, 4, 2), (4, 3, 3)] {
            assert!(!process(directory.path(), descriptors, threads, mappings).is_within(&before));
        }
    }

    #[test]
    fn the_least_of_two_counts_is_the_least_of_each_kind() {
        let directory = tempfile::tempdir().unwrap();
        let (one, other) = (process(directory.path(), 4, 2, 1), process(directory.path(), 3, 5, 0));
        assert_eq!(one.or_less(&other), process(directory.path(), 3, 2, 0));
    }

    #[test]
    fn this_process_holds_something_and_one_that_is_not_there_is_an_error() {
        let ours = Holdings::of(rustix::process::getpid()).unwrap();
        assert!(ours.descriptors > 0 && ours.threads > 0);
        assert!(Holdings::in_directory(Path::new("/proc/none")).is_err());
    }
}
