//! Commands out, replies in.
//!
//! Replies come in the order of their commands, which a server owes; between them it may send commands of its own. What is
//! awaited is a queue: the commands whose reply has not come, the last of which somebody waits for. A command that was
//! *left*, whose reply nobody waits for, is in it too, and its reply is taken by whoever reads next.
//!
//! # No deadlock of two that write
//! A server that waits for an access to memory reads nothing else meanwhile. So while it leaves no room for a command, what it
//! sends is served; and the other way round nothing more is read from it while it leaves much unread, so what it sends
//! costs bounded memory.

use std::os::fd::BorrowedFd;

use gate::{Deadline, ThreadToken};

use super::{Client, ClientError};
use crate::codec::{Command, Header, HeaderFlags, MessageType};
use crate::connection::{ConnectionError, Frame, MAX_MESSAGE_FDS, Message, Next};

/// Commands that a server may put between a command and its reply before it is taken for hostile, where none is served.
const MAX_DECLINED: usize = 64;

/// The same where they are served. A server without mappings fetches a megabyte in 256 pages.
const MAX_SERVED: usize = 1024;

/// Messages that [`Client::attend`] takes in one go.
const MAX_ATTENDED: usize = 64;

/// Commands that may be left without a reply.
const MAX_LEFT: usize = 16;

/// A command whose reply has not come.
pub(super) struct Expected {
    id: u16,
    command: Command,
    /// When a reply that nobody waits for is overdue.
    left: Option<Deadline>,
}

/// How [`Client::attend`] left the stream.
#[derive(Clone, Copy, Debug)]
pub struct Attended {
    /// There is more to take at once.
    pub more: bool,
    /// The server owes something until then.
    pub owed: Option<Deadline>,
}

