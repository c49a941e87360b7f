//! How long software must wait after resets, power changes and slot operations.
//!
//! Each is the least wait unless its name says otherwise; a wait starts when the operation was *done*, not when it was
//! begun.

use core::time::Duration;

/// After a Function Level Reset was started, before the function is touched: 100 ms.
///
/// PCIe 6.0 s6.6.2 Function Level Reset (FLR).
pub const FUNCTION_LEVEL_RESET: Duration = Duration::from_millis(100);

/// After a conventional reset (or link up, above 5 GT/s), before the first configuration request: 100 ms.
///
/// PCIe 6.0 s6.6.1 Conventional Reset.
pub const CONVENTIONAL_RESET: Duration = Duration::from_millis(100);

/// Longest that a function may answer "not ready" after a conventional reset, before it counts as broken: 1 s.
///
/// PCIe 6.0 s6.6.1 Conventional Reset.
pub const CONVENTIONAL_RESET_READY_MAX: Duration = Duration::from_secs(1);

/// How long a secondary bus reset stays asserted: 1 ms.
///
/// PCI Local Bus 3.0 s4.3.2 Timing Parameters (`Trst`); PCIe 6.0, section "Bridge Control Register".
pub const SECONDARY_BUS_RESET_ASSERTED: Duration = Duration::from_millis(1);

/// Between D0 and D3hot, either way: 10 ms.
///
/// PCIe 6.0 s5.9 State Transition Recovery Time Requirements.
pub const D3HOT: Duration = Duration::from_millis(10);

/// Between D0 and D2, either way: 200 us.
///
/// PCIe 6.0 s5.9 State Transition Recovery Time Requirements.
pub const D2: Duration = Duration::from_micros(200);

/// Between D0 and D1: none.
///
/// PCIe 6.0 s5.9 State Transition Recovery Time Requirements.
pub const D1: Duration = Duration::ZERO;

/// Power good to end of fundamental reset: 100 ms.
///
/// PCI Express Card Electromechanical Specification, section "Initial Power-Up (G3 to S0)" (`T_PVPERL`).
pub const POWER_GOOD_TO_RESET_END: Duration = Duration::from_millis(100);

/// After a slot was switched off, before it counts as without power: 1 s.
///
/// PCIe 6.0, section "Power Controller" of "Elements of Hot-Plug".
pub const SLOT_POWER_OFF: Duration = Duration::from_secs(1);

/// Longest that a slot may take to report a command as completed: 1 s.
///
/// PCIe 6.0, section "Command Completed Events".
pub const SLOT_COMMAND_COMPLETED_MAX: Duration = Duration::from_secs(1);

/// How long a second press of the attention button still cancels the first: 5 s.
///
/// PCIe 6.0, section "Attention Button" of "Elements of Hot-Plug".
pub const ATTENTION_BUTTON_CANCEL: Duration = Duration::from_secs(5);

/// After virtual functions were switched on, before the first access to one: 100 ms.
///
/// PCIe 6.0 s9.3.3.3.1 VF Enable.
pub const VF_ENABLE: Duration = Duration::from_millis(100);

/// After virtual functions were switched off, before they may be switched on again: 1 s.
///
/// PCIe 6.0 s9.3.3.3.1 VF Enable.
pub const VF_DISABLE: Duration = Duration::from_secs(1);

/// Longest default completion timeout: 50 ms.
///
/// PCIe 6.0 s7.5.3.16 Device Control 2 Register (Completion Timeout Value 0).
pub const COMPLETION_TIMEOUT_DEFAULT_MAX: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_have_their_specified_units() {
        assert_eq!(FUNCTION_LEVEL_RESET.as_millis(), 100);
        assert_eq!(D3HOT.as_millis(), 10);
        assert_eq!(D2.as_micros(), 200);
        assert_eq!(CONVENTIONAL_RESET_READY_MAX.as_secs(), 1);
    }
}
