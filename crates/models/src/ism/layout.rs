//! What lies where in the two BARs. Facts only.

/// Bytes of BAR 0.
pub(super) const COMMAND_BAR_BYTES: u64 = 4096;

/// "ISMP", little endian: the first register.
pub const MAGIC: u32 = u32::from_le_bytes(*b"ISMP");
/// Version of this layout.
pub const VERSION: u16 = 1;

/// Most buffers that a function has registered.
pub const MAX_DMBS: u16 = 64;
/// Channels that a function can have open: so many that two windows have room in what is kept for an empty slot.
pub const MAX_CHANNELS: u16 = 8;
/// Longest buffer, in bytes.
pub const MAX_DMB_BYTES: u64 = 64 << 10;
/// A buffer starts at a multiple of this, in bytes, and is a multiple of it long: so no move that stays in a page of the window
/// touches two pages of the buffer.
pub const DMB_ALIGNMENT: u64 = 4096;
/// Bytes of the signal area, and its alignment: a dword for each buffer.
pub const SIGNAL_AREA_BYTES: u64 = MAX_DMBS as u64 * 4;

/// Offset in BAR 0 where a block is a command.
pub const COMMAND: u64 = 0x80;
/// Bytes of a command, no more and no less.
pub const COMMAND_BYTES: usize = 32;
/// Offset in BAR 0 of the first of the [statistics](super::Statistic), 8 bytes each.
pub const STATISTICS: u64 = 0x200;

/// A register of 8 bytes in BAR 0, by its offset. All of them are loaded; none is stored to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Register {
    /// [`MAGIC`] in bits 0 to 31, [`VERSION`] in 32 to 47.
    Identity = 0x00,
    /// The function's GID.
    Gid = 0x08,
    /// [`MAX_DMBS`] in bits 0 to 15, [`MAX_CHANNELS`] in 16 to 31, [`MAX_DMB_BYTES`] in 32 to 63.
    Limits = 0x10,
    /// Buffers registered in bits 0 to 31, channels open in 32 to 63.
    InUse = 0x18,
    /// I/O address of the signal area; all-ones without one.
    SignalArea = 0x20,
    /// Of the last move that was refused: its [reason](super::Refused) in bits 0 to 15, its channel in 16 to 31. 0 if none was.
    LastRefused = 0x28,
    /// Of the last command: its tag in bits 0 to 31, its [outcome](super::Outcome) in 32 to 47, what it was in 48 to 63.
    Answer = 0x40,
    /// What that command gives back.
    AnswerValue = 0x48,
}

impl Register {
    /// The register at an offset that is a multiple of 8.
    pub(super) fn at(offset: u64) -> Option<Register> {
        use Register::{Answer, AnswerValue, Gid, Identity, InUse, LastRefused, Limits, SignalArea};
        [Identity, Gid, Limits, InUse, SignalArea, LastRefused, Answer, AnswerValue]
            .into_iter()
            .find(|register| *register as u64 == offset)
    }
}

/// Bytes of the window that belong to a channel: the buffer, and once more the buffer for moves that signal.
pub const CHANNEL_BYTES: u64 = 2 * MAX_DMB_BYTES;
/// Bytes of BAR 2: what Linux and the slots of this project keep in reserve for a device that is plugged in later.
pub(super) const WINDOW_BYTES: u64 = CHANNEL_BYTES * MAX_CHANNELS as u64;

/// Where in the window a move goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) channel: u16,
    /// Offset in the buffer, in bytes.
    pub(super) offset: u64,
    /// The buffer's owner is told.
    pub(super) signals: bool,
}

impl Place {
    /// `offset` lies within BAR 2.
    pub(super) fn at(offset: u64) -> Place {
        let within = offset % CHANNEL_BYTES;
        Place {
            channel: u16::try_from(offset / CHANNEL_BYTES).unwrap_or(u16::MAX),
            offset: within % MAX_DMB_BYTES,
            signals: within >= MAX_DMB_BYTES,
        }
    }
}

/// Offset in BAR 2 of a move to `offset` of the buffer behind `channel`.
#[must_use]
pub const fn window_offset(channel: u16, offset: u64, signals: bool) -> u64 {
    channel as u64 * CHANNEL_BYTES + if signals { MAX_DMB_BYTES } else { 0 } + offset
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_offset_is_found_again() {
        for channel in [0, 1, MAX_CHANNELS - 1] {
            for offset in [0, 8, MAX_DMB_BYTES - 8] {
                for signals in [false, true] {
                    let at = window_offset(channel, offset, signals);
                    assert!(at < WINDOW_BYTES);
                    assert_eq!(Place::at(at), Place { channel, offset, signals });
                }
            }
        }
    }

    #[test]
    fn registers_and_command_and_statistics_do_not_overlap() {
        let registers = (0..COMMAND).step_by(8).filter(|at| Register::at(*at).is_some());
        assert_eq!(registers.count(), 8);
        assert!((COMMAND..COMMAND_BAR_BYTES).all(|at| Register::at(at).is_none()));
        assert!(COMMAND + COMMAND_BYTES as u64 <= STATISTICS);
        assert!(STATISTICS + 8 * super::super::Statistic::ALL.len() as u64 <= COMMAND_BAR_BYTES);
    }
}
