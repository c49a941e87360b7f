//! What an instruction may ask for, whatever the function: lengths, alignment, boundaries (ZP-14). Pure.

use super::fault::ProgramCheck;

/// A single load or store lies within this many aligned bytes.
pub(super) const SINGLE: u64 = 8;

/// A block lies within this many aligned bytes.
pub(super) const PAGE: u64 = 4096;

/// A block is a multiple of this many bytes, and begins at a multiple of it.
pub(super) const BLOCK_UNIT: u64 = 8;

/// A single load or store of a BAR: 1, 2, 4 or 8 bytes, within 8 aligned ones.
///
/// # Errors
/// [`ProgramCheck`].
#[inline]
pub(super) const fn check_single(length: u16, offset: u64) -> Result<(), ProgramCheck> {
    if !matches!(length, 1 | 2 | 4 | 8) {
        return Err(ProgramCheck::Length);
    }
    if offset % SINGLE + length as u64 > SINGLE { Err(ProgramCheck::Crossing) } else { Ok(()) }
}

/// A block: a multiple of 8 bytes at a multiple of 8, within 4 KiB. How long a block the function takes is its own.
///
/// # Errors
/// [`ProgramCheck`].
#[inline]
pub(super) const fn check_block(length: u16, offset: u64) -> Result<(), ProgramCheck> {
    let length = length as u64;
    if length == 0 || !length.is_multiple_of(BLOCK_UNIT) {
        return Err(ProgramCheck::Length);
    }
    if !offset.is_multiple_of(BLOCK_UNIT) {
        return Err(ProgramCheck::Alignment);
    }
    if offset % PAGE + length > PAGE { Err(ProgramCheck::Crossing) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zp_14_a_single_load_or_store_has_1_2_4_or_8_bytes_within_a_doubleword() {
        for length in 0..=u16::MAX {
            let fits = [1, 2, 4, 8].contains(&length);
            assert_eq!(check_single(length, 0) == Err(ProgramCheck::Length), !fits, "{length}");
        }
        for (length, offset) in
            [(8, 0), (8, 0xff8), (4, 4), (4, 3), (2, 6), (1, 7), (1, 0xfff), (8, u64::MAX - 7)]
        {
            assert_eq!(check_single(length, offset), Ok(()), "{length} at {offset:#x}");
        }
        for (length, offset) in [(8, 1), (8, 4), (4, 5), (2, 7), (2, 0xfff), (4, 0xffd), (8, u64::MAX)] {
            assert_eq!(check_single(length, offset), Err(ProgramCheck::Crossing), "{length} at {offset:#x}");
        }
    }

    #[test]
    fn zp_14_a_block_is_a_multiple_of_8_at_a_multiple_of_8_within_4_kib() {
        for length in 0..=u16::MAX {
            let wrong = check_block(length, 0).err();
            let expected = match length {
                0 => Some(ProgramCheck::Length),
                length if length % 8 != 0 => Some(ProgramCheck::Length),
                length if length > 4096 => Some(ProgramCheck::Crossing),
                _ => None,
            };
            assert_eq!(wrong, expected, "{length}");
        }
        for (length, offset, expected) in [
            (128, 0xf80, Ok(())),
            (128, 0xf88, Err(ProgramCheck::Crossing)),
            (8, 0xff8, Ok(())),
            (4096, 0x2000, Ok(())),
            (4096, 0x2008, Err(ProgramCheck::Crossing)),
            (8, 4, Err(ProgramCheck::Alignment)),
            (8, u64::MAX - 7, Ok(())),
            (16, u64::MAX - 7, Err(ProgramCheck::Crossing)),
            (8, u64::MAX, Err(ProgramCheck::Alignment)),
        ] {
            assert_eq!(check_block(length, offset), expected, "{length} at {offset:#x}");
        }
    }
}
