//! A PE of 1,000 functions is frozen: every gate of it, counted, from the operator's command on.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use contain::containment::Then;
use gate::ThreadToken;
use slot::ByHand;

use super::house::{House, PE};
use crate::figure::Figure;
use crate::stats::median;

const FUNCTIONS: u16 = 1000;

/// The figure.
///
/// # Errors
/// The functions cannot be built, or are not all frozen or thawed.
pub(super) fn figure(rounds: usize) -> Result<Figure, Box<dyn Error>> {
    let token = &mut ThreadToken::at_thread_entry();
    let house = House::new(token, FUNCTIONS, (Arc::new(ByHand), Arc::new(()), Arc::new(())))?;
    let contained = || house.functions.iter().filter(|(_, function)| function.is_contained()).count();
    let mut took = Vec::new();
    for _ in 0..rounds {
        let start = Instant::now();
        house.containment.freeze(token, PE, "bench", Then::Stay)?;
        took.push(start.elapsed().as_secs_f64() * 1e3);
        if contained() != usize::from(FUNCTIONS) {
            return Err("not all functions are frozen".into());
        }
        house.containment.thaw(token, PE)?;
        if contained() != 0 {
            return Err("functions stayed frozen".into());
        }
    }
    Ok(super::figure("freeze_1000_ms", "ms", median(&mut took), 5.0))
}
