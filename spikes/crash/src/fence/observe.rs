//! One round: a writer, its death, and what lands when.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FlockOperation, MemfdFlags, flock, ftruncate, memfd_create};
use rustix::io::dup;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::throttle::Throttle;
use super::writer::{Engine, MARK};
use super::{BLOCK, BLOCKS};
use crate::journal::{RING, SIZE};
use crate::ring::{self, Ring};
use crate::sys::{Pages, Shared, inherited};

/// How long after the lock is looked for writes that come late: well above what the throttle holds back.
const SETTLE: Duration = Duration::from_millis(300);
/// Nothing here takes longer.
const LIMIT: Duration = Duration::from_secs(60);

/// What was seen. Times are milliseconds after the kill.
pub(crate) struct Observation {
    /// Blocks that are new in the end.
    pub(crate) landed: usize,
    /// Blocks that were still old when the pidfd had said the end, and new later.
    pub(crate) after_exit: usize,
    /// Blocks that were still old when the lock was had, and new later.
    pub(crate) after_lock: usize,
    /// When the pidfd said that the process had ended.
    pub(crate) exit_ms: f64,
    /// When the lock was had.
    pub(crate) lock_ms: f64,
    /// What the keeper's ring said of the writes, if the keeper had one.
    pub(crate) completed: Option<Completed>,
}

/// What the keeper's ring said.
pub(crate) struct Completed {
    /// Writes whose completion said that all of it was written.
    pub(crate) whole: usize,
    /// Writes whose completion and whose block differ: said to be written and not there, or the reverse.
    pub(crate) wrong: usize,
}

pub(crate) fn round(
    directory: &Path,
    engine: Engine,
    throttle: Option<&Throttle>,
) -> Result<Observation, String> {
    let path = directory.join("fence.img");
    let file = zeroed(&path)?;
    let kept = if engine == Engine::RingKept { Some(Kept::new()?) } else { None };
    let (mut child, pidfd) = writer(engine, &path, kept.as_ref(), throttle)?;
    let start = Instant::now();
    let ended = child.kill().map_err(|error| error.to_string()).and_then(|()| wait_for(&pidfd));
    let exit_ms = milliseconds(start);
    let at_exit = landed(&file);
    let _ = child.wait();
    ended?;
    if let Some(kept) = &kept {
        kept.wait(start)?;
    }
    wait_for_lock(&file, start)?;
    let lock_ms = milliseconds(start);
    let at_lock = landed(&file)?;
    thread::sleep(SETTLE);
    let at_end = landed(&file)?;
    let late =
        |before: &[bool]| before.iter().zip(&at_end).filter(|(before, end)| !**before && **end).count();
    Ok(Observation {
        landed: at_end.iter().filter(|new| **new).count(),
        after_exit: late(&at_exit?),
        after_lock: late(&at_lock),
        exit_ms,
        lock_ms,
        completed: kept.map(|kept| kept.compare(&at_end)),
    })
}

/// A ring that outlives the writer.
struct Kept {
    file: OwnedFd,
    memory: OwnedFd,
    ring: Ring,
}

impl Kept {
    fn new() -> Result<Self, String> {
        let text = |errno: rustix::io::Errno| errno.to_string();
        let (ring, parameters) = ring::make(BLOCKS.next_power_of_two() as u32)?;
        let memory = memfd_create("parameters", MemfdFlags::empty()).map_err(text)?;
        ftruncate(&memory, SIZE as u64).map_err(text)?;
        Shared::map(&memory, 0, SIZE)?.store(RING, parameters);
        // Inherited by the writer: `dup` clears close-on-exec.
        let file = dup(&ring).map_err(text)?;
        let ring = Ring::map(inherited(file.as_raw_fd()), parameters)?;
        Ok(Self { file, memory, ring })
    }

