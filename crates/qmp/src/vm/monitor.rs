//! One machine's monitor, shared by everybody who plugs or unplugs there.
//!
//! QEMU serves one client at a time on a monitor, so there is one connection, and it is there only while somebody has
//! something to do: between operations the monitor is free for other tools, and a QEMU that was restarted is met by a new
//! connection without further ado.
//!
//! # Concurrency
//! The connection lies in a *seat*, or is out with the one thread that uses it (a [`Lease`]). It is never used under the
//! lock. Who has a command takes it as soon as it is there. Who waits for an event takes it too, reads for a moment, and
//! puts it back, so that somebody reads as long as somebody waits; with a command waiting, readers stay away. What was read
//! about devices becomes [`News`], which all look at. So two slots of one machine are unplugged at the same time, and
//! neither waits for the other's guest.

use super::news::{Mark, News, What};
use crate::client::Qmp;
use crate::error::QmpError;
use crate::ranks;
use crate::socket::{self, CANCEL_LOOK, Failure};
use gate::lock::{Condvar, Leaf, LeafGuard};
use gate::waits::Waiting;
use gate::{Deadline, ThreadToken};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long one who waits for an event reads before others have their turn.
const READ: Duration = CANCEL_LOOK;

/// The monitor of one machine.
pub(super) struct Monitor {
    path: PathBuf,
    /// Rank: 94, QEMU monitor; a leaf. The connection, who wants it and what it said change together.
    state: Leaf<ranks::Monitor, State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    seat: Seat,
    /// Operations under way; the last one closes the connection.
    operations: usize,
    /// Threads that wait for the seat to send a command.
    commands: usize,
    /// Connections made so far.
    connections: u64,
    news: News,
}

#[derive(Default)]
enum Seat {
    /// There is no connection.
    #[default]
    Empty,
    /// A thread has it, or is connecting.
    Taken,
    /// Nobody uses it.
    Free(Box<Qmp>),
}

/// What one who waited has heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// News of the device.
    News(What, Mark),
    /// The connection was lost, or it is another one: what was said meanwhile nobody knows.
    Lost,
    /// Nothing until the deadline.
    Nothing,
    /// The thread was cancelled.
    Cancelled,
}

/// A place in what a monitor says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Since {
    connection: u64,
    pub(super) news: Mark,
}

impl Monitor {
    pub(super) fn new(path: PathBuf) -> Monitor {
        Monitor { path, state: Leaf::new(State::default()), changed: Condvar::new() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Begins an operation: the connection is kept until it is dropped.
    pub(super) fn operation(&self) -> Operation<'_> {
        self.state.lock().operations += 1;
        Operation { monitor: self }
    }

    /// Waits for the seat, and takes what is on it; `None`: there was no connection, and it is for the caller to make one.
    fn take_seat(&self, token: &mut ThreadToken, deadline: Deadline) -> Result<Option<Box<Qmp>>, Failure> {
        let _waiting = Waiting::new(token, "run a monitor command", None, "the monitor's connection");
        let mut state = self.state.lock();
        loop {
            match std::mem::replace(&mut state.seat, Seat::Taken) {
                Seat::Free(qmp) => return Ok(Some(qmp)),
                Seat::Empty => return Ok(None),
                Seat::Taken => {}
            }
            state.commands += 1;
            let waited = self.wait_for_change(state, token, deadline);
            state = self.state.lock();
            state.commands -= 1;
            waited?;
        }
    }

    /// Lets the lock go and waits for one interval.
    fn wait_for_change(
        &self,
        state: LeafGuard<'_, ranks::Monitor, State>,
        token: &mut ThreadToken,
        deadline: Deadline,
    ) -> Result<(), Failure> {
        let until = deadline.min(Deadline::after(CANCEL_LOOK));
        drop(self.changed.wait(state, token, until));
        socket::check(token, deadline).map(drop)
    }

    /// Puts a connection back, or an empty seat, and what it has heard into the news.
    fn put_back(&self, qmp: Option<Box<Qmp>>) {
        let mut qmp = qmp.filter(|qmp| qmp.is_usable());
        let mut state = self.state.lock();
        while let Some(event) = qmp.as_mut().and_then(|qmp| qmp.take_event()) {
            state.news.add(&event);
        }
        // The operation that had it is still under way, so somebody is left to close it.
        state.seat = qmp.map_or(Seat::Empty, Seat::Free);
        drop(state);
        self.changed.notify_all();
    }
}

/// Something that is being done at a monitor.
pub(super) struct Operation<'a> {
    monitor: &'a Monitor,
}

