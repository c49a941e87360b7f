//! What it costs to plug functions in and to take them out.
//!
//! | figure | what |
//! |---|---|
//! | `build_65536_s` | 65,536 functions in 256 segments, from nothing to a published picture, on one thread |
//! | `bytes_per_function` | the memory that this takes, for each function |
//! | `cycle_growth_65536` | a cycle of plug, scan, removal and unplug there, divided by one among 16 functions |
//! | `cycles_per_s` | cycles of a function through its slot, with a driver that lets go when asked, on one thread |
//! | `slot_growth_65536` | such a cycle among 65,536 functions with 32,768 slots, divided by one among 16 functions |
//! | `revoke_busy_p99_ms` | from the ask to the end of a function that is taken away by force under one thread of traffic |
//! | `revoke_oversub_p99_ms` | the same under eight threads of traffic; reported, without a limit |

mod bay;
mod cycles;
mod fabric;
mod revoke;

use std::error::Error;

use crate::figure::Figure;

/// Runs the interleaved rounds of all figures.
///
/// # Errors
/// A machine cannot be built, or a cycle or a revocation fails.
pub(crate) fn run(rounds: usize) -> Result<Vec<Figure>, Box<dyn Error>> {
    // First, in a process that has not used memory yet.
    let mut figures = fabric::figures(rounds)?;
    figures.extend(cycles::figures(rounds)?);
    figures.extend(revoke::figures(rounds)?);
    Ok(figures)
}
