//! The life of a slot: plug, unplug, surprise removal, and the ladder that ends every one of them.
//!
//! [`step`](Slot::step) is a pure function of a slot and one event; its effects are orders to whoever owns the slot, who
//! carries them out one after the other and reports back with events. States, words and times are those of a hot-plug
//! port of PCI Express (PCIe 6.0 s6.7 *PCI Express Native Hot-Plug*) as Linux drives one (HP-05 to HP-17).
//!
//! ```text
//!            button                       5 s, enable, card
//!   Off ----------------> BlinkingOn ------------------------> PoweringOn ---> On
//!    ^                      | button, cancel                     | no power,    | button
//!    |                      v                                    | no link      v
//!    |                     Off                                   v          BlinkingOff --- button, cancel ---> On
//!    |                                                        (failed)         | 5 s, disable
//!    |   power off    removed       revoked        deadline, force            v
//!    +------------ CuttingPower <-- Removing <-- Revoking <------------- Asked (every consumer told, all works)
//!                                      ^             ^                       | released: nobody holds it any more
//!                                      |             | lost, or failed       |
//!                                      +-------------(-----------------------+
//! ```
//!
//! Every state but `Off` and `On` is left by a deadline or by an effect that is carried out by one, so every operation
//! ends, whatever a consumer does.
//!
//! [`Controller`] is the shell around it, one for each slot (law 2). Its [`Hardware`] powers and finds the card, [`Consumer`]s and
//! [`Driver`]s hold what is on it, a [`Crew`] supplies the threads, and whoever [`Watch`]es is told. All of them are foreign code:
//! they are called with nothing held, with a deadline, and contained. Before anything is waited for, the gates of all
//! functions of a card are gone (law 8, HP-12); an orderly removal silences the hardware first (HP-13).
//!
//! Whoever recovers a function from an error has its driver called through the slot ([`Controller::call_driver`]: AER-01, EEH-18), so
//! such a call never meets another one of that driver. It comes after everything that the slot itself has to do, and is answered exactly
//! once, whatever happens. A card that could not be recovered leaves as if it had been torn out ([`Controller::fail`],
//! EEH-17).
//!
//! What this crate does **not** do: it makes no function and no gate, knows no topology, no wire format and no command line.
//!
//! # Concurrency
//! One thread drives a slot at a time, and may be replaced by another when a call does not return (module `controller`). A recovery is driven
//! in the same way ([`Driven`]). Slots share nothing but their crew. All locks are leaves ([`ranks`]); nothing is called under them.

// Law 1: whatever waits takes `&mut ThreadToken`; see clippy.toml.
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod binding;
mod consumer;
mod controller;
mod crew;
mod driver;
mod driver_call;
mod effect;
mod event;
mod hardware;
mod operation;
pub mod patience;
pub mod ranks;
mod settings;
mod sight;
mod slot;
mod step;
#[cfg(not(any(loom, shuttle)))]
mod threads;
mod watch;

pub use binding::Binding;
pub use consumer::Consumer;
pub use controller::{Controller, LeftBehind, MAX_DRIVER_CALLS, Parts, Report};
pub use crew::{ByHand, Crew, Driven};
pub use driver::{Bound, Driver, Drivers, ProbeError};
pub use driver_call::{DriverAnswer, DriverCall, DriverInfo};
pub use effect::{Effect, Finished, Lamp, Notice, Removal};
pub use event::{Event, OperationId, Request};
pub use hardware::Hardware;
pub use operation::Operation;
pub use settings::Settings;
pub use sight::{Features, Sight};
pub use slot::{Cause, Leaving, Powering, Slot, State};
pub use step::{BLINK, CARD_AND_LINK_WAIT, DEFAULT_UNPLUG_TIMEOUT, MAX_OPERATIONS, POWER_OFF_WAIT, REMIND};
#[cfg(not(any(loom, shuttle)))]
pub use threads::Threads;
pub use watch::{Failure, Told, Watch};
