//! What a mapping that can be taken back costs beside one that cannot: a minimal userfaultfd handler in the same run.
//!
//! | figure | ours against |
//! |---|---|
//! | `fault_same_core` | one fault on a page, all on one core; the raw handler waits in a blocking `read`, ours may not |
//! | `populate_16m` | first touch of a BAR of 16 MiB until all of it is present; the floor is one request without a fault |
//! | `zap_16m` | taking it away under a closed gate; the floor is one `madvise` |
//! | `faults_per_s_4x2` | faults per second, four threads that fault and two that answer |
//!
//! Both sides have their memory already, and a view of it as the device has one: what is measured is mapping it.

mod ours;
mod raw;
mod same_core;
mod storm;
mod whole;

use std::error::Error;
use std::thread;

use crate::figure::{Better, Figure};
use crate::stats::median;

/// Where everything of the figures about one core runs.
const CPU: usize = 0;

/// Runs the interleaved rounds of all figures.
///
/// # Errors
/// userfaultfd is not permitted, or something cannot be mapped.
pub(crate) fn run(rounds: usize) -> Result<Vec<Figure>, Box<dyn Error>> {
    let mut figures = vec![on_a_thread(|| same_core::figure(rounds))?];
    figures.extend(on_a_thread(|| whole::figures(rounds))?);
    figures.push(on_a_thread(|| storm::figure(rounds))?);
    Ok(figures)
}

/// Runs `part` on a thread of its own, so that its pinning ends with it.
fn on_a_thread<T: Send>(
    part: impl FnOnce() -> Result<T, Box<dyn Error>> + Send,
) -> Result<T, Box<dyn Error>> {
    thread::scope(|scope| {
        let part = scope.spawn(|| part().map_err(|error| error.to_string()));
        Ok(part.join().map_err(|_| "a part of the benchmark panicked")??)
    })
}

/// Fails unless every touch of ours was a fault: a touch of a page that is there costs nothing and would count as fast.
fn expect_faults(touches: usize, faults: u64) -> Result<(), String> {
    if faults == touches as u64 {
        return Ok(());
    }
    Err(format!("{touches} touches of pages that were taken away were {faults} faults"))
}

/// The median over the rounds of ours against the floor's round beside it; raw figures are scaled by `scale`.
fn against(
    name: &'static str,
    limit: f64,
    better: Better,
    mut ours: Vec<f64>,
    mut floor: Vec<f64>,
    raw_unit: &'static str,
    scale: f64,
) -> Figure {
    let mut ratios: Vec<f64> = ours.iter().zip(&floor).map(|(ours, floor)| ours / floor).collect();
    Figure {
        figure: name,
        value: median(&mut ratios),
        unit: "x raw",
        limit,
        better,
        ours: median(&mut ours) * scale,
        floor: median(&mut floor) * scale,
        peer: None,
        raw_unit,
        peer_is: None,
    }
}