impl Client {
    /// Sends a command and waits for its reply.
    pub(super) fn call(
        &mut self,
        token: &mut ThreadToken,
        command: Command,
        payload: &[&[u8]],
        fds: &[BorrowedFd<'_>],
    ) -> Result<Message, ClientError> {
        if fds.len() > MAX_MESSAGE_FDS {
            return Err(ClientError::Request("too many descriptors for one message"));
        }
        let deadline = self.deadline();
        self.queue(command, payload, HeaderFlags::empty())?;
        let sent = self.flush_by(token, fds, deadline);
        self.note(sent)?;
        self.reply(token, deadline)
    }

    /// Sends a command whose reply nobody waits for: it is taken by whoever reads next. A refusal breaks the stream.
    pub(super) fn leave(&mut self, token: &mut ThreadToken, command: Command) -> Result<(), ClientError> {
        if self.expected.len() >= MAX_LEFT {
            return Err(ClientError::Request("too many commands wait for their replies"));
        }
        let deadline = self.deadline();
        self.queue(command, &[], HeaderFlags::empty())?;
        if let Some(expected) = self.expected.back_mut() {
            expected.left = Some(Deadline::after(self.timeout));
        }
        let sent = self.flush_by(token, &[], deadline);
        self.note(sent)
    }

    /// The end of what is done now.
    pub(super) fn deadline(&self) -> Deadline {
        self.until.unwrap_or_else(|| Deadline::after(self.timeout))
    }

    /// Queues a command; [`Client::reply`] or a flush sends it.
    pub(super) fn queue(
        &mut self,
        command: Command,
        payload: &[&[u8]],
        flags: HeaderFlags,
    ) -> Result<(), ClientError> {
        if self.broken {
            return Err(ClientError::Broken);
        }
        let id = self.next_id;
        let size = payload.iter().map(|part| part.len()).sum();
        let header = Header::command(id, command, size, flags);
        let pushed = self.connection.outbox.push(&header, payload);
        pushed.map_err(|_| ClientError::Request("no memory for the message"))?;
        self.next_id = id.wrapping_add(1);
        if !flags.contains(HeaderFlags::NO_REPLY) {
            self.expected.push_back(Expected { id, command, left: None });
        }
        self.served = 0;
        Ok(())
    }

    /// Waits for the reply to the first command that was queued and not left.
    pub(super) fn reply(
        &mut self,
        token: &mut ThreadToken,
        deadline: Deadline,
    ) -> Result<Message, ClientError> {
        let reply = self.receive_reply(token, deadline);
        self.note(reply)
    }

    /// Remembers that the stream is out of step after any failure but a refusal.
    pub(super) fn note<T>(&mut self, result: Result<T, ClientError>) -> Result<T, ClientError> {
        if matches!(&result, Err(error) if !matches!(error, ClientError::Refused { .. })) {
            self.broken = true;
            self.connection.outbox.clear();
        }
        result
    }

    /// Sends everything in the outbox, with `fds` beside its first byte. While there is no room for it the server is served.
    pub(super) fn flush_by(
        &mut self,
        token: &mut ThreadToken,
        mut fds: &[BorrowedFd<'_>],
        deadline: Deadline,
    ) -> Result<(), ClientError> {
        while !self.connection.send_now(&mut fds)? {
            let listens = self.may_read_on();
            if self.connection.wait_for_room(token, listens, deadline)? {
                self.connection.receive_now()?;
            }
            while !self.connection.outbox.is_full() && self.next_is_nobodys() {
                let Frame::Message(message) = self.connection.next_buffered() else { break };
                self.take(token, &message)?;
            }
        }
        Ok(())
    }

    /// Takes what has come of the server's own accord, a bounded number of messages, and answers it. Does not wait for more.
    ///
    /// # Errors
    /// See [`ClientError`]; [`ConnectionError::ReceiveTimedOut`] if the server owes something ([`Client::owed`]) too long.
    pub fn attend(&mut self, token: &mut ThreadToken) -> Result<Attended, ClientError> {
        let attended = self.attend_unnoted(token);
        self.note(attended)
    }

    fn attend_unnoted(&mut self, token: &mut ThreadToken) -> Result<Attended, ClientError> {
        let deadline = self.deadline();
        self.served = 0;
        let mut more = true;
        for _ in 0..MAX_ATTENDED {
            match self.connection.next_buffered() {
                // Nobody calls, so no reply is awaited.
                Frame::Message(message) => {
                    self.take(token, &message)?;
                }
                Frame::Partial => {
                    more = self.connection.receive_now()?;
                    if !more {
                        break;
                    }
                }
                Frame::TooLarge(_) | Frame::OutOfStep(_) => return Err(self.out_of_step()),
            }
            if self.connection.outbox.is_full() {
                self.flush_by(token, &[], deadline)?;
            }
        }
        self.flush_by(token, &[], deadline)?;
        match self.owed() {
            Some((_, deadline)) if deadline.remaining().is_none() && !more => {
                Err(ConnectionError::ReceiveTimedOut.into())
            }
            owed => Ok(Attended { more, owed: owed.map(|(_, deadline)| deadline) }),
        }
    }

    /// What the server owes, and until when: the reply to a command that was left, or the rest of a message that it began.
    pub fn owed(&self) -> Option<(Option<Command>, Deadline)> {
        let left = self.expected.front().and_then(|first| Some((Some(first.command), first.left?)));
        left.or_else(|| self.connection.unfinished().map(|deadline| (None, deadline)))
    }

    /// The command that is to be answered next.
    pub fn expects(&self) -> Option<Command> {
        self.expected.front().map(|first| first.command)
    }

    fn receive_reply(&mut self, token: &mut ThreadToken, deadline: Deadline) -> Result<Message, ClientError> {
        loop {
            match self.connection.next_buffered() {
                Frame::Message(message) => {
                    if self.take(token, &message)? {
                        return Ok(message);
                    }
                    // What it asks for meanwhile may take time, and it chooses how much it asks for.
                    if deadline.remaining().is_none() {
                        return Err(ConnectionError::ReceiveTimedOut.into());
                    }
                }
                Frame::Partial => self.receive_more(token, deadline)?,
                Frame::TooLarge(_) | Frame::OutOfStep(_) => return Err(self.out_of_step()),
            }
            if self.connection.outbox.is_full() {
                self.flush_by(token, &[], deadline)?;
            }
        }
    }

    /// Acts on a message. True: it is the reply that is awaited.
    fn take(&mut self, token: &mut ThreadToken, message: &Message) -> Result<bool, ClientError> {
        let header = message.header;
        match header.message_type() {
            Some(MessageType::Reply) => {}
            Some(MessageType::Command) => {
                let limit = if self.commands.is_some() { MAX_SERVED } else { MAX_DECLINED };
                self.served += 1;
                if self.served > limit {
                    return Err(self.malformed_now("the server sends commands instead"));
                }
                return self.serve(token, message).map(|()| false);
            }
            None => return Err(self.malformed_now("it is neither a command nor a reply")),
        }
        let Some(Expected { id, command, left }) = self.expected.pop_front() else {
            return Err(ClientError::Unasked);
        };
        if header.message_id != id || header.command != command as u16 {
            return Err(ClientError::Malformed { command, what: "it answers another command" });
        }
        match (header.failure(), left) {
            (None, None) => Ok(true),
            (None, Some(_)) => Ok(false),
            (Some(errno), None) => Err(ClientError::Refused { command, errno }),
            (Some(errno), Some(_)) => Err(ClientError::RefusedLate { command, errno }),
        }
    }

    /// Sends what is in the outbox and waits until something has come.
    fn receive_more(&mut self, token: &mut ThreadToken, deadline: Deadline) -> Result<(), ClientError> {
        if !self.connection.outbox.is_empty() {
            self.flush_by(token, &[], deadline)?;
        }
        // The socket's own time-out is the same and spares a system call, while hardly anything of the time has passed.
        let left = deadline.remaining().ok_or(ConnectionError::ReceiveTimedOut)?;
        if left < self.timeout - self.timeout / 16 {
            self.connection.expect_by(deadline);
        }
        Ok(self.connection.receive_more(token)?)
    }

    /// More may be read before what is in the outbox is sent.
    fn may_read_on(&self) -> bool {
        let next = self.connection.inbox.next_is();
        matches!(next, Next::Partial) && !self.connection.outbox.is_full() && self.served < MAX_SERVED
    }

    /// A whole message has come, and it is not the reply that is awaited.
    fn next_is_nobodys(&self) -> bool {
        let Next::Whole(header) = self.connection.inbox.next_is() else { return false };
        match header.message_type() {
            Some(MessageType::Command) => true,
            Some(MessageType::Reply) => self.expected.front().is_some_and(|first| first.left.is_some()),
            None => false,
        }
    }

    fn out_of_step(&self) -> ClientError {
        self.malformed_now("its size is out of range")
    }

    /// What has come makes no sense, whatever it was to be.
    fn malformed_now(&self, what: &'static str) -> ClientError {
        match self.expects() {
            Some(command) => ClientError::Malformed { command, what },
            None => ClientError::Unasked,
        }
    }
}
