//! What user space hears of a function's recovery (AER-07).

/// A stage of a recovery, as user space hears of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uevent {
    /// A recovery begins.
    Begin,
    /// The function goes on.
    Success,
    /// It does not.
    Failed,
}

impl Uevent {
    /// The value of `ERROR_EVENT`.
    #[must_use]
    pub const fn error_event(self) -> &'static str {
        match self {
            Uevent::Begin => "BEGIN_RECOVERY",
            Uevent::Success => "SUCCESSFUL_RECOVERY",
            Uevent::Failed => "FAILED_RECOVERY",
        }
    }

    /// The value of `DEVICE_ONLINE`: 1 or 0.
    #[must_use]
    pub const fn device_online(self) -> u8 {
        match self {
            Uevent::Success => 1,
            Uevent::Begin | Uevent::Failed => 0,
        }
    }
}
