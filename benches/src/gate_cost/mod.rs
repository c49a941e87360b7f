//! What the gate costs: an access, a close, a wake-up, and whether that grows with the number of functions.
//!
//! | figure | ours against |
//! |---|---|
//! | `over_nothing_*` | enter and leave, minus the same loop with no lock |
//! | `vs_rwlock_*`, `vs_mutex_*`, `vs_atomic_count_*` | cost per access with the peer, divided by ours; the access itself is in both |
//! | `close_reopen_ns` | a close and a reopening while two readers are idle; beside it the heavy barrier alone |
//! | `wake_growth_10000` | a wake-up with 10,000 other functions blocked, divided by one with a single other one and as many threads |
//! | `ecam_growth_10000` | a configuration read when 10,000 functions are read, divided by one when one is read |

mod access;
mod ecam;
mod futex_hash;
mod reopen;
mod wake;

pub(crate) use wake::serve;

use std::error::Error;

use crate::figure::Figure;

/// Functions of the figures about growth.
const MANY: usize = 10_000;

/// Runs the interleaved rounds of all figures.
///
/// # Errors
/// A process of the wake-up's figure does not start, or the machine does not bear its threads.
pub(crate) fn run(rounds: usize) -> Result<Vec<Figure>, Box<dyn Error>> {
    let mut figures = access::figures(rounds);
    figures.push(reopen::figure(rounds));
    figures.push(wake::figure(rounds)?);
    figures.push(ecam::figure(rounds)?);
    Ok(figures)
}
