//! The times that an operator may set.

use crate::step::{DEFAULT_UNPLUG_TIMEOUT, REMIND};
use std::time::Duration;

/// The times of one slot. Each is finite, so every operation ends (law 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How often a consumer is asked again; not less than a millisecond.
    pub remind: Duration,
    /// How long consumers are asked when the button was pressed, and when nobody says otherwise.
    pub unplug_timeout: Duration,
    /// How long one order to the hardware may take, with all the callbacks that belong to it. A callback that begins later is given
    /// [`Settings::LEAST`] all the same.
    pub effect_timeout: Duration,
    /// How long one callback of a driver or a consumer may take before the slot goes on without it.
    pub callback_timeout: Duration,
}

impl Settings {
    /// What every callback is given, also one whose turn comes when the time for all is over.
    pub const LEAST: Duration = Duration::from_millis(100);
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            remind: REMIND,
            unplug_timeout: DEFAULT_UNPLUG_TIMEOUT,
            effect_timeout: Duration::from_secs(10),
            callback_timeout: Duration::from_secs(5),
        }
    }
}
