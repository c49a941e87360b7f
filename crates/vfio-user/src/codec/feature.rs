//! `DEVICE_FEATURE` (vfio-user protocol, *VFIO_USER_DEVICE_FEATURE*).

use bitflags::bitflags;
use rustix::io::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::take;

/// Fixed part of `DEVICE_FEATURE`: 8 bytes, then data of the feature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Feature {
    /// Bytes that the sender has room for.
    pub argsz: u32,
    /// The feature's number in bits 0-15, then [`FeatureFlags`].
    pub flags: u32,
}

bitflags! {
    /// The flag bits of [`Feature::flags`], without the number in bits 0-15.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct FeatureFlags: u32 {
        /// Reads the feature.
        const GET = 1 << 16;
        /// Sets the feature.
        const SET = 1 << 17;
        /// Asks whether the feature offers what the other two bits name.
        const PROBE = 1 << 18;
    }
}

impl Feature {
    /// Parses and checks the fixed part.
    ///
    /// # Errors
    /// `EINVAL` for a short payload, an `argsz` below 8, an unknown flag, neither GET nor SET, or both without
    /// PROBE (Linux behaviour VF-45).
    pub fn parse(payload: &[u8]) -> Result<Feature, Errno> {
        let (feature, _) = take::<Feature>(payload)?;
        let flags = FeatureFlags::from_bits(feature.flags & !0xffff).ok_or(Errno::INVAL)?;
        let probe = flags.contains(FeatureFlags::PROBE);
        let both = flags.contains(FeatureFlags::GET | FeatureFlags::SET);
        let neither = !flags.intersects(FeatureFlags::GET | FeatureFlags::SET);
        if (feature.argsz as usize) < size_of::<Feature>() || (both && !probe) || neither {
            return Err(Errno::INVAL);
        }
        Ok(feature)
    }

    /// The feature's number.
    pub fn number(&self) -> u32 {
        self.flags & 0xffff
    }
}
