//! What a write to the region asks for, decided on a copy of its own: pure.
//!
//! The bytes of a client's write are taken up once, into a value that belongs to this request only. That value is checked, and
//! that value is carried out: nobody else's request, and no later byte of the client's, can come between (ZIO-I2). There is no
//! buffer behind the region, so bytes that a write does not bring are zero, and not those of a request before it.

use assign::{Errno, RequestError};

use super::layout::{HEADER, IoRequest, REQUEST, REQUEST_START, SIZE};

/// Bytes of a page of the client's memory, which no request crosses.
const PAGE: u64 = 4096;
/// Most bytes of a load.
const LONGEST_LOAD: u16 = 8;
/// What the address of data is a multiple of.
const ALIGNMENT: u64 = 8;

/// A request that may be carried out, as far as can be told without its function and its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Checked {
    pub(super) operation: Operation,
    /// A multiple of 8; `length` bytes from there are in one page.
    pub(super) address: u64,
    pub(super) offset: u64,
    /// At least 1; at most 8 for a load, else at most what the function takes, and a page.
    pub(super) length: u16,
    pub(super) space: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// From the function to the client's memory.
    Load,
    /// From the client's memory to the function.
    StoreBlock,
}

/// Takes up a write of `data` at `offset` of the region.
///
/// # Errors
/// EINVAL: it begins behind the region, or leaves it. EFAULT: it begins before the request.
pub(super) fn take_up(offset: u64, data: &[u8]) -> Result<IoRequest, RequestError> {
    check_start(offset)?;
    let start = offset.checked_sub(REQUEST_START).ok_or(BEFORE_REQUEST)?;
    let start = usize::try_from(start).map_err(|_| BEHIND_REGION)?;
    let mut own = [0; REQUEST];
    let place = start.checked_add(data.len()).and_then(|end| own.get_mut(start..end));
    // A client of vfio would be told that less was written. On the wire there is no such answer, and half a request is none.
    place.ok_or(BEHIND_REGION)?.copy_from_slice(data);
    Ok(IoRequest::decode(&own))
}

/// Checks a request for a function whose longest block store has `max_store` bytes.
///
/// # Errors
/// EIO, whatever is wrong with it.
pub(super) fn check(request: IoRequest, max_store: u16) -> Result<Checked, RequestError> {
    let IoRequest { flags, address, offset, length, space } = request;
    let (operation, longest, too_long) = match flags {
        IoRequest::READ => (Operation::Load, LONGEST_LOAD, "a load of more than 8 bytes"),
        IoRequest::BLOCKW => (Operation::StoreBlock, max_store, "a block longer than the function takes"),
        // Both at once have no order; what has no meaning yet is not done without it.
        _ => return Err(refused("the flags are not those of one operation")),
    };
    if length == 0 {
        return Err(refused("no bytes"));
    }
    if length > longest {
        return Err(refused(too_long));
    }
    if !address.is_multiple_of(ALIGNMENT) {
        return Err(refused("the address of the data is not a multiple of 8"));
    }
    if address % PAGE + u64::from(length) > PAGE {
        return Err(refused("the data crosses a page"));
    }
    Ok(Checked { operation, address, offset, length, space })
}

/// Where in the header a read of `length` bytes at `offset` of the region begins.
///
/// # Errors
/// EINVAL: it begins behind the region. EFAULT: it leaves the header.
pub(super) fn check_read(offset: u64, length: usize) -> Result<usize, RequestError> {
    check_start(offset)?;
    let start = usize::try_from(offset).map_err(|_| BEHIND_REGION)?;
    match start.checked_add(length) {
        Some(end) if end <= HEADER => Ok(start),
        _ => Err(RequestError::new(Errno::EFAULT, "only the header of the I/O region can be read")),
    }
}

fn check_start(offset: u64) -> Result<(), RequestError> {
    if offset < SIZE { Ok(()) } else { Err(BEHIND_REGION) }
}

const BEHIND_REGION: RequestError = RequestError::new(Errno::EINVAL, "the access is outside the I/O region");
const BEFORE_REQUEST: RequestError =
    RequestError::new(Errno::EFAULT, "only the request of the I/O region can be written");

