//! Power states of functions and bridges: D0 to D3cold, required delays, wake-up, idle policy.
//!
//! ```text
//!            PMCSR                       PMCSR
//!   D0 <------------> D1 ---> D2     D0 <------> D3hot       a sleeping state leads deeper, or to D0
//!    ^                 |       |                  |  ^
//!    |                 +-------+------ PMCSR -----+  |       D1, D2 -> D3hot
//!    |                                            |  |
//!    |                 platform takes the power   v  |
//!    +------------------------------------------ D3cold <--- the bridge above is in D3cold (PWR-07),
//!      platform gives it: 100 ms, wait, restore              or PMCSR reads all-ones (PWR-03)
//! ```
//!
//! From the first step of a change to the end of the time that the hardware needs after the last one, the gate of the
//! function is closed (CFG-I10), whether PMCSR or firmware (`_PS0` to `_PS3`) makes it; for a bridge the gates of
//! everything below are closed with it, all or none. A thread that waits for such a time holds nothing, and blocks
//! nobody but the functions that change. A removal ends the wait at once.
//!
//! * [`Power`] is what an owner uses: [`Power::set_state`], [`Power::try_set_state`], [`Power::wake_for_config`].
//! * [`plan()`] is pure: the rules of PWR-02 to PWR-07 as a list of [`Step`]s, or the reason why not. [`change`] walks them
//!   over a [`Hold`], the closed functions; [`change_subtree`] does so for a bridge with what is below. A reset that has
//!   the gates closed already implements [`Hold`] and calls these.
//! * [`ready`] says how long to wait for a function or a secondary bus, for resets too.
//! * [`Platform`] is firmware and slot power, [`Preserve`] saves and restores what D3 loses.
//! * [`idle`], [`low_power`] and [`pme`] are pure: when a function that nobody uses sleeps and how deep, low power at a
//!   consumer's wish (VF-47), events that wake. [`runtime`] carries the idle policy out.
//!
//! What a consumer asks for by a write to PMCSR does not come through here: `pci_core::Function` carries it out under the
//! same rules.
//!
//! What this crate does **not** do: it runs no thread (an owner polls [`runtime::Runtime::poll`]), resets nothing, knows
//! no slot's lifecycle, and does not decide what becomes of a function that was disconnected.
//!
//! # Concurrency
//! One leaf lock, for the users of one function ([`runtime`]). All else is kept apart by the gates. Bridges above are
//! woken one after the other, each with its own subtree closed, and let go before the next is closed: no gate is waited
//! for while another is held.

mod change;
mod error;
mod facts;
mod hold;
pub mod idle;
pub mod low_power;
mod plan;
mod platform;
pub mod pme;
mod power;
pub mod ranks;
pub mod ready;
pub mod runtime;
mod session;
mod tree;

pub use change::change;
pub use error::PowerError;
pub use facts::{Facts, Quirks};
pub use hold::Hold;
pub use pci_core::DeviceState as State;
pub use plan::{Step, Unreachable, plan};
pub use platform::{Emulated, Platform, method};
pub use power::Power;
pub use session::{Header, Preserve};
pub use tree::{Outcome, change_subtree};
