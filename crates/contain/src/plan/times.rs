//! How long things take, and how often they are tried.

use std::time::Duration;

/// How long a reset is held (EEH-19).
pub const RESET_HOLD: Duration = Duration::from_millis(250);
/// How long a PE is left alone after a reset (EEH-19).
pub const RESET_SETTLE: Duration = Duration::from_millis(1800);
/// How often a PE is reset in one recovery before it is given up (EEH-19).
pub const RESET_ATTEMPTS: u32 = 3;
/// How long a reset of the secondary bus is held (RST-09).
pub const SECONDARY_BUS_RESET_HOLD: Duration = Duration::from_millis(2);
/// How long a PE's state may be unavailable, in all (EEH-11).
pub const STATE_WAIT: Duration = Duration::from_secs(300);
/// The shortest time after which a PE's state is asked for again, whatever the firmware says (EEH-19).
pub const STATE_POLL_MIN: Duration = Duration::from_secs(1);
/// The longest (EEH-19).
pub const STATE_POLL_MAX: Duration = Duration::from_secs(300);
/// How often a PE is unfrozen after a reset before it is given up (EEH-20).
pub const UNFREEZE_ATTEMPTS: u32 = 3;
/// How long unbound functions are left alone after their reset, before drivers are probed (EEH-13).
pub const HOT_PLUG_SETTLE: Duration = Duration::from_secs(5);
/// How long the link of a port that contained an error may take to be inactive (AER-08).
pub const LINK_INACTIVE_WAIT: Duration = Duration::from_secs(1);
/// How long its root port may be busy (AER-08).
pub const ROOT_PORT_BUSY_WAIT: Duration = Duration::from_secs(1);