impl Operation<'_> {
    /// Runs a command, on a new connection if there is none.
    ///
    /// # Errors
    /// As [`Qmp::connect`] and [`Qmp::execute`].
    pub(super) fn execute(
        &self,
        token: &mut ThreadToken,
        command: &str,
        arguments: Value,
        deadline: Deadline,
    ) -> Result<Value, QmpError> {
        let mut lease = self.lease(token, command, deadline)?;
        let Some(qmp) = lease.qmp.as_mut() else { return Err(QmpError::Closed) };
        qmp.execute(token, command, arguments, deadline)
    }

    /// QEMU's version.
    ///
    /// # Errors
    /// As [`Qmp::connect`].
    pub(super) fn version(&self, token: &mut ThreadToken, deadline: Deadline) -> Result<String, QmpError> {
        let lease = self.lease(token, "query-version", deadline)?;
        Ok(lease.qmp.as_ref().map(|qmp| qmp.version().to_owned()).unwrap_or_default())
    }

    fn lease(
        &self,
        token: &mut ThreadToken,
        command: &str,
        deadline: Deadline,
    ) -> Result<Lease<'_>, QmpError> {
        let monitor = self.monitor;
        let taken = monitor.take_seat(token, deadline).map_err(|failure| match failure {
            Failure::Cancelled => QmpError::Cancelled(command.to_owned()),
            _ => QmpError::TimedOut(command.to_owned()),
        })?;
        // From here on the seat is put back on every way out.
        let mut lease = Lease { monitor, qmp: taken };
        if lease.qmp.is_none() {
            lease.qmp = Some(Box::new(Qmp::connect(token, &monitor.path, deadline)?));
            monitor.state.lock().connections += 1;
        }
        Ok(lease)
    }

    /// Where what the monitor says ends now. To be asked for when there is a connection, and before the command whose
    /// consequences are waited for.
    pub(super) fn since(&self) -> Since {
        let state = self.monitor.state.lock();
        Since { connection: state.connections, news: state.news.mark() }
    }

    /// Waits for news of `device` after `since`.
    pub(super) fn wait_for_news(
        &self,
        token: &mut ThreadToken,
        device: &str,
        since: Since,
        deadline: Deadline,
    ) -> Heard {
        let monitor = self.monitor;
        let _waiting = Waiting::new(token, "unplug a device", None, "the guest to let it go");
        loop {
            let mut state = monitor.state.lock();
            if let Some((what, mark)) = state.news.of(device, since.news) {
                return Heard::News(what, mark);
            }
            if matches!(state.seat, Seat::Empty) || state.connections != since.connection {
                return Heard::Lost;
            }
            let reads = state.commands == 0 && matches!(state.seat, Seat::Free(_));
            let waited = if reads {
                let qmp = std::mem::replace(&mut state.seat, Seat::Taken);
                drop(state);
                let Seat::Free(qmp) = qmp else { return Heard::Lost };
                Lease { monitor, qmp: Some(qmp) }.read(token, deadline)
            } else {
                monitor.wait_for_change(state, token, deadline)
            };
            match waited {
                Ok(()) => {}
                Err(Failure::Cancelled) => return Heard::Cancelled,
                Err(_) => return Heard::Nothing,
            }
        }
    }
}

