//! A device that behaves: registers that are memory, and a note of everything that was asked.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use vfio_user::codec::{
    Command, DeviceFlags, DeviceInfo, DmaMap, DmaUnmap, IrqInfo, IrqInfoFlags, RegionAccess, RegionInfo,
    RegionInfoFlags, SetIrqs, irq_index,
};
use zerocopy::{FromBytes, IntoBytes};

use super::{Conversation, Request};

/// The configuration space among the regions.
pub const CONFIG: u32 = 7;

/// Bytes of BAR 0.
pub const BAR0: u64 = 0x2000;

/// MSI-X vectors.
pub const VECTORS: u32 = 4;

/// A function with 8 KiB of BAR 0 and 4 KiB of configuration space, both memory, INTx and four MSI-X vectors.
pub struct Plain {
    pub bar0: Vec<u8>,
    pub config: Vec<u8>,
    pub maps: Vec<DmaMap>,
    /// The eventfds of each index, by vector.
    pub eventfds: [Vec<Option<OwnedFd>>; 5],
    pub resets: usize,
    /// Commands so far.
    pub log: Vec<Command>,
}

impl Default for Plain {
    fn default() -> Plain {
        let mut config = vec![0; 4096];
        // Vendor, device, and the class of an NVMe controller.
        config[..4].copy_from_slice(&[0x34, 0x12, 0xe8, 0x11]);
        config[9..12].copy_from_slice(&[2, 8, 1]);
        Plain {
            bar0: vec![0; usize::try_from(BAR0).unwrap()],
            config,
            maps: Vec::new(),
            eventfds: Default::default(),
            resets: 0,
            log: Vec::new(),
        }
    }
}

impl Plain {
    /// Negotiates, and serves the client until it leaves.
    pub fn serve(&mut self, conversation: &mut Conversation) {
        if conversation.negotiate("{\"max_msg_fds\":8}") {
            self.serve_until(conversation, |_| false);
        }
    }

    /// Serves the client until it leaves or `stop` says so, of a request that is then not served.
    pub fn serve_until(
        &mut self,
        conversation: &mut Conversation,
        mut stop: impl FnMut(&Request) -> bool,
    ) -> Option<Request> {
        loop {
            let request = conversation.receive()?;
            if stop(&request) {
                return Some(request);
            }
            let reply = self.answer(request);
            if !conversation.send(&reply) {
                return None;
            }
        }
    }

    /// Does what is asked, and gives the bytes of the reply; none if it was posted.
    pub fn answer(&mut self, mut request: Request) -> Vec<u8> {
        let fds = std::mem::take(&mut request.fds);
        let outcome = match request.command() {
            Some(command) => {
                self.log.push(command);
                self.act(command, &request, fds)
            }
            None => Err(Errno::OPNOTSUPP),
        };
        match outcome {
            _ if request.header.no_reply() => Vec::new(),
            Ok(payload) => request.reply(&payload),
            Err(errno) => request.refusal(errno),
        }
    }

    fn act(&mut self, command: Command, request: &Request, fds: Vec<OwnedFd>) -> Result<Vec<u8>, Errno> {
        let payload = &request.payload;
        match command {
            Command::DmaMap => {
                let (map, _) = DmaMap::read_from_prefix(payload).map_err(|_| Errno::INVAL)?;
                self.maps.push(map);
                Ok(Vec::new())
            }
            Command::DmaUnmap => {
                let (unmap, _) = DmaUnmap::read_from_prefix(payload).map_err(|_| Errno::INVAL)?;
                let before = self.maps.len();
                self.maps.retain(|map| unmap.flags & 2 == 0 && map.address != unmap.address);
                let found = self.maps.len() < before || unmap.flags & 2 != 0;
                if found { Ok(payload.clone()) } else { Err(Errno::NOENT) }
            }
            Command::DeviceGetInfo => {
                let flags = (DeviceFlags::RESET | DeviceFlags::PCI).bits();
                Ok(DeviceInfo { argsz: 16, flags, num_regions: 9, num_irqs: 5 }.as_bytes().to_vec())
            }
            Command::DeviceGetRegionInfo => {
                let index = request.dword(8);
                let flags = (RegionInfoFlags::READ | RegionInfoFlags::WRITE).bits();
                let size = match index {
                    0 => BAR0,
                    CONFIG => 4096,
                    1..9 => 0,
                    _ => return Err(Errno::INVAL),
                };
                let flags = if size == 0 { 0 } else { flags };
                Ok(RegionInfo { argsz: 32, flags, index, size, ..RegionInfo::default() }.as_bytes().to_vec())
            }
            Command::DeviceGetIrqInfo => {
                let index = request.dword(8);
                let count = match index {
                    irq_index::INTX => 1,
                    irq_index::MSIX => VECTORS,
                    irq_index::MSI | irq_index::ERR | irq_index::REQ => 0,
                    _ => return Err(Errno::INVAL),
                };
                let flags = IrqInfoFlags::EVENTFD.bits();
                Ok(IrqInfo { argsz: 16, flags, index, count }.as_bytes().to_vec())
            }
            Command::DeviceSetIrqs => self.set_irqs(payload, fds),
            Command::RegionRead | Command::RegionWrite => self.access(command, payload),
            Command::DeviceReset => {
                self.resets += 1;
                Ok(Vec::new())
            }
            _ => Err(Errno::OPNOTSUPP),
        }
    }

    fn set_irqs(&mut self, payload: &[u8], fds: Vec<OwnedFd>) -> Result<Vec<u8>, Errno> {
        let (set, _) = SetIrqs::read_from_prefix(payload).map_err(|_| Errno::INVAL)?;
        let eventfds = self.eventfds.get_mut(set.index as usize).ok_or(Errno::INVAL)?;
        if set.flags & 1 != 0 && set.count == 0 {
            eventfds.clear();
        }
        for (nth, fd) in fds.into_iter().enumerate() {
            let vector = set.start as usize + nth;
            if vector >= eventfds.len() {
                eventfds.resize_with(vector + 1, || None);
            }
            eventfds[vector] = Some(fd);
        }
        Ok(Vec::new())
    }

    fn access(&mut self, command: Command, payload: &[u8]) -> Result<Vec<u8>, Errno> {
        let (access, data) = RegionAccess::read_from_prefix(payload).map_err(|_| Errno::INVAL)?;
        let memory = match access.region {
            0 => &mut self.bar0,
            CONFIG => &mut self.config,
            _ => return Err(Errno::INVAL),
        };
        let start = usize::try_from(access.offset).map_err(|_| Errno::INVAL)?;
        let end = start.checked_add(access.count as usize).ok_or(Errno::INVAL)?;
        let memory = memory.get_mut(start..end).ok_or(Errno::INVAL)?;
        if command == Command::RegionRead {
            return Ok([access.as_bytes(), memory].concat());
        }
        if data.len() != memory.len() {
            return Err(Errno::INVAL);
        }
        memory.copy_from_slice(data);
        Ok(access.as_bytes().to_vec())
    }
}
