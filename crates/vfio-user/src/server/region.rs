//! Region reads and region information.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use assign::RegionFlags;
use gate::ThreadToken;
use rustix::io::Errno;
use zerocopy::IntoBytes;

use super::session::Session;
use crate::codec::{
    HEADER_SIZE, Header, RegionAccess, RegionCapabilities, RegionInfo, RegionInfoFlags, RegionType,
    SparseArea, wire_size,
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
        self.hold.read(token, &self.facts, access, data)?;
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
        let mut info = RegionInfo { argsz: wire_size(FIXED), index: asked.index, ..RegionInfo::default() };
        if asked.index == VGA {
            return self.reply(header, &[info.as_bytes()]);
        }
        let region = self.facts.region(asked.index)?;
        info.flags = region.flags.0 & (RegionFlags::READ | RegionFlags::WRITE);
        info.size = region.size;
        let kind = region.kind.map(|own| RegionType { kind: own.kind, subtype: own.subtype });
        let shared = self.share(token, asked.index);
        let areas = shared.iter().flat_map(|(areas, _)| areas.iter().copied()).collect();
        let capabilities = RegionCapabilities { kind, areas }.encode();
        if shared.is_some() {
            info.flags |= RegionInfoFlags::MMAP.bits();
        }
        if !capabilities.is_empty() {
            info.flags |= RegionInfoFlags::CAPS.bits();
            info.argsz = wire_size(FIXED + capabilities.len());
            // Also in an answer that has no room for them: QEMU takes one with the flag and no offset as wrong.
            info.cap_offset = wire_size(FIXED);
        }
        if asked.argsz < info.argsz {
            return self.reply(header, &[info.as_bytes()]);
        }
        self.reply(header, &[info.as_bytes(), &capabilities])?;
        if let Some((_, file)) = shared {
            self.send_fd(token, file.as_fd());
        }
        Ok(())
    }

    /// What the client may map of a region, and the file to map; nothing of a function that is no longer there. The answer to the first question stands, so that the one
    /// with room for it finds what the one without was told.
    fn share(&mut self, token: &mut ThreadToken, index: u32) -> Option<(Vec<SparseArea>, Arc<OwnedFd>)> {
        // A client that takes no descriptors cannot map, and is not told that it could.
        if self.client_fds == 0 {
            return None;
        }
        let Session { hold, connection, .. } = self;
        let shared = hold.function()?.share(token, index, || describe(connection.peer_process()))?;
        let areas = shared.areas().iter().map(|area| SparseArea { offset: area.offset, size: area.size });
        Some((areas.collect(), Arc::clone(shared.file())))
    }

    /// Sends the outbox with a descriptor. It holds nothing but the reply: it was flushed before this command.
    fn send_fd(&mut self, token: &mut ThreadToken, fd: BorrowedFd<'_>) {
        self.hold.rest(token);
        // A failure to send ends the session at its next receive.
        let _ = self.connection.flush_with(token, &[fd]);
    }
}

/// A client, for the operator.
fn describe(process: Option<i32>) -> String {
    process
        .map_or_else(|| "vfio-user client".into(), |process| format!("vfio-user client, process {process}"))
}
