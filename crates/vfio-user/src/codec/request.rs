//! A client's command, parsed and checked as far as it can be without knowing the device.

use rustix::io::Errno;

use super::{
    Command, DeviceInfo, DmaMap, DmaMapFlags, DmaUnmap, DmaUnmapFlags, Feature, IrqInfo, MultiWrite,
    RegionAccess, RegionInfo, RegionIoFds, SetIrqs, SetIrqsFlags, VersionMessage, take,
};

/// A command from a client. Data is borrowed from the receive buffer.
#[derive(Debug)]
pub enum Request<'a> {
    /// The first message of a session.
    Version(VersionMessage),
    /// Its flags are known ones.
    DmaMap(DmaMap),
    /// One range.
    DmaUnmap(DmaUnmap),
    /// Every range; the payload is repeated in the reply.
    DmaUnmapAll(DmaUnmap),
    /// Its `argsz` covers the reply.
    DeviceInfo(DeviceInfo),
    /// Its `argsz` covers at least the fixed part of the reply.
    RegionInfo(RegionInfo),
    /// Well-formed; the index is not checked.
    RegionIoFds(RegionIoFds),
    /// Its `argsz` covers the reply.
    IrqInfo(IrqInfo),
    /// With one byte a vector where the flags say so, and nothing otherwise.
    SetIrqs(SetIrqs, &'a [u8]),
    /// The count is within the limit.
    RegionRead(RegionAccess),
    /// The count is within the limit and equals the length of the data.
    RegionWrite(RegionAccess, &'a [u8]),
    /// The entries as bytes, for [`MultiWrite::each`]; every one has a count of 1-8.
    RegionWriteMulti(&'a [u8]),
    /// No payload.
    DeviceReset,
    /// Its flags make sense.
    Feature(Feature),
}

impl<'a> Request<'a> {
    /// Parses the payload of the command with this number. `max_data` is the largest count of bytes that a
    /// region access may carry.
    ///
    /// Bytes behind the fixed part are ignored where a peer is known to send them (SPDK's initiator sends
    /// 4,064 bytes of `DEVICE_GET_REGION_INFO`); the receiver has already stepped over them.
    ///
    /// # Errors
    /// `EOPNOTSUPP` for a command that is not known or not offered; `EINVAL` for a malformed payload.
    pub fn parse(number: u16, payload: &'a [u8], max_data: u32) -> Result<Request<'a>, Errno> {
        match Command::from_number(number).ok_or(Errno::OPNOTSUPP)? {
            Command::Version => Ok(Request::Version(VersionMessage::parse(payload)?)),
            Command::DmaMap => parse_map(payload),
            Command::DmaUnmap => parse_unmap(payload),
            Command::DeviceGetInfo => {
                with_argsz(take(payload)?.0, |info: &DeviceInfo| info.argsz).map(Request::DeviceInfo)
            }
            Command::DeviceGetRegionInfo => {
                with_argsz(take(payload)?.0, |info: &RegionInfo| info.argsz).map(Request::RegionInfo)
            }
            Command::DeviceGetRegionIoFds => parse_io_fds(payload),
            Command::DeviceGetIrqInfo => {
                with_argsz(take(payload)?.0, |info: &IrqInfo| info.argsz).map(Request::IrqInfo)
            }
            Command::DeviceSetIrqs => parse_set_irqs(payload),
            Command::RegionRead => parse_read(payload, max_data),
            Command::RegionWrite => parse_write(payload, max_data),
            Command::RegionWriteMulti => parse_multi(payload, max_data),
            Command::DeviceReset => Ok(Request::DeviceReset),
            Command::DeviceFeature => Feature::parse(payload).map(Request::Feature),
            // Server-to-client commands, the withdrawn one, and migration, which is not offered.
            Command::DmaRead
            | Command::DmaWrite
            | Command::DirtyPages
            | Command::MigDataRead
            | Command::MigDataWrite => Err(Errno::OPNOTSUPP),
        }
    }
}

/// Refuses an `argsz` that does not cover the fixed part of the reply (Linux behaviour VF-11).
fn with_argsz<T>(info: T, argsz: impl Fn(&T) -> u32) -> Result<T, Errno> {
    if (argsz(&info) as usize) < size_of::<T>() { Err(Errno::INVAL) } else { Ok(info) }
}

fn parse_map(payload: &[u8]) -> Result<Request<'_>, Errno> {
    let map = with_argsz(take(payload)?.0, |map: &DmaMap| map.argsz)?;
    DmaMapFlags::from_bits(map.flags).ok_or(Errno::INVAL)?;
    Ok(Request::DmaMap(map))
}

fn parse_unmap(payload: &[u8]) -> Result<Request<'_>, Errno> {
    let unmap = with_argsz(take(payload)?.0, |unmap: &DmaUnmap| unmap.argsz)?;
    let flags = DmaUnmapFlags::from_bits(unmap.flags).ok_or(Errno::INVAL)?;
    if flags.contains(DmaUnmapFlags::GET_DIRTY_BITMAP) {
        // Pages are not tracked; an empty bitmap would be a lie that loses a guest's memory in migration.
        return Err(Errno::OPNOTSUPP);
    }
    if !flags.contains(DmaUnmapFlags::ALL) {
        return Ok(Request::DmaUnmap(unmap));
    }
    if unmap.address == 0 && unmap.size == 0 { Ok(Request::DmaUnmapAll(unmap)) } else { Err(Errno::INVAL) }
}

fn parse_io_fds(payload: &[u8]) -> Result<Request<'_>, Errno> {
    let io_fds = with_argsz(take(payload)?.0, |io_fds: &RegionIoFds| io_fds.argsz)?;
    if io_fds.flags == 0 && io_fds.count == 0 { Ok(Request::RegionIoFds(io_fds)) } else { Err(Errno::INVAL) }
}

