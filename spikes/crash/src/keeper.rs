//! The keeper: holds everything that must outlive a server, and starts the next one when one has died.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::io::{dup, ioctl_fionread};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::client::{Client, Server, Verdict};
use crate::journal::{Journal, RING, SIZE};
use crate::message::{read, script};
use crate::point::Points;
use crate::ring;
use crate::server::{CONFUSED, Candidate};
use crate::sys::{peek_offset, set_peek_offset};

/// No test of the spike takes longer without a defect.
const LIMIT: Duration = Duration::from_secs(20);

/// What outlives a server: duplicates of its socket, its memory, its pipe and its ring.
struct Kept {
    candidate: Candidate,
    chunk: usize,
    socket: OwnedFd,
    memory: OwnedFd,
    pipe: (OwnedFd, OwnedFd),
    ring: OwnedFd,
    journal: Journal,
    confused: AtomicBool,
    /// Process id of the server at work; 0: none.
    server: AtomicU32,
    over: AtomicBool,
}

impl Kept {
    fn new(candidate: Candidate, chunk: usize) -> Result<(Self, Client), String> {
        let text = |errno: rustix::io::Errno| errno.to_string();
        let (client, server) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).map_err(text)?;
        if candidate.peeks() {
            set_peek_offset(server.as_fd(), 0).map_err(|error| error.to_string())?;
        }
        let memory = memfd_create("journal", MemfdFlags::CLOEXEC).map_err(text)?;
        ftruncate(&memory, SIZE as u64).map_err(text)?;
        let journal = Journal::open(&memory)?;
        let (ring, parameters) = ring::make(8)?;
        journal.memory().store(RING, parameters);
        let mapped = memfd_create("mapped by the client", MemfdFlags::CLOEXEC).map_err(text)?;
        let client = Client::new(client, File::from(mapped), journal.state());
        let kept = Self {
            candidate,
            chunk,
            // A server inherits what has no close-on-exec flag: `dup` clears it.
            socket: dup(&server).map_err(text)?,
            memory: dup(&memory).map_err(text)?,
            pipe: rustix::pipe::pipe().map_err(text)?,
            ring: dup(&ring).map_err(text)?,
            journal,
            confused: AtomicBool::new(false),
            server: AtomicU32::new(0),
            over: AtomicBool::new(false),
        };
        Ok((kept, client))
    }

    fn start(&self, kill_at: Option<u64>) -> Result<Child, String> {
        let number = |fd: &OwnedFd| fd.as_raw_fd().to_string();
        let child = Command::new(std::env::current_exe().map_err(|error| error.to_string())?)
            .args(["server", self.candidate.name()])
            .args([self.chunk.to_string(), kill_at.unwrap_or(0).to_string()])
            .args([number(&self.socket), number(&self.memory)])
            .args([number(&self.pipe.0), number(&self.pipe.1), number(&self.ring)])
            .spawn()
            .map_err(|error| error.to_string())?;
        self.server.store(child.id(), Ordering::SeqCst);
        Ok(child)
    }

    /// Servers one after the other: each of `kills` ends one at that point, and the last is not killed. True if all of them
    /// came to their point.
    fn keep(&self, kills: &[u64]) -> Result<bool, String> {
        let mut next = kills.iter();
        let mut reached = true;
        loop {
            let at = next.next().copied();
            let mut child = self.start(at)?;
            let status = child.wait().map_err(|error| error.to_string())?;
            self.server.store(0, Ordering::SeqCst);
            match status.code() {
                None => self.journal.set_idle(false),
                Some(CONFUSED) => {
                    self.confused.store(true, Ordering::SeqCst);
                    return Ok(reached);
                }
                Some(0) => {
                    reached &= at.is_none() && next.next().is_none();
                    return Ok(reached);
                }
                Some(code) => return Err(format!("a {} server ended with {code}", self.candidate.name())),
            }
        }
    }

    fn kill(&self) {
        let pid = i32::try_from(self.server.load(Ordering::SeqCst)).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

impl Server for Kept {
    fn is_confused(&self) -> bool {
        self.confused.load(Ordering::SeqCst)
    }

    fn is_idle(&self) -> bool {
        let peeked = if self.candidate.peeks() { peek_offset(self.socket.as_fd()).unwrap_or(0) } else { 0 };
        self.journal.is_idle() && ioctl_fionread(&self.socket).is_ok_and(|queued| queued == peeked as u64)
    }
}

/// How long a candidate's idle server may be silent before its reply is lost. Those that must not lose any get long, so that
/// a busy machine is not taken for a defect.
fn patience(candidate: Candidate) -> Duration {
    if candidate.is_exact() { LIMIT / 4 } else { Duration::from_millis(25) }
}

/// Plays the exchange once with servers killed at `kills`. `None`: they did not all come to their point.
///
/// # Errors
/// The experiment itself fails.
pub(crate) fn exchange(candidate: Candidate, chunk: usize, kills: &[u64]) -> Result<Option<Verdict>, String> {
    let (kept, mut client) = Kept::new(candidate, chunk)?;
    thread::scope(|scope| {
        let keeper = scope.spawn(|| kept.keep(kills));
        let verdict = client.play(&script(1), &kept, patience(candidate));
        // The servers see the end of the connection and stop.
        drop(client);
        let reached = keeper.join().map_err(|_| "the keeper panicked".to_owned())??;
        Ok(reached.then_some(verdict?))
    })
}

/// Plays exchanges while servers are killed from outside at random moments; the verdict, and how many died.
///
/// # Errors
/// The experiment itself fails.
pub(crate) fn storm(candidate: Candidate, seed: u64, exchanges: u16) -> Result<(Verdict, u32), String> {
    let (kept, mut client) = Kept::new(candidate, usize::MAX)?;
    let killed = AtomicU32::new(0);
    thread::scope(|scope| {
        let keeper = scope.spawn(|| kept.keep(&[]));
        scope.spawn(|| {
            let mut random = fastrand::Rng::with_seed(seed);
            while !kept.over.load(Ordering::SeqCst) {
                let until = Instant::now() + Duration::from_micros(random.u64(0..4000));
                while Instant::now() < until {
                    std::hint::spin_loop();
                }
                if !kept.over.load(Ordering::SeqCst) && kept.server.load(Ordering::SeqCst) != 0 {
                    kept.kill();
                    killed.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        let mut verdict = Ok(Verdict::Ok);
        for index in 0..exchanges {
            verdict = client.play(&script(index.wrapping_mul(8).wrapping_add(1)), &kept, patience(candidate));
            if verdict != Ok(Verdict::Ok) {
                break;
            }
        }
        kept.over.store(true, Ordering::SeqCst);
        drop(client);
        keeper.join().map_err(|_| "the keeper panicked".to_owned())??;
        Ok((verdict?, killed.load(Ordering::SeqCst)))
    })
}

/// Points that a server passes in the exchange when nobody dies.
///
/// # Errors
/// The experiment itself fails.
pub(crate) fn count_points(candidate: Candidate, chunk: usize) -> Result<u64, String> {
    // The first point that no server reaches, between a power of two that one does reach and the next.
    let reached = |at: u64| exchange(candidate, chunk, &[at]).map(|verdict| verdict.is_some());
    let mut above = 1;
    while reached(above)? {
        above *= 2;
    }
    let mut below = above / 2;
    while below + 1 < above {
        let middle = u64::midpoint(below, above);
        if reached(middle)? { below = middle } else { above = middle }
    }
    Ok(below)
}

/// Microseconds of one read and its reply, client and server on one CPU: the median of `rounds` of 500.
///
/// # Errors
/// The experiment itself fails.
pub(crate) fn cost(candidate: Candidate, rounds: usize) -> Result<f64, String> {
    let (kept, mut client) = Kept::new(candidate, usize::MAX)?;
    let mut one = CpuSet::new();
    one.set(0);
    thread::scope(|scope| {
        // Inherited by the server and its parent thread.
        let keeper = scope.spawn(|| {
            let _ = sched_setaffinity(None, &one);
            kept.keep(&[])
        });
        let client = scope.spawn(move || {
            let _ = sched_setaffinity(None, &one);
            let request = read(1, 0);
            let mut all = Vec::new();
            for _ in 0..rounds {
                let start = Instant::now();
                for _ in 0..500 {
                    client.round_trip(&request)?;
                }
                all.push(start.elapsed().as_secs_f64() * 1e6 / 500.0);
            }
            all.sort_by(f64::total_cmp);
            Ok::<f64, String>(all[all.len() / 2])
        });
        let result = client.join().map_err(|_| "the client panicked".to_owned())?;
        keeper.join().map_err(|_| "the keeper panicked".to_owned())??;
        result
    })
}

/// Ready to be used by [`crate::server::Server`] in the process that is started.
///
/// # Errors
/// The journal cannot be mapped.
pub(crate) fn take_over(
    (candidate, chunk, kill_at): (Candidate, usize, u64),
    [socket, memory, out, into, ring]: [i32; 5],
) -> Result<crate::server::Server, String> {
    use crate::sys::inherited;
    let journal = Journal::open(inherited(memory))?;
    let ring = if candidate == Candidate::Ring {
        Some(ring::Ring::map(inherited(ring), journal.memory().load(RING))?)
    } else {
        None
    };
    Ok(crate::server::Server {
        candidate,
        chunk,
        inherited: crate::server::Inherited {
            socket: inherited(socket),
            pipe: (inherited(out), inherited(into)),
            ring,
        },
        journal,
        points: Points::new((kill_at > 0).then_some(kill_at)),
    })
}
