//! The conversation with one client.
//!
//! Each command is parsed, carried out on the assignment, and answered, strictly in order. A command that is not
//! known, malformed or refused gets an error reply with its errno, and the stream stays in step; only a header
//! whose size cannot be stepped over ends the session. A *posted* command (No_reply) is never answered; its
//! failure is counted in the [`SessionReport`].
//!
//! A client counts the time of a command from when it sent it. So commands that wait behind each other share the time
//! that one may take, from the first that has to wait until all that had arrived is answered ([`Patience`]).
//!
//! The session's hold on the function is put down before every wait for the client, so that it can be taken away ([`Seat`]).
//! From then on the session is a *tombstone*: a client that is a virtual machine dies if its device stops answering, so it
//! goes on being told what a function would have told it, and nothing happens.
//!
//! Replies to region accesses that arrived together leave together. Before any other command, which may take
//! long, replies that wait are sent.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use assign::{Assignment, DmaMapFlags, DmaMapRequest, SetIrqs};
use gate::{Deadline, ThreadToken};
use rustix::io::Errno;
use zerocopy::IntoBytes;

use super::SessionOptions;
use super::door::{Door, FunctionSeat};
use super::facts::Facts;
use super::hold::{Hold, errno};
use super::revoke::revoke;
use super::seat::Seat;
use crate::codec::{
    Command, DeviceFlags, DeviceInfo, DmaMap, Header, IrqInfo, MessageType, MultiWrite, RegionAccess, Request,
};
use crate::connection::{Connection, ConnectionError, Frame, Message};

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionEnd {
    /// The client closed the connection, or the server was stopped.
    Closed,
    /// The client's `VERSION` was refused with this errno; `EBUSY`: somebody else has the function.
    Refused(Errno),
    /// The client did not begin with `VERSION`.
    NotNegotiated,
    /// A header whose size makes no sense: the next message cannot be found.
    OutOfStep,
    /// A message did not arrive whole in time, or the client did not read its replies.
    TimedOut,
    /// The socket or this process failed.
    Failed(Errno),
}

/// What happened in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionReport {
    /// Why it ended.
    pub end: SessionEnd,
    /// Messages received.
    pub messages: u64,
    /// Messages that got an error reply.
    pub refused: u64,
    /// Posted messages that failed, which the client was not told.
    pub posted_failures: u64,
}

/// The conversation with one client. See the module's head.
pub struct Session<'a> {
    pub(super) options: &'a SessionOptions,
    pub(super) connection: Connection,
    /// The hold on the function, from `VERSION` on.
    pub(super) hold: Hold<'a>,
    /// What the client is told of the function, from `VERSION` on.
    pub(super) facts: Facts,
    /// Descriptors that the client takes in one message.
    pub(super) client_fds: u32,
    report: SessionReport,
}

