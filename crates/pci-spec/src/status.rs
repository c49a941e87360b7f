//! The Status register. PCIe 6.0 s7.5.1.1.4 Status Register.

bitflags::bitflags! {
    /// What happened to a function, and whether it has a capability list.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct Status: u16 {
        /// May be accessed right after a reset without the usual delay. Read-only.
        const IMMEDIATE_READINESS = 1 << 0;
        /// An INTx is pending inside the function, whether or not it may be asserted. Read-only.
        const INTERRUPT_STATUS = 1 << 3;
        /// Has a capability list. Read-only, 1 in every PCI Express function.
        const CAPABILITIES_LIST = 1 << 4;
        /// Hardwired to 0 in PCI Express.
        const CAPABLE_66_MHZ = 1 << 5;
        /// Hardwired to 0 in PCI Express.
        const FAST_BACK_TO_BACK_CAPABLE = 1 << 7;
        /// Sent or received poison while `Command::PARITY_ERROR_RESPONSE` was set. Write one to clear.
        const MASTER_DATA_PARITY_ERROR = 1 << 8;
        /// Hardwired to 0 in PCI Express (two-bit field, low bit).
        const DEVSEL_TIMING_0 = 1 << 9;
        /// Hardwired to 0 in PCI Express (two-bit field, high bit).
        const DEVSEL_TIMING_1 = 1 << 10;
        /// Completed a request with Completer Abort. Write one to clear.
        const SIGNALED_TARGET_ABORT = 1 << 11;
        /// Got a completion with Completer Abort. Write one to clear.
        const RECEIVED_TARGET_ABORT = 1 << 12;
        /// Got a completion with Unsupported Request. Write one to clear.
        const RECEIVED_MASTER_ABORT = 1 << 13;
        /// Sent an error message while `Command::SERR_ENABLE` was set. Write one to clear.
        const SIGNALED_SYSTEM_ERROR = 1 << 14;
        /// Received poison. Write one to clear.
        const DETECTED_PARITY_ERROR = 1 << 15;
    }
}

/// No bit of the register is plainly writable.
pub const STATUS_RW: Status = Status::empty();

/// Bits that writing 1 clears.
pub const STATUS_RW1C: Status = Status::MASTER_DATA_PARITY_ERROR
    .union(Status::SIGNALED_TARGET_ABORT)
    .union(Status::RECEIVED_TARGET_ABORT)
    .union(Status::RECEIVED_MASTER_ABORT)
    .union(Status::SIGNALED_SYSTEM_ERROR)
    .union(Status::DETECTED_PARITY_ERROR);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_bits_are_cleared_by_writing_one() {
        assert_eq!(STATUS_RW1C.bits(), 0xf900);
        assert!(STATUS_RW.is_empty());
        assert!(!STATUS_RW1C.intersects(Status::CAPABILITIES_LIST | Status::INTERRUPT_STATUS));
    }
}
