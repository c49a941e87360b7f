//! The words of error recovery that a function, whoever has it and whoever recovers it share.
//!
//! Their numbers are those of Linux's `pci_channel_state_t`, `pci_ers_result_t` and `pci_error_handlers`. What is done with them is the
//! business of containment; a driver only answers.

mod channel;
mod handlers;
mod sentinel;
mod sign;
mod vote;

pub use channel::Channel;
pub use handlers::Handlers;
pub use sentinel::Sentinel;
pub use sign::ErrorSign;
pub use vote::Vote;
