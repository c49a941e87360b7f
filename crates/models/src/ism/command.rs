//! Commands and their outcomes: the codec, without behaviour.

use super::layout::COMMAND_BYTES;

/// What a function may be asked to do. The numbers are the first two bytes of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// 1: signals are noted at this I/O address from now on.
    SetSignalArea {
        /// A multiple of [`SIGNAL_AREA_BYTES`](super::SIGNAL_AREA_BYTES).
        address: u64,
    },
    /// 2: signals are noted nowhere from now on.
    ClearSignalArea,
    /// 3: the function whose GID is `sender` may move into this memory. Gives back the buffer's token.
    RegisterDmb {
        /// I/O address, a multiple of [`DMB_ALIGNMENT`](super::DMB_ALIGNMENT).
        address: u64,
        /// Bytes, a multiple of the same, at most [`MAX_DMB_BYTES`](super::MAX_DMB_BYTES).
        length: u64,
        /// Who may move into it.
        sender: u64,
    },
    /// 4: nobody moves into the buffer any more.
    UnregisterDmb {
        /// As registering it gave back.
        token: u64,
    },
    /// 5: is there a function with this GID?
    FindPeer {
        /// Of the function in question.
        gid: u64,
    },
    /// 6: opens a channel to a peer's buffer. Gives back its number in bits 0 to 31 and the buffer's length in 32 to 63.
    OpenChannel {
        /// Of the peer's buffer.
        token: u64,
    },
    /// 7: closes it.
    CloseChannel {
        /// Its number.
        channel: u64,
    },
    /// 8: signals the owner of the buffer behind the channel, without moving anything.
    Signal {
        /// Its number.
        channel: u64,
    },
}

/// A command as it arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// The first two bytes, known or not.
    pub(super) code: u16,
    /// The driver's own, which the answer repeats.
    pub(super) tag: u32,
    /// What is asked for, or why nothing is.
    pub(super) command: Result<Command, Outcome>,
}

impl Command {
    /// The number of this command.
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self {
            Command::SetSignalArea { .. } => 1,
            Command::ClearSignalArea => 2,
            Command::RegisterDmb { .. } => 3,
            Command::UnregisterDmb { .. } => 4,
            Command::FindPeer { .. } => 5,
            Command::OpenChannel { .. } => 6,
            Command::CloseChannel { .. } => 7,
            Command::Signal { .. } => 8,
        }
    }

    /// The block that asks for this.
    #[must_use]
    pub fn encode(&self, tag: u32) -> [u8; COMMAND_BYTES] {
        let arguments = match *self {
            Command::ClearSignalArea => [0; 3],
            Command::SetSignalArea { address: first }
            | Command::UnregisterDmb { token: first }
            | Command::FindPeer { gid: first }
            | Command::OpenChannel { token: first }
            | Command::CloseChannel { channel: first }
            | Command::Signal { channel: first } => [first, 0, 0],
            Command::RegisterDmb { address, length, sender } => [address, length, sender],
        };
        let head = u64::from(self.code()) | u64::from(tag) << 32;
        let mut block = [0; COMMAND_BYTES];
        for (place, word) in block.chunks_exact_mut(8).zip([head].into_iter().chain(arguments)) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        block
    }
}