fn parse_set_irqs(payload: &[u8]) -> Result<Request<'_>, Errno> {
    let (set, data) = take::<SetIrqs>(payload)?;
    let set = with_argsz(set, |set: &SetIrqs| set.argsz)?;
    let data = if set.flags & SetIrqsFlags::DATA_BOOL.bits() == 0 {
        &[]
    } else {
        data.get(..set.count as usize).ok_or(Errno::INVAL)?
    };
    Ok(Request::SetIrqs(set, data))
}

fn parse_read(payload: &[u8], max_data: u32) -> Result<Request<'_>, Errno> {
    let (access, _) = take::<RegionAccess>(payload)?;
    if access.count > max_data { Err(Errno::INVAL) } else { Ok(Request::RegionRead(access)) }
}

fn parse_write(payload: &[u8], max_data: u32) -> Result<Request<'_>, Errno> {
    let (access, data) = take::<RegionAccess>(payload)?;
    if access.count > max_data || access.count as usize != data.len() {
        return Err(Errno::INVAL);
    }
    Ok(Request::RegionWrite(access, data))
}

fn parse_multi(payload: &[u8], max_data: u32) -> Result<Request<'_>, Errno> {
    let (count, rest) = take::<u64>(payload)?;
    let count = usize::try_from(count).map_err(|_| Errno::INVAL)?;
    if count.checked_mul(size_of::<MultiWrite>()) != Some(rest.len()) || rest.len() > max_data as usize {
        return Err(Errno::INVAL);
    }
    if MultiWrite::each(rest).any(|write| !(1..=8).contains(&write.count)) {
        return Err(Errno::INVAL);
    }
    Ok(Request::RegionWriteMulti(rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::IntoBytes;

    const MAX: u32 = 4096;

    fn refusal(command: u16, payload: &[u8]) -> Errno {
        Request::parse(command, payload, MAX).expect_err("the payload should be refused")
    }

    #[test]
    fn commands_that_are_unknown_or_not_offered_are_not_supported() {
        for number in [0, 11, 12, 14, 17, 18, 19, 1000, u16::MAX] {
            assert_eq!(refusal(number, &[0; 64]), Errno::OPNOTSUPP, "command {number}");
        }
    }

    #[test]
    fn a_payload_one_byte_short_is_refused_for_every_command() {
        for (number, size) in [
            (1, 4),
            (2, 32),
            (3, 24),
            (4, 16),
            (5, 32),
            (6, 16),
            (7, 16),
            (8, 20),
            (9, 16),
            (10, 16),
            (15, 8),
            (16, 8),
        ] {
            assert_eq!(refusal(number, &vec![0xff; size - 1]), Errno::INVAL, "command {number}");
        }
    }

    #[test]
    fn an_argsz_below_the_fixed_part_is_refused() {
        for (number, size) in [(2u16, 32u32), (3, 24), (4, 16), (5, 32), (6, 16), (7, 16), (8, 20), (16, 8)] {
            let mut payload = vec![0; size as usize];
            payload[..4].copy_from_slice(&(size - 1).to_ne_bytes());
            assert_eq!(refusal(number, &payload), Errno::INVAL, "command {number}");
        }
    }

    #[test]
    fn a_region_info_request_may_carry_room_for_its_reply() {
        let mut payload = vec![0; 4064];
        payload[..4].copy_from_slice(&4064u32.to_ne_bytes());
        assert!(
            matches!(Request::parse(5, &payload, MAX), Ok(Request::RegionInfo(info)) if info.argsz == 4064)
        );
    }

    #[test]
    fn the_count_of_a_write_is_the_length_of_its_data() {
        for (count, data, accepted) in
            [(4, 4, true), (0, 0, true), (4, 3, false), (4, 5, false), (u32::MAX, 4, false)]
        {
            let access = RegionAccess { count, ..RegionAccess::default() };
            let payload = [access.as_bytes(), &vec![0; data]].concat();
            assert_eq!(Request::parse(10, &payload, MAX).is_ok(), accepted, "{count} {data}");
        }
    }

    #[test]
    fn a_read_beyond_the_limit_is_refused() {
        for (count, accepted) in [(MAX, true), (MAX + 1, false), (u32::MAX, false)] {
            let access = RegionAccess { count, ..RegionAccess::default() };
            assert_eq!(Request::parse(9, access.as_bytes(), MAX).is_ok(), accepted, "{count}");
        }
    }

    #[test]
    fn unmap_all_takes_no_range_and_dirty_bitmaps_are_not_offered() {
        let unmap = |flags, size| DmaUnmap { argsz: 24, flags, address: 0, size };
        assert!(matches!(Request::parse(3, unmap(2, 0).as_bytes(), MAX), Ok(Request::DmaUnmapAll(_))));
        assert_eq!(refusal(3, unmap(2, 4096).as_bytes()), Errno::INVAL);
        assert_eq!(refusal(3, unmap(1, 4096).as_bytes()), Errno::OPNOTSUPP);
        assert_eq!(refusal(3, unmap(4, 4096).as_bytes()), Errno::INVAL);
    }

    #[test]
    fn a_bool_for_every_vector_must_be_there() {
        let set = |count| SetIrqs { argsz: 20, flags: 0x22, index: 1, start: 0, count };
        let payload = |count, data: &[u8]| [set(count).as_bytes(), data].concat();
        assert!(matches!(Request::parse(8, &payload(2, &[1, 0]), MAX), Ok(Request::SetIrqs(_, [1, 0]))));
        assert_eq!(refusal(8, &payload(3, &[1, 0])), Errno::INVAL);
        assert_eq!(refusal(8, &payload(u32::MAX, &[1, 0])), Errno::INVAL);
    }

    #[test]
    fn the_count_of_a_multi_write_is_checked_against_its_bytes() {
        let write = |count| MultiWrite { offset: 0, region: 0, count, data: [0; 8] };
        let payload = |claimed: u64, count| [claimed.as_bytes(), write(count).as_bytes()].concat();
        assert!(matches!(Request::parse(15, &payload(1, 8), MAX), Ok(Request::RegionWriteMulti(_))));
        for (claimed, count) in
            [(0, 4), (2, 4), (u64::MAX, 4), (u64::MAX / 24 + 2, 4), (1, 0), (1, 9), (1, u32::MAX)]
        {
            assert_eq!(refusal(15, &payload(claimed, count)), Errno::INVAL, "{claimed} {count}");
        }
    }

    #[test]
    fn feature_flags_follow_linux() {
        let feature =
            |flags: u32| Request::parse(16, Feature { argsz: 8, flags }.as_bytes(), MAX).map(|_| ());
        for flags in [1 << 16, 1 << 17, 5 << 16, 6 << 16, 7 << 16] {
            assert_eq!(feature(flags | 1), Ok(()), "{flags:#x}");
        }
        for flags in [0, 3 << 16, 4 << 16, 1 << 19 | 1 << 16] {
            assert_eq!(feature(flags | 1), Err(Errno::INVAL), "{flags:#x}");
        }
    }
}
