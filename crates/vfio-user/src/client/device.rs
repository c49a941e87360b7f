//! What the function is: device, region and interrupt information, and reset.

use std::os::fd::{AsFd, OwnedFd};

use gate::ThreadToken;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{Client, ClientError, MappedArea};
use crate::codec::{
    Command, DeviceInfo, Feature, IrqInfo, RegionCapabilities, RegionInfo, RegionInfoFlags, RegionType,
    SparseArea, take,
};

/// Room for the capabilities of a region in the first request, in bytes.
const REGION_ARGSZ: u32 = 4096;

/// A region of the function.
#[derive(Debug)]
pub struct Region {
    /// Size, flags, and where the region begins in the descriptor.
    pub info: RegionInfo,
    /// What it is for, if it is a region of the device's own.
    pub kind: Option<RegionType>,
    /// What may be mapped. Empty with [`RegionInfoFlags::MMAP`]: all of it; see [`Region::mappable`].
    pub areas: Vec<SparseArea>,
    /// The memory behind the region, where it can be mapped.
    pub fd: Option<OwnedFd>,
}

impl Region {
    /// The flags that are known.
    pub fn flags(&self) -> RegionInfoFlags {
        RegionInfoFlags::from_bits_truncate(self.info.flags)
    }

    /// The parts that may be mapped; a region without a list may be mapped as a whole.
    pub fn mappable(&self) -> Vec<SparseArea> {
        let needed = RegionInfoFlags::MMAP | RegionInfoFlags::READ | RegionInfoFlags::WRITE;
        match &self.fd {
            Some(_) if self.flags().contains(needed) && self.areas.is_empty() => {
                vec![SparseArea { offset: 0, size: self.info.size }]
            }
            Some(_) if self.flags().contains(needed) => self.areas.clone(),
            _ => Vec::new(),
        }
    }

    /// Maps a part of one of [`Region::mappable`].
    ///
    /// # Errors
    /// The part lies in none of them, or the server's file is shorter than it says.
    pub fn map(&self, part: &SparseArea) -> Result<MappedArea, ClientError> {
        let fd = self.fd.as_ref().ok_or(ClientError::Request("the region has no memory to map"))?;
        let inside = |area: &SparseArea| {
            let ends = (part.offset.checked_add(part.size), area.offset.checked_add(area.size));
            part.offset >= area.offset && matches!(ends, (Some(end), Some(limit)) if end <= limit)
        };
        let start = self.info.offset.checked_add(part.offset);
        let start = start.filter(|_| self.mappable().iter().any(inside));
        let start = start.ok_or(ClientError::Request("the part is in no area that may be mapped"))?;
        MappedArea::new(fd.as_fd(), start, part.size, part.offset).map_err(ClientError::Memory)
    }
}

impl Client {
    /// Flags of the device and the numbers of its regions and interrupt indexes.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn device_info(&mut self, token: &mut ThreadToken) -> Result<DeviceInfo, ClientError> {
        let argsz = 16;
        self.info(token, Command::DeviceGetInfo, &DeviceInfo { argsz, ..DeviceInfo::default() })
    }

    /// Flags and vectors of an interrupt index (see [`crate::codec::irq_index`]).
    ///
    /// # Errors
    /// See [`ClientError`]; `EINVAL` for an index that does not exist.
    pub fn irq_info(&mut self, token: &mut ThreadToken, index: u32) -> Result<IrqInfo, ClientError> {
        let request = IrqInfo { argsz: 16, index, ..IrqInfo::default() };
        let info = self.info(token, Command::DeviceGetIrqInfo, &request)?;
        if info.index != index {
            return self.malformed(Command::DeviceGetIrqInfo, "it is about another index");
        }
        Ok(info)
    }

    /// Size, flags, mappable areas and memory of a region. Asks a second time when the capabilities need more
    /// room than the first request gave.
    ///
    /// # Errors
    /// See [`ClientError`]; `EINVAL` for an index that does not exist.
    pub fn region_info(&mut self, token: &mut ThreadToken, index: u32) -> Result<Region, ClientError> {
        let command = Command::DeviceGetRegionInfo;
        let mut argsz = REGION_ARGSZ;
        for _ in 0..2 {
            let request = RegionInfo { argsz, index, ..RegionInfo::default() };
            let mut reply = self.call(token, command, &[request.as_bytes()], &[])?;
            let payload = self.payload(&reply);
            let Ok((info, _)) = take::<RegionInfo>(payload) else {
                return self.malformed(command, "it is shorter than a region information");
            };
            if info.index != index {
                return self.malformed(command, "it is about another region");
            }
            if info.argsz > argsz {
                argsz = info.argsz;
                continue;
            }
            let Ok(RegionCapabilities { kind, areas }) = RegionCapabilities::parse(payload) else {
                return self.malformed(command, "its list of capabilities is broken");
            };
            let fd = reply.fds.drain(..).next();
            return Ok(Region { info, kind, areas, fd });
        }
        self.malformed(command, "it asks for more room each time")
    }

    /// Resets the device. Mappings and interrupts stay set up.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn reset(&mut self, token: &mut ThreadToken) -> Result<(), ClientError> {
        self.call(token, Command::DeviceReset, &[], &[]).map(drop)
    }

    /// Resets the device, and does not wait until that is done. What is sent later finds it reset. A refusal breaks the
    /// stream when it comes.
    ///
    /// # Errors
    /// See [`ClientError`]; [`ClientError::Request`] when many replies are out.
    pub fn post_reset(&mut self, token: &mut ThreadToken) -> Result<(), ClientError> {
        self.leave(token, Command::DeviceReset)
    }

    /// Asks whether a feature is there; `flags` are [`crate::codec::FeatureFlags`] with the feature's number in
    /// bits 0-15.
    ///
    /// # Errors
    /// See [`ClientError`]; `ENOTTY` for a feature that is not there.
    pub fn feature(&mut self, token: &mut ThreadToken, flags: u32) -> Result<(), ClientError> {
        let feature = Feature { argsz: 8, flags };
        self.call(token, Command::DeviceFeature, &[feature.as_bytes()], &[]).map(drop)
    }

    /// A command whose reply is a structure like its payload.
    pub(super) fn info<T>(
        &mut self,
        token: &mut ThreadToken,
        command: Command,
        request: &T,
    ) -> Result<T, ClientError>
    where
        T: FromBytes + IntoBytes + Immutable + KnownLayout,
    {
        let reply = self.call(token, command, &[request.as_bytes()], &[])?;
        match take(self.payload(&reply)) {
            Ok((info, _)) => Ok(info),
            Err(_) => self.malformed(command, "it is too short"),
        }
    }

    /// A malformed reply that was cut cleanly from the stream still makes the server untrustworthy.
    pub(super) fn malformed<T>(&mut self, command: Command, what: &'static str) -> Result<T, ClientError> {
        self.note(Err(ClientError::Malformed { command, what }))
    }
}
