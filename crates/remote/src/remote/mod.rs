//! A function whose device is another server: everything put together.
//!
//! [`Remote::open`] connects to the back end, makes the function in front of it, and starts a thread (`remote-NAME`) that keeps the
//! back end's life ([`crate::life`]) until [`Remote::close`]. The parts:
//!
//! * `supervisor`: the thread: what the life says is carried out, and what came of it is fed back;
//! * `front`: what stands between consumer and back end: `replayed` for mode `replay`, `forwarded` for the others;
//! * `shared`: what the thread shares with everybody else; `served`: whom the back end asks for memory;
//! * [`Watch`], [`Status`], [`OpenError`]: what others are told.
//!
//! What this module does **not** do: it takes no function out of anywhere. When the back end is given up its owner is told, and the
//! function goes on answering as it does while the back end is away.
//!
//! # Concurrency
//! The thread holds nothing while it waits or calls anybody. What it does in the name of a connection ends when that is cut, so
//! `close` ends it in whatever it does, but for connecting, which has its limit. Its life is its own; what others are shown is behind one leaf (rank 105).

mod error;
mod forwarded;
mod front;
mod old_servers;
mod place;
mod replayed;
mod served;
mod shared;
mod status;
mod supervisor;
mod watch;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use assign::{Assignment, EventSink};
use gate::lock::Leaf;
use gate::waits::Waiting;
use gate::{Deadline, Gate, ThreadToken};
use pci_core::Function;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

pub use error::OpenError;
pub use status::Status;
pub use watch::{Told, Watch};

use crate::config::{Mode, RemoteConfig};
use crate::fence::OldServer;
use crate::inject::{BackEnd, BackEndError};
use crate::life::{Life, Rules};
use crate::link::{Link, LinkError, LinkOptions};
use crate::ranks;
use crate::restart::Restarter;
use forwarded::ForwardFront;
use front::Front;
use old_servers::OldServers;
use place::Place;
use replayed::ReplayFront;
use served::Served;
use shared::{Clock, Shared};
use supervisor::{Supervisor, server_of};

/// How soon the first connection is tried again.
const FIRST_RETRY: Duration = Duration::from_millis(20);

/// A function's back end, over all its servers.
pub struct Remote {
    config: RemoteConfig,
    shared: Arc<Shared>,
    front: Arc<dyn Front>,
    /// Hangs up when the thread has ended.
    ended: OwnedFd,
    /// Rank: 105, back end's life; a leaf, held to take it.
    thread: Leaf<ranks::Life, Option<JoinHandle<()>>>,
}

impl Remote {
    /// Connects to the back end and makes a function of it, behind `gate`. `events` hears of the function, `watch` of the back end;
    /// `placed` sees the function before anybody else does, to put it behind a host bridge.
    ///
    /// A back end must come within `connect_timeout`: what the function is depends on it.
    ///
    /// # Errors
    /// [`OpenError`]. Nothing is left then.
    pub fn open(
        token: &mut ThreadToken,
        config: &RemoteConfig,
        gate: Gate,
        events: Arc<dyn EventSink>,
        watch: Arc<dyn Watch>,
        placed: impl FnOnce(Function) -> Function,
    ) -> Result<(Arc<Assignment>, Arc<Remote>), OpenError> {
        let name = gate.name().to_owned();
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        let life = Life::new(Rules::new(config, hasher.finish()));
        let shared = Arc::new(Shared::new(life.state().name())?);
        let served = Arc::new(Served::default());
        let link = first_link(token, config, &shared, &served)?;
        let server = Arc::new(server_of(&link).ok_or(Errno::MFILE)?);
        let place = Place { gate, events, placed };
        // Before anything refers to anything: what can fail.
        let old = Arc::new(OldServer::never()?);
        let (assignment, front) = match config.mode {
            Mode::Replay => {
                let (assignment, front) = ReplayFront::open(token, config, &link, &server, served, place)?;
                (assignment, Arc::new(front) as Arc<dyn Front>)
            }
            Mode::Passthrough | Mode::Reset => {
                let (assignment, front) = ForwardFront::open(token, config, &link, &server, served, place)?;
                (assignment, Arc::new(front) as Arc<dyn Front>)
            }
        };
        let supervisor = Supervisor {
            name,
            config: config.clone(),
            shared: Arc::clone(&shared),
            watch,
            front: Arc::clone(&front),
            life,
            clock: Clock::new(),
            restarter: config.restart.clone().map(Restarter::new),
            old: OldServers::new(old),
            server,
            replayed: front::Replayed::default(),
        };
        shared.connected(&link, supervisor.server.pid());
        match start(supervisor) {
            Ok((ended, thread)) => {
                let thread = Leaf::new(Some(thread));
                let remote = Remote { config: config.clone(), shared, front, ended, thread };
                Ok((assignment, Arc::new(remote)))
            }
            Err(errno) => {
                front.detach(token);
                drop(shared.take_link());
                Err(errno.into())
            }
        }
    }

