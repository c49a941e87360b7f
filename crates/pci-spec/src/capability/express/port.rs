//! What a port has beyond an endpoint: slot, root and link registers.
//!
//! PCIe 6.0 s7.5.3.9 Slot Capabilities Register to s7.5.3.14 Root Status Register.

/// Bit of the PCI Express Capabilities register: a slot hangs on the port. Downstream and root ports only.
pub const SLOT_IMPLEMENTED: u16 = 1 << 8;

bitflags::bitflags! {
    /// Slot Capabilities, without its numeric fields. Read-only.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct SlotCapabilities: u32 {
        /// Has an attention button.
        const ATTENTION_BUTTON = 1 << 0;
        /// Can switch the slot's power.
        const POWER_CONTROLLER = 1 << 1;
        /// Has a sensor on the retention latch.
        const MRL_SENSOR = 1 << 2;
        /// Has an attention indicator.
        const ATTENTION_INDICATOR = 1 << 3;
        /// Has a power indicator.
        const POWER_INDICATOR = 1 << 4;
        /// A device may leave without notice.
        const HOT_PLUG_SURPRISE = 1 << 5;
        /// Devices may come and go.
        const HOT_PLUG_CAPABLE = 1 << 6;
        /// Has an electromechanical interlock.
        const INTERLOCK = 1 << 17;
        /// Reports no completion of commands.
        const NO_COMMAND_COMPLETED = 1 << 18;
        /// Power limit and slot number.
        const _ = !0;
    }
}

/// First bit of the physical slot number in Slot Capabilities, 13 bits.
pub const SLOT_NUMBER_SHIFT: u32 = 19;
/// Highest physical slot number.
pub const SLOT_NUMBER_MAX: u16 = 0x1fff;

bitflags::bitflags! {
    /// Slot Control.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct SlotControl: u16 {
        /// Tells of the attention button.
        const ATTENTION_BUTTON_ENABLE = 1 << 0;
        /// Tells of power faults.
        const POWER_FAULT_ENABLE = 1 << 1;
        /// Tells of the retention latch.
        const MRL_SENSOR_ENABLE = 1 << 2;
        /// Tells of devices that come or go.
        const PRESENCE_ENABLE = 1 << 3;
        /// Tells of completed commands.
        const COMMAND_COMPLETED_ENABLE = 1 << 4;
        /// Raises an interrupt for what it tells.
        const HOT_PLUG_INTERRUPT_ENABLE = 1 << 5;
        /// The slot's power is off.
        const POWER_OFF = 1 << 10;
        /// Toggles the interlock; reads 0.
        const INTERLOCK_CONTROL = 1 << 11;
        /// Tells of the link going up or down.
        const LINK_STATE_ENABLE = 1 << 12;
        /// Both indicators.
        const _ = ATTENTION_INDICATOR_MASK | POWER_INDICATOR_MASK;
    }
}

/// Bits 7:6 of Slot Control: the attention indicator, 1 on, 2 blinking, 3 off.
pub const ATTENTION_INDICATOR_MASK: u16 = 0b11 << 6;
/// Bits 9:8 of Slot Control: the power indicator, 1 on, 2 blinking, 3 off.
pub const POWER_INDICATOR_MASK: u16 = 0b11 << 8;
/// Writable bits of Slot Control in a slot with power controller and both indicators, but no interlock.
pub const SLOT_CONTROL_RW: u16 = 0x17ff;
/// Slot Control after reset: both indicators off, power on.
pub const SLOT_CONTROL_DEFAULT: u16 = ATTENTION_INDICATOR_MASK | POWER_INDICATOR_MASK;

