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

use super::listener::Server;
use super::{Session, SessionReport};

/// The session that a server runs.
pub(super) struct Active<'scope> {
    stream: UnixStream,
    thread: ScopedJoinHandle<'scope, SessionReport>,
    ended: Arc<AtomicBool>,
}

/// Says that a session has ended, also when it panicked.
struct Notify {
    ended: Arc<AtomicBool>,
    event: OwnedFd,
}

impl Drop for Notify {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        let _ = write(self.event.as_fd(), &1u64.to_ne_bytes());
    }
}

impl<'scope> Active<'scope> {
    /// Gives a client its session; `event` is written when it has ended. `None` when there is no thread for it; the
    /// client is dropped then.
    pub(super) fn start<'env>(
        scope: &'scope Scope<'scope, 'env>,
        server: &'env Server,
        stream: UnixStream,
        event: &OwnedFd,
    ) -> Option<Active<'scope>> {
        let session = move |stream, notify: Notify| {
            let mut token = ThreadToken::at_thread_entry();
            let report = Session::run(stream, &server.assignment, &server.options.session, &mut token);
            drop(notify);
            report
        };
        let started = stream.try_clone().and_then(|copy| {
            let ended = Arc::new(AtomicBool::new(false));
            let notify = Notify { ended: Arc::clone(&ended), event: event.try_clone()? };
            let thread = Builder::new()
                .name(format!("vfio-user {}", server.function_name()))
                .spawn_scoped(scope, move || session(copy, notify))?;
            Ok(Active { stream, thread, ended })
        });
        started
            .inspect_err(|error| {
                tracing::error!(function = server.function_name(), %error, "a client was dropped: no thread");
            })
            .ok()
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
    pub(super) fn join(self, server: &Server, token: &mut ThreadToken) {
        let _shown = Waiting::new(token, "end a session", None, "the session's thread");
        let function = server.function_name();
        match self.thread.join() {
            Ok(report) => tracing::info!(function, ?report, "a client left"),
            Err(_) => tracing::error!(function, "a session panicked; the function stays on the socket"),
        }
    }
}