impl Request {
    /// Decodes a block. What a command does not use is 0, so that a later version may use it.
    pub(super) fn decode(block: &[u8; COMMAND_BYTES]) -> Request {
        let mut words = [0; COMMAND_BYTES / 8];
        for (word, bytes) in words.iter_mut().zip(block.chunks_exact(8)) {
            *word = bytes.iter().rev().fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
        }
        let [head, first, second, third] = words;
        let [low, high, reserved_low, reserved_high, tag @ ..] = head.to_le_bytes();
        let code = u16::from_le_bytes([low, high]);
        let command = match code {
            1 => Command::SetSignalArea { address: first },
            2 => Command::ClearSignalArea,
            3 => Command::RegisterDmb { address: first, length: second, sender: third },
            4 => Command::UnregisterDmb { token: first },
            5 => Command::FindPeer { gid: first },
            6 => Command::OpenChannel { token: first },
            7 => Command::CloseChannel { channel: first },
            8 => Command::Signal { channel: first },
            _ => {
                return Request { code, tag: u32::from_le_bytes(tag), command: Err(Outcome::UnknownCommand) };
            }
        };
        let reserved = u16::from_le_bytes([reserved_low, reserved_high]);
        let unused = match command {
            Command::ClearSignalArea => first | second | third,
            Command::RegisterDmb { .. } => 0,
            _ => second | third,
        };
        let clean = reserved == 0 && unused == 0;
        let command = if clean { Ok(command) } else { Err(Outcome::Invalid) };
        Request { code, tag: u32::from_le_bytes(tag), command }
    }
}

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Outcome {
    /// It was carried out.
    Done = 1,
    /// There is no such command.
    UnknownCommand = 2,
    /// An argument is misaligned, too long, wraps, or is not 0 where it must be.
    Invalid = 3,
    /// Everything of the kind is in use.
    NoRoom = 4,
    /// A move is in that buffer, or the peer is being reset: to be asked again.
    Busy = 5,
    /// There is no such buffer, or it is not for this function.
    UnknownToken = 6,
    /// No such function is in the network.
    NoPeer = 7,
    /// The peer is frozen.
    PeerFrozen = 8,
    /// The peer's memory cannot be written: it is not mapped, or its bus mastering is off.
    PeerMemory = 9,
    /// The channel is not open.
    NoChannel = 10,
}

impl Outcome {
    /// The outcome with this number.
    #[must_use]
    pub fn from_code(code: u16) -> Option<Outcome> {
        use Outcome::{
            Busy, Done, Invalid, NoChannel, NoPeer, NoRoom, PeerFrozen, PeerMemory, UnknownCommand,
            UnknownToken,
        };
        [Done, UnknownCommand, Invalid, NoRoom, Busy, UnknownToken, NoPeer, PeerFrozen, PeerMemory, NoChannel]
            .into_iter()
            .find(|outcome| *outcome as u16 == code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Command; 8] = [
        Command::SetSignalArea { address: 0x1100 },
        Command::ClearSignalArea,
        Command::RegisterDmb { address: 1, length: u64::MAX, sender: 0x0102_0304_0506_0708 },
        Command::UnregisterDmb { token: 2 },
        Command::FindPeer { gid: 3 },
        Command::OpenChannel { token: 4 },
        Command::CloseChannel { channel: 5 },
        Command::Signal { channel: 6 },
    ];

    #[test]
    fn a_command_is_decoded_as_it_was_encoded() {
        for (code, command) in (1..).zip(ALL) {
            let decoded = Request::decode(&command.encode(0x1234_5678));
            assert_eq!(decoded, Request { code, tag: 0x1234_5678, command: Ok(command) });
        }
    }

    #[test]
    fn the_layout_of_a_command_is_what_it_says() {
        let block = Command::RegisterDmb { address: 0x11, length: 0x22, sender: 0x33 }.encode(0x44);
        let mut expected = [0; 32];
        for (at, byte) in [(0, 3), (4, 0x44), (8, 0x11), (16, 0x22), (24, 0x33)] {
            expected[at] = byte;
        }
        assert_eq!(block, expected);
    }

    #[test]
    fn what_a_command_does_not_use_has_to_be_zero() {
        for command in ALL {
            let used = match command {
                Command::ClearSignalArea => 8,
                Command::RegisterDmb { .. } => 32,
                _ => 16,
            };
            for at in (2..4).chain(used..32) {
                let mut block = command.encode(9);
                block[at] = 1;
                let request = Request::decode(&block);
                assert_eq!(
                    (request.command, request.tag),
                    (Err(Outcome::Invalid), 9),
                    "{command:?}, byte {at}"
                );
            }
        }
    }

    #[test]
    fn a_number_that_is_no_command_is_told_with_its_tag() {
        for code in [0_u16, 9, u16::MAX] {
            let mut block = [0xff; 32];
            block[..2].copy_from_slice(&code.to_le_bytes());
            let request = Request::decode(&block);
            assert_eq!(request, Request { code, tag: u32::MAX, command: Err(Outcome::UnknownCommand) });
        }
    }

    #[test]
    fn outcomes_are_found_by_their_numbers() {
        let found: Vec<u16> = (0..20).filter_map(Outcome::from_code).map(|outcome| outcome as u16).collect();
        assert_eq!(found, (1..=10).collect::<Vec<_>>());
    }
}
