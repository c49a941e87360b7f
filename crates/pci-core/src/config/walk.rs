//! Finds capabilities over a way to read dwords that always gives an answer; the walks are those of [`crate::access`].

use super::ConfigSpace;
use crate::access::{self, ConfigStatus, Width};

/// The offset of the first capability `id` among the first 256 bytes. `read` gives the dword at an offset.
pub fn find_capability(id: u8, mut read: impl FnMut(u16) -> u32) -> Option<u16> {
    let part = move |register: u16, width: Width| {
        let shift = 8 * u32::from(register % 4);
        Ok(read(register - register % 4) >> shift & width.all_ones())
    };
    first(access::capabilities(part), id)
}

/// The offset of the first extended capability `id`. `read` gives the dword at an offset.
pub fn find_extended(id: u16, mut read: impl FnMut(u16) -> u32) -> Option<u16> {
    first(access::extended_capabilities(move |register, _dword| Ok(read(register))), id)
}

/// The offset of the first entry `id`.
fn first<I: PartialEq>(mut list: impl Iterator<Item = Result<(u16, I), ConfigStatus>>, id: I) -> Option<u16> {
    list.find_map(|found| found.ok().filter(|(_, found)| *found == id).map(|(at, _)| at))
}

impl ConfigSpace {
    /// The offset of the first capability `id` among the first 256 bytes, as software finds it (CAP-01).
    #[must_use]
    pub fn find_capability(&self, id: u8) -> Option<u16> {
        find_capability(id, |offset| self.dword(usize::from(offset / 4)))
    }

    /// The offset of the first extended capability `id`, as software finds it (CAP-01).
    #[must_use]
    pub fn find_extended(&self, id: u16) -> Option<u16> {
        find_extended(id, |offset| self.dword(usize::from(offset / 4)))
    }
}
