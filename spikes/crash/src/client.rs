//! The client, and the judge of what it sees: as QEMU, it expects exactly one reply to each request, in order.

use std::collections::VecDeque;
use std::fs::File;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recv, sendmsg};

use crate::journal::State;
use crate::message::{HEADER, Request, execute};

/// Nobody waits longer, whatever the server looks like: QEMU's own limit.
const REPLY_LIMIT: Duration = Duration::from_secs(5);

/// What became of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// As if nobody had died.
    Ok,
    /// A reply, or the effect of a request, is missing: QEMU stalls for 5 s, or the guest has lost a write.
    Lost,
    /// A reply came twice, or a request was executed twice: QEMU loses its place in the stream, or the device differs.
    Duplicated,
    /// The bytes are no messages any more, for one of the two.
    Torn,
}

/// What the judge knows of the other side.
pub(crate) trait Server {
    /// The server has given up: what it read was no message.
    fn is_confused(&self) -> bool;
    /// The server waits for this client, and nothing is on its way to it.
    fn is_idle(&self) -> bool;
}

/// The client's end.
pub(crate) struct Client {
    socket: OwnedFd,
    file: File,
    /// The device as it should be.
    model: State,
    seen: Vec<u8>,
    expected: VecDeque<Vec<u8>>,
    last: Vec<u8>,
}

impl Client {
    /// A client that maps `file`; `model` is the device's state now.
    pub(crate) fn new(socket: OwnedFd, file: File, model: State) -> Self {
        Self { socket, file, model, seen: Vec::new(), expected: VecDeque::new(), last: Vec::new() }
    }

    /// Plays the bursts. `patience`: how long a silent, idle server may stay so before its reply counts as lost.
    ///
    /// # Errors
    /// The socket fails, which says nothing of the candidate.
    pub(crate) fn play(
        &mut self,
        bursts: &[Vec<Request>],
        server: &dyn Server,
        patience: Duration,
    ) -> Result<Verdict, String> {
        for burst in bursts {
            for request in burst {
                self.send(request)?;
            }
            while !self.expected.is_empty() {
                if let Some(verdict) = self.take(server, patience)? {
                    return Ok(verdict);
                }
            }
        }
        // A reply too many comes at once or with the next request.
        Ok(if self.seen.is_empty() && self.receive(Duration::ZERO)? == 0 {
            Verdict::Ok
        } else {
            Verdict::Duplicated
        })
    }

    fn send(&mut self, request: &Request) -> Result<(), String> {
        self.model.request[..request.bytes.len()].copy_from_slice(&request.bytes);
        self.model.file =
            if request.file { self.file.metadata().map_err(|error| error.to_string())?.ino() } else { 0 };
        execute(&mut self.model);
        let length = self.model.reply_length as usize;
        if length > 0 {
            self.expected.push_back(self.model.reply[..length].to_vec());
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let files = [self.file.as_fd()];
        if request.file && !control.push(SendAncillaryMessage::ScmRights(&files)) {
            return Err("no room for a descriptor".to_owned());
        }
        let sent = sendmsg(&self.socket, &[IoSlice::new(&request.bytes)], &mut control, SendFlags::NOSIGNAL);
        match sent {
            Ok(sent) if sent == request.bytes.len() => Ok(()),
            other => Err(format!("the client's send: {other:?}")),
        }
    }

    /// Takes the next reply; a verdict if it is not the right one.
    fn take(&mut self, server: &dyn Server, patience: Duration) -> Result<Option<Verdict>, String> {
        let mut quiet: Option<Instant> = None;
        let start = Instant::now();
        loop {
            if start.elapsed() > REPLY_LIMIT {
                return Ok(Some(Verdict::Lost));
            }
            let Some(want) = self.expected.front() else { return Ok(None) };
            if self.seen.len() >= want.len()
                || (self.seen.len() >= HEADER && self.seen[..HEADER] != want[..HEADER])
            {
                return Ok(self.compare());
            }
            if self.receive(Duration::from_millis(1))? > 0 {
                quiet = None;
            } else if server.is_confused() {
                return Ok(Some(Verdict::Torn));
            } else if !server.is_idle() {
                quiet = None;
            } else if quiet.get_or_insert_with(Instant::now).elapsed() > patience {
                return Ok(Some(if self.seen.is_empty() { Verdict::Lost } else { Verdict::Torn }));
            }
        }
    }

    fn compare(&mut self) -> Option<Verdict> {
        let want = self.expected.pop_front()?;
        let got: Vec<u8> = self.seen.drain(..want.len().min(self.seen.len())).collect();
        if got == want {
            self.last = want;
            return None;
        }
        let head = |bytes: &[u8]| bytes.get(..HEADER).map(<[u8]>::to_vec);
        Some(if head(&got) == head(&want) {
            // The right reply with another value: the last four bytes are a counter or a sum.
            let value = |bytes: &[u8]| bytes.last_chunk::<4>().map(|four| u32::from_le_bytes(*four));
            if value(&got) > value(&want) { Verdict::Duplicated } else { Verdict::Lost }
        } else if head(&got) == head(&self.last) {
            Verdict::Duplicated
        } else if self.expected.iter().any(|later| head(later) == head(&got)) {
            Verdict::Lost
        } else {
            Verdict::Torn
        })
    }

    fn receive(&mut self, patience: Duration) -> Result<usize, String> {
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
        let limit = rustix::time::Timespec { tv_sec: 0, tv_nsec: i64::from(patience.subsec_nanos()) };
        if poll(&mut fds, Some(&limit)).map_err(|errno| errno.to_string())? == 0 {
            return Ok(0);
        }
        let mut bytes = [0; 1024];
        let (count, _) =
            recv(&self.socket, &mut bytes[..], RecvFlags::DONTWAIT).map_err(|errno| errno.to_string())?;
        self.seen.extend(&bytes[..count]);
        Ok(count)
    }

    /// One read and its reply, blocking; for the measurement of what a candidate costs.
    ///
    /// # Errors
    /// The socket fails.
    pub(crate) fn round_trip(&mut self, request: &Request) -> Result<(), String> {
        self.send(request)?;
        let want = self.expected.pop_front().unwrap_or_default();
        let mut got = 0;
        let mut bytes = [0; 1024];
        while got < want.len() {
            let (count, _) =
                recv(&self.socket, &mut bytes[..], RecvFlags::empty()).map_err(|errno| errno.to_string())?;
            if count == 0 {
                return Err("the server is gone".to_owned());
            }
            got += count;
        }
        Ok(())
    }
}
