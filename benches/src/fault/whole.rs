//! A BAR of 16 MiB: how long until all of it is ready after the first touch, and how long it takes to take all of it away.

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use gate::ThreadToken;

use super::ours::Ours;
use super::raw::{Memory, PAGE, Raw};
use super::{CPU, against};
use crate::figure::{Better, Figure};
use crate::pin;
use crate::stats::median;

const SIZE: usize = 16 << 20;
/// Times that the BAR comes and goes in one round.
const TURNS: usize = 20;

/// Runs the interleaved rounds of both figures.
///
/// # Errors
/// Something cannot be mapped, or the whole is not ready after its first touch.
pub(super) fn figures(rounds: usize) -> Result<[Figure; 2], Box<dyn Error>> {
    pin::to_cpu(CPU)?;
    let (raw, memory) = (Raw::open()?, Memory::new(SIZE)?);
    let (range, ours) = (raw.map(&memory, 0, SIZE)?, Ours::new(1, SIZE)?);
    let mut token = ThreadToken::at_thread_entry();
    check(&ours, &mut token)?;
    let mut samples = [const { Vec::new() }; 4];
    for _ in 0..rounds {
        // The floor has no fault: one request by whoever wants the pages.
        let floor = round(|| {
            let populate = timed(|| range.populate())?;
            Ok((populate, timed(|| range.zap())?))
        })?;
        let own = round(|| {
            let populate = timed(|| ours.touch(&mut token, 0, 0).map(|word| _ = black_box(word)))?;
            Ok((populate, ours.zap(&mut token)?.as_nanos() as f64))
        })?;
        for (samples, sample) in samples.iter_mut().zip([own.0, floor.0, own.1, floor.1]) {
            samples.push(sample);
        }
    }
    let [populate, floor_populate, zap, floor_zap] = samples;
    Ok([
        against("populate_16m", 1.2, Better::Lower, populate, floor_populate, "us", 1e-3),
        against("zap_16m", 1.2, Better::Lower, zap, floor_zap, "us", 1e-3),
    ])
}

/// Fails unless the first touch makes all pages ready.
fn check(ours: &Ours, token: &mut ThreadToken) -> Result<(), Box<dyn Error>> {
    let before = ours.faults(token)?;
    for offset in (0..SIZE).step_by(PAGE) {
        ours.touch(token, 0, offset)?;
    }
    let faults = ours.faults(token)? - before;
    if faults == 1 { Ok(()) } else { Err(format!("16 MiB take {faults} faults").into()) }
}

/// Nanoseconds.
fn timed<E: Into<Box<dyn Error>>>(step: impl FnOnce() -> Result<(), E>) -> Result<f64, Box<dyn Error>> {
    let start = Instant::now();
    step().map_err(Into::into)?;
    Ok(start.elapsed().as_nanos() as f64)
}

/// The medians of a round's turns, which begin and end with nothing present.
fn round(mut turn: impl FnMut() -> Result<(f64, f64), Box<dyn Error>>) -> Result<(f64, f64), Box<dyn Error>> {
    let turns = (0..TURNS).map(|_| turn()).collect::<Result<Vec<_>, _>>()?;
    let (mut populates, mut zaps): (Vec<_>, Vec<_>) = turns.into_iter().unzip();
    Ok((median(&mut populates), median(&mut zaps)))
}
