//! A saved state as opaque bytes, for a caller that keeps it while the function is elsewhere (RST-20).
//!
//! Layout: mark (4 bytes), vendor, device, number of registers (2 bytes each, little-endian like all), then for each
//! register its stage and width (1 byte each), offset (2) and value (4).

use super::{Place, SavedState, Stage};
use pci_core::{Errno, Width};
use pci_spec::EXTENDED_CONFIG_SPACE_SIZE;
use thiserror::Error;

const MARK: [u8; 4] = *b"PRS1";
const HEAD: usize = 10;
const ENTRY: usize = 8;

/// Why bytes are no saved state of this function. The errno is `EINVAL` in each case (RST-20).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BlobError {
    /// Not made by [`SavedState::store`], or cut short, or with something after its end.
    #[error("the saved state has another size than it says, or is none")]
    Size,
    /// Of a function with other identifiers or other registers.
    #[error("the saved state is of another function")]
    Identity,
}

impl BlobError {
    /// `EINVAL`.
    #[must_use]
    pub const fn errno(self) -> Errno {
        Errno::EINVAL
    }
}

impl SavedState {
    /// The state as bytes.
    #[must_use]
    pub fn store(&self) -> Vec<u8> {
        let SavedState { identity: (vendor, device), registers } = self;
        // As many registers as a configuration space has always fit in 16 bits.
        let count = u16::try_from(registers.len()).unwrap_or(u16::MAX);
        let mut bytes = Vec::with_capacity(HEAD + ENTRY * registers.len());
        bytes.extend(MARK);
        for number in [*vendor, *device, count] {
            bytes.extend(number.to_le_bytes());
        }
        for (Place { stage, register, width }, value) in registers.iter().take(usize::from(count)) {
            bytes.extend([*stage as u8, width_code(*width)]);
            bytes.extend(register.to_le_bytes());
            bytes.extend(value.to_le_bytes());
        }
        bytes
    }

    /// Reads what [`SavedState::store`] has made. Nothing in the bytes is believed: the registers are those that
    /// `like`, a state of the function as it is now, has, in the same order; only the values are new.
    ///
    /// # Errors
    /// [`BlobError`].
    pub fn load(bytes: &[u8], like: &SavedState) -> Result<SavedState, BlobError> {
        let loaded = parse(bytes).ok_or(BlobError::Size)?;
        // An empty state fits every function: restoring it does nothing.
        if loaded.is_empty() || loaded.is_like(like) { Ok(loaded) } else { Err(BlobError::Identity) }
    }
}

fn parse(bytes: &[u8]) -> Option<SavedState> {
    let (head, entries) = bytes.split_at_checked(HEAD)?;
    let (mark, numbers) = head.split_at(MARK.len());
    let number =
        |index: usize| Some(u16::from_le_bytes(numbers.get(2 * index..2 * index + 2)?.try_into().ok()?));
    let whole = mark == MARK && entries.len() == ENTRY * usize::from(number(2)?);
    if !whole {
        return None;
    }
    let registers = entries.chunks_exact(ENTRY).map(parse_entry).collect::<Option<Vec<_>>>()?;
    Some(SavedState { identity: (number(0)?, number(1)?), registers })
}

fn parse_entry(entry: &[u8]) -> Option<(Place, u32)> {
    let &[stage, width, low, high, a, b, c, d] = entry else { return None };
    let stage = *Stage::ALL.get(usize::from(stage))?;
    let width =
        [Width::Byte, Width::Word, Width::Dword].into_iter().find(|known| width_code(*known) == width)?;
    let register = u16::from_le_bytes([low, high]);
    let inside = usize::from(register) + usize::from(width.bytes()) <= EXTENDED_CONFIG_SPACE_SIZE;
    let place = Place { stage, register, width };
    Some((place, u32::from_le_bytes([a, b, c, d]))).filter(|_| inside && width.is_aligned(register))
}

fn width_code(width: Width) -> u8 {
    width.bytes().to_le_bytes()[0]
}
