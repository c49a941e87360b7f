//! What a machine knows of a function's state.

/// Where a function is configured (ZP-01).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Configuration {
    /// There is a device, and this machine does not use it.
    Standby = 0,
    /// This machine uses it.
    Configured = 1,
    /// There is no device that this machine could use.
    Reserved = 2,
}

/// What somebody does to a function that nobody else may do meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Recovers it (ZP-10).
    Recovery,
    /// Resets it (ZP-09).
    Reset,
    /// Enables or disables it (ZP-02).
    SetFunction,
}