impl Drop for Operation<'_> {
    fn drop(&mut self) {
        let mut state = self.monitor.state.lock();
        state.operations -= 1;
        let last = state.operations == 0 && matches!(state.seat, Seat::Free(_));
        // Closed outside the lock.
        let unused = last.then(|| std::mem::take(&mut state.seat));
        drop(state);
        drop(unused);
    }
}

/// The connection, out of its seat. It goes back when this is dropped, also by a panic.
struct Lease<'a> {
    monitor: &'a Monitor,
    qmp: Option<Box<Qmp>>,
}

impl Lease<'_> {
    /// Reads events for a moment. What has gone wrong with the connection shows in the seat.
    fn read(mut self, token: &mut ThreadToken, deadline: Deadline) -> Result<(), Failure> {
        if let Some(qmp) = self.qmp.as_mut() {
            let until = deadline.min(Deadline::after(READ));
            if let Ok(event) = qmp.next_event(token, until) {
                self.monitor.state.lock().news.add(&event);
            }
        }
        drop(self);
        socket::check(token, deadline).map(drop)
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.monitor.put_back(self.qmp.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{FakeQemu, Script};
    use serde_json::json;

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(60))
    }

    #[test]
    fn one_who_waits_on_a_connection_that_was_replaced_is_told_that_it_was_lost() {
        let answer = || -> Script {
            Box::new(|session| {
                session.greet();
                session.status("running");
                session.next();
            })
        };
        let fake = FakeQemu::serving(vec![answer(), answer()]);
        let monitor = Monitor::new(fake.path().to_owned());
        let mut token = ThreadToken::at_thread_entry();
        let operation = monitor.operation();
        let mut ask = |command| operation.execute(&mut token, command, json!({}), soon());
        assert!(ask("query-status").is_ok());
        let since = operation.since();
        // The first script ends at any further command, and the connection with it.
        assert_eq!(ask("query-name"), Err(QmpError::Closed));
        assert!(ask("query-status").is_ok());
        assert_eq!(operation.wait_for_news(&mut token, "x", since, soon()), Heard::Lost);
    }

    #[test]
    fn readers_leave_the_connection_to_one_who_has_a_command() {
        let fake = FakeQemu::new(|session| {
            session.greet();
            session.status("running");
            session.event("DEVICE_DELETED", "x");
            session.expect_end();
        });
        let monitor = Monitor::new(fake.path().to_owned());
        let mut token = ThreadToken::at_thread_entry();
        let operation = monitor.operation();
        operation.execute(&mut token, "query-status", json!({}), soon()).unwrap();
        let since = operation.since();
        monitor.state.lock().commands = 1;
        let at_once = Deadline::after(Duration::from_millis(100));
        assert_eq!(operation.wait_for_news(&mut token, "x", since, at_once), Heard::Nothing);
        monitor.state.lock().commands = 0;
        let heard = operation.wait_for_news(&mut token, "x", since, soon());
        assert!(matches!(heard, Heard::News(What::Deleted, _)), "{heard:?}");
    }

    #[test]
    fn a_thread_that_waits_for_the_connection_can_be_cancelled() {
        let directory = tempfile::tempdir().unwrap();
        let monitor = Monitor::new(directory.path().join("qmp"));
        let operation = monitor.operation();
        monitor.state.lock().seat = Seat::Taken;
        std::thread::scope(|scope| {
            let (send, receive) = std::sync::mpsc::channel();
            let operation = &operation;
            let waiting = scope.spawn(move || {
                let mut token = ThreadToken::at_thread_entry();
                send.send(token.canceller()).unwrap();
                operation.execute(&mut token, "x", json!({}), soon())
            });
            receive.recv().unwrap().cancel();
            assert_eq!(waiting.join().unwrap(), Err(QmpError::Cancelled("x".into())));
        });
        assert_eq!(monitor.state.lock().commands, 0, "nobody waits any more");
    }
}
