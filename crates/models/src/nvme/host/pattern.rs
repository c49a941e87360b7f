//! Data that knows where and when it was written.
//!
//! Every 8 bytes of a block depend on its address, the round, and their place in the block, so a block that is old,
//! torn, shifted, or another's is found, and the first wrong byte is named.

/// First 8 bytes of every block of this pattern, less the low 16 bits, which depend on address and round.
const MAGIC: u64 = 0x706f_7274_6375_0000;
/// Odd, with bits well spread: the fractional part of the golden ratio.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
const WORD: usize = 8;

/// The first difference found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("block {lba}, byte {offset}: expected {expected:#018x}, found {found:#018x}")]
pub struct Mismatch {
    /// Logical block.
    pub lba: u64,
    /// Byte in the block, a multiple of 8.
    pub offset: usize,
    /// What was written there.
    pub expected: u64,
    /// What is there.
    pub found: u64,
}

/// The words of block `lba` in `round`.
fn words(lba: u64, round: u64) -> impl Iterator<Item = u64> {
    let seed = lba.wrapping_mul(SPREAD) ^ round.wrapping_add(1).wrapping_mul(SPREAD.rotate_left(23));
    let seed = seed ^ seed >> 29;
    let first = MAGIC | seed & 0xffff;
    std::iter::once(first).chain((1_u64..).map(move |at| {
        let word = seed.wrapping_add(at.wrapping_mul(SPREAD));
        word ^ word >> 32
    }))
}

/// Fills whole blocks from `lba` on with the pattern of `round`.
pub fn fill(data: &mut [u8], block_size: usize, lba: u64, round: u64) {
    for (block, lba) in data.chunks_exact_mut(block_size).zip(lba..) {
        for (bytes, word) in block.chunks_exact_mut(WORD).zip(words(lba, round)) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
    }
}

/// Compares whole blocks from `lba` on with the pattern of `round`.
///
/// # Errors
/// The first difference.
pub fn check(data: &[u8], block_size: usize, lba: u64, round: u64) -> Result<(), Mismatch> {
    for (block, lba) in data.chunks_exact(block_size).zip(lba..) {
        for ((bytes, expected), at) in block.chunks_exact(WORD).zip(words(lba, round)).zip(0..) {
            let found = bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
            if found != expected {
                return Err(Mismatch { lba, offset: at * WORD, expected, found });
            }
        }
    }
    Ok(())
}

/// Whether a block holds this pattern, of whatever address and round, or nothing but zeros: whether nobody else's
/// data would be lost by overwriting it.
pub fn is_ours_or_empty(block: &[u8]) -> bool {
    let ours = block.get(2..WORD).is_some_and(|bytes| *bytes == MAGIC.to_le_bytes()[2..]);
    ours || block.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_filled_checks_and_nothing_else_does() {
        let mut data = vec![0; 4 * 512];
        fill(&mut data, 512, 100, 7);
        assert_eq!(check(&data, 512, 100, 7), Ok(()));
        assert_eq!(check(&data, 512, 100, 8).unwrap_err().lba, 100, "an old round");
        assert_eq!(check(&data, 512, 101, 7).unwrap_err().offset, 0, "another place");
        assert!(check(&data, 1024, 100, 7).is_err(), "another block size");
    }

    #[test]
    fn one_flipped_bit_is_found_and_named() {
        let mut data = vec![0; 2 * 4096];
        fill(&mut data, 4096, 5, 0);
        data[4096 + 801] ^= 0x10;
        let found = check(&data, 4096, 5, 0).unwrap_err();
        assert_eq!((found.lba, found.offset), (6, 800));
        assert_eq!(found.expected ^ found.found, 0x10 << 8);
    }

    #[test]
    fn only_zeros_and_the_pattern_may_be_overwritten() {
        let mut block = vec![0; 512];
        assert!(is_ours_or_empty(&block));
        fill(&mut block, 512, 3, 3);
        assert!(is_ours_or_empty(&block));
        block.fill(0);
        block[510] = 0x55;
        assert!(!is_ours_or_empty(&block), "a boot sector");
    }
}
