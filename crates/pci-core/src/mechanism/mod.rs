//! How configuration accesses reach the functions behind a host bridge.
//!
//! A [`HostBridge`] holds the [`ConfigOps`] of one range of buses and lets them be exchanged while accesses run. The
//! mechanisms are such operations: [`Ecam`] (memory-mapped, without locks), [`AddressDataPair`] (two ports),
//! [`Firmware`] (calls) and [`Write32Only`] (a bridge that can only write whole dwords).
//!
//! What they do **not** do: no gate, no waiting for a blocked function (that is
//! [`Function`](crate::Function)'s), no routing by bus numbers below the bridge.
//!
//! Concurrency: accesses to different functions arrive side by side. A mechanism with a state between two steps (an
//! address port, a read-modify-write) serialises them by a lock of its own, so two bridges never wait for each other.

mod bridge;
mod ecam;
mod event;
mod firmware;
mod ops;
mod ports;
mod range;
mod write32;

pub use bridge::{HostBridge, SetOpsError};
pub use ecam::{ConfigWindow, Ecam};
pub use event::{BridgeEvent, BridgeObserver};
pub use firmware::{Firmware, FirmwareCalls};
pub use ops::ConfigOps;
pub(crate) use ops::check_register;
pub use ports::{AddressDataPair, CONFIG_ADDRESS, CONFIG_ADDRESS_ENABLE, CONFIG_DATA, Ports};
pub use range::BusRange;
pub use write32::Write32Only;
