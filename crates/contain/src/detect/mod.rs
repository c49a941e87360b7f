//! Detection: an error is noticed, in whatever context (EEH-06, EEH-07, EEH-I3).
//!
//! * [`FunctionSentinel`] is what a function tells; it finds the PE, isolates it, and leaves a sign in a queue.
//! * [`Alarm`] has somebody take the sign up; [`Bell`] is one to wait at.
//!
//! Whoever notices first isolates the PE with one atomic: there is one sign for each freeze, and all that is noticed of a PE that
//! is isolated, or below one that is, is counted and nothing else. So nothing that a guest does to a broken device grows.
//!
//! What this module does **not** do: it freezes nothing and decides nothing. That is for whoever takes the signs.
//!
//! # Concurrency
//! Noticing takes no lock, allocates nothing and waits for nobody, so it may happen under a pass, anywhere. The queue is bounded: a
//! sign that finds it full is forgotten, and a mark is left; the PE is isolated, so a walk over the tree finds it. A sign holds
//! its PE (EEH-I8).

mod alarm;
#[cfg(not(any(loom, shuttle)))]
mod bell;
mod detector;
mod queue;
mod sentinel;

pub use alarm::Alarm;
#[cfg(not(any(loom, shuttle)))]
pub use bell::Bell;
pub(crate) use detector::Detector;
pub use detector::{Check, Counters};
pub(crate) use queue::Sign;
pub use sentinel::FunctionSentinel;
