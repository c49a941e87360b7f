//! From the detection of an error to the thaw, through the queue, the front, a recovery and its threads.
//!
//! The model of the function is quiesced, saved, reset, restored and resumed, as that of a virtual machine is. The hardware
//! answers at once and no time of EEH-19 passes.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use contain::detect::{Alarm, Bell};
use contain::report::Outcome;
use contain::watch::{Told, Watch};
use gate::{Deadline, ThreadToken};
use pci_core::ErrorSign;
use slot::Threads;

use super::house::{House, soon};
use crate::figure::Figure;

/// Recoveries of a round.
const RECOVERIES: usize = 100;

/// Takes the turns of a containment as a service does.
fn own(house: &House, bell: &Bell, stop: &AtomicBool) {
    let token = &mut ThreadToken::at_thread_entry();
    while !stop.load(Ordering::Acquire) {
        bell.wait(token, Deadline::after(Duration::from_millis(100)));
        house.containment.turn(token);
    }
}

/// The figure.
///
/// # Errors
/// The function cannot be built, or is not thawed.
pub(super) fn figure(rounds: usize) -> Result<Figure, Box<dyn Error>> {
    let token = &mut ThreadToken::at_thread_entry();
    let (crew, bell) = (Threads::new(), Bell::new()?);
    let end =
        Arc::new(End { ended: AtomicBool::new(false), thawed: AtomicBool::new(false), bell: Bell::new()? });
    let house = House::new(token, 1, (crew.clone(), bell.clone(), end.clone()))?;
    let stop = AtomicBool::new(false);
    let took = std::thread::scope(|scope| {
        scope.spawn(|| own(&house, &bell, &stop));
        let took = recoveries(&house, &end, token, rounds * RECOVERIES);
        stop.store(true, Ordering::Release);
        took
    });
    let mut took = took?;
    if !crew.stop(token, soon()) {
        return Err("the threads of the recoveries did not end".into());
    }
    took.sort_by(f64::total_cmp);
    let at = |share: usize| took.get(took.len() * share / 100).copied().unwrap_or(f64::NAN);
    Ok(Figure { floor: at(50), ..super::figure("error_to_thawed_p99_ms", "ms", at(99), 2.0) })
}

/// Rings when a recovery has ended and its PE is thawed, in either order.
struct End {
    ended: AtomicBool,
    thawed: AtomicBool,
    bell: Arc<Bell>,
}

impl Watch for End {
    fn tell(&self, told: &Told) {
        match told {
            Told::Ended { outcome: Outcome::Recovered, .. } => self.ended.store(true, Ordering::Release),
            Told::Thawed { .. } => self.thawed.store(true, Ordering::Release),
            _ => return,
        }
        self.bell.raise();
    }
}

impl End {
    /// Waits for both, and forgets them. False at the deadline.
    fn wait(&self, token: &mut ThreadToken) -> bool {
        let deadline = soon();
        while !(self.ended.load(Ordering::Acquire) && self.thawed.load(Ordering::Acquire)) {
            if !self.bell.wait(token, deadline) {
                return false;
            }
        }
        self.ended.store(false, Ordering::Release);
        self.thawed.store(false, Ordering::Release);
        true
    }
}

/// Milliseconds that each took.
fn recoveries(
    house: &House,
    end: &End,
    token: &mut ThreadToken,
    count: usize,
) -> Result<Vec<f64>, Box<dyn Error>> {
    let (address, function) = house.functions.first().ok_or("no function")?;
    let mut took = Vec::with_capacity(count);
    for _ in 0..count {
        let start = Instant::now();
        house.containment.notice(token, *address, ErrorSign::Injected("bench"));
        if !end.wait(token) || function.is_contained() {
            return Err("the function did not recover".into());
        }
        took.push(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(took)
}
