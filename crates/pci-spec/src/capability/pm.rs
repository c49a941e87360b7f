//! PCI Power Management capability. PCIe 6.0 s7.5.2 PCI Power Management Capability Structure.

use super::id;

/// Capability identifier.
pub const ID: u8 = id::POWER_MANAGEMENT;
/// Length of the capability, in bytes.
pub const LENGTH: u16 = 8;

/// Offset of the capabilities register, 2 bytes: [`Capabilities`].
///
/// PCIe 6.0 s7.5.2.1 Power Management Capabilities Register.
pub const CAPABILITIES: u16 = 0x02;
/// Offset of the control and status register, 2 bytes: [`ControlStatus`].
///
/// PCIe 6.0 s7.5.2.2 Power Management Control/Status Register.
pub const CONTROL_STATUS: u16 = 0x04;
/// Offset of the data register, 1 byte, read-only, 0 where not implemented. PCIe 6.0 s7.5.2.3 Data.
pub const DATA: u16 = 0x07;

/// Value of the version field, bits 2:0 of [`CAPABILITIES`], for PCI Bus Power Management Interface 1.2.
pub const VERSION_1_2: u16 = 0b011;
/// The version field of [`CAPABILITIES`].
pub const VERSION_MASK: u16 = 0b111;

bitflags::bitflags! {
    /// Power Management Capabilities, all read-only.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct Capabilities: u16 {
        /// Hardwired to 0 in PCI Express.
        const PME_CLOCK = 1 << 3;
        /// May be accessed right after its return to D0.
        const IMMEDIATE_READINESS_ON_D0 = 1 << 4;
        /// Needs special initialisation before a generic driver may use it.
        const DEVICE_SPECIFIC_INIT = 1 << 5;
        /// Supports D1.
        const D1 = 1 << 9;
        /// Supports D2.
        const D2 = 1 << 10;
        /// Can signal PME in D0.
        const PME_D0 = 1 << 11;
        /// Can signal PME in D1.
        const PME_D1 = 1 << 12;
        /// Can signal PME in D2.
        const PME_D2 = 1 << 13;
        /// Can signal PME in D3hot.
        const PME_D3HOT = 1 << 14;
        /// Can signal PME in D3cold.
        const PME_D3COLD = 1 << 15;
        /// The version and auxiliary-current fields.
        const _ = VERSION_MASK | 0b111 << 6;
    }
}

bitflags::bitflags! {
    /// Power Management Control/Status, without the power-state field: see [`PowerState`].
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct ControlStatus: u16 {
        /// Keeps its configuration and context over D3hot to D0. Read-only.
        const NO_SOFT_RESET = 1 << 3;
        /// May signal PME. Writable where the function can signal PME.
        const PME_ENABLE = 1 << 8;
        /// Would signal PME. Write one to clear, where the function can signal PME.
        const PME_STATUS = 1 << 15;
        /// The power-state field, data select and data scale.
        const _ = POWER_STATE_MASK | 0b1111 << 9 | 0b11 << 13;
    }
}

/// Bits of [`CONTROL_STATUS`] that hold the [`PowerState`].
pub const POWER_STATE_MASK: u16 = 0b11;

/// Writable bits of [`CONTROL_STATUS`] in a function that never signals PME and has no data register.
pub const CONTROL_STATUS_RW: u16 = POWER_STATE_MASK;
/// Additional writable bits of [`CONTROL_STATUS`] in a function that can signal PME.
pub const CONTROL_STATUS_PME_RW: u16 = ControlStatus::PME_ENABLE.bits();
/// Bits of [`CONTROL_STATUS`] that writing 1 clears, in a function that can signal PME.
pub const CONTROL_STATUS_RW1C: u16 = ControlStatus::PME_STATUS.bits();

/// Power state of a function. PCIe 6.0 s5.3.1 Device Power Management States (D-States) of a Function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum PowerState {
    /// Fully on.
    #[default]
    D0 = 0,
    /// Light sleep, optional.
    D1 = 1,
    /// Deeper sleep, optional.
    D2 = 2,
    /// Off as far as software can see, with power: answers configuration requests only.
    D3Hot = 3,
}

impl PowerState {
    /// The name: `D0`, `D1`, `D2`, `D3hot`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            PowerState::D0 => "D0",
            PowerState::D1 => "D1",
            PowerState::D2 => "D2",
            PowerState::D3Hot => "D3hot",
        }
    }

    /// The state in bits 1:0 of a [`CONTROL_STATUS`] value.
    #[must_use]
    pub const fn decode(control_status: u16) -> Self {
        match control_status & POWER_STATE_MASK {
            0 => PowerState::D0,
            1 => PowerState::D1,
            2 => PowerState::D2,
            _ => PowerState::D3Hot,
        }
    }

    /// The field's bits.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn power_state_round_trips_in_its_two_bits() {
        for value in 0..4 {
            assert_eq!(PowerState::decode(0xfffc | value).bits(), value);
        }
        assert_eq!(PowerState::decode(0x0003), PowerState::D3Hot);
    }

    #[test]
    fn pme_bits_stand_where_the_specification_puts_them() {
        assert_eq!(CONTROL_STATUS_RW1C, 0x8000);
        assert_eq!(CONTROL_STATUS_PME_RW, 0x0100);
        assert_eq!(ControlStatus::NO_SOFT_RESET.bits(), 0x0008);
        assert_eq!(Capabilities::PME_D3COLD.bits(), 0x8000);
    }
}
