//! The bytes of the I/O region: facts, in one place.
//!
//! ```text
//!  header, can be read:     0 flags u64 = 0    8 longest block store u16    10 reserved, 6 bytes
//!  request, can be written: 16 flags u64   24 address u64   32 offset u64   40 reserved u32
//!                           44 length u16   46 address space u8   47 reserved u8
//! ```
//!
//! Numbers have the byte order of the machine: the region is an interface between programs of one machine.

/// The region's type, as vfio tells it: a PCI vendor's own, the vendor being IBM.
pub const KIND: u32 = 1 << 31 | IBM;
/// Which of IBM's.
pub const SUBTYPE: u32 = 2;
/// Bytes of the region.
pub const SIZE: u64 = (HEADER + REQUEST) as u64;
/// Bytes of the header, with which the region begins.
pub const HEADER: usize = 16;
/// Bytes of a request, which follows the header.
pub const REQUEST: usize = 32;
/// Offset of the first byte of a request.
pub const REQUEST_START: u64 = HEADER as u64;

/// PCI vendor identifier.
const IBM: u32 = 0x1014;

/// A request as a client writes it; nothing of it has been checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoRequest {
    /// One of [`IoRequest::READ`] and [`IoRequest::BLOCKW`].
    pub flags: u64,
    /// Where in the client's memory the data is, or goes to: an address of its DMA map.
    pub address: u64,
    /// Offset in the address space of the function, in bytes.
    pub offset: u64,
    /// Bytes.
    pub length: u16,
    /// Which address space of the function: 0 to 5 are BARs, 15 is configuration space.
    pub space: u8,
}

impl IoRequest {
    /// Load at most 8 bytes (*PCI LOAD*).
    pub const READ: u64 = 1 << 0;
    /// Store a block (*PCI STORE BLOCK*).
    pub const BLOCKW: u64 = 1 << 1;

    /// The bytes to write at [`REQUEST_START`].
    #[must_use]
    pub fn encode(&self) -> [u8; REQUEST] {
        let mut bytes = [0; REQUEST];
        bytes[..8].copy_from_slice(&self.flags.to_ne_bytes());
        bytes[8..16].copy_from_slice(&self.address.to_ne_bytes());
        bytes[16..24].copy_from_slice(&self.offset.to_ne_bytes());
        bytes[28..30].copy_from_slice(&self.length.to_ne_bytes());
        bytes[30] = self.space;
        bytes
    }

    /// The request in these bytes, of which those that are reserved say nothing.
    #[must_use]
    pub fn decode(bytes: &[u8; REQUEST]) -> IoRequest {
        IoRequest {
            flags: u64::from_ne_bytes(field(bytes, 0)),
            address: u64::from_ne_bytes(field(bytes, 8)),
            offset: u64::from_ne_bytes(field(bytes, 16)),
            length: u16::from_ne_bytes(field(bytes, 28)),
            space: bytes[30],
        }
    }
}

/// The header of a function whose longest block store has so many bytes.
pub(super) fn header(max_store: u16) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[8..10].copy_from_slice(&max_store.to_ne_bytes());
    bytes
}

/// `N` bytes from a place that is one of this module's own, inside.
fn field<const N: usize>(bytes: &[u8; REQUEST], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_region_is_ibms_second_and_has_48_bytes() {
        assert_eq!((KIND, SUBTYPE, SIZE, REQUEST_START), (0x8000_1014, 2, 48, 16));
    }

    #[test]
    fn fields_are_where_the_layout_says() {
        let request = IoRequest {
            flags: 0x0101_0202_0303_0404,
            address: 0x1111_1212_1313_1414,
            offset: 0x2121_2222_2323_2424,
            length: 0x3132,
            space: 0x41,
        };
        let bytes = request.encode();
        // Offsets in the region: the request begins at 16.
        let at = |offset: usize, count: usize| bytes[offset - 16..offset - 16 + count].to_vec();
        assert_eq!(at(16, 8), request.flags.to_ne_bytes());
        assert_eq!(at(24, 8), request.address.to_ne_bytes());
        assert_eq!(at(32, 8), request.offset.to_ne_bytes());
        assert_eq!(at(40, 4), [0; 4]);
        assert_eq!(at(44, 2), request.length.to_ne_bytes());
        assert_eq!(at(46, 2), [0x41, 0]);
        assert_eq!(IoRequest::decode(&bytes), request);
    }

    #[test]
    fn reserved_bytes_say_nothing() {
        let mut bytes = [0; REQUEST];
        for at in [24, 25, 26, 27, 31] {
            bytes[at] = 0xff;
        }
        assert_eq!(IoRequest::decode(&bytes), IoRequest::default());
    }

    #[test]
    fn the_header_tells_the_longest_block_store() {
        let mut expected = [0; HEADER];
        expected[8..10].copy_from_slice(&128_u16.to_ne_bytes());
        assert_eq!(header(128), expected);
    }
}