    fn wait(&self, start: Instant) -> Result<(), String> {
        while self.ring.completions().len() < BLOCKS {
            if start.elapsed() > LIMIT {
                return Err(format!("only {} completions of {BLOCKS}", self.ring.completions().len()));
            }
            thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    }

    fn compare(&self, landed: &[bool]) -> Completed {
        let all = self.ring.completions();
        let whole = |number: usize| {
            all.iter().any(|(entry, result)| *entry == number as u64 && *result == BLOCK as i32)
        };
        Completed {
            whole: (0..BLOCKS).filter(|number| whole(*number)).count(),
            wrong: (0..BLOCKS).filter(|number| whole(*number) != landed[*number]).count(),
        }
    }
}

fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

/// A file of zeroes that are on the disk, so that a write needs no new blocks.
fn zeroed(path: &PathBuf) -> Result<File, String> {
    let text = |error: std::io::Error| error.to_string();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags(libc::O_DIRECT)
        .open(path)
        .map_err(text)?;
    let zero = Pages::new(BLOCK)?;
    for index in 0..BLOCKS {
        file.write_all_at(zero.slice(0, BLOCK), (index * BLOCK) as u64).map_err(text)?;
    }
    file.sync_all().map_err(text)?;
    Ok(file)
}

fn writer(
    engine: Engine,
    path: &Path,
    kept: Option<&Kept>,
    throttle: Option<&Throttle>,
) -> Result<(Child, OwnedFd), String> {
    let text = |error: std::io::Error| error.to_string();
    let mut child = Command::new(std::env::current_exe().map_err(text)?)
        .arg("writer")
        .arg(engine.name())
        .arg(path)
        .args(kept.iter().flat_map(|kept| [&kept.file, &kept.memory]).map(|fd| fd.as_raw_fd().to_string()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(text)?;
    let started = start(&mut child, throttle);
    if started.is_err() {
        let _ = child.kill();
        let _ = child.wait();
    }
    started.map(|pidfd| (child, pidfd))
}

fn start(child: &mut Child, throttle: Option<&Throttle>) -> Result<OwnedFd, String> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or("no pid")?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(|errno| errno.to_string())?;
    let mut out = BufReader::new(child.stdout.take().ok_or("no pipe")?);
    expect(&mut out, "ready")?;
    if let Some(throttle) = throttle {
        throttle.admit(child.id())?;
    }
    child.stdin.as_mut().ok_or("no pipe")?.write_all(b"g").map_err(|error| error.to_string())?;
    expect(&mut out, "queued")?;
    Ok(pidfd)
}

fn expect(out: &mut impl BufRead, word: &str) -> Result<(), String> {
    let mut line = String::new();
    out.read_line(&mut line).map_err(|error| error.to_string())?;
    if line.trim() == word { Ok(()) } else { Err(format!("the writer said {line:?} instead of {word}")) }
}

fn wait_for(pidfd: &OwnedFd) -> Result<(), String> {
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    let limit = rustix::time::Timespec { tv_sec: LIMIT.as_secs() as i64, tv_nsec: 0 };
    match poll(&mut fds, Some(&limit)) {
        Ok(0) => Err("the killed writer does not end".to_owned()),
        Ok(_) => Ok(()),
        Err(errno) => Err(errno.to_string()),
    }
}

fn wait_for_lock(file: &File, start: Instant) -> Result<(), String> {
    while flock(file.as_fd(), FlockOperation::NonBlockingLockExclusive).is_err() {
        if start.elapsed() > LIMIT {
            return Err("the lock of the killed writer is never free".to_owned());
        }
        thread::sleep(Duration::from_micros(200));
    }
    Ok(())
}

/// Which blocks are new, by their last 4 KiB: a block is written front to back or not at all.
fn landed(file: &File) -> Result<Vec<bool>, String> {
    let pages = Pages::new(4096)?;
    let mut all = Vec::new();
    for index in 0..BLOCKS {
        let offset = ((index + 1) * BLOCK - 4096) as u64;
        all.push(pages.read(file, offset)? == MARK);
    }
    Ok(all)
}
