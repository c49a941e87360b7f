//! The initiator's end of the socket, byte for byte.
//!
//! It is not [`vfio_user::client`], which negotiates, numbers its messages and closes nothing early: a server that
//! works with that one only would not be noticed.

use std::io::{IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use vfio_user::client::Region;
use vfio_user::codec::{
    Command, Header, HeaderFlags, MessageType, RegionAccess, RegionCapabilities, RegionInfo,
};
use zerocopy::{FromBytes, IntoBytes};

/// Region index of BAR 0.
pub(crate) const BAR0: u32 = 0;
/// Region index of configuration space.
pub(crate) const CONFIG: u32 = 7;
/// Bytes of every request for region information: all that the initiator has room for.
const REGION_INFO_BYTES: usize = 4064;

pub(crate) struct Wire(UnixStream);

impl Wire {
    /// Connects to `cntrl` in `directory`.
    pub(crate) fn connect(directory: &Path) -> Self {
        let stream = UnixStream::connect(directory.join("cntrl")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self(stream)
    }

    /// Sends a command with id 0; returns the payload of its reply and the descriptors that came with it. The header
    /// is received alone and the payload in one piece, as the initiator does.
    #[track_caller]
    pub(crate) fn call(
        &mut self,
        command: Command,
        payload: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> (Vec<u8>, Vec<OwnedFd>) {
        let header = Header::command(0, command, payload.len(), HeaderFlags::empty());
        let bytes = [header.as_bytes(), payload].concat();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(fds)));
        }
        let sent = sendmsg(&self.0, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL).unwrap();
        assert_eq!(sent, bytes.len());

        let mut head = [0; 16];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let got = recvmsg(&self.0, &mut [IoSliceMut::new(&mut head)], &mut control, flags).unwrap();
        assert_eq!(got.bytes, head.len());
        let mut received = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                received.extend(rights);
            }
        }
        let header = Header::parse(&head).unwrap();
        assert_eq!((header.message_id, header.command), (0, command as u16));
        assert_eq!(header.message_type(), Some(MessageType::Reply));
        assert_eq!(header.failure(), None, "{command:?}");
        let mut reply = vec![0; usize::try_from(header.size).unwrap() - head.len()];
        if !reply.is_empty() {
            assert_eq!(self.0.read(&mut reply).unwrap(), reply.len(), "{command:?}: in one piece");
        }
        (reply, received)
    }

    /// Asks about a region, with a request as large as the largest reply.
    pub(crate) fn region(&mut self, index: u32) -> Region {
        let argsz = u32::try_from(REGION_INFO_BYTES).unwrap();
        let mut request = vec![0; REGION_INFO_BYTES];
        let info = RegionInfo { argsz, index, ..RegionInfo::default() };
        request[..size_of::<RegionInfo>()].copy_from_slice(info.as_bytes());
        let (reply, fds) = self.call(Command::DeviceGetRegionInfo, &request, &[]);
        let (info, _) = RegionInfo::read_from_prefix(&reply).unwrap();
        assert_eq!(info.index, index);
        let RegionCapabilities { kind, areas } = RegionCapabilities::parse(&reply).unwrap();
        Region { info, kind, areas, fd: fds.into_iter().next() }
    }

    pub(crate) fn read(&mut self, region: u32, offset: u64, count: u32) -> Vec<u8> {
        let access = RegionAccess { offset, region, count };
        let (mut reply, _) = self.call(Command::RegionRead, access.as_bytes(), &[]);
        reply.split_off(size_of::<RegionAccess>())
    }

    pub(crate) fn write(&mut self, region: u32, offset: u64, data: &[u8]) {
        let access = RegionAccess { offset, region, count: u32::try_from(data.len()).unwrap() };
        self.call(Command::RegionWrite, &[access.as_bytes(), data].concat(), &[]);
    }

    pub(crate) fn read_u32(&mut self, register: u64) -> u32 {
        u32::from_le_bytes(self.read(BAR0, register, 4).try_into().unwrap())
    }

    pub(crate) fn read_u64(&mut self, register: u64) -> u64 {
        u64::from_le_bytes(self.read(BAR0, register, 8).try_into().unwrap())
    }
}
