//! What containment costs: looking for errors, freezing, walking the tree of PEs, and a whole recovery.
//!
//! | figure | what |
//! |---|---|
//! | `detection_ns` | what the look for all-ones adds to a good read of a BAR |
//! | `freeze_1000_ms` | a PE of 1,000 functions, from the command until nothing gets into any of them |
//! | `traversal_mpes_per_s` | PEs visited of 100,000 while another thread removes and inserts PEs without a pause |
//! | `traversal_churn` | the time of that, divided by the time for the same tree while nobody changes it |
//! | `error_to_thawed_p99_ms` | from the detection of an error to the thaw, by *quiesce, save, reset, restore, resume*; the hardware takes no time |

mod detection;
mod freeze;
mod house;
mod recovery;
mod traversal;

use std::error::Error;

use crate::figure::{Better, Figure};

/// Runs the rounds of all figures, one after the other.
///
/// # Errors
/// A tree or a function cannot be built, or a recovery does not end as it should.
pub(crate) fn run(rounds: usize) -> Result<Vec<Figure>, Box<dyn Error>> {
    let mut figures = vec![detection::figure(rounds)?, freeze::figure(rounds)?];
    figures.extend(traversal::figures(rounds)?);
    figures.push(recovery::figure(rounds)?);
    Ok(figures)
}

fn figure(figure: &'static str, unit: &'static str, value: f64, limit: f64) -> Figure {
    let (ours, floor, raw_unit) = (value, 0.0, unit);
    Figure {
        figure,
        value,
        unit,
        limit,
        better: Better::Lower,
        ours,
        floor,
        peer: None,
        raw_unit,
        peer_is: None,
    }
}
