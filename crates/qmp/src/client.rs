//! A connection to a monitor: commands, their answers, and events.

use crate::backlog::Backlog;
use crate::error::{Offence, QmpError};
use crate::inbox::Inbox;
use crate::message::{Event, Message};
use crate::socket::{self, Failure};
use gate::waits::Waiting;
use gate::{Deadline, ThreadToken};
use rustix::fd::OwnedFd;
use serde_json::{Value, json};
use std::path::Path;

/// A negotiated connection. It belongs to one thread at a time; dropping it closes it.
///
/// A command that was given up leaves the connection usable: the answer that comes late is known by its number and passed
/// over. A stream that has failed or is not QMP stays failed: [`Qmp::is_usable`].
pub struct Qmp {
    socket: OwnedFd,
    inbox: Inbox,
    events: Backlog,
    /// The number of the latest command.
    latest: u64,
    version: String,
    usable: bool,
}

impl Qmp {
    /// Connects to the monitor's socket at `path`, waits for the greeting and leaves negotiation mode.
    ///
    /// # Errors
    /// [`QmpError`]; never [`QmpError::TimedOut`] before the greeting, which is [`QmpError::NoGreeting`].
    pub fn connect(token: &mut ThreadToken, path: &Path, deadline: Deadline) -> Result<Qmp, QmpError> {
        let _waiting = Waiting::new(token, "connect to a monitor", None, "QEMU's greeting");
        let socket = socket::connect(path, token, deadline).map_err(|failure| match failure {
            Failure::Failed(cause) => QmpError::connect(path, cause),
            Failure::TimedOut => QmpError::NoGreeting(path.to_owned()),
            other => error(other, "connect"),
        })?;
        let (inbox, events) = (Inbox::default(), Backlog::default());
        let mut qmp = Qmp { socket, inbox, events, latest: 0, version: String::new(), usable: true };
        match qmp.receive(token, "greeting", deadline) {
            Ok((Message::Greeting(greeting), _)) => qmp.version = version(&greeting),
            Ok(_) => return Err(QmpError::Protocol(Offence::Greeting)),
            Err(QmpError::TimedOut(_)) => return Err(QmpError::NoGreeting(path.to_owned())),
            Err(error) => return Err(error),
        }
        qmp.execute(token, "qmp_capabilities", json!({}), deadline)?;
        Ok(qmp)
    }

    /// Runs a command and gives its return value. Events that come meanwhile are kept.
    ///
    /// # Errors
    /// [`QmpError`]; after [`QmpError::TimedOut`] and [`QmpError::Cancelled`] the command may still take effect.
    pub fn execute(
        &mut self,
        token: &mut ThreadToken,
        command: &str,
        arguments: Value,
        deadline: Deadline,
    ) -> Result<Value, QmpError> {
        let _waiting = Waiting::new(token, "run a monitor command", None, "QEMU's answer");
        self.send(token, command, arguments, deadline)?;
        loop {
            match self.receive(token, command, deadline)? {
                (Message::Event(event), bytes) => self.events.push(event, bytes),
                (Message::Answer { id: Some(id), result }, _) if id == self.latest => {
                    return result
                        .map_err(|refusal| QmpError::Refused { command: command.to_owned(), refusal });
                }
                // The answer to a command that was given up.
                (Message::Answer { id: Some(id), .. }, _) if id < self.latest => {}
                (Message::Answer { .. }, _) => return Err(self.offended(Offence::Unasked)),
                (Message::Greeting(_), _) => return Err(self.offended(Offence::Greeting)),
            }
        }
    }

    /// The oldest event that nobody has taken, or the next one that comes.
    ///
    /// # Errors
    /// [`QmpError`]; [`QmpError::TimedOut`] when there was none.
    pub fn next_event(&mut self, token: &mut ThreadToken, deadline: Deadline) -> Result<Event, QmpError> {
        let _waiting = Waiting::new(token, "follow a monitor", None, "an event of QEMU");
        loop {
            if let Some(event) = self.events.pop() {
                return Ok(event);
            }
            match self.receive(token, "next event", deadline)? {
                (Message::Event(event), bytes) => self.events.push(event, bytes),
                (Message::Answer { id: Some(id), .. }, _) if id <= self.latest => {}
                (Message::Answer { .. }, _) => return Err(self.offended(Offence::Unasked)),
                (Message::Greeting(_), _) => return Err(self.offended(Offence::Greeting)),
            }
        }
    }

    /// The oldest event that has been received and that nobody has taken; waits for nothing.
    pub fn take_event(&mut self) -> Option<Event> {
        self.events.pop()
    }

    /// How many events this connection has lost because nobody took them in time.
    pub fn lost_events(&self) -> u64 {
        self.events.lost()
    }

    /// QEMU's version as `11.1.3`; empty if it did not say.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// False once the stream has ended, failed, or turned out not to be QMP: then nothing but a new connection helps.
    pub fn is_usable(&self) -> bool {
        self.usable
    }

    fn send(
        &mut self,
        token: &mut ThreadToken,
        command: &str,
        arguments: Value,
        deadline: Deadline,
    ) -> Result<(), QmpError> {
        if !self.usable {
            return Err(QmpError::Closed);
        }
        socket::check(token, deadline).map_err(|failure| error(failure, command))?;
        self.latest += 1;
        let line = json!({"execute": command, "arguments": arguments, "id": self.latest});
        let sent = socket::send_all(&self.socket, token, format!("{line}\n").as_bytes(), deadline);
        // Half a line may be on its way, and what follows would be read as its end.
        self.usable = sent.is_ok();
        sent.map_err(|failure| error(failure, command))
    }

    /// The next message, and the bytes of its line. Between two looks at the clock lies one receive's worth of lines.
    fn receive(
        &mut self,
        token: &mut ThreadToken,
        doing: &str,
        deadline: Deadline,
    ) -> Result<(Message, usize), QmpError> {
        if !self.usable {
            return Err(QmpError::Closed);
        }
        loop {
            while let Some(line) = self.inbox.take_line().map_err(|offence| self.offended(offence))? {
                let message = Message::parse(&line).map_err(|offence| self.offended(offence))?;
                if let Some(message) = message {
                    return Ok((message, line.len()));
                }
            }
            let inbox = &mut self.inbox;
            let received = socket::receive(&self.socket, token, deadline, |bytes| inbox.received(bytes));
            received.map_err(|failure| {
                let error = error(failure, doing);
                self.usable = error.leaves_the_stream_sound();
                error
            })?;
        }
    }

    fn offended(&mut self, offence: Offence) -> QmpError {
        self.usable = false;
        QmpError::Protocol(offence)
    }
}

impl std::fmt::Debug for Qmp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Qmp")
            .field("version", &self.version)
            .field("usable", &self.usable)
            .finish_non_exhaustive()
    }
}

fn error(failure: Failure, doing: &str) -> QmpError {
    match failure {
        Failure::TimedOut => QmpError::TimedOut(doing.to_owned()),
        Failure::Cancelled => QmpError::Cancelled(doing.to_owned()),
        Failure::Closed => QmpError::Closed,
        Failure::Failed(errno) => QmpError::Socket(errno),
    }
}

/// The version in a greeting.
fn version(greeting: &Value) -> String {
    let part = |name: &str| greeting.pointer(&format!("/version/qemu/{name}")).and_then(Value::as_u64);
    match (part("major"), part("minor"), part("micro")) {
        (Some(major), Some(minor), Some(micro)) => format!("{major}.{minor}.{micro}"),
        _ => String::new(),
    }
}
