//! A virtual function's space as hardware shows it.
//!
//! PCIe 6.0 s9.3.4 *PF/VF Configuration Space Header*: a VF answers its identifiers with all-ones, has no BARs of its own
//! and no memory enable, since the physical function holds them for all. The space itself keeps what a consumer is
//! shown instead (CAP-04, CAP-05, CAP-08); a host that reads a VF through its host bridge sees what is here.

use super::ConfigSpace;
use super::effects::ConfigEffects;
use super::layout::HeaderKind;
use pci_spec::{Command, config};

/// The dwords that are the physical function's: all BARs.
const BARS: std::ops::RangeInclusive<u16> = config::BAR0..=config::BAR5 + 3;

impl ConfigSpace {
    /// Whether this is the space of a virtual function.
    #[must_use]
    pub fn is_virtual(&self) -> bool {
        self.layout.header() == HeaderKind::Virtual
    }

    /// Reads as [`ConfigSpace::read`], but what hardware answers: for a VF, identifiers read all-ones and BARs 0.
    pub fn read_hardware(&self, offset: u16, data: &mut [u8]) {
        self.read(offset, data);
        if !self.is_virtual() {
            return;
        }
        let [memory, _] = Command::MEMORY_SPACE.bits().to_le_bytes();
        for (at, byte) in (offset..).zip(data) {
            match at {
                config::VENDOR_ID..config::COMMAND => *byte = u8::MAX,
                config::COMMAND => *byte &= !memory,
                _ if BARS.contains(&at) => *byte = 0,
                _ => {}
            }
        }
    }

    /// Writes as [`ConfigSpace::write`], but as hardware takes it: a VF has no BARs to move and no memory enable. One
    /// aligned register of 1, 2 or 4 bytes; more is cut.
    #[must_use = "a reset or a power change that a write asks for is carried out by the caller"]
    pub fn write_hardware(&self, offset: u16, data: &[u8]) -> ConfigEffects {
        if !self.is_virtual() {
            return self.write(offset, data);
        }
        if BARS.contains(&offset) {
            return ConfigEffects::default();
        }
        let mut piece = [0; 4];
        let length = data.len().min(piece.len());
        piece[..length].copy_from_slice(&data[..length]);
        if offset == config::COMMAND {
            let [memory, _] = Command::MEMORY_SPACE.bits().to_le_bytes();
            let [shown, _] = self.command().bits().to_le_bytes();
            piece[0] = piece[0] & !memory | shown & memory;
        }
        self.write(offset, &piece[..length])
    }
}
