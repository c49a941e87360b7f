//! A session on a thread of its own, which exists only while there is a client.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, Scope, ScopedJoinHandle};

use gate::ThreadToken;
use gate::waits::Waiting;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::write;
use rustix::net::{Shutdown, shutdown};

use super::door::{Door, FunctionSeat};
use super::listener::Server;
use super::{Session, SessionReport};

/// The session that a server runs.
pub(super) struct Active<'scope> {
    /// The function that it was started for.
    seat: Arc<FunctionSeat>,
    name: Arc<str>,
    stream: UnixStream,
    thread: ScopedJoinHandle<'scope, SessionReport>,
    ended: Arc<AtomicBool>,
}

/// Says that a session has ended, also when it panicked.
struct Notify<'env> {
    door: &'env Door,
    seat: Arc<FunctionSeat>,
    ended: Arc<AtomicBool>,
    event: OwnedFd,
}

impl Drop for Notify<'_> {
    fn drop(&mut self) {
        // Before the place is given to the next one.
        self.door.left(&self.seat);
        self.ended.store(true, Ordering::Release);
        let _ = write(self.event.as_fd(), &1u64.to_ne_bytes());
    }
}

impl<'scope> Active<'scope> {
    /// Gives a client its session for the function of `seat`; `event` is written when it has ended. `None` when there is no thread for it; the
    /// client is dropped then.
    pub(super) fn start<'env>(
        scope: &'scope Scope<'scope, 'env>,
        server: &'env Server,
        seat: Arc<FunctionSeat>,
        stream: UnixStream,
        event: &OwnedFd,
    ) -> Option<Active<'scope>> {
        let Server { door, options, .. } = server;
        let session = move |stream, notify: Notify<'_>| {
            let mut token = ThreadToken::at_thread_entry();
            let report = Session::run_at(stream, door, &notify.seat, &options.session, &mut token);
            drop(notify);
            report
        };
        let name = server.name();
        let started = stream.try_clone().and_then(|copy| {
            let (ended, event) = (Arc::new(AtomicBool::new(false)), event.try_clone()?);
            let notify = Notify { door, seat: Arc::clone(&seat), ended: Arc::clone(&ended), event };
            let thread = Builder::new()
                .name(format!("vfio-user {name}"))
                .spawn_scoped(scope, move || session(copy, notify))?;
            Ok((thread, ended))
        });
        match started {
            Ok((thread, ended)) => Some(Active { seat, name, stream, thread, ended }),
            Err(error) => {
                tracing::error!(function = &*name, %error, "a client was dropped: no thread");
                None
            }
        }
    }

    /// Whether it was started for the function of `seat`.
    pub(super) fn is_at(&self, seat: &Arc<FunctionSeat>) -> bool {
        Arc::ptr_eq(&self.seat, seat)
    }

    /// The session is over, and its thread about to be.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// The client has closed its end; its session is ending or about to.
    pub(super) fn has_hung_up(&self) -> bool {
        let mut fds = [PollFd::new(&self.stream, PollFlags::RDHUP)];
        poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    /// Tells the session to end: the request in hand is finished, and the client's memory dropped.
    pub(super) fn end(&self) {
        let _ = shutdown(&self.stream, Shutdown::Both);
    }

    /// Waits for a session that is ending: its own waits are bounded.
    pub(super) fn join(self, token: &mut ThreadToken) {
        let _shown = Waiting::new(token, "end a session", None, "the session's thread");
        let function = &*self.name;
        match self.thread.join() {
            Ok(report) => tracing::info!(function, ?report, "a client left"),
            Err(_) => tracing::error!(function, "a session panicked; the function stays on the socket"),
        }
    }
}