impl Session<'_> {
    /// Serves the client at the other end of `stream` until it leaves, breaks the protocol, or the stream is shut
    /// down from another thread. Then the function is detached: the client's memory and eventfds are dropped and
    /// the device keeps its state.
    ///
    /// Waits for the client, and for the function within the limits of the assignment.
    pub fn run(
        stream: UnixStream,
        assignment: &Arc<Assignment>,
        options: &SessionOptions,
        token: &mut ThreadToken,
    ) -> SessionReport {
        let seat = Arc::new(Seat::new(Arc::clone(assignment)));
        Session::sit(stream, Hold::new(&seat, None), options, token, |_, _| {})
    }

    /// Serves the client of a seat behind a door.
    pub(super) fn run_at(
        stream: UnixStream,
        door: &Door,
        seat: &Arc<FunctionSeat>,
        options: &SessionOptions,
        token: &mut ThreadToken,
    ) -> SessionReport {
        Session::sit(stream, Hold::new(seat, Some(door)), options, token, |_, _| {})
    }

    /// As [`Session::run`], with a revocation by the same thread after so many messages. It finds the hold at rest if the number
    /// is even, else in hand, and waits for nobody. For tests.
    pub(crate) fn run_revoked(
        stream: UnixStream,
        assignment: &Arc<Assignment>,
        options: &SessionOptions,
        token: &mut ThreadToken,
        after: u64,
    ) -> SessionReport {
        let seat = Arc::new(Seat::new(Arc::clone(assignment)));
        Session::sit(stream, Hold::new(&seat, None), options, token, |session, token| {
            if session.report.messages < after || seat.is_revoked() {
                return;
            }
            if after.is_multiple_of(2) {
                session.hold.rest(token);
            }
            let _in_hand = revoke(&seat, None, token, Deadline::after(Duration::ZERO));
        })
    }

    /// Serves the client, and calls `between` before each message but the first.
    fn sit(
        stream: UnixStream,
        hold: Hold<'_>,
        options: &SessionOptions,
        token: &mut ThreadToken,
        mut between: impl FnMut(&mut Session<'_>, &mut ThreadToken),
    ) -> SessionReport {
        let report = SessionReport { end: SessionEnd::Closed, messages: 0, refused: 0, posted_failures: 0 };
        let mut session = Session {
            options,
            connection: Connection::new(stream, options.limits()),
            hold,
            facts: Facts::default(),
            client_fds: 0,
            report,
        };
        let mut end = session.negotiate(token);
        while end.is_ok() {
            between(&mut session, token);
            end = session.serve_one(token);
        }
        let Session { mut hold, connection, report, .. } = session;
        // First, so that a client that was refused is not kept waiting for the detach.
        connection.close();
        hold.give_up(token);
        SessionReport { end: end.err().unwrap_or(SessionEnd::Closed), ..report }
    }

    #[inline]
    fn serve_one(&mut self, token: &mut ThreadToken) -> Result<(), SessionEnd> {
        let mut message = self.receive(token)?;
        let mut outcome = self.execute(token, &mut message);
        // What failed because the function was taken away meanwhile did not fail: it met nothing.
        if outcome.is_err() && self.hold.end_if_over(token) {
            outcome = self.execute(token, &mut message);
        }
        self.settle(&message.header, outcome)?;
        if self.connection.outbox.is_full() {
            self.flush(token)?;
        }
        Ok(())
    }

    /// Sends the replies that wait, with the hold put down.
    pub(super) fn flush(&mut self, token: &mut ThreadToken) -> Result<(), ConnectionError> {
        if self.connection.outbox.is_empty() {
            return Ok(());
        }
        self.hold.rest(token);
        self.connection.flush(token)
    }

    /// The next message that is whole and a command. Others are answered here.
    #[inline]
    pub(super) fn receive(&mut self, token: &mut ThreadToken) -> Result<Message, SessionEnd> {
        if self.hold.patience.is_running() {
            self.renew_patience();
        }
        loop {
            let (header, errno) = match self.connection.next_buffered() {
                Frame::Message(message) => {
                    self.report.messages += 1;
                    if message.header.message_type() == Some(MessageType::Command) && !message.fds_lost {
                        return Ok(message);
                    }
                    (message.header, Errno::INVAL)
                }
                Frame::TooLarge(header) => (header, Errno::TOOBIG),
                Frame::OutOfStep(header) => {
                    self.settle(&header, Err(Errno::INVAL))?;
                    self.flush(token)?;
                    return Err(SessionEnd::OutOfStep);
                }
                Frame::Partial => {
                    self.hold.rest(token);
                    self.connection.receive_more(token)?;
                    continue;
                }
            };
            self.settle(&header, Err(errno))?;
        }
    }

    /// A command had to wait. Those that arrived meanwhile have no time of their own, wherever they are: the time starts
    /// anew when there are none.
    #[cold]
    fn renew_patience(&mut self) {
        if !self.connection.has_more() {
            self.hold.patience.renew();
        }
    }

    /// Answers a command that failed; one that succeeded has answered.
    #[inline]
    pub(super) fn settle(&mut self, header: &Header, outcome: Result<(), Errno>) -> Result<(), SessionEnd> {
        match outcome {
            Ok(()) => Ok(()),
            Err(errno) => self.refuse(header, errno),
        }
    }

    #[cold]
    fn refuse(&mut self, header: &Header, errno: Errno) -> Result<(), SessionEnd> {
        if header.no_reply() {
            self.report.posted_failures += 1;
            return Ok(());
        }
        self.report.refused += 1;
        self.connection.outbox.push(&header.error_reply(errno), &[]).map_err(SessionEnd::Failed)
    }

    /// Adds a reply to the outbox, unless the client wants none.
    #[inline]
    pub(super) fn reply(&mut self, header: &Header, payload: &[&[u8]]) -> Result<(), Errno> {
        if header.no_reply() {
            return Ok(());
        }
        let size = payload.iter().map(|part| part.len()).sum();
        self.connection.outbox.push(&header.reply(size), payload)
    }

    /// Carries a command out and answers it, if it succeeds.
    #[inline]
    fn execute(&mut self, token: &mut ThreadToken, message: &mut Message) -> Result<(), Errno> {
        let header = message.header;
        let payload = self.connection.inbox.payload(message);
        match Request::parse(header.command, payload, self.options.max_data())? {
            Request::RegionRead(access) => self.region_read(token, &header, access),
            Request::RegionWrite(access, data) => {
                self.hold.write(token, &self.facts, access, data)?;
                self.reply(&header, &[access.as_bytes()])
            }
            Request::RegionWriteMulti(writes) => {
                let done = write_multi(&mut self.hold, token, &self.facts, writes)?;
                self.reply(&header, &[done.as_bytes()])
            }
            _ => self.execute_slow(token, message),
        }
    }

    /// The commands outside the hot path. Their own wait must not delay replies that are ready.
    #[cold]
    fn execute_slow(&mut self, token: &mut ThreadToken, message: &mut Message) -> Result<(), Errno> {
        // A failure to send ends the session at its next receive.
        let _ = self.flush(token);
        if self.hold.function().is_some() {
            self.hold.end_if_over(token);
        }
        let header = message.header;
        let fds = std::mem::take(&mut message.fds);
        let payload = self.connection.inbox.payload(message);
        match Request::parse(header.command, payload, self.options.max_data())? {
            Request::DmaMap(map) => {
                let map = map_request(map, fds)?;
                self.hold.act(token, |requests, token| requests.dma_map(token, map))?;
                self.reply(&header, &[])
            }
            Request::DmaUnmap(unmap) => {
                let (iova, size) = (unmap.address, unmap.size);
                self.hold.act_and_settle(token, &self.facts, |requests, token| {
                    requests.dma_unmap(token, iova, size)
                })?;
                self.reply(&header, &[unmap.as_bytes()])
            }
            Request::DmaUnmapAll(unmap) => {
                self.hold
                    .act_and_settle(token, &self.facts, |requests, token| requests.dma_unmap_all(token))?;
                self.reply(&header, &[unmap.as_bytes()])
            }
            Request::DeviceInfo(_) => {
                let info = self.device_info();
                self.reply(&header, &[info.as_bytes()])
            }
            Request::RegionInfo(info) => self.region_info(token, &header, info),
            Request::IrqInfo(info) => {
                let found = self.facts.irq(info.index)?;
                let info = IrqInfo { argsz: 16, flags: found.flags.0, index: info.index, count: found.count };
                self.reply(&header, &[info.as_bytes()])
            }
            Request::SetIrqs(set, data) => {
                let set = SetIrqs::decode(set.index, set.start, set.count, set.flags, data, fds);
                let set = set.map_err(errno)?;
                self.hold.act(token, |requests, token| requests.set_irqs(token, set))?;
                self.reply(&header, &[])
            }
            Request::DeviceReset => {
                self.hold.act(token, |requests, token| requests.reset(token))?;
                self.reply(&header, &[])
            }
            // No region has ioeventfds or ioregionfds.
            Request::RegionIoFds(io_fds) if io_fds.index < self.facts.device.regions => Err(Errno::OPNOTSUPP),
            // There is no feature, whatever is asked about it (VF-45). Migration is not offered.
            Request::Feature(_) => Err(Errno::NOTTY),
            // A second `VERSION` would renegotiate under requests that rely on the first.
            Request::RegionIoFds(_) | Request::Version(_) => Err(Errno::INVAL),
            Request::RegionRead(_) | Request::RegionWrite(..) | Request::RegionWriteMulti(_) => {
                Err(Errno::INVAL)
            }
        }
    }

    fn device_info(&self) -> DeviceInfo {
        let info = self.facts.device;
        let reset = if info.reset { DeviceFlags::RESET } else { DeviceFlags::empty() };
        DeviceInfo {
            argsz: 16,
            flags: (DeviceFlags::PCI | reset).bits(),
            num_regions: info.regions,
            num_irqs: info.irqs,
        }
    }
}