    /// A look at the back end.
    #[must_use]
    pub fn status(&self) -> Status {
        let record = self.shared.record(|record| record.clone());
        Status {
            upstream: self.config.upstream.clone(),
            mode: self.config.mode,
            state: record.state,
            since: record.entered.elapsed(),
            pid: record.pid,
            attempts: record.attempts,
            losses: record.losses,
            last_loss: record.last_loss,
            last_pause: record.last_pause,
            replayed: record.replayed,
            refused: record.refused,
            in_flight: self.front.in_flight(),
            left_out: self.front.left_out(),
        }
    }

    /// Has the next attempt to reconnect made now.
    pub fn retry_now(&self) {
        self.shared.retry();
    }

    /// Lets the back end go, whatever is under way there, and waits for the thread. False: it has not ended at the deadline; it
    /// will, by itself. The function is to be revoked before: what it has in flight is not waited for.
    pub fn close(&self, token: &mut ThreadToken, deadline: Deadline) -> bool {
        self.shared.close();
        let _waiting = Waiting::new(token, "close", None, "the back end's thread");
        while let Some(left) = deadline.remaining() {
            let timeout = Timespec::try_from(left).ok();
            let ended = poll(&mut [PollFd::new(&self.ended, PollFlags::IN)], timeout.as_ref());
            match ended {
                Ok(count) if count > 0 => {
                    let thread = self.thread.lock().take();
                    if let Some(thread) = thread {
                        // It has let go of everything, and of the pipe last.
                        let _ = thread.join();
                    }
                    return true;
                }
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return false,
            }
        }
        false
    }
}

impl Drop for Remote {
    /// The thread ends by itself.
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote").field("upstream", &self.config.upstream).finish_non_exhaustive()
    }
}

impl BackEnd for Remote {
    fn desync(&self) -> Result<(), BackEndError> {
        BackEnd::desync(&*self.shared.link().ok_or(BackEndError::Away)?)
    }

    fn hang(&self) -> Result<(), BackEndError> {
        BackEnd::hang(&*self.shared.link().ok_or(BackEndError::Away)?)
    }

    fn kill(&self) -> Result<(), BackEndError> {
        BackEnd::kill(&*self.shared.link().ok_or(BackEndError::Away)?)
    }
}

/// Tries to connect until there is somebody, or `connect_timeout` has passed.
fn first_link(
    token: &mut ThreadToken,
    config: &RemoteConfig,
    shared: &Arc<Shared>,
    served: &Arc<Served>,
) -> Result<Arc<Link>, OpenError> {
    let deadline = Deadline::after(config.connect_timeout);
    loop {
        let options = LinkOptions {
            connect_timeout: deadline.remaining().unwrap_or_default(),
            reply_timeout: config.hang_limit,
            ..LinkOptions::default()
        };
        let commands = Arc::clone(served) as _;
        match Link::connect(token, &config.upstream, options, commands, shared.next_link()) {
            Ok(link) => return Ok(link),
            // Busy: it has not noticed yet that its last client has left.
            Err(LinkError::Connect { .. } | LinkError::Refused { errno: Errno::BUSY, .. })
                if deadline.remaining().is_some_and(|left| left > FIRST_RETRY) =>
            {
                let _nothing = shared.wait(token, Deadline::after(FIRST_RETRY));
            }
            Err(error) => return Err(OpenError::Connect { path: config.upstream.clone(), error }),
        }
    }
}

fn start(supervisor: Supervisor) -> Result<(OwnedFd, JoinHandle<()>), Errno> {
    let (ended, running) = pipe_with(PipeFlags::CLOEXEC)?;
    let thread = std::thread::Builder::new()
        .name(format!("remote-{}", supervisor.name))
        .spawn(move || {
            let _running = running;
            supervisor.run(&mut ThreadToken::at_thread_entry());
        })
        .map_err(|_| Errno::AGAIN)?;
    Ok((ended, thread))
}
