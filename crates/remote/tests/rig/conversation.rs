//! One client of a [`super::Rig`]: its bytes, in and out.

use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use vfio_user::codec::{Command, DmaAccess, Header, MessageType};
use zerocopy::IntoBytes;

use super::LONG;

/// A message of the client's.
#[derive(Debug)]
pub struct Request {
    pub header: Header,
    pub payload: Vec<u8>,
    pub fds: Vec<OwnedFd>,
}

impl Request {
    pub fn command(&self) -> Option<Command> {
        Command::from_number(self.header.command)
    }

    /// The dword at a multiple of four.
    pub fn dword(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.payload[at..at + 4].try_into().unwrap())
    }

    pub fn qword(&self, at: usize) -> u64 {
        u64::from_ne_bytes(self.payload[at..at + 8].try_into().unwrap())
    }

    /// The bytes of a good reply.
    pub fn reply(&self, payload: &[u8]) -> Vec<u8> {
        [self.header.reply(payload.len()).as_bytes(), payload].concat()
    }

    /// The bytes of a refusal.
    pub fn refusal(&self, errno: Errno) -> Vec<u8> {
        self.header.error_reply(errno).as_bytes().to_vec()
    }
}

/// A conversation with a client. What ends it early is not an error: most clients of these tests leave in anger.
pub struct Conversation {
    pub stream: UnixStream,
    received: Vec<u8>,
    fds: Vec<OwnedFd>,
    /// Commands of the client that came while something else was awaited.
    pub early: VecDeque<Request>,
    next_id: u16,
}

impl Conversation {
    pub fn new(stream: UnixStream) -> Conversation {
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.set_write_timeout(Some(LONG)).unwrap();
        Conversation { stream, received: Vec::new(), fds: Vec::new(), early: VecDeque::new(), next_id: 0 }
    }

    /// The next message; nothing when the client has left.
    pub fn receive(&mut self) -> Option<Request> {
        if let Some(early) = self.early.pop_front() {
            return Some(early);
        }
        self.receive_next()
    }

    fn receive_next(&mut self) -> Option<Request> {
        loop {
            if let Some(header) = Header::parse(&self.received)
                && self.received.len() >= header.size as usize
            {
                let rest = self.received.split_off(header.size as usize);
                let payload = std::mem::replace(&mut self.received, rest).split_off(16);
                return Some(Request { header, payload, fds: std::mem::take(&mut self.fds) });
            }
            let mut bytes = vec![0; 64 << 10];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let flags = RecvFlags::CMSG_CLOEXEC;
            let got = match recvmsg(&self.stream, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags) {
                Ok(message) if message.bytes > 0 => message.bytes,
                Ok(_) | Err(Errno::CONNRESET) => return None,
                Err(Errno::INTR) => continue,
                Err(errno) => panic!("the client says nothing: {errno}"),
            };
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(fds) = message {
                    self.fds.extend(fds);
                }
            }
            self.received.extend_from_slice(&bytes[..got]);
        }
    }

    /// Sends bytes as they are. False: the client has left.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.send_with(bytes, &[])
    }

    /// The same, with descriptors beside the first byte.
    pub fn send_with(&mut self, mut bytes: &[u8], fds: &[BorrowedFd<'_>]) -> bool {
        let mut fds = fds;
        while !bytes.is_empty() {
            let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !fds.is_empty() {
                assert!(control.push(SendAncillaryMessage::ScmRights(fds)));
            }
            match sendmsg(&self.stream, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL) {
                Ok(sent) => {
                    bytes = &bytes[sent..];
                    fds = &[];
                }
                Err(Errno::INTR) => {}
                Err(Errno::PIPE | Errno::CONNRESET) => return false,
                Err(errno) => panic!("the client does not read: {errno}"),
            }
        }
        true
    }

    /// Answers `VERSION` with these capabilities (the JSON behind `"capabilities":`). False: the client has left.
    pub fn negotiate(&mut self, capabilities: &str) -> bool {
        let Some(request) = self.receive() else { return false };
        assert_eq!(request.command(), Some(Command::Version));
        self.send(&request.reply(&version(0, 1, &format!("{{\"capabilities\":{capabilities}}}\0"))))
    }

    /// Waits until the client has left, and drops what it sends.
    pub fn wait_for_the_end(&mut self) {
        while self.receive().is_some() {}
    }

    /// The bytes of a command to the client.
    pub fn command(&mut self, command: Command, payload: &[u8]) -> Vec<u8> {
        self.next_id = self.next_id.wrapping_add(1);
        let header =
            Header::command(self.next_id, command, payload.len(), vfio_user::codec::HeaderFlags::empty());
        [header.as_bytes(), payload].concat()
    }

    /// Asks the client for memory and waits for its answer; its commands meanwhile are kept for later.
    pub fn dma_read(&mut self, address: u64, count: u64) -> Option<Result<Vec<u8>, Errno>> {
        let command = self.command(Command::DmaRead, DmaAccess { address, count }.as_bytes());
        self.send(&command);
        Some(self.answer()?.map(|payload| payload[16..].to_vec()))
    }

    /// Writes to the client's memory.
    pub fn dma_write(&mut self, address: u64, data: &[u8]) -> Option<Result<(), Errno>> {
        let access = DmaAccess { address, count: data.len() as u64 };
        let command = self.command(Command::DmaWrite, &[access.as_bytes(), data].concat());
        self.send(&command);
        Some(self.answer()?.map(drop))
    }

    /// The next answer of the client's.
    pub fn answer(&mut self) -> Option<Result<Vec<u8>, Errno>> {
        loop {
            let message = self.receive_next()?;
            if message.header.message_type() == Some(MessageType::Command) {
                self.early.push_back(message);
                continue;
            }
            return Some(match message.header.failure() {
                Some(errno) => Err(errno),
                None => Ok(message.payload),
            });
        }
    }
}

/// A `VERSION` payload with this text.
pub fn version(major: u16, minor: u16, text: &str) -> Vec<u8> {
    [&major.to_ne_bytes()[..], &minor.to_ne_bytes(), text.as_bytes()].concat()
}