/// A mapping as the assignment takes it.
fn map_request(map: DmaMap, fds: Vec<std::os::fd::OwnedFd>) -> Result<DmaMapRequest, Errno> {
    if fds.len() > 1 {
        return Err(Errno::INVAL);
    }
    Ok(DmaMapRequest {
        flags: DmaMapFlags(map.flags),
        offset: map.offset,
        iova: map.address,
        size: map.size,
        fd: fds.into_iter().next(),
    })
}

/// Carries out writes in order until one fails or they have taken as long as one access may; gives how many were
/// done. The first one's failure is the whole message's.
fn write_multi(
    hold: &mut Hold<'_>,
    token: &mut ThreadToken,
    facts: &Facts,
    writes: &[u8],
) -> Result<u64, Errno> {
    let deadline = Deadline::after(facts.access_timeout);
    let mut done = 0;
    for write in MultiWrite::each(writes) {
        let bytes = write.bytes();
        let count = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let access = RegionAccess { offset: write.offset, region: write.region, count };
        match hold.write(token, facts, access, bytes) {
            Ok(()) => done += 1,
            Err(errno) if done == 0 => return Err(errno),
            Err(_) => break,
        }
        if deadline.remaining().is_none() {
            break;
        }
    }
    Ok(done)
}

impl From<ConnectionError> for SessionEnd {
    fn from(error: ConnectionError) -> SessionEnd {
        match error {
            ConnectionError::Closed => SessionEnd::Closed,
            ConnectionError::ReceiveTimedOut | ConnectionError::SendTimedOut => SessionEnd::TimedOut,
            ConnectionError::Socket(errno) => SessionEnd::Failed(errno),
        }
    }
}

/// `VERSION` is the first command; the others are numbered behind it.
pub(super) fn is_version(header: &Header) -> bool {
    Command::from_number(header.command) == Some(Command::Version)
}
