//! One page fault, with whoever faults and whoever answers on one core: no time of another core's waking up is in it.

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use gate::ThreadToken;

use super::ours::Ours;
use super::raw::{Memory, PAGE, Raw};
use super::{CPU, against, expect_faults};
use crate::figure::{Better, Figure};
use crate::pin;
use crate::stats::median;

/// Faults of one round.
const TURNS: usize = 2000;

/// Runs the interleaved rounds.
///
/// # Errors
/// Something cannot be mapped.
pub(super) fn figure(rounds: usize) -> Result<Figure, Box<dyn Error>> {
    // Before there are handlers: they stay on the CPU of whoever starts them.
    pin::to_cpu(CPU)?;
    let (raw, memory) = (Raw::open()?, Memory::new(PAGE)?);
    raw.handle();
    let (range, ours) = (raw.map(&memory, 0, PAGE)?, Ours::new(1, PAGE)?);
    let mut token = ThreadToken::at_thread_entry();
    let (mut with_raw, mut with_ours) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        with_raw.push(round(|| {
            range.zap()?;
            let_the_handler_wait();
            let start = Instant::now();
            black_box(range.touch(0));
            Ok(start.elapsed().as_nanos() as f64)
        })?);
        let before = ours.faults(&mut token)?;
        with_ours.push(round(|| {
            ours.zap(&mut token)?;
            let_the_handler_wait();
            let start = Instant::now();
            black_box(ours.touch(&mut token, 0, 0)?);
            Ok(start.elapsed().as_nanos() as f64)
        })?);
        expect_faults(TURNS, ours.faults(&mut token)? - before)?;
    }
    Ok(against("fault_same_core", 1.15, Better::Lower, with_ours, with_raw, "us", 1e-3))
}

/// Leaves the core to the handler until it has nothing to do. One that is interrupted on its way back to its wait would find
/// the next fault without having to be woken, and which side is in luck would be the scheduler's whim.
fn let_the_handler_wait() {
    (0..4).for_each(|_| std::thread::yield_now());
}

/// The median of a round's turns.
fn round(mut turn: impl FnMut() -> Result<f64, Box<dyn Error>>) -> Result<f64, Box<dyn Error>> {
    let mut samples = (0..TURNS).map(|_| turn()).collect::<Result<Vec<_>, _>>()?;
    Ok(median(&mut samples))
}
