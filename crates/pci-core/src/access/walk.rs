//! Walks of the two lists of capabilities, over any way to read a register.
//!
//! The lists come from hardware or from a model, and may loop or point anywhere: both walks are bounded (CAP-01).

use super::{ConfigStatus, Width};
use pci_spec::{Status, capability, config, extended};

/// The capabilities of the first 256 bytes, as (offset, identifier), in the order of the list.
///
/// At most 48; a pointer below 0x40 ends the list, and so does identifier 0xff. The low two bits of a pointer are masked.
/// PCI Local Bus 3.0 s6.7 *Capabilities List*.
pub fn capabilities<R>(read: R) -> impl Iterator<Item = Result<(u16, u8), ConfigStatus>>
where
    R: FnMut(u16, Width) -> Result<u32, ConfigStatus>,
{
    let mut walk = Standard { read, next: None, left: capability::MAX_COUNT };
    std::iter::from_fn(move || walk.step().transpose())
}

struct Standard<R> {
    read: R,
    /// The pointer to follow; not read yet before the first step.
    next: Option<u8>,
    left: usize,
}

impl<R: FnMut(u16, Width) -> Result<u32, ConfigStatus>> Standard<R> {
    fn step(&mut self) -> Result<Option<(u16, u8)>, ConfigStatus> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        // An error ends the walk too: a later step must not begin again.
        self.left = 0;
        let pointer = match self.next {
            Some(pointer) => pointer,
            None => self.first()?,
        };
        let at = u16::from(pointer & capability::POINTER_MASK);
        if at < capability::FIRST_OFFSET {
            return Ok(None);
        }
        let [id, next, ..] = (self.read)(at, Width::Word)?.to_le_bytes();
        if id == u8::MAX {
            return Ok(None);
        }
        self.next = Some(next);
        self.left = left;
        Ok(Some((at, id)))
    }

    fn first(&mut self) -> Result<u8, ConfigStatus> {
        let [status, ..] = (self.read)(config::STATUS, Width::Word)?.to_le_bytes();
        if u16::from(status) & Status::CAPABILITIES_LIST.bits() == 0 {
            return Ok(0);
        }
        let [pointer, ..] = (self.read)(config::CAPABILITIES_POINTER, Width::Byte)?.to_le_bytes();
        Ok(pointer)
    }
}

/// The capabilities from 0x100, as (offset, identifier), in the order of the list.
///
/// At most as many as fit; a header of 0 (or all-ones: nobody answers) ends the list, and so does a pointer below 0x100.
/// PCIe 6.0 s7.6.3 *PCI Express Extended Capability Header*.
pub fn extended_capabilities<R>(mut read: R) -> impl Iterator<Item = Result<(u16, u16), ConfigStatus>>
where
    R: FnMut(u16, Width) -> Result<u32, ConfigStatus>,
{
    let mut next = extended::FIRST_OFFSET;
    let step = move || {
        if next < extended::FIRST_OFFSET {
            return None;
        }
        let at = next;
        next = 0;
        match read(at, Width::Dword) {
            Ok(dword) => {
                let header = extended::Header::decode(dword)?;
                next = header.next;
                Some(Ok((at, header.id)))
            }
            Err(status) => Some(Err(status)),
        }
    };
    std::iter::from_fn(step).take(extended::MAX_COUNT)
}
