//! Faults per second with four threads that fault and two that answer, wherever the scheduler puts them.
//!
//! Each page is a mapping of its own on both sides, so that each touch is one fault and one page made present.

use std::error::Error;
use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;

use gate::ThreadToken;

use super::ours::Ours;
use super::raw::{Memory, PAGE, Raw};
use super::{against, expect_faults};
use crate::figure::{Better, Figure};

const CLIENTS: usize = 4;
const HANDLERS: usize = 2;
/// Pages of each client.
const PAGES: usize = 256;
/// How often a round goes through all pages.
const PASSES: usize = 16;

/// Runs the interleaved rounds.
///
/// # Errors
/// Something cannot be mapped, or is touched without a fault.
pub(super) fn figure(rounds: usize) -> Result<Figure, Box<dyn Error>> {
    let all = CLIENTS * PAGES;
    let (raw, memory) = (Raw::open()?, Memory::new(all * PAGE)?);
    (0..HANDLERS).for_each(|_| raw.handle());
    let ranges = (0..all).map(|page| raw.map(&memory, page * PAGE, PAGE)).collect::<Result<Vec<_>, _>>()?;
    let ours = Ours::new(all, PAGE)?;
    let mut token = ThreadToken::at_thread_entry();
    let (mut with_raw, mut with_ours) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        with_raw.push(round(
            || Ok(ranges.iter().try_for_each(|range| range.zap())?),
            || |page: usize| black_box(ranges.get(page).map(|range| range.touch(0))).is_some(),
        )?);
        let before = ours.faults(&mut token)?;
        with_ours.push(round(
            || ours.zap(&mut token).map(drop),
            || {
                let mut token = ThreadToken::at_thread_entry();
                let ours = &ours;
                move |page: usize| black_box(ours.touch(&mut token, page, 0)).is_ok()
            },
        )?);
        expect_faults(PASSES * all, ours.faults(&mut token)? - before)?;
    }
    Ok(against("faults_per_s_4x2", 0.9, Better::Higher, with_ours, with_raw, "1/s", 1.0))
}

/// Faults per second. `zap` takes all pages away, which is not timed; each client gets a `touch` of its own, for pages by
/// their number.
fn round<T: FnMut(usize) -> bool>(
    mut zap: impl FnMut() -> Result<(), Box<dyn Error>>,
    toucher: impl Fn() -> T + Sync,
) -> Result<f64, Box<dyn Error>> {
    // All clients and the clock.
    let (begin, end) = (Barrier::new(CLIENTS + 1), Barrier::new(CLIENTS + 1));
    let (begin, end, toucher) = (&begin, &end, &toucher);
    std::thread::scope(|scope| {
        let client = |client: usize| {
            scope.spawn(move || {
                let mut touch = toucher();
                let mut touched = true;
                for _ in 0..PASSES {
                    begin.wait();
                    touched &= (client * PAGES..(client + 1) * PAGES).all(&mut touch);
                    end.wait();
                }
                touched
            })
        };
        let clients: Vec<_> = (0..CLIENTS).map(client).collect();
        let mut seconds = 0.0;
        let mut zapped = Ok(());
        for _ in 0..PASSES {
            // The clients wait for this thread in any case, so it goes on to the end.
            zapped = zapped.and_then(|()| zap());
            begin.wait();
            let start = Instant::now();
            end.wait();
            seconds += start.elapsed().as_secs_f64();
        }
        zapped?;
        match clients.into_iter().all(|client| client.join().unwrap_or(false)) {
            true => Ok((CLIENTS * PAGES * PASSES) as f64 / seconds),
            false => Err("a page could not be touched".into()),
        }
    })
}
