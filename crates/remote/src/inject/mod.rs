//! Faults that somebody wants to happen: late, lost and repeated interrupts, reads that are slow or fail, writes that are lost, memory
//! that does not answer, and back ends that hang or die.
//!
//! * [`Rule`] says what happens, where, when, how likely and how often. It is a line of text, or made of [`Fields`].
//! * [`Injections`] are the rules of one function; they come and go while it works.
//! * [`BackEnd`] is what faults of a back end are done to.
//!
//! All but the faults of a back end are for any function: accesses are met on their way to the gate ([`pci_core::Tap`]), interrupts
//! and accesses to memory on their way from the device. A rule that hits changes what happens to that one occasion and nothing else:
//! what follows (an error is noticed, a driver gives up) follows by itself.
//!
//! # What this module does **not** do
//! It breaks no law: a fault is done at a place where the device, the consumer or the back end could have done it. It touches no
//! accesses through mappings, nor those made under a pass that the caller holds. A function with no rules costs its consumers one
//! load for each access, and nothing before it is [attached](Injections::attach).
//!
//! # Determinism
//! Each rule draws from a sequence of its own, which comes from the seed and the rule's number: the same occasions are hit in each run
//! in which they come in the same order. Times are those of the clock.
//!
//! # Concurrency
//! One leaf for each function, held for a look or a draw. A slow read waits on its consumer's thread with nothing held, at most for its
//! delay. Interrupts that are put off, and faults that come by time, have one thread, which exists while a rule needs it. Whatever
//! somebody asks for is bounded: rules, their text, delays, interrupts on their way.

mod accesses;
mod back_end;
mod error;
mod fields;
mod injections;
mod kind;
mod later;
mod parse;
mod plan;
mod print;
mod rule;
mod shared;
mod span;
mod taps;

pub use back_end::{BackEnd, BackEndError};
pub use error::{AddError, Excerpt, RuleError};
pub use fields::{AddressRange, Fields, Place, RangeFormatError};
pub use injections::Injections;
pub use kind::Kind;
pub use plan::{Listed, MAX_RULES, RuleId, RuleState};
pub use rule::Rule;

#[cfg(test)]
mod plan_tests;
