//! `zpci = { ... }`: how a function shows in the s390 view.

use toml::Spanned;
use toml::de::DeValue;

use super::document::{Taken, claim};
use super::section::{Reading, Section};

/// How a function shows in the s390 view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ZpciConfig {
    /// `fid`: its function ID; `None`: made from its address.
    pub fid: Option<u32>,
    /// `uid`: its user-defined ID, 1 to 0xffff; 0 without one.
    pub uid: u16,
    /// `io_region`: whether consumers get the I/O region; `None`: if the device cannot be used without.
    pub io_region: Option<bool>,
}

/// Reads the `zpci` table of a slot.
pub(super) fn read_zpci(
    reading: &mut Reading<'_>,
    value: &Spanned<DeValue<'_>>,
    taken: &mut Taken,
) -> Option<ZpciConfig> {
    let keys = ["fid", "uid", "io_region"];
    let section = Section::open(reading, value, "zpci", &keys, "zpci = { fid = 0x10, uid = 0x1 }")?;
    let mut config = ZpciConfig::default();
    if section.get("fid").is_some() {
        let fid = section.number(reading, "fid", 0..=u32::MAX)?;
        claim(reading, &mut taken.fids, fid.value, &fid.span, "fid");
        config.fid = Some(fid.value);
    }
    if section.get("uid").is_some() {
        let uid = section.number(reading, "uid", 1..=0xffff)?;
        claim(reading, &mut taken.uids, uid.value, &uid.span, "uid");
        config.uid = u16::try_from(uid.value).ok()?;
    }
    if section.get("io_region").is_some() {
        config.io_region = Some(section.flag(reading, "io_region")?);
    }
    Some(config)
}
