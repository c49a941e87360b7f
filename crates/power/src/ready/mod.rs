//! When a function answers again after a reset or a power-up: what is looked at, how long, in which steps.
//!
//! [`Series`] is the pure series of waits for one function (PWR-09, PWR-09a), [`phases`] the pure order of waits for
//! what is behind a bridge (PWR-08). [`wait`] and [`wait_for_secondary_bus`] walk them over whoever can look and let
//! time pass ([`Watched`], [`SecondaryBus`]), so that power changes and resets wait in the same way.
//!
//! Nothing here reads a clock or touches a function, and no lock is taken. The longest wait is bounded by the series.

mod bus;
mod probe;
mod series;
mod wait;

pub use bus::{LinkKind, Phase, phases};
pub use pci_core::{Progress, Stage};
pub use probe::{Answer, Probe};
pub use series::{Series, Step};
pub use wait::{NotReady, SecondaryBus, Watched, wait, wait_for_secondary_bus};

use std::time::Duration;

/// How long a function may take to get ready after a reset or a power-up: 60 s (PWR-05, RST-05), in steps up to 65.535 s
/// (PWR-09a).
pub const READY_LIMIT: Duration = Duration::from_secs(60);

/// From when on a wait is worth telling the operator: 1 s, which the specification allows every function. PCIe 6.0
/// s6.6.1 *Conventional Reset*.
pub const PATIENCE: Duration = Duration::from_secs(1);
