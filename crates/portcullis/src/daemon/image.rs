//! Opening an image that the last server of it may still write to.
//!
//! A server that was killed holds the lock of its image for as long as its requests are under way in the kernel: each of them holds the
//! open file, and the lock is the file's. That takes milliseconds, or seconds on a slow disk. So a lock that no living process has is
//! waited for; one that somebody has is refused at once. Linux shows locks of the living only (proc(5), /proc/locks).

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use gate::{Deadline, ThreadToken};
use models::nvme::backing::FileOptions;
use models::nvme::{Backing, BackingError};
use rustix::event::{Timespec, poll};

/// How long what a dead server had under way may take.
const LAST_WRITES: Duration = Duration::from_secs(30);
/// Between two looks at the lock.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };

/// Opens `path`, and waits for the last requests of a server that has died.
///
/// # Errors
/// As [`Backing::file`]; in use also if the lock of a dead server outlasts `LAST_WRITES`.
pub(super) fn open(
    _token: &mut ThreadToken,
    path: &Path,
    options: &FileOptions,
) -> Result<Backing, BackingError> {
    let deadline = Deadline::after(LAST_WRITES);
    let mut told = false;
    loop {
        match Backing::file(path, options) {
            Err(BackingError::InUse(_)) if deadline.remaining().is_some() && !is_held_by_the_living(path) => {
                if !told {
                    tracing::info!(image = %path.display(), "waiting for the last writes of its dead server");
                    told = true;
                }
                // Nothing tells of the end of such a lock but taking it, and that without a deadline.
                let _ = poll(&mut [], Some(&LOOK));
            }
            opened => return opened,
        }
    }
}

/// Whether a process that lives has a lock of this file. True if that cannot be told.
fn is_held_by_the_living(path: &Path) -> bool {
    let (Ok(file), Ok(locks)) = (fs::metadata(path), fs::read_to_string("/proc/locks")) else { return true };
    holders(&locks, file.ino()).any(is_alive)
}

/// Processes with a lock of the file with this number, on whatever file system: its number there may be another one than the file's.
fn holders(locks: &str, inode: u64) -> impl Iterator<Item = u32> {
    locks.lines().filter_map(move |line| {
        // `1: FLOCK ADVISORY WRITE 4711 08:01:1234 0 EOF`, with an arrow behind the number of one that waits.
        let mut words = line.split_whitespace().skip(1).skip_while(|word| *word != "FLOCK").skip(3);
        let (process, file) = (words.next()?.parse().ok()?, words.next()?);
        (file.rsplit(':').next()?.parse() == Ok(inode)).then_some(process)
    })
}

/// Whether a process is there and has not ended: one that nobody has waited for is still shown.
fn is_alive(process: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{process}/stat")) else { return false };
    let state = stat.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next());
    !matches!(state, Some('Z' | 'X'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holders_of_a_file_are_read_by_its_number() {
        let locks = "1: FLOCK  ADVISORY  WRITE 4711 08:01:1234 0 EOF\n\
                     2: POSIX  ADVISORY  WRITE 4712 08:01:1234 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 4713 00:2b:12345 0 EOF\n\
                     3: -> FLOCK  ADVISORY  WRITE 4714 08:01:1234 0 EOF\n\
                     garbage\n4: FLOCK";
        assert_eq!(holders(locks, 1234).collect::<Vec<_>>(), [4711, 4714]);
        assert_eq!(holders(locks, 12345).collect::<Vec<_>>(), [4713]);
    }

    #[test]
    fn a_living_holder_is_refused_at_once() {
        let mut token = ThreadToken::at_thread_entry();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk");
        let options = FileOptions { size: Some(1 << 20), ..FileOptions::default() };
        let first = open(&mut token, &path, &options).unwrap();
        let began = Deadline::after(LAST_WRITES);
        assert!(matches!(open(&mut token, &path, &options), Err(BackingError::InUse(_))));
        assert!(began.remaining().is_some());
        drop(first);
        open(&mut token, &path, &options).unwrap();
        assert!(is_alive(std::process::id()) && !is_alive(u32::MAX));
    }

    #[test]
    fn a_process_that_nobody_has_waited_for_does_not_live() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        while is_alive(child.id()) {
            std::thread::yield_now();
        }
        child.wait().unwrap();
    }
}
