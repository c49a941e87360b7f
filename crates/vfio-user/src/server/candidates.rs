//! Clients that have connected and have no session yet.
//!
//! A connection becomes a client when its first bytes arrive, so one that stays silent takes nobody's place.
//! While there is no function, a complete header is answered with `ENODEV`, and while another client has it with `EBUSY`, unless
//! that other client has already hung up: then the new one waits for the detach to end, so that a client may leave and come back
//! without being refused. All of it works without blocking and within a deadline.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use gate::Deadline;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use zerocopy::IntoBytes;

use crate::codec::{HEADER_SIZE, Header};

/// Most connections kept; one more drops the oldest, so that silent ones cannot keep others out.
const LIMIT: usize = 16;

/// How often a connection that has sent part of a header is looked at again.
const RECHECK: Duration = Duration::from_millis(20);

/// How much of the message of a refused client is taken off the socket, so that its send succeeds.
const DISCARD: usize = 4096;

struct Candidate {
    stream: UnixStream,
    deadline: Deadline,
    /// It has sent what can be acted on only later: it is not watched, but looked at again.
    parked: bool,
}

/// Connections without a session, oldest first.
pub(super) struct Candidates {
    list: Vec<Candidate>,
    timeout: Duration,
}

/// What a connection has sent.
enum Sent {
    Nothing,
    /// Fewer bytes than a header.
    Part,
    Header(Header),
    /// It has closed or broken the connection.
    Gone,
}

impl Candidates {
    pub(super) fn new(timeout: Duration) -> Candidates {
        Candidates { list: Vec::new(), timeout }
    }

    pub(super) fn add(&mut self, stream: UnixStream) {
        if self.list.len() >= LIMIT {
            self.list.remove(0);
        }
        self.list.push(Candidate { stream, deadline: Deadline::after(self.timeout), parked: false });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The sockets to be watched for input.
    pub(super) fn watched(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.list.iter().filter(|candidate| !candidate.parked).map(|candidate| candidate.stream.as_fd())
    }

    /// How long to wait at most before looking again; `None` when there is nobody.
    pub(super) fn patience(&self) -> Option<Duration> {
        let until = |candidate: &Candidate| {
            let left = candidate.deadline.remaining().unwrap_or(Duration::ZERO);
            if candidate.parked { left.min(RECHECK) } else { left }
        };
        self.list.iter().map(until).min()
    }

    /// Drops those that left or were silent for too long, and gives the first that has sent something. For when
    /// nobody has the function.
    pub(super) fn promote(&mut self) -> Option<UnixStream> {
        self.list.retain(|candidate| {
            !matches!(peek(&candidate.stream), Sent::Gone) && candidate.deadline.remaining().is_some()
        });
        let ready = |candidate: &Candidate| matches!(peek(&candidate.stream), Sent::Part | Sent::Header(_));
        let index = self.list.iter().position(ready)?;
        Some(self.list.remove(index).stream)
    }

    /// Refuses those that have sent a header, with `errno`, and drops those that left or were silent for too long. For when
    /// there is no function, or another client has it; `leaving` says that it has hung up.
    pub(super) fn refuse(&mut self, errno: Errno, leaving: bool) {
        self.list.retain_mut(|candidate| {
            let expired = candidate.deadline.remaining().is_none();
            match peek(&candidate.stream) {
                Sent::Gone => false,
                Sent::Header(header) if expired || !leaving => {
                    turn_away(&candidate.stream, &header, errno);
                    false
                }
                Sent::Header(_) | Sent::Part => {
                    candidate.parked = true;
                    !expired
                }
                Sent::Nothing => !expired,
            }
        });
    }
}

fn peek(stream: &UnixStream) -> Sent {
    let mut header = [0; HEADER_SIZE];
    match recv(stream, &mut header[..], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Ok((0, _)) => Sent::Gone,
        Ok((length, _)) => header.get(..length).and_then(Header::parse).map_or(Sent::Part, Sent::Header),
        Err(Errno::AGAIN | Errno::INTR) => Sent::Nothing,
        Err(_) => Sent::Gone,
    }
}

/// Answers a client that cannot be served; the caller closes the socket.
fn turn_away(stream: &UnixStream, header: &Header, errno: Errno) {
    // Descriptors that came along are closed by the kernel: no room for them is given.
    let _ = recv(stream, &mut [0; DISCARD][..], RecvFlags::DONTWAIT);
    // It fits into the empty send buffer; a client that is gone needs no answer.
    let reply = header.error_reply(errno);
    let _ = send(stream, reply.as_bytes(), SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
}
