//! The Command register. PCIe 6.0 s7.5.1.1.3 Command Register.

bitflags::bitflags! {
    /// What a function may do: decode, master the bus, report errors, assert INTx.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct Command: u16 {
        /// Answers I/O-space requests to its I/O BARs.
        const IO_SPACE = 1 << 0;
        /// Answers memory-space requests to its memory BARs and its ROM.
        const MEMORY_SPACE = 1 << 1;
        /// May issue memory and I/O requests: DMA, and MSI and MSI-X, which are memory writes.
        const BUS_MASTER = 1 << 2;
        /// Hardwired to 0 in PCI Express.
        const SPECIAL_CYCLE = 1 << 3;
        /// Hardwired to 0 in PCI Express.
        const MEMORY_WRITE_INVALIDATE = 1 << 4;
        /// Hardwired to 0 in PCI Express.
        const VGA_PALETTE_SNOOP = 1 << 5;
        /// Sets `Status::MASTER_DATA_PARITY_ERROR` on a poisoned transaction.
        const PARITY_ERROR_RESPONSE = 1 << 6;
        /// Hardwired to 0 in PCI Express.
        const IDSEL_STEPPING = 1 << 7;
        /// Reports non-fatal and fatal errors, and lets `Status::SIGNALED_SYSTEM_ERROR` be set.
        const SERR_ENABLE = 1 << 8;
        /// Hardwired to 0 in PCI Express.
        const FAST_BACK_TO_BACK = 1 << 9;
        /// Must not assert INTx; an INTx that is asserted is deasserted when this is set.
        const INTERRUPT_DISABLE = 1 << 10;
    }
}

/// Bits that a PCI Express endpoint with legacy interrupts stores when written; all others are read-only zero.
pub const COMMAND_RW: Command = Command::IO_SPACE
    .union(Command::MEMORY_SPACE)
    .union(Command::BUS_MASTER)
    .union(Command::PARITY_ERROR_RESPONSE)
    .union(Command::SERR_ENABLE)
    .union(Command::INTERRUPT_DISABLE);

/// No bit of the register is write-one-to-clear.
pub const COMMAND_RW1C: Command = Command::empty();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writable_bits_are_those_of_a_pci_express_endpoint() {
        assert_eq!(COMMAND_RW.bits(), 0x0547);
        assert!(COMMAND_RW1C.is_empty());
    }
}
