//! What happens on the way through a power change, as an operator wants to know it.

use crate::power::DeviceState;
use std::fmt;
use std::time::Duration;

/// One step of a power change. The gate is closed at each of them but [`PowerStep::WakeUp`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PowerStep {
    /// The function shows another state than the one it was sent to; the one it shows counts (PWR-06).
    Refused {
        /// The state it is in.
        from: DeviceState,
        /// The state it was sent to.
        to: DeviceState,
    },
    /// Nothing answers where the function was: it counts as being in D3cold (PWR-03).
    Inaccessible {
        /// The state it was believed to be in.
        from: DeviceState,
        /// The state it was to be sent to.
        to: DeviceState,
    },
    /// The function takes long to get ready, or did.
    Readiness(Progress),
    /// What is behind a bridge did not answer after the bridge had power again; it counts as disconnected (PWR-08).
    Disconnected,
    /// The function signalled PME: it wants to be woken.
    WakeUp,
}

impl fmt::Display for PowerStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PowerStep::Refused { from, to } => {
                write!(f, "Refused to change power state from {from} to {to}")
            }
            PowerStep::Inaccessible { from, to } => {
                write!(f, "unable to change power state from {from} to {to}, device inaccessible")
            }
            PowerStep::Readiness(progress) => progress.fmt(f),
            PowerStep::Disconnected => {
                f.write_str("does not answer after its bridge has power again; disconnected")
            }
            PowerStep::WakeUp => f.write_str("asks to be woken (PME)"),
        }
    }
}

/// What the operator is told of a long wait for a function (RST-10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Waited so far.
    pub after: Duration,
    /// What was done to the function: "FLR", "resume" ...
    pub what: &'static str,
    /// How it stands.
    pub stage: Stage,
}

/// How a long wait stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Still waiting.
    Waiting,
    /// Ready at last.
    Ready,
    /// Not any longer.
    GivingUp,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ms, what) = (self.after.as_millis(), self.what);
        match self.stage {
            Stage::Waiting => write!(f, "not ready {ms} ms after {what}; waiting"),
            Stage::Ready => write!(f, "ready {ms} ms after {what}"),
            Stage::GivingUp => write!(f, "not ready {ms} ms after {what}; giving up"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rst_10_the_lines_read_as_operators_know_them() {
        let line = |stage| Progress { after: Duration::from_millis(65_535), what: "FLR", stage }.to_string();
        assert_eq!(line(Stage::GivingUp), "not ready 65535 ms after FLR; giving up");
        assert_eq!(line(Stage::Waiting), "not ready 65535 ms after FLR; waiting");
        assert_eq!(line(Stage::Ready), "ready 65535 ms after FLR");
    }

    #[test]
    fn pwr_06_a_refusal_names_both_states() {
        let refused = PowerStep::Refused { from: DeviceState::D0, to: DeviceState::D3Hot };
        assert_eq!(refused.to_string(), "Refused to change power state from D0 to D3hot");
    }
}
