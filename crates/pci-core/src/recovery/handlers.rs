//! Which error callbacks a driver has.

bitflags::bitflags! {
    /// Which error callbacks a driver has (AER-01).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Handlers: u8 {
        /// It is told of an error and votes.
        const ERROR_DETECTED = 0x01;
        /// It is told that registers can be reached again and votes.
        const MMIO_ENABLED = 0x02;
        /// It is told that its function was reset and votes.
        const SLOT_RESET = 0x04;
        /// It is told to go on.
        const RESUME = 0x08;
        /// It is told of an error that the hardware has corrected.
        const COR_ERROR_DETECTED = 0x10;
        /// It is told before a reset that somebody asks for. No recovery calls it.
        const RESET_PREPARE = 0x20;
        /// It is told after such a reset. No recovery calls it.
        const RESET_DONE = 0x40;
    }
}
