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
//!                                      |             | card or link lost     |
//!                                      +-------------(-----------------------+
//! ```
//!
//! Every state but `Off` and `On` is left by a deadline or by an effect that is carried out by one, so every operation
//! ends, whatever a consumer does.
//!
//! What this crate does **not** do: it opens no gate, touches no function, knows no consumer and runs no timer.

mod effect;
mod event;
mod sight;
mod slot;
mod step;

pub use effect::{Effect, Finished, Lamp, Notice, Removal};
pub use event::{Event, OperationId, Request};
pub use sight::{Features, Sight};
pub use slot::{Cause, Leaving, Powering, Slot, State};
pub use step::{BLINK, CARD_AND_LINK_WAIT, DEFAULT_UNPLUG_TIMEOUT, MAX_OPERATIONS, POWER_OFF_WAIT, REMIND};
