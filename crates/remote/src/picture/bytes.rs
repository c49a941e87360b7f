//! A configuration space as it was read: bytes of somebody else's, which may say anything.

use pci_core::{CONFIG_SIZE, Width};

/// All of it; what could not be read is 0.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Bytes(Box<[u8; CONFIG_SIZE]>);

impl Bytes {
    pub(super) fn new() -> Bytes {
        Bytes(Box::new([0; CONFIG_SIZE]))
    }

    pub(super) fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0[..]
    }

    /// `length` bytes at `at`, as far as they lie inside.
    pub(super) fn slice(&self, at: u16, length: u16) -> &[u8] {
        let (at, length) = (usize::from(at), usize::from(length));
        let end = at.saturating_add(length).min(CONFIG_SIZE);
        self.0.get(at..end).unwrap_or_default()
    }

    /// What lies outside reads 0.
    fn get<const N: usize>(&self, at: u16) -> [u8; N] {
        let length = u16::try_from(N).unwrap_or(0);
        self.slice(at, length).try_into().unwrap_or([0; N])
    }

    pub(super) fn u8(&self, at: u16) -> u8 {
        let [byte] = self.get(at);
        byte
    }

    pub(super) fn u16(&self, at: u16) -> u16 {
        u16::from_le_bytes(self.get(at))
    }

    pub(super) fn u32(&self, at: u16) -> u32 {
        u32::from_le_bytes(self.get(at))
    }

    pub(super) fn u64(&self, at: u16) -> u64 {
        u64::from_le_bytes(self.get(at))
    }

    /// A register as the walks of capabilities read it.
    pub(super) fn register(&self, at: u16, width: Width) -> u32 {
        match width {
            Width::Byte => self.u8(at).into(),
            Width::Word => self.u16(at).into(),
            Width::Dword => self.u32(at),
        }
    }
}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:02x?}..", self.slice(0, 64))
    }
}
