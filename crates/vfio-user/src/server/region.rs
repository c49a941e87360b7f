//! Region reads and region information.

use std::os::fd::BorrowedFd;

use assign::RegionFlags;
use gate::ThreadToken;
use rustix::io::Errno;
use zerocopy::IntoBytes;

use super::session::{Session, errno};
use crate::codec::{
    CapabilityHeader, HEADER_SIZE, Header, RegionAccess, RegionInfo, RegionInfoFlags, SparseArea, SparseMmap,
};

/// Region 8 of vfio's numbering. No function of ours has it, but it is within the count that every PCI device
/// reports, and a client that asks (rust-vmm's does, and mistakes an error for an answer) gets an empty region.
const VGA: u32 = 8;

/// Bytes of a region information without capabilities.
const FIXED: usize = size_of::<RegionInfo>();

impl Session<'_> {
    /// Reads straight into the reply.
    #[inline]
    pub(super) fn region_read(
        &mut self,
        token: &mut ThreadToken,
        header: &Header,
        access: RegionAccess,
    ) -> Result<(), Errno> {
        const HEAD: usize = HEADER_SIZE + size_of::<RegionAccess>();
        let length = access.count as usize;
        let outbox = &mut self.connection.outbox;
        let room = outbox.draft(HEAD + length)?;
        let (head, data) = room.split_at_mut_checked(HEAD).ok_or(Errno::NOMEM)?;
        let mut requests = self.assignment.requests(&mut self.patience);
        requests.region_read(token, access.region, access.offset, data).map_err(errno)?;
        if header.no_reply() {
            return Ok(());
        }
        let (reply_header, reply_access) = head.split_at_mut_checked(HEADER_SIZE).ok_or(Errno::NOMEM)?;
        let reply = header.reply(size_of::<RegionAccess>() + length);
        reply.write_to(reply_header).map_err(|_| Errno::NOMEM)?;
        access.write_to(reply_access).map_err(|_| Errno::NOMEM)?;
        outbox.commit(HEAD + length);
        Ok(())
    }

    /// Answers `DEVICE_GET_REGION_INFO`. With too small an `argsz` the answer is the fixed part with the size
    /// that is needed, and neither capabilities nor descriptor; the client asks again. There is one descriptor
    /// for a region, however many areas it has.
    pub(super) fn region_info(
        &mut self,
        token: &mut ThreadToken,
        header: &Header,
        asked: RegionInfo,
    ) -> Result<(), Errno> {
        let assignment = self.assignment;
        if asked.index == VGA {
            let info = RegionInfo { argsz: wire_size(FIXED), index: VGA, ..RegionInfo::default() };
            return self.reply(header, &[info.as_bytes()]);
        }
        let region = assignment.region_info(asked.index).map_err(errno)?;
        let mut info = RegionInfo {
            argsz: wire_size(FIXED),
            flags: region.flags.0 & (RegionFlags::READ | RegionFlags::WRITE),
            index: asked.index,
            cap_offset: 0,
            size: region.size,
            offset: 0,
        };
        // A client that takes no descriptors cannot map, and is not told that it could.
        let Some(fd) = region.fd.filter(|_| self.client_fds > 0 && !region.areas.is_empty()) else {
            return self.reply(header, &[info.as_bytes()]);
        };
        let areas: Vec<SparseArea> =
            region.areas.iter().map(|area| SparseArea { offset: area.offset, size: area.size }).collect();
        let capability = CapabilityHeader { id: SparseMmap::ID, version: SparseMmap::VERSION, next: 0 };
        let head = SparseMmap { count: wire_size(areas.len()), reserved: 0 };
        let parts = [capability.as_bytes(), head.as_bytes(), areas.as_bytes()];
        info.argsz = wire_size(FIXED + parts.iter().map(|part| part.len()).sum::<usize>());
        info.flags |= (RegionInfoFlags::MMAP | RegionInfoFlags::CAPS).bits();
        if asked.argsz < info.argsz {
            return self.reply(header, &[info.as_bytes()]);
        }
        info.cap_offset = wire_size(FIXED);
        self.reply(header, &[info.as_bytes(), parts[0], parts[1], parts[2]])?;
        self.send_fd(token, fd);
        Ok(())
    }

    /// Sends the outbox with a descriptor. It holds nothing but the reply: it was flushed before this command.
    fn send_fd(&mut self, token: &mut ThreadToken, fd: BorrowedFd<'_>) {
        // A failure to send ends the session at its next receive.
        let _ = self.connection.flush_with(token, &[fd]);
    }
}

/// A size of a structure or a list that this process made, which is far below 4 GiB.
fn wire_size(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}
