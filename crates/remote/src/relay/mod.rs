//! What a back end has to know of the consumer: its memory and its interrupts.
//!
//! [`dma::Dma`] follows what the consumer maps, [`interrupts::Interrupts`] what it wires. Both outlive every connection: while
//! there is none they remember, and the next back end is told everything again.

pub mod dma;
pub mod interrupts;
