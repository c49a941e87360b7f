//! Accepts clients, gives one of them a session, and refuses the others.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::thread::{Builder, Scope, ScopedJoinHandle};
use std::time::Duration;

use assign::Assignment;
use gate::ThreadToken;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::{Errno, read, write};
use rustix::net::{Shutdown, SocketFlags, accept_with, shutdown};
use thiserror::Error;

use super::bind::SocketFile;
use super::candidates::Candidates;
use super::{BindError, ServerOptions, Session, SessionReport, Stop};

/// How long accepting pauses when the process has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why a server ended without being told to.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The listening socket or the wait on it failed.
    #[error("the server cannot go on: {0}")]
    System(#[from] Errno),
}

/// A function on a socket.
pub struct Server {
    socket: SocketFile,
    assignment: Arc<Assignment>,
    options: ServerOptions,
}

impl Server {
    /// Makes the socket, with mode 0600: `path`, or `cntrl` in it when it is a directory. Clients can connect from
    /// now on; they are served by [`Server::run`]. The file is removed when the server is dropped.
    ///
    /// # Errors
    /// Another server lives on the socket, or it cannot be made.
    pub fn bind(
        path: impl AsRef<Path>,
        assignment: Arc<Assignment>,
        options: ServerOptions,
    ) -> Result<Server, BindError> {
        Ok(Server { socket: SocketFile::bind(path.as_ref())?, assignment, options })
    }

    /// Where clients find it.
    pub fn path(&self) -> &Path {
        self.socket.path()
    }

    /// Serves clients, one after the other, until `stop` is thrown. Then the session that runs is ended: the
    /// request in hand is finished, the client's memory is dropped, and this returns.
    ///
    /// # Errors
    /// The listening socket failed.
    pub fn run(&self, token: &mut ThreadToken, stop: &Stop) -> Result<(), ServeError> {
        let ended = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        std::thread::scope(|scope| {
            let mut candidates = Candidates::new(self.options.refusal_timeout);
            let mut active: Option<Active<'_>> = None;
            let mut accepting = true;
            let outcome = loop {
                let ready = match self.wait(token, stop, &ended, &candidates, accepting) {
                    Ok(ready) => ready,
                    Err(errno) => break Err(errno.into()),
                };
                if ready.stop {
                    break Ok(());
                }
                if ready.ended {
                    let _ = read(&ended, &mut [0; 8]);
                    if let Some(active) = active.take() {
                        self.join(active, token);
                    }
                }
                accepting = match self.accept(&mut candidates) {
                    Ok(()) => true,
                    Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => false,
                    Err(errno) => break Err(errno.into()),
                };
                match &active {
                    Some(active) => candidates.refuse(active.has_hung_up()),
                    None => {
                        active = candidates.promote().and_then(|stream| self.start(scope, stream, &ended));
                    }
                }
            };
            if let Some(active) = active.take() {
                let _ = shutdown(&active.stream, Shutdown::Both);
                self.join(active, token);
            }
            outcome
        })
    }

    /// Waits until something is to be done.
    fn wait(
        &self,
        _token: &mut ThreadToken,
        stop: &Stop,
        ended: &OwnedFd,
        candidates: &Candidates,
        accepting: bool,
    ) -> Result<Ready, Errno> {
        let input = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
        let mut watched = vec![input(stop.as_fd()), input(ended.as_fd())];
        let mut patience = candidates.patience();
        if accepting {
            watched.push(input(self.socket.listener.as_fd()));
        } else {
            patience = Some(patience.map_or(ACCEPT_PAUSE, |patience| patience.min(ACCEPT_PAUSE)));
        }
        watched.extend(candidates.watched().map(input));
        let timeout = patience.map(Timespec::try_from).transpose().map_err(|_| Errno::INVAL)?;
        match poll(&mut watched, timeout.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(Ready::default()),
            Err(errno) => return Err(errno),
        }
        let ready = |index: usize| watched.get(index).is_some_and(|fd| !fd.revents().is_empty());
        Ok(Ready { stop: ready(0), ended: ready(1) })
    }

    /// Takes every connection that waits.
    fn accept(&self, candidates: &mut Candidates) -> Result<(), Errno> {
        loop {
            match accept_with(&self.socket.listener, SocketFlags::CLOEXEC) {
                Ok(stream) => candidates.add(UnixStream::from(stream)),
                Err(Errno::AGAIN) => return Ok(()),
                // The client changed its mind.
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Gives a client its session. `None` when there is no thread for it; the client is dropped then.
    fn start<'scope, 'env>(
        &'env self,
        scope: &'scope Scope<'scope, 'env>,
        stream: UnixStream,
        ended: &OwnedFd,
    ) -> Option<Active<'scope>> {
        let name = self.assignment.function().name().to_owned();
        let session = move |stream, notify: Notify| {
            let mut token = ThreadToken::at_thread_entry();
            let report = Session::run(stream, &self.assignment, &self.options.session, &mut token);
            drop(notify);
            report
        };
        let started = stream.try_clone().and_then(|copy| {
            let notify = Notify(ended.try_clone()?);
            let thread = Builder::new()
                .name(format!("vfio-user {name}"))
                .spawn_scoped(scope, move || session(copy, notify))?;
            Ok(Active { stream, thread })
        });
        match started {
            Ok(active) => Some(active),
            Err(error) => {
                tracing::error!(function = %self.assignment.function().name(), %error, "a client was dropped: no thread");
                None
            }
        }
    }

    /// Waits for a session that is ending: its own waits are bounded.
    fn join(&self, active: Active<'_>, _token: &mut ThreadToken) {
        let function = self.assignment.function().name();
        match active.thread.join() {
            Ok(report) => tracing::info!(%function, ?report, "a client left"),
            Err(_) => tracing::error!(%function, "a session panicked; the function stays on the socket"),
        }
    }
}

#[derive(Default)]
struct Ready {
    stop: bool,
    ended: bool,
}

/// The session that runs.
struct Active<'scope> {
    stream: UnixStream,
    thread: ScopedJoinHandle<'scope, SessionReport>,
}

impl Active<'_> {
    /// The client has closed its end; its session is ending or about to.
    fn has_hung_up(&self) -> bool {
        let mut fds = [PollFd::new(&self.stream, PollFlags::RDHUP)];
        poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }
}

/// Says that a session has ended, also when it panicked.
struct Notify(OwnedFd);

impl Drop for Notify {
    fn drop(&mut self) {
        let _ = write(self.0.as_fd(), &1u64.to_ne_bytes());
    }
}