bitflags::bitflags! {
    /// Slot Status.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct SlotStatus: u16 {
        /// The attention button was pressed. Write one to clear.
        const ATTENTION_BUTTON_PRESSED = 1 << 0;
        /// Power failed. Write one to clear.
        const POWER_FAULT = 1 << 1;
        /// The retention latch moved. Write one to clear.
        const MRL_SENSOR_CHANGED = 1 << 2;
        /// A device came or left. Write one to clear.
        const PRESENCE_CHANGED = 1 << 3;
        /// A command is done. Write one to clear.
        const COMMAND_COMPLETED = 1 << 4;
        /// The retention latch is open. Read-only.
        const MRL_OPEN = 1 << 5;
        /// A device is present; 1 in a port without slot. Read-only.
        const PRESENT = 1 << 6;
        /// The interlock is engaged. Read-only.
        const INTERLOCK_ENGAGED = 1 << 7;
        /// The link went up or down. Write one to clear.
        const LINK_STATE_CHANGED = 1 << 8;
    }
}

/// Bits of Slot Status that writing 1 clears.
pub const SLOT_STATUS_RW1C: u16 = SlotStatus::ATTENTION_BUTTON_PRESSED
    .union(SlotStatus::POWER_FAULT)
    .union(SlotStatus::MRL_SENSOR_CHANGED)
    .union(SlotStatus::PRESENCE_CHANGED)
    .union(SlotStatus::COMMAND_COMPLETED)
    .union(SlotStatus::LINK_STATE_CHANGED)
    .bits();

/// Bit of Root Capabilities: can show software that a function is not ready yet.
///
/// PCIe 6.0 s7.5.3.13 Root Capabilities Register (Configuration RRS Software Visibility).
pub const RRS_SOFTWARE_VISIBILITY: u16 = 1 << 0;
/// Writable bits of Root Control: error and PME reporting, RRS software visibility.
pub const ROOT_CONTROL_RW: u16 = 0x001f;
/// Bit of Root Control: shows software that a function is not ready yet.
pub const RRS_SOFTWARE_VISIBILITY_ENABLE: u16 = 1 << 4;
/// Bit of Root Status that writing 1 clears: a PME arrived.
pub const ROOT_STATUS_PME: u32 = 1 << 16;

/// Bit of Link Capabilities: tells whether the link is up.
pub const LINK_ACTIVE_REPORTING: u32 = 1 << 20;
/// First bit of the port number in Link Capabilities, 8 bits.
pub const PORT_NUMBER_SHIFT: u32 = 24;
/// Bit of Link Control: the link is held down. Downstream and root ports only.
pub const LINK_DISABLE: u16 = 1 << 4;
/// Bit of Link Control: writing 1 trains the link again; reads 0. Downstream and root ports only.
pub const RETRAIN_LINK: u16 = 1 << 5;
/// Writable bits of Link Control in a downstream or root port, without [`RETRAIN_LINK`].
pub const LINK_CONTROL_PORT_RW: u16 = super::LINK_CONTROL_RW & !(1 << 3) | LINK_DISABLE;
/// Bit of Link Status: the link is up, where [`LINK_ACTIVE_REPORTING`].
pub const LINK_ACTIVE: u16 = 1 << 13;

/// Bit of Device Capabilities 2: can forward requests to all 256 functions of an ARI device.
pub const ARI_FORWARDING_SUPPORTED: u32 = 1 << 5;
/// Bit of Device Control 2: forwards requests to all 256 functions of the device below, not only to device 0.
///
/// PCIe 6.0 s6.13 Alternative Routing-ID Interpretation (ARI).
pub const ARI_FORWARDING_ENABLE: u16 = 1 << 5;
/// Bit of Device Control 2: may send latency tolerance messages.
pub const LTR_ENABLE: u16 = 1 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_match_the_specification() {
        assert_eq!(SLOT_STATUS_RW1C, 0x011f);
        assert_eq!(SLOT_CONTROL_RW & SlotControl::INTERLOCK_CONTROL.bits(), 0);
        assert_eq!(SLOT_CONTROL_DEFAULT, 0x03c0);
        assert_eq!(LINK_CONTROL_PORT_RW, 0x00d3);
    }
}
