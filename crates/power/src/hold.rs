//! What a power change may do while the gates are closed for it.
//!
//! The sequences of this crate are written against [`Hold`] and know neither gates nor threads, so that a test can put
//! scripted hardware and a clock of its own behind them, and so that a reset that has the gates closed already can have
//! a function woken. The session of [`Power`](crate::Power) is the trait in service.

use crate::{Facts, State};
use gate::Gone;
use pci_core::{Change, ConfigStatus, PowerStep, Width};
use pci_spec::Bdf;
use std::time::Duration;

/// Functions whose gates their owner keeps closed.
pub trait Hold {
    /// What is fixed about the function.
    fn facts(&self, at: Bdf) -> Facts;

    /// The state it is known to be in.
    fn state(&self, at: Bdf) -> State;

    /// Notes a state that no register tells of, or that the register tells it again.
    fn note(&mut self, at: Bdf, state: State);

    /// Reads a register.
    ///
    /// # Errors
    /// [`ConfigStatus`], which stands for all-ones (CFG-03).
    fn read(&mut self, at: Bdf, register: u16, width: Width) -> Result<u32, ConfigStatus>;

    /// Writes a register, and has the device do at once what that asks for.
    ///
    /// # Errors
    /// [`ConfigStatus`]; nothing was written.
    fn write(&mut self, at: Bdf, register: u16, width: Width, value: u32) -> Result<(), ConfigStatus>;

    /// Lets time pass while everybody is kept out.
    ///
    /// # Errors
    /// [`Gone`] at once when the function at `at` is removed meanwhile (law 4).
    fn pass(&mut self, at: Bdf, duration: Duration) -> Result<(), Gone>;

    /// The function was removed, or nothing reaches it any more.
    fn is_disconnected(&self, at: Bdf) -> bool;

    /// Saves what the function loses in D3.
    fn save(&mut self, at: Bdf);

    /// Restores what was saved last, if anything was.
    fn restore(&mut self, at: Bdf);

    /// The function loses its power, and with it its state.
    fn lose_power(&mut self, at: Bdf);

    /// The function has power again.
    fn regain_power(&mut self, at: Bdf);

    /// Tells of a step on the way.
    fn tell(&mut self, at: Bdf, step: PowerStep);

    /// Tells of a state that was entered.
    fn changed(&mut self, at: Bdf, change: Change<State>);
}