/// A request that is not carried out.
pub(super) const fn refused(reason: &'static str) -> RequestError {
    RequestError::new(Errno::EIO, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(length: u16) -> IoRequest {
        IoRequest { flags: IoRequest::BLOCKW, address: 0x1000, offset: 0, length, space: 0 }
    }

    fn load(length: u16) -> IoRequest {
        IoRequest { flags: IoRequest::READ, ..store(length) }
    }

    fn errno<T: std::fmt::Debug>(result: Result<T, RequestError>) -> Errno {
        result.unwrap_err().errno
    }

    #[test]
    fn a_whole_request_is_taken_up_as_it_was_written() {
        let request = IoRequest { flags: 3, address: 5, offset: 7, length: 11, space: 13 };
        assert_eq!(take_up(16, &request.encode()), Ok(request));
    }

    #[test]
    fn bytes_that_were_not_written_are_zero_zio_i2() {
        let whole = IoRequest { flags: 3, address: 5, offset: 7, length: 11, space: 13 };
        let bytes = whole.encode();
        for start in 0..REQUEST {
            for end in start..=REQUEST {
                let mut expected = [0; REQUEST];
                expected[start..end].copy_from_slice(&bytes[start..end]);
                let taken = take_up(16 + start as u64, &bytes[start..end]);
                assert_eq!(taken, Ok(IoRequest::decode(&expected)), "{start}..{end}");
            }
        }
    }

    #[test]
    fn a_write_outside_the_request_is_refused_by_where_it_begins() {
        for offset in [0, 8, 15] {
            for length in [0, 1, 16, 32, 48, 1000] {
                assert_eq!(errno(take_up(offset, &vec![0; length])), Errno::EFAULT, "{offset} {length}");
            }
        }
        for offset in [48, 49, 4096, u64::MAX] {
            for length in [0, 1, 32, 1000] {
                assert_eq!(errno(take_up(offset, &vec![0; length])), Errno::EINVAL, "{offset} {length}");
            }
        }
        for (offset, length) in [(16, 33), (47, 2), (16, 1 << 20)] {
            assert_eq!(errno(take_up(offset, &vec![0; length])), Errno::EINVAL, "{offset} {length}");
        }
    }

    #[test]
    fn a_read_outside_the_header_is_refused() {
        for (offset, length) in [(0, 0), (0, 16), (8, 2), (15, 1), (16, 0)] {
            assert_eq!(check_read(offset, length), Ok(usize::try_from(offset).unwrap()));
        }
        for (offset, length) in
            [(0, 17), (8, 9), (15, 2), (16, 1), (47, 1), (47, 0), (0, usize::MAX), (1, usize::MAX)]
        {
            assert_eq!(errno(check_read(offset, length)), Errno::EFAULT, "{offset} {length}");
        }
        for offset in [48, 49, u64::MAX] {
            assert_eq!(errno(check_read(offset, 1)), Errno::EINVAL, "{offset}");
        }
    }

    #[test]
    fn lengths_are_those_of_the_operation() {
        for length in 1..=8 {
            assert_eq!(check(load(length), 0).unwrap().operation, Operation::Load);
        }
        for length in [0, 9, 128, u16::MAX] {
            assert_eq!(errno(check(load(length), u16::MAX)), Errno::EIO, "{length}");
        }
        for length in [1, 8, 120, 128] {
            assert_eq!(check(store(length), 128).unwrap().operation, Operation::StoreBlock);
        }
        for length in [0, 129, u16::MAX] {
            assert_eq!(errno(check(store(length), 128)), Errno::EIO, "{length}");
        }
    }

    #[test]
    fn flags_are_those_of_one_operation() {
        for flags in [0, 3, 4, 5, 6, 1 << 32 | 1, 1 << 63 | 2, u64::MAX] {
            assert_eq!(errno(check(IoRequest { flags, ..load(8) }, 128)), Errno::EIO, "{flags:#x}");
        }
    }

    #[test]
    fn data_is_aligned_and_in_one_page() {
        for address in [0, 8, 0xf80, u64::MAX - 0x7f] {
            assert!(check(IoRequest { address, ..store(128) }, 128).is_ok(), "{address:#x}");
        }
        for address in [1, 4, 7, 0xf88, 0xff8, u64::MAX - 0x77, u64::MAX] {
            assert_eq!(errno(check(IoRequest { address, ..store(128) }, 128)), Errno::EIO, "{address:#x}");
        }
        assert!(check(store(4096), 8184).is_ok());
        assert_eq!(errno(check(store(4104), 8184)), Errno::EIO);
        assert_eq!(errno(check(store(u16::MAX), u16::MAX)), Errno::EIO);
    }
}
