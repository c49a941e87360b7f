//! Finds capabilities by walking their lists, which a broken device may have made endless.
//!
//! Bounded as CAP-01 says: 48 hops among the first 256 bytes, ended by a pointer below 0x40 or the identifier 0xff;
//! (4096 - 256) / 8 hops in the extended space, ended by a header of 0.

use super::ConfigSpace;
use pci_spec::{Status, capability, config, extended};

/// The offset of the first capability `id` among the first 256 bytes. `read` gives the dword at an offset.
pub fn find_capability(id: u8, mut read: impl FnMut(u16) -> u32) -> Option<u16> {
    let status = read(config::COMMAND) >> 16;
    if status & u32::from(Status::CAPABILITIES_LIST.bits()) == 0 {
        return None;
    }
    let [first, ..] = read(config::CAPABILITIES_POINTER).to_le_bytes();
    let mut at = first & capability::POINTER_MASK;
    for _hop in 0..capability::MAX_COUNT {
        if u16::from(at) < capability::FIRST_OFFSET {
            return None;
        }
        match read(u16::from(at)).to_le_bytes() {
            [u8::MAX, ..] => return None,
            [found, ..] if found == id => return Some(u16::from(at)),
            [_, next, ..] => at = next & capability::POINTER_MASK,
        }
    }
    None
}

/// The offset of the first extended capability `id`. `read` gives the dword at an offset.
pub fn find_extended(id: u16, mut read: impl FnMut(u16) -> u32) -> Option<u16> {
    let mut at = extended::FIRST_OFFSET;
    for _hop in 0..extended::MAX_COUNT {
        if at < extended::FIRST_OFFSET {
            return None;
        }
        let header = extended::Header::decode(read(at))?;
        if header.id == id {
            return Some(at);
        }
        at = header.next;
    }
    None
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
