//! The process that is killed: queues its writes in one of several ways and waits for the end.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::thread;

use io_uring::{IoUring, opcode, types};
use rustix::fs::{FlockOperation, flock};

use super::{BLOCK, BLOCKS};
use crate::journal::{RING, SIZE};
use crate::ring::Ring;
use crate::sys::{Aio, Pages, Shared, inherited};

/// How a server does its disk I/O.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Engine {
    /// `io_uring`, the file named by its descriptor.
    Ring,
    /// `io_uring`, the file registered with the ring.
    RingFixed,
    /// `io_uring` that the keeper has made and holds.
    RingKept,
    /// `io_submit` (what QEMU and SPDK call Linux AIO).
    Aio,
    /// A thread per write in `pwrite`.
    Threads,
}

impl Engine {
    pub(crate) const ALL: [Self; 5] = [Self::Ring, Self::RingFixed, Self::RingKept, Self::Aio, Self::Threads];

    /// The name in tables, and on the writer's command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            Self::RingFixed => "ring-fixed",
            Self::RingKept => "ring-kept",
            Self::Aio => "aio",
            Self::Threads => "threads",
        }
    }
}

/// Byte that the writer writes; the file is zero before.
pub(crate) const MARK: u8 = 0xA5;

/// Locks the file, waits for a line, queues the writes, says so on standard output, and waits to be killed.
///
/// # Errors
/// The file cannot be opened or locked, or the kernel has no such engine.
pub(crate) fn main(engine: Engine, path: &Path, kept: &[i32]) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    let file =
        OpenOptions::new().read(true).write(true).custom_flags(libc::O_DIRECT).open(path).map_err(text)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|errno| errno.to_string())?;
    let pages = Pages::new(BLOCKS * BLOCK)?;
    pages.fill(MARK);
    say("ready").map_err(text)?;
    let mut go = [0; 1];
    std::io::stdin().read_exact(&mut go).map_err(text)?;
    match engine {
        Engine::Ring => ring(&file, &pages, false)?,
        Engine::RingFixed => ring(&file, &pages, true)?,
        Engine::RingKept => ring_kept(&file, &pages, kept)?,
        Engine::Aio => {
            let aio = Aio::new(BLOCKS)?;
            aio.write_all(&file, &pages, BLOCK)?;
            wait_for_the_end()?;
        }
        Engine::Threads => threads(&file, &pages)?,
    }
    Ok(())
}

fn say(word: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{word}")?;
    out.flush()
}

fn wait_for_the_end() -> Result<(), String> {
    say("queued").map_err(|error| error.to_string())?;
    // Until killed; or until the parent is gone, which closes the pipe.
    let _ = std::io::stdin().read(&mut [0; 1]);
    Ok(())
}

fn ring(file: &File, pages: &Pages, fixed: bool) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    let mut ring = IoUring::new(BLOCKS as u32).map_err(text)?;
    if fixed {
        ring.submitter().register_files(&[file.as_raw_fd()]).map_err(text)?;
    }
    for index in 0..BLOCKS {
        let (address, offset) = (pages.at(index * BLOCK), (index * BLOCK) as u64);
        let entry = if fixed {
            opcode::Write::new(types::Fixed(0), address, BLOCK as u32).offset(offset).build()
        } else {
            opcode::Write::new(types::Fd(file.as_raw_fd()), address, BLOCK as u32).offset(offset).build()
        };
        crate::sys::push(&mut ring, &entry)?;
    }
    ring.submit().map_err(text)?;
    wait_for_the_end()
}

fn ring_kept(file: &File, pages: &Pages, kept: &[i32]) -> Result<(), String> {
    let [ring, memory] = kept else { return Err("no ring was handed over".to_owned()) };
    let parameters = Shared::map(inherited(*memory), 0, SIZE)?.load(RING);
    let ring = Ring::map(inherited(*ring), parameters)?;
    let pieces: Vec<_> = (0..BLOCKS)
        .map(|index| (pages.at(index * BLOCK).addr() as u64, BLOCK as u32, (index * BLOCK) as u64))
        .collect();
    ring.write_all(file.as_fd(), &pieces).map_err(|error| error.to_string())?;
    wait_for_the_end()
}

fn threads(file: &File, pages: &Pages) -> Result<(), String> {
    thread::scope(|scope| {
        for index in 0..BLOCKS {
            let piece = pages.slice(index * BLOCK, BLOCK);
            scope.spawn(move || file.write_all_at(piece, (index * BLOCK) as u64));
        }
        wait_for_the_end()
    })
}
