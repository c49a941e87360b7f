//! What the callers of a link and its keeper share: the connection, its end, and how a turn with it goes.

use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gate::{Deadline, ThreadToken};
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use vfio_user::client::Client;
use vfio_user::codec::Command;

use super::turn::{NoTurn, Turn};
use super::{LinkError, LinkWatch, Loss};

/// The parts of a link that its keeper needs too.
pub(super) struct Shared {
    turn: Turn<Client>,
    /// Another descriptor of the connection's socket: to shut it down, and to look at it.
    pub(super) socket: UnixStream,
    /// Wakes the keeper.
    pub(super) bell: OwnedFd,
    /// Calls that waited for a reply, so far: while it grows there is nothing for the keeper to look for.
    calls: AtomicU64,
    pub(super) reply_timeout: Duration,
    /// Replies are not taken any more; see [`super::Link::hang`].
    hangs: AtomicBool,
    loss: OnceLock<Loss>,
}

impl Shared {
    pub(super) fn new(
        client: Client,
        watch: Arc<dyn LinkWatch>,
        socket: UnixStream,
        reply_timeout: Duration,
    ) -> Result<Shared, Errno> {
        Ok(Shared {
            turn: Turn::new(client, watch),
            socket,
            bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            calls: AtomicU64::new(0),
            reply_timeout,
            hangs: AtomicBool::new(false),
            loss: OnceLock::new(),
        })
    }

    /// How the link ended, if it has.
    pub(super) fn loss(&self) -> Option<Loss> {
        self.loss.get().copied()
    }

    /// The link is lost, and everybody inside returns. The first to say so is believed, and tells. Gives what is believed.
    pub(super) fn lose(&self, loss: Loss) -> Loss {
        match self.end(loss) {
            Some(watch) => watch.lost(loss),
            None => return self.loss().unwrap_or(loss),
        }
        loss
    }

    /// The same, and who is to be told is not; nobody if somebody has said so before.
    pub(super) fn end(&self, loss: Loss) -> Option<Arc<dyn LinkWatch>> {
        self.loss.set(loss).ok()?;
        // A failure means that it is over already.
        let _ = self.socket.shutdown(Shutdown::Both);
        let watch = self.turn.end();
        self.ring();
        watch
    }

    /// Has the keeper look.
    pub(super) fn ring(&self) {
        // It fails only when the counter is full of rings that the keeper has not heard yet.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }

    /// The connection for a call of `command`, before the deadline. It goes to [`Shared::turn_with`] next.
    pub(super) fn take(
        &self,
        token: &mut ThreadToken,
        command: Command,
        deadline: Deadline,
    ) -> Result<Box<Client>, LinkError> {
        if self.hangs() {
            self.turn.wait_for_end(token, deadline);
            return Err(self.lose(Loss::Hung { command }).into());
        }
        self.turn.take(token, deadline).map_err(|none| match none {
            NoTurn::Late => self.lose(Loss::Hung { command }).into(),
            NoTurn::Over => self.loss().unwrap_or(Loss::Closed).into(),
        })
    }

    /// The connection for the keeper, before the deadline.
    pub(super) fn stand_in_line(
        &self,
        token: &mut ThreadToken,
        deadline: Deadline,
    ) -> Result<Box<Client>, NoTurn> {
        self.turn.take(token, deadline)
    }

    /// The connection, if nobody wants it.
    pub(super) fn try_take(&self) -> Option<Box<Client>> {
        self.turn.try_take()
    }

    /// A turn with the connection, which goes to the next when `act` has returned.
    pub(super) fn turn_with<T>(&self, mut client: Box<Client>, act: impl FnOnce(&mut Client) -> T) -> T {
        // If it panics, nobody knows where in the stream.
        let unwinding = Unwinding(self);
        let result = act(&mut client);
        std::mem::forget(unwinding);
        self.turn.give_back(client);
        result
    }

    /// A call that waits for a reply has the connection.
    pub(super) fn count_call(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// Calls that waited for a reply, so far.
    pub(super) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    pub(super) fn hang(&self) {
        self.hangs.store(true, Ordering::Relaxed);
    }

    pub(super) fn hangs(&self) -> bool {
        self.hangs.load(Ordering::Relaxed)
    }
}

/// Loses the link when it is dropped.
struct Unwinding<'a>(&'a Shared);

impl Drop for Unwinding<'_> {
    fn drop(&mut self) {
        self.0.lose(Loss::Cut("a panic on this side"));
    }
}
