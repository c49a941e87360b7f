//! Downstream Port Containment.
//!
//! PCIe 6.0 s7.9.14 Downstream Port Containment Extended Capability (DPC Extended Capability).

/// Version of the layout.
pub const VERSION: u8 = 1;
/// Length without the root port's extensions, in bytes.
pub const LENGTH: u16 = 0x0c;
/// Offset of the capability register, 2 bytes, read-only. PCIe 6.0 s7.9.14.2 DPC Capability Register.
pub const CAPABILITY: u16 = 0x04;
/// Offset of the control register, 2 bytes. PCIe 6.0 s7.9.14.3 DPC Control Register.
pub const CONTROL: u16 = 0x06;
/// Offset of the status register, 2 bytes. PCIe 6.0 s7.9.14.4 DPC Status Register.
pub const STATUS: u16 = 0x08;
/// Offset of the source of the error, 2 bytes, read-only. PCIe 6.0 s7.9.14.5 DPC Error Source ID Register.
pub const ERROR_SOURCE: u16 = 0x0a;
/// Bit of the capability register: software can trigger it.
pub const SOFTWARE_TRIGGER_CAPABLE: u16 = 1 << 7;
/// Bits 1:0 of the control register: off, on fatal errors, on fatal and non-fatal errors.
pub const TRIGGER_ENABLE_MASK: u16 = 0b11;
/// Bit of the control register: writing 1 triggers; reads 0.
pub const SOFTWARE_TRIGGER: u16 = 1 << 6;
/// Writable bits of the control register, without [`SOFTWARE_TRIGGER`].
pub const CONTROL_RW: u16 = 0x00bf;
/// Bits of the status register that writing 1 clears: triggered, interrupt.
pub const STATUS_RW1C: u16 = 1 << 0 | 1 << 3;
/// Bits of the status register that survive a reset.
pub const STATUS_STICKY: u16 = 0x006f;

bitflags::bitflags! {
    /// DPC Status, without its numeric fields.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct Status: u16 {
        /// The port contains an error: its link is down until this is cleared. Write one to clear, sticky.
        const TRIGGERED = 1 << 0;
        /// There is an interrupt to be taken. Write one to clear.
        const INTERRUPT = 1 << 3;
        /// The root port is busy with what was in flight. Read-only.
        const ROOT_PORT_BUSY = 1 << 4;
        /// The reason, its extension and the first error pointer of the root port.
        const _ = REASON_MASK | REASON_EXTENSION_MASK | 0x1f << 8;
    }
}

/// Bits 2:1 of the status register: why it was triggered. Sticky.
pub const REASON_MASK: u16 = 0b11 << 1;
/// Bits 6:5 of the status register: more about the reason if that is [`Reason::Software`]'s. Sticky.
pub const REASON_EXTENSION_MASK: u16 = 0b11 << 5;

/// Why a port contains an error. PCIe 6.0 s7.9.14.4 DPC Status Register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The port itself noticed an unmasked uncorrectable error.
    Uncorrectable,
    /// It received a message of a non-fatal error; its sender is in [`ERROR_SOURCE`].
    NonFatalMessage,
    /// It received a message of a fatal error; its sender is in [`ERROR_SOURCE`].
    FatalMessage,
    /// A root port's own programmed I/O failed.
    ProgrammedIo,
    /// Software asked for it.
    Software,
}

impl Reason {
    /// The reason in its two fields of the status register.
    #[must_use]
    pub const fn bits(self) -> u16 {
        match self {
            Reason::Uncorrectable => 0,
            Reason::NonFatalMessage => 1 << 1,
            Reason::FatalMessage => 2 << 1,
            Reason::ProgrammedIo => REASON_MASK,
            Reason::Software => REASON_MASK | 1 << 5,
        }
    }

    /// The reason that a status register shows; `None` for one that is not defined.
    #[must_use]
    pub const fn decode(status: u16) -> Option<Reason> {
        match ((status & REASON_MASK) >> 1, (status & REASON_EXTENSION_MASK) >> 5) {
            (0, _) => Some(Reason::Uncorrectable),
            (1, _) => Some(Reason::NonFatalMessage),
            (2, _) => Some(Reason::FatalMessage),
            (_, 0) => Some(Reason::ProgrammedIo),
            (_, 1) => Some(Reason::Software),
            _ => None,
        }
    }
}

/// On what a port triggers: bits 1:0 of the control register. PCIe 6.0 s7.9.14.3 DPC Control Register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TriggerEnable {
    /// Nothing but software.
    Off,
    /// Errors of its own that are fatal, and messages of fatal errors.
    Fatal,
    /// Also non-fatal ones.
    FatalAndNonFatal,
}

impl TriggerEnable {
    /// What a control register says; the reserved value counts as off.
    #[must_use]
    pub const fn decode(control: u16) -> TriggerEnable {
        match control & TRIGGER_ENABLE_MASK {
            1 => TriggerEnable::Fatal,
            2 => TriggerEnable::FatalAndNonFatal,
            _ => TriggerEnable::Off,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_read_back_as_it_was_written() {
        use Reason::{FatalMessage, NonFatalMessage, ProgrammedIo, Software, Uncorrectable};
        for reason in [Uncorrectable, NonFatalMessage, FatalMessage, ProgrammedIo, Software] {
            let status = Status::TRIGGERED.bits() | reason.bits();
            assert_eq!(Reason::decode(status), Some(reason));
        }
        assert_eq!(Reason::decode(0x66), None, "an extension that is reserved");
        assert_eq!((Reason::FatalMessage.bits(), Reason::Software.bits()), (0x4, 0x26));
    }

    #[test]
    fn the_sticky_bits_are_trigger_reason_and_interrupt() {
        let sticky = Status::TRIGGERED.bits() | Status::INTERRUPT.bits();
        assert_eq!(STATUS_STICKY, sticky | REASON_MASK | REASON_EXTENSION_MASK);
        assert_eq!(STATUS_RW1C, sticky);
    }

    #[test]
    fn the_reserved_value_of_the_trigger_enable_is_off() {
        let read = [0xfff0u16, 1, 2, 3].map(TriggerEnable::decode);
        use TriggerEnable::{Fatal, FatalAndNonFatal, Off};
        assert_eq!(read, [Off, Fatal, FatalAndNonFatal, Off]);
    }
}
