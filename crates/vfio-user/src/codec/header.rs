//! The header in front of every message (vfio-user protocol, *Header*).

use bitflags::bitflags;
use rustix::io::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::HEADER_SIZE;

/// The 16 bytes in front of every message. An error reply is a header and nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Header {
    /// Chosen by the sender of a command and repeated in its reply. Need not be unique: one peer sends zero always.
    pub message_id: u16,
    /// A [`Command`], kept raw since a peer may send any value.
    pub command: u16,
    /// Bytes of the whole message, this header included.
    pub size: u32,
    /// [`MessageType`] in bits 0-3, then [`HeaderFlags`].
    pub flags: u32,
    /// errno of an error reply; may be zero in replies of careless peers.
    pub error: u32,
}

bitflags! {
    /// The flag bits of [`Header::flags`], without the message type in bits 0-3.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct HeaderFlags: u32 {
        /// The sender wants no reply, not even on failure (a *posted* write).
        const NO_REPLY = 1 << 4;
        /// This reply reports a failure.
        const ERROR = 1 << 5;
    }
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageType {
    /// Asks the peer to do something.
    Command,
    /// Answers a command.
    Reply,
}

impl Header {
    /// Bits 0-3 of `flags`.
    const TYPE_MASK: u32 = 0xf;
    const TYPE_REPLY: u32 = 1;

    /// Reads a header off the front of `bytes`; `None` when fewer than 16 bytes are there.
    pub fn parse(bytes: &[u8]) -> Option<Header> {
        Header::read_from_prefix(bytes).ok().map(|(header, _)| header)
    }

    /// A command with `payload` bytes behind its header.
    pub fn command(message_id: u16, command: Command, payload: usize, flags: HeaderFlags) -> Header {
        Header {
            message_id,
            command: command as u16,
            size: message_size(payload),
            flags: flags.bits(),
            error: 0,
        }
    }

    /// The reply to this command with `payload` bytes behind its header.
    pub fn reply(&self, payload: usize) -> Header {
        Header {
            message_id: self.message_id,
            command: self.command,
            size: message_size(payload),
            flags: Self::TYPE_REPLY,
            error: 0,
        }
    }

    /// The reply that refuses this command.
    pub fn error_reply(&self, errno: Errno) -> Header {
        let error = u32::try_from(errno.raw_os_error()).unwrap_or(0);
        Header { flags: Self::TYPE_REPLY | HeaderFlags::ERROR.bits(), error, ..self.reply(0) }
    }

    /// Whether this is a command or a reply; `None` for a type the protocol does not define.
    pub fn message_type(&self) -> Option<MessageType> {
        match self.flags & Self::TYPE_MASK {
            0 => Some(MessageType::Command),
            Self::TYPE_REPLY => Some(MessageType::Reply),
            _ => None,
        }
    }

    /// The sender of this command wants no reply.
    pub fn no_reply(&self) -> bool {
        self.flags & HeaderFlags::NO_REPLY.bits() != 0
    }

    /// The errno of an error reply; `EIO` when the peer set the Error bit and left the number out.
    pub fn failure(&self) -> Option<Errno> {
        if self.flags & HeaderFlags::ERROR.bits() == 0 {
            return None;
        }
        match i32::try_from(self.error) {
            Ok(raw @ 1..4096) => Some(Errno::from_raw_os_error(raw)),
            _ => Some(Errno::IO),
        }
    }
}

/// Bytes of a message with `payload` bytes behind the header. Saturates: payloads are bounded far below 4 GiB.
fn message_size(payload: usize) -> u32 {
    u32::try_from(HEADER_SIZE.saturating_add(payload)).unwrap_or(u32::MAX)
}

/// The commands of the protocol (*Commands*).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Command {
    /// Negotiates the protocol version and capabilities; the first message of a session.
    Version = 1,
    /// Makes client memory reachable for the device.
    DmaMap = 2,
    /// Takes client memory away from the device.
    DmaUnmap = 3,
    /// Asks for device flags and the numbers of regions and interrupt indexes.
    DeviceGetInfo = 4,
    /// Asks for size, flags, capabilities and the descriptor of a region.
    DeviceGetRegionInfo = 5,
    /// Asks for ioeventfds and ioregionfds of a region.
    DeviceGetRegionIoFds = 6,
    /// Asks for flags and vector count of an interrupt index.
    DeviceGetIrqInfo = 7,
    /// Sets up, masks, unmasks or triggers interrupts.
    DeviceSetIrqs = 8,
    /// Reads from a region.
    RegionRead = 9,
    /// Writes to a region.
    RegionWrite = 10,
    /// Server to client: reads client memory.
    DmaRead = 11,
    /// Server to client: writes client memory.
    DmaWrite = 12,
    /// Resets the device.
    DeviceReset = 13,
    /// Withdrawn from the protocol; the number stays reserved.
    DirtyPages = 14,
    /// Several small region writes in one message.
    RegionWriteMulti = 15,
    /// Probes, reads or sets a device feature.
    DeviceFeature = 16,
    /// Reads migration data.
    MigDataRead = 17,
    /// Writes migration data.
    MigDataWrite = 18,
}

impl Command {
    /// Every command, in the order of their numbers.
    pub const ALL: [Command; 18] = [
        Command::Version,
        Command::DmaMap,
        Command::DmaUnmap,
        Command::DeviceGetInfo,
        Command::DeviceGetRegionInfo,
        Command::DeviceGetRegionIoFds,
        Command::DeviceGetIrqInfo,
        Command::DeviceSetIrqs,
        Command::RegionRead,
        Command::RegionWrite,
        Command::DmaRead,
        Command::DmaWrite,
        Command::DeviceReset,
        Command::DirtyPages,
        Command::RegionWriteMulti,
        Command::DeviceFeature,
        Command::MigDataRead,
        Command::MigDataWrite,
    ];

    /// The command with this number, or `None`.
    pub fn from_number(number: u16) -> Option<Command> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_number_finds_its_command_and_no_other() {
        for command in Command::ALL {
            assert_eq!(Command::from_number(command as u16), Some(command));
        }
        for number in [0, 19, 255, u16::MAX] {
            assert_eq!(Command::from_number(number), None);
        }
    }

    #[test]
    fn an_error_reply_repeats_the_id_and_is_a_bare_header() {
        let command = Header { message_id: 7, command: 99, size: 4000, flags: 0, error: 0 };
        let reply = command.error_reply(Errno::OPNOTSUPP);
        assert_eq!(
            (reply.message_id, reply.command, reply.size, reply.flags, reply.error),
            (7, 99, 16, 0x21, 95)
        );
        assert_eq!(reply.failure(), Some(Errno::OPNOTSUPP));
    }

    #[test]
    fn an_error_reply_without_a_number_is_still_a_failure() {
        for error in [0, 4096, u32::MAX] {
            let header = Header { flags: 0x21, error, ..Header::default() };
            assert_eq!(header.failure(), Some(Errno::IO));
        }
    }

    #[test]
    fn fifteen_bytes_are_no_header() {
        assert_eq!(Header::parse(&[0; 15]), None);
        assert!(Header::parse(&[0; 16]).is_some());
    }
}
