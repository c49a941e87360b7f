//! A message between a function and a back end, as bytes.

use std::io::{IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use vfio_user::codec::{Command, Header};
use zerocopy::IntoBytes;

/// Bytes of a header.
const HEADER: usize = 16;

pub(crate) struct Message {
    pub(crate) bytes: Vec<u8>,
    pub(crate) fds: Vec<OwnedFd>,
}

impl Message {
    /// The next one; nothing when the other side has left. Descriptors come with the first byte, so the header is taken alone.
    pub(crate) fn receive(mut stream: &UnixStream) -> Option<Message> {
        let mut bytes = vec![0; HEADER];
        let mut fds = Vec::new();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let got = recvmsg(stream, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags).ok()?.bytes;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(some) = message {
                fds.extend(some);
            }
        }
        if got == 0 {
            return None;
        }
        stream.read_exact(&mut bytes[got..]).ok()?;
        let size = Header::parse(&bytes)?.size as usize;
        bytes.resize(size.max(HEADER), 0);
        stream.read_exact(&mut bytes[HEADER..]).ok()?;
        Some(Message { bytes, fds })
    }

    pub(crate) fn header(&self) -> Header {
        Header::parse(&self.bytes).unwrap()
    }

    pub(crate) fn command(&self) -> Option<Command> {
        Command::from_number(self.header().command)
    }

    pub(crate) fn payload(&self) -> &[u8] {
        &self.bytes[HEADER..]
    }

    /// A dword of the payload; 0 where it has none.
    pub(crate) fn dword(&self, at: usize) -> u32 {
        let bytes = self.payload().get(at..at + 4);
        bytes.map_or(0, |bytes| u32::from_ne_bytes(bytes.try_into().unwrap()))
    }

    pub(crate) fn qword(&self, at: usize) -> u64 {
        u64::from(self.dword(at)) | u64::from(self.dword(at + 4)) << 32
    }

    /// The same with another header.
    pub(crate) fn changed(&self, change: impl FnOnce(&mut Header)) -> Vec<u8> {
        let mut header = self.header();
        change(&mut header);
        [header.as_bytes(), self.payload()].concat()
    }

    /// The same with another payload, and its size put right.
    pub(crate) fn with(&self, payload: &[u8]) -> Vec<u8> {
        let mut header = self.header();
        header.size = u32::try_from(HEADER + payload.len()).unwrap();
        [header.as_bytes(), payload].concat()
    }

    /// The same with these bytes of the payload changed.
    pub(crate) fn put(&self, at: usize, bytes: &[u8]) -> Vec<u8> {
        let mut payload = self.payload().to_vec();
        payload.resize(payload.len().max(at + bytes.len()), 0);
        payload[at..at + bytes.len()].copy_from_slice(bytes);
        self.with(&payload)
    }
}
