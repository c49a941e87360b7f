//! How long the parts of a recovery may take.

use crate::plan::Reset;
use crate::settings::Settings;
use std::time::Duration;

/// What every call is given, also one whose turn comes when the time for it is over.
pub(super) const LEAST: Duration = Duration::from_millis(100);

/// How long a function may take to answer after a reset. PCIe 6.0 s6.6.1 *Conventional Reset* asks for one second and lets
/// functions ask for more; whoever waits for longer gives up at this (RST-10).
const READY: Duration = Duration::from_secs(60);

/// The first pause before closed gates are tried again, and the last: each is twice the one before.
pub(super) const RETRY: (Duration, Duration) = (Duration::from_micros(100), Duration::from_millis(20));

/// The times of one recovery.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    pub(super) call: Duration,
    pub(super) quiesce: Duration,
    scale: f64,
}

impl Timing {
    pub(super) fn new(settings: &Settings) -> Timing {
        // Also what is no number at all.
        let scale = if settings.time_scale.is_finite() { settings.time_scale.clamp(0.0, 1.0) } else { 1.0 };
        let (call, quiesce) = (settings.call_timeout.max(LEAST), settings.quiesce_timeout.max(LEAST));
        Timing { call, quiesce, scale }
    }

    pub(super) fn scaled(&self, time: Duration) -> Duration {
        time.mul_f64(self.scale)
    }

    /// A reset with the times that are to pass.
    pub(super) fn reset(&self, how: Reset) -> Reset {
        let scaled = |time| self.scaled(time);
        match how {
            Reset::Hot { hold, settle } => Reset::Hot { hold: scaled(hold), settle: scaled(settle) },
            Reset::Fundamental { hold, settle } => {
                Reset::Fundamental { hold: scaled(hold), settle: scaled(settle) }
            }
            Reset::SecondaryBus { hold } => Reset::SecondaryBus { hold: scaled(hold) },
            // Waits for hardware that ends as soon as that is ready: nothing is gained by cutting them short.
            Reset::ReleasePort { .. } => how,
        }
    }

    /// How long the platform may take for a reset, with what belongs to it.
    pub(super) fn reset_limit(&self, how: Reset) -> Duration {
        let times = match how {
            Reset::Hot { hold, settle } | Reset::Fundamental { hold, settle } => hold.saturating_add(settle),
            Reset::SecondaryBus { hold } => hold,
            Reset::ReleasePort { link_inactive, root_port_busy } => {
                link_inactive.saturating_add(root_port_busy)
            }
        };
        times.saturating_add(READY).saturating_add(self.call)
    }

    /// How long it may take to put the configuration back.
    pub(super) fn restore_limit(&self) -> Duration {
        READY.saturating_add(self.call)
    }
}
