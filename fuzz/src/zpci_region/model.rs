//! What a request is answered, by itself: the table of errors, written down a second time.

/// The client's memory: a page that is not mapped, one that the host may read, one that it may write, one that is not mapped.
pub const PAGE: u64 = 0x1000;
pub const SOURCE: u64 = PAGE;
pub const TARGET: u64 = 2 * PAGE;
pub const MEMORY: usize = 4 * PAGE as usize;
/// Bytes of BAR 0; there is no other.
pub const BAR: u64 = 0x2000;
/// Bytes of the longest block.
pub const MAX_STORE: u16 = 256;

/// Most accesses of one connection.
const MOST: usize = 32;

/// `errno` values.
const EIO: i32 = 5;
const EFAULT: i32 = 14;
const EINVAL: i32 = 22;

/// One access of the region.
#[derive(Clone, Debug)]
pub enum Access {
    Read { offset: u64, length: usize },
    Write { offset: u64, data: Vec<u8> },
}

/// What becomes of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    Refused(i32),
    /// A read of the header.
    Header(Vec<u8>),
    /// Bytes that come to be at an address of the client's.
    Load {
        address: u64,
        data: Vec<u8>,
    },
    /// Bytes that reach the device.
    Block {
        offset: u64,
        data: Vec<u8>,
    },
}

/// What a byte of the client's memory holds at first: an address tells its byte.
pub fn content(address: u64) -> u8 {
    (address as u8).wrapping_mul(167) ^ (address >> 8) as u8
}

/// A byte of BAR 0.
pub fn register(offset: u64) -> u8 {
    (offset as u8).wrapping_mul(29) ^ (offset >> 8) as u8 ^ 0x80
}

/// Cuts bytes into the accesses of two connections.
///
/// A head byte says: bit 0 whose it is; bits 1 and 2 whether a read, a write of raw bytes anywhere, or a whole request whose
/// fields are raw or likely; the rest is the access's own. What follows is as long as there are bytes.
pub fn accesses(bytes: &[u8]) -> [Vec<Access>; 2] {
    let mut made = [Vec::new(), Vec::new()];
    let mut rest = Bytes(bytes);
    while let Some(head) = rest.byte() {
        let own = &mut made[usize::from(head & 1)];
        if own.len() == MOST {
            continue;
        }
        let access = match head >> 1 & 3 {
            0 => Access::Read { offset: rest.offset(head), length: usize::from(rest.byte().unwrap_or(0)) },
            1 => {
                let (offset, length) = (rest.offset(head), usize::from(rest.byte().unwrap_or(0)));
                Access::Write { offset, data: rest.take(length) }
            }
            2 => Access::Write { offset: 16, data: rest.take(32) },
            _ => Access::Write { offset: 16, data: likely(head, &mut rest) },
        };
        own.push(access);
    }
    made
}

/// A whole request whose fields are near to what may be carried out.
fn likely(head: u8, rest: &mut Bytes<'_>) -> Vec<u8> {
    let flags = if head & 0x80 == 0 { 1 + u64::from(head >> 3 & 1) } else { rest.number().into() };
    let address = u64::from(rest.number()) & 0x3fff;
    let offset = u64::from(rest.number()) & 0x3fff;
    let length = u16::from(rest.byte().unwrap_or(8));
    let length = if head & 0x40 == 0 { length } else { rest.number() };
    let space = if head & 0x20 == 0 { 0 } else { rest.byte().unwrap_or(15) };
    let align = if head & 0x10 == 0 { !7 } else { !0 };
    let mut data =
        [flags.to_ne_bytes(), (address & align).to_ne_bytes(), (offset & align).to_ne_bytes(), [0; 8]]
            .concat();
    data[28..30].copy_from_slice(&length.to_ne_bytes());
    data[30] = space;
    data
}

/// The rest of the input.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> u16 {
        u16::from_le_bytes([self.byte().unwrap_or(0), self.byte().unwrap_or(0)])
    }

    /// Mostly in the region, sometimes anywhere.
    fn offset(&mut self, head: u8) -> u64 {
        let near = u64::from(self.byte().unwrap_or(0));
        if head & 0x80 == 0 { near % 64 } else { near.wrapping_mul(0x0101_0101_0101_0101) }
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken.to_vec()
    }
}

impl Access {
    /// What becomes of it, whatever else happens; `config` is the function's configuration space.
    pub fn expected(&self, config: &[u8]) -> Expected {
        match self {
            Access::Read { offset, .. } | Access::Write { offset, .. } if *offset >= 48 => {
                Expected::Refused(EINVAL)
            }
            Access::Read { offset, length } => {
                let header = [&[0; 8][..], &MAX_STORE.to_ne_bytes(), &[0; 6]].concat();
                match header.get(*offset as usize..*offset as usize + length) {
                    Some(part) => Expected::Header(part.to_vec()),
                    None => Expected::Refused(EFAULT),
                }
            }
            Access::Write { offset, .. } if *offset < 16 => Expected::Refused(EFAULT),
            Access::Write { offset, data } if *offset as usize + data.len() > 48 => Expected::Refused(EINVAL),
            Access::Write { offset, data } => {
                let mut region = [0; 48];
                region[*offset as usize..][..data.len()].copy_from_slice(data);
                executed(&region, config)
            }
        }
    }
}

/// What becomes of the request in a region that holds nothing else.
fn executed(region: &[u8; 48], config: &[u8]) -> Expected {
    let number = |at: usize| u64::from_ne_bytes(region[at..at + 8].try_into().unwrap());
    let (flags, address, offset) = (number(16), number(24), number(32));
    let length = u64::from(u16::from_ne_bytes([region[44], region[45]]));
    let space = region[46];
    let refused = Expected::Refused(EIO);
    let page = |number: u64| number / PAGE;
    if length == 0
        || address % 8 != 0
        || address.checked_add(length - 1).is_none_or(|last| page(last) != page(address))
    {
        return refused;
    }
    let bytes = |from: u64, byte: fn(u64) -> u8| (from..from + length).map(byte).collect::<Vec<u8>>();
    let in_bar = space == 0 && offset.checked_add(length).is_some_and(|end| end <= BAR);
    match flags {
        1 if page(address) != 2 => refused,
        1 if space == 15 && [1, 2, 4].contains(&length) && offset % length == 0 => {
            let from = usize::try_from(offset).unwrap();
            match config.get(from..from.saturating_add(length as usize)) {
                Some(data) => Expected::Load { address, data: data.to_vec() },
                None => refused,
            }
        }
        1 if in_bar && [1, 2, 4, 8].contains(&length) && offset % 8 + length <= 8 => {
            Expected::Load { address, data: bytes(offset, register) }
        }
        2 if length <= MAX_STORE.into() && page(address) == 1 && in_bar => {
            if length % 8 == 0 && offset % 8 == 0 && offset % PAGE + length <= PAGE {
                Expected::Block { offset, data: bytes(address, content) }
            } else {
                refused
            }
        }
        _ => refused,
    }
}
